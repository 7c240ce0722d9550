//! A client that never sent a frame after its welcome and whose socket closes with an error may never have read it: its
//! participant is gone at once.

use futures_util::SinkExt;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::client::Step;
use crate::harness::crowd::crowded;
use crate::harness::rest::Opened;
use crate::harness::rows::person;
use crate::harness::{Client, Join, TestServer, eventually};

/// Flags under which a grace would not end.
const LONG: [&str; 2] = ["--grace", "10h"];

/// Joins, reads the welcome and says nothing.
async fn mute(server: &TestServer, session: &Opened, join: &Join) -> Client {
    let id = session.id.to_string();
    let mut client = Client::connect(server.address(), &id, join).await.expect("an upgrade");
    client.frame("welcome").await;
    client
}

async fn mute_guest(server: &TestServer, session: &Opened, name: &str) -> Client {
    mute(server, session, &Join::invite(&session.invite, name)).await
}

#[tokio::test]
async fn a_client_that_cannot_read_its_welcome_leaves_no_ghost() {
    let (server, session) = crowded(20, 22, &["--max-frame-bytes", "1000000"]).await;
    let mut ada = server.guest(&session, "Ada").await;
    let others = ada.view.len();
    let id = session.id.to_string();
    // Each try is somebody else, who has no token to come back with.
    for tries in 1..=3 {
        let join = Join::invite(&session.invite, "Gopher");
        let mut gopher = Client::limited(server.address(), &id, &join, 32_768).await.expect("an upgrade");
        assert!(matches!(gopher.step().await, Step::Ended(_)));
        drop(gopher);
        ada.until("the leave", |ada| {
            let leaves = ada.heard.iter().filter_map(|frame| frame["leaves"].as_array()).flatten();
            leaves.filter(|leave| leave["reason"] == "timeout").count() == tries
        })
        .await;
        assert_eq!(ada.view.len(), others);
    }
    // There was one place.
    let bob = server.guest(&session, "Bob").await;
    ada.until("Bob", |ada| ada.view.contains_key(&bob.id())).await;
    assert_eq!((ada.occupancy, &ada.gaps[..]), (22, &[][..]));
    let ghosts: i64 = server
        .sql("SELECT count(*) FROM session_participants WHERE session_id = $1 AND name = 'Gopher'", session.id)
        .await;
    assert_eq!(ghosts, 3);
    eventually("all of them are gone from the database", async || {
        let gone = "SELECT count(*) FROM session_participants WHERE session_id = $1 AND name = 'Gopher'
                    AND not is_active AND leave_reason = 'timeout' AND left_at IS NOT NULL";
        (server.sql::<i64>(gone, session.id).await == 3).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_closes_with_an_error_before_a_frame_has_no_grace() {
    let server = TestServer::start(&LONG).await;
    let session = server.open().await;
    let mut watcher = server.observer(&session).await;
    for code in [None, Some(1002), Some(1007), Some(1008), Some(1009), Some(1011)] {
        let client = mute_guest(&server, &session, "Ada").await;
        let id = client.id();
        watcher.sees(&[id]).await;
        match code {
            Some(code) => drop(client.close_with(Some(code)).await),
            None => client.vanish(),
        }
        watcher.sees(&[]).await;
        assert_eq!(watcher.told_of(id).last(), Some(&("leave", json!("timeout"))), "{code:?}");
        let row = eventually("the leave in the database", async || {
            Some(person(&server.database.pool, id).await).filter(|row| !row.is_active)
        })
        .await;
        assert_eq!(row.leave_reason.as_deref(), Some("timeout"));
        assert!(row.last_seen_at >= row.joined_at && row.left_at.is_some());
    }
    assert_eq!(watcher.gaps, []);
}

#[tokio::test]
async fn a_close_of_its_own_is_what_it_was() {
    let server = TestServer::start(&LONG).await;
    let session = server.open().await;
    let mut watcher = server.observer(&session).await;
    for code in [1001, 3000, 4000] {
        let client = mute_guest(&server, &session, "Ada").await;
        let id = client.id();
        client.close_with(Some(code)).await;
        watcher
            .until("reconnecting", |watcher| watcher.view.get(&id).is_some_and(|it| it["status"] == "reconnecting"))
            .await;
    }
    let leaver = mute_guest(&server, &session, "Bob").await;
    let id = leaver.id();
    leaver.close().await;
    watcher.until("Bob's leave", |watcher| watcher.told_of(id).last() == Some(&("leave", json!("left")))).await;
    assert_eq!(watcher.view.len(), 3);
}

#[tokio::test]
async fn pings_and_pongs_are_no_frames_and_anything_else_is() {
    let server = TestServer::start(&["--grace", "10h", "--ping-interval", "50ms"]).await;
    let session = server.open().await;
    let mut watcher = server.observer(&session).await;
    let mut mute = mute_guest(&server, &session, "Mute").await;
    let id = mute.id();
    mute.socket.send(Message::Ping(b"x".as_slice().into())).await.expect("sent");
    mute.pinged(3).await;
    mute.vanish();
    watcher.until("the leave", |watcher| watcher.told_of(id).last() == Some(&("leave", json!("timeout")))).await;

    for frame in [r#"{"type":"beat"}"#, r#"{"type":"something new"}"#, "no JSON"] {
        let mut client = mute_guest(&server, &session, "Ada").await;
        let id = client.id();
        client.socket.send(Message::text(frame)).await.expect("sent");
        client.vanish();
        watcher
            .until("reconnecting", |watcher| watcher.view.get(&id).is_some_and(|it| it["status"] == "reconnecting"))
            .await;
    }
}

#[tokio::test]
async fn who_has_sent_a_frame_is_kept_when_the_next_connection_sends_none() {
    let server = TestServer::start(&LONG).await;
    let session = server.open().await;
    let mut watcher = server.observer(&session).await;
    let ada = server.guest(&session, "Ada").await;
    let (id, resume) = (ada.id(), ada.resume_token());
    ada.vanish();
    let reconnecting = |watcher: &Client| watcher.view.get(&id).is_some_and(|it| it["status"] == "reconnecting");
    watcher.until("reconnecting", reconnecting).await;
    // A second tab that fails changes nothing either.
    let back = mute(&server, &session, &Join::resume(&resume)).await;
    let tab = mute(&server, &session, &Join::resume(&resume)).await;
    watcher.until("both", |watcher| watcher.view[&id]["connections"] == 2).await;
    tab.vanish();
    watcher.until("one", |watcher| watcher.view[&id]["connections"] == 1).await;
    back.vanish();
    watcher.until("reconnecting", reconnecting).await;
    assert!(watcher.told_of(id).iter().all(|(word, _)| *word != "leave"));
}

#[tokio::test]
async fn who_was_there_before_a_restart_is_kept_as_well() {
    let first = TestServer::start(&LONG).await;
    let session = first.open().await;
    let ada = first.guest(&session, "Ada").await;
    let (id, resume) = (ada.id(), ada.resume_token());
    let ended = async move {
        let mut ada = ada;
        ada.ended().await
    };
    let (database, _) = tokio::join!(first.stop(), ended);
    let server = TestServer::on(database, &LONG).await;
    let mut watcher = server.observer(&session).await;
    assert_eq!(watcher.view[&id]["status"], "reconnecting");
    let back = mute(&server, &session, &Join::resume(&resume)).await;
    watcher.until("the return", |watcher| watcher.view[&id]["status"] == "active").await;
    back.vanish();
    watcher.until("the loss", |watcher| watcher.view[&id]["status"] == "reconnecting").await;
    assert!(watcher.told_of(id).iter().all(|(word, _)| *word != "leave"));
    assert_eq!(server.participants(session.id).await["occupancy"], 1);
}
