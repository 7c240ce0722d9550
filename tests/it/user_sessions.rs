//! User sessions over HTTP: one device of one user, its heartbeats, and how it ends.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::rest::{Answer, did, keys, service, user};
use crate::harness::rows::{UserSession, change_user_session, now, user_session};
use crate::harness::{Client, Join, TestServer, eventually};

/// All that a user session is shown with.
const FIELDS: [&str; 26] = [
    "id",
    "user_id",
    "session_id",
    "platform",
    "status",
    "started_at",
    "last_activity_at",
    "last_heartbeat_at",
    "expires_at",
    "ended_at",
    "end_reason",
    "total_duration_seconds",
    "activity_count",
    "frontend_connections",
    "sse_connections",
    "last_ws_connection",
    "connection_quality",
    "node",
    "device_info",
    "location_info",
    "metadata",
    "user_agent",
    "ip_address",
    "created_at",
    "updated_at",
    "simulator",
];

/// Two people with a JWT each.
struct People {
    ada: Uuid,
    adas: String,
    bobs: String,
}

impl People {
    fn new() -> Self {
        let ada = Uuid::now_v7();
        Self { ada, adas: user(ada, "Ada"), bobs: user(Uuid::now_v7(), "Bob") }
    }
}

async fn start(server: &TestServer, token: &str, session: &str) -> Answer {
    server.post("/v1/user-sessions", Some(token), json!({"session_id": session, "platform": "web"})).await
}

async fn call(server: &TestServer, token: &str, session: &str, what: &str, body: Value) -> Answer {
    let method = if what == "metadata" { Method::PATCH } else { Method::POST };
    server.call(method, &format!("/v1/user-sessions/{session}/{what}"), Some(token), body).await
}

async fn read(server: &TestServer, token: &str, session: &str) -> Answer {
    server.get(&format!("/v1/user-sessions/{session}"), Some(token)).await
}

async fn row(server: &TestServer, session: &str) -> UserSession {
    user_session(&server.database.pool, session).await.expect("a row")
}

/// Makes a session look as if it had no heartbeat for so long, by rules of one hour.
async fn silence(server: &TestServer, session: &str, minutes: i32) {
    sqlx::query(
        "UPDATE user_sessions SET started_at = now() - make_interval(mins => $2 + 10),
            last_heartbeat_at = now() - make_interval(mins => $2), last_activity_at = now() - make_interval(mins => $2),
            expires_at = now() + make_interval(mins => 60 - $2) WHERE session_id = $1",
    )
    .bind(session)
    .bind(minutes)
    .execute(&server.database.pool)
    .await
    .expect("an update");
}

#[tokio::test]
async fn a_session_is_started_once_and_continued_by_the_same_call() {
    let server = TestServer::start(&[]).await;
    let people = People::new();
    let body = json!({"session_id": "laptop", "platform": "web", "device_info": {"os": "Linux"},
        "location_info": {"city": "Bath"}, "metadata": {"theme": "dark"}});
    let began = now(&server.database.pool).await;
    let started = server.post("/v1/user-sessions", Some(&people.adas), body.clone()).await.expect(201);
    assert_eq!(keys(&started), FIELDS.into_iter().chain(["other_active"]).collect::<BTreeSet<_>>());
    for (key, value) in [
        ("user_id", json!(people.ada)),
        ("session_id", json!("laptop")),
        ("platform", json!("web")),
        ("status", json!("active")),
        ("ended_at", Value::Null),
        ("end_reason", Value::Null),
        ("total_duration_seconds", Value::Null),
        ("activity_count", json!(0)),
        ("frontend_connections", json!(0)),
        ("connection_quality", Value::Null),
        ("node", Value::Null),
        ("device_info", json!({"os": "Linux"})),
        ("location_info", json!({"city": "Bath"})),
        ("metadata", json!({"theme": "dark"})),
        ("ip_address", json!("127.0.0.0/24")),
        ("simulator", Value::Null),
        ("other_active", json!([])),
    ] {
        assert_eq!(started[key], value, "{key}");
    }
    let first = row(&server, "laptop").await;
    assert_eq!(first.id.get_version_num(), 7);
    assert!(first.started_at >= began - TimeDelta::milliseconds(1), "{first:?}");
    assert_eq!(first.expires_at, first.last_heartbeat_at + TimeDelta::hours(1));

    // The same again is the same session, and fields that are not sent stay.
    let again = start(&server, &people.adas, "laptop").await.expect(200);
    assert_eq!((&again["id"], &again["started_at"]), (&started["id"], &started["started_at"]));
    assert_eq!(again["metadata"], json!({"theme": "dark"}));
    assert!(row(&server, "laptop").await.expires_at > first.expires_at, "to start it is a heartbeat");
    let replaced = json!({"session_id": "laptop", "platform": "web", "metadata": {}});
    let replaced = server.post("/v1/user-sessions", Some(&people.adas), replaced).await.expect(200);
    assert_eq!((&replaced["metadata"], &replaced["device_info"]), (&json!({}), &json!({"os": "Linux"})));

    // Which others of the user are alive.
    start(&server, &people.adas, "old phone").await.expect(201);
    start(&server, &people.adas, "tablet").await.expect(201);
    start(&server, &people.bobs, "bobs").await.expect(201);
    silence(&server, "old phone", 61).await;
    call(&server, &people.adas, "tablet", "end", json!({"end_reason": "app_close"})).await.expect(200);
    let phone = json!({"session_id": "phone", "platform": "ios-internal"});
    let phone = server.post("/v1/user-sessions", Some(&people.adas), phone).await.expect(201);
    let others = phone["other_active"].as_array().expect("a list");
    assert_eq!(others.iter().map(|other| &other["session_id"]).collect::<Vec<_>>(), ["laptop"]);
    let brief = ["session_id", "platform", "status", "started_at", "last_activity_at", "last_heartbeat_at"];
    assert_eq!(keys(&others[0]), BTreeSet::from(brief));
}

