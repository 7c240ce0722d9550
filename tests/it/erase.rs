//! Erasing one person: nothing of them is left, in the database and in memory, and others keep what is theirs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::net::TcpStream;
use tokio::time::timeout;
use uuid::Uuid;

use crate::harness::client::Step;
use crate::harness::rest::{Opened, keys, service, user};
use crate::harness::rows::{execute, waits_for_lock};
use crate::harness::things::Things;
use crate::harness::{Client, Join, PATIENCE, TestServer, eventually, pass, quiet};
use crate::simulators::{self, Player, becomes};

/// Nothing is written but what is called for.
fn still() -> Vec<&'static str> {
    quiet(&["--flush-interval", "20m", "--sweep-interval", "20m"])
}

fn path(user: Uuid) -> String {
    format!("/v1/users/{user}")
}

/// Erases a user: what was deleted, without what is zero.
async fn erase(server: &TestServer, user: Uuid) -> Value {
    let counts = server.delete(&path(user), Some(&service())).await.expect(200);
    let wanted = [
        "participants",
        "user_sessions",
        "check_ins",
        "sits",
        "partnership_memberships",
        "partnerships",
        "simulators",
        "simulators_stopping",
        "sessions_hosted",
        "invites_created",
    ];
    assert_eq!(keys(&counts), wanted.into());
    let counts = counts.as_object().expect("an object").clone();
    counts.into_iter().filter(|(_, count)| *count != json!(0)).collect::<serde_json::Map<_, _>>().into()
}

async fn export(server: &TestServer, user: Uuid) -> Value {
    server.get(&format!("{}/export", path(user)), Some(&service())).await.expect(200)
}

/// The systems of an export that have rows, and how many.
fn systems(export: &Value) -> BTreeMap<&str, usize> {
    let lists = export.as_object().expect("an object").iter().filter_map(|(key, value)| Some((key, value.as_array()?)));
    lists.filter(|(_, rows)| !rows.is_empty()).map(|(key, rows)| (key.as_str(), rows.len())).collect()
}

/// The rows of all tables, those of the server as well, that hold this text.
async fn rows_with(pool: &PgPool, text: &str) -> Vec<String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT oid::regclass::text FROM pg_class WHERE relnamespace IN ('public'::regnamespace, 'lastseen'::regnamespace)
           AND relkind = 'r' ORDER BY 1",
    )
    .fetch_all(pool)
    .await
    .expect("tables");
    let mut found = Vec::new();
    for table in tables {
        let query = format!("SELECT '{table}: ' || t::text FROM {table} AS t WHERE t::text LIKE '%' || $1 || '%'");
        found.extend(
            sqlx::query_scalar::<_, String>(AssertSqlSafe(query)).bind(text).fetch_all(pool).await.expect("rows"),
        );
    }
    found
}

async fn joined(server: &TestServer, session: &Opened, id: Uuid, name: &str, more: &str) -> Client {
    let way = Join { invite: Some(session.invite.clone()), more: more.to_owned(), ..Join::token(&user(id, name)) };
    Client::join(server.address(), session.id, &way).await
}

/// An event stream of this user.
async fn stream(server: &TestServer, session: &Opened, token: &str) -> reqwest::Response {
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let url = format!("http://{}/v1/reading-sessions/{}/events", server.address(), session.id);
    http.get(url).bearer_auth(token).send().await.expect("a stream")
}

/// Reads a stream to its end: the last event.
async fn last_event(stream: reqwest::Response) -> String {
    let text = timeout(PATIENCE, stream.text()).await.expect("waited in vain for the end").expect("text");
    text.rsplit_once("event: ").expect("an event").1.to_owned()
}

#[tokio::test]
async fn everything_of_a_person_is_exported_and_erased_and_nothing_of_others() {
    let server = TestServer::start(&still()).await;
    let pool = &server.database.pool;
    let (ada, bea) = (Things::of(&server, "Ada").await, Things::of(&server, "Bea").await);
    joined(&server, &ada.session, ada.user, "Ada", "").await.leave().await;
    server.sweep().await;
    let before = export(&server, bea.user).await;

    let of_ada = export(&server, ada.user).await;
    let wanted = [
        ("check_ins", 1),
        ("invites", 2),
        ("participants", 1),
        ("partnerships", 1),
        ("reading_sessions", 1),
        ("simulators", 1),
        ("sits", 1),
        ("user_sessions", 1),
    ];
    assert_eq!(systems(&of_ada), wanted.into());
    assert_eq!(of_ada["user_id"], json!(ada.user));
    assert_eq!(of_ada["reading_sessions"][0]["title"], "Ada's book");
    assert_eq!(of_ada["participants"][0]["name"], "Ada");
    assert_eq!(of_ada["sits"][0]["id"], json!(ada.sit));
    for hidden in ["token_sha256", "resume_generation", "handle", "launcher", &bea.user.to_string()] {
        assert!(!of_ada.to_string().contains(hidden), "{hidden}");
    }

    assert_eq!(
        erase(&server, ada.user).await,
        json!({
            "participants": 1, "user_sessions": 1, "check_ins": 1, "sits": 1, "partnership_memberships": 1,
            "simulators_stopping": 1, "sessions_hosted": 1, "invites_created": 2,
        })
    );
    // The one row that is left names no more than the user, and goes with the simulator: here no server has it.
    assert_eq!(rows_with(pool, &ada.user_session).await, Vec::<String>::new());
    execute(pool, "UPDATE simulators SET status = 'STOPPED', stopped_at = now() WHERE id = $1", ada.simulator).await;
    assert_eq!(rows_with(pool, &ada.user.to_string()).await, Vec::<String>::new());
    assert_eq!(systems(&export(&server, ada.user).await), BTreeMap::new());
    assert_eq!(erase(&server, ada.user).await, json!({}), "there is nothing");

    let mut after = export(&server, bea.user).await;
    after["exported_at"] = before["exported_at"].clone();
    assert_eq!(after, before);
}

