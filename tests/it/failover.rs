//! When the database moves to another machine without a word: connections to the old one stay open, and nothing comes
//! from them any more.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::cluster::TestDatabase;
use crate::harness::proxy::Proxy;
use crate::harness::rows::person;
use crate::harness::{Client, Join, TestServer, eventually, quiet};

/// Connections for requests.
const CONNECTIONS: &str = "10";

#[tokio::test]
async fn after_a_failover_without_a_word_people_come_in_and_what_was_seen_is_written() {
    let database = TestDatabase::new().await;
    let proxy = Proxy::before(&database).await;
    let flags = quiet(&["--database-connections", CONNECTIONS]);
    let server = TestServer::on(database.through(&proxy), &flags).await;
    let session = server.open().await;
    let mut ada = server.guest(&session, "Ada").await;
    // All connections of the pool are there, and rest.
    let path = format!("/v1/invites/{}", session.invite);
    join_all((0..40).map(|_| server.get(&path, None))).await.into_iter().for_each(|answer| drop(answer.expect(200)));
    server.sweep().await;

    proxy.silence();
    ada.send(json!({"type": "update", "state": {"page": 7}})).await;
    // The first attempts find out. Without that each finds another connection on which nothing comes.
    let mut attempts = 0;
    let newcomer = loop {
        attempts += 1;
        match Client::try_join(server.address(), session.id, &Join::invite(&session.invite, "Newcomer")).await {
            Ok(client) => break client,
            Err(ended) => assert_eq!(ended.code, 1013),
        }
    };
    assert!(attempts <= 4, "let in at the {attempts}th attempt");
    let id = newcomer.id();
    ada.until("the newcomer", |client| client.view.contains_key(&id)).await;
    let pool = &server.database.pool;
    eventually("the flush", async || (person(pool, ada.id()).await.state == json!({"page": 7})).then_some(())).await;
    eventually("readiness", async || (server.get("/readyz", None).await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn a_server_whose_database_fell_silent_stops_in_time() {
    let database = TestDatabase::new().await;
    let proxy = Proxy::before(&database).await;
    let server = TestServer::on(database.through(&proxy), &quiet(&["--drain-timeout", "1s"])).await;
    let session = server.open().await;
    let mut ada = server.guest(&session, "Ada").await;
    server.sweep().await;
    proxy.silence_all();
    ada.send(json!({"type": "update", "state": {"page": 7}})).await;
    let began = Instant::now();
    server.stop().await;
    assert_eq!(ada.ended().await.code, 1012);
    // Of the 30 s that Kubernetes gives; a statement alone may take 10.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
