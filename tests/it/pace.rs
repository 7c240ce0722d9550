//! How fast a client may send: the `welcome` says it, and updates, of which others are sent the newest alone, count less
//! than other frames.

use std::time::Duration;

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Client, Join, TestServer, pass, quiet};

fn update(page: usize) -> Message {
    Message::text(json!({"type": "update", "state": {"page": page}}).to_string())
}

#[tokio::test]
async fn a_client_that_updates_all_the_time_is_served_and_the_others_are_sent_the_newest() {
    let server = TestServer::start(&quiet(&[])).await;
    let open = server.open().await;
    let mut ada = Client::join(server.address(), open.id, &Join::invite(&open.invite, "Ada")).await;
    let mut bob = Client::join(server.address(), open.id, &Join::invite(&open.invite, "Bob")).await;
    assert_eq!(bob.welcome["pace"], json!({"updates_per_second": 20, "frames_per_minute": 100}));
    let id = bob.id();
    for round in 1..=10 {
        // As many as may come in these ten seconds, all at once, as a network may bring them.
        let last = round * 1000 + 200;
        bob.send_at_once((last - 199..=last).map(update)).await;
        bob.catch_up().await;
        ada.until("the newest page", |ada| ada.view.get(&id).is_some_and(|bob| bob["state"]["page"] == last)).await;
        pass(Duration::from_secs(10)).await;
    }
    assert_eq!((bob.count("error"), ada.gaps), (0, vec![]));
}

#[tokio::test]
async fn the_pace_of_updates_is_a_setting_and_has_an_end() {
    let server = TestServer::start(&quiet(&["--max-updates-per-second", "1"])).await;
    let open = server.open().await;
    let mut bob = Client::join(server.address(), open.id, &Join::invite(&open.invite, "Bob")).await;
    assert_eq!(bob.welcome["pace"]["updates_per_second"], 1);
    // Far more than a burst: sent once that it is too much, then closed.
    bob.send_at_once((0..200).map(update)).await;
    let ended = bob.ended().await;
    assert_eq!((ended.code, &ended.error["code"]), (4029, &json!("rate_limited")));
    assert_eq!(bob.count("error"), 2);
}

#[tokio::test]
async fn updates_that_cannot_be_understood_count_like_any_frame() {
    let server = TestServer::start(&quiet(&[])).await;
    let open = server.open().await;
    let mut bob = Client::join(server.address(), open.id, &Join::invite(&open.invite, "Bob")).await;
    bob.send_at_once((0..5).map(|_| Message::text(r#"{"type":"update","state":7}"#))).await;
    assert_eq!(bob.ended().await.code, 4500);
}
