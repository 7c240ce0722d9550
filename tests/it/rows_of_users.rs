//! What users write to their own rows in SQL, beside the server, as apps on Supabase do: usual writes work, what is
//! over stays as it was, and the server shows what was written.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::rest::{service, user};
use crate::harness::rows::{execute, user_session, write_as};
use crate::harness::{Client, Join, TestServer, client::id, eventually, quiet};

/// How PostgreSQL refuses a value, and a column.
const CHECK_VIOLATION: &str = "23514";
const INSUFFICIENT_PRIVILEGE: &str = "42501";

fn refused(code: &str) -> Result<u64, String> {
    Err(code.to_owned())
}

/// A server whose sweep comes when it is called.
async fn server() -> TestServer {
    TestServer::start(&quiet(&["--sweep-interval", "1h"])).await
}

#[tokio::test]
async fn a_check_in_that_a_client_inserts_is_one_for_an_hour_at_most() {
    let server = server().await;
    let (ada, pool) = (Uuid::now_v7(), &server.database.pool);
    let token = user(ada, "Ada");
    let insert = "INSERT INTO check_ins (user_id, checked_in_at, expires_at, status)
        VALUES (auth.uid(), now(), now() + interval '1 hour', 'active')";
    assert_eq!(write_as(pool, ada, insert).await, Ok(1));
    let active = async || server.get("/v1/check-ins/active", Some(&token)).await.expect(200)["items"].clone();
    let check_in = active().await[0].clone();
    assert_eq!((&check_in["minutes_remaining"], &check_in["extension_count"]), (&json!(60), &json!(0)));

    for expires_at in ["now() + interval '10 years'", "now() + interval '2 hours'", "'infinity'", "'-infinity'"] {
        for statement in [
            format!("UPDATE check_ins SET expires_at = {expires_at}"),
            format!("INSERT INTO check_ins (user_id, expires_at) VALUES (auth.uid(), {expires_at})"),
        ] {
            assert_eq!(write_as(pool, ada, &statement).await, refused(CHECK_VIOLATION), "{statement}");
        }
    }
    let now = active().await;
    assert_eq!((&now[0]["expires_at"], &now[1]), (&check_in["expires_at"], &Value::Null), "as it was");

    // An extension in SQL is an extension, and over REST the same check-in goes on.
    let extend = "UPDATE check_ins SET expires_at = now() + interval '1 hour'";
    assert_eq!(write_as(pool, ada, extend).await, Ok(1));
    let again = server.post("/v1/check-ins", Some(&token), Value::Null).await.expect(200);
    assert_eq!((&again["id"], &again["extension_count"]), (&check_in["id"], &json!(2)));
    let forged = "UPDATE check_ins SET extension_count = 0";
    assert_eq!(write_as(pool, ada, forged).await, refused(INSUFFICIENT_PRIVILEGE));

    // Another user's is out of reach.
    assert_eq!(write_as(pool, Uuid::now_v7(), "UPDATE check_ins SET status = 'inactive'").await, Ok(0));
    assert_eq!(write_as(pool, ada, "UPDATE check_ins SET status = 'inactive', checked_out_at = now()").await, Ok(1));
    assert_eq!(active().await, json!([]));
    let out = server.get("/v1/check-ins", Some(&token)).await.expect(200)["items"][0].clone();
    let reopen =
        "UPDATE check_ins SET status = 'active', checked_out_at = NULL, expires_at = now() + interval '1 hour'";
    assert_eq!(write_as(pool, ada, reopen).await, Ok(0), "what is over stays as it was");
    assert_eq!(server.get("/v1/check-ins", Some(&token)).await.expect(200)["items"], json!([out]));

    // Nor is an hour that is over begun again.
    let late = id(&server.post("/v1/check-ins", Some(&token), Value::Null).await.expect(201)["id"]);
    let age = "UPDATE check_ins SET checked_in_at = now() - interval '2 hours', expires_at = now() - interval '1 hour'
        WHERE id = $1";
    execute(pool, age, late).await;
    assert_eq!(write_as(pool, ada, extend).await, refused(CHECK_VIOLATION));
    let check_out =
        server.post(&format!("/v1/check-ins/{late}/check-out"), Some(&token), Value::Null).await.expect(200);
    assert_eq!(check_out["checked_out_at"], check_out["expires_at"]);
}

