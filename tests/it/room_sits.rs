//! The sit of a room: started by a host, announced to all, over on time, and recorded for all users who are there.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::FromRow;
use sqlx::postgres::PgPool;
use uuid::Uuid;

use crate::harness::client::{Step, id};
use crate::harness::rest::{Opened, did, keys, service, user};
use crate::harness::rows::execute;
use crate::harness::{Client, Join, TestServer, eventually, pass, quiet};

/// A row of `room_sits`.
#[derive(Debug, FromRow)]
struct RoomSit {
    session_id: Uuid,
    started_by: Option<Uuid>,
    node: Option<String>,
    sit_length_seconds: i32,
    started_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    status: String,
}

async fn stored(server: &TestServer, sit: Uuid) -> RoomSit {
    sqlx::query_as("SELECT * FROM room_sits WHERE id = $1")
        .bind(sit)
        .fetch_one(&server.database.pool)
        .await
        .expect("a sit")
}

/// Waits until the sit is recorded as over.
async fn recorded(server: &TestServer, sit: Uuid) -> RoomSit {
    eventually("the sit's record", async || {
        let row = stored(server, sit).await;
        (row.status != "open").then_some(row)
    })
    .await
}

/// The users for whom a sit is recorded, with how many seconds they sat.
async fn sat(server: &TestServer, sit: Uuid) -> Vec<(Uuid, i64)> {
    sqlx::query_as(
        "SELECT user_id, round(extract(epoch FROM completed_at - started_at))::bigint FROM sits
         WHERE room_sit_id = $1 AND status = 'completed' AND is_completed ORDER BY user_id",
    )
    .bind(sit)
    .fetch_all(&server.database.pool)
    .await
    .expect("sits")
}

fn start(seconds: i32) -> Value {
    json!({"type": "sit", "action": "start", "sit_length_seconds": seconds})
}

/// The next frame about a sit: its id, and whether it is over.
async fn news(client: &mut Client) -> (Uuid, bool) {
    let frame = client.frame("sit").await;
    let over = frame["completed"] == true;
    let wanted: &[&str] = if over { &["type", "id", "completed"] } else { &["type", "id", "started_at", "ends_at"] };
    assert_eq!(keys(&frame), wanted.iter().copied().collect());
    (id(&frame["id"]), over)
}

/// A session of a user who is in it as its host.
async fn hosted(server: &TestServer, host: Uuid) -> (Opened, Client) {
    let session = server.open_as(Some(&user(host, "Hana")), json!({})).await;
    let client = Client::join(server.address(), session.id, &Join::token(&user(host, "Hana"))).await;
    (session, client)
}

async fn member(server: &TestServer, session: &Opened, person: Uuid, name: &str) -> Client {
    let join = Join { invite: Some(session.invite.clone()), ..Join::token(&user(person, name)) };
    Client::join(server.address(), session.id, &join).await
}

async fn room_is_gone(server: &TestServer) {
    eventually("no room in memory", async || (server.metric("lastseen_rooms").await == 0.0).then_some(())).await;
}

/// Moves the end of a sit, and its beginning.
async fn move_to(pool: &PgPool, sit: Uuid, seconds_until_end: f64) {
    let moved = sqlx::query(
        "UPDATE room_sits SET started_at = now() + make_interval(secs => $2 - sit_length_seconds),
            ends_at = now() + make_interval(secs => $2) WHERE id = $1",
    );
    moved.bind(sit).bind(seconds_until_end).execute(pool).await.expect("moved");
}

