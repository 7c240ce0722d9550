//! Tabs, lost connections and ways back: several connections are one person, and only a person who
//! leaves, or stays away for the whole grace, is gone.

use std::sync::Arc;
use std::time::Duration;

use lastseen::admission::{Admissions, Credentials};
use lastseen::config::SchemaName;
use lastseen::domain::idle::{IdleCounts, IdleRule};
use lastseen::domain::ids::SessionId;
use lastseen::identity::Keys;
use lastseen::identity::jwt::{TokenRules, Verifier};
use lastseen::identity::resume::ResumeKey;
use lastseen::store::Store;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::rows::person;
use crate::harness::server::SECRET;
use crate::harness::{Client, Join, TestServer, eventually, quiet, rest};

/// A grace that no test waits out.
const LONG: [&str; 2] = ["--grace", "10m"];

/// A grace that is soon over.
const SHORT: [&str; 2] = ["--grace", "300ms"];

/// Reads until a person is shown like this.
async fn shown(watcher: &mut Client, person: Uuid, status: &str, connections: u64) {
    watcher
        .until(&format!("{person} {status} with {connections} connections"), |watcher| {
            watcher
                .view
                .get(&person)
                .is_some_and(|shown| shown["status"] == status && shown["connections"] == connections)
        })
        .await;
}

/// The changes of a person that a watcher was sent, by kind.
fn words(watcher: &Client, person: Uuid) -> Vec<&'static str> {
    watcher.told_of(person).into_iter().map(|(word, _)| word).collect()
}

/// Reads everything that was sent to the watcher by now, and checks that nothing was missing.
async fn heard_all(watcher: &mut Client) {
    watcher.catch_up().await;
    assert_eq!(watcher.gaps, []);
}

#[tokio::test]
async fn tabs_of_one_user_are_one_participant_who_leaves_with_the_last() {
    let server = TestServer::start(&quiet(&LONG)).await;
    let token = rest::user(Uuid::now_v7(), "Ada");
    let session = server.open_as(Some(&token), json!({})).await;
    let mut watcher = server.observer(&session).await;

    let first = Client::join(server.address(), session.id, &Join::token(&token)).await;
    shown(&mut watcher, first.id(), "active", 1).await;
    let second = Client::join(server.address(), session.id, &Join::token(&token)).await;
    assert_eq!(second.id(), first.id());
    assert_ne!(second.welcome["connection_id"], first.welcome["connection_id"]);
    assert_eq!(second.welcome["occupancy"], 1);
    assert_eq!(second.welcome["participants"].as_array().map(Vec::len), Some(1));
    shown(&mut watcher, first.id(), "active", 2).await;

    let id = first.id();
    assert_eq!(first.leave().await.code, 1000);
    shown(&mut watcher, id, "active", 1).await;
    assert_eq!(words(&watcher, id), ["join", "update", "update"], "one tab of two is no leave");

    assert_eq!(second.close().await.code, 1000);
    watcher.sees(&[]).await;
    assert_eq!(watcher.told_of(id).last(), Some(&("leave", json!("left"))));
    assert_eq!(watcher.gaps, []);
}

#[tokio::test]
async fn a_lost_tab_beside_an_open_one_is_no_reconnecting() {
    let server = TestServer::start(&quiet(&SHORT)).await;
    let token = rest::user(Uuid::now_v7(), "Ada");
    let session = server.open_as(Some(&token), json!({})).await;
    let mut watcher = server.observer(&session).await;
    let first = Client::join(server.address(), session.id, &Join::token(&token)).await;
    let second = Client::join(server.address(), session.id, &Join::token(&token)).await;
    let id = first.id();
    shown(&mut watcher, id, "active", 2).await;
    first.vanish();
    shown(&mut watcher, id, "active", 1).await;

    // The grace of another person, begun later, is over: so would have been one for the tab.
    let bob = server.guest(&session, "Bob").await;
    let bob_id = bob.id();
    bob.vanish();
    watcher
        .until("Bob's timeout", |watcher| watcher.told_of(bob_id).last().is_some_and(|told| told.0 == "leave"))
        .await;
    assert!(watcher.view.contains_key(&id));
    assert!(watcher.told_of(id).iter().all(|(_, told)| told["status"] == "active"), "{:?}", watcher.told_of(id));
    drop(second);
}

