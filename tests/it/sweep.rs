//! The sweep: what is idle is closed once and announced, people who join meanwhile stay, and what is
//! over is deleted in time.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::FuturesUnordered;
use futures_util::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use crate::harness::rest::{Opened, did, service, user};
use crate::harness::rows::{execute, person, stored};
use crate::harness::{Client, Join, TestServer, eventually};

/// The sweeper does nothing by itself, and nothing is received from a client but what a test sends.
const QUIET: &[&str] = &["--sweep-interval", "1h", "--ping-interval", "10m", "--dead-after", "20m"];

/// The answer of a sweep that found nothing to do.
fn nothing() -> Value {
    json!({})
}

async fn guest(server: &TestServer, session: &Opened, name: &str) -> Client {
    Client::join(server.address(), session.id, &Join::invite(&session.invite, name)).await
}

/// One number from the database.
async fn count(server: &TestServer, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(&server.database.pool).await.expect("a count")
}

#[tokio::test]
async fn an_idle_session_is_closed_everybody_is_told_and_its_invites_are_dead() {
    let server = TestServer::start(QUIET).await;
    let session = server.open().await;
    let mut ada = guest(&server, &session, "Ada").await;
    let mut bob = guest(&server, &session, "Bob").await;
    // A sweep begins with a flush: what was noted so far is written.
    assert_eq!(did(&server.sweep().await), nothing());
    server.age(session.id, 2.0 * 3600.0).await;
    assert_eq!(did(&server.sweep().await), json!({"closed": 1}));
    assert_eq!(did(&server.sweep().await), nothing(), "once");

    for client in [&mut ada, &mut bob] {
        let ended = client.ended().await;
        assert_eq!(
            (ended.code, &ended.error["code"], &ended.error["reason"]),
            (4511, &json!("session_closed"), &json!("idle"))
        );
        assert_eq!(ended.error["retry"], false);
        let row = person(&server.database.pool, client.id()).await;
        assert_eq!((row.is_active, row.leave_reason.as_deref()), (false, Some("closed")));
        assert_eq!(row.left_at, Some(row.last_seen_at));
        let refused =
            Client::refused(server.address(), &session.id.to_string(), &Join::resume(&client.resume_token())).await;
        assert_eq!((refused.code, &refused.error["reason"]), (4511, &json!("idle")));
    }
    let row = stored(&server.database.pool, session.id).await;
    assert_eq!((row.is_active, row.close_reason.as_deref(), row.closed_at.is_some()), (false, Some("idle"), true));
    let shown = server.get(&format!("/v1/reading-sessions/{}", session.id), Some(&service())).await.expect(200);
    assert_eq!((&shown["is_active"], &shown["close_reason"]), (&json!(false), &json!("idle")));

    let refused =
        Client::refused(server.address(), &session.id.to_string(), &Join::invite(&session.invite, "Late")).await;
    assert_eq!((refused.code, &refused.error["code"]), (4510, &json!("invite_expired")));
    server.get(&format!("/v1/invites/{}", session.invite), None).await.refused(410, "invite_expired");
    let open_invites: i64 = server
        .sql("SELECT count(*) FROM session_invites WHERE session_id = $1 AND revoked_at IS NULL", session.id)
        .await;
    assert_eq!(open_invites, 0);
    assert_eq!(server.metric("lastseen_swept_total{policy=\"closed\"}").await, 1.0);
    assert_eq!(server.metric("lastseen_rooms").await, 0.0);
}

#[tokio::test]
async fn a_session_that_nobody_ever_joined_counts_from_its_creation() {
    let server = TestServer::start(QUIET).await;
    let (old, young) = (server.open().await, server.open().await);
    server.age(old.id, 3601.0).await;
    assert_eq!(did(&server.sweep().await), json!({"closed": 1}));
    assert!(!stored(&server.database.pool, old.id).await.is_active);
    assert!(stored(&server.database.pool, young.id).await.is_active);
}