#[tokio::test]
async fn everybody_hears_of_a_sit_and_it_is_recorded_for_the_users_who_are_there_at_its_end() {
    let server = TestServer::start(&quiet(&[])).await;
    let [hana, mel, lea] = [(); 3].map(|()| Uuid::now_v7());
    let (session, mut host) = hosted(&server, hana).await;
    let (mut guest, mut observer) = (server.guest(&session, "Gus").await, server.observer(&session).await);
    member(&server, &session, lea, "Lea").await.close().await;
    host.send(json!({"type": "sit", "action": "start", "sit_length_seconds": 300, "ref": 7, "later": true})).await;
    let (sit, _) = news(&mut host).await;
    for client in [&mut guest, &mut observer] {
        assert_eq!(news(client).await, (sit, false));
    }
    let frame = host.heard.iter().find(|frame| frame["type"] == "sit").expect("the sit").clone();
    let row = stored(&server, sit).await;
    assert_eq!(
        (row.session_id, row.started_by, row.node.as_deref(), row.sit_length_seconds, row.status.as_str()),
        (session.id, Some(host.id()), Some("test"), 300, "open")
    );
    let time = |value: &Value| value.as_str().expect("a time").parse::<DateTime<Utc>>().expect("a time");
    let shown = |time: DateTime<Utc>| DateTime::from_timestamp_millis(time.timestamp_millis()).expect("a time");
    assert_eq!((time(&frame["started_at"]), time(&frame["ends_at"])), (shown(row.started_at), shown(row.ends_at)));
    assert_eq!(row.ends_at - row.started_at, TimeDelta::minutes(5));

    pass(Duration::from_mins(5)).await;
    for client in [&mut host, &mut guest, &mut observer] {
        assert_eq!(news(client).await, (sit, true));
    }
    let row = recorded(&server, sit).await;
    assert_eq!((row.status.as_str(), row.ended_at), ("completed", Some(row.ends_at)));
    assert_eq!(sat(&server, sit).await, [(hana, 300)], "guests have no account, and who left was not there");
    let history = server.get("/v1/sits", Some(&user(hana, "Hana"))).await.expect(200);
    let own = &history["items"][0];
    assert_eq!(
        (&own["room_sit_id"], &own["duration_seconds"], &own["partnership_id"]),
        (&json!(sit), &json!(300), &Value::Null)
    );

    // The next one may begin at once; a user who joins late sat less.
    host.send(start(60)).await;
    let (sit, over) = news(&mut host).await;
    assert!(!over);
    let mut late = member(&server, &session, mel, "Mel").await;
    assert_eq!(late.heard.len(), 1);
    assert!(matches!(late.step().await, Step::Frame(frame) if frame["type"] == "sit"), "right after the welcome");
    late.send(json!({"type": "sync"})).await;
    late.frame("state").await;
    assert_eq!(news(&mut late).await, (sit, false));
    host.leave().await;
    late.leave().await;
}

#[tokio::test]
async fn a_sit_survives_a_restart_and_is_over_on_time_for_whoever_is_there_then() {
    let flags = quiet(&["--grace", "10m"]);
    let server = TestServer::start(&flags).await;
    let [hana, lea_user] = [(); 2].map(|()| Uuid::now_v7());
    let (session, mut host) = hosted(&server, hana).await;
    host.send(start(600)).await;
    let (sit, _) = news(&mut host).await;
    let lea = member(&server, &session, lea_user, "Lea").await;
    let server = TestServer::on(server.stop().await, &flags).await;
    drop((host, lea));

    let mut host = Client::join(server.address(), session.id, &Join::token(&user(hana, "Hana"))).await;
    assert_eq!(news(&mut host).await, (sit, false), "the same sit");
    host.send(start(600)).await;
    assert_eq!(host.frame("error").await["code"], "conflict");

    // Once more, and this time it is nearly over.
    let database = server.stop().await;
    move_to(&database.pool, sit, 1.0).await;
    let server = TestServer::on(database, &flags).await;
    drop(host);
    let mut host = Client::join(server.address(), session.id, &Join::token(&user(hana, "Hana"))).await;
    host.until("the end of the sit", |client| client.heard.iter().any(|frame| frame["completed"] == true)).await;
    let row = recorded(&server, sit).await;
    assert_eq!((row.status.as_str(), row.ended_at), ("completed", Some(row.ends_at)));
    let mut sat: Vec<_> = sat(&server, sit).await.into_iter().map(|(user, _)| user).collect();
    sat.sort();
    assert_eq!(sat, [hana, lea_user], "Lea is on the way back");
}