#[tokio::test]
async fn only_the_service_may() {
    let server = TestServer::start(&still()).await;
    let ada = Uuid::now_v7();
    let mine = server.open_as(Some(&user(ada, "Ada")), json!({})).await;
    let guest = server.guest(&mine, "Gus").await;
    let export = format!("{}/export", path(ada));
    for token in [user(ada, "Ada"), guest.resume_token()] {
        server.delete(&path(ada), Some(&token)).await.refused(403, "forbidden");
        server.get(&export, Some(&token)).await.refused(403, "forbidden");
    }
    server.delete(&path(ada), None).await.refused(401, "unauthenticated");
    server.get(&export, None).await.refused(401, "unauthenticated");
    assert_eq!(rows_with(&server.database.pool, &ada.to_string()).await.len(), 3, "a session, a host, an invite");
}

#[tokio::test]
async fn an_export_that_is_too_large_for_an_answer_says_where_it_can_be_had() {
    let server = TestServer::start(&still()).await;
    let ada = Uuid::now_v7();
    execute(
        &server.database.pool,
        "INSERT INTO user_sessions (user_id, session_id, platform, metadata)
         SELECT $1, 'large ' || n, 'web', jsonb_build_object('a', repeat('x', 250000)) FROM generate_series(1, 70) AS n",
        ada,
    )
    .await;
    let refusal = server.get(&format!("{}/export", path(ada)), Some(&service())).await;
    assert!(refusal.refused(413, "payload_too_large").contains("export_user()"));
}

#[tokio::test]
async fn connections_end_and_nothing_that_waits_writes_a_row_again() {
    let server = TestServer::start(&still()).await;
    let (hera, gus) = (Uuid::now_v7(), Uuid::now_v7());
    let hosted = server.open_as(Some(&user(hera, "Hera")), json!({"title": "Emma"})).await;
    let other = server.open_as(Some(&user(gus, "Gus")), json!({})).await;
    let mut here = joined(&server, &hosted, hera, "Hera", "platform=web&client_session=session-of-hera").await;
    let mut there = joined(&server, &other, hera, "Hera", "").await;
    let mut watcher = server.guest(&hosted, "Ada").await;
    let stream = stream(&server, &other, &user(hera, "Hera")).await;
    // What waits for the flush: a state, and that all were seen.
    here.send(json!({"type": "update", "state": {"page": 7}})).await;
    here.catch_up().await;
    let (id, resume) = (here.id(), here.resume_token());

    let counts = erase(&server, hera).await;
    assert_eq!(
        (&counts["participants"], &counts["user_sessions"], &counts["sessions_hosted"]),
        (&json!(2), &json!(1), &json!(1))
    );
    for client in [&mut here, &mut there] {
        let ended = client.ended().await;
        assert_eq!((ended.code, &ended.error["code"]), (4512, &json!("removed")));
    }
    let last = last_event(stream).await;
    assert!(last.starts_with("refusal") && last.contains("\"removed\""), "{last}");

    // The others see that, and go on without a host.
    watcher.until("her leave", |watcher| !watcher.view.contains_key(&id)).await;
    assert_eq!(watcher.told_of(id).last().expect("news"), &("leave", json!("removed")));
    if watcher.count("session") == 0 {
        watcher.frame("session").await;
    }
    let session = watcher.heard.iter().rfind(|frame| frame["type"] == "session").expect("a session");
    assert_eq!((&session["session"]["host_user_id"], &session["session"]["title"]), (&Value::Null, &json!("Emma")));
    let one = format!("/v1/reading-sessions/{}", hosted.id);
    assert_eq!(server.get(&one, Some(&service())).await.expect(200)["host_user_id"], Value::Null);
    let late = server.guest(&hosted, "Bob").await;
    assert_eq!(late.welcome["session"]["host_user_id"], Value::Null);

    // She is nobody now, by any credential of before.
    let way = Join::resume(&resume);
    assert_eq!(Client::refused(server.address(), &hosted.id.to_string(), &way).await.code, 4501);
    let way = Join::token(&user(hera, "Hera"));
    assert_eq!(Client::refused(server.address(), &hosted.id.to_string(), &way).await.code, 4503);
    server.get(&one, Some(&user(hera, "Hera"))).await.refused(404, "session_not_found");

    // A flush, and all policies that depend on it.
    server.sweep().await;
    assert_eq!(rows_with(&server.database.pool, &hera.to_string()).await, Vec::<String>::new());
    assert_eq!(rows_with(&server.database.pool, "session-of-hera").await, Vec::<String>::new());

    // The service has what a host had.
    server.patch(&one, Some(&service()), json!({"title": "Persuasion"})).await.expect(200);
    server.close(hosted.id).await.expect(200);
    assert_eq!(watcher.ended().await.code, 4511);
}