#[tokio::test]
async fn a_session_is_not_closed_while_somebody_in_it_was_seen_though_its_row_lags() {
    let server = TestServer::start(QUIET).await;
    let session = server.open().await;
    let ada = guest(&server, &session, "Ada").await;
    assert_eq!(did(&server.sweep().await), nothing());
    execute(
        &server.database.pool,
        "UPDATE reading_sessions SET last_seen_at = now() - interval '3 hours', last_activity_at = now() - interval '3 hours' WHERE id = $1",
        session.id,
    )
    .await;
    assert_eq!(did(&server.sweep().await), nothing());
    // And its row was set right, or each sweep would ask again.
    let (row, seen) = (stored(&server.database.pool, session.id).await, person(&server.database.pool, ada.id()).await);
    assert!(row.is_active);
    assert_eq!((row.last_seen_at, row.last_activity_at), (seen.last_seen_at, seen.last_activity_at));
}

#[tokio::test]
async fn what_was_seen_but_not_yet_written_keeps_a_session_open() {
    let server = TestServer::start(&[QUIET, &["--flush-interval", "20m"]].concat()).await;
    let session = server.open().await;
    let mut ada = guest(&server, &session, "Ada").await;
    assert_eq!(did(&server.sweep().await), nothing());
    server.age(session.id, 2.0 * 3600.0).await;
    ada.send(json!({"type": "beat", "active": false})).await;
    ada.frame("beat").await;
    let stale = person(&server.database.pool, ada.id()).await;
    assert_eq!(did(&server.sweep().await), nothing());
    let row = person(&server.database.pool, ada.id()).await;
    assert!(row.is_active && row.last_seen_at > stale.last_seen_at + TimeDelta::hours(1), "{row:?}");
    assert!(stored(&server.database.pool, session.id).await.is_active);
    ada.catch_up().await;
}

#[tokio::test]
async fn a_sweep_whose_flush_fails_closes_nothing() {
    let server = TestServer::start(QUIET).await;
    let (busy, idle) = (server.open().await, server.open().await);
    let mut ada = guest(&server, &busy, "Ada").await;
    assert_eq!(did(&server.sweep().await), nothing());
    server.age(idle.id, 2.0 * 3600.0).await;
    for statement in [
        "CREATE FUNCTION out_of_space() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = '53100'; END $$",
        "CREATE TRIGGER out_of_space BEFORE UPDATE ON session_participants FOR EACH ROW EXECUTE FUNCTION out_of_space()",
    ] {
        sqlx::query(statement).execute(&server.database.pool).await.expect(statement);
    }
    ada.send(json!({"type": "beat"})).await;
    ada.frame("beat").await;
    assert_eq!(
        did(&server.sweep().await),
        json!({"failed": ["closed", "user_sessions_timed_out", "simulators_stopped"]}),
        "what needs no flush was done"
    );
    assert!(stored(&server.database.pool, idle.id).await.is_active);
    assert_eq!(server.metric("lastseen_sweep_failures_total{policy=\"closed\"}").await, 1.0);

    sqlx::query("DROP TRIGGER out_of_space ON session_participants")
        .execute(&server.database.pool)
        .await
        .expect("it is gone");
    assert_eq!(did(&server.sweep().await), json!({"closed": 1}));
    assert!(!stored(&server.database.pool, idle.id).await.is_active);
    ada.catch_up().await;
}

