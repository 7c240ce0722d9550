//! Bad credentials, many at once: they cost those with good ones neither a place nor time.

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::harness::client::Ended;
use crate::harness::rest::{Opened, service};
use crate::harness::{Client, Join, TestServer, eventually};

/// How many knock at a time.
const KNOCKS: usize = 40;

/// Handshakes with invites that nobody made; how each is refused.
fn knock(server: &TestServer, session: &Opened) -> JoinSet<Ended> {
    let (address, id) = (server.address(), session.id.to_string());
    let mut knocks = JoinSet::new();
    for _ in 0..KNOCKS {
        let (id, join) = (id.clone(), Join::invite(&format!("lsi_{}", Uuid::new_v4()), "Mal"));
        knocks.spawn(async move { Client::refused_at_once(address, &id, &join).await });
    }
    knocks
}

/// Waits until this many connections are being admitted or are open.
async fn arrived(server: &TestServer, connections: usize) {
    eventually("the knocks", async || {
        let stats = server.get("/v1/admin/stats", Some(&service())).await.expect(200);
        (stats["connections"].as_u64()? >= connections as u64).then_some(())
    })
    .await;
}

fn assert_not_found(refused: &[Ended]) {
    for ended in refused {
        // On a machine that is too slow some are asked to come back.
        let expected = ended.code == 1013 || ended.error["code"] == "invite_not_found";
        assert!(expected, "{ended:?}");
    }
    assert!(refused.iter().any(|ended| ended.code == 4504), "{refused:?}");
}

#[tokio::test]
async fn bad_invites_take_no_places() {
    let server = TestServer::start(&[]).await;
    let session = server.open_as(Some(&service()), json!({"max_participants": 4})).await;
    let first = server.guest(&session, "Ada").await;

    // While the session is locked, the store decides on nobody.
    let mut transaction = server.database.pool.begin().await.expect("a transaction");
    sqlx::query("SELECT FROM reading_sessions WHERE id = $1 FOR UPDATE")
        .bind(session.id)
        .execute(&mut *transaction)
        .await
        .expect("a lock");
    let knocks = knock(&server, &session);
    arrived(&server, 1 + KNOCKS).await;
    let mut joins = JoinSet::new();
    for name in ["Bob", "Cleo", "Dan"] {
        let (address, session) = (server.address(), session.clone());
        joins.spawn(async move {
            loop {
                match Client::try_join(address, session.id, &Join::invite(&session.invite, name)).await {
                    Err(ended) if ended.code == 1013 => {}
                    outcome => return outcome,
                }
            }
        });
    }
    arrived(&server, 4 + KNOCKS).await;
    transaction.rollback().await.expect("unlocked");

    let inside: Vec<_> =
        joins.join_all().await.into_iter().map(|outcome| outcome.map_err(|ended| ended.code)).collect();
    assert!(
        inside.iter().all(Result::is_ok),
        "{:?}",
        inside.iter().filter_map(|one| one.as_ref().err()).collect::<Vec<_>>()
    );
    assert_not_found(&knocks.join_all().await);
    let full = Client::refused(server.address(), &session.id.to_string(), &Join::invite(&session.invite, "Eve")).await;
    assert_eq!((full.code, &full.error["code"]), (4509, &json!("session_full")));
    drop(first);
}

#[tokio::test]
async fn where_more_come_than_there_are_places_each_place_is_taken_and_nobody_is_sent_away_for_a_promise() {
    let server = TestServer::start(&["--database-connections", "10"]).await;
    let session = server.open_as(Some(&service()), json!({"max_participants": 5})).await;
    let mut joins = JoinSet::new();
    for number in 0..12 {
        let (address, session) = (server.address(), session.clone());
        joins.spawn(async move {
            loop {
                let join = Join::invite(&session.invite, &format!("Guest {number}"));
                match Client::try_join(address, session.id, &join).await {
                    Err(ended) if ended.code == 1013 => {
                        assert_eq!(
                            (&ended.error["retry"], ended.error["retry_after_ms"].is_u64()),
                            (&json!(true), true)
                        );
                    }
                    outcome => return outcome,
                }
            }
        });
    }
    let (inside, refused): (Vec<_>, Vec<_>) = joins.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!((inside.len(), refused.len()), (5, 7));
    assert!(refused.iter().all(|refused| refused.as_ref().is_err_and(|ended| ended.code == 4509)));
    assert_eq!(server.participants(session.id).await["occupancy"], 5);
    eventually("no trace of those who were refused", async || {
        let rows: i64 = server.sql("SELECT count(*) FROM session_participants WHERE session_id = $1", session.id).await;
        (rows == 5).then_some(())
    })
    .await;
}

#[tokio::test]
async fn bad_invites_for_a_session_that_is_not_in_memory_are_asked_for_together() {
    let server = TestServer::start(&[]).await;
    let session = server.open_as(Some(&service()), Value::Null).await;
    // Notes the transaction of each refusal.
    let note = "CREATE TABLE public.knocks (id xid8 PRIMARY KEY);
         GRANT SELECT, INSERT ON public.knocks TO lastseen_service;
         CREATE OR REPLACE FUNCTION lastseen.refusal(verdict text, detail text DEFAULT null) RETURNS lastseen.admission
         LANGUAGE plpgsql VOLATILE SET search_path = '' AS $$
         DECLARE refused lastseen.admission;
         BEGIN
           INSERT INTO public.knocks VALUES (pg_current_xact_id()) ON CONFLICT DO NOTHING;
           refused.verdict := verdict;
           refused.detail := detail;
           RETURN refused;
         END $$";
    sqlx::raw_sql(AssertSqlSafe(note)).execute(&server.database.pool).await.expect("a note");
    let mut transaction = server.database.pool.begin().await.expect("a transaction");
    sqlx::query("SELECT FROM reading_sessions WHERE id = $1 FOR UPDATE")
        .bind(session.id)
        .execute(&mut *transaction)
        .await
        .expect("a lock");
    let knocks = knock(&server, &session);
    arrived(&server, KNOCKS).await;
    transaction.rollback().await.expect("unlocked");

    assert_not_found(&knocks.join_all().await);
    let statements: i64 = sqlx::query_scalar("SELECT count(*) FROM public.knocks")
        .fetch_one(&server.database.pool)
        .await
        .expect("a count");
    assert!(statements < KNOCKS as i64 / 2, "{statements} statements for {KNOCKS} requests");
    let ada = server.guest(&session, "Ada").await;
    assert_eq!(ada.occupancy, 1);
}
