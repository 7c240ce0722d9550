//! A WebSocket that names its user session is the heartbeat of that session: while one is open, no call is
//! needed.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use ipnet::IpNet;
use lastseen::clock::Clock;
use lastseen::config::SchemaName;
use lastseen::domain::idle::{IdleCounts, IdleRule};
use lastseen::domain::ids::UserId;
use lastseen::domain::user_session::{ClientSession, Device, Platform, Rules};
use lastseen::store::Store;
use lastseen::store::presence::Locks;
use lastseen::user_session::{UserSessions, Wire};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::cluster::TestDatabase;
use crate::harness::rest::{Opened, did, service, user};
use crate::harness::rows::{UserSession, change_user_session, user_session};
use crate::harness::{Client, Join, TestServer, eventually, quiet};

/// The parameters of a join from a device.
fn with(open: &Opened, token: &str, session: &str) -> Join {
    Join {
        token: Some(token.to_owned()),
        more: format!("platform=web&client_session={session}"),
        ..Join::invite(&open.invite, "Ada")
    }
}

async fn join(server: &TestServer, open: &Opened, token: &str, session: &str) -> Client {
    Client::join(server.address(), open.id, &with(open, token, session)).await
}

/// Waits until the row of a user session is like this.
async fn shows(
    server: &TestServer,
    session: &str,
    what: &str,
    condition: impl Fn(&UserSession) -> bool,
) -> UserSession {
    eventually(what, async || user_session(&server.database.pool, session).await.filter(&condition)).await
}

async fn call(server: &TestServer, token: &str, session: &str, what: &str, body: Value) -> Value {
    server.post(&format!("/v1/user-sessions/{session}/{what}"), Some(token), body).await.expect(200)
}

/// Waits until everything that is noted by now is written. A sweep begins with a flush.
async fn flushed(server: &TestServer) {
    server.sweep().await;
}

#[tokio::test]
async fn a_websocket_opens_the_session_and_everything_that_comes_over_it_keeps_it() {
    let server = TestServer::start(&quiet(&["--trusted-proxies", "127.0.0.0/8", "--guest-hosts"])).await;
    let (open, ada) = (server.open().await, Uuid::now_v7());
    let mut way = with(&open, &user(ada, "Ada"), "tab");
    way.headers = vec![("user-agent", "x".repeat(600)), ("x-forwarded-for", "203.0.113.77".to_owned())];
    let mut client = Client::join(server.address(), open.id, &way).await;
    let first = shows(&server, "tab", "the connection", |row| row.frontend_connections == 1).await;
    assert_eq!((first.user_id, first.platform.as_str(), first.status.as_str()), (ada, "web", "active"));
    assert_eq!((first.node.as_deref(), first.sse_connections, first.activity_count), (Some("test"), 0, 0));
    assert_eq!(
        (first.user_agent.as_deref(), first.network.as_deref()),
        (Some(&*"x".repeat(512)), Some("203.0.113.0/24"))
    );
    assert_eq!(first.id.get_version_num(), 7);
    assert!(first.last_ws_connection.is_some() && first.connection_quality.is_none(), "{first:?}");

    // An unattended beat is a heartbeat and no activity.
    client.catch_up().await;
    let heard = shows(&server, "tab", "a heartbeat", |row| row.last_heartbeat_at > first.last_heartbeat_at).await;
    assert_eq!((heard.activity_count, heard.last_activity_at), (0, first.last_activity_at));
    assert!((heard.expires_at - heard.last_heartbeat_at) == TimeDelta::hours(1), "{heard:?}");

    // Beats and updates are activity, each once.
    for frame in
        [json!({"type": "beat"}), json!({"type": "beat", "active": true}), json!({"type": "update", "state": {}})]
    {
        client.send(frame).await;
    }
    client.catch_up().await;
    let active = shows(&server, "tab", "the activity", |row| row.activity_count == 3).await;
    assert!(active.last_activity_at > first.last_activity_at);
    flushed(&server).await;
    flushed(&server).await;
    assert_eq!(shows(&server, "tab", "the count", |_| true).await.activity_count, 3, "counted once");
    assert_eq!(server.metric("lastseen_user_sessions").await, 1.0);

    // It is the session that calls show.
    let shown = server.get("/v1/user-sessions/tab", Some(&user(ada, "Ada"))).await.expect(200);
    assert_eq!((&shown["frontend_connections"], &shown["ip_address"]), (&json!(1), &json!("203.0.113.0/24")));
    client.catch_up().await;
}

