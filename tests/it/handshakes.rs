//! Handshakes as clients and proxies of all kinds send them: what an empty value means, which header a proxy took out,
//! which subprotocols have to be offered; and what the log has of those that are refused before the upgrade.

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::cluster::TestDatabase;
use crate::harness::process::Process;
use crate::harness::raw::Raw;
use crate::harness::rest::{Rest, user};
use crate::harness::server::SECRET;
use crate::harness::{Client, Join, TestServer};

/// The lines of a handshake.
const LINES: [&str; 5] = [
    "Host: presence.example",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

#[tokio::test]
async fn empty_keys_of_the_query_are_not_there() {
    let server = TestServer::start(&[]).await;
    let open = server.open().await;
    let id = open.id.to_string();
    let with = |more: &str| Join { more: more.to_owned(), ..Join::default() };
    for none in ["resume=", "resume=null", "resume=undefined"] {
        let ada =
            Client::join(server.address(), open.id, &with(&format!("{none}&invite={}&name=Ada", open.invite))).await;
        assert_eq!(ada.view[&ada.id()]["name"], "Ada", "{none}");
        // The resume token, and of the rest nothing.
        let back = format!("invite=&name=&resume={}", ada.resume_token());
        assert_eq!(Client::join(server.address(), open.id, &with(&back)).await.id(), ada.id());
    }
    let una =
        Join { token: Some(user(Uuid::now_v7(), "Una")), ..with(&format!("resume=null&name=&invite={}", open.invite)) };
    let una = Client::join(server.address(), open.id, &una).await;
    assert_eq!(una.view[&una.id()]["name"], "Una", "the name of the JWT");
    // Null is a name, and what is not a token is a bad one.
    let null = Client::join(server.address(), open.id, &with(&format!("invite={}&name=null", open.invite))).await;
    assert_eq!(null.view[&null.id()]["name"], "null");
    for (query, code) in [
        ("invite=&name=Ada", "unauthenticated"),
        ("invite=null&name=Ada", "unauthenticated"),
        ("resume=", "unauthenticated"),
        ("resume=nil&invite=lsi_x&name=Ada", "unauthenticated"),
        ("invite=lsi_x&name=Ada", "invite_not_found"),
    ] {
        assert_eq!(Client::refused(server.address(), &id, &with(query)).await.error["code"], code, "{query}");
    }
    let nameless = Client::refused(server.address(), &id, &with(&format!("invite={}&name=", open.invite))).await;
    assert_eq!((nameless.code, &nameless.error["message"]), (4522, &json!("name: is needed to join")));
}

#[tokio::test]
async fn unknown_keys_of_the_query_are_ignored_so_that_new_clients_work_with_old_servers() {
    let server = TestServer::start(&[]).await;
    let open = server.open().await;
    let way = Join { more: "vsn=2.0.0&_=1".to_owned(), ..Join::invite(&open.invite, "Ada") };
    Client::join(server.address(), open.id, &way).await;
}

#[tokio::test]
async fn an_empty_resume_token_makes_no_stranger_cheaper() {
    // Two handshakes of strangers.
    let server = TestServer::start(&["--max-handshakes-per-minute", "10", "--max-sessions-per-minute", "9"]).await;
    let open = server.open_as(Some(&user(Uuid::now_v7(), "Hera")), json!({})).await;
    let way = Join { more: "resume=".to_owned(), ..Join::invite(&open.invite, "Ada") };
    let mut let_in = 0;
    while server.handshake(&open.id.to_string(), &way).await.status == 101 {
        let_in += 1;
        assert!(let_in < 8, "each counts as one of a person who is known");
    }
}

#[tokio::test]
async fn a_token_is_offered_beside_the_protocol_or_refused_with_a_hint() {
    let server = TestServer::start(&[]).await;
    let host = Uuid::now_v7();
    let open = server.open_as(Some(&user(host, "Hera")), json!({})).await;
    let of = |offered: String| Join { headers: vec![("sec-websocket-protocol", offered)], ..Join::default() };
    let bearer = format!("lastseen.bearer.{}", user(host, "Hera"));
    for offered in [bearer.clone(), "lastseen.resume.lsr_x".to_owned(), format!("chat, {bearer}")] {
        let answer = server.handshake(&open.id.to_string(), &of(offered.clone())).await;
        let hint = answer.refused(400, "invalid_request");
        assert_eq!(hint, "Offer the subprotocol lastseen.v1 beside the one with the token.", "{offered}");
    }
    Client::join(server.address(), open.id, &of(format!("{bearer}, lastseen.v1"))).await;
}

/// A handshake of these lines, and its refusal.
async fn refused(rest: &Rest, path: &str, version: &str, lines: &[&str]) -> (u16, String) {
    let mut raw = Raw::connect(rest.address).await;
    let request = format!("GET {path} HTTP/{version}\r\n{}\r\nAccept-Encoding: identity\r\n\r\n", lines.join("\r\n"));
    raw.send(request.as_bytes()).await;
    let head = raw.head().await;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let problem: Value = serde_json::from_str(&raw.body(&head).await).expect("a problem");
    (status, problem["detail"].as_str().expect("a detail").to_owned())
}

#[tokio::test]
async fn a_handshake_that_lacks_something_is_told_which_header_a_proxy_took_out() {
    let server = TestServer::start(&[]).await;
    let open = server.open().await;
    let path = format!("/v1/reading-sessions/{}/ws?invite={}&name=Ada", open.id, open.invite);
    let without = async |gone: &[&str], version: &str| {
        let lines: Vec<_> = LINES.into_iter().filter(|line| !gone.iter().any(|gone| line.starts_with(gone))).collect();
        refused(&server, &path, version, &lines).await
    };
    for (gone, status, lacks) in [
        (&["Upgrade"][..], 426, "lacks Upgrade: websocket."),
        (&["Connection"], 426, "lacks Connection: Upgrade."),
        (&["Upgrade", "Connection"], 426, "lacks Upgrade: websocket, Connection: Upgrade."),
        (&["Sec-WebSocket-Key"], 400, "lacks Sec-WebSocket-Key."),
        (&["Sec-WebSocket-Version"], 400, "lacks Sec-WebSocket-Version."),
    ] {
        let (told, detail) = without(gone, "1.1").await;
        assert!(told == status && detail.contains(lacks), "{gone:?}: {told} {detail}");
    }
    // As nginx sends it without `proxy_http_version 1.1`.
    let (status, detail) = without(&["Upgrade", "Connection"], "1.0").await;
    assert!(status == 426 && detail.contains("Connection: Upgrade, and came as HTTP/1.0."), "{status} {detail}");
    let (status, detail) = without(&["Upgrade", "Connection", "Sec-"], "1.1").await;
    assert_eq!((status, detail.as_str()), (426, "Only WebSockets are served here."), "no handshake at all");
}

#[tokio::test]
async fn refusals_before_the_upgrade_are_logged_and_not_without_end() {
    let database = TestDatabase::new().await;
    let server = Process::serve(&["--database-url", &database.url(), "--jwt-secret", SECRET, "--node", "one"]).await;
    let open = server.rest.open().await;
    let path = format!("/v1/reading-sessions/{}/ws?invite={}&name=Ada", open.id, open.invite);
    let long = format!("Origin: https://{}.example", "x".repeat(1000));
    for number in 0..100 {
        let origin = if number == 0 { long.as_str() } else { "Origin: https://app.example" };
        let of_another = [&LINES[..], &[origin]].concat();
        assert_eq!(refused(&server.rest, &path, "1.1", &of_another).await.0, 403);
    }
    assert_eq!(refused(&server.rest, &path, "1.1", &LINES[..3]).await.0, 400);
    let eve = Join::invite("lsi_secretsecret", "Eve");
    server.rest.handshake(&open.id.to_string(), &eve).await.refused(404, "invite_not_found");
    let of_another = [("origin", "https://other.example")];
    let opened = server.rest.raw(reqwest::Method::POST, "/v1/reading-sessions", &of_another, "").await;
    opened.refused(403, "origin_not_allowed");

    server.signal(Signal::SIGTERM);
    let log = server.finished().await.stderr;
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let lines: Vec<_> = lines.iter().filter(|line| line["message"] == "refused a request").collect();
    let of = |code: &str| lines.iter().filter(|line| line["code"] == code).copied().collect::<Vec<_>>();
    let origins = of("origin_not_allowed");
    assert!((10..60).contains(&origins.len()), "some of a hundred: {}", origins.len());
    assert!(origins[0]["origin"].as_str().is_some_and(|origin| origin.len() == 200), "cut");
    let shown = (&origins[1]["origin"], &origins[1]["host"]);
    assert_eq!(shown, (&json!("https://app.example"), &json!("presence.example")));
    let handshake = of("invalid_request");
    assert_eq!(handshake.len(), 1);
    assert!(handshake[0]["detail"].as_str().is_some_and(|detail| detail.contains("Sec-WebSocket-Key")), "{log}");
    assert_eq!(handshake[0].get("origin"), None, "where it is of no use it is left out");
    assert_eq!(of("invite_not_found").len(), 1, "as a problem document");
    assert!(!log.contains("secretsecret"), "{log}");
}
