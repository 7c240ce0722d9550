//! What operators see: health, metrics, the log, the admin calls; and what browsers are served.

use std::collections::{BTreeMap, BTreeSet};

use nix::sys::signal::Signal;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use uuid::Uuid;

use crate::harness::cluster::TestDatabase;
use crate::harness::process::Process;
use crate::harness::raw::Raw;
use crate::harness::rest::{keys, service, user};
use crate::harness::server::SECRET;
use crate::harness::{Client, Join, PATIENCE, TestServer, eventually};

#[tokio::test]
async fn a_server_is_alive_and_ready_until_it_stops() {
    let server = TestServer::start(&[]).await;
    assert_eq!(server.get("/healthz", None).await.expect(200), json!({"status": "alive"}));
    assert_eq!(server.get("/readyz", None).await.expect(200), json!({"status": "ready"}));
    server.server.registry().refuse_newcomers();
    let answer = server.get("/readyz", None).await;
    assert!(answer.headers.contains_key("retry-after"));
    answer.refused(503, "draining");
    server.get("/healthz", None).await.expect(200);
}

#[tokio::test]
async fn a_browser_reads_the_figures_by_a_name_that_the_server_knows_and_a_scraper_by_any() {
    let server = TestServer::start(&["--public-url", "https://presence.example"]).await;
    for (host, more, status) in [
        ("evil.example:8080", "", 200),
        ("evil.example:8080", "Accept-Language: en\r\n", 403),
        ("evil.example:8080", "Sec-Fetch-Site: same-origin\r\n", 403),
        ("presence.example", "Accept-Language: en\r\n", 200),
        ("127.0.0.1:8080", "Accept-Language: en\r\n", 200),
    ] {
        let mut raw = Raw::connect(server.address()).await;
        raw.send(format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n{more}\r\n").as_bytes()).await;
        let head = raw.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{host} {more}: {head}");
    }
}

/// The names of the families in `src/metrics.rs`, as they are registered.
fn registered() -> BTreeSet<String> {
    let source = include_str!("../../src/metrics.rs");
    let named = source.split("r.register").skip(1).map(|registration| {
        let unit = if registration.starts_with("_with_unit") { "_seconds" } else { "" };
        format!("lastseen_{}{unit}", registration.split('"').nth(1).expect("a name"))
    });
    named.collect()
}

#[tokio::test]
async fn every_figure_comes_with_its_help_and_type_and_moves_with_what_happens() {
    let server = TestServer::start(&["--grace", "300ms"]).await;
    let address = server.address();
    let session = server.open().await;
    let invite = |name: &str| Join::invite(&session.invite, name);
    let mut ada = Client::join(address, session.id, &invite("Ada")).await;
    let bob = Client::join(address, session.id, &invite("Bob")).await;
    let mut observer = Client::join(address, session.id, &Join::token(&service())).await;
    let ada_id = ada.id();
    ada.sees(&[ada_id, bob.id()]).await;
    for (name, expected) in [
        ("lastseen_connections", 3.0),
        ("lastseen_observers", 1.0),
        ("lastseen_rooms", 1.0),
        ("lastseen_participants{status=\"active\"}", 2.0),
        ("lastseen_participants{status=\"reconnecting\"}", 0.0),
        ("lastseen_joins_total", 2.0),
        ("lastseen_beats_total", 0.0),
    ] {
        assert_eq!(server.metric(name).await, expected, "{name}");
    }

    // People go in each of the ways.
    ada.catch_up().await;
    ada.catch_up().await;
    bob.close().await;
    Client::join(address, session.id, &invite("Cid")).await.vanish();
    let mut dan = Client::join(address, session.id, &invite("Dan")).await;
    let dan_id = dan.id();
    ada.until("Dan", |ada| ada.view.contains_key(&dan_id)).await;
    let remove = format!("/v1/reading-sessions/{}/participants/{dan_id}", session.id);
    server.delete(&remove, Some(&service())).await.expect(204);
    dan.ended().await;
    ada.sees(&[ada_id]).await;
    server.close(session.id).await.expect(200);
    ada.ended().await;
    observer.ended().await;

    Client::refused(address, &session.id.to_string(), &Join::invite("lsi_nonsense", "Eve")).await;
    server.get("/v1/reading-sessions", None).await.refused(401, "unauthenticated");
    server.get("/v1/reading-sessions", None).await.refused(401, "unauthenticated");
    server.get("/nowhere", None).await.refused(404, "not_found");
    let idle = server.open().await;
    server.age(idle.id, 7200.0).await;
    server.sweep().await;

    let wanted = [
        ("lastseen_joins_total", 4.0),
        ("lastseen_beats_total", 2.0),
        ("lastseen_leaves_total{reason=\"left\"}", 1.0),
        ("lastseen_leaves_total{reason=\"timeout\"}", 1.0),
        ("lastseen_leaves_total{reason=\"removed\"}", 1.0),
        ("lastseen_leaves_total{reason=\"closed\"}", 1.0),
        ("lastseen_connection_ends_total{reason=\"left\"}", 1.0),
        ("lastseen_connection_ends_total{reason=\"lost\"}", 1.0),
        ("lastseen_connection_ends_total{reason=\"removed\"}", 1.0),
        ("lastseen_connection_ends_total{reason=\"session_closed\"}", 2.0),
        ("lastseen_refusals_total{code=\"invite_not_found\"}", 1.0),
        ("lastseen_refusals_total{code=\"unauthenticated\"}", 2.0),
        ("lastseen_refusals_total{code=\"not_found\"}", 1.0),
        ("lastseen_admission_seconds_count", 6.0),
        ("lastseen_sweeps_total", 1.0),
        ("lastseen_sweep_failures_total{policy=\"closed\"}", 0.0),
        ("lastseen_swept_total{policy=\"closed\"}", 1.0),
        ("lastseen_swept_total{policy=\"purged\"}", 0.0),
        ("lastseen_swept_total{policy=\"user_sessions_timed_out\"}", 0.0),
        ("lastseen_swept_total{policy=\"user_sessions_purged\"}", 0.0),
        ("lastseen_swept_total{policy=\"simulators_stopped\"}", 0.0),
        ("lastseen_sweep_duration_seconds_count", 1.0),
        ("lastseen_flush_failures_total", 0.0),
        ("lastseen_connections", 0.0),
        ("lastseen_observers", 0.0),
        ("lastseen_rooms", 0.0),
        ("lastseen_participants{status=\"active\"}", 0.0),
        ("lastseen_lagged_total", 0.0),
    ];
    for (name, value) in wanted {
        // A connection's end is counted beside its client's.
        eventually(&format!("{name} {value}"), async || (server.metric(name).await == value).then_some(())).await;
    }
    for name in [
        "lastseen_diffs_total",
        "lastseen_deliveries_total",
        "lastseen_flush_rows_total",
        "lastseen_flush_duration_seconds_count",
    ] {
        eventually(name, async || (server.metric(name).await > 0.0).then_some(())).await;
    }
    // Each diff was sent to all in the room, and there were several.
    assert!(server.metric("lastseen_deliveries_total").await >= server.metric("lastseen_diffs_total").await);

    let answer = server.get("/metrics", None).await;
    let kind = answer.headers["content-type"].to_str().expect("text").to_owned();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    let text = answer.expect(200);
    let text = text.as_str().expect("text");
    let described = |what: &str| -> BTreeMap<&str, &str> {
        text.lines().filter_map(|line| line.strip_prefix(what)?.trim_start().split_once(' ')).collect()
    };
    let (helps, types) = (described("# HELP"), described("# TYPE"));
    let named: BTreeSet<String> = types.keys().map(|&name| name.to_owned()).collect();
    assert!(registered().len() > 20, "{:?}", registered());
    assert_eq!(named, registered());
    for name in &named {
        assert!(helps.get(name.as_str()).is_some_and(|help| help.len() > 5), "{name} has a help");
        assert!(["counter", "gauge", "histogram"].contains(&types[name.as_str()]), "{name}: {}", types[name.as_str()]);
    }
    // No label holds what only one person or session has.
    for secret in [session.invite.as_str(), &session.id.to_string(), &ada_id.to_string(), "Ada"] {
        assert!(!text.contains(secret), "{secret} in the metrics");
    }
}

#[tokio::test]
async fn the_admin_calls_are_for_the_service_alone() {
    let server = TestServer::start(&[]).await;
    let session = server.open().await;
    let guest = Client::join(server.address(), session.id, &Join::invite(&session.invite, "Gus")).await;
    for (method, path) in
        [(Method::POST, "/v1/admin/sweep"), (Method::GET, "/v1/admin/sweep"), (Method::GET, "/v1/admin/stats")]
    {
        let call = async |token: Option<&str>| server.call(method.clone(), path, token, Value::Null).await;
        call(None).await.refused(401, "unauthenticated");
        call(Some("nonsense")).await.refused(401, "unauthenticated");
        call(Some(&user(Uuid::now_v7(), "Hana"))).await.refused(403, "forbidden");
        call(Some(&guest.resume_token())).await.refused(403, "forbidden");
    }
    server.delete("/v1/admin/sweep", Some(&service())).await.refused(405, "method_not_allowed");

    let stats = server.get("/v1/admin/stats", Some(&service())).await.expect(200);
    let expected = ["node", "connections", "observers", "rooms", "participants", "flush_backlog", "sweeps", "stored"];
    assert_eq!(keys(&stats), BTreeSet::from(expected));
    assert_eq!((&stats["node"], &stats["connections"], &stats["rooms"]), (&json!("test"), &json!(1), &json!(1)));
    assert_eq!(stats["participants"], json!({"active": 1, "idle": 0, "reconnecting": 0}));
    let nothing = json!({});
    let stored = json!({
        "reading_sessions": {"open": 1}, "participants_present": 1, "user_sessions": nothing, "check_ins": nothing,
        "sits": nothing, "simulators": nothing,
    });
    assert_eq!(stats["stored"], stored);

    let idle = server.open().await;
    server.age(idle.id, 7200.0).await;
    let swept = server.sweep().await;
    let policies = [
        "orphans_settled",
        "closed",
        "aged",
        "lonely",
        "user_sessions_timed_out",
        "sits_abandoned",
        "simulators_stopped",
        "purged",
        "user_sessions_purged",
        "check_ins_purged",
        "sits_purged",
        "failed",
    ];
    assert_eq!(keys(&swept), BTreeSet::from(policies));
    assert_eq!(swept["closed"], 1);
    assert_eq!(server.sweep().await["closed"], 0, "once");
}

#[tokio::test]
async fn the_log_tells_how_each_connection_ended_and_no_secret() {
    const MARKER: &str = "query=zebra";
    let database = TestDatabase::new().await;
    let url = database.url();
    let process = Process::serve(&[
        "--database-url",
        &url,
        "--jwt-secret",
        SECRET,
        "--log-format",
        "json",
        "--log",
        "debug",
        "--guest-hosts",
    ])
    .await;
    let (address, rest) = (process.address, &process.rest);
    let session = rest.open().await;
    let path = session.id.to_string();
    let mel_token = user(Uuid::now_v7(), "Mel");
    let join = |join: Join| Join { more: MARKER.to_owned(), ..join };

    // In by an invite, a resume token and a JWT, in the query and in headers.
    let ada = Client::join(address, session.id, &join(Join::invite(&session.invite, "Ada"))).await;
    let in_query = Client::join(address, session.id, &join(Join::resume(&ada.resume_token()))).await;
    let by_protocol = |credential: String| {
        let header = ("sec-websocket-protocol", format!("lastseen.v1, {credential}"));
        join(Join { headers: vec![header], ..Join::default() })
    };
    let in_header = by_protocol(format!("lastseen.resume.{}", ada.resume_token()));
    let in_header = Client::join(address, session.id, &in_header).await;
    let mel = Join { invite: Some(session.invite.clone()), ..Join::token(&mel_token) };
    let mut mel = Client::join(address, session.id, &join(mel)).await;
    let mut bearer = Client::join(address, session.id, &by_protocol(format!("lastseen.bearer.{mel_token}"))).await;
    let watching = Client::join(address, session.id, &join(Join::token(&service()))).await;
    let dan = Join::invite(session.host_invite.as_deref().expect("a host invite"), "Dan");
    let mut dan = Client::join(address, session.id, &join(dan)).await;
    let connection = |client: &Client| client.welcome["connection_id"].as_str().expect("an id").to_owned();
    let mut expected = BTreeMap::from([
        (connection(&ada), "left"),
        (connection(&in_query), "lost"),
        (connection(&in_header), "closed"),
        (connection(&mel), "removed"),
        (connection(&bearer), "removed"),
        (connection(&watching), "left"),
        (connection(&dan), "draining"),
    ]);

    // Refused, each with something that could be printed.
    let wrong = format!("{}x", ada.resume_token());
    let expired = format!("{mel_token}x");
    for refused in [
        Join::invite("lsi_a-token-that-does-not-exist", "Eve"),
        Join::resume(&wrong),
        Join::token(&expired),
        Join { name: Some("a\u{7}b".to_owned()), ..Join::invite(&session.invite, "") },
    ] {
        Client::refused(address, &path, &join(refused.clone())).await;
        rest.handshake(&path, &join(refused)).await;
    }
    rest.get(&format!("/v1/invites/{}?{MARKER}", session.invite), None).await.expect(200);
    rest.get("/v1/invites/lsi_a-token-that-does-not-exist", None).await.refused(404, "invite_not_found");
    rest.get(&format!("/join/{}?{MARKER}", session.invite), None).await.expect(200);
    rest.get(&format!("/v1/reading-sessions?{MARKER}"), Some(&expired)).await.refused(401, "unauthenticated");

    // The ends.
    let (resume, mel_id) = (ada.resume_token(), mel.id());
    let secrets = [
        session.invite.clone(),
        session.host_invite.clone().expect("a host invite"),
        resume,
        mel.resume_token(),
        dan.resume_token(),
        mel_token,
        service(),
        SECRET.to_owned(),
    ];
    ada.close().await;
    watching.close().await;
    in_query.vanish();
    going_away(in_header).await;
    let remove = format!("/v1/reading-sessions/{path}/participants/{mel_id}");
    rest.delete(&remove, Some(&service())).await.expect(204);
    assert_eq!((mel.ended().await.code, bearer.ended().await.code), (4512, 4512));
    let ends = ["left", "lost", "closed", "removed"];
    for reason in ends {
        let name = format!("lastseen_connection_ends_total{{reason=\"{reason}\"}}");
        let count = expected.values().filter(|&&end| end == reason).count();
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let count = count as f64;
        eventually(&name, async || (rest.metric(&name).await == count).then_some(())).await;
    }
    process.signal(Signal::SIGTERM);
    assert_eq!(dan.ended().await.code, 1012);
    let finished = process.finished().await;
    assert!(finished.status.success(), "{finished:?}");

    let log = &finished.stderr;
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON ({error}): {line}")))
        .collect();
    assert!(lines.iter().any(|line| line["level"] == "DEBUG"), "it is the talkative log that is looked at");
    assert!(lines.iter().all(|line| line["timestamp"].is_string() && line["level"].is_string()));
    for line in lines.iter().filter(|line| line["message"] == "connection ended") {
        let connection = line["connection"].as_str().unwrap_or_else(|| panic!("whose? {line}"));
        let reason = expected.remove(connection).unwrap_or_else(|| panic!("logged twice or unknown: {line}"));
        assert_eq!(line["reason"], reason, "{line}");
        assert_eq!(line["session"], path);
        assert!(line["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{line}");
    }
    assert!(expected.is_empty(), "nothing is logged of {expected:?}");
    let refused = lines.iter().filter(|line| line["message"] == "refused a connection").count();
    assert_eq!(refused, 4);

    for secret in &secrets {
        // Neither as a whole nor the part of it that makes it one.
        let part = secret.rsplit('.').next().expect("a part");
        let part = part.trim_start_matches("lsi_").trim_start_matches("lsr_");
        assert!(!log.contains(part), "the log holds a secret: {part}");
    }
    for text in ["zebra", "a-token-that-does-not-exist", "invite=", "resume=", "/ws?"] {
        assert!(!log.contains(text), "the log holds {text}");
    }
}

/// Closes as a page does whose tab is closed, and waits for the answer.
async fn going_away(mut client: Client) {
    use futures_util::SinkExt;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::protocol::CloseFrame;
    let goodbye = CloseFrame { code: 1001.into(), reason: "".into() };
    client.socket.send(Message::Close(Some(goodbye))).await.expect("sent");
    client.ended().await;
}

#[tokio::test]
async fn pages_of_allowed_origins_may_call_the_interface_and_others_may_not() {
    const APP: &str = "https://app.example";
    let server = TestServer::start(&["--allowed-origins", APP]).await;
    let preflight = async |server: &TestServer, origin: &str, path: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "PATCH"),
            ("access-control-request-headers", "authorization,content-type"),
        ];
        server.raw(Method::OPTIONS, path, &headers, "").await
    };
    let text = |headers: &HeaderMap, name: &str| {
        headers.get(name).map(|value| value.to_str().expect("text").to_ascii_lowercase())
    };
    const ALLOW: &str = "access-control-allow-origin";
    for path in ["/v1/reading-sessions", &format!("/v1/reading-sessions/{}", Uuid::now_v7())] {
        let answer = preflight(&server, APP, path).await;
        assert!(answer.status.is_success(), "{}", answer.status);
        assert_eq!(text(&answer.headers, ALLOW).as_deref(), Some(APP));
        let methods = text(&answer.headers, "access-control-allow-methods").expect("methods");
        for method in ["get", "post", "patch", "delete"] {
            assert!(methods.contains(method), "{methods}");
        }
        let headers = text(&answer.headers, "access-control-allow-headers").expect("headers");
        assert!(headers.contains("authorization") && headers.contains("content-type"), "{headers}");
    }
    let call = async |server: &TestServer, origin: &str| {
        let headers = [("origin", origin), ("content-type", "application/json")];
        server.raw(Method::POST, "/v1/reading-sessions", &headers, "{}").await
    };
    let answer = call(&server, APP).await;
    assert_eq!(text(&answer.headers, ALLOW).as_deref(), Some(APP));
    let exposed = text(&answer.headers, "access-control-expose-headers").expect("headers");
    assert!(exposed.contains("retry-after"), "{exposed}");
    assert!(text(&answer.headers, "vary").is_some_and(|vary| vary.contains("origin")), "a cache must not mix them up");
    // Tokens travel in headers; no cookie of a visitor's ever counts.
    assert_eq!(text(&answer.headers, "access-control-allow-credentials"), None);
    answer.expect(201);
    // A page can read a refusal too.
    let refused = server.raw(Method::GET, "/v1/reading-sessions", &[("origin", APP)], "").await;
    assert_eq!(text(&refused.headers, ALLOW).as_deref(), Some(APP));
    refused.refused(401, "unauthenticated");

    let closed = TestServer::start(&[]).await;
    for (server, origin) in [
        (&server, "https://evil.example"),
        (&server, "https://app.example.evil.example"),
        (&server, "http://app.example"),
        (&server, "null"),
        (&closed, APP),
    ] {
        for answer in [call(server, origin).await, preflight(server, origin, "/v1/reading-sessions").await] {
            assert_eq!(text(&answer.headers, ALLOW), None, "{origin}");
        }
    }
}