#[tokio::test]
async fn closed_sessions_are_deleted_after_their_retention_with_all_that_is_in_them() {
    let server = TestServer::start(&[QUIET, &["--retention", "reading-sessions=1h"]].concat()).await;
    let (old, young, open) = (server.open().await, server.open().await, server.open().await);
    for session in [&old, &young] {
        let mut ada = guest(&server, session, "Ada").await;
        server.close(session.id).await.expect(200);
        assert_eq!(ada.ended().await.code, 4511);
    }
    assert_eq!(did(&server.sweep().await), nothing());
    execute(
        &server.database.pool,
        "UPDATE reading_sessions SET closed_at = now() - interval '61 minutes' WHERE id = $1",
        old.id,
    )
    .await;
    assert_eq!(did(&server.sweep().await), json!({"purged": 1}));
    for (session, rows) in [(&old, 0_i64), (&young, 1)] {
        let people: i64 =
            server.sql("SELECT count(*) FROM session_participants WHERE session_id = $1", session.id).await;
        let sessions: i64 = server.sql("SELECT count(*) FROM reading_sessions WHERE id = $1", session.id).await;
        assert_eq!((people, sessions), (rows, rows));
    }
    assert!(stored(&server.database.pool, open.id).await.is_active);
    server.get(&format!("/v1/reading-sessions/{}", old.id), Some(&service())).await.refused(404, "session_not_found");
    assert_eq!(server.metric("lastseen_swept_total{policy=\"purged\"}").await, 1.0);
}

#[tokio::test]
async fn only_the_service_may_ask_for_a_sweep() {
    let server = TestServer::start(QUIET).await;
    let sweep = async |token: Option<&str>| server.call(Method::POST, "/v1/admin/sweep", token, Value::Null).await;
    sweep(None).await.refused(401, "unauthenticated");
    sweep(Some(&user(Uuid::now_v7(), "Ada"))).await.refused(403, "forbidden");
    assert_eq!(did(&sweep(Some(&service())).await.expect(200)), nothing());
}

#[tokio::test]
async fn the_server_sweeps_by_itself() {
    let server =
        TestServer::start(&["--sweep-interval", "50ms", "--ping-interval", "10m", "--dead-after", "20m"]).await;
    let session = server.open().await;
    let mut ada = guest(&server, &session, "Ada").await;
    server.sweep().await;
    server.age(session.id, 2.0 * 3600.0).await;
    let ended = ada.ended().await;
    assert_eq!((ended.code, &ended.error["reason"]), (4511, &json!("idle")));
}

/// How far in the future the sessions of the race expire, in milliseconds: some are dead already,
/// most expire just when a person joins, and some live long enough on the slowest machine.
fn edge(index: usize) -> f64 {
    match index % 10 {
        0 => -1000.0,
        1 => 3_000_000.0,
        _ => (index % 83) as f64,
    }
}

