//! Liveness: Pings and Pongs, idle people, the quality of connections, and what keeps a
//! session open.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::raw::{CLOSE, FIN, PING, PONG, Raw, TEXT, frame};
use crate::harness::rest::keys;
use crate::harness::{Client, Join, TestServer, eventually, pass, quiet};

/// Flags under which a connection is pinged every minute, and stays open where no Ping is answered and no frame sent for
/// long.
const ALIVE: [&str; 6] = ["--ping-interval", "1m", "--dead-after", "5h", "--silent-after", "5h"];

/// More than the five minutes after which an inactive person is idle.
const UNTIL_IDLE: Duration = Duration::from_secs(301);

/// The values that a field of a person had, one after the other, in the frames of the watcher.
fn history(watcher: &Client, person: Uuid, field: &str) -> Vec<Value> {
    let mut values: Vec<Value> = watcher.told_of(person).into_iter().map(|(_, told)| told[field].clone()).collect();
    values.dedup();
    values
}

async fn shown(watcher: &mut Client, person: Uuid, field: &str, value: &str) {
    watcher
        .until(&format!("{field} {value}"), |watcher| {
            watcher.view.get(&person).is_some_and(|shown| shown[field] == value)
        })
        .await;
}

#[tokio::test]
async fn a_hidden_tab_that_only_answers_pings_stays_present() {
    let server = TestServer::start(&["--grace", "1ms"]).await;
    let session = server.open().await;
    let mut watcher = server.observer(&session).await;
    let mut ada = server.guest(&session, "Ada").await;
    let id = ada.id();
    // Twice the time after which a silent connection is closed. The watcher has to answer as well.
    for _ in 0..6 {
        pass(Duration::from_secs(25)).await;
        tokio::join!(ada.pinged(1), watcher.pinged(1));
    }
    server.settled(&session, &mut [&mut watcher]).await;
    assert!(watcher.view.contains_key(&id));
    assert!(watcher.told_of(id).iter().all(|(word, told)| *word != "leave" && told["status"] != "reconnecting"));
    assert_eq!(server.metric("lastseen_beats_total").await, 1.0, "the watcher's last one");
}