#[tokio::test]
async fn an_id_belongs_to_one_user_on_one_platform_and_is_not_used_twice() {
    let server = TestServer::start(&[]).await;
    let people = People::new();
    start(&server, &people.adas, "one").await.expect(201);
    let before = row(&server, "one").await;
    start(&server, &people.bobs, "one").await.refused(409, "session_id_taken");
    let elsewhere = json!({"session_id": "one", "platform": "ios-widget"});
    server.post("/v1/user-sessions", Some(&people.adas), elsewhere).await.refused(409, "session_id_taken");
    assert_eq!(row(&server, "one").await, before);

    silence(&server, "one", 60).await;
    start(&server, &people.adas, "one").await.refused(409, "session_ended");
    start(&server, &people.adas, "two").await.expect(201);
    call(&server, &people.adas, "two", "end", json!({"end_reason": "logout"})).await.expect(200);
    start(&server, &people.adas, "two").await.refused(409, "session_ended");

    // Of many that start one id at once, one makes it.
    let (server, adas) = (&server, people.adas.as_str());
    let starts = futures_util::future::join_all((0..8).map(|_| start(server, adas, "race"))).await;
    let mut statuses: Vec<_> = starts.iter().map(|answer| answer.status.as_u16()).collect();
    statuses.sort_unstable();
    // One that was repeated may have made it before.
    let repeated = starts.iter().any(|answer| answer.before > 0);
    assert!(statuses[..7] == [200; 7] && (statuses[7] == 201 || statuses[7] == 200 && repeated), "{statuses:?}");
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_with_its_field() {
    let server = TestServer::start(&[]).await;
    let people = People::new();
    // {"a":"…"} is eight bytes around the text.
    let object = |bytes: usize| json!({"a": "x".repeat(bytes - 8)});
    let with = |key: &str, value: Value| {
        let mut body = json!({"session_id": Uuid::now_v7(), "platform": "web"});
        body[key] = value;
        body
    };
    for (field, body) in [
        ("session_id", with("session_id", json!(""))),
        ("session_id", with("session_id", json!("x".repeat(129)))),
        ("session_id", with("session_id", json!("a\u{0}b"))),
        ("session_id", with("session_id", json!("a\u{85}b"))),
        ("session_id", with("session_id", json!("summary"))),
        ("session_id", with("session_id", json!(7))),
        ("platform", with("platform", json!("Web"))),
        ("platform", with("platform", json!("android"))),
        ("device_info", with("device_info", json!([]))),
        ("device_info", with("device_info", json!("text"))),
        ("device_info", with("device_info", object(8193))),
        ("location_info", with("location_info", object(8193))),
        ("location_info", with("location_info", json!({"a": ["\u{0}"]}))),
        ("metadata", with("metadata", object(8193))),
        ("metadata", with("metadata", json!({"\u{0}": 1}))),
        ("status", with("status", json!("active"))),
        ("user_id", with("user_id", json!(Uuid::now_v7()))),
    ] {
        let answer = server.post("/v1/user-sessions", Some(&people.adas), body.clone()).await;
        assert_eq!(answer.body["errors"][0]["field"], field, "{body}: {}", answer.body);
        answer.refused(422, "invalid_request");
    }
    let mut widest = with("session_id", json!("🂡".repeat(128)));
    for key in ["device_info", "location_info", "metadata"] {
        widest[key] = object(8192);
    }
    let kept = server.post("/v1/user-sessions", Some(&people.adas), widest).await.expect(201);
    assert_eq!(kept["metadata"], object(8192));

    let body = with("session_id", json!("of nobody"));
    server.post("/v1/user-sessions", None, body.clone()).await.refused(401, "unauthenticated");
    server.post("/v1/user-sessions", Some(&service()), body.clone()).await.refused(403, "forbidden");
    let open = server.open().await;
    let guest = server.guest(&open, "Gus").await;
    server.post("/v1/user-sessions", Some(&guest.resume_token()), body).await.refused(403, "forbidden");
    assert_eq!(user_session(&server.database.pool, "of nobody").await, None);
}

#[tokio::test]
async fn of_the_address_the_network_is_kept_and_of_the_user_agent_the_beginning() {
    let agent = "Ünïcode ".repeat(100);
    for (proxies, hops, network) in [
        (&["--trusted-proxies", "127.0.0.0/8"][..], "6.6.6.6, 203.0.113.77", "203.0.113.0/24"),
        (&["--trusted-proxies", "127.0.0.0/8"], "2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        (&[], "203.0.113.77", "127.0.0.0/24"),
    ] {
        let server = TestServer::start(proxies).await;
        let bearer = format!("Bearer {}", People::new().adas);
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("x-forwarded-for", hops),
            ("user-agent", &agent),
        ];
        let body = json!({"session_id": "one", "platform": "web"}).to_string();
        let started = server.raw(Method::POST, "/v1/user-sessions", &headers, body).await.expect(201);
        assert_eq!(started["ip_address"], network);
        let kept: String = agent.chars().take(512).collect();
        assert_eq!(started["user_agent"], kept);
    }
}

#[tokio::test]
async fn ids_may_hold_what_a_path_cannot_and_are_then_percent_encoded() {
    let server = TestServer::start(&[]).await;
    let people = People::new();
    for (id, path) in [("a/b?c", "a%2Fb%3Fc"), (" é%", "%20%C3%A9%25")] {
        start(&server, &people.adas, id).await.expect(201);
        let beat = call(&server, &people.adas, path, "heartbeat", Value::Null).await.expect(200);
        assert_eq!(beat["session_id"], id);
    }
    for path in ["a%00b", "a%0Ab", "%FF", "", &"x".repeat(129)] {
        let answer = read(&server, &people.adas, path).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.body);
    }
}

