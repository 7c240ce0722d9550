//! The closing rules that are off unless an operator sets them: a greatest age, and a least number of people.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::rest::{Opened, did};
use crate::harness::rows::{execute, stored};
use crate::harness::{Client, Join, TestServer, quiet};

async fn guest(server: &TestServer, session: &Opened, name: &str) -> Client {
    Client::join(server.address(), session.id, &Join::invite(&session.invite, name)).await
}

/// Makes a session look as if it had been opened two hours ago.
async fn opened_long_ago(server: &TestServer, session: Uuid) {
    let statement = "UPDATE reading_sessions SET created_at = now() - interval '2 hours' WHERE id = $1";
    execute(&server.database.pool, statement, session).await;
}

#[tokio::test]
async fn a_session_that_is_too_old_is_closed_whoever_is_in_it() {
    let server = TestServer::start(&quiet(&["--max-session-age", "1h"])).await;
    let (old, young) = (server.open().await, server.open().await);
    let mut ada = guest(&server, &old, "Ada").await;
    let mut bob = guest(&server, &young, "Bob").await;
    assert_eq!(did(&server.sweep().await), json!({}));
    opened_long_ago(&server, old.id).await;
    // Until the next sweep it is open, and admits people.
    let mut cid = guest(&server, &old, "Cid").await;
    assert_eq!(did(&server.sweep().await), json!({"aged": 1}));
    assert_eq!(did(&server.sweep().await), json!({}), "once");
    for client in [&mut ada, &mut cid] {
        let ended = client.ended().await;
        assert_eq!((ended.code, &ended.error["reason"]), (4511, &json!("expired")));
    }
    assert_eq!(stored(&server.database.pool, old.id).await.close_reason.as_deref(), Some("expired"));
    bob.catch_up().await;
    assert_eq!(server.metric("lastseen_swept_total{policy=\"aged\"}").await, 1.0);
}

#[tokio::test]
async fn a_session_that_wants_for_company_is_closed() {
    let server = TestServer::start(&quiet(&["--min-participants-after", "1h"])).await;
    let (lonely, left, busy) = (server.open().await, server.open().await, server.open().await);
    let mut ada = guest(&server, &lonely, "Ada").await;
    let mut bea = guest(&server, &left, "Bea").await;
    guest(&server, &left, "Cid").await.close().await;
    let (mut dan, mut eve) = (guest(&server, &busy, "Dan").await, guest(&server, &busy, "Eve").await);
    for session in [&lonely, &left, &busy] {
        opened_long_ago(&server, session.id).await;
    }
    // The leaving is written with the sweep's flush, and was just now.
    assert_eq!(did(&server.sweep().await), json!({"lonely": 1}));
    let ended = ada.ended().await;
    assert_eq!((ended.code, &ended.error["reason"]), (4511, &json!("idle")));
    let statement = "UPDATE session_participants SET left_at = now() - interval '1 hour' WHERE session_id = $1 AND left_at IS NOT NULL";
    bea.catch_up().await;
    execute(&server.database.pool, statement, left.id).await;
    assert_eq!(did(&server.sweep().await), json!({"lonely": 1}));
    assert_eq!(bea.ended().await.error["reason"], "idle");
    dan.catch_up().await;
    eve.catch_up().await;
    assert_eq!(server.metric("lastseen_swept_total{policy=\"lonely\"}").await, 2.0);
}

#[tokio::test]
async fn neither_rule_holds_unless_it_is_asked_for() {
    let server = TestServer::start(&quiet(&[])).await;
    let session = server.open().await;
    let mut ada = guest(&server, &session, "Ada").await;
    let statement = "UPDATE reading_sessions SET created_at = now() - interval '10 years' WHERE id = $1";
    execute(&server.database.pool, statement, session.id).await;
    let swept = server.sweep().await;
    assert_eq!((did(&swept), &swept["aged"], &swept["lonely"]), (json!({}), &json!(0), &Value::from(0)));
    ada.catch_up().await;
}

#[tokio::test]
async fn somebody_who_comes_while_it_is_decided_is_company() {
    let server = TestServer::start(&quiet(&["--min-participants-after", "1h"])).await;
    let session = server.open().await;
    let mut ada = guest(&server, &session, "Ada").await;
    opened_long_ago(&server, session.id).await;
    // As a join holds it: the sweep does not wait, and leaves the session to the next one.
    let mut join = server.database.pool.begin().await.expect("a transaction");
    sqlx::query("SELECT FROM reading_sessions WHERE id = $1 FOR SHARE")
        .bind(session.id)
        .execute(&mut *join)
        .await
        .expect("a lock");
    assert_eq!(did(&server.sweep().await), json!({}));
    join.rollback().await.expect("the end");
    let mut bob = guest(&server, &session, "Bob").await;
    assert_eq!(did(&server.sweep().await), json!({}));
    ada.catch_up().await;
    bob.catch_up().await;
}