#[tokio::test]
async fn a_page_of_another_site_opens_no_session_and_neither_does_one_under_a_name_of_its_own() {
    let server = TestServer::start(&[]).await;
    let address = server.address().to_string();
    // Without a body, which a browser sends for any page without a question.
    let open = async |headers: &[(&str, &str)]| server.raw(Method::POST, "/v1/reading-sessions", headers, "").await;
    let rebound = format!("evil.example:{}", server.address().port());
    for headers in [
        &[("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")][..],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("host", &rebound), ("origin", &format!("http://{rebound}")), ("sec-fetch-site", "same-origin")],
    ] {
        open(headers).await.refused(403, "origin_not_allowed");
    }
    let made: i64 = sqlx::query_scalar("SELECT count(*) FROM reading_sessions")
        .fetch_one(&server.database.pool)
        .await
        .expect("a count");
    assert_eq!(made, 0);
    for headers in [
        &[("origin", format!("http://{address}").as_str()), ("sec-fetch-site", "same-origin")][..],
        &[("sec-fetch-site", "none")],
        // No browser.
        &[("host", "presence")],
        &[],
    ] {
        open(headers).await.expect(201);
    }
    // A token is shown by those only who may.
    let una = format!("Bearer {}", user(Uuid::now_v7(), "Una"));
    open(&[("authorization", &una), ("sec-fetch-site", "cross-site")]).await.expect(201);
}