#[tokio::test]
async fn a_sit_that_ended_while_the_server_was_down_is_recorded_for_whom_it_left_there() {
    let flags = quiet(&["--grace", "10m"]);
    let server = TestServer::start(&flags).await;
    let [hana, lea] = [(); 2].map(|()| Uuid::now_v7());
    let (session, mut host) = hosted(&server, hana).await;
    host.send(start(600)).await;
    let (sit, _) = news(&mut host).await;
    let leaver = member(&server, &session, lea, "Lea").await;
    leaver.leave().await;
    host.until("Lea is gone", |client| client.view.len() == 1).await;
    let database = server.stop().await;
    move_to(&database.pool, sit, -30.0).await;
    let server = TestServer::on(database, &flags).await;
    let row = recorded(&server, sit).await;
    assert_eq!((row.status.as_str(), row.ended_at), ("completed", Some(row.ends_at)));
    let sat = sat(&server, sit).await;
    assert_eq!(sat.iter().map(|(user, _)| *user).collect::<Vec<_>>(), [hana]);
    let mut host = Client::join(server.address(), session.id, &Join::token(&user(hana, "Hana"))).await;
    assert_eq!(news(&mut host).await, (sit, true), "it was away at the end");
    host.send(start(600)).await;
    assert_ne!(news(&mut host).await, (sit, false));
}

#[tokio::test]
async fn only_a_host_starts_a_sit_and_one_at_a_time() {
    let server = TestServer::start(&quiet(&[])).await;
    let (session, mut host) = hosted(&server, Uuid::now_v7()).await;
    let mut member = member(&server, &session, Uuid::now_v7(), "Mel").await;
    let (mut guest, mut observer) = (server.guest(&session, "Gus").await, server.observer(&session).await);
    for client in [&mut member, &mut guest, &mut observer] {
        client.send(json!({"type": "sit", "action": "start", "sit_length_seconds": 60, "ref": 5})).await;
        let error = client.frame("error").await;
        assert_eq!((&error["code"], &error["ref"], &error["retry"]), (&json!("forbidden"), &json!(5), &json!(false)));
    }
    for (nth, bad) in
        [start(0), start(86_401), json!({"type": "sit", "action": "stop", "ref": 2})].into_iter().enumerate()
    {
        host.send(bad).await;
        let error = host.frame("error").await;
        assert_eq!(error["code"], "bad_frame", "{nth}: {error}");
    }

    // A person who was invited as a host is one too; of two starts at one moment one is the first.
    let invites = format!("/v1/reading-sessions/{}/invites", session.id);
    let invite = server.post(&invites, Some(&service()), json!({"role": "host"})).await.expect(201);
    let join = Join::invite(invite["token"].as_str().expect("a token"), "Cora");
    let mut second = Client::join(server.address(), session.id, &join).await;
    host.send(json!({"type": "sit", "action": "start", "sit_length_seconds": 60, "ref": 1})).await;
    second.send(json!({"type": "sit", "action": "start", "sit_length_seconds": 61, "ref": 2})).await;
    let (sit, _) = news(&mut guest).await;
    for client in [&mut host, &mut second] {
        client.until("the sit", |client| client.count("sit") == 1).await;
        client.catch_up().await;
    }
    let conflicts: Vec<_> =
        [&host, &second].iter().flat_map(|client| &client.heard).filter(|frame| frame["code"] == "conflict").collect();
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    let open: i64 = server.sql("SELECT count(*) FROM room_sits WHERE session_id = $1", session.id).await;
    assert_eq!(open, 1);
    guest.catch_up().await;
    assert_eq!(guest.count("sit"), 1);

    // Another session has nothing to do with it.
    let (_other, mut other_host) = hosted(&server, Uuid::now_v7()).await;
    other_host.send(start(60)).await;
    assert_ne!(news(&mut other_host).await.0, sit);
}

#[tokio::test]
async fn a_closed_session_takes_its_sit_along() {
    let server = TestServer::start(&quiet(&[])).await;
    let hana = Uuid::now_v7();
    let (session, mut host) = hosted(&server, hana).await;
    host.send(start(600)).await;
    let (sit, _) = news(&mut host).await;
    server.close(session.id).await.expect(200);
    assert_eq!(host.ended().await.code, 4511);
    let row = recorded(&server, sit).await;
    assert_eq!(row.status, "abandoned");
    assert!(row.ended_at.expect("a time") < row.ends_at);
    assert_eq!(sat(&server, sit).await, []);
    // Another session begins anew.
    let (_other, mut host) = hosted(&server, hana).await;
    host.send(start(600)).await;
    assert_ne!(news(&mut host).await.0, sit);
}

