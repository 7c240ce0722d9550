//! Start and stop of the real program: a stop in good order loses nothing and shows no person leaving, and
//! neither does a crash.

use std::time::Duration;

use chrono::TimeDelta;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use uuid::Uuid;

use crate::harness::cluster::TestDatabase;
use crate::harness::process::{Finished, Process, run};
use crate::harness::rest::{Opened, user};
use crate::harness::rows::{self, Person, execute, person};
use crate::harness::server::SECRET;
use crate::harness::{Client, Join, eventually};

/// Starts the program on this database with the tests' secret; only its last flush writes.
async fn serve(database: &TestDatabase, flags: &[&str]) -> Process {
    let url = database.url();
    let base =
        ["--database-url", &url, "--jwt-secret", SECRET, "--database-connections", "4", "--diff-interval", "20ms"];
    Process::serve(&base.into_iter().chain(flags.iter().copied()).collect::<Vec<_>>()).await
}

/// Nothing is written before the server stops.
const ONE_FLUSH: [&str; 4] = ["--flush-interval", "20m", "--node", "one"];

async fn guest(server: &Process, session: &Opened, name: &str) -> Client {
    Client::join(server.address, session.id, &Join::invite(&session.invite, name)).await
}

/// Makes somebody look as if last seen an hour ago.
async fn age(database: &TestDatabase, id: Uuid) -> Person {
    let statement = "UPDATE session_participants SET last_seen_at = now() - interval '1 hour', last_activity_at = now() - interval '1 hour' WHERE id = $1";
    execute(&database.pool, statement, id).await;
    person(&database.pool, id).await
}

async fn crash(server: Process) -> Finished {
    server.signal(Signal::SIGKILL);
    server.finished().await
}

/// Whether a client was ever sent a leave.
fn saw_a_leave(client: &Client) -> bool {
    client.heard.iter().any(|frame| frame["leaves"].as_array().is_some_and(|leaves| !leaves.is_empty()))
}

#[tokio::test]
async fn a_signal_asks_everybody_to_come_back_shows_nobody_leaving_and_writes_the_last_beats() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let database = TestDatabase::new().await;
        let server = serve(&database, &ONE_FLUSH).await;
        let session = server.rest.open().await;
        let mut clients = [guest(&server, &session, "Ada").await, guest(&server, &session, "Bob").await];
        let ids = clients.each_ref().map(Client::id);
        for client in &mut clients {
            client.sees(&ids).await;
            age(&database, client.id()).await;
            client.send(json!({"type": "update", "state": {"page": 7}})).await;
            client.send(json!({"type": "beat"})).await;
            client.frame("beat").await;
        }
        server.signal(signal);
        for client in &mut clients {
            let ended = client.ended().await;
            assert_eq!(
                (ended.code, &ended.error["code"], &ended.error["retry"]),
                (1012, &json!("draining"), &json!(true))
            );
            assert!(ended.error["retry_after_ms"].is_u64(), "{}", ended.error);
            assert!(!saw_a_leave(client), "{:?}", client.heard);
        }
        let finished = server.finished().await;
        assert_eq!(finished.status.code(), Some(0), "{signal}: {}", finished.stderr);
        for id in ids {
            let row = person(&database.pool, id).await;
            assert_eq!((row.is_active, row.left_at, row.leave_reason), (true, None, None));
            assert!(
                rows::now(&database.pool).await - row.last_seen_at < TimeDelta::minutes(30),
                "the last beat is lost"
            );
            assert_eq!(row.state, json!({"page": 7}));
        }
    }
}