#[tokio::test]
async fn a_connection_that_answers_nothing_is_dead() {
    let server = TestServer::start(&["--grace", "10m"]).await;
    let session = server.open().await;
    let mut raw = Raw::join(server.address(), session.id, &session.invite, "Ada").await;
    pass(Duration::from_secs(25)).await;
    let (mut pings, mut error) = (0, Value::Null);
    let code = loop {
        match raw.frame().await.expect("a close frame before the end") {
            (first, _) if first == FIN | PING => {
                pings += 1;
                pass(Duration::from_secs(25)).await;
            }
            (first, payload) if first == FIN | TEXT => error = serde_json::from_slice(&payload).expect("JSON"),
            (first, payload) if first == FIN | CLOSE => break u16::from_be_bytes([payload[0], payload[1]]),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((code, &error["type"], &error["code"]), (4008, &json!("error"), &json!("beat_timeout")));
    assert_eq!(error["retry"], true);
    assert!(pings > 0, "it was asked before it was given up");
    let listed = server.participants(session.id).await;
    assert_eq!((&listed["items"][0]["status"], &listed["occupancy"]), (&json!("reconnecting"), &json!(1)));
    assert_eq!(server.metric("lastseen_connection_ends_total{reason=\"beat_timeout\"}").await, 1.0);

    // And once the grace is over it is gone.
    pass(Duration::from_mins(11)).await;
    eventually("the timeout", async || {
        let left: Option<String> =
            server.sql("SELECT leave_reason FROM session_participants WHERE session_id = $1", session.id).await;
        (left.as_deref() == Some("timeout")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_does_nothing_becomes_idle_until_it_does_something() {
    let server = TestServer::start(&ALIVE).await;
    let session = server.open().await;
    let mut watcher = server.observer(&session).await;
    let mut ada = server.guest(&session, "Ada").await;
    let id = ada.id();
    watcher.sees(&[id]).await;
    pass(UNTIL_IDLE).await;
    shown(&mut watcher, id, "status", "idle").await;

    // Beats of an unattended tab, and Pongs, are no activity.
    for reference in 0..3 {
        ada.send(json!({"type": "beat", "ref": reference, "active": false})).await;
        assert_eq!(ada.frame("beat").await["ref"], reference);
    }
    for _ in 0..2 {
        pass(Duration::from_mins(1)).await;
        ada.pinged(1).await;
    }
    server.settled(&session, &mut [&mut ada, &mut watcher]).await;
    assert_eq!(history(&watcher, id, "status"), ["active", "idle"]);

    // Each of these is: an update, a beat, a beat with `active`.
    for (turn, doing) in [
        json!({"type": "update", "state": {"page": 1}}),
        json!({"type": "beat"}),
        json!({"type": "beat", "active": true}),
    ]
    .into_iter()
    .enumerate()
    {
        let expected: Vec<_> = ["active", "idle"].into_iter().cycle().take(2 * turn + 4).collect();
        ada.send(doing).await;
        watcher.until("active", |watcher| history(watcher, id, "status") == expected[..2 * turn + 3]).await;
        pass(UNTIL_IDLE).await;
        watcher.until("idle again", |watcher| history(watcher, id, "status") == expected).await;
    }
    assert_eq!(watcher.gaps, []);
}

#[tokio::test]
async fn a_tab_that_does_something_speaks_for_the_idle_one() {
    let server = TestServer::start(&ALIVE).await;
    let session = server.open().await;
    let mut watcher = server.observer(&session).await;
    let first = server.guest(&session, "Ada").await;
    let id = first.id();
    watcher.sees(&[id]).await;
    pass(UNTIL_IDLE).await;
    shown(&mut watcher, id, "status", "idle").await;
    // Joining is doing something.
    let second = Client::join(server.address(), session.id, &Join::resume(&first.resume_token())).await;
    watcher.until("active", |watcher| history(watcher, id, "status").len() == 3).await;
    pass(UNTIL_IDLE).await;
    watcher.until("idle again", |watcher| history(watcher, id, "status").len() == 4).await;
    // A tab that goes is not.
    second.leave().await;
    watcher.until("one tab", |watcher| watcher.view[&id]["connections"] == 1).await;
    assert_eq!(history(&watcher, id, "status"), ["active", "idle", "active", "idle"]);
}

#[tokio::test]
async fn the_round_trip_of_a_ping_gives_the_quality() {
    let flags = ["--ping-interval", "100ms", "--beat-interval", "1s", "--dead-after", "10m", "--idle-after", "1h"];
    let server = TestServer::start(&flags).await;
    let session = server.open().await;
    let mut watcher = server.observer(&session).await;
    let mut ada = server.guest(&session, "Ada").await;
    let id = ada.id();
    assert_eq!(ada.view[&id]["quality"], Value::Null);
    shown(&mut ada, id, "quality", "good").await;
    ada.pinged(4).await;
    watcher.catch_up().await;
    // A slow machine may see several classes; each update is a change of the class.
    let updates: Vec<_> = watcher.told_of(id).into_iter().map(|(_, told)| told["quality"].clone()).collect();
    assert_eq!(updates, history(&watcher, id, "quality"), "no update without a change of class");
    assert!(updates.len() >= 2 && updates[0].is_null(), "{updates:?}");
}

#[tokio::test]
async fn a_client_that_was_slow_may_answer_each_ping() {
    let server = TestServer::start(&ALIVE).await;
    let session = server.open().await;
    let mut raw = Raw::join(server.address(), session.id, &session.invite, "Ada").await;
    let mut pongs = Vec::new();
    // More than the burst that a connection may send.
    for _ in 0..25 {
        pass(Duration::from_mins(1)).await;
        let ping = loop {
            let (first, payload) = raw.frame().await.expect("an open connection");
            if first == FIN | PING {
                break payload;
            }
        };
        pongs.extend(frame(FIN | PONG, &ping));
    }
    pongs.extend(frame(FIN | TEXT, br#"{"type":"beat","ref":1}"#));
    raw.send(&pongs).await;
    let answer = loop {
        match raw.json().await {
            frame if frame["type"] == "diff" => {}
            frame => break frame,
        }
    };
    assert_eq!(answer["type"], "beat", "{answer}");
}

/// Joins as a person whose client answers each Ping after this delay, and gives the qualities that the others
/// were sent.
async fn qualities_with_delay(delay: Duration) -> Vec<Value> {
    let server = TestServer::start(&ALIVE).await;
    let session = server.open().await;
    let mut watcher = server.observer(&session).await;
    let mut raw = Raw::join(server.address(), session.id, &session.invite, "Ada").await;
    server.settled(&session, &mut [&mut watcher]).await;
    for reference in 0..2 {
        pass(Duration::from_mins(1)).await;
        let ping = loop {
            let (first, payload) = raw.frame().await.expect("an open connection");
            if first == FIN | PING {
                break payload;
            }
        };
        pass(delay).await;
        raw.send(&frame(FIN | PONG, &ping)).await;
        // The Pong was taken by the time that the next frame is answered.
        raw.send(&frame(FIN | TEXT, json!({"type": "beat", "ref": reference}).to_string().as_bytes())).await;
        assert_eq!(raw.json_of("beat").await["ref"], reference);
    }
    let id = raw.id();
    server.settled(&session, &mut [&mut watcher]).await;
    let told: Vec<_> = watcher.told_of(id).into_iter().map(|(_, told)| told["quality"].clone()).collect();
    assert_eq!(told, history(&watcher, id, "quality"), "no update without a change of class");
    told
}

#[tokio::test]
async fn a_pong_that_takes_long_is_a_poorer_quality() {
    let classes = |told: Vec<Value>| told.into_iter().skip(1).map(|class| class.to_string()).collect::<BTreeSet<_>>();
    // Noise can only make a delay longer.
    let slow = classes(qualities_with_delay(Duration::from_millis(200)).await);
    assert!(!slow.is_empty() && !slow.contains("\"good\""), "{slow:?}");
    let slower = classes(qualities_with_delay(Duration::from_millis(500)).await);
    assert_eq!(slower, BTreeSet::from(["\"poor\"".to_owned()]));
}

#[tokio::test]
async fn pongs_that_do_not_come_are_a_poorer_quality_too() {
    let server = TestServer::start(&ALIVE).await;
    let session = server.open().await;
    let mut watcher = server.observer(&session).await;
    let mut raw = Raw::join(server.address(), session.id, &session.invite, "Ada").await;
    server.settled(&session, &mut [&mut watcher]).await;
    // The last ones are missed without a diff: there is no quality below poor.
    for _ in 0..5 {
        pass(Duration::from_mins(1)).await;
        while raw.frame().await.expect("an open connection").0 != FIN | PING {}
        server.settled(&session, &mut [&mut watcher]).await;
    }
    assert_eq!(history(&watcher, raw.id(), "quality"), [Value::Null, json!("degraded"), json!("poor")]);
}

/// When the session expires, by a notice.
fn expiry(notice: &Value) -> DateTime<Utc> {
    notice["expires_at"].as_str().expect("a time").parse().expect("a time")
}

#[tokio::test]
async fn everybody_is_told_once_that_the_session_expires_and_any_activity_takes_it_back() {
    let flags = [&ALIVE[..], &["--idle-counts", "activity", "--idle-after", "2h"]].concat();
    let server = TestServer::start(&flags).await;
    let session = server.open().await;
    let mut watcher = server.observer(&session).await;
    let mut ada = server.guest(&session, "Ada").await;
    let mut bob = server.guest(&session, "Bob").await;
    pass(Duration::from_mins(56)).await;
    let notice = bob.frame("expiring").await;
    assert_eq!(keys(&notice), ["type", "expires_at", "minutes"].into());
    assert_eq!(notice["minutes"], 4);
    for client in [&mut ada, &mut watcher] {
        assert_eq!(expiry(&client.frame("expiring").await), expiry(&notice));
    }

    // Nothing of what an unattended tab does takes it back, and nothing repeats it.
    bob.send(json!({"type": "beat", "active": false})).await;
    bob.frame("beat").await;
    for _ in 0..2 {
        pass(Duration::from_mins(1)).await;
        tokio::join!(ada.pinged(1), bob.pinged(1), watcher.pinged(1));
    }
    server.settled(&session, &mut [&mut ada, &mut bob, &mut watcher]).await;
    assert_eq!([ada.count("expiring"), bob.count("expiring"), watcher.count("expiring")], [1, 1, 1]);

    // Bob does something: all see an update of him, and later a new notice.
    let id = bob.id();
    let before = watcher.told_of(id).len();
    bob.send(json!({"type": "beat"})).await;
    // Not the update of a quality, which may come at any time: the beat has to have come before time passes.
    bob.frame("beat").await;
    watcher.until("an update of Bob", |watcher| watcher.told_of(id).len() > before).await;
    assert_eq!(watcher.told_of(id)[before].0, "update");
    pass(Duration::from_mins(55)).await;
    let again = ada.frame("expiring").await;
    assert!(expiry(&again) > expiry(&notice));
    assert_eq!(ada.gaps, []);
}

#[tokio::test]
async fn whoever_observes_an_empty_room_is_told_that_the_session_expires_until_somebody_comes() {
    let server = TestServer::start(&ALIVE).await;
    let session = server.open().await;
    let mut watcher = server.observer(&session).await;
    pass(Duration::from_secs(55 * 60 + 1)).await;
    let notice = watcher.frame("expiring").await;
    assert_eq!(keys(&notice), ["type", "expires_at", "minutes"].into());
    assert_eq!(notice["minutes"], 5);

    // Also whoever comes to observe it now, and that once.
    let mut late = server.observer(&session).await;
    assert_eq!(expiry(&late.frame("expiring").await), expiry(&notice));

    // A person keeps it open, and is told nothing, however long they stay.
    let mut ada = server.guest(&session, "Ada").await;
    let id = ada.id();
    watcher.until("Ada", |watcher| watcher.view.contains_key(&id)).await;
    for _ in 0..3 {
        pass(Duration::from_mins(56)).await;
        tokio::join!(ada.pinged(1), watcher.pinged(1), late.pinged(1));
    }
    server.settled(&session, &mut [&mut ada, &mut watcher, &mut late]).await;
    assert_eq!([ada.count("expiring"), watcher.count("expiring"), late.count("expiring")], [0, 1, 1]);

    // An hour after she was last seen it expires.
    ada.leave().await;
    watcher.until("her leave", |watcher| !watcher.view.contains_key(&id)).await;
    pass(Duration::from_secs(55 * 60 + 1)).await;
    for client in [&mut watcher, &mut late] {
        client.until("another notice", |client| client.count("expiring") == 2).await;
    }
}

#[tokio::test]
async fn pongs_keep_no_session_open_where_activity_counts() {
    let flags = [&ALIVE[..], &["--idle-counts", "activity", "--sweep-interval", "5h"]].concat();
    let server = TestServer::start(&flags).await;
    let session = server.open().await;
    let mut ada = server.guest(&session, "Ada").await;
    pass(Duration::from_mins(56)).await;
    ada.frame("expiring").await;
    // The hour is over for the server, and by the stored times for the database.
    pass(Duration::from_mins(5)).await;
    server.age(session.id, 7200.0).await;
    ada.pinged(1).await;
    ada.catch_up().await;
    assert_eq!(server.sweep().await["closed"], 1);
    let ended = ada.ended().await;
    assert_eq!(
        (ended.code, &ended.error["code"], &ended.error["reason"]),
        (4511, &json!("session_closed"), &json!("idle"))
    );
    assert_eq!(ada.count("expiring"), 1);
    let reason: String = server.sql("SELECT close_reason FROM reading_sessions WHERE id = $1", session.id).await;
    assert_eq!(reason, "idle");
}

#[tokio::test]
async fn a_connected_silent_tab_keeps_its_session_open_where_being_seen_counts() {
    let flags = ["--ping-interval", "50ms", "--beat-interval", "1s", "--dead-after", "10m"];
    let server = TestServer::start(&flags).await;
    let session = server.open().await;
    let mut ada = server.guest(&session, "Ada").await;
    // Several idle timeouts pass: what is stored is made to look that old. Only a Pong since then
    // shows the sweep that a person is here.
    for _ in 0..3 {
        server.age(session.id, 7200.0).await;
        ada.pinged(3).await;
        assert_eq!(server.sweep().await["closed"], 0);
    }
    ada.catch_up().await;
    assert_eq!(ada.count("expiring"), 0);

    // Without people it does close.
    let id = ada.id();
    ada.leave().await;
    eventually("her leave in the database", async || {
        let left: bool =
            server.sql("SELECT NOT is_active FROM session_participants WHERE session_id = $1", session.id).await;
        left.then_some(())
    })
    .await;
    server.age(session.id, 7200.0).await;
    assert_eq!(server.sweep().await["closed"], 1, "without {id}");
}

#[tokio::test]
async fn pings_come_more_often_where_the_idle_timeout_is_short() {
    // Being connected is being seen, whatever the Ping's interval is set to.
    let server = TestServer::start(&quiet(&["--idle-timeout", "4m"])).await;
    let session = server.open().await;
    let mut ada = server.guest(&session, "Ada").await;
    for _ in 0..3 {
        pass(Duration::from_mins(1)).await;
        ada.pinged(1).await;
    }
}