#[tokio::test]
async fn lists_show_a_user_its_own_and_the_service_all_by_pages_and_filters() {
    let server = TestServer::start(&[]).await;
    let people = People::new();
    for index in 0..5 {
        start(&server, &people.adas, &format!("web {index}")).await.expect(201);
    }
    let phone = json!({"session_id": "phone", "platform": "ios-external"});
    server.post("/v1/user-sessions", Some(&people.adas), phone).await.expect(201);
    start(&server, &people.bobs, "bobs").await.expect(201);
    call(&server, &people.adas, "web 0", "end", json!({"end_reason": "manual"})).await.expect(200);
    silence(&server, "web 1", 60).await;

    let list = async |token: &str, query: &str| {
        let page = server.get(&format!("/v1/user-sessions?{query}"), Some(token)).await.expect(200);
        let ids = page["items"].as_array().expect("a list").iter().map(|item| item["session_id"].clone());
        (ids.collect::<Vec<Value>>(), page["next_cursor"].clone())
    };
    let ids = async |token: &str, query: &str| list(token, query).await.0;
    let ada = people.ada;
    assert_eq!(ids(&people.adas, "").await, ["phone", "web 4", "web 3", "web 2", "web 0", "web 1"]);
    assert_eq!(ids(&people.bobs, "").await, ["bobs"]);
    assert_eq!(ids(&people.bobs, &format!("user_id={ada}")).await, Vec::<Value>::new(), "another's are not there");
    assert_eq!(ids(&service(), "").await.len(), 7);
    assert_eq!(ids(&service(), &format!("user_id={ada}&platform=ios-external")).await, ["phone"]);
    assert_eq!(ids(&people.adas, "status=ended").await, ["web 0"]);
    assert_eq!(ids(&people.adas, "status=timeout").await, ["web 1"], "before the sweep has come by");
    assert_eq!(ids(&people.adas, "status=active&platform=web").await, ["web 4", "web 3", "web 2"]);
    assert_eq!(ids(&people.adas, "status=idle").await, Vec::<Value>::new());

    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let (page, next) = list(&people.adas, &format!("limit=4{cursor}")).await;
        pages.push(page);
        let Some(next) = next.as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(pages.concat(), ids(&people.adas, "").await);
    assert_eq!(pages.len(), 2);

    for (field, query) in
        [("status", "status=gone"), ("platform", "platform=Web"), ("user_id", "user_id="), ("limit", "limit=0")]
    {
        let answer = server.get(&format!("/v1/user-sessions?{query}"), Some(&people.adas)).await;
        assert_eq!(answer.body["errors"][0]["field"], field);
        answer.refused(422, "invalid_request");
    }
    server.get("/v1/user-sessions", None).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_heartbeat_moves_what_it_says() {
    let server = TestServer::start(&[]).await;
    let people = People::new();
    start(&server, &people.adas, "one").await.expect(201);
    let beat = async |body: Value| call(&server, &people.adas, "one", "heartbeat", body).await;
    silence(&server, "one", 30).await;

    // Without activity for longer than idle-after it is idle.
    let before = row(&server, "one").await;
    let shown = beat(json!({"active": false})).await.expect(200);
    assert_eq!(keys(&shown), BTreeSet::from(FIELDS));
    let unattended = row(&server, "one").await;
    assert_eq!((unattended.status.as_str(), unattended.activity_count), ("idle", 0));
    assert!(unattended.last_heartbeat_at > before.last_heartbeat_at + TimeDelta::minutes(29));
    assert_eq!(unattended.expires_at, unattended.last_heartbeat_at + TimeDelta::hours(1));
    assert_eq!(unattended.last_activity_at, before.last_activity_at);

    // One without a field is activity, once.
    assert_eq!(beat(Value::Null).await.expect(200)["status"], "active");
    let active = row(&server, "one").await;
    assert_eq!((active.activity_count, active.last_activity_at), (1, active.last_heartbeat_at));
    beat(json!({"activity_count": 41})).await.expect(200);
    beat(json!({"activity_count": 0, "active": true})).await.expect(200);
    assert_eq!(row(&server, "one").await.activity_count, 42);
    let stamp = row(&server, "one").await.last_activity_at;
    assert_eq!(beat(json!({"activity_count": 1, "active": false})).await.expect(200)["activity_count"], 43);
    assert_eq!(row(&server, "one").await.last_activity_at, stamp);
    change_user_session(
        &server.database.pool,
        "UPDATE user_sessions SET status = 'reconnecting' WHERE session_id = $1",
        "one",
    )
    .await;
    assert_eq!(beat(json!({"active": false})).await.expect(200)["status"], "active", "it has heartbeats again");

    for body in [json!({"activity_count": -1}), json!({"activity_count": 1_000_001}), json!({"active": "yes"})] {
        beat(body).await.refused(422, "invalid_request");
    }
    call(&server, &people.adas, "none", "heartbeat", json!({})).await.refused(404, "session_not_found");
}

#[tokio::test]
async fn a_session_that_is_over_is_not_raised_by_anything() {
    let server = TestServer::start(&[]).await;
    let people = People::new();
    for (id, minutes) in [("ended", 1), ("overdue", 60), ("swept", 60)] {
        start(&server, &people.adas, id).await.expect(201);
        silence(&server, id, minutes).await;
    }
    call(&server, &people.adas, "ended", "end", json!({"end_reason": "crash"})).await.expect(200);
    change_user_session(
        &server.database.pool,
        "UPDATE user_sessions SET expires_at = now() + interval '1 hour' WHERE session_id = $1",
        "overdue",
    )
    .await;
    assert_eq!(did(&server.sweep().await), json!({"user_sessions_timed_out": 1}));
    assert_eq!(did(&server.sweep().await), json!({}), "once");
    silence(&server, "overdue", 60).await;

    for id in ["ended", "overdue", "swept"] {
        let before = row(&server, id).await;
        for token in [&people.adas, &service()] {
            for (what, body) in
                [("heartbeat", json!({})), ("metadata", json!({"a": 1})), ("end", json!({"end_reason": "logout"}))]
            {
                call(&server, token, id, what, body).await.refused(409, "session_ended");
            }
        }
        start(&server, &people.adas, id).await.refused(409, "session_ended");
        assert_eq!(row(&server, id).await, before, "{id}");
    }
    // What the sweep has done and what it is going to do look alike.
    for id in ["overdue", "swept"] {
        let shown = read(&server, &people.adas, id).await.expect(200);
        assert_eq!((&shown["status"], &shown["end_reason"]), (&json!("timeout"), &json!("timeout")), "{id}");
        assert_eq!(shown["ended_at"], shown["last_heartbeat_at"], "{id}");
        assert_eq!(shown["total_duration_seconds"], 600, "{id}");
    }
    assert_eq!(row(&server, "swept").await.status, "timeout");
}

/// JSONB writes them out digit by digit, and they have to be read again.
#[tokio::test]
async fn numbers_that_were_taken_are_told_again_however_large_or_small() {
    let server = TestServer::start(&[]).await;
    let people = People::new();
    let numbers = json!({"n": [f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, 1.539_695_400_147_460_8e-249, i64::MIN, u64::MAX, 0.1]});
    let body = json!({"session_id": "one", "platform": "web", "device_info": numbers});
    assert_eq!(server.post("/v1/user-sessions", Some(&people.adas), body).await.expect(201)["device_info"], numbers);
    let told = server.get("/v1/user-sessions/one", Some(&people.adas)).await.expect(200);
    assert_eq!(told["device_info"], numbers);
}

#[tokio::test]
async fn metadata_is_changed_by_merge_patches_none_of_which_is_lost() {
    let server = TestServer::start(&[]).await;
    let people = People::new();
    start(&server, &people.adas, "one").await.expect(201);
    let patch = async |body: Value| call(&server, &people.adas, "one", "metadata", body).await;
    let before = row(&server, "one").await;
    for (change, result) in [
        (json!({"a": "b", "c": {"d": "e", "f": "g"}}), json!({"a": "b", "c": {"d": "e", "f": "g"}})),
        (json!({"a": "z", "c": {"f": null}}), json!({"a": "z", "c": {"d": "e"}})),
        (json!({"a": [1], "c": "d"}), json!({"a": [1], "c": "d"})),
        (json!({"a": {"b": null}, "x": null}), json!({"a": {}, "c": "d"})),
        (json!({}), json!({"a": {}, "c": "d"})),
        (json!({"a": null, "c": null}), json!({})),
    ] {
        assert_eq!(patch(change).await.expect(200)["metadata"], result);
    }
    assert_eq!(row(&server, "one").await.last_heartbeat_at, before.last_heartbeat_at, "it is no heartbeat");
    let bearer = format!("Bearer {}", people.adas);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/merge-patch+json")];
    let path = "/v1/user-sessions/one/metadata";
    assert_eq!(server.raw(Method::PATCH, path, &headers, r#"{"a":1}"#).await.expect(200)["metadata"], json!({"a": 1}));

    // At once: each is applied to what the one before left.
    let patch_at_once = async |index: u32| patch(json!({ format!("key {index}"): index })).await;
    for answer in futures_util::future::join_all((0..20).map(patch_at_once)).await {
        answer.expect(200);
    }
    assert_eq!(row(&server, "one").await.metadata.as_object().expect("an object").len(), 21);

    // The result is bounded, not the patch alone.
    let half = "x".repeat(5000);
    patch(json!({"half": half})).await.expect(200);
    let full = row(&server, "one").await;
    assert_eq!(patch(json!({"other half": half})).await.body["errors"][0]["field"], "metadata");
    patch(json!({"other half": half})).await.refused(422, "invalid_request");
    patch(json!({"a": "\u{0}"})).await.refused(422, "invalid_request");
    patch(json!([1])).await.refused(422, "invalid_request");
    assert_eq!(row(&server, "one").await, full);
    call(&server, &people.adas, "none", "metadata", json!({})).await.refused(404, "session_not_found");
}

#[tokio::test]
async fn a_session_ends_once_with_its_reason_and_its_length() {
    let server = TestServer::start(&[]).await;
    let people = People::new();
    for reason in ["logout", "timeout", "manual", "app_close", "crash"] {
        start(&server, &people.adas, reason).await.expect(201);
        silence(&server, reason, 50).await;
        let ended = call(&server, &people.adas, reason, "end", json!({"end_reason": reason})).await.expect(200);
        assert_eq!((&ended["status"], &ended["end_reason"]), (&json!("ended"), &json!(reason)));
        let seconds = ended["total_duration_seconds"].as_i64().expect("a length");
        let row = row(&server, reason).await;
        assert_eq!(seconds, (row.ended_at.expect("an end") - row.started_at).num_seconds());
        assert!(seconds >= 3600, "{seconds}");
        call(&server, &people.adas, reason, "end", json!({"end_reason": reason})).await.refused(409, "session_ended");
    }
    start(&server, &people.adas, "on").await.expect(201);
    for body in [json!({}), json!({"end_reason": "boredom"}), json!({"end_reason": null})] {
        call(&server, &people.adas, "on", "end", body).await.refused(422, "invalid_request");
    }
    call(&server, &people.adas, "none", "end", json!({"end_reason": "logout"})).await.refused(404, "session_not_found");
}

#[tokio::test]
async fn nobody_reaches_the_session_of_another_but_the_service() {
    let server = TestServer::start(&[]).await;
    let people = People::new();
    start(&server, &people.adas, "adas").await.expect(201);
    let before = row(&server, "adas").await;
    let calls = [
        (Method::GET, "", Value::Null),
        (Method::POST, "/heartbeat", json!({})),
        (Method::PATCH, "/metadata", json!({"a": 1})),
        (Method::POST, "/end", json!({"end_reason": "logout"})),
    ];
    let open = server.open().await;
    let guest = server.guest(&open, "Gus").await;
    for (method, what, body) in calls.clone() {
        let path = format!("/v1/user-sessions/adas{what}");
        let ask = async |token: Option<&str>| server.call(method.clone(), &path, token, body.clone()).await;
        ask(Some(&people.bobs)).await.refused(404, "session_not_found");
        ask(Some(&guest.resume_token())).await.refused(403, "forbidden");
        ask(None).await.refused(401, "unauthenticated");
        assert_eq!(row(&server, "adas").await, before, "{path}");
    }
    for (method, what, body) in calls {
        let path = format!("/v1/user-sessions/adas{what}");
        server.call(method, &path, Some(&service()), body).await.expect(200);
    }
}

#[tokio::test]
async fn what_a_user_asks_is_bound_by_the_policies() {
    // Each without the one policy that lets it through: the handler alone does not.
    let create = (Method::POST, "", json!({"session_id": "two", "platform": "web"}));
    let read = (Method::GET, "/one", Value::Null);
    let beat = (Method::POST, "/one/heartbeat", json!({}));
    let patch = (Method::PATCH, "/one/metadata", json!({"a": 1}));
    let end = (Method::POST, "/one/end", json!({"end_reason": "logout"}));
    for (policy, calls) in [
        ("users_start_their_sessions", vec![(create, 500)]),
        ("users_see_their_sessions", vec![(read, 404)]),
        ("users_change_their_sessions", vec![(beat, 409), (patch, 409), (end, 409)]),
    ] {
        let server = TestServer::start(&[]).await;
        let people = People::new();
        start(&server, &people.adas, "one").await.expect(201);
        let drop = sqlx::AssertSqlSafe(format!("DROP POLICY {policy} ON user_sessions"));
        sqlx::query(drop).execute(&server.database.pool).await.expect("dropped");
        for ((method, what, body), status) in calls {
            let path = format!("/v1/user-sessions{what}");
            let answer = server.call(method, &path, Some(&people.adas), body).await;
            assert_eq!(answer.status.as_u16(), status, "{policy}: {}", answer.body);
        }
    }
}

#[tokio::test]
async fn the_summary_counts_what_is_alive_for_a_user_their_own_and_for_the_service_all() {
    let server = TestServer::start(&[]).await;
    let people = People::new();
    let path = "/v1/user-sessions/summary";
    assert_eq!(server.get(path, Some(&service())).await.expect(200), json!({"items": []}));
    for (id, minutes) in [("a", 10), ("b", 30), ("overdue", 60)] {
        start(&server, &people.adas, id).await.expect(201);
        silence(&server, id, minutes).await;
    }
    start(&server, &people.adas, "ended").await.expect(201);
    call(&server, &people.adas, "ended", "end", json!({"end_reason": "logout"})).await.expect(200);
    let phone = json!({"session_id": "phone", "platform": "ios-widget"});
    server.post("/v1/user-sessions", Some(&people.bobs), phone).await.expect(201);

    let summary = server.get(path, Some(&service())).await.expect(200);
    let [widgets, web] = summary["items"].as_array().expect("a list").as_slice() else { panic!("{summary}") };
    let fields = ["platform", "active_count", "avg_session_minutes", "oldest_session", "latest_activity"];
    assert_eq!(keys(web), BTreeSet::from(fields));
    assert_eq!((&widgets["platform"], &widgets["active_count"]), (&json!("ios-widget"), &json!(1)));
    assert_eq!((&web["platform"], &web["active_count"]), (&json!("web"), &json!(2)));
    let minutes = web["avg_session_minutes"].as_f64().expect("a number");
    assert!((30.0..40.0).contains(&minutes), "{minutes}");
    assert_eq!(web["oldest_session"], read(&server, &people.adas, "b").await.expect(200)["started_at"]);
    assert_eq!(web["latest_activity"], read(&server, &people.adas, "a").await.expect(200)["last_activity_at"]);

    let of = async |token: &str| server.get(path, Some(token)).await.expect(200)["items"].clone();
    assert_eq!(of(&people.bobs).await, json!([widgets]), "a user's own");
    let adas = of(&people.adas).await;
    assert_eq!((&adas[0]["platform"], &adas[0]["active_count"], &adas[1]), (&json!("web"), &json!(2), &Value::Null));
    assert_eq!(of(&user(Uuid::now_v7(), "Cid")).await, json!([]));
    server.get(path, None).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn sessions_that_ended_are_deleted_after_their_retention() {
    let server = TestServer::start(&["--retention", "user-sessions=36h"]).await;
    let people = People::new();
    for id in ["old", "younger", "alive"] {
        start(&server, &people.adas, id).await.expect(201);
    }
    for id in ["old", "younger"] {
        call(&server, &people.adas, id, "end", json!({"end_reason": "logout"})).await.expect(200);
    }
    for (id, statement) in [
        ("old", "UPDATE user_sessions SET ended_at = now() - interval '37 hours' WHERE session_id = $1"),
        ("younger", "UPDATE user_sessions SET ended_at = now() - interval '35 hours' WHERE session_id = $1"),
    ] {
        change_user_session(&server.database.pool, statement, id).await;
    }
    assert_eq!(did(&server.sweep().await), json!({"user_sessions_purged": 1}));
    assert_eq!(user_session(&server.database.pool, "old").await, None);
    assert_eq!(server.metric("lastseen_swept_total{policy=\"user_sessions_purged\"}").await, 1.0);
    read(&server, &people.adas, "younger").await.expect(200);
    read(&server, &people.adas, "old").await.refused(404, "session_not_found");
}

#[tokio::test]
async fn the_server_times_out_by_itself_what_it_does_not_hear_of() {
    let server = TestServer::start(&["--ping-interval", "50ms", "--sweep-interval", "50ms"]).await;
    let people = People::new();
    let open = server.open().await;
    // The one holds a WebSocket, answers its Pings, and never calls; the other has no heartbeat.
    let join = Join {
        more: "platform=web&client_session=connected".into(),
        token: Some(people.bobs),
        ..Join::invite(&open.invite, "Bob")
    };
    let mut bob = Client::join(server.address(), open.id, &join).await;
    start(&server, &people.adas, "silent").await.expect(201);
    eventually("its row", async || user_session(&server.database.pool, "connected").await).await;
    silence(&server, "connected", 50).await;
    let silent = row(&server, "connected").await;
    eventually("a sign of the connected one", async || {
        bob.pinged(1).await;
        (row(&server, "connected").await.last_heartbeat_at > silent.last_heartbeat_at).then_some(())
    })
    .await;
    silence(&server, "silent", 61).await;
    eventually("the end of the silent one", async || (row(&server, "silent").await.status == "timeout").then_some(()))
        .await;
    let connected = row(&server, "connected").await;
    assert_eq!((connected.ended_at, connected.frontend_connections), (None, 1), "{connected:?}");
    let silent = row(&server, "silent").await;
    assert_eq!(silent.ended_at, Some(silent.last_heartbeat_at));
}
