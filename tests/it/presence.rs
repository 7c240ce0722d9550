//! People in a room see each other: joins, changes and leaves, each of them once. Every frame
//! has exactly the keys of the contract.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::client::id;
use crate::harness::{Client, Join, TestServer, eventually, quiet, rest};

const PARTICIPANT: &str = "connections id joined_at last_seen_at name quality role state status user_id";

/// An object has these keys and no others.
#[track_caller]
fn assert_keys(object: &Value, expected: &str) {
    let keys: BTreeSet<_> = object.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(keys, expected.split_whitespace().collect(), "{object}");
}

/// A time of the contract: RFC 3339, UTC, milliseconds.
#[track_caller]
fn time(value: &Value) -> DateTime<Utc> {
    let text = value.as_str().expect("a time");
    let time: DateTime<Utc> = text.parse().expect("a time");
    assert_eq!(text, time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string());
    time
}

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
    eventually("the beat in the database", async || {
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

#[tokio::test]
async fn a_welcome_says_everything_that_a_client_has_to_know() {
    let timings = ["--beat-interval", "7s", "--ping-interval", "6s", "--dead-after", "10m", "--grace", "4s"];
    let server = TestServer::start(&timings).await;
    let host = Uuid::now_v7();
    let token = rest::user(host, "Ada");
    let session = server.open_as(Some(&token), json!({"title": "Ulysses", "max_participants": 9})).await;
    let ada = Client::join(server.address(), session.id, &Join::token(&token)).await;

    let welcome = &ada.welcome;
    assert_keys(
        welcome,
        "type seq you connection_id resume token_expires_at session occupancy participants beat_ms dead_after_ms grace_ms \
         pace server_time",
    );
    assert_eq!(
        (&welcome["beat_ms"], &welcome["dead_after_ms"], &welcome["grace_ms"]),
        (&json!(7000), &json!(600_000), &json!(4000))
    );
    assert!(welcome["seq"].is_u64());
    assert_ne!(id(&welcome["connection_id"]), ada.id());
    assert!(welcome["resume"].as_str().is_some_and(|token| !token.is_empty()));
    assert_eq!(welcome["occupancy"], 1);
    let now = time(&welcome["server_time"]);

    let shown = &welcome["session"];
    assert_keys(
        shown,
        "id title host_user_id is_active max_participants created_at last_seen_at expires_at closed_at close_reason",
    );
    assert_eq!((id(&shown["id"]), &shown["title"], id(&shown["host_user_id"])), (session.id, &json!("Ulysses"), host));
    assert_eq!((&shown["is_active"], &shown["max_participants"]), (&json!(true), &json!(9)));
    assert_eq!((&shown["closed_at"], &shown["close_reason"]), (&Value::Null, &Value::Null));
    assert_eq!(time(&shown["expires_at"]) - time(&shown["last_seen_at"]), TimeDelta::hours(1));
    time(&shown["created_at"]);

    let [person] = &welcome["participants"].as_array().expect("a list")[..] else { panic!("she is alone") };
    assert_keys(person, PARTICIPANT);
    let expected = json!({"id": ada.id(), "user_id": host, "name": "Ada", "role": "host", "status": "active",
        "quality": null, "connections": 1, "joined_at": person["joined_at"], "last_seen_at": person["last_seen_at"], "state": {}});
    assert_eq!(*person, expected);
    assert!(time(&person["joined_at"]) <= now + TimeDelta::seconds(1));
    time(&person["last_seen_at"]);
}

#[tokio::test]
async fn diffs_states_and_answers_have_the_keys_of_the_contract() {
    let server = TestServer::start(&quiet(&[])).await;
    let session = server.open().await;
    let mut ada = server.guest(&session, "Ada").await;
    ada.frame("diff").await;
    let bob = server.guest(&session, "Bob").await;
    let bob_id = bob.id();

    let joined = ada.frame("diff").await;
    assert_keys(&joined, "type seq occupancy joins updates leaves");
    assert_eq!((&joined["occupancy"], &joined["updates"], &joined["leaves"]), (&json!(2), &json!([]), &json!([])));
    assert_keys(&joined["joins"][0], PARTICIPANT);
    assert_eq!(id(&joined["joins"][0]["id"]), bob_id);

    bob.leave().await;
    let left = ada.frame("diff").await;
    assert_eq!((&left["occupancy"], &left["joins"], &left["updates"]), (&json!(1), &json!([]), &json!([])));
    assert_eq!(left["leaves"], json!([{"id": bob_id, "reason": "left"}]));
    assert_eq!(left["seq"].as_u64(), joined["seq"].as_u64().map(|seq| seq + 1));

    ada.send(json!({"type": "update", "ref": 3, "state": {"page": 1}})).await;
    let updated = ada.frame("diff").await;
    assert_eq!((&updated["joins"], &updated["leaves"]), (&json!([]), &json!([])));
    assert_keys(&updated["updates"][0], PARTICIPANT);

    let view = ada.view.clone();
    ada.send(json!({"type": "sync"})).await;
    let state = ada.frame("state").await;
    assert_keys(&state, "type seq occupancy participants");
    assert_eq!((&state["seq"], &state["occupancy"]), (&updated["seq"], &json!(1)));
    let [person] = &state["participants"].as_array().expect("a list")[..] else { panic!("she is alone") };
    assert_keys(person, PARTICIPANT);
    // The same moment may be shown as another millisecond.
    assert!(time(&person["last_seen_at"]) > time(&view[&ada.id()]["last_seen_at"]) - TimeDelta::milliseconds(100));
    assert_eq!(person["state"], json!({"page": 1}));

    ada.send(json!({"type": "beat", "ref": 7, "active": true})).await;
    let answer = ada.frame("beat").await;
    assert_keys(&answer, "type ref server_time");
    time(&answer["server_time"]);
    assert_eq!(answer["ref"], 7);
    ada.send(json!({"type": "beat"})).await;
    assert_keys(&ada.frame("beat").await, "type server_time");
    assert_eq!(ada.gaps, []);
}

#[tokio::test]
async fn an_update_replaces_the_state_and_survives_a_restart() {
    let server = TestServer::start(&quiet(&["--grace", "10m"])).await;
    let session = server.open().await;
    let mut ada = server.guest(&session, "Ada").await;
    let mut bob = server.guest(&session, "Bob").await;
    let (id, resume) = (ada.id(), ada.resume_token());

    for state in [json!({"page": 1, "note": "épée \u{1f5e1}"}), json!({"page": 2})] {
        ada.send(json!({"type": "update", "state": state})).await;
        bob.until("the new state and nothing of the old", |bob| {
            bob.view.get(&id).is_some_and(|ada| ada["state"] == state)
        })
        .await;
    }
    eventually("the state in the database", async || {
        let stored: Value = server
            .sql("SELECT state FROM session_participants WHERE session_id = $1 AND name = 'Ada'", session.id)
            .await;
        (stored == json!({"page": 2})).then_some(())
    })
    .await;
    // The newest one is written by the last flush, whenever the one before was.
    ada.send(json!({"type": "update", "state": {"page": 3}})).await;
    bob.until("page 3", |bob| bob.view[&id]["state"] == json!({"page": 3})).await;
    drop((ada, bob));

    let server = TestServer::on(server.stop().await, &quiet(&["--grace", "10m"])).await;
    let ada = Client::join(server.address(), session.id, &Join::resume(&resume)).await;
    assert_eq!(ada.id(), id);
    assert_eq!(ada.view[&id]["state"], json!({"page": 3}));
}

#[tokio::test]
async fn a_state_that_cannot_be_shown_is_refused_with_the_ref_and_changes_nothing() {
    let server = TestServer::start(&quiet(&[])).await;
    let session = server.open().await;
    let mut ada = server.guest(&session, "Ada").await;
    let id = ada.id();
    // 2 KiB are taken to the byte.
    let largest = json!({"a": "x".repeat(2048 - r#"{"a":""}"#.len())});
    ada.send(json!({"type": "update", "ref": 1, "state": largest})).await;
    ada.until("the largest state", |ada| ada.view[&id]["state"] == largest).await;
    let seq = ada.seq;

    let too_large = json!({"a": "x".repeat(2049 - r#"{"a":""}"#.len())});
    for (reference, state) in
        [(2, too_large), (3, json!(["not", "an", "object"])), (4, json!({"a": {"b": ["nul \u{0}"]}}))]
    {
        ada.send(json!({"type": "update", "ref": reference, "state": state})).await;
        let error = ada.frame("error").await;
        assert_keys(&error, "type code message retry ref");
        assert_eq!(
            (&error["code"], &error["ref"], &error["retry"]),
            (&json!("bad_frame"), &json!(reference), &json!(false))
        );
    }
    ada.send(json!({"type": "sync"})).await;
    let state = ada.frame("state").await;
    assert_eq!(state["participants"][0]["state"], largest);
    assert_eq!(ada.seq, seq, "nothing was sent");
}

#[tokio::test]
async fn leave_is_answered_with_1000_and_there_is_no_grace() {
    let server = TestServer::start(&quiet(&["--grace", "10m"])).await;
    let session = server.open().await;
    let mut ada = server.guest(&session, "Ada").await;
    let bob = server.guest(&session, "Bob").await;
    let bob_id = bob.id();
    ada.sees(&[ada.id(), bob_id]).await;
    let ended = bob.leave().await;
    assert_eq!((ended.code, ended.error), (1000, Value::Null));
    ada.sees(&[ada.id()]).await;
    assert_eq!(ada.told_of(bob_id).last(), Some(&("leave", json!("left"))));
    assert!(ada.told_of(bob_id).iter().all(|(_, told)| told["status"] != "reconnecting"));
    eventually("the leave in the database", async || {
        let gone: bool = server
            .sql(
                "SELECT NOT is_active AND left_at IS NOT NULL AND leave_reason = 'left'
                 FROM session_participants WHERE session_id = $1 AND name = 'Bob'",
                session.id,
            )
            .await;
        gone.then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_observer_sees_everybody_and_is_nobody() {
    let server = TestServer::start(&quiet(&[])).await;
    let session = server.open().await;
    let mut observer = server.observer(&session).await;
    assert_eq!((&observer.welcome["you"], &observer.welcome["resume"]), (&Value::Null, &Value::Null));
    assert_eq!((&observer.welcome["occupancy"], &observer.welcome["participants"]), (&json!(0), &json!([])));
    assert_eq!(id(&observer.welcome["session"]["id"]), session.id);

    let mut ada = server.guest(&session, "Ada").await;
    assert_eq!(ada.welcome["occupancy"], 1);
    observer.sees(&[ada.id()]).await;
    assert_eq!(observer.occupancy, 1);
    let listed = server.participants(session.id).await;
    assert_eq!((&listed["occupancy"], listed["items"].as_array().map(Vec::len)), (&json!(1), Some(1)));

    observer.send(json!({"type": "update", "ref": 5, "state": {}})).await;
    let error = observer.frame("error").await;
    assert_eq!((&error["code"], &error["ref"]), (&json!("forbidden"), &json!(5)));

    // Ada is sent Bob and nothing in between.
    observer.vanish();
    let bob = server.guest(&session, "Bob").await;
    ada.sees(&[ada.id(), bob.id()]).await;
    for diff in ada.heard.iter().filter(|frame| frame["type"] == "diff") {
        assert_eq!(diff["leaves"], json!([]));
        assert_eq!(diff["updates"], json!([]));
    }
    let rows: i64 = server.sql("SELECT count(*) FROM session_participants WHERE session_id = $1", session.id).await;
    assert_eq!(rows, 2, "an observer is not stored");
}

#[tokio::test]
async fn an_observer_keeps_no_session_open() {
    let server = TestServer::start(&quiet(&[])).await;
    let session = server.open().await;
    let ada = server.guest(&session, "Ada").await;
    let mut observer = server.observer(&session).await;
    ada.leave().await;
    observer.sees(&[]).await;
    eventually("her leave in the database", async || {
        let left: bool =
            server.sql("SELECT NOT is_active FROM session_participants WHERE session_id = $1", session.id).await;
        left.then_some(())
    })
    .await;
    server.age(session.id, 7200.0).await;
    observer.send(json!({"type": "beat", "active": true})).await;
    observer.frame("beat").await;
    assert_eq!(server.sweep().await["closed"], 1);
    let ended = observer.ended().await;
    assert_eq!((ended.code, &ended.error["reason"]), (4511, &json!("idle")));
}

#[tokio::test]
async fn frames_and_fields_of_later_versions_are_ignored() {
    let server = TestServer::start(&quiet(&[])).await;
    let session = server.open().await;
    let mut ada = server.guest(&session, "Ada").await;
    ada.frame("diff").await;
    let heard = ada.heard.len();
    // More than the bad frames that would end the connection.
    for _ in 0..8 {
        ada.send(json!({"type": "dance", "ref": "what", "active": 7})).await;
    }
    ada.send(json!({"type": "beat", "ref": 1, "mood": "good"})).await;
    assert_eq!(ada.frame("beat").await["ref"], 1);
    assert_eq!(ada.heard.len(), heard + 1, "the answer to the beat and nothing else: {:?}", &ada.heard[heard..]);
}

#[tokio::test]
async fn beats_never_cause_a_diff() {
    let server = TestServer::start(&quiet(&[])).await;
    let session = server.open().await;
    let mut ada = server.guest(&session, "Ada").await;
    let mut bob = server.guest(&session, "Bob").await;
    ada.sees(&[ada.id(), bob.id()]).await;
    bob.until("what Ada knows", |bob| bob.seq == ada.seq).await;
    for reference in 0..10 {
        ada.send(json!({"type": "beat", "ref": reference})).await;
        assert_eq!(ada.frame("beat").await["ref"], reference);
    }
    let (id, seq) = (ada.id(), ada.seq);
    ada.send(json!({"type": "update", "state": {"page": 1}})).await;
    for client in [&mut ada, &mut bob] {
        client.until("the update", |client| client.view[&id]["state"]["page"] == 1).await;
        assert_eq!(client.seq, seq + 1);
    }
}

#[tokio::test]
async fn changes_within_one_interval_are_told_as_one_diff() {
    // An interval ends when the test ends it.
    let server = TestServer::start(&quiet(&["--diff-interval", "10m"])).await;
    let session = server.open().await;
    let mut ada = server.guest(&session, "Ada").await;
    let id = ada.id();
    server.settled(&session, &mut [&mut ada]).await;
    let (seq, diffs) = (ada.seq, ada.count("diff"));

    for page in 1..=5 {
        ada.send(json!({"type": "update", "state": {"page": page}})).await;
    }
    ada.catch_up().await;
    // Carol comes and goes, Bob comes and stays, all before the diff.
    let carol = server.guest(&session, "Carol").await;
    let carol_id = carol.id();
    carol.leave().await;
    let bob = server.guest(&session, "Bob").await;
    // Bob leaves and comes back, too.
    let (bob_id, resume) = (bob.id(), bob.resume_token());
    bob.leave().await;
    let mut bob = Client::join(server.address(), session.id, &Join::resume(&resume)).await;

    assert_eq!((ada.seq, ada.count("diff")), (seq, diffs), "nothing is published within the interval");
    server.publish(&session);
    let diff = ada.frame("diff").await;
    ada.catch_up().await;
    assert_eq!((ada.seq, ada.count("diff")), (seq + 1, diffs + 1));
    assert_eq!(diff["occupancy"], 2);
    assert_eq!(diff["updates"].as_array().map(Vec::len), Some(1));
    assert_eq!(ada.view[&id]["state"], json!({"page": 5}));
    let told: Vec<_> = ada.told_of(bob_id).into_iter().map(|(word, _)| word).collect();
    assert_eq!(told, ["join"], "he ends as somebody who came");
    assert!(ada.told_of(carol_id).iter().all(|(word, _)| *word == "leave"), "she ends as somebody who is not here");
    ada.sees(&[id, bob_id]).await;
    bob.until("the same", |bob| bob.seq == seq + 1).await;
    assert!(bob.view.keys().eq(ada.view.keys()));

    // A person in the view who leaves and comes back within an interval is an update.
    let resume = bob.resume_token();
    bob.leave().await;
    let bob = Client::join(server.address(), session.id, &Join::resume(&resume)).await;
    server.publish(&session);
    ada.frame("diff").await;
    let told: Vec<_> = ada.told_of(bob.id()).into_iter().map(|(word, _)| word).collect();
    assert_eq!((told, ada.seq), (vec!["join", "update"], seq + 2));
    assert_eq!(ada.gaps, []);
}