#[tokio::test]
async fn sweeps_that_race_joins_never_close_a_session_with_somebody_in_it() {
    const SESSIONS: usize = 200;
    let server = TestServer::start(&[QUIET, &["--database-connections", "10"]].concat()).await;
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        sessions.push(server.open().await);
    }

    // Counted by the database: a sweep that takes long goes on after the answer.
    for statement in [
        "CREATE TABLE closings ()",
        "GRANT INSERT ON closings TO PUBLIC",
        "CREATE FUNCTION count_closing() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN INSERT INTO public.closings DEFAULT VALUES; RETURN NULL; END $$",
        "CREATE TRIGGER count_closing AFTER UPDATE ON reading_sessions FOR EACH ROW
         WHEN (OLD.is_active AND NOT NEW.is_active) EXECUTE FUNCTION count_closing()",
    ] {
        sqlx::query(statement).execute(&server.database.pool).await.expect(statement);
    }
    let closings = async || count(&server, "SELECT count(*) FROM closings").await;

    // Three sweepers: two by way of this server, and a cron job, of which no server is notified.
    let mut sweepers = Vec::new();
    for _ in 0..2 {
        let rest = (*server).clone();
        sweepers.push(tokio::spawn(async move {
            loop {
                rest.sweep().await;
            }
        }));
    }
    let pool = server.database.pool.clone();
    sweepers.push(tokio::spawn(async move {
        loop {
            sqlx::query("SELECT FROM cleanup_inactive_sessions()").execute(&pool).await.expect("a sweep");
        }
    }));

    let (mut welcomed, mut refused) = (Vec::new(), Vec::new());
    let mut joins = FuturesUnordered::new();
    let mut waiting = sessions.iter().enumerate();
    loop {
        while joins.len() < 16
            && let Some((index, session)) = waiting.next()
        {
            let (server, edge) = (&server, edge(index));
            joins.push(async move {
                sqlx::query(
                    "UPDATE reading_sessions SET last_seen_at = clock_timestamp() - interval '1 hour' + make_interval(secs => $2 / 1000)
                     WHERE id = $1 AND is_active",
                )
                .bind(session.id)
                .bind(edge)
                .execute(&server.database.pool)
                .await
                .expect("at the edge");
                (session.id, Client::try_join(server.address(), session.id, &Join::invite(&session.invite, "Ada")).await)
            });
        }
        match joins.next().await {
            Some((_, Ok(client))) => welcomed.push(client),
            Some((id, Err(ended))) => {
                assert_eq!((ended.code, &ended.error["code"]), (4510, &json!("invite_expired")));
                refused.push(id);
            }
            None => break,
        }
    }
    assert_eq!(welcomed.len() + refused.len(), SESSIONS);
    // By the way the edges are laid, whatever the speed of the machine.
    assert!(
        welcomed.len() >= SESSIONS / 10 && refused.len() >= SESSIONS / 10,
        "{} and {}",
        welcomed.len(),
        refused.len()
    );

    // A join that was refused was too late for its session: those sessions are closed in the end.
    eventually("the sweep of all that is idle", async || (closings().await >= refused.len() as i64).then_some(()))
        .await;
    for sweeper in &sweepers {
        sweeper.abort();
    }
    for sweeper in sweepers {
        assert!(sweeper.await.expect_err("stopped, it did not end").is_cancelled());
    }
    server.sweep().await;

    for client in &mut welcomed {
        client.catch_up().await;
        assert!(client.heard.iter().all(|frame| frame["type"] != "error"), "{:?}", client.heard);
        assert!(person(&server.database.pool, client.id()).await.is_active);
    }
    assert_eq!(closings().await, refused.len() as i64, "each is closed once");
    for id in refused {
        let row = stored(&server.database.pool, id).await;
        assert_eq!((row.is_active, row.close_reason.as_deref()), (false, Some("idle")));
    }
    assert_eq!(count(&server, "SELECT count(*) FROM reading_sessions WHERE is_active").await, welcomed.len() as i64);
    let inside = "SELECT count(*) FROM session_participants p JOIN reading_sessions s ON s.id = p.session_id WHERE p.is_active AND NOT s.is_active";
    assert_eq!(count(&server, inside).await, 0);
}