#[tokio::test]
async fn the_answers_to_pings_are_heartbeats_and_say_how_good_the_connection_is() {
    let server = TestServer::start(&["--ping-interval", "50ms", "--idle-after", "500ms", "--dead-after", "40s"]).await;
    let (open, token) = (server.open().await, user(Uuid::now_v7(), "Ada"));
    let mut client = join(&server, &open, &token, "tab").await;
    let first = shows(&server, "tab", "the connection", |row| row.frontend_connections == 1).await;
    // Nothing but Pongs: it has heartbeats, and is idle.
    let idle = eventually("idleness", async || {
        client.pinged(1).await;
        user_session(&server.database.pool, "tab")
            .await
            .filter(|row| row.status == "idle" && row.connection_quality.is_some())
    })
    .await;
    assert!(idle.last_heartbeat_at > first.last_heartbeat_at);
    assert_eq!((idle.last_activity_at, idle.activity_count), (first.last_activity_at, 0));
    client.send(json!({"type": "beat"})).await;
    let active = shows(&server, "tab", "activity", |row| row.activity_count == 1).await;
    assert!(active.last_activity_at > idle.last_activity_at);

    // A client that does not answer has a poor connection, in the same word everywhere.
    shows(&server, "tab", "missed Pongs", |row| row.connection_quality.as_deref() == Some("poor")).await;
    let shown = server.get("/v1/user-sessions/tab", Some(&token)).await.expect(200);
    assert_eq!(shown["connection_quality"], "poor");
    drop(client);
}

#[tokio::test]
async fn a_lost_connection_leaves_the_session_reconnecting_until_it_is_back_or_time_is_up() {
    let server = TestServer::start(&quiet(&[])).await;
    let (open, ada) = (server.open().await, user(Uuid::now_v7(), "Ada"));
    // Started by a call, continued by a WebSocket, which reconnects with a resume token.
    server.post("/v1/user-sessions", Some(&ada), json!({"session_id": "tab", "platform": "web"})).await.expect(201);
    let started = shows(&server, "tab", "the row", |_| true).await;
    let client = join(&server, &open, &ada, "tab").await;
    let connected = shows(&server, "tab", "the connection", |row| row.frontend_connections == 1).await;
    assert_eq!((connected.id, connected.started_at), (started.id, started.started_at));

    let resume = client.resume_token();
    client.vanish();
    let lost = shows(&server, "tab", "the loss", |row| row.status == "reconnecting").await;
    assert_eq!((lost.frontend_connections, lost.ended_at), (0, None));
    eventually("it leaves memory", async || (server.metric("lastseen_user_sessions").await == 0.0).then_some(())).await;
    let back = Join { more: "platform=web&client_session=tab".into(), ..Join::resume(&resume) };
    let back = Client::join(server.address(), open.id, &back).await;
    let row = shows(&server, "tab", "the return", |row| row.frontend_connections == 1).await;
    assert_eq!((row.status.as_str(), row.id), ("active", started.id));
    assert!(row.last_ws_connection > connected.last_ws_connection);

    // A call is a way back too, for a device that has no socket just now.
    back.vanish();
    shows(&server, "tab", "another loss", |row| row.status == "reconnecting").await;
    assert_eq!(call(&server, &ada, "tab", "heartbeat", json!({})).await["status"], "active");
    flushed(&server).await;
    assert_eq!(shows(&server, "tab", "the row", |_| true).await.status, "active");

    // No connection comes back.
    join(&server, &open, &ada, "tab").await.vanish();
    shows(&server, "tab", "the last loss", |row| row.status == "reconnecting").await;
    change_user_session(
        &server.database.pool,
        "UPDATE user_sessions SET last_heartbeat_at = now() - interval '1 hour', expires_at = now() WHERE session_id = $1",
        "tab",
    )
    .await;
    assert_eq!(did(&server.sweep().await), json!({"user_sessions_timed_out": 1}));
    let over = shows(&server, "tab", "the end", |row| row.status == "timeout").await;
    assert_eq!((over.end_reason.as_deref(), over.ended_at), (Some("timeout"), Some(over.last_heartbeat_at)));
    assert!(over.total_duration_seconds.is_some());
}