#[tokio::test]
async fn a_user_session_that_the_database_does_not_know_yet_is_not_opened_later() {
    let server = TestServer::start(&still()).await;
    let pool = &server.database.pool;
    let ada = Uuid::now_v7();
    let session = server.open().await;
    let mut lock = pool.begin().await.expect("a transaction");
    sqlx::raw_sql("LOCK TABLE user_sessions IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.expect("a lock");
    let mut client = joined(&server, &session, ada, "Ada", "platform=web&client_session=never-opened").await;
    // The server has given up to ask, and leaves it to the flush: only then it reads what the client sends.
    client.catch_up().await;
    lock.rollback().await.expect("given back");
    erase(&server, ada).await;
    assert_eq!(client.ended().await.code, 4512);
    server.sweep().await;
    assert_eq!(rows_with(pool, "never-opened").await, Vec::<String>::new());
    assert_eq!(rows_with(pool, &ada.to_string()).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_sit_of_a_room_that_is_not_recorded_yet_is_recorded_without_them() {
    let server = TestServer::start(&still()).await;
    let pool = &server.database.pool;
    let (hera, una) = (Uuid::now_v7(), Uuid::now_v7());
    let session = server.open_as(Some(&user(hera, "Hera")), json!({})).await;
    let mut host = joined(&server, &session, hera, "Hera", "").await;
    let mut member = joined(&server, &session, una, "Una", "").await;
    host.send(json!({"type": "sit", "action": "start", "sit_length_seconds": 60})).await;
    let sit: Uuid = member.frame("sit").await["id"].as_str().expect("an id").parse().expect("a UUID");
    let mut lock = pool.begin().await.expect("a transaction");
    sqlx::query("SELECT FROM room_sits WHERE id = $1 FOR UPDATE").bind(sit).execute(&mut *lock).await.expect("a lock");
    pass(Duration::from_secs(61)).await;
    assert_eq!(member.frame("sit").await["completed"], true);
    eventually("it waits to be recorded", async || waits_for_lock(pool).await.then_some(())).await;
    erase(&server, una).await;
    lock.rollback().await.expect("given back");
    let sat = eventually("the record", async || {
        let sat: Vec<Uuid> = sqlx::query_scalar("SELECT user_id FROM sits WHERE room_sit_id = $1")
            .bind(sit)
            .fetch_all(pool)
            .await
            .expect("sits");
        (!sat.is_empty()).then_some(sat)
    })
    .await;
    assert_eq!(sat, [hera]);
    assert!(matches!(host.step().await, Step::Frame(_)), "the host goes on");
}

#[tokio::test]
async fn another_server_ends_what_it_has_of_them() {
    let server = TestServer::start(&still()).await;
    let other = server.beside("other", &["--flush-interval", "50ms", "--ping-interval", "50ms"]).await;
    let (una, gus) = (Uuid::now_v7(), Uuid::now_v7());
    let session = server.open_as(Some(&user(gus, "Gus")), json!({})).await;
    let mut there = joined(&other, &session, una, "Una", "platform=web&client_session=there").await;
    let stream = stream(&other, &session, &user(una, "Una")).await;
    erase(&server, una).await;
    let ended = there.ended().await;
    assert_eq!((ended.code, &ended.error["code"]), (4512, &json!("removed")));
    let last = last_event(stream).await;
    assert!(last.starts_with("refusal") && last.contains("\"removed\""), "{last}");
    other.sweep().await;
    assert_eq!(rows_with(&server.database.pool, &una.to_string()).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_simulator_is_stopped_and_its_row_goes_with_it() {
    let server = simulators::server().await;
    let pool = &server.database.pool;
    let (ada, bea) = (Player::new(pool).await, Player::new(pool).await);
    let (of_ada, of_bea) = (ada.make(&server).await, bea.make(&server).await);
    becomes(&server, of_bea, "RUNNING").await;
    let running = becomes(&server, of_ada, "RUNNING").await;
    let endpoint = running["endpoint"].as_str().expect("an endpoint").trim_start_matches("http://").to_owned();
    assert!(TcpStream::connect(&endpoint).await.is_ok());

    assert_eq!(erase(&server, ada.user).await, json!({"user_sessions": 1, "simulators_stopping": 1}));
    eventually("nothing is left", async || rows_with(pool, &ada.user.to_string()).await.is_empty().then_some(())).await;
    assert!(TcpStream::connect(&endpoint).await.is_err(), "it was stopped before its row went");
    server.get(&simulators::one(of_ada), Some(&service())).await.refused(404, "not_found");
    becomes(&server, of_bea, "RUNNING").await;
}