#[tokio::test]
async fn pages_and_the_client_are_served_with_their_types_and_a_strict_policy() {
    let server = TestServer::start(&[]).await;
    for (path, kind) in [
        ("/", "text/html"),
        ("/join/x", "text/html"),
        ("/join/lsi_0123456789abcdef", "text/html"),
        ("/static/client/lastseen.js", "text/javascript"),
        ("/static/style.css", "text/css"),
    ] {
        let answer = server.get(path, None).await;
        let header = |name: &str| answer.headers[name].to_str().expect("text").to_owned();
        assert_eq!(header("content-type").split(';').next(), Some(kind), "{path}");
        let policy = header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        // The address of a page holds an invite token.
        assert_eq!(header("referrer-policy"), "no-referrer");
        let body = answer.expect(200);
        let text = body.as_str().expect("text");
        assert!(!text.is_empty());
        if kind == "text/html" {
            // The policy would keep these from working.
            assert!(!text.contains("<script>") && !text.contains("style=") && !text.contains(" onclick="), "{path}");
            let named = ["src=\"", "href=\""].iter().flat_map(|key| text.split(key).skip(1));
            let named: Vec<_> = named.filter_map(|rest| rest.split('"').next()).collect();
            assert!(named.iter().any(|path| path.ends_with(".js")), "{named:?}");
            // Relative: the server may be below a path that only its browsers see.
            let page = reqwest::Url::parse("http://lastseen").expect("a URL").join(path).expect("a URL");
            for used in named.into_iter().filter(|used| !used.starts_with('#')) {
                assert!(!used.starts_with('/'), "{used}");
                server.get(page.join(used).expect("a URL").path(), None).await.expect(200);
            }
        }
    }
    let moved = server.get("/lastseen.js", None).await;
    assert_eq!(
        (moved.status.as_u16(), &moved.headers["location"]),
        (308, &"/static/client/lastseen.js".parse().unwrap())
    );
    server.post("/", None, Value::Null).await.refused(405, "method_not_allowed");
}

