//! Pages that do not run any more, and whose browser goes on answering Pings.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Client, Join, TestServer, pass};

/// More than `idle-after`, and twice of it less than `silent-after`.
const WHILE: Duration = Duration::from_mins(25);

const FLAGS: [&str; 8] = ["--ping-interval", "1m", "--dead-after", "9h", "--silent-after", "1h", "--grace", "10m"];

/// The statuses that the watcher was sent of Ada, one after the other; `null` where she left.
fn statuses(watcher: &Client, ada: Uuid) -> Vec<Value> {
    let mut told: Vec<_> = watcher.told_of(ada).into_iter().map(|(_, told)| told["status"].clone()).collect();
    told.dedup();
    told
}

/// Beats as an unattended page does, and waits for the answer.
async fn beat(client: &mut Client) {
    client.send(json!({"type": "beat", "active": false})).await;
    client.frame("beat").await;
}

#[tokio::test]
async fn a_page_that_only_answers_pings_is_idle_then_lost_and_then_gone() {
    let server = TestServer::start(&FLAGS).await;
    let session = server.open().await;
    let mut watcher = server.observer(&session).await;
    let mut ada = server.guest(&session, "Ada").await;
    let mut bob = server.guest(&session, "Bob").await;
    let (gone, stays) = (ada.id(), bob.id());
    beat(&mut ada).await;

    for _ in 0..2 {
        pass(WHILE).await;
        tokio::join!(ada.pinged(1), watcher.pinged(1));
        beat(&mut bob).await;
    }
    // Not Ada, since it would beat.
    server.settled(&session, &mut [&mut bob, &mut watcher]).await;
    assert_eq!(statuses(&watcher, gone), ["active", "idle"]);

    pass(WHILE).await;
    let ended = ada.ended().await;
    assert_eq!((ended.code, &ended.error["code"], &ended.error["retry"]), (4008, &json!("beat_timeout"), &json!(true)));
    watcher.until("the loss", |watcher| watcher.view[&gone]["status"] == "reconnecting").await;
    assert_eq!(statuses(&watcher, gone), ["active", "idle", "reconnecting"]);

    // Then the grace, as for anyone who is lost.
    pass(WHILE).await;
    beat(&mut bob).await;
    watcher.until("the leave", |watcher| !watcher.view.contains_key(&gone)).await;

    // Whoever beats stays, and so does the watcher, whom no Pong holds present.
    for _ in 0..3 {
        pass(WHILE).await;
        tokio::join!(bob.pinged(1), watcher.pinged(1));
        beat(&mut bob).await;
    }
    assert_eq!(watcher.view[&stays]["status"], "idle");
    assert_eq!(server.metric("lastseen_connection_ends_total{reason=\"beat_timeout\"}").await, 1.0);
}

#[tokio::test]
async fn one_page_that_runs_holds_a_person_present_whose_other_page_does_not() {
    let server = TestServer::start(&FLAGS).await;
    let session = server.open().await;
    let mut silent = server.guest(&session, "Ada").await;
    beat(&mut silent).await;
    let mut running = Client::join(server.address(), session.id, &Join::resume(&silent.resume_token())).await;
    let ada = running.id();
    running.until("both", |running| running.view[&ada]["connections"] == 2).await;
    for _ in 0..3 {
        pass(WHILE).await;
        beat(&mut running).await;
    }
    assert_eq!(silent.ended().await.code, 4008);
    running.until("one", |running| running.view[&ada]["connections"] == 1).await;
    assert!(running.told_of(ada).iter().all(|(word, told)| *word != "leave" && told["status"] != "reconnecting"));
}
