//! People in a room see each other: who comes, who changes, who goes, each of it once.

use serde_json::json;

use crate::harness::{Client, Join, TestServer};

#[tokio::test]
async fn people_who_join_by_an_invite_see_each_other() {
    let server = TestServer::start(&[]).await;
    let session = server.open().await;
    let mut ada = Client::join(server.address(), session.id, &Join::invite(&session.invite, "Ada")).await;
    assert_eq!(ada.welcome["occupancy"], 1);
    ada.sees(&[ada.id()]).await;

    let mut bob = Client::join(server.address(), session.id, &Join::invite(&session.invite, "Bob")).await;
    bob.sees(&[ada.id(), bob.id()]).await;
    ada.sees(&[ada.id(), bob.id()]).await;
    let shown = &ada.view[&bob.id()];
    assert_eq!((&shown["name"], &shown["role"], &shown["status"]), (&json!("Bob"), &json!("guest"), &json!("active")));
    assert_eq!((&shown["connections"], &shown["user_id"], &shown["state"]), (&json!(1), &json!(null), &json!({})));

    let bob_id = bob.id();
    assert_eq!(bob.close().await.code, 1000);
    ada.sees(&[ada.id()]).await;
    let diff = ada.heard.last().expect("a diff");
    assert_eq!(diff["leaves"], json!([{"id": bob_id, "reason": "left"}]));
    assert_eq!(diff["occupancy"], 1);
    assert_eq!(ada.gaps, []);
}

#[tokio::test]
async fn a_beat_is_answered_and_reaches_the_database() {
    let server = TestServer::start(&[]).await;
    let session = server.open().await;
    let mut ada = Client::join(server.address(), session.id, &Join::invite(&session.invite, "Ada")).await;
    server.age(session.id, 600.0).await;
    ada.send(json!({"type": "beat", "ref": 7, "active": true})).await;
    let answer = ada.frame("beat").await;
    assert_eq!(answer["ref"], 7);
    assert!(answer["server_time"].as_str().is_some_and(|time| time.ends_with('Z')));
    crate::harness::eventually("the beat in the database", async || {
        let age: f64 = server
            .sql(
                "SELECT extract(epoch FROM now() - last_seen_at)::float8 FROM session_participants WHERE session_id = $1",
                session.id,
            )
            .await;
        (age < 60.0).then_some(())
    })
    .await;
}
