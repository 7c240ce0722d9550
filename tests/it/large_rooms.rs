//! Rooms with many people: counts instead of names, longer intervals, and readers that are too slow.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use uuid::Uuid;

use crate::harness::client::{Step, id};
use crate::harness::rest::Opened;
use crate::harness::{Client, Join, TestServer, eventually, quiet};

/// The people who are listed in a frame or an answer.
fn listed(people: &Value) -> Vec<Uuid> {
    people.as_array().expect("a list").iter().map(|person| id(&person["id"])).collect()
}

/// That many guests, some at a time: with too many at once a slow machine would refuse some with `unavailable`.
async fn guests(server: &TestServer, session: &Opened, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for batch in (0..count).collect::<Vec<_>>().chunks(10) {
        let joining = batch.iter().map(|number| async move { server.guest(session, &format!("Guest {number}")).await });
        clients.extend(join_all(joining).await);
    }
    clients
}

fn ids(clients: &[Client]) -> Vec<Uuid> {
    clients.iter().map(Client::id).collect()
}

#[tokio::test]
async fn over_the_detail_limit_counts_come_instead_of_names() {
    let server = TestServer::start(&quiet(&["--detail-limit", "5"])).await;
    let session = server.open().await;
    let mut clients = guests(&server, &session, 5).await;
    let five = ids(&clients);
    for client in &mut clients {
        client.sees(&five).await;
    }

    // The sixth is one too many.
    let mut sixth = server.guest(&session, "Sixth").await;
    assert_eq!((listed(&sixth.welcome["participants"]), &sixth.welcome["occupancy"]), (vec![sixth.id()], &json!(6)));
    for client in &mut clients {
        let frame = client.frame("occupancy").await;
        assert_eq!(frame, json!({"type": "occupancy", "seq": client.seq, "occupancy": 6}));
        assert_eq!(client.gaps, [], "a count is a step like a diff");
        client.send(json!({"type": "sync"})).await;
        let state = client.frame("state").await;
        assert_eq!((listed(&state["participants"]), &state["occupancy"]), (vec![client.id()], &json!(6)));
        assert_eq!(state["seq"], frame["seq"]);
    }
    sixth.until("the count", |sixth| sixth.count("occupancy") == 1).await;

    // A new state changes no count: nothing is sent until a seventh joins. The list over HTTP has
    // all.
    sixth.send(json!({"type": "update", "state": {"page": 6}})).await;
    let seventh = server.guest(&session, "Seventh").await;
    for client in clients.iter_mut().chain([&mut sixth]) {
        let seq = client.seq;
        client.until("seven", |client| client.occupancy == 7).await;
        assert_eq!(client.seq, seq + 1);
        let mut since = client.heard.iter().skip_while(|frame| frame["type"] != "occupancy");
        assert!(since.all(|frame| frame["type"] != "diff"), "{:?}", client.heard);
    }
    let everybody = server.participants(session.id).await;
    let all: BTreeSet<_> = five.iter().copied().chain([sixth.id(), seventh.id()]).collect();
    assert_eq!((BTreeSet::from_iter(listed(&everybody["items"])), &everybody["occupancy"]), (all, &json!(7)));

    // Down to six and to five: counts, since the next one to come would be one too many again. Below the limit
    // all are sent one full state, and diffs from then on.
    seventh.leave().await;
    for client in clients.iter_mut().chain([&mut sixth]) {
        assert_eq!(client.frame("occupancy").await["occupancy"], 6);
    }
    clients.pop().expect("five").leave().await;
    clients.push(sixth);
    for client in &mut clients {
        let states = client.count("state");
        assert_eq!(client.frame("occupancy").await["occupancy"], 5);
        assert_eq!(client.count("state"), states);
    }
    let late = server.observer(&session).await;
    assert_eq!((&late.welcome["participants"], &late.welcome["occupancy"]), (&json!([]), &json!(5)));
    clients.remove(0).leave().await;
    let rest = ids(&clients);
    for client in &mut clients {
        let (seq, states) = (client.seq, client.count("state"));
        client.sees(&rest).await;
        assert_eq!((client.count("state"), client.seq), (states + 1, seq));
        assert_eq!(client.view[&rest[3]]["state"], json!({"page": 6}));
    }
    clients[0].send(json!({"type": "update", "state": {"page": 1}})).await;
    for client in &mut clients {
        let states = client.count("state");
        assert_eq!(listed(&client.frame("diff").await["updates"]), [rest[0]]);
        assert_eq!((client.count("state"), &client.gaps[..]), (states, &[][..]));
    }
}