#[tokio::test]
async fn a_sit_goes_on_in_a_room_that_everybody_left() {
    let flags = quiet(&[]);
    let server = TestServer::start(&flags).await;
    let hana = Uuid::now_v7();
    let (session, mut host) = hosted(&server, hana).await;
    host.send(start(600)).await;
    let (sit, _) = news(&mut host).await;
    host.leave().await;
    room_is_gone(&server).await;
    let mut host = Client::join(server.address(), session.id, &Join::token(&user(hana, "Hana"))).await;
    assert_eq!(news(&mut host).await, (sit, false));
    host.leave().await;
    room_is_gone(&server).await;

    let database = server.stop().await;
    move_to(&database.pool, sit, 1.0).await;
    let server = TestServer::on(database, &flags).await;
    let row = recorded(&server, sit).await;
    assert_eq!((row.status.as_str(), row.ended_at), ("completed", Some(row.ends_at)));
    assert_eq!(sat(&server, sit).await, []);
}

/// From now on the database has no space for changes of this kind to sits of rooms.
async fn run_out_of_space(server: &TestServer, change: &str) {
    let statement = format!(
        "CREATE OR REPLACE FUNCTION out_of_space() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = '53100'; END $$;
         CREATE TRIGGER out_of_space BEFORE {change} ON room_sits FOR EACH ROW EXECUTE FUNCTION out_of_space()"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&server.database.pool).await.expect("no space");
}

async fn find_space(server: &TestServer) {
    sqlx::raw_sql("DROP TRIGGER out_of_space ON room_sits").execute(&server.database.pool).await.expect("space");
}

#[tokio::test]
async fn what_the_database_cannot_take_does_not_begin_and_what_is_over_is_kept_until_it_can() {
    let server = TestServer::start(&quiet(&[])).await;
    let hana = Uuid::now_v7();
    let (session, mut host) = hosted(&server, hana).await;
    let mut guest = server.guest(&session, "Gus").await;
    run_out_of_space(&server, "INSERT").await;
    host.send(json!({"type": "sit", "action": "start", "sit_length_seconds": 1, "ref": 4})).await;
    let error = host.frame("error").await;
    assert_eq!((&error["code"], &error["retry"], &error["ref"]), (&json!("unavailable"), &json!(true), &json!(4)));
    assert!(error["retry_after_ms"].is_u64(), "{error}");
    guest.catch_up().await;
    assert_eq!(guest.count("sit"), 0);

    find_space(&server).await;
    run_out_of_space(&server, "UPDATE").await;
    host.send(start(1)).await;
    let (sit, _) = news(&mut host).await;
    // All are sent the end all the same, and a user who leaves then was there.
    assert_eq!(news(&mut guest).await, (sit, false));
    assert_eq!(news(&mut guest).await, (sit, true));
    host.leave().await;
    assert_eq!(stored(&server, sit).await.status, "open");
    let mut host = Client::join(server.address(), session.id, &Join::token(&user(hana, "Hana"))).await;
    host.send(start(600)).await;
    assert_eq!(host.frame("error").await["code"], "unavailable", "before the last one is recorded");
    find_space(&server).await;
    recorded(&server, sit).await;
    assert_eq!(sat(&server, sit).await, [(hana, 1)]);
    host.send(start(600)).await;
    assert_ne!(news(&mut host).await.0, sit);
}

#[tokio::test]
async fn the_sit_of_a_server_that_never_came_back_is_abandoned_by_the_sweep_of_another() {
    let server = TestServer::start(&quiet(&["--sweep-interval", "1h", "--sit-grace", "1m"])).await;
    let (session, mut host) = hosted(&server, Uuid::now_v7()).await;
    host.send(start(600)).await;
    let (sit, _) = news(&mut host).await;
    execute(&server.database.pool, "UPDATE room_sits SET node = 'another' WHERE id = $1", sit).await;
    host.leave().await;
    let flags = quiet(&["--sweep-interval", "1h", "--sit-grace", "1m"]);
    let server = TestServer::on(server.stop().await, &flags).await;
    let mut host = Client::join(server.address(), session.id, &Join::token(&service())).await;
    host.catch_up().await;
    assert_eq!(host.count("sit"), 0, "presence is per server, and so is this");
    move_to(&server.database.pool, sit, -30.0).await;
    assert_eq!(did(&server.sweep().await), json!({}));
    move_to(&server.database.pool, sit, -61.0).await;
    assert_eq!(did(&server.sweep().await), json!({"sits_abandoned": 1}));
    assert_eq!(stored(&server, sit).await.status, "abandoned");
}