#[tokio::test]
async fn a_guest_who_shows_the_resume_token_is_the_same_participant() {
    let server = TestServer::start(&quiet(&LONG)).await;
    let session = server.open().await;
    let mut watcher = server.observer(&session).await;
    let first = server.guest(&session, "Ada").await;
    let second = Client::join(server.address(), session.id, &Join::resume(&first.resume_token())).await;
    assert_eq!(second.id(), first.id());
    shown(&mut watcher, first.id(), "active", 2).await;

    // The invite alone makes a new participant, also under the same name.
    let other = server.guest(&session, "Ada").await;
    assert_ne!(other.id(), first.id());
    watcher.sees(&[first.id(), other.id()]).await;

    let id = first.id();
    second.leave().await;
    shown(&mut watcher, id, "active", 1).await;
    first.leave().await;
    watcher.sees(&[other.id()]).await;
    assert_eq!(watcher.told_of(id).last(), Some(&("leave", json!("left"))));
}

#[tokio::test]
async fn closing_with_1000_or_without_a_code_is_leaving_and_everything_else_is_losing() {
    let server = TestServer::start(&quiet(&LONG)).await;
    let session = server.open().await;
    let mut watcher = server.observer(&session).await;

    // `close()` without more is the plain way to leave of most libraries. To them its answer is 1005.
    for code in [Some(1000), None] {
        let leaver = server.guest(&session, "Leaver").await;
        let left = leaver.id();
        watcher.sees(&[left]).await;
        leaver.close_with(code).await;
        watcher.sees(&[]).await;
        assert_eq!(watcher.told_of(left).last(), Some(&("leave", json!("left"))), "{code:?}");
    }
    assert_eq!(server.metric("lastseen_connection_ends_total{reason=\"left\"}").await, 2.0);

    let mut lost = Vec::new();
    for (name, code) in [("1001", Some(1001)), ("1011", Some(1011)), ("3000", Some(3000)), ("4000", Some(4000))] {
        let client = server.guest(&session, name).await;
        lost.push(client.id());
        client.close_with(code).await;
        shown(&mut watcher, lost[lost.len() - 1], "reconnecting", 0).await;
    }
    let client = server.guest(&session, "1006").await;
    lost.push(client.id());
    client.vanish();
    shown(&mut watcher, lost[lost.len() - 1], "reconnecting", 0).await;

    heard_all(&mut watcher).await;
    watcher.sees(&lost).await;
    assert_eq!(watcher.occupancy, 5, "who is coming back counts");
    for id in &lost {
        assert!(words(&watcher, *id).iter().all(|word| *word != "leave"));
        assert_eq!(watcher.view[id]["quality"], Value::Null);
    }
    let listed = server.participants(session.id).await;
    assert_eq!(listed["occupancy"], 5);
    assert!(listed["items"].as_array().expect("a list").iter().all(|person| person["status"] == "reconnecting"));
}

#[tokio::test]
async fn whoever_stays_away_for_the_grace_leaves_with_timeout() {
    let server = TestServer::start(&quiet(&SHORT)).await;
    let session = server.open().await;
    let mut watcher = server.observer(&session).await;
    let mut gone = Vec::new();
    for code in [Some(Some(1001)), Some(Some(4000)), None] {
        let client = server.guest(&session, "Ada").await;
        gone.push(client.id());
        match code {
            Some(code) => drop(client.close_with(code).await),
            None => client.vanish(),
        }
    }
    watcher
        .until("three timeouts", |watcher| {
            gone.iter().all(|id| watcher.told_of(*id).last() == Some(&("leave", json!("timeout"))))
        })
        .await;
    watcher.sees(&[]).await;
    assert_eq!(watcher.gaps, []);
    assert_eq!(server.metric("lastseen_leaves_total{reason=\"timeout\"}").await, 3.0);
}

#[tokio::test]
async fn coming_back_within_the_grace_is_one_update_and_neither_leave_nor_join() {
    let server = TestServer::start(&quiet(&LONG)).await;
    let token = rest::user(Uuid::now_v7(), "Ada");
    let session = server.open_as(Some(&token), json!({})).await;
    let mut watcher = server.observer(&session).await;
    let mut ada = Client::join(server.address(), session.id, &Join::token(&token)).await;
    let id = ada.id();
    ada.send(json!({"type": "update", "state": {"page": 3}})).await;
    watcher.until("page 3", |watcher| watcher.view.get(&id).is_some_and(|ada| ada["state"]["page"] == 3)).await;
    let joined_at = watcher.view[&id]["joined_at"].clone();

    for back_by in [Join::resume(&ada.resume_token()), Join::token(&token)] {
        ada.vanish();
        shown(&mut watcher, id, "reconnecting", 0).await;
        let told = watcher.told_of(id).len();
        ada = Client::join(server.address(), session.id, &back_by).await;
        assert_eq!(ada.id(), id);
        shown(&mut watcher, id, "active", 1).await;
        heard_all(&mut watcher).await;
        assert_eq!(words(&watcher, id)[told..], ["update"], "coming back is one update");
        assert_eq!((&watcher.view[&id]["state"], &watcher.view[&id]["joined_at"]), (&json!({"page": 3}), &joined_at));
        assert_eq!(watcher.occupancy, 1);
    }
    assert_eq!(words(&watcher, id).iter().filter(|word| **word != "update").count(), 1, "one join and no leave");
    assert_eq!(server.metric("lastseen_joins_total").await, 1.0);
}

