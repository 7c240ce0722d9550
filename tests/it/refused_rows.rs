//! A row that the database refuses, for good, costs itself alone: everybody else's is written.

use serde_json::json;
use uuid::Uuid;

use crate::harness::rest::{did, user};
use crate::harness::rows::{person, user_session};
use crate::harness::{Client, Join, TestServer, eventually, quiet};

/// Makes the database refuse a state and a user session.
const REFUSE: [&str; 4] = [
    "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
     $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = 'check_violation'; END $$",
    "CREATE TRIGGER refuse BEFORE UPDATE ON session_participants
     FOR EACH ROW WHEN (new.state ->> 'page' = '13') EXECUTE FUNCTION refuse()",
    "CREATE TRIGGER refuse BEFORE UPDATE ON user_sessions
     FOR EACH ROW WHEN (new.session_id = 'of 13') EXECUTE FUNCTION refuse()",
    "CREATE TRIGGER refuse_new BEFORE INSERT ON user_sessions
     FOR EACH ROW WHEN (new.session_id = 'of 14') EXECUTE FUNCTION refuse()",
];

#[tokio::test]
async fn a_row_that_is_refused_is_dropped_and_every_other_is_written() {
    let server = TestServer::start(&quiet(&[])).await;
    let pool = &server.database.pool;
    let session = server.open().await;
    let mut people = Vec::new();
    for number in 0..20 {
        let join = Join {
            more: format!("platform=web&client_session=of%20{number}"),
            token: Some(user(Uuid::now_v7(), "Reader")),
            ..Join::invite(&session.invite, "Reader")
        };
        people.push((number, Client::join(server.address(), session.id, &join).await));
        if number == 12 {
            // 13 is refused when it is written, 14 when it is opened by the flush.
            for statement in REFUSE {
                sqlx::query(statement).execute(pool).await.expect(statement);
            }
        }
    }
    for (number, client) in &mut people {
        client.send(json!({"type": "update", "state": {"page": number}})).await;
        client.send(json!({"type": "beat"})).await;
        client.catch_up().await;
    }
    for (number, client) in &people {
        if *number != 13 {
            eventually("the state of everybody else", async || {
                (person(pool, client.id()).await.state == json!({"page": number})).then_some(())
            })
            .await;
        }
        if ![13, 14].contains(number) {
            let session = format!("of {number}");
            eventually("the activity of everybody else", async || {
                user_session(pool, &session).await.filter(|row| row.activity_count > 0)
            })
            .await;
        }
    }
    assert_eq!(person(pool, people[13].1.id()).await.state, json!({}));
    eventually("three rows dropped", async || {
        (server.metric("lastseen_flush_dropped_total").await >= 3.0).then_some(())
    })
    .await;

    // The flush is well, and so is what waits for it.
    assert_eq!(did(&server.sweep().await), json!({}));
    server.get("/readyz", None).await.expect(200);
    eventually("nothing waits", async || (server.metric("lastseen_flush_backlog").await == 0.0).then_some(())).await;
    assert_eq!(server.metric("lastseen_flush_failures_total").await, 0.0);
    for (_, client) in &mut people {
        client.catch_up().await;
    }
}