#[tokio::test]
async fn a_user_session_that_a_client_writes_is_as_one_that_the_server_wrote() {
    let server = server().await;
    let (ada, pool) = (Uuid::now_v7(), &server.database.pool);
    let token = user(ada, "Ada");
    let insert = "INSERT INTO user_sessions (user_id, session_id, platform, status, started_at, device_info, location_info, metadata)
        VALUES (auth.uid(), 'app', 'ios-external', 'active', now() - interval '10 minutes', '{\"os\":\"iOS\"}', NULL, NULL)";
    assert_eq!(write_as(pool, ada, insert).await, Ok(1));
    let read = async || server.get("/v1/user-sessions/app", Some(&token)).await.expect(200);
    let session = read().await;
    assert_eq!((&session["location_info"], &session["metadata"]), (&json!({}), &json!({})));
    assert_eq!((&session["device_info"], &session["status"]), (&json!({"os": "iOS"}), &json!("active")));
    assert_eq!(write_as(pool, ada, "UPDATE user_sessions SET location_info = NULL").await, Ok(1));
    let summary = server.get("/v1/user-sessions/summary", Some(&token)).await.expect(200);
    assert_eq!(summary["items"][0]["active_count"], 1);

    // By REST it goes on as any other.
    server.post("/v1/user-sessions/app/heartbeat", Some(&token), json!({"active": true})).await.expect(200);
    let end = "UPDATE user_sessions SET status = 'ended', ended_at = now(), end_reason = 'app_close' WHERE session_id = 'app'";
    assert_eq!(write_as(pool, Uuid::now_v7(), end).await, Ok(0), "another's");
    assert_eq!(write_as(pool, ada, end).await, Ok(1));
    let ended = read().await;
    assert_eq!((&ended["status"], &ended["end_reason"]), (&json!("ended"), &json!("app_close")));
    let seconds = ended["total_duration_seconds"].as_i64().expect("a duration");
    assert!((600..900).contains(&seconds), "{seconds}");
    server.post("/v1/user-sessions/app/heartbeat", Some(&token), json!({})).await.refused(409, "session_ended");
    for statement in [
        "UPDATE user_sessions SET status = 'active', ended_at = NULL, end_reason = NULL, total_duration_seconds = NULL",
        "UPDATE user_sessions SET ended_at = now()",
        "UPDATE user_sessions SET metadata = '{\"more\":1}'",
    ] {
        assert_eq!(write_as(pool, ada, statement).await, Ok(0), "{statement}");
    }
    assert_eq!(read().await, ended, "what has ended stays as it was");
    server.sweep().await;
    assert_eq!(read().await, ended);
}

#[tokio::test]
async fn updated_at_moves_with_what_a_user_changes_and_not_with_beats() {
    let server = TestServer::start(&["--flush-interval", "50ms", "--sweep-interval", "1h"]).await;
    let (ada, pool) = (Uuid::now_v7(), &server.database.pool);
    let token = user(ada, "Ada");
    let open = server.open().await;
    let join = Join {
        more: "platform=web&client_session=tab".into(),
        token: Some(token.clone()),
        ..Join::invite(&open.invite, "Ada")
    };
    let mut client = Client::join(server.address(), open.id, &join).await;
    eventually("its row", async || user_session(pool, "tab").await).await;
    let updated = async || -> [DateTime<Utc>; 2] {
        let query = "SELECT ARRAY[u.updated_at, r.updated_at] FROM user_sessions u, reading_sessions r WHERE r.id = $1";
        let both: Vec<DateTime<Utc>> =
            sqlx::query_scalar(query).bind(open.id).fetch_one(pool).await.expect("two times");
        both.try_into().expect("two")
    };
    // So old that the flush moves what it says of the reading session as well.
    server.age(open.id, 600.0).await;
    let before = updated().await;
    let activity = user_session(pool, "tab").await.expect("a row").activity_count;
    client.send(json!({"type": "beat"})).await;
    client.catch_up().await;
    eventually("the beat in both rows", async || {
        let query = "SELECT u.activity_count > $2 AND r.last_seen_at > now() - interval '5 minutes'
            FROM user_sessions u, reading_sessions r WHERE r.id = $1";
        let moved: bool =
            sqlx::query_scalar(query).bind(open.id).bind(activity).fetch_one(pool).await.expect("an answer");
        moved.then_some(())
    })
    .await;
    assert_eq!(updated().await, before, "beats are no changes");

    let statement = "UPDATE user_sessions SET metadata = '{\"page\":7}' WHERE session_id = 'tab'";
    assert_eq!(write_as(pool, ada, statement).await, Ok(1));
    let [by_sql, of_reading_session] = updated().await;
    assert!(by_sql > before[0]);
    assert_eq!(of_reading_session, before[1]);
    let patch = json!({"page": 8});
    server.patch("/v1/user-sessions/tab/metadata", Some(&token), patch).await.expect(200);
    assert!(updated().await[0] > by_sql);
    client.close().await;
}

