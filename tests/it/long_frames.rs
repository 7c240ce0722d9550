//! No frame is longer than `max-frame-bytes`: what is longer comes in several, and is whole with the last one.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::time::timeout;
use uuid::Uuid;

use crate::harness::client::{Step, id};
use crate::harness::crowd::{crowded, were_there};
use crate::harness::rest::{Opened, service, user};
use crate::harness::{Client, Join, PATIENCE, TestServer, quiet};

/// What a frame may have unless it is set.
const MOST: usize = 30_000;

/// What github.com/coder/websocket reads at most by default: the least of the clients that are known.
const CODER: usize = 32_768;

fn fit(client: &Client, most: usize) {
    let longest = client.lengths.iter().max().copied().unwrap_or_default();
    assert!(longest <= most, "a frame of {longest} bytes");
}

/// The people in a list, each once.
fn ids(list: &Value) -> BTreeSet<Uuid> {
    let list = list.as_array().expect("a list");
    let ids: BTreeSet<_> = list.iter().map(|person| id(&person["id"])).collect();
    assert_eq!(ids.len(), list.len(), "a person is listed twice");
    ids
}

async fn everybody(server: &TestServer, session: &Opened) -> BTreeSet<Uuid> {
    ids(&server.participants(session.id).await["items"])
}

#[tokio::test]
async fn a_room_of_300_is_open_to_a_client_that_reads_32_kib() {
    let (server, session) = crowded(299, 400, &["--diff-interval-large", "20ms"]).await;
    let join = Join::invite(&session.invite, "Gopher");
    let mut gopher =
        Client::limited(server.address(), &session.id.to_string(), &join, CODER).await.expect("an upgrade");
    let welcome = gopher.frame("welcome").await;
    fit(&gopher, MOST);
    assert!(gopher.lengths.len() > 20, "{} frames", gopher.lengths.len());
    let everybody = everybody(&server, &session).await;
    assert_eq!((everybody.len(), &welcome["occupancy"]), (300, &json!(300)));
    assert_eq!(ids(&welcome["participants"]), everybody);
    let readers = gopher.view.values().filter(|person| person["name"] != "Gopher");
    assert!(readers.clone().all(|reader| reader["state"]["a"].as_str().is_some_and(|a| a.len() == 2040)));
    assert_eq!(readers.count(), 299);

    // So it is with a fresh snapshot, and for those who come in after the list was made.
    gopher.send(json!({"type": "sync"})).await;
    let state = gopher.frame("state").await;
    fit(&gopher, MOST);
    assert_eq!(ids(&state["participants"]), everybody);
    let late = join_all((0..5).map(|n| {
        let (server, session) = (&server, &session);
        async move { server.guest(session, &format!("Late {n}")).await }
    }))
    .await;
    for late in &late {
        fit(late, MOST);
        assert_eq!(Some(late.view.len() as u64), late.welcome["occupancy"].as_u64());
    }

    // From then on it is sent what happens, as ever.
    gopher.send(json!({"type": "update", "state": {"page": 7}})).await;
    let me = gopher.id();
    gopher
        .until("its own page, and all who came", |gopher| {
            gopher.view[&me]["state"] == json!({"page": 7}) && gopher.view.len() == 305
        })
        .await;
    assert_eq!((gopher.occupancy, &gopher.gaps[..]), (305, &[][..]));
    fit(&gopher, MOST);
}

#[tokio::test]
async fn many_who_come_at_once_are_one_diff_in_several_frames() {
    let server = TestServer::start(&quiet(&["--diff-interval", "10m"])).await;
    let session = server.open_as(Some(&service()), json!({"max_participants": 60})).await;
    let mut watcher = server.observer(&session).await;
    let users = were_there(&server.database, session.id, 45).await;
    let mut people = Vec::new();
    for users in users.chunks(9) {
        people.extend(
            join_all(users.iter().map(|id| {
                let (address, session, token) = (server.address(), session.id, user(*id, "User"));
                async move { Client::join(address, session, &Join::token(&token)).await }
            }))
            .await,
        );
    }
    // Each was sent those before it: of the last ones many are behind the list, since it was made.
    for client in &people {
        fit(client, MOST);
        assert_eq!(Some(client.view.len() as u64), client.welcome["occupancy"].as_u64());
    }
    let (seq, frames) = (watcher.seq, watcher.lengths.len());
    server.publish(&session);
    let diff = watcher.frame("diff").await;
    fit(&watcher, MOST);
    assert!(watcher.lengths.len() - frames >= 4, "{:?}", &watcher.lengths[frames..]);
    assert_eq!((&diff["seq"], &diff["occupancy"]), (&json!(seq + 1), &json!(45)));
    assert_eq!(ids(&diff["joins"]), people.iter().map(Client::id).collect());
    assert!(diff["joins"].as_array().expect("a list").iter().all(|user| user["state"]["a"].is_string()));

    // And all of them change, and go.
    for client in &mut people {
        client.send(json!({"type": "update", "state": {"b": "z".repeat(2000)}})).await;
        client.catch_up().await;
    }
    server.publish(&session);
    assert_eq!(watcher.frame("diff").await["updates"].as_array().map(Vec::len), Some(45));
    for client in people {
        client.leave().await;
    }
    server.publish(&session);
    watcher.sees(&[]).await;
    assert_eq!((watcher.seq, &watcher.gaps[..], watcher.count("state")), (seq + 3, &[][..], 0));
    fit(&watcher, MOST);
}

/// A client whose socket has a small receive buffer, and that has read nothing.
async fn slow(address: SocketAddr, session: &Opened) -> Client {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let stream = socket.connect(address).await.expect("a connection");
    Client::over(stream, &session.id.to_string(), &Join::invite(&session.invite, "Slow")).await.expect("an upgrade")
}