#[tokio::test]
async fn somebody_who_came_in_a_moment_of_too_many_is_told_of_everybody_as_well() {
    // The moment lasts shorter than the interval, which ends where the test says so: no count is ever published.
    let server = TestServer::start(&quiet(&["--detail-limit", "3", "--diff-interval", "10m"])).await;
    let session = server.open().await;
    let mut clients = guests(&server, &session, 3).await;
    server.publish(&session);
    let three = ids(&clients);
    for client in &mut clients {
        client.sees(&three).await;
    }
    let late = server.guest(&session, "Late").await;
    assert_eq!(listed(&late.welcome["participants"]), [late.id()]);
    clients.pop().expect("three").leave().await;
    clients.pop().expect("two").leave().await;
    clients.push(late);
    server.publish(&session);
    let here = ids(&clients);
    for client in &mut clients {
        client.sees(&here).await;
        assert_eq!((&client.gaps[..], client.count("occupancy")), (&[][..], 0));
    }
}

#[tokio::test]
async fn who_comes_between_two_steps_finds_everybody_who_came_before_and_nobody_twice() {
    // There is no diff: every view is from a snapshot. So many join that the list of people is made anew
    // meanwhile.
    let server = TestServer::start(&quiet(&["--diff-interval", "10m", "--max-participants", "50"])).await;
    let session = server.open().await;
    let mut observer = server.observer(&session).await;
    assert_eq!(observer.welcome["participants"], json!([]));
    let mut clients = guests(&server, &session, 45).await;
    clients.sort_by_key(|client| client.welcome["occupancy"].as_u64());
    for (before, client) in clients.iter().enumerate() {
        let here = listed(&client.welcome["participants"]);
        assert_eq!((client.welcome["occupancy"].as_u64(), here.len()), (Some(before as u64 + 1), before + 1));
        assert_eq!(BTreeSet::from_iter(here), BTreeSet::from_iter(ids(&clients[..=before])));
    }

    clients[44].send(json!({"type": "update", "state": {"page": 45}})).await;
    // The answer means that the state was taken.
    clients[44].send(json!({"type": "beat"})).await;
    clients[44].frame("beat").await;
    observer.send(json!({"type": "sync"})).await;
    let state = observer.frame("state").await;
    let people = state["participants"].as_array().expect("a list");
    assert_eq!((people.len(), BTreeSet::from_iter(listed(&state["participants"])).len()), (45, 45));
    let last = people.iter().find(|person| id(&person["id"]) == clients[44].id()).expect("is here");
    assert_eq!(last["state"], json!({"page": 45}));
}

#[tokio::test]
async fn more_than_a_hundred_people_are_told_at_the_longer_interval() {
    let flags = ["--max-participants", "200", "--diff-interval-large", "10m"];
    let server = TestServer::start(&quiet(&flags)).await;
    let session = server.open().await;
    let mut watcher = server.observer(&session).await;
    let clients = guests(&server, &session, 100).await;
    watcher.sees(&ids(&clients)).await;
    let seq = watcher.seq;

    let more = guests(&server, &session, 2).await;
    assert_eq!(more[1].view.len().max(more[0].view.len()), 102, "a welcome is never behind");
    watcher.catch_up().await;
    assert_eq!((watcher.seq, watcher.view.len()), (seq, 100), "not sent yet");
    watcher.send(json!({"type": "sync"})).await;
    let state = watcher.frame("state").await;
    assert_eq!(
        (&state["seq"], &state["occupancy"], listed(&state["participants"]).len()),
        (&json!(seq), &json!(102), 102)
    );
    drop((clients, more));
}

/// A room of people whose clients read and cause many diffs, and one whose client does not read.
struct Crowd {
    server: TestServer,
    session: Opened,
    readers: Vec<Client>,
    idler: Client,
    steps: usize,
}

