//! Who is still there: Pings and Pongs, idle people, the quality of connections, and what keeps a
//! session open.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

use crate::harness::raw::{CLOSE, FIN, PING, PONG, Raw, TEXT, frame};
use crate::harness::{Client, Join, TestServer, quiet, rest};

/// The values that a field of somebody had, one after the other, as the watcher was told.
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
    let flags = ["--ping-interval", "500ms", "--beat-interval", "1s", "--dead-after", "6s", "--grace", "1ms"];
    let server = TestServer::start(&flags).await;
    let session = server.open().await;
    let mut watcher = server.observer(&session).await;
    let mut ada = server.guest(&session, "Ada").await;
    let id = ada.id();
    let started = tokio::time::Instant::now();
    // The watcher has to be heard as well.
    while started.elapsed() < Duration::from_secs(7) {
        tokio::join!(ada.pinged(2), watcher.pinged(2));
    }
    watcher.catch_up().await;
    assert!(watcher.view.contains_key(&id));
    assert!(watcher.told_of(id).iter().all(|(word, told)| *word != "leave" && told["status"] != "reconnecting"));
    assert_eq!(server.metric("lastseen_beats_total").await, 1.0, "the watcher's last one");
}

#[tokio::test]
async fn a_connection_that_answers_nothing_is_dead() {
    let flags = ["--ping-interval", "200ms", "--beat-interval", "200ms", "--dead-after", "2s"];
    let dead = TestServer::start(&[&flags[..], &["--grace", "10m"]].concat()).await;
    let session = dead.open().await;
    let mut raw = Raw::join(dead.address(), session.id, &session.invite, "Ada").await;
    let (mut pings, mut error) = (0, Value::Null);
    let code = loop {
        match raw.frame().await.expect("a close frame before the end") {
            (first, _) if first == FIN | PING => pings += 1,
            (first, payload) if first == FIN | TEXT => error = serde_json::from_slice(&payload).expect("JSON"),
            (first, payload) if first == FIN | CLOSE => break u16::from_be_bytes([payload[0], payload[1]]),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((code, &error["type"], &error["code"]), (4008, &json!("error"), &json!("beat_timeout")));
    assert_eq!(error["retry"], true);
    assert!(pings > 0, "it was asked before it was given up");
    let listed = dead.participants(session.id).await;
    assert_eq!((&listed["items"][0]["status"], &listed["occupancy"]), (&json!("reconnecting"), &json!(1)));
    assert_eq!(dead.metric("lastseen_connection_ends_total{reason=\"beat_timeout\"}").await, 1.0);

    // And where the grace is short it is gone soon.
    let server = TestServer::start(&[&flags[..], &["--grace", "200ms"]].concat()).await;
    let session = server.open().await;
    let raw = Raw::join(server.address(), session.id, &session.invite, "Ada").await;
    crate::harness::eventually("the timeout", async || {
        let left: Option<String> =
            server.sql("SELECT leave_reason FROM session_participants WHERE session_id = $1", session.id).await;
        (left.as_deref() == Some("timeout")).then_some(())
    })
    .await;
    drop(raw);
}

#[tokio::test]
async fn who_does_nothing_becomes_idle_until_it_does_something() {
    let flags = ["--ping-interval", "100ms", "--beat-interval", "1s", "--dead-after", "10m", "--idle-after", "1500ms"];
    let server = TestServer::start(&flags).await;
    let session = server.open().await;
    let mut watcher = server.observer(&session).await;
    let mut ada = server.guest(&session, "Ada").await;
    let id = ada.id();
    shown(&mut watcher, id, "status", "idle").await;

    // A tab that says that nobody did anything, and Pongs, are no activity.
    for reference in 0..3 {
        ada.send(json!({"type": "beat", "ref": reference, "active": false})).await;
        assert_eq!(ada.frame("beat").await["ref"], reference);
    }
    ada.pinged(4).await;
    watcher.catch_up().await;
    assert_eq!(history(&watcher, id, "status"), ["active", "idle"]);

    // Each of these is: an update, a beat, a beat that says so.
    for (turn, doing) in [
        json!({"type": "update", "state": {"page": 1}}),
        json!({"type": "beat"}),
        json!({"type": "beat", "active": true}),
    ]
    .into_iter()
    .enumerate()
    {
        ada.send(doing).await;
        let expected: Vec<_> = ["active", "idle"].into_iter().cycle().take(2 * turn + 4).collect();
        watcher.until("active and idle again", |watcher| history(watcher, id, "status") == expected).await;
    }
    assert_eq!(watcher.gaps, []);
}

#[tokio::test]
async fn a_tab_that_does_something_speaks_for_the_idle_one() {
    let flags = ["--ping-interval", "10m", "--dead-after", "20m", "--idle-after", "1500ms"];
    let server = TestServer::start(&flags).await;
    let session = server.open().await;
    let mut watcher = server.observer(&session).await;
    let first = server.guest(&session, "Ada").await;
    let id = first.id();
    shown(&mut watcher, id, "status", "idle").await;
    // Joining is doing something.
    let second = Client::join(server.address(), session.id, &Join::resume(&first.resume_token())).await;
    watcher.until("active and idle again", |watcher| history(watcher, id, "status").len() == 4).await;
    // A tab that goes is not.
    second.leave().await;
    watcher.until("one tab", |watcher| watcher.view[&id]["connections"] == 1).await;
    assert_eq!(history(&watcher, id, "status"), ["active", "idle", "active", "idle"]);
}

#[tokio::test]
async fn the_round_trip_of_a_ping_gives_the_quality() {
    let flags = ["--ping-interval", "300ms", "--beat-interval", "1s", "--dead-after", "10m", "--idle-after", "1h"];
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

/// Joins as somebody who answers each Ping after this delay, and gives what the others were told of
/// the quality in the time of some Pings.
async fn qualities_with_delay(delay: Duration) -> Vec<Value> {
    let flags = ["--ping-interval", "2s", "--beat-interval", "1s", "--dead-after", "10m", "--idle-after", "1h"];
    let server = TestServer::start(&flags).await;
    let session = server.open().await;
    let mut watcher = server.observer(&session).await;
    let mut raw = Raw::join(server.address(), session.id, &session.invite, "Ada").await;
    let mut answered = 0;
    while answered < 2 {
        let (first, payload) = raw.frame().await.expect("an open connection");
        if first == FIN | PING {
            sleep(delay).await;
            raw.send(&frame(FIN | PONG, &payload)).await;
            answered += 1;
        }
    }
    let id = raw.id();
    watcher.until("a quality", |watcher| watcher.view.get(&id).is_some_and(|ada| !ada["quality"].is_null())).await;
    watcher.catch_up().await;
    let told: Vec<_> = watcher.told_of(id).into_iter().map(|(_, told)| told["quality"].clone()).collect();
    assert_eq!(told, history(&watcher, id, "quality"), "no update without a change of class");
    told
}

#[tokio::test]
async fn a_pong_that_takes_long_is_a_poorer_quality() {
    let (slow, slower) = tokio::join!(
        qualities_with_delay(Duration::from_millis(200)),
        qualities_with_delay(Duration::from_millis(500))
    );
    let classes = |told: Vec<Value>| told.into_iter().skip(1).map(|class| class.to_string()).collect::<BTreeSet<_>>();
    // Noise can only make a delay longer.
    let slow = classes(slow);
    assert!(!slow.is_empty() && !slow.contains("\"good\""), "{slow:?}");
    let slower = classes(slower);
    assert!(slower.contains("\"poor\"") && !slower.contains("\"good\""), "{slower:?}");
}

#[tokio::test]
async fn pongs_that_do_not_come_are_a_poorer_quality_too() {
    let flags = ["--ping-interval", "200ms", "--beat-interval", "1s", "--dead-after", "10m", "--idle-after", "1h"];
    let server = TestServer::start(&flags).await;
    let session = server.open().await;
    let mut watcher = server.observer(&session).await;
    let raw = Raw::join(server.address(), session.id, &session.invite, "Ada").await;
    shown(&mut watcher, raw.id(), "quality", "poor").await;
    watcher.pinged(3).await;
    watcher.catch_up().await;
    // The two steps may fall into one diff on a slow machine, and there is nothing behind poor.
    let history = history(&watcher, raw.id(), "quality");
    let steps: Vec<_> = history.iter().filter(|class| **class != "degraded").collect();
    assert_eq!(steps, [&Value::Null, &json!("poor")]);
}

/// When the session expires, by a notice.
fn expiry(notice: &Value) -> DateTime<Utc> {
    notice["expires_at"].as_str().expect("a time").parse().expect("a time")
}

#[tokio::test]
async fn everybody_is_told_once_that_the_session_expires_and_any_activity_takes_it_back() {
    // Half a second without activity is within the notice, an hour is the timeout.
    let flags = [
        "--idle-counts",
        "activity",
        "--idle-timeout",
        "1h",
        "--expiring-notice",
        "59m 59s 500ms",
        "--ping-interval",
        "100ms",
        "--beat-interval",
        "1s",
        "--dead-after",
        "10m",
        "--idle-after",
        "30m",
    ];
    let server = TestServer::start(&flags).await;
    let session = server.open().await;
    let mut watcher = server.observer(&session).await;
    let mut ada = server.guest(&session, "Ada").await;
    let mut bob = server.guest(&session, "Bob").await;
    // On a slow machine there may have been one already before Bob came, whose coming took it back.
    bob.frame("expiring").await;
    // Each connection puts the moment into civil time by itself: the same notice to some milliseconds.
    let last = expiry(bob.heard.last().expect("the notice"));
    for client in [&mut ada, &mut watcher] {
        client
            .until("the same notice", |client| {
                let notices = client.heard.iter().filter(|frame| frame["type"] == "expiring");
                notices.map(expiry).any(|at| (at - last).abs() < TimeDelta::milliseconds(100))
            })
            .await;
    }
    let notice = bob.heard.last().expect("the notice").clone();
    let keys: Vec<_> = notice.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(BTreeSet::from_iter(keys), BTreeSet::from(["type", "expires_at", "minutes"]));
    assert_eq!(notice["minutes"], 60);

    // Nothing of what an unattended tab does takes it back, and nothing repeats it.
    let told = [ada.count("expiring"), bob.count("expiring"), watcher.count("expiring")];
    bob.send(json!({"type": "beat", "active": false})).await;
    bob.frame("beat").await;
    tokio::join!(ada.pinged(8), bob.pinged(8), watcher.pinged(8));
    for client in [&mut ada, &mut bob, &mut watcher] {
        client.catch_up().await;
    }
    assert_eq!([ada.count("expiring"), bob.count("expiring"), watcher.count("expiring")], told);

    // Bob does something: everybody sees an update of him, and later a new notice.
    let id = bob.id();
    let before = watcher.told_of(id).len();
    bob.send(json!({"type": "beat"})).await;
    watcher.until("an update of Bob", |watcher| watcher.told_of(id).len() > before).await;
    assert_eq!(watcher.told_of(id)[before].0, "update");
    let again = ada.frame("expiring").await;
    assert!(expiry(&again) > expiry(&notice));
    assert_eq!(ada.gaps, []);
}

#[tokio::test]
async fn pongs_keep_no_session_open_where_activity_counts() {
    let flags = [
        "--idle-counts",
        "activity",
        "--idle-timeout",
        "3s",
        "--expiring-notice",
        "2500ms",
        "--ping-interval",
        "200ms",
        "--beat-interval",
        "1s",
        "--dead-after",
        "10m",
        "--flush-interval",
        "100ms",
    ];
    let server = TestServer::start(&flags).await;
    // A host: nobody else is let into a session that a slow machine let expire before the first join.
    let token = rest::user(Uuid::now_v7(), "Ada");
    let session = server.open_as(Some(&token), json!({})).await;
    let mut ada = Client::join(server.address(), session.id, &Join::token(&token)).await;
    let sweeps = crate::harness::eventually("the sweep that closes it", async || {
        (server.sweep().await["closed"] == 1).then_some(())
    });
    let (ended, ()) = tokio::join!(ada.ended(), sweeps);
    assert_eq!(
        (ended.code, &ended.error["code"], &ended.error["reason"]),
        (4511, &json!("session_closed"), &json!("idle"))
    );
    assert!(ada.pings > 0, "it was pinged");
    assert_eq!(ada.count("expiring"), 1);
    let reason: String = server.sql("SELECT close_reason FROM reading_sessions WHERE id = $1", session.id).await;
    assert_eq!(reason, "idle");
}

#[tokio::test]
async fn a_connected_silent_tab_keeps_its_session_open_where_being_seen_counts() {
    let flags = ["--ping-interval", "100ms", "--beat-interval", "1s", "--dead-after", "10m"];
    let server = TestServer::start(&flags).await;
    let session = server.open().await;
    let mut ada = server.guest(&session, "Ada").await;
    // Several idle timeouts pass: what is stored is made to look that old. Only a Pong since then
    // tells the sweep that somebody is here.
    for _ in 0..3 {
        server.age(session.id, 7200.0).await;
        ada.pinged(3).await;
        assert_eq!(server.sweep().await["closed"], 0);
    }
    ada.catch_up().await;
    assert_eq!(ada.count("expiring"), 0);

    // Without anybody it does close.
    let id = ada.id();
    ada.leave().await;
    crate::harness::eventually("her leave in the database", async || {
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
    let flags = ["--idle-timeout", "2s", "--flush-interval", "100ms"];
    let server = TestServer::start(&quiet(&flags)).await;
    let token = rest::user(Uuid::now_v7(), "Ada");
    let session = server.open_as(Some(&token), json!({})).await;
    let mut ada = Client::join(server.address(), session.id, &Join::token(&token)).await;
    ada.pinged(3).await;
}