#[tokio::test]
async fn slow_clients_get_all_frames_of_a_list_and_then_what_they_missed() {
    let (server, session) = crowded(299, 400, &["--diff-interval-large", "20ms"]).await;
    let mut ada = server.guest(&session, "Ada").await;
    let mut slow = join_all((0..3).map(|_| slow(server.address(), &session))).await;
    ada.until("all are there", |ada| ada.view.len() == 303).await;
    // More than a connection may fall behind.
    let me = ada.id();
    for page in 0..18 {
        ada.send(json!({"type": "update", "state": {"page": page, "a": "x".repeat(1900)}})).await;
        ada.until("the page", |ada| ada.view[&me]["state"]["page"] == page).await;
    }
    for slow in &mut slow {
        let seq = ada.seq;
        slow.until("what Ada knows", |slow| slow.seq >= seq).await;
        slow.catch_up().await;
        // A kernel that holds more than they missed leaves nothing to be caught up with.
        assert!(slow.count("state") <= 1);
        assert_eq!((slow.count("welcome"), &slow.gaps[..]), (1, &[][..]));
        assert_eq!((slow.view.len(), &slow.view[&me]["state"]["page"]), (303, &json!(17)));
        fit(slow, MOST);
    }
}

#[tokio::test]
async fn the_length_is_a_setting() {
    let (server, session) = crowded(40, 100, &["--max-frame-bytes", "8192"]).await;
    let ada = server.guest(&session, "Ada").await;
    fit(&ada, 8192);
    assert_eq!(ada.view.len(), 41);
    let people = ada.heard[0]["participants"].as_array().map(Vec::len);
    assert_eq!(people, Some(41));
    drop(ada);

    let (server, session) = crowded(40, 100, &["--max-frame-bytes", "1000000"]).await;
    let ada = server.guest(&session, "Ada").await;
    assert_eq!((ada.lengths.len(), ada.view.len()), (1, 41));
    assert!(ada.lengths[0] > 80_000);
    // Which is what the limit is for.
    let join = Join::invite(&session.invite, "Gopher");
    let mut gopher =
        Client::limited(server.address(), &session.id.to_string(), &join, CODER).await.expect("an upgrade");
    assert!(matches!(gopher.step().await, Step::Ended(_)), "it cannot read the welcome");
}

#[tokio::test]
async fn a_state_is_as_long_as_the_server_writes_it_whatever_the_database_makes_of_it() {
    let (server, session) = crowded(3, 10, &[]).await;
    // A number that PostgreSQL writes with three hundred zeros, and a state that only SQL can have made.
    let numbers = "UPDATE session_participants SET state = jsonb_build_object('a',
            (SELECT jsonb_agg(1e300::numeric) FROM generate_series(1, 200))) WHERE session_id = $1 AND name = 'Reader 1'";
    let large = "UPDATE session_participants SET state = jsonb_build_object('a', repeat('x', 50000))
        WHERE session_id = $1 AND name = 'Reader 2'";
    for statement in [numbers, large] {
        crate::harness::rows::execute(&server.database.pool, statement, session.id).await;
    }
    let server = TestServer::on(server.stop().await, &crate::harness::crowd::STAYING).await;
    let ada = server.guest(&session, "Ada").await;
    fit(&ada, MOST);
    let state = |name: &str| ada.view.values().find(|person| person["name"] == name).expect(name)["state"].clone();
    assert_eq!(state("Reader 1"), json!({"a": vec![1e300; 200]}));
    assert_eq!(state("Reader 2"), json!({}));
    assert_eq!(state("Reader 3"), json!({"a": "x".repeat(2040)}));
    let kept: i32 = server
        .sql("SELECT max(octet_length(state::text)) FROM session_participants WHERE session_id = $1", session.id)
        .await;
    assert!(kept > 50_000, "what is stored is left as it is");
}

#[tokio::test]
async fn events_of_a_stream_are_no_longer_than_frames() {
    let (server, session) = crowded(300, 400, &[]).await;
    let url = format!("http://{}/v1/reading-sessions/{}/events", server.address(), session.id);
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut response = http.get(url).bearer_auth(service()).send().await.expect("an answer");
    let (mut text, mut frames) = (String::new(), Vec::<Value>::new());
    while frames.last().is_none_or(|frame| frame["chunk"] != frame["chunks"]) {
        let chunk = timeout(PATIENCE, response.chunk()).await.expect("more").expect("a stream").expect("no end");
        text.push_str(std::str::from_utf8(&chunk).expect("ASCII"));
        while let Some((event, rest)) = text.split_once("\n\n") {
            let line = |field: &str| event.lines().find_map(|line| line.strip_prefix(field));
            let data = line("data: ").expect("data");
            assert!(data.len() <= MOST, "{} bytes", data.len());
            let frame: Value = serde_json::from_str(data).expect("JSON");
            assert_eq!(frame["type"], line("event: ").expect("a name"));
            assert_eq!(frame["seq"].to_string(), line("id: ").expect("an id"));
            frames.push(frame);
            text = rest.to_owned();
        }
    }
    let kinds: Vec<_> = frames.iter().map(|frame| frame["type"].as_str().expect("a type")).collect();
    assert_eq!((kinds[0], kinds[1..].iter().all(|kind| *kind == "more")), ("welcome", true), "{kinds:?}");
    let numbers: Vec<_> = frames.iter().map(|frame| frame["chunk"].as_u64().expect("a number")).collect();
    assert_eq!(numbers, (1..=frames.len() as u64).collect::<Vec<_>>());
    let people = frames.iter().flat_map(|frame| frame["participants"].as_array().expect("a list"));
    let people: Value = people.cloned().collect();
    assert_eq!(ids(&people), everybody(&server, &session).await);
}