impl Crowd {
    /// Fifty people.
    async fn gather(flags: &[&str]) -> Self {
        let server = TestServer::start(&quiet(flags)).await;
        let session = server.open().await;
        let readers = guests(&server, &session, 49).await;
        let idler = slow_reader(server.address(), &session).await;
        let mut crowd = Self { server, session, readers, idler, steps: 0 };
        let everybody: Vec<_> = ids(&crowd.readers).into_iter().chain([crowd.idler.id()]).collect();
        for client in crowd.readers.iter_mut().chain([&mut crowd.idler]) {
            client.sees(&everybody).await;
        }
        crowd
    }

    /// Four people change their state, as large as it may be, and all clients that read see it: none of
    /// them falls behind, however slow the machine is.
    async fn step(&mut self) {
        self.steps += 1;
        let people = self.readers.len();
        let mut changed = Vec::new();
        for offset in 0..4 {
            let reader = &mut self.readers[(self.steps * 4 + offset) % people];
            reader.send(json!({"type": "update", "state": {"step": self.steps, "fill": "x".repeat(1900)}})).await;
            changed.push(reader.id());
        }
        for reader in &mut self.readers {
            let step = self.steps;
            reader.until("the step", |reader| changed.iter().all(|id| reader.view[id]["state"]["step"] == step)).await;
        }
    }

    /// Far more than the buffers of the one that does not read can hold (8 KiB a diff), and then more
    /// steps than a connection may fall behind.
    async fn leave_the_idler_behind(&mut self) {
        for _ in 0..60 {
            self.step().await;
        }
    }

    fn readers_lost_nothing(&self) {
        for reader in &self.readers {
            assert_eq!((&reader.gaps[..], reader.count("state")), (&[][..], 0));
        }
    }
}

/// A client whose socket has a small receive buffer.
async fn slow_reader(address: SocketAddr, session: &Opened) -> Client {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let stream = socket.connect(address).await.expect("a connection");
    let join = Join::invite(&session.invite, "Idler");
    let mut client = Client::over(stream, &session.id.to_string(), &join).await.expect("an upgrade");
    assert!(matches!(client.step().await, Step::Frame(frame) if frame["type"] == "welcome"));
    client.confirm().await;
    client
}

#[tokio::test]
async fn a_slow_reader_gets_one_state_instead_of_all_it_missed_and_the_others_lose_nothing() {
    let mut crowd = Crowd::gather(&["--write-timeout", "10m"]).await;
    crowd.leave_the_idler_behind().await;
    assert_eq!(crowd.idler.count("state"), 0);

    let newest = crowd.readers[0].seq;
    let idler = &mut crowd.idler;
    idler.until("what the others know", |idler| idler.seq == newest).await;
    idler.catch_up().await;
    assert_eq!((idler.count("state"), &idler.gaps[..]), (1, &[][..]));
    assert!(idler.count("diff") < crowd.readers[0].count("diff"), "it was not sent every diff");
    let without_time = |client: &Client| -> Vec<Value> {
        let mut people: Vec<_> = client.view.values().cloned().collect();
        people.iter_mut().for_each(|person| person["last_seen_at"] = Value::Null);
        people
    };
    assert_eq!(without_time(&crowd.idler), without_time(&crowd.readers[0]));
    assert_eq!(crowd.server.metric("lastseen_lagged_total").await, 1.0);
    crowd.readers_lost_nothing();

    // From then on it is sent diffs like all others.
    crowd.step().await;
    let newest = crowd.readers[0].seq;
    crowd.idler.until("the next step", |idler| idler.seq == newest).await;
    assert_eq!((crowd.idler.count("state"), &crowd.idler.gaps[..]), (1, &[][..]));
}

#[tokio::test]
async fn a_reader_that_never_reads_again_is_cut_while_the_others_go_on() {
    let mut crowd = Crowd::gather(&["--write-timeout", "1s", "--grace", "10m"]).await;
    crowd.leave_the_idler_behind().await;
    eventually("the end of the one who does not read", async || {
        (crowd.server.metric("lastseen_connection_ends_total{reason=\"slow_consumer\"}").await == 1.0).then_some(())
    })
    .await;
    let idler = crowd.idler.id();
    for reader in &mut crowd.readers {
        reader.until("the loss", |reader| reader.view[&idler]["status"] == "reconnecting").await;
    }
    crowd.step().await;
    crowd.readers_lost_nothing();
    let listed = crowd.server.participants(crowd.session.id).await;
    assert_eq!(listed["occupancy"], 50);
}