#[tokio::test]
async fn two_servers_that_sweep_at_once_close_each_session_once_and_end_its_rooms() {
    const IDLE: u64 = 300;
    const INHABITED: usize = 10;
    let one = TestServer::start(QUIET).await;
    let two = one.beside("two", QUIET).await;
    // Some of the sessions have people on one server, some on the other, some on both.
    let mut clients = Vec::new();
    for index in 0..INHABITED {
        let session = one.open().await;
        for server in
            [&one, &two].into_iter().skip(usize::from(index % 3 == 1)).take(if index % 3 == 2 { 1 } else { 2 })
        {
            clients.push(guest(server, &session, "Ada").await);
        }
    }
    assert_eq!((did(&one.sweep().await), did(&two.sweep().await)), (nothing(), nothing()));
    sqlx::query("INSERT INTO reading_sessions (title) SELECT 'idle' FROM generate_series(1, $1)")
        .bind(i64::try_from(IDLE).expect("it fits") - INHABITED as i64)
        .execute(&one.database.pool)
        .await
        .expect("sessions");
    // They die one after another from now on, so that each server finds some in each sweep.
    let stamps = "last_seen_at = now() - interval '1 hour' + interval '2 milliseconds' * n, last_activity_at = now() - interval '1 hour'";
    for statement in [
        format!(
            "WITH numbered AS (SELECT id, row_number() OVER (ORDER BY md5(id::text)) AS n FROM reading_sessions)
             UPDATE session_participants p SET {stamps} FROM numbered WHERE numbered.id = p.session_id"
        ),
        format!(
            "WITH numbered AS (SELECT id, row_number() OVER (ORDER BY md5(id::text)) AS n FROM reading_sessions)
             UPDATE reading_sessions s SET {stamps} FROM numbered WHERE numbered.id = s.id"
        ),
    ] {
        sqlx::query(AssertSqlSafe(statement)).execute(&one.database.pool).await.expect("an update");
    }

    let closed_of = |swept: Value| swept["closed"].as_u64().expect("a count");
    let (mut by_one, mut by_two) = (0, 0);
    eventually("all sessions closed", async || {
        let (first, second) = tokio::join!(one.sweep(), two.sweep());
        by_one += closed_of(first);
        by_two += closed_of(second);
        (by_one + by_two >= IDLE).then_some(())
    })
    .await;
    assert_eq!(by_one + by_two, IDLE, "{by_one} by one server, {by_two} by the other");
    assert_eq!((did(&one.sweep().await), did(&two.sweep().await)), (nothing(), nothing()));
    assert_eq!(count(&one, "SELECT count(*) FROM reading_sessions WHERE close_reason = 'idle'").await, IDLE as i64);

    // A room on the server that did not close its session finds out with the next flush of a person in it.
    for client in &mut clients {
        let _ = client.socket.send(Message::text(r#"{"type":"beat"}"#)).await;
        let ended = client.ended().await;
        assert_eq!((ended.code, &ended.error["reason"]), (4511, &json!("idle")));
    }
    for server in [&one, &two] {
        assert_eq!(server.metric("lastseen_rooms").await, 0.0);
    }
    assert_eq!(count(&one, "SELECT count(*) FROM session_participants WHERE is_active").await, 0);
}

#[tokio::test]
async fn a_large_sweep_is_done_in_chunks_each_of_its_own() {
    const IDLE: i64 = 2_500;
    let server = TestServer::start(QUIET).await;
    let pool = &server.database.pool;
    for statement in [
        "INSERT INTO reading_sessions (last_seen_at, last_activity_at)
         SELECT now() - interval '2 hours', now() - interval '2 hours' FROM generate_series(1, $1)",
        "INSERT INTO reading_sessions (is_active, closed_at, close_reason)
         SELECT false, now() - interval '40 days', 'idle' FROM generate_series(1, $1)",
        "INSERT INTO user_sessions (user_id, session_id, platform, expires_at)
         SELECT gen_random_uuid(), 'overdue ' || n, 'web', now() - interval '1 hour' FROM generate_series(1, 10 * $1) AS n",
    ] {
        sqlx::query(statement).bind(IDLE).execute(pool).await.expect(statement);
    }
    let swept = did(&server.sweep().await);
    assert_eq!(swept, json!({"closed": IDLE, "purged": IDLE, "user_sessions_timed_out": 10 * IDLE}));
    // Each transaction has a time of its own.
    let chunks = "SELECT count(DISTINCT closed_at) FROM reading_sessions WHERE NOT is_active";
    assert_eq!(count(&server, chunks).await, 3);
    assert_eq!(count(&server, "SELECT count(DISTINCT updated_at) FROM user_sessions").await, 3);
}

#[tokio::test]
async fn the_stats_tell_of_the_last_sweep_of_all_sweeps_and_when_the_next_one_is() {
    let begun = Utc::now();
    let server = TestServer::start(QUIET).await;
    let sweeps = async || {
        let mut stats = server.get("/v1/admin/stats", Some(&service())).await.expect(200);
        stats["sweeps"].take()
    };
    let time = |value: &Value| -> DateTime<Utc> { value.as_str().expect("a time").parse().expect("RFC 3339") };
    let before = eventually("the server's own sweeps to wait", async || {
        let sweeps = sweeps().await;
        sweeps["next_at"].is_string().then_some(sweeps)
    })
    .await;
    assert_eq!((&before["last"], &before["since_start"]["sweeps"]), (&Value::Null, &json!(0)));
    let next = time(&before["next_at"]) - TimeDelta::hours(1);
    assert!(begun - TimeDelta::seconds(1) <= next && next <= Utc::now(), "an hour after the start: {before}");

    for _ in 0..2 {
        let idle = server.open().await;
        server.age(idle.id, 2.0 * 3600.0).await;
        server.sweep().await;
    }
    assert_eq!(did(&server.sweep().await), nothing());
    let after = sweeps().await;
    let last = &after["last"];
    assert_eq!(did(&last["swept"]), nothing());
    assert!(begun <= time(&last["ended_at"]) && time(&last["started_at"]) <= time(&last["ended_at"]), "{after}");
    let total = &after["since_start"];
    assert_eq!((&total["sweeps"], &total["swept"]["closed"]), (&json!(3), &json!(2)));
    assert_eq!((&total["swept"]["purged"], &total["failed"]["purged"]), (&json!(0), &json!(0)));
    assert_eq!(after["next_at"], before["next_at"], "a call does not move the server's own sweeps");
}

#[tokio::test]
async fn the_stats_tell_of_policies_that_failed() {
    let server = TestServer::start(QUIET).await;
    let gone = "ALTER FUNCTION purge_sits RENAME TO purge_nothing";
    sqlx::query(gone).execute(&server.database.pool).await.expect(gone);
    server.sweep().await;
    let stats = server.get("/v1/admin/stats", Some(&service())).await.expect(200);
    assert_eq!(stats["sweeps"]["last"]["swept"]["failed"], json!(["sits_purged"]));
    assert_eq!(stats["sweeps"]["since_start"]["failed"]["sits_purged"], 1);
}

#[tokio::test]
async fn a_sweep_that_takes_long_goes_on_after_the_answer_and_can_be_looked_at() {
    let server = TestServer::start(QUIET).await;
    let look = async || server.get("/v1/admin/sweep", Some(&service())).await.expect(200);
    let before = look().await;
    assert_eq!(
        (&before["started_at"], &before["running"], did(&before["swept"])),
        (&Value::Null, &json!(false), nothing())
    );

    let (slow, idle) = (server.open().await, server.open().await);
    for statement in [
        "CREATE TABLE go ()",
        "GRANT SELECT ON go TO PUBLIC",
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN WHILE NOT EXISTS (SELECT FROM public.go) LOOP PERFORM pg_sleep(0.01); END LOOP; RETURN NULL; END $$",
        "CREATE TRIGGER wait AFTER UPDATE OF status ON user_sessions FOR EACH ROW EXECUTE FUNCTION wait()",
        "INSERT INTO user_sessions (user_id, session_id, platform, expires_at)
         VALUES (gen_random_uuid(), 'overdue', 'web', now() - interval '1 hour')",
    ] {
        sqlx::query(statement).execute(&server.database.pool).await.expect(statement);
    }
    server.age(idle.id, 2.0 * 3600.0).await;
    let answer = server.call(Method::POST, "/v1/admin/sweep", Some(&service()), Value::Null).await;
    assert_eq!(answer.headers["location"], "/v1/admin/sweep");
    assert_eq!(did(&answer.expect(202)), json!({"closed": 1}), "what was done so far");
    let during = look().await;
    assert_eq!((&during["running"], did(&during["swept"])), (&json!(true), json!({"closed": 1})));
    assert!(during["started_at"].is_string(), "{during}");

    sqlx::query("INSERT INTO go DEFAULT VALUES").execute(&server.database.pool).await.expect("on it goes");
    let after = eventually("the end of the sweep", async || {
        let seen = look().await;
        (seen["running"] == false).then_some(seen)
    })
    .await;
    assert_eq!(did(&after["swept"]), json!({"closed": 1, "user_sessions_timed_out": 1}));
    assert_eq!(after["started_at"], during["started_at"]);
    assert!(stored(&server.database.pool, slow.id).await.is_active);
}

#[tokio::test]
async fn a_start_ends_a_chunk_of_what_others_left_and_all_that_it_left_itself() {
    let before = TestServer::start(QUIET).await;
    let session = before.open().await;
    let database = before.stop().await;
    for (rows, id) in [
        (
            "INSERT INTO session_participants (session_id, name, is_active, node, last_seen_at)
             SELECT $1, 'Stale', true, 'gone', now() - interval '1 hour' FROM generate_series(1, 10001)",
            session.id,
        ),
        (
            "INSERT INTO user_sessions (user_id, session_id, platform, node, frontend_connections, expires_at)
             SELECT $1, n::text, 'web', 'test', 1, now() + interval '1 hour' FROM generate_series(1, 10001) AS n",
            Uuid::now_v7(),
        ),
    ] {
        execute(&database.pool, rows, id).await;
    }
    let server = TestServer::on(database, QUIET).await;
    let left = async || count(&server, "SELECT count(*) FROM session_participants WHERE is_active").await;
    assert_eq!(left().await, 1);
    assert_eq!(count(&server, "SELECT count(*) FROM user_sessions WHERE frontend_connections > 0").await, 0);
    assert_eq!(did(&server.sweep().await), json!({"orphans_settled": 1}));
    assert_eq!(left().await, 0);
}

#[tokio::test]
async fn presence_that_no_server_has_is_ended_and_what_a_server_has_is_not() {
    let server = TestServer::start(&["--dead-after", "40s", "--grace", "10s"]).await;
    let (pool, session) = (&server.database.pool, server.open().await);
    let here = guest(&server, &session, "Here").await;
    let (at_home, gone) = (server.open_as(Some(&user(Uuid::now_v7(), "Ada")), json!({})).await, Uuid::now_v7());
    let insert = "INSERT INTO session_participants (session_id, name, is_active, node, last_seen_at)
         SELECT $1, name, true, node, now() - make_interval(secs => age)
         FROM (VALUES ('living', 'there', 45), ('gone', 'there', 300), ('nobody', NULL, 300), ('lost', 'test', 45), ('new', 'test', 5))
           AS p (name, node, age)";
    execute(pool, insert, at_home.id).await;
    let insert = "INSERT INTO user_sessions (user_id, session_id, platform, node, frontend_connections, last_heartbeat_at, expires_at)
         SELECT $1, name, 'web', node, 1, now() - make_interval(secs => age), now() + interval '1 hour'
         FROM (VALUES ('living', 'there', 45), ('gone', 'there', 300), ('here', 'test', 300)) AS s (name, node, age)";
    execute(pool, insert, gone).await;
    // Silent for long, and in memory.
    server.age(session.id, 300.0).await;

    assert_eq!(did(&server.sweep().await), json!({"orphans_settled": 4}));
    let ended: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM session_participants WHERE leave_reason = 'timeout' AND left_at = last_seen_at ORDER BY name",
    )
    .fetch_all(pool)
    .await
    .expect("names");
    assert_eq!(ended, ["gone", "lost", "nobody"]);
    assert!(person(pool, here.id()).await.is_active);
    let lost: Vec<String> = sqlx::query_scalar(
        "SELECT session_id FROM user_sessions WHERE status = 'reconnecting' AND frontend_connections = 0",
    )
    .fetch_all(pool)
    .await
    .expect("ids");
    assert_eq!(lost, ["gone"]);
    assert_eq!(did(&server.sweep().await), nothing());
}

#[tokio::test]
async fn an_observer_alone_is_told_that_its_session_was_closed_elsewhere() {
    let server = TestServer::start(QUIET).await;
    for statement in ["SELECT FROM lastseen.close_session($1, 'host')", "DELETE FROM reading_sessions WHERE id = $1"] {
        let (closed, open) = (server.open().await, server.open().await);
        let mut observers = [server.observer(&closed).await, server.observer(&open).await];
        execute(&server.database.pool, statement, closed.id).await;
        server.sweep().await;
        let ended = observers[0].ended().await;
        assert_eq!((ended.code, &ended.error["code"]), (4511, &json!("session_closed")), "{statement}");
        observers[1].catch_up().await;
    }
}