#[tokio::test]
async fn people_come_back_after_a_restart_as_if_nothing_had_happened() {
    let database = TestDatabase::new().await;
    let server = serve(&database, &ONE_FLUSH).await;
    let session = server.rest.open().await;
    let ada = guest(&server, &session, "Ada").await;
    server.signal(Signal::SIGTERM);
    assert_eq!(server.finished().await.status.code(), Some(0));
    let server = serve(&database, &["--node", "one", "--grace", "60s"]).await;
    let mut back = Client::join(server.address, session.id, &Join::resume(&ada.resume_token())).await;
    back.sees(&[ada.id()]).await;
    assert_eq!(back.id(), ada.id());
    assert!(!saw_a_leave(&back));
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let database = TestDatabase::new().await;
    let server = serve(&database, &ONE_FLUSH).await;
    let session = server.rest.open().await;
    let mut ada = guest(&server, &session, "Ada").await;
    // The stop waits for its last flush, which waits for us.
    let mut hold = database.pool.begin().await.expect("a transaction");
    sqlx::query("LOCK TABLE session_participants IN ACCESS EXCLUSIVE MODE").execute(&mut *hold).await.expect("a lock");
    server.signal(Signal::SIGTERM);
    assert_eq!(ada.ended().await.code, 1012);
    eventually("the last flush at the lock", async || {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'session_participants'::regclass",
        )
        .fetch_one(&database.pool)
        .await
        .expect("a count");
        (waiting > 0).then_some(())
    })
    .await;
    server.signal(Signal::SIGINT);
    let finished = server.finished().await;
    assert_eq!(finished.status.code(), Some(130), "{}", finished.stderr);
    assert!(finished.stderr.contains("stopped at once"), "{}", finished.stderr);
}

/// Joins, asks for more than the buffers between us hold, and reads none of it.
async fn stuck_reader(server: &Process, session: &Opened) -> tokio::net::TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let mut stream = socket.connect(server.address).await.expect("connected");
    let request = format!(
        "GET /v1/reading-sessions/{}/ws?name=Stuck&invite={} HTTP/1.1\r\nHost: lastseen\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        session.id, session.invite
    );
    stream.write_all(request.as_bytes()).await.expect("asked");
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 101");
    // Masked with zeros, so that it reads as it is.
    let sync = br#"{"type":"sync"}"#;
    let frame = [&[0x81, 0x80 | sync.len() as u8, 0, 0, 0, 0], &sync[..]].concat();
    for _ in 0..20 {
        stream.write_all(&frame).await.expect("asked");
    }
    stream
}

#[tokio::test]
async fn a_drain_waits_no_longer_than_it_may_and_still_writes_the_last_beats() {
    const CROWD: usize = 30;
    let database = TestDatabase::new().await;
    // A stuck reader holds its connection for the write timeout, beyond all patience here.
    let flags = [&ONE_FLUSH[..], &["--drain-timeout", "2s", "--write-timeout", "10m"]].concat();
    let server = serve(&database, &flags).await;
    let session = server.rest.open().await;
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let mut member = guest(&server, &session, "Somebody").await;
        member.send(json!({"type": "update", "state": {"text": "x".repeat(1900)}})).await;
        member.catch_up().await;
        crowd.push(member);
    }
    let stuck = stuck_reader(&server, &session).await;
    // The kernels' buffers are full once what can be read does not grow any more.
    let mut seen = vec![0; 1 << 20];
    let mut before = 0;
    let mut steady = 0;
    eventually("a stuck reader", async || {
        let readable = stuck.peek(&mut seen).await.expect("something to read");
        steady = if readable == before { steady + 1 } else { 0 };
        before = readable;
        (steady > 50).then_some(())
    })
    .await;
    let ids: Vec<_> = crowd.iter().map(Client::id).collect();
    let aged = age(&database, ids[0]).await;

    server.signal(Signal::SIGTERM);
    for member in &mut crowd {
        assert_eq!(member.ended().await.code, 1012);
    }
    drop(crowd);
    let finished = server.finished().await;
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    assert!(finished.stderr.contains("still open after drain-timeout"), "{}", finished.stderr);
    let row = person(&database.pool, ids[0]).await;
    assert!(row.is_active && row.last_seen_at > aged.last_seen_at + TimeDelta::minutes(30), "{row:?}");
    drop(stuck);
}