/// What the page of a room is told of its server.
async fn told_to_the_page(server: &TestServer) -> Value {
    let page = server.get("/join/lsi_0123456789abcdef", None).await.expect(200);
    let (_, rest) = page.as_str().expect("text").split_once("<meta name=\"lastseen\" content=\"").expect("the place");
    let told = rest.split('"').next().expect("its end").replace("&quot;", "\"").replace("&amp;", "&");
    serde_json::from_str(&told).expect("JSON")
}

#[tokio::test]
async fn the_page_of_a_room_is_told_where_home_is_and_what_the_server_is_for() {
    let server = TestServer::start(&[]).await;
    let told = told_to_the_page(&server).await;
    assert_eq!(told, json!({"home_url": null, "dead_link_redirect_ms": null, "guest_hosts": true, "dev": true}));

    let home = ["--home-url", "https://app.example/?a=1&b=2", "--dead-link-redirect", "1500ms"];
    let public = ["--public-url", "https://presence.example"];
    let server = TestServer::start(&[&home[..], &public].concat()).await;
    let told = told_to_the_page(&server).await;
    assert_eq!(told["home_url"], "https://app.example/?a=1&b=2");
    assert_eq!((&told["dead_link_redirect_ms"], &told["guest_hosts"]), (&json!(1500), &json!(false)));
    assert_eq!(told["dev"], false, "a server that others reach is not for tests");

    let server = TestServer::start(&["--public-url", "https://presence.example", "--dev"]).await;
    assert_eq!(told_to_the_page(&server).await["dev"], true);
}

/// The status line of an answer to a path that no client library would send.
async fn status_of(server: &TestServer, path: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).await.expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an answer in time").expect("an answer");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn no_path_leads_out_of_the_pages() {
    let server = TestServer::start(&[]).await;
    assert_eq!(status_of(&server, "/static/style.css").await, "HTTP/1.1 200 OK");
    for path in [
        "/static/../Cargo.toml",
        "/static/%2e%2e/Cargo.toml",
        "/static/..%2fCargo.toml",
        "/static/client/../../Cargo.toml",
        "/static/client/../style.css",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/../Cargo.toml",
        "/static/..\\Cargo.toml",
        "/static/style.css%00.html",
        "/static/client",
        "/static/client/",
        "/static/",
        "/static",
    ] {
        assert_eq!(status_of(&server, path).await, "HTTP/1.1 404 Not Found", "{path}");
    }
}