#[tokio::test]
async fn a_sit_that_is_over_stays_as_it_was_for_its_user_and_their_partners() {
    let server = server().await;
    let (ada, bob, pool) = (Uuid::now_v7(), Uuid::now_v7(), &server.database.pool);
    let (adas, bobs) = (user(ada, "Ada"), user(bob, "Bob"));
    let partnership =
        server.post("/v1/partnerships", Some(&service()), json!({"user_ids": [ada, bob]})).await.expect(201);
    let partnership = id(&partnership["id"]);
    let start = async || {
        let body = json!({"sit_length_seconds": 600, "partnership_id": partnership});
        id(&server.post("/v1/sits", Some(&adas), body).await.expect(201)["id"])
    };
    let weeks =
        async || server.get(&format!("/v1/sits/weeks?partnership_id={partnership}"), Some(&bobs)).await.expect(200);
    let sat = start().await;
    execute(pool, "UPDATE sits SET started_at = now() - interval '10 minutes' WHERE id = $1", sat).await;
    server.post(&format!("/v1/sits/{sat}/complete"), Some(&adas), Value::Null).await.expect(200);
    let before = weeks().await;

    for statement in [
        "UPDATE sits SET status = 'open', is_completed = false, completed_at = NULL",
        "UPDATE sits SET completed_at = started_at + interval '100 days'",
        "UPDATE sits SET status = 'abandoned', is_completed = false, completed_at = NULL",
    ] {
        assert_eq!(write_as(pool, ada, statement).await, Ok(0), "{statement}");
    }
    for (statement, code) in [
        ("UPDATE sits SET sit_length_seconds = 8640000", INSUFFICIENT_PRIVILEGE),
        ("UPDATE sits SET started_at = '2020-01-01'", INSUFFICIENT_PRIVILEGE),
        ("INSERT INTO sits (user_id, sit_length_seconds) VALUES (auth.uid(), 8640000)", CHECK_VIOLATION),
    ] {
        assert_eq!(write_as(pool, ada, statement).await, refused(code), "{statement}");
    }
    assert_eq!(weeks().await, before);

    // One that is open is completed as of now, and not in a hundred days.
    let open = start().await;
    for time in ["started_at + interval '100 days'", "'infinity'", "'-infinity'", "started_at - interval '1 hour'"] {
        let statement = format!("UPDATE sits SET status = 'completed', is_completed = true, completed_at = {time}");
        assert_eq!(write_as(pool, ada, &statement).await, refused(CHECK_VIOLATION), "{statement}");
    }
    let complete = "UPDATE sits SET status = 'completed', is_completed = true, completed_at = now()";
    assert_eq!(write_as(pool, bob, complete).await, Ok(0), "a partner's is there to be read");
    assert_eq!(write_as(pool, ada, complete).await, Ok(1));
    server.post(&format!("/v1/sits/{open}/complete"), Some(&adas), Value::Null).await.refused(409, "already_completed");

    // One that was given up is over; one that was sat to its end, and reported late, counts once, with its length.
    let given_up = start().await;
    assert_eq!(write_as(pool, ada, "UPDATE sits SET status = 'abandoned'").await, Ok(1));
    assert_eq!(write_as(pool, ada, complete).await, Ok(0));
    server.post(&format!("/v1/sits/{given_up}/complete"), Some(&adas), Value::Null).await.refused(409, "conflict");
    let late = start().await;
    execute(pool, "UPDATE sits SET started_at = now() - interval '30 minutes' WHERE id = $1", late).await;
    server.sweep().await;
    let reopen = format!("UPDATE sits SET status = 'open' WHERE id = '{late}'");
    assert_eq!(write_as(pool, ada, &reopen).await, refused(CHECK_VIOLATION));
    assert_eq!(write_as(pool, ada, complete).await, Ok(1));
    let history = server.get("/v1/sits?limit=200", Some(&adas)).await.expect(200);
    let sits = history["items"].as_array().expect("a list");
    let of = |sit: Uuid| sits.iter().find(|item| id(&item["id"]) == sit).expect("it is there");
    assert_eq!((&of(late)["status"], &of(late)["duration_seconds"]), (&json!("completed"), &json!(600)));
    assert_eq!(of(given_up)["status"], "abandoned");
    assert_eq!(write_as(pool, ada, complete).await, Ok(0), "once");
}
