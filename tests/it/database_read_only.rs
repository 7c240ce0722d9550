//! A database that takes no writes for a while: a standby, or one that was set so.

use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::harness::cluster::TestDatabase;
use crate::harness::login::Login;
use crate::harness::rest::user;
use crate::harness::rows::person;
use crate::harness::{Client, Join, TestServer, eventually};

#[tokio::test]
async fn while_a_database_is_read_only_all_is_refused_for_now_and_works_once_it_can_be_written() {
    let database = TestDatabase::new().await;
    let login = Login::member(&database).await;
    let server = TestServer::on(login.of(&database), &["--migrate=false", "--grace", "60s"]).await;
    let session = server.open().await;
    let mut ada = server.guest(&session, "Ada").await;
    server.sweep().await;

    // The setting is one of new sessions.
    login.run("ALTER ROLE $ SET default_transaction_read_only = on").await;
    login.cut().await;
    let detail = eventually("that it is not ready", async || {
        let answer = server.get("/readyz", None).await;
        (answer.status == 503 && answer.body["detail"].to_string().contains("no writes")).then_some(answer)
    });
    detail.await.refused(503, "unavailable");
    let ways = [
        server.call_once(Method::POST, "/v1/reading-sessions", None, json!({})).await,
        server.call_once(Method::POST, "/v1/check-ins", Some(&user(Uuid::now_v7(), "Bob")), json!({})).await,
        server.handshake_once(&session.id.to_string(), &Join::invite(&session.invite, "Cyd")).await,
    ];
    for answer in ways {
        answer.refused(503, "unavailable");
    }
    let join = Join::invite(&session.invite, "Cyd");
    let refused = Client::refused_at_once(server.address(), &session.id.to_string(), &join).await;
    assert_eq!(
        (refused.code, &refused.error["code"], &refused.error["retry"]),
        (1013, &json!("unavailable"), &json!(true))
    );
    ada.send(json!({"type": "update", "state": {"page": 7}})).await;
    // Who is in the room notices nothing.
    ada.catch_up().await;
    assert_eq!(server.metric("lastseen_compensations").await, 0.0, "nothing can have been written");

    login.run("ALTER ROLE $ RESET default_transaction_read_only").await;
    // Sessions that began while it was read-only stay so: they are replaced.
    eventually("that it is ready", async || (server.get("/readyz", None).await.status == 200).then_some(())).await;
    let late = Client::join(server.address(), session.id, &Join::invite(&session.invite, "Late")).await;
    let id = late.id();
    ada.until("the newcomer", |client| client.view.contains_key(&id)).await;
    let pool = &server.database.pool;
    eventually("what was seen", async || (person(pool, ada.id()).await.state == json!({"page": 7})).then_some(()))
        .await;
    server.stop().await;
    login.end().await;
}
