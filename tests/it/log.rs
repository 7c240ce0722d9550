//! Whatever becomes of the log, the server goes on: its reader may stall or be gone, and the disk under it full.

use std::io::Read;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use crate::harness::cluster::TestDatabase;
use crate::harness::process::{Process, lastseen};
use crate::harness::rest::{Opened, Rest};
use crate::harness::rows::person;
use crate::harness::server::SECRET;
use crate::harness::{Client, Join, PATIENCE};

/// More lines than a pipe holds.
const MANY: usize = 600;

const FEW: usize = 5;

/// A server with somebody in a session.
struct Stage {
    database: TestDatabase,
    server: Process,
    session: Opened,
    ada: Client,
}

/// The arguments of a server on this database, of which only its last flush writes.
fn arguments(url: &str) -> [&str; 17] {
    let database = ["serve", "--listen", "127.0.0.1:0", "--database-url", url, "--database-connections", "4"];
    // Refusals make the lines of these tests.
    let refusals = ["--max-refusals-per-ip", "1000000"];
    let rest = ["--jwt-secret", SECRET, "--diff-interval", "20ms", "--flush-interval", "20m", "--node", "one"];
    std::array::from_fn(|index| database.iter().chain(&refusals).chain(&rest).nth(index).copied().expect("an argument"))
}

impl Stage {
    async fn with_log(log: impl Into<Stdio>) -> Self {
        let database = TestDatabase::new().await;
        let mut command = lastseen(&arguments(&database.url()));
        command.stderr(log);
        let server = Process::start(command).await;
        let session = server.rest.open().await;
        let ada = Client::join(server.address, session.id, &Join::invite(&session.invite, "Ada")).await;
        Self { database, server, session, ada }
    }

    /// Logs so many lines, and is served as ever: refusals have their codes, a leave is a leave, beats are answered.
    async fn is_undisturbed(&mut self, lines: usize) {
        let Self { server, session, ada, .. } = self;
        let unknown = Join::invite("lsi_0123456789abcdefghijklmnopqrstuv", "Mallory");
        for _ in 0..lines {
            let ended = Client::refused(server.address, &session.id.to_string(), &unknown).await;
            assert_eq!(ended.code, 4504);
        }
        let bob = Client::join(server.address, session.id, &Join::invite(&session.invite, "Bob")).await;
        let id = bob.id();
        ada.sees(&[ada.id(), id]).await;
        assert_eq!(bob.leave().await.code, 1000);
        ada.sees(&[ada.id()]).await;
        assert_eq!(ada.told_of(id).last(), Some(&("leave", json!("left"))));
        ada.send(json!({"type": "beat", "ref": 7})).await;
        assert_eq!(ada.frame("beat").await["ref"], 7);
        server.rest.get("/healthz", None).await.expect(200);
    }

    /// A stop in good order: everybody is asked to come back, and the last flush is written.
    async fn stops_in_good_order(self) {
        let Self { database, server, mut ada, .. } = self;
        ada.send(json!({"type": "update", "state": {"page": 7}})).await;
        ada.catch_up().await;
        server.signal(Signal::SIGTERM);
        assert_eq!(ada.ended().await.code, 1012);
        assert_eq!(server.finished().await.status.code(), Some(0));
        let row = person(&database.pool, ada.id()).await;
        assert_eq!((row.is_active, row.state), (true, json!({"page": 7})));
    }
}

#[tokio::test]
async fn a_reader_of_the_log_that_stalls_stalls_nothing_else() {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let mut stage = Stage::with_log(writer).await;
    stage.is_undisturbed(MANY).await;
    stage.stops_in_good_order().await;
    // It was full, or the lines would have fitted.
    let mut read = Vec::new();
    reader.read_to_end(&mut read).expect("what the pipe held");
    assert!(read.len() >= 32 * 1024, "{} bytes", read.len());
}

#[tokio::test]
async fn a_reader_of_the_log_that_is_gone_takes_nothing_with_it_and_lost_lines_are_counted() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut stage = Stage::with_log(writer).await;
    stage.is_undisturbed(FEW).await;
    assert!(stage.server.rest.metric("lastseen_log_dropped_lines_total").await >= FEW as f64);
    stage.stops_in_good_order().await;
}

#[cfg(target_os = "linux")]
fn full_disk() -> std::fs::File {
    std::fs::File::options().write(true).open("/dev/full").expect("a device that is always full")
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_under_the_log_fills_nothing_but_the_count_of_lost_lines() {
    let mut stage = Stage::with_log(full_disk()).await;
    stage.is_undisturbed(FEW).await;
    assert!(stage.server.rest.metric("lastseen_log_dropped_lines_total").await >= FEW as f64);
    stage.stops_in_good_order().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn standard_output_that_cannot_be_written_is_an_error_and_stops_no_server() {
    let mut command = lastseen(&["token", "--role", "service_role", "--jwt-secret", SECRET]);
    let child = command.stdout(full_disk()).spawn().expect("it starts");
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").expect("its output");
    let complaint = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(complaint.starts_with("lastseen: standard output cannot be written"), "{complaint}");

    let database = TestDatabase::new().await;
    let mut command = lastseen(&arguments(&database.url()));
    let mut child = command.stdout(full_disk()).spawn().expect("it starts");
    let mut log = BufReader::new(child.stderr.take().expect("its log")).lines();
    let address = loop {
        let line = timeout(PATIENCE, log.next_line()).await.expect("it listens in time").expect("its log");
        let line: Value = serde_json::from_str(&line.expect("a line before the end")).expect("JSON");
        if let Some(address) = line["address"].as_str() {
            break address.parse().expect("an address");
        }
    };
    Rest::new(address).get("/healthz", None).await.expect(200);
    kill(Pid::from_raw(child.id().expect("it runs").cast_signed()), Signal::SIGTERM).expect("signalled");
    assert_eq!(timeout(PATIENCE, child.wait()).await.expect("it ends").expect("its status").code(), Some(0));
}

/// Three people in one session and one in another, whom the last flush writes; the log.
async fn log_of_a_flush(filter: &str) -> ([uuid::Uuid; 2], String) {
    let database = TestDatabase::new().await;
    let url = database.url();
    let server = Process::start(lastseen(&[&arguments(&url)[..], &["--log", filter]].concat())).await;
    let (full, lonely) = (server.rest.open().await, server.rest.open().await);
    let mut people = Vec::new();
    for (session, name) in [(&full, "Ada"), (&full, "Bob"), (&full, "Cid"), (&lonely, "Dan")] {
        let mut person = Client::join(server.address, session.id, &Join::invite(&session.invite, name)).await;
        person.send(json!({"type": "update", "state": {"page": 7}})).await;
        person.catch_up().await;
        people.push(person);
    }
    server.signal(Signal::SIGTERM);
    let finished = server.finished().await;
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    ([full.id, lonely.id], finished.stderr)
}

#[tokio::test]
async fn at_debug_level_a_flush_has_a_line_for_each_session_and_else_none() {
    let ([full, lonely], log) = log_of_a_flush("lastseen=debug").await;
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for (session, people, message) in [
        (full, 3, format!("3 people of session {full} written")),
        (lonely, 1, format!("1 person of session {lonely} written")),
    ] {
        let told: Vec<_> = lines.iter().filter(|line| line["message"] == message.as_str()).collect();
        assert_eq!(told.len(), 1, "{log}");
        assert_eq!((&told[0]["session"], &told[0]["people"]), (&json!(session), &json!(people)));
        assert_eq!(told[0]["level"], "DEBUG");
    }
    let (_, log) = log_of_a_flush("info").await;
    assert!(!log.contains(" of session "), "{log}");
}
