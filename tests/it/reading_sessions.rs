//! Reading sessions over HTTP: who may do what, what the answers hold, what is refused and how.

use std::collections::BTreeSet;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use lastseen::store::PATIENCE;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::client::id;
use crate::harness::raw::Raw;
use crate::harness::rest::{Opened, keys, service, user};
use crate::harness::rows::waits_for_lock;
use crate::harness::{Client, Join, TestServer, eventually, quiet};

const SESSION: [&str; 10] = [
    "id",
    "title",
    "host_user_id",
    "is_active",
    "max_participants",
    "created_at",
    "last_seen_at",
    "expires_at",
    "closed_at",
    "close_reason",
];
const FRESH_INVITE: [&str; 7] = ["id", "token", "url", "max_uses", "uses", "expires_at", "role"];
const PARTICIPANT: [&str; 10] =
    ["id", "user_id", "name", "role", "status", "quality", "connections", "joined_at", "last_seen_at", "state"];

/// The keys of a session, and these.
fn session_and<'a>(more: &[&'a str]) -> BTreeSet<&'a str> {
    SESSION.iter().chain(more).copied().collect()
}

fn path(session: Uuid, rest: &str) -> String {
    format!("/v1/reading-sessions/{session}{rest}")
}

fn time(value: &Value) -> DateTime<Utc> {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no time"));
    assert!(text.ends_with('Z') && text.len() == "2026-11-21T09:30:00.123Z".len(), "{text}");
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A session of a user, with a caller of each kind; the last three may change it.
struct Cast {
    server: TestServer,
    session: Opened,
    callers: Vec<(&'static str, Option<String>)>,
    /// Holds them present.
    _present: Vec<Client>,
}

const HOSTS: [&str; 3] = ["guest host", "host", "service"];
const MEMBERS: [&str; 2] = ["guest", "member"];

impl Cast {
    async fn new() -> Self {
        let server = TestServer::start(&[]).await;
        let (host, member, outsider) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
        let (host, member) = (user(host, "Hana"), user(member, "Mel"));
        let session = server.open_as(Some(&host), json!({"title": "Middlemarch"})).await;
        let host_invite = server.post(&path(session.id, "/invites"), Some(&host), json!({"role": "host"})).await;
        let host_invite = host_invite.expect(201)["token"].as_str().expect("a token").to_owned();
        let elsewhere = server.open().await;

        let address = server.address();
        let by_invite = |token: &str, name: &str| Join::invite(token, name);
        let guest = Client::join(address, session.id, &by_invite(&session.invite, "Gus")).await;
        let guest_host = Client::join(address, session.id, &by_invite(&host_invite, "Gina")).await;
        let stranger = Client::join(address, elsewhere.id, &by_invite(&elsewhere.invite, "Sid")).await;
        let with_jwt = Join { invite: Some(session.invite.clone()), ..Join::token(&member) };
        let joined = Client::join(address, session.id, &with_jwt).await;
        let callers = vec![
            ("anonymous", None),
            ("bad token", Some("nonsense".to_owned())),
            ("guest of another session", Some(stranger.resume_token())),
            ("outsider", Some(user(outsider, "Oz"))),
            ("guest", Some(guest.resume_token())),
            ("member", Some(member)),
            ("guest host", Some(guest_host.resume_token())),
            ("host", Some(host)),
            ("service", Some(service())),
        ];
        Self { server, session, callers, _present: vec![guest, guest_host, stranger, joined] }
    }

    /// Checks that a call is refused to callers who are no hosts (`for_hosts`) or do not belong to the
    /// session, and gives the answers to the others.
    async fn call(&self, method: Method, rest: &str, body: Value, for_hosts: bool) -> Vec<Value> {
        let path = path(self.session.id, rest);
        let mut allowed = Vec::new();
        for (who, token) in &self.callers {
            let answer = self.server.call(method.clone(), &path, token.as_deref(), body.clone()).await;
            let expected = match *who {
                "anonymous" | "bad token" => Some((401, "unauthenticated")),
                "guest of another session" => Some((403, "forbidden")),
                // As if it did not exist: outsiders learn nothing of it.
                "outsider" => Some((404, "session_not_found")),
                who if for_hosts && MEMBERS.contains(&who) => Some((403, "forbidden")),
                _ => None,
            };
            println!("{method} {path} by {who}: {} {}", answer.status, answer.body);
            match expected {
                Some((status, code)) => drop(answer.refused(status, code)),
                None => allowed.push(answer.expect(if method == Method::POST { 201 } else { 200 })),
            }
        }
        assert_eq!(allowed.len(), if for_hosts { HOSTS.len() } else { HOSTS.len() + MEMBERS.len() });
        allowed
    }
}

#[tokio::test]
async fn the_people_of_a_session_may_look_at_it_and_nobody_else() {
    let cast = Cast::new().await;
    for session in cast.call(Method::GET, "", Value::Null, false).await {
        assert_eq!(keys(&session), session_and(&["occupancy"]));
        assert_eq!((&session["title"], &session["occupancy"]), (&json!("Middlemarch"), &json!(3)));
        assert_eq!(time(&session["expires_at"]) - time(&session["last_seen_at"]), TimeDelta::hours(1));
    }
    for presence in cast.call(Method::GET, "/participants", Value::Null, false).await {
        assert_eq!(keys(&presence), BTreeSet::from(["seq", "occupancy", "items", "next_cursor"]));
        let items = presence["items"].as_array().expect("a list");
        let names: Vec<_> = items.iter().map(|person| person["name"].as_str().expect("a name")).collect();
        // In the order in which they came. The host user has not connected: it is not present.
        assert_eq!(names, ["Gus", "Gina", "Mel"]);
        assert_eq!(presence["occupancy"], 3);
        for person in items {
            assert_eq!(keys(person), BTreeSet::from(PARTICIPANT));
        }
        let roles: Vec<_> = items.iter().map(|person| &person["role"]).collect();
        assert_eq!(roles, [&json!("guest"), &json!("host"), &json!("participant")]);
    }
    for expiry in cast.call(Method::GET, "/expiry", Value::Null, false).await {
        assert_eq!(keys(&expiry), BTreeSet::from(["expired", "last_seen_at", "expires_at", "minutes_until_expiry"]));
        assert_eq!(expiry["expired"], false);
    }
}

#[tokio::test]
async fn only_hosts_and_the_service_may_change_a_session() {
    let cast = Cast::new().await;
    for session in cast.call(Method::PATCH, "", json!({"title": "Emma", "max_participants": 12}), true).await {
        assert_eq!(keys(&session), session_and(&[]));
        assert_eq!((&session["title"], &session["max_participants"]), (&json!("Emma"), &json!(12)));
    }
    for invite in cast.call(Method::POST, "/invites", json!({}), true).await {
        assert_eq!(keys(&invite), BTreeSet::from(FRESH_INVITE));
    }
    for invites in cast.call(Method::GET, "/invites", Value::Null, true).await {
        assert_eq!(keys(&invites), BTreeSet::from(["items", "next_cursor"]));
    }
    // Callers who may delete get 404 for an unknown id, others 403.
    for (rest, code) in [("participants", "not_found"), ("invites", "invite_not_found")] {
        let path = path(cast.session.id, &format!("/{rest}/{}", Uuid::now_v7()));
        for (who, token) in &cast.callers {
            let answer = cast.server.delete(&path, token.as_deref()).await;
            match *who {
                "anonymous" | "bad token" => answer.refused(401, "unauthenticated"),
                "outsider" => answer.refused(404, "session_not_found"),
                who if HOSTS.contains(&who) => answer.refused(404, code),
                _ => answer.refused(403, "forbidden"),
            };
        }
    }
}

#[tokio::test]
async fn only_hosts_and_the_service_may_close_a_session() {
    for (closer, reason) in HOSTS.into_iter().zip(["host", "host", "admin"]) {
        let mut cast = Cast::new().await;
        let close = path(cast.session.id, "/close");
        for (who, token) in cast.callers.iter().filter(|(who, _)| !HOSTS.contains(who)) {
            let answer = cast.server.post(&close, token.as_deref(), Value::Null).await;
            match *who {
                "anonymous" | "bad token" => answer.refused(401, "unauthenticated"),
                "outsider" => answer.refused(404, "session_not_found"),
                _ => answer.refused(403, "forbidden"),
            };
        }
        let (_, token) = cast.callers.iter().find(|(who, _)| *who == closer).expect("a caller");
        let closed = cast.server.post(&close, token.as_deref(), Value::Null).await.expect(200);
        assert_eq!(keys(&closed), session_and(&[]));
        assert_eq!((&closed["is_active"], &closed["close_reason"]), (&json!(false), &json!(reason)));
        assert!(time(&closed["closed_at"]) >= time(&closed["created_at"]));

        for client in &mut cast._present {
            if client.welcome["session"]["id"] == closed["id"] {
                let ended = client.ended().await;
                assert_eq!((ended.code, &ended.error["code"]), (4511, &json!("session_closed")));
                assert_eq!((&ended.error["reason"], &ended.error["retry"]), (&json!(reason), &json!(false)));
            }
        }
    }
}

#[tokio::test]
async fn a_closed_session_is_told_as_closed_to_whoever_would_change_it() {
    let server = TestServer::start(&[]).await;
    let host = user(Uuid::now_v7(), "Hana");
    let session = server.open_as(Some(&host), json!({})).await;
    let guest = Client::join(server.address(), session.id, &Join::invite(&session.invite, "Gus")).await;
    server.post(&path(session.id, "/close"), Some(&host), Value::Null).await.expect(200);

    for (method, rest, body) in [
        (Method::POST, "/close".to_owned(), Value::Null),
        (Method::PATCH, String::new(), json!({"title": "Too late"})),
        (Method::POST, "/invites".to_owned(), json!({})),
        (Method::DELETE, format!("/participants/{}", guest.id()), Value::Null),
    ] {
        for token in [&host, &service()] {
            let answer = server.call(method.clone(), &path(session.id, &rest), Some(token), body.clone()).await;
            assert_eq!(answer.body["reason"], "host");
            answer.refused(410, "session_closed");
        }
    }
    // It can still be looked at by its people; a resume token is good until the session closes.
    let seen = server.get(&path(session.id, ""), Some(&host)).await.expect(200);
    assert_eq!((&seen["is_active"], &seen["title"], &seen["occupancy"]), (&json!(false), &json!(null), &json!(0)));
    assert_eq!(server.get(&path(session.id, "/expiry"), Some(&host)).await.expect(200)["expired"], true);
    server.get(&path(session.id, ""), Some(&guest.resume_token())).await.refused(410, "session_closed");
}

#[tokio::test]
async fn whoever_opens_a_session_gets_the_ways_into_it() {
    let server = TestServer::start(&[]).await;
    let guest = server.open().await;
    assert_eq!(keys(&guest.body), session_and(&["invite", "host_invite"]));
    assert_eq!((&guest.body["title"], &guest.body["host_user_id"]), (&json!(null), &json!(null)));
    assert_eq!((&guest.body["max_participants"], &guest.body["is_active"]), (&json!(100), &json!(true)));
    assert_eq!((&guest.body["closed_at"], &guest.body["close_reason"]), (&json!(null), &json!(null)));
    assert_eq!(time(&guest.body["expires_at"]) - time(&guest.body["last_seen_at"]), TimeDelta::hours(1));
    for (key, role) in [("invite", "guest"), ("host_invite", "host")] {
        let invite = &guest.body[key];
        assert_eq!(keys(invite), BTreeSet::from(FRESH_INVITE));
        assert_eq!((&invite["role"], &invite["uses"]), (&json!(role), &json!(0)));
        assert_eq!((&invite["max_uses"], &invite["expires_at"]), (&json!(null), &json!(null)));
        let token = invite["token"].as_str().expect("a token");
        assert_eq!(invite["url"], format!("http://{}/join/{token}", server.address()));
    }

    let by_user = server.open_as(Some(&user(Uuid::now_v7(), "Hana")), json!({})).await.body;
    assert_eq!(keys(&by_user), session_and(&["invite"]), "a user needs no host invite: its JWT is one");
    let by_service = server.open_as(Some(&service()), json!({"title": "  Emma "})).await.body;
    assert_eq!(keys(&by_service), session_and(&["invite"]));
    assert_eq!((&by_service["title"], &by_service["host_user_id"]), (&json!("Emma"), &json!(null)));
    // Without a body at all, and with what guests of other sessions hold: anyone means anyone.
    server.post("/v1/reading-sessions", None, Value::Null).await.expect(201);
    let somewhere = Client::join(server.address(), guest.id, &Join::invite(&guest.invite, "Gus")).await;
    server.open_as(Some(&somewhere.resume_token()), json!({})).await.host_invite.expect("a way in as its host");
    server.post("/v1/reading-sessions", Some("nonsense"), json!({})).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_host_invite_lets_a_guest_in_as_the_host() {
    let server = TestServer::start(&[]).await;
    let session = server.open().await;
    let invite = session.host_invite.expect("a host invite");
    let host = Client::join(server.address(), session.id, &Join::invite(&invite, "Hana")).await;
    assert_eq!(host.view[&host.id()]["role"], "host");
    let changed = server.patch(&path(session.id, ""), Some(&host.resume_token()), json!({"title": "Mine"})).await;
    assert_eq!(changed.expect(200)["title"], "Mine");
}

#[tokio::test]
async fn everybody_who_is_connected_hears_of_a_change_of_the_session() {
    let server = TestServer::start(&[]).await;
    let session = server.open().await;
    let mut people = [server.guest(&session, "Ada").await, server.observer(&session).await];
    let body = json!({"title": "Emma", "max_participants": 7});
    let changed = server.patch(&path(session.id, ""), Some(&service()), body).await.expect(200);
    for person in &mut people {
        assert_eq!(person.frame("session").await, json!({"type": "session", "session": changed}));
    }
    server.patch(&path(session.id, ""), Some(&service()), json!({"title": null})).await.expect(200);
    for person in &mut people {
        let told = person.frame("session").await;
        assert_eq!((&told["session"]["title"], &told["session"]["max_participants"]), (&Value::Null, &json!(7)));
    }
}

#[tokio::test]
async fn where_guests_may_not_host_a_jwt_is_needed_to_open_a_session() {
    let server = TestServer::start(&["--guest-hosts=false"]).await;
    let answer = server.post("/v1/reading-sessions", None, json!({})).await;
    assert_eq!(answer.headers["www-authenticate"], "Bearer");
    answer.refused(401, "unauthenticated");
    let session = server.open_as(Some(&user(Uuid::now_v7(), "Hana")), json!({})).await;
    let guest = Client::join(server.address(), session.id, &Join::invite(&session.invite, "Gus")).await;
    let answer = server.post("/v1/reading-sessions", Some(&guest.resume_token()), json!({})).await;
    answer.refused(401, "unauthenticated");
    assert_eq!(server.open_as(Some(&service()), json!({})).await.host_invite, None);
}

#[tokio::test]
async fn a_user_who_opens_a_session_is_its_first_participant_and_not_present() {
    let server = TestServer::start(&[]).await;
    let (hana, token) = {
        let hana = Uuid::now_v7();
        (hana, user(hana, "Hana"))
    };
    let session = server.open_as(Some(&token), json!({})).await;
    assert_eq!(session.body["host_user_id"], json!(hana));
    let row: (Uuid, String, String, bool) =
        sqlx::query_as("SELECT user_id, name, role, is_active FROM session_participants WHERE session_id = $1")
            .bind(session.id)
            .fetch_one(&server.database.pool)
            .await
            .expect("one row");
    assert_eq!(row, (hana, "Hana".to_owned(), "host".to_owned(), false));
    let presence = server.participants(session.id).await;
    assert_eq!((&presence["occupancy"], &presence["items"]), (&json!(0), &json!([])));

    let client = Client::join(server.address(), session.id, &Join::token(&token)).await;
    let shown = &client.view[&client.id()];
    assert_eq!((&shown["name"], &shown["role"], &shown["user_id"]), (&json!("Hana"), &json!("host"), &json!(hana)));
    assert_eq!(server.participants(session.id).await["occupancy"], 1);
    let rows: i64 = server.sql("SELECT count(*) FROM session_participants WHERE session_id = $1", session.id).await;
    assert_eq!(rows, 1, "the row that was made with the session");
}

#[tokio::test]
async fn a_body_that_cannot_be_used_is_told_with_the_field_that_is_wrong() {
    let server = TestServer::start(&[]).await;
    let session = server.open().await;
    let service = service();
    let json = ("content-type", "application/json");
    let too_long = format!(r#"{{"title":"{}"}}"#, "x".repeat(201));
    let cases = [
        (r#"{"titel":"x"}"#, "titel"),
        (r#"{"title":5}"#, "title"),
        (r#"{"title":["x"]}"#, "title"),
        (r#"{"title":""}"#, "title"),
        (r#"{"title":"   "}"#, "title"),
        (r#"{"title":"a\u0000b"}"#, "title"),
        (r#"{"title":"a\nb"}"#, "title"),
        (&too_long, "title"),
        (r#"{"max_participants":0}"#, "max_participants"),
        (r#"{"max_participants":-1}"#, "max_participants"),
        (r#"{"max_participants":100001}"#, "max_participants"),
        (r#"{"max_participants":99999999999999999999}"#, "max_participants"),
        (r#"{"max_participants":1.5}"#, "max_participants"),
        (r#"{"max_participants":"ten"}"#, "max_participants"),
        ("{", "body"),
        ("nonsense", "body"),
        (r#"{"title":"x"} {}"#, "body"),
        // A list is no object, though its items would fit the fields in order.
        (r#"["x",5]"#, "body"),
        ("[]", "body"),
        ("null", "body"),
        (r#""title""#, "body"),
    ];
    let one = path(session.id, "");
    let authorization = format!("Bearer {service}");
    let headers = [json, ("authorization", authorization.as_str())];
    for (body, field) in cases {
        for (method, path) in [(Method::POST, "/v1/reading-sessions"), (Method::PATCH, &one)] {
            let answer = server.raw(method.clone(), path, &headers, body).await;
            let errors = answer.body["errors"].clone();
            println!("{method} {body}: {}", answer.body);
            answer.refused(422, "invalid_request");
            assert_eq!(errors.as_array().map(Vec::len), Some(1), "{errors}");
            assert_eq!(keys(&errors[0]), BTreeSet::from(["field", "message"]));
            assert_eq!(errors[0]["field"], field, "{body}");
            assert!(errors[0]["message"].as_str().is_some_and(|message| !message.is_empty()));
        }
    }
    // What is at the bounds fits.
    let title = "🂡".repeat(200);
    for body in [json!({"title": title}), json!({"max_participants": 1}), json!({"max_participants": 100_000})] {
        server.patch(&one, Some(&service), body.clone()).await.expect(200);
        server.post("/v1/reading-sessions", None, body).await.expect(201);
    }
}

#[tokio::test]
async fn a_body_must_be_json_by_its_type_and_of_a_bounded_size() {
    const MOST: usize = 64 * 1024;
    let server = TestServer::start(&[]).await;
    let post = async |kind: Option<&str>, body: Vec<u8>| {
        let headers: Vec<_> = kind.iter().map(|kind| ("content-type", *kind)).collect();
        server.raw(Method::POST, "/v1/reading-sessions", &headers, body).await
    };
    for kind in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("application/jsonp")] {
        let answer = post(kind, b"{}".to_vec()).await;
        assert_eq!(answer.body["errors"][0]["field"], "body");
        answer.refused(422, "invalid_request");
    }
    for kind in ["application/json", "Application/JSON; charset=utf-8"] {
        post(Some(kind), b"{}".to_vec()).await.expect(201);
    }
    post(Some("application/json"), b"{\"title\":\"\xff\"}".to_vec()).await.refused(422, "invalid_request");

    let padded = |length: usize| format!("{}{{}}", " ".repeat(length - 2)).into_bytes();
    post(Some("application/json"), padded(MOST)).await.expect(201);
    post(Some("application/json"), padded(MOST + 1)).await.refused(413, "payload_too_large");
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_too() {
    let server = TestServer::start(&[]).await;
    let service = service();
    let nothing = Uuid::now_v7();
    for id in [nothing.to_string(), "nonsense".to_owned()] {
        let one = format!("/v1/reading-sessions/{id}");
        let detail = server.get(&one, Some(&service)).await.refused(404, "session_not_found");
        assert_eq!(detail, "Session not found or inactive");
        for rest in ["participants", "expiry", "invites"] {
            server.get(&format!("{one}/{rest}"), Some(&service)).await.refused(404, "session_not_found");
        }
        server.patch(&one, Some(&service), json!({})).await.refused(404, "session_not_found");
        server.post(&format!("{one}/close"), Some(&service), Value::Null).await.refused(404, "session_not_found");
        server.post(&format!("{one}/invites"), Some(&service), json!({})).await.refused(404, "session_not_found");
    }
    let session = server.open().await;
    server.delete(&path(session.id, "/participants/nonsense"), Some(&service)).await.refused(404, "not_found");
    for path in ["/v1/nothing", "/v1/reading-sessions/", "/v2/reading-sessions", "/nothing"] {
        server.get(path, None).await.refused(404, "not_found");
    }
    server.delete("/v1/reading-sessions", Some(&service)).await.refused(405, "method_not_allowed");
    server.post("/healthz", None, Value::Null).await.refused(405, "method_not_allowed");
    let basic = [("authorization", "Basic bGFzdDpzZWVu")];
    server.raw(Method::GET, "/v1/reading-sessions", &basic, "").await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_change_leaves_alone_what_it_does_not_name() {
    let server = TestServer::start(&[]).await;
    let service = service();
    let session = server.open_as(Some(&service), json!({"title": "Emma", "max_participants": 5})).await;
    let change = async |body: Value| server.patch(&path(session.id, ""), Some(&service), body).await.expect(200);
    let shown = |session: &Value| (session["title"].clone(), session["max_participants"].clone());

    assert_eq!(shown(&change(json!({})).await), (json!("Emma"), json!(5)));
    assert_eq!(shown(&change(json!({"max_participants": 1})).await), (json!("Emma"), json!(1)));
    assert_eq!(shown(&change(json!({"title": null})).await), (json!(null), json!(1)));
    assert_eq!(shown(&change(json!({"title": " Persuasion "})).await), (json!("Persuasion"), json!(1)));
    assert_eq!(
        shown(&server.get(&path(session.id, ""), Some(&service)).await.expect(200)),
        (json!("Persuasion"), json!(1))
    );

    // The live room goes by it as well.
    let address = server.address();
    let _ada = Client::join(address, session.id, &Join::invite(&session.invite, "Ada")).await;
    let bob = Join::invite(&session.invite, "Bob");
    assert_eq!(Client::refused(address, &session.id.to_string(), &bob).await.code, 4509);
    change(json!({"max_participants": 2, "title": "Sanditon"})).await;
    let bob = Client::join(address, session.id, &bob).await;
    assert_eq!(bob.welcome["session"]["title"], "Sanditon");
    assert_eq!(bob.welcome["session"]["max_participants"], 2);
}

#[tokio::test]
async fn a_list_is_paged_from_the_newest_and_stays_the_same_while_new_ones_are_made() {
    let server = TestServer::start(&[]).await;
    let hana = user(Uuid::now_v7(), "Hana");
    let mut made = Vec::new();
    for number in 0..5 {
        made.push(server.open_as(Some(&hana), json!({"title": format!("{number}")})).await.id);
    }
    made.reverse();
    let mut seen = Vec::new();
    let mut query = "limit=2".to_owned();
    for expected in [2, 2, 1] {
        let page = server.get(&format!("/v1/reading-sessions?{query}"), Some(&hana)).await.expect(200);
        assert_eq!(keys(&page), BTreeSet::from(["items", "next_cursor"]));
        let items = page["items"].as_array().expect("a list");
        assert_eq!(items.len(), expected);
        for item in items {
            assert_eq!(keys(item), session_and(&["occupancy"]));
            seen.push(id(&item["id"]));
        }
        // On top of the list, and so on none of the later pages.
        server.open_as(Some(&hana), json!({})).await;
        match page["next_cursor"].as_str() {
            Some(cursor) => query = format!("limit=2&cursor={cursor}"),
            None => assert_eq!(expected, 1, "the last page has no next one"),
        }
    }
    assert_eq!(seen, made);
    // A page that is exactly full is the last one.
    let page = server.get("/v1/reading-sessions?limit=8", Some(&hana)).await.expect(200);
    assert_eq!((page["items"].as_array().map(Vec::len), &page["next_cursor"]), (Some(8), &Value::Null));
    let page = server.get("/v1/reading-sessions", Some(&hana)).await.expect(200);
    assert_eq!((page["items"].as_array().map(Vec::len), &page["next_cursor"]), (Some(8), &Value::Null));
}

#[tokio::test]
async fn a_list_is_refused_where_its_query_cannot_be_used() {
    let server = TestServer::start(&[]).await;
    let hana = user(Uuid::now_v7(), "Hana");
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("limit=", "limit"),
        ("active=maybe", "active"),
        ("active=1", "active"),
        ("cursor=nonsense", "cursor"),
        ("cursor=", "cursor"),
        ("cursor=MTIzIG5vbnNlbnNl", "cursor"),
        // A year that PostgreSQL cannot store.
        ("cursor=LTYzNzMwMDAwMDAwMDAwMDAwMDAgMDFhMWZkYzItMTZkYy03NDIzLWJlODAtYjBhYTJjYWZiY2Q4", "cursor"),
        ("limit=1&limit=2", "query"),
    ] {
        let answer = server.get(&format!("/v1/reading-sessions?{query}"), Some(&hana)).await;
        assert_eq!(answer.body["errors"][0]["field"], field, "{query}: {}", answer.body);
        answer.refused(422, "invalid_request");
    }
    server.get("/v1/reading-sessions?limit=200&active=true", Some(&hana)).await.expect(200);
}

#[tokio::test]
async fn a_user_lists_the_sessions_it_hosts_or_joined_and_nobody_elses() {
    let server = TestServer::start(&[]).await;
    let (hana, mel, oz) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    let (hana, mel, oz) = (user(hana, "Hana"), user(mel, "Mel"), user(oz, "Oz"));
    let of_hana = server.open_as(Some(&hana), json!({})).await;
    let of_mel = server.open_as(Some(&mel), json!({})).await;
    let of_oz = server.open_as(Some(&oz), json!({})).await;
    let of_guest = server.open().await;
    let by_invite = Join { invite: Some(of_mel.invite.clone()), ..Join::token(&hana) };
    let joined = Client::join(server.address(), of_mel.id, &by_invite).await;

    let list = async |token: &str, query: &str| {
        let page = server.get(&format!("/v1/reading-sessions{query}"), Some(token)).await.expect(200);
        page["items"].as_array().expect("a list").iter().map(|item| id(&item["id"])).collect::<Vec<_>>()
    };
    assert_eq!(list(&hana, "").await, [of_mel.id, of_hana.id]);
    assert_eq!(list(&mel, "").await, [of_mel.id]);
    assert_eq!(list(&oz, "").await, [of_oz.id]);
    assert_eq!(list(&service(), "").await, [of_guest.id, of_oz.id, of_mel.id, of_hana.id]);
    server.get("/v1/reading-sessions", None).await.refused(401, "unauthenticated");
    server.get("/v1/reading-sessions", Some(&joined.resume_token())).await.refused(403, "forbidden");

    server.close(of_hana.id).await.expect(200);
    assert_eq!(list(&hana, "?active=true").await, [of_mel.id]);
    assert_eq!(list(&hana, "?active=false").await, [of_hana.id]);
    assert_eq!(list(&hana, "").await, [of_mel.id, of_hana.id]);

    // Having left is having taken part; having been removed is not.
    let person = joined.id();
    joined.close().await;
    assert_eq!(list(&hana, "?active=true").await, [of_mel.id]);
    server.delete(&path(of_mel.id, &format!("/participants/{person}")), Some(&mel)).await.expect(204);
    assert_eq!(list(&hana, "").await, [of_hana.id]);
    server.get(&path(of_mel.id, ""), Some(&hana)).await.refused(404, "session_not_found");
}

#[tokio::test]
async fn people_are_told_from_the_live_room_and_where_there_is_none_from_the_database() {
    let server = TestServer::start(&["--grace", "60s"]).await;
    let session = server.open().await;
    let mut ada = Client::join(server.address(), session.id, &Join::invite(&session.invite, "Ada")).await;
    ada.send(json!({"type": "update", "state": {"page": 12}})).await;
    let ada_id = ada.id();
    ada.until("its own state", |ada| ada.view[&ada_id]["state"]["page"] == 12).await;

    let live = server.participants(session.id).await;
    assert_eq!(live["seq"], ada.seq, "a snapshot that the next diff continues");
    assert_eq!((&live["occupancy"], &live["items"][0]["status"]), (&json!(1), &json!("active")));
    assert_eq!((&live["items"][0]["connections"], &live["items"][0]["state"]), (&json!(1), &json!({"page": 12})));

    // A server that does not hold the room shows what is in the database.
    let beside = server.beside("other", &[]).await;
    let stored = eventually("the state in the database", async || {
        let stored = beside.participants(session.id).await;
        (stored["items"][0]["state"] == json!({"page": 12})).then_some(stored)
    })
    .await;
    assert_eq!((&stored["occupancy"], &stored["seq"]), (&json!(1), &json!(0)));
    let person = &stored["items"][0];
    assert_eq!(keys(person), BTreeSet::from(PARTICIPANT));
    assert_eq!((&person["id"], &person["name"], &person["role"]), (&json!(ada_id), &json!("Ada"), &json!("guest")));
    assert_eq!(person["connections"], 0);
    let shown = beside.get(&path(session.id, ""), Some(&service())).await.expect(200);
    assert_eq!(shown["occupancy"], 1);

    // A lost person is present until the grace runs out; a person who left is not.
    let bob = Client::join(server.address(), session.id, &Join::invite(&session.invite, "Bob")).await;
    let bob_id = bob.id();
    ada.sees(&[ada_id, bob_id]).await;
    bob.vanish();
    ada.until("Bob reconnecting", |ada| ada.view[&bob_id]["status"] == "reconnecting").await;
    let live = server.participants(session.id).await;
    assert_eq!(live["occupancy"], 2);
    assert_eq!((&live["items"][1]["status"], &live["items"][1]["connections"]), (&json!("reconnecting"), &json!(0)));
    ada.close().await;
    assert_eq!(server.participants(session.id).await["occupancy"], 1);
    eventually("the leave in the database", async || {
        (beside.participants(session.id).await["occupancy"] == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn people_are_listed_in_pages_where_that_is_asked_for() {
    let server = TestServer::start(&["--grace", "60s"]).await;
    let session = server.open().await;
    let mut clients = Vec::new();
    for name in 0..7 {
        clients.push(server.guest(&session, &format!("Guest {name}")).await);
    }
    let beside = server.beside("other", &[]).await;
    let address = path(session.id, "/participants");
    for rest in [&server, &beside] {
        let all = rest.participants(session.id).await;
        assert_eq!((all["items"].as_array().map(Vec::len), &all["next_cursor"]), (Some(7), &Value::Null));
        let (mut listed, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = rest.get(&format!("{address}?limit=3{cursor}"), Some(&service())).await.expect(200);
            assert_eq!(page["occupancy"], 7, "of the room, not of the page");
            let items = page["items"].as_array().expect("a list");
            assert!(items.len() <= 3);
            listed.extend(items.iter().map(|person| person["id"].clone()));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        let expected: Vec<_> =
            all["items"].as_array().expect("a list").iter().map(|person| person["id"].clone()).collect();
        assert_eq!(listed, expected, "in the order of the whole, each once");
        assert_eq!(listed, clients.iter().map(|client| json!(client.id())).collect::<Vec<_>>());
        rest.get(&format!("{address}?limit=0"), Some(&service())).await.refused(422, "invalid_request");
        rest.get(&format!("{address}?cursor=x"), Some(&service())).await.refused(422, "invalid_request");
    }
}

#[tokio::test]
async fn expiry_counts_from_when_somebody_was_last_seen() {
    // Nothing is flushed here, so that the two sources differ.
    let server = TestServer::start(&["--flush-interval", "5m"]).await;
    let session = server.open().await;
    let expiry = async || server.get(&path(session.id, "/expiry"), Some(&service())).await.expect(200);
    // The minutes are rounded up; the odd seconds leave a slow machine most of a minute.
    for (age, minutes, expired) in [(541.0, 51, false), (3599.0 - 59.0, 1, false), (3601.0, 0, true), (9000.0, 0, true)]
    {
        server.age(session.id, age).await;
        let now = expiry().await;
        assert_eq!(
            (&now["minutes_until_expiry"], &now["expired"]),
            (&json!(minutes), &json!(expired)),
            "{age} s: {now}"
        );
        assert_eq!(time(&now["expires_at"]) - time(&now["last_seen_at"]), TimeDelta::hours(1));
    }
    server.age(session.id, 1800.0).await;
    let before = expiry().await;
    let ada = Client::join(server.address(), session.id, &Join::invite(&session.invite, "Ada")).await;
    // The participant counts, also where the session's row has half an hour ago.
    let now = expiry().await;
    assert_eq!((&now["minutes_until_expiry"], &now["expired"]), (&json!(60), &json!(false)));
    assert!(time(&now["last_seen_at"]) - time(&before["last_seen_at"]) > TimeDelta::minutes(29));
    // The database lags by what was not flushed; the room has the newest.
    server.age(session.id, 1800.0).await;
    assert_eq!(expiry().await["minutes_until_expiry"], 60);
    let shown = server.get(&path(session.id, ""), Some(&service())).await.expect(200);
    assert!(time(&shown["last_seen_at"]) >= time(&now["last_seen_at"]), "time does not run backwards");
    let closed = server.close(session.id).await.expect(200);
    assert!(time(&closed["last_seen_at"]) >= time(&shown["last_seen_at"]), "nor by closing: {closed}");
    drop(ada);
}

#[tokio::test]
async fn a_removed_person_is_put_out_for_good() {
    let server = TestServer::start(&[]).await;
    let address = server.address();
    let (hana, mel) = (user(Uuid::now_v7(), "Hana"), user(Uuid::now_v7(), "Mel"));
    let session = server.open_as(Some(&hana), json!({})).await;
    let mut host = Client::join(address, session.id, &Join::token(&hana)).await;
    let with_jwt = Join { invite: Some(session.invite.clone()), ..Join::token(&mel) };
    let mut one = Client::join(address, session.id, &with_jwt).await;
    let mut two = Client::join(address, session.id, &with_jwt).await;
    let (host_id, person) = (host.id(), one.id());
    assert_eq!(two.id(), person);
    host.sees(&[host_id, person]).await;

    let remove = path(session.id, &format!("/participants/{person}"));
    let answer = server.delete(&remove, Some(&hana)).await;
    assert_eq!(answer.body, json!(""));
    answer.expect(204);
    for socket in [&mut one, &mut two] {
        let ended = socket.ended().await;
        assert_eq!((ended.code, &ended.error["code"]), (4512, &json!("removed")));
        assert_eq!(ended.error["retry"], false);
    }
    host.sees(&[host_id]).await;
    assert_eq!(host.heard.last().expect("a diff")["leaves"], json!([{"id": person, "reason": "removed"}]));
    let again = server.delete(&remove, Some(&hana)).await.refused(404, "not_found");
    assert!(again.contains("participant"), "{again}");

    // By no way in: the resume token, the membership, an invite, a fresh invite.
    let fresh = server.post(&path(session.id, "/invites"), Some(&hana), json!({"role": "host"})).await.expect(201);
    let fresh = fresh["token"].as_str().expect("a token");
    for join in [
        Join::resume(&one.resume_token()),
        Join::token(&mel),
        with_jwt.clone(),
        Join { invite: Some(fresh.to_owned()), ..Join::token(&mel) },
    ] {
        let ended = Client::refused(address, &session.id.to_string(), &join).await;
        assert_eq!((ended.code, &ended.error["code"]), (4512, &json!("removed")), "{join:?}");
    }
    server.get(&path(session.id, ""), Some(&one.resume_token())).await.refused(403, "removed");
    // A field that is missing here is never sent.
    host.catch_up().await;
    assert_eq!(host.view.len(), 1);
    assert_eq!(server.participants(session.id).await["occupancy"], 1);
}

#[tokio::test]
async fn somebody_who_is_not_connected_can_be_removed_and_somebody_of_another_session_cannot() {
    let server = TestServer::start(&[]).await;
    let address = server.address();
    let (one, two) = (server.open().await, server.open().await);
    let gone = Client::join(address, one.id, &Join::invite(&one.invite, "Gus")).await;
    let (person, resume) = (gone.id(), gone.resume_token());
    gone.close().await;
    server.delete(&path(two.id, &format!("/participants/{person}")), Some(&service())).await.refused(404, "not_found");
    server.delete(&path(one.id, &format!("/participants/{person}")), Some(&service())).await.expect(204);
    let ended = Client::refused(address, &one.id.to_string(), &Join::resume(&resume)).await;
    assert_eq!((ended.code, &ended.error["code"]), (4512, &json!("removed")));
}

#[tokio::test]
async fn an_address_may_open_so_many_sessions_a_minute_and_the_service_more() {
    let server = TestServer::start(&["--max-sessions-per-minute", "2"]).await;
    // Far more than a minute gives back while this runs.
    let mut refused = None;
    for _ in 0..40 {
        let answer = server.post("/v1/reading-sessions", None, json!({})).await;
        if answer.status != 201 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a refusal");
    let after: u64 = refused.headers["retry-after"].to_str().expect("text").parse().expect("seconds");
    assert!((1..=60).contains(&after), "{after}");
    refused.refused(429, "rate_limited");
    server.open_as(Some(&service()), json!({})).await;
}

#[tokio::test]
async fn a_close_whose_client_hangs_up_reaches_the_room_all_the_same() {
    let server = TestServer::start(&quiet(&["--flush-interval", "20m"])).await;
    let pool = &server.database.pool;
    eventually("a close that was carried to its end", async || {
        let session = server.open().await;
        let mut ada = Client::join(server.address(), session.id, &Join::invite(&session.invite, "Ada")).await;
        let mut holder = pool.begin().await.expect("a transaction");
        sqlx::query("SELECT FROM reading_sessions WHERE id = $1 FOR UPDATE")
            .bind(session.id)
            .execute(&mut *holder)
            .await
            .expect("a lock");
        let asked = Instant::now();
        let mut raw = Raw::connect(server.address()).await;
        let head = format!("POST /v1/reading-sessions/{}/close HTTP/1.1\r\nHost: x\r\n", session.id);
        raw.send(format!("{head}Authorization: Bearer {}\r\nContent-Length: 0\r\n\r\n", service()).as_bytes()).await;
        eventually("the close waits for the lock", async || waits_for_lock(pool).await.then_some(())).await;
        drop(raw);
        // The server has noticed that the client is gone when it answers later requests: it runs in this thread.
        for _ in 0..10 {
            server.get("/healthz", None).await.expect(200);
        }
        holder.commit().await.expect("the lock given back");
        if asked.elapsed() > PATIENCE / 2 {
            // On a machine this slow the server may have given up waiting: try another one.
            return None;
        }
        let ended = ada.ended().await;
        assert_eq!((ended.code, &ended.error["reason"]), (4511, &json!("admin")));
        Some(())
    })
    .await;
}