#[tokio::test]
async fn after_a_crash_people_come_up_as_reconnecting_and_come_back_as_the_same_participants() {
    let database = TestDatabase::new().await;
    let flags = ["--node", "one", "--grace", "60s", "--flush-interval", "100ms"];
    let server = serve(&database, &flags).await;
    let session = server.rest.open().await;
    let mut ada = guest(&server, &session, "Ada").await;
    let eve = Uuid::now_v7();
    let as_eve = Join { token: Some(user(eve, "Eve")), ..Join::invite(&session.invite, "Eve") };
    let mut eve_at_first = Client::join(server.address, session.id, &as_eve).await;
    ada.sees(&[ada.id(), eve_at_first.id()]).await;
    ada.send(json!({"type": "update", "state": {"page": 3}})).await;
    eventually("the state in the database", async || {
        (person(&database.pool, ada.id()).await.state == json!({"page": 3})).then_some(())
    })
    .await;
    let known = ada.view.clone();

    crash(server).await;
    for client in [&mut ada, &mut eve_at_first] {
        assert_eq!(client.ended().await.code, 1006);
        assert!(!saw_a_leave(client));
    }
    let server = serve(&database, &flags).await;
    let people = server.rest.participants(session.id).await;
    assert_eq!(people["occupancy"], 2);
    for shown in people["items"].as_array().expect("people") {
        assert_eq!((&shown["status"], &shown["connections"]), (&json!("reconnecting"), &json!(0)), "{shown}");
    }

    let mut back = Client::join(server.address, session.id, &Join::resume(&ada.resume_token())).await;
    back.sees(&[ada.id(), eve_at_first.id()]).await;
    assert_eq!(back.id(), ada.id());
    assert_eq!(back.view[&eve_at_first.id()]["status"], "reconnecting");
    let myself = &back.view[&ada.id()];
    for key in ["name", "role", "state", "joined_at"] {
        assert_eq!(
            myself[key],
            if key == "state" { json!({"page": 3}) } else { known[&ada.id()][key].clone() },
            "{key}"
        );
    }
    // A user needs no resume token.
    let eve_back = Client::join(server.address, session.id, &Join::token(&user(eve, "Eve"))).await;
    assert_eq!(eve_back.id(), eve_at_first.id());
    back.until("Eve is back", |client| client.view[&eve_back.id()]["status"] == "active").await;
    let changes = |key: &str| {
        back.heard
            .iter()
            .filter_map(|frame| frame[key].as_array())
            .flatten()
            .filter(|change| change["id"] == json!(eve_back.id()))
            .count()
    };
    assert_eq!((changes("joins"), changes("leaves")), (0, 0), "{:?}", back.heard);
    assert!(changes("updates") >= 1);
    for id in [ada.id(), eve_back.id()] {
        assert!(person(&database.pool, id).await.is_active);
    }
}

#[tokio::test]
async fn whoever_does_not_come_back_after_a_crash_times_out_as_of_when_last_seen() {
    let database = TestDatabase::new().await;
    let server = serve(&database, &ONE_FLUSH).await;
    let session = server.rest.open().await;
    let ada = guest(&server, &session, "Ada").await;
    crash(server).await;
    let aged = age(&database, ada.id()).await;
    assert!(aged.is_active);
    let server = serve(&database, &["--node", "one", "--grace", "300ms", "--flush-interval", "100ms"]).await;
    let row =
        eventually("the timeout", async || Some(person(&database.pool, ada.id()).await).filter(|row| !row.is_active))
            .await;
    assert_eq!(row.leave_reason.as_deref(), Some("timeout"));
    let left_at = row.left_at.expect("a time");
    assert!((left_at - aged.last_seen_at).abs() < TimeDelta::minutes(30), "{left_at} is not {}", aged.last_seen_at);
    assert_eq!(server.rest.participants(session.id).await["occupancy"], 0);
    // Late, and still the same person.
    let back = Client::join(server.address, session.id, &Join::resume(&ada.resume_token())).await;
    assert_eq!(back.id(), ada.id());
}

#[tokio::test]
async fn another_servers_people_are_left_alone_unless_nobody_has_seen_them_for_long() {
    let database = TestDatabase::new().await;
    let server = serve(&database, &["--node", "one"]).await;
    let session = server.rest.open().await;
    let (ada, bob) = (guest(&server, &session, "Ada").await, guest(&server, &session, "Bob").await);
    crash(server).await;
    let (fresh, stale) = (person(&database.pool, ada.id()).await, age(&database, bob.id()).await);

    let server = serve(&database, &["--node", "two"]).await;
    assert_eq!(person(&database.pool, ada.id()).await, fresh);
    let row = person(&database.pool, bob.id()).await;
    assert_eq!((row.is_active, row.leave_reason.as_deref()), (false, Some("timeout")));
    assert_eq!(row.left_at, Some(stale.last_seen_at));
    // Nor does this server show them: it has no person in memory.
    assert_eq!(server.rest.metric("lastseen_rooms").await, 0.0);
}