#[tokio::test]
async fn who_leaves_is_not_waited_for_and_tabs_are_counted() {
    let server = TestServer::start(&quiet(&[])).await;
    let (one, other, ada) = (server.open().await, server.open().await, user(Uuid::now_v7(), "Ada"));
    // Two tabs in one room, one in another: one session.
    let tabs = [
        join(&server, &one, &ada, "laptop").await,
        join(&server, &one, &ada, "laptop").await,
        join(&server, &other, &ada, "laptop").await,
    ];
    shows(&server, "laptop", "three tabs", |row| row.frontend_connections == 3).await;
    assert_eq!(server.metric("lastseen_user_sessions").await, 1.0);
    let [lost, closed, left] = tabs;
    lost.vanish();
    let row = shows(&server, "laptop", "two tabs", |row| row.frontend_connections == 2).await;
    assert_eq!(row.status, "active", "one of several that is lost is no loss");
    closed.close().await;
    shows(&server, "laptop", "one tab", |row| row.frontend_connections == 1).await;
    left.leave().await;
    let row = shows(&server, "laptop", "no tab", |row| row.frontend_connections == 0).await;
    assert_eq!((row.status.as_str(), row.ended_at), ("active", None), "it lives until it expires");

    // Neither is a connection that was closed for good.
    let last = join(&server, &other, &ada, "laptop").await;
    shows(&server, "laptop", "a tab again", |row| row.frontend_connections == 1).await;
    server.close(other.id).await.expect(200);
    let row = shows(&server, "laptop", "no tab", |row| row.frontend_connections == 0).await;
    assert_eq!(row.status, "active", "that room is closed");
    drop(last);

    // Another device is another session.
    let _phone = join(&server, &one, &ada, "phone").await;
    let _laptop = join(&server, &one, &ada, "laptop").await;
    shows(&server, "phone", "the phone", |row| row.frontend_connections == 1).await;
    shows(&server, "laptop", "the laptop", |row| row.frontend_connections == 1).await;
}