#[tokio::test]
async fn somebody_who_comes_back_may_have_a_new_name() {
    let server = TestServer::start(&quiet(&LONG)).await;
    let session = server.open().await;
    let mut watcher = server.observer(&session).await;
    let ada = server.guest(&session, "Ada").await;
    let (id, resume) = (ada.id(), ada.resume_token());
    ada.vanish();
    shown(&mut watcher, id, "reconnecting", 0).await;

    let back = Client::join(
        server.address(),
        session.id,
        &Join { name: Some("  Countess Lovelace ".to_owned()), ..Join::resume(&resume) },
    )
    .await;
    assert_eq!(back.id(), id);
    watcher.until("the new name", |watcher| watcher.view[&id]["name"] == "Countess Lovelace").await;
    assert_eq!(words(&watcher, id).last(), Some(&"update"));
    let stored: String = server.sql("SELECT name FROM session_participants WHERE session_id = $1", session.id).await;
    assert_eq!(stored, "Countess Lovelace");

    // Without a name the last one stays.
    back.vanish();
    let again = Client::join(server.address(), session.id, &Join::resume(&resume)).await;
    assert_eq!(again.view[&id]["name"], "Countess Lovelace");
}

#[tokio::test]
async fn after_the_grace_a_resume_token_still_gives_the_same_participant() {
    let server = TestServer::start(&quiet(&SHORT)).await;
    let session = server.open().await;
    let mut watcher = server.observer(&session).await;
    let mut ada = server.guest(&session, "Ada").await;
    let (id, resume) = (ada.id(), ada.resume_token());
    ada.send(json!({"type": "update", "state": {"page": 3}})).await;
    watcher.until("page 3", |watcher| watcher.view.get(&id).is_some_and(|ada| ada["state"]["page"] == 3)).await;
    ada.vanish();
    watcher.until("the timeout", |watcher| watcher.told_of(id).last() == Some(&("leave", json!("timeout")))).await;

    let back = Client::join(server.address(), session.id, &Join::resume(&resume)).await;
    assert_eq!(back.id(), id);
    assert_eq!(back.view[&id]["name"], "Ada");
    watcher.sees(&[id]).await;
    let (word, person) = watcher.told_of(id).pop().expect("news of her");
    assert_eq!((word, &person["status"], &person["connections"]), ("join", &json!("active"), &json!(1)));
    assert_eq!(watcher.gaps, []);

    // The same after a goodbye.
    back.leave().await;
    watcher.sees(&[]).await;
    let again = Client::join(server.address(), session.id, &Join::resume(&resume)).await;
    assert_eq!(again.id(), id);
    let rows: i64 = server.sql("SELECT count(*) FROM session_participants WHERE session_id = $1", session.id).await;
    assert_eq!(rows, 1);
}

#[tokio::test]
async fn somebody_who_was_let_in_and_never_came_is_not_left_present() {
    let server = TestServer::start(&quiet(&SHORT)).await;
    let token = rest::user(Uuid::now_v7(), "Ada");
    let session = server.open_as(Some(&token), json!({})).await;
    let ada = Client::join(server.address(), session.id, &Join::token(&token)).await;
    let id = ada.id();
    ada.leave().await;
    let pool = &server.database.pool;
    eventually("Ada gone", async || (!person(pool, id).await.is_active).then_some(())).await;

    // A door of its own beside the server's, since no client can hang up at just this moment.
    let idle = IdleRule { timeout: Duration::from_secs(3600), counts: IdleCounts::Seen };
    let store = Store::open(server.database.options.clone(), &SchemaName::default(), 1, idle, "test".to_owned())
        .await
        .expect("a store");
    let verifier = Verifier::with_secret(SECRET.as_bytes(), TokenRules::default());
    let keys = Keys::new(verifier, ResumeKey::derive(SECRET.as_bytes()), Arc::default());
    let registry = Arc::clone(server.server.registry());
    let admissions = Admissions::new(Arc::new(keys), store.clone(), registry);
    let credentials = Credentials { bearer: Some(token), ..Credentials::default() };
    let admission = admissions.admit(SessionId(session.id), &credentials).await.expect("let in");
    assert!(person(pool, id).await.is_active, "from the admission on");
    drop(admission);
    eventually("Ada gone again", async || {
        store.run_compensations(|_| false).await.expect("a database");
        let ada = person(pool, id).await;
        (!ada.is_active && ada.leave_reason.as_deref() == Some("timeout")).then_some(())
    })
    .await;
    store.close().await;
}