#[tokio::test]
async fn an_embedded_database_outlives_a_crash_with_its_sessions_and_its_secret() {
    // The user that PostgreSQL runs as has to be able to enter.
    use std::os::unix::fs::PermissionsExt;
    let directory =
        tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o755)).tempdir().expect("a directory");
    let data_dir = directory.path().join("data");
    let data_dir = data_dir.to_str().expect("a path");
    let flags =
        ["--data-dir", data_dir, "--durable=false", "--node", "one", "--grace", "60s", "--flush-interval", "100ms"];
    let server = Process::serve(&flags).await;
    let session = server.rest.open().await;
    let ada = guest(&server, &session, "Ada").await;

    // A second server on the same directory ends with an error, while the first goes on.
    let second = run(&["serve", "--listen", "127.0.0.1:0", "--data-dir", data_dir, "--durable=false"]).await;
    assert_eq!((second.status.code(), second.stdout.as_str()), (Some(1), ""));
    let line = second.complaint();
    assert!(line.starts_with("another lastseen server is using the data directory"), "{line}");

    crash(server).await;
    let server = Process::serve(&flags).await;
    let mut back = Client::join(server.address, session.id, &Join::resume(&ada.resume_token())).await;
    assert_eq!(back.id(), ada.id());
    back.sees(&[ada.id()]).await;
    let newcomer = guest(&server, &session, "Bob").await;
    back.sees(&[ada.id(), newcomer.id()]).await;
    let service = run(&["token", "--role", "service_role", "--data-dir", data_dir]).await.stdout;
    let shown: Value =
        server.rest.get(&format!("/v1/reading-sessions/{}", session.id), Some(service.trim())).await.expect(200);
    assert_eq!((&shown["is_active"], &shown["occupancy"]), (&json!(true), &json!(2)));

    server.signal(Signal::SIGTERM);
    let finished = server.finished().await;
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
}

#[tokio::test]
async fn a_server_that_did_not_run_for_a_while_gives_everybody_that_time() {
    let database = TestDatabase::new().await;
    let flags = ["--beat-interval", "5s", "--ping-interval", "5s", "--dead-after", "12s", "--grace", "12s"];
    let server = serve(&database, &flags).await;
    let session = server.rest.open().await;
    let mut ada = guest(&server, &session, "Ada").await;
    let mut bob = guest(&server, &session, "Bob").await;
    let lost = guest(&server, &session, "Cleo").await;
    let (id, resume) = (lost.id(), lost.resume_token());
    lost.vanish();
    ada.until("Cleo reconnecting", |ada| ada.view.get(&id).is_some_and(|cleo| cleo["status"] == "reconnecting")).await;

    // Both were heard just now, however long it took until here.
    ada.catch_up().await;
    bob.catch_up().await;
    server.freeze().await;
    // Ada beats meanwhile, more often than a burst has frames, and Bob is silent.
    for reference in 0..32 {
        ada.send(json!({"type": "beat", "ref": reference})).await;
    }
    // It is the time itself that matters: more than any deadline.
    tokio::time::sleep(Duration::from_secs(14)).await;
    server.signal(Signal::SIGCONT);
    ada.catch_up().await;
    bob.catch_up().await;
    assert_eq!((ada.count("beat"), ada.count("error")), (34, 0));
    let back = Client::join(server.address, session.id, &Join::resume(&resume)).await;
    assert_eq!(back.id(), id);
    ada.until("Cleo is back", |ada| ada.view.get(&id).is_some_and(|cleo| cleo["status"] == "active")).await;
    for client in [&ada, &bob] {
        assert!(!saw_a_leave(client), "{:?}", client.heard);
    }
}