#[tokio::test]
async fn without_a_user_or_with_half_of_what_is_needed_nothing_is_tracked() {
    let server = TestServer::start(&quiet(&[])).await;
    let (open, ada) = (server.open().await, user(Uuid::now_v7(), "Ada"));
    let both = "platform=web&client_session=nobodys";
    let guest = Join { more: both.into(), ..Join::invite(&open.invite, "Gus") };
    let guest = Client::join(server.address(), open.id, &guest).await;
    let resumed = Join { more: both.into(), ..Join::resume(&guest.resume_token()) };
    let observer = Join { more: both.into(), ..Join::token(&service()) };
    let mut clients = vec![guest];
    for way in [resumed, observer] {
        clients.push(Client::join(server.address(), open.id, &way).await);
    }
    for more in ["platform=web", "client_session=nobodys", ""] {
        let way = Join { more: more.into(), ..with(&open, &ada, "") };
        clients.push(Client::join(server.address(), open.id, &way).await);
    }
    for client in &mut clients {
        client.catch_up().await;
        assert_eq!(client.count("error"), 0);
    }
    assert_eq!(server.metric("lastseen_user_sessions").await, 0.0);
    flushed(&server).await;
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM user_sessions")
        .fetch_one(&server.database.pool)
        .await
        .expect("a count");
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn a_session_that_cannot_be_had_is_told_once_and_the_connection_lives_on() {
    // A flush between a connection and the answer of the database about its session opens it as well: here there is
    // none but those that the test asks for.
    let server = TestServer::start(&quiet(&["--flush-interval", "20m"])).await;
    let open = server.open().await;
    let (ada, bob) = (user(Uuid::now_v7(), "Ada"), user(Uuid::now_v7(), "Bob"));
    for id in ["bobs", "over", "overdue"] {
        let token = if id == "bobs" { &bob } else { &ada };
        server.post("/v1/user-sessions", Some(token), json!({"session_id": id, "platform": "web"})).await.expect(201);
    }
    let phone = json!({"session_id": "phone", "platform": "ios-internal"});
    server.post("/v1/user-sessions", Some(&ada), phone).await.expect(201);
    call(&server, &ada, "over", "end", json!({"end_reason": "logout"})).await;
    change_user_session(
        &server.database.pool,
        "UPDATE user_sessions SET expires_at = now() WHERE session_id = $1",
        "overdue",
    )
    .await;
    for (id, code) in [
        ("bobs", "session_id_taken"),
        ("phone", "session_id_taken"),
        ("over", "session_ended"),
        ("overdue", "session_ended"),
    ] {
        let before = shows(&server, id, "the row", |_| true).await;
        let mut client = join(&server, &open, &ada, id).await;
        let error = client.frame("error").await;
        assert_eq!((&error["code"], &error["retry"]), (&json!(code), &json!(false)));
        client.send(json!({"type": "beat"})).await;
        client.catch_up().await;
        assert_eq!(client.count("error"), 1);
        flushed(&server).await;
        assert_eq!(shows(&server, id, "the row", |_| true).await, before, "{id}");
    }
    assert_eq!(server.metric("lastseen_user_sessions").await, 0.0);
    assert_eq!(server.metric("lastseen_refusals_total{code=\"session_ended\"}").await, 2.0);
}

#[tokio::test]
async fn what_ends_the_session_leaves_its_connections_alone_and_nothing_raises_it() {
    for by_sql in [false, true] {
        let server = TestServer::start(&quiet(&[])).await;
        let (open, ada) = (server.open().await, user(Uuid::now_v7(), "Ada"));
        let mut client = join(&server, &open, &ada, "tab").await;
        shows(&server, "tab", "the connection", |row| row.frontend_connections == 1).await;
        if by_sql {
            let statement = "UPDATE user_sessions SET status = 'ended', ended_at = now(), end_reason = 'manual',
                total_duration_seconds = calculate_session_duration(started_at) WHERE session_id = $1";
            change_user_session(&server.database.pool, statement, "tab").await;
        } else {
            let ended = call(&server, &ada, "tab", "end", json!({"end_reason": "logout"})).await;
            assert_eq!(ended["frontend_connections"], 0);
        }
        let ended = shows(&server, "tab", "the end", |row| row.status == "ended").await;
        client.send(json!({"type": "beat"})).await;
        client.catch_up().await;
        flushed(&server).await;
        eventually("it leaves memory", async || (server.metric("lastseen_user_sessions").await == 0.0).then_some(()))
            .await;
        client.send(json!({"type": "beat"})).await;
        client.catch_up().await;
        client.vanish();
        flushed(&server).await;
        assert_eq!(shows(&server, "tab", "the row", |_| true).await, ended, "by SQL: {by_sql}");
    }
}

#[tokio::test]
async fn a_flush_that_fails_loses_no_activity() {
    let server = TestServer::start(&quiet(&[])).await;
    let (open, ada) = (server.open().await, user(Uuid::now_v7(), "Ada"));
    let mut client = join(&server, &open, &ada, "tab").await;
    shows(&server, "tab", "the connection", |row| row.frontend_connections == 1).await;
    for statement in [
        "CREATE FUNCTION out_of_space() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = '53100'; END $$",
        "CREATE TRIGGER out_of_space BEFORE UPDATE ON user_sessions EXECUTE FUNCTION out_of_space()",
    ] {
        sqlx::query(statement).execute(&server.database.pool).await.expect(statement);
    }
    for _ in 0..3 {
        let failures = server.metric("lastseen_flush_failures_total").await;
        client.send(json!({"type": "beat"})).await;
        client.catch_up().await;
        eventually("a flush that fails", async || {
            (server.metric("lastseen_flush_failures_total").await > failures).then_some(())
        })
        .await;
    }
    // Policies that depend on what was seen wait.
    let swept = server.sweep().await;
    assert!(swept["failed"].as_array().expect("a list").contains(&json!("user_sessions_timed_out")), "{swept}");
    sqlx::query("DROP TRIGGER out_of_space ON user_sessions").execute(&server.database.pool).await.expect("it is gone");
    shows(&server, "tab", "three beats", |row| row.activity_count == 3).await;
}

#[tokio::test]
async fn after_a_restart_or_a_crash_the_session_waits_for_its_device() {
    let server = TestServer::start(&quiet(&[])).await;
    let (open, ada) = (server.open().await, user(Uuid::now_v7(), "Ada"));
    let mut client = join(&server, &open, &ada, "tab").await;
    client.send(json!({"type": "beat"})).await;
    client.catch_up().await;
    let database = server.stop().await;
    let stopped = user_session(&database.pool, "tab").await.expect("a row");
    assert_eq!((stopped.status.as_str(), stopped.frontend_connections, stopped.activity_count), ("reconnecting", 0, 1));

    let server = TestServer::on(database, &quiet(&[])).await;
    let _client = join(&server, &open, &ada, "tab").await;
    let back = shows(&server, "tab", "the return", |row| row.frontend_connections == 1).await;
    assert_eq!((back.status.as_str(), back.id), ("active", stopped.id));

    // What a server of this name left behind when it crashed; another's is left alone.
    let database = server.stop().await;
    for (node, id) in [("test", "tab"), ("another", "elsewhere")] {
        sqlx::query(
            "INSERT INTO user_sessions (user_id, session_id, platform) VALUES (gen_random_uuid(), $1, 'web')
             ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .execute(&database.pool)
        .await
        .expect("a row");
        sqlx::query(
            "UPDATE user_sessions SET frontend_connections = 2, status = 'active', node = $2 WHERE session_id = $1",
        )
        .bind(id)
        .bind(node)
        .execute(&database.pool)
        .await
        .expect("left behind");
    }
    let server = TestServer::on(database, &quiet(&[])).await;
    let row = shows(&server, "tab", "the row", |_| true).await;
    assert_eq!((row.status.as_str(), row.frontend_connections), ("reconnecting", 0));
    let row = shows(&server, "elsewhere", "the row", |_| true).await;
    assert_eq!((row.status.as_str(), row.frontend_connections), ("active", 2));
}

#[tokio::test]
async fn what_a_server_is_late_to_say_does_not_touch_the_connections_of_another() {
    let here = TestServer::start(&quiet(&[])).await;
    let there = here.beside("there", &quiet(&[])).await;
    let (open, ada) = (here.open().await, user(Uuid::now_v7(), "Ada"));
    let mut first = join(&here, &open, &ada, "laptop").await;
    let row = shows(&here, "laptop", "the first", |row| row.frontend_connections == 1).await;
    assert_eq!(row.node.as_deref(), Some("test"));
    let second = join(&there, &open, &ada, "laptop").await;
    let moved = |row: &UserSession| row.node.as_deref() == Some("there") && row.frontend_connections == 1;
    shows(&there, "laptop", "the move", moved).await;

    // Activity over the one is the session's; its connection is not counted with the other's.
    first.send(json!({"type": "beat"})).await;
    first.catch_up().await;
    flushed(&here).await;
    let row = shows(&here, "laptop", "the activity", |row| row.activity_count == 1).await;
    assert!(moved(&row), "{row:?}");
    let resume = first.resume_token();
    first.vanish();
    eventually("the loss is written", async || (here.metric("lastseen_user_sessions").await == 0.0).then_some(()))
        .await;
    let row = shows(&here, "laptop", "the row", |_| true).await;
    assert!(moved(&row) && row.status == "active", "{row:?}");

    // Back on the first; what the second then loses is not what the session has.
    let way = Join { more: "platform=web&client_session=laptop".into(), ..Join::resume(&resume) };
    let mut first = Client::join(here.address(), open.id, &way).await;
    shows(&here, "laptop", "the move back", |row| row.node.as_deref() == Some("test") && row.frontend_connections == 1)
        .await;
    second.vanish();
    eventually("the loss is written", async || (there.metric("lastseen_user_sessions").await == 0.0).then_some(()))
        .await;
    let row = shows(&here, "laptop", "the row", |_| true).await;
    assert_eq!((row.node.as_deref(), row.frontend_connections, row.status.as_str()), (Some("test"), 1, "active"));
    first.catch_up().await;
}

/// The sessions and the rounds of a flush in several chunks. Small ones: a machine that is busy must write one within
/// the time that a statement has.
const SESSIONS: usize = 2_500;
const CHUNK: usize = 1_000;
const ROUNDS: usize = 2;

#[tokio::test]
async fn beats_of_many_sessions_are_written_once_a_flush() {
    let database = TestDatabase::new().await;
    let idle = IdleRule { timeout: Duration::from_secs(3600), counts: IdleCounts::Seen };
    let store = Store::open(database.options.clone(), &SchemaName::default(), 2, idle, "test".to_owned())
        .await
        .expect("a store");
    let rules = Rules { timeout: Duration::from_secs(3600), idle_after: Duration::from_secs(300) };
    let sessions = Arc::new(UserSessions::new(Clock::new(), rules));
    let network: IpNet = "203.0.113.0/24".parse().expect("a network");
    let attachments: Vec<_> = (0..SESSIONS)
        .map(|index| {
            let session = ClientSession::new(&format!("session {index}")).expect("an id");
            let device = Device { session, platform: Platform::Web, user_agent: Some("agent".into()), network };
            let attachment = sessions.attach(UserId(Uuid::now_v7()), device, Wire::Socket);
            attachment.unanswered();
            attachment
        })
        .collect();
    let flush = async || {
        let mut chunks = 0;
        for chunk in sessions.take(CHUNK) {
            let (now, locks) = (sessions.now(), Locks::Wait);
            let written = store.write_heartbeats(chunk.rows(), rules, now, locks).await.expect("a flush");
            assert!(written.over.is_empty() && written.locked.is_empty(), "{written:?}");
            chunk.written();
            chunks += 1;
        }
        assert_eq!(chunks, SESSIONS.div_ceil(CHUNK));
    };
    // The first opens them.
    flush().await;
    let updates = async || -> i64 {
        sqlx::query_scalar("SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'user_sessions'")
            .fetch_one(&database.pool)
            .await
            .expect("statistics")
    };
    let once = i64::try_from(SESSIONS).expect("it fits");
    let before = eventually("the statistics", async || Some(updates().await).filter(|updates| *updates >= once)).await;
    for _ in 0..ROUNDS {
        for attachment in &attachments {
            attachment.active(sessions.now());
            attachment.seen(sessions.now());
        }
        flush().await;
    }
    let written = once * i64::try_from(ROUNDS).expect("it fits");
    let updates =
        eventually("the statistics", async || Some(updates().await - before).filter(|updates| *updates >= written))
            .await;
    assert_eq!(updates, written, "each row is written once a flush");
    let (active, open): (i64, i64) = sqlx::query_as(
        "SELECT count(*) FILTER (WHERE activity_count = 2), count(*) FILTER (WHERE frontend_connections = 1) FROM user_sessions",
    )
    .fetch_one(&database.pool)
    .await
    .expect("counts");
    assert_eq!((active, open), (once, once));
}
