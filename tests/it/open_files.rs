//! The limit of open files: raised at the start, and never hit: a server that is full says so.

use nix::sys::signal::Signal;
use serde_json::json;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error;

use crate::harness::cluster::TestDatabase;
use crate::harness::process::{Process, limited};
use crate::harness::raw::Raw;
use crate::harness::rest::service;
use crate::harness::server::SECRET;
use crate::harness::{Client, Join, PATIENCE, eventually};

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: lastseen\r\n\r\n";

/// A server with these limits.
async fn serve(database: &TestDatabase, ulimits: &[&str], more: &[&str]) -> Process {
    // A test holds the other ends.
    lastseen::open_files::raise().expect("a limit");
    let url = database.url();
    let base = ["serve", "--listen", "127.0.0.1:0", "--database-url", &url, "--jwt-secret", SECRET];
    let flags = ["--database-connections", "4"];
    Process::start(limited(ulimits, &[&base[..], &flags, more].concat())).await
}

#[tokio::test]
async fn a_low_soft_limit_is_raised() {
    let database = TestDatabase::new().await;
    let server = serve(&database, &["-S -n 200"], &[]).await;
    let mut held = Vec::new();
    for _ in 0..300 {
        let mut connection = Raw::connect(server.address).await;
        connection.send(HEALTH).await;
        assert!(connection.head().await.starts_with("HTTP/1.1 200 "));
        held.push(connection);
    }
}

#[tokio::test]
async fn a_server_whose_files_are_used_up_says_that_it_is_full_and_how_it_is() {
    let database = TestDatabase::new().await;
    let server = serve(&database, &["-n 256"], &["--max-connections", "1000"]).await;
    let session = server.rest.open().await;
    let (id, way) = (session.id.to_string(), Join::token(&service()));
    let mut held = Vec::new();
    let refused = loop {
        match Client::connect(server.address, &id, &way).await {
            Ok(client) => held.push(client),
            Err(refused) => break refused,
        }
        assert!(held.len() < 256, "more than there are files");
    };
    assert!(matches!(refused, Error::Http(response) if response.status() == 503));
    assert!(held.len() > 50, "{} fitted", held.len());
    let answer = server.rest.handshake(&id, &way).await;
    assert!(answer.headers.contains_key("retry-after"));
    answer.refused(503, "at_capacity");
    for path in ["/healthz", "/readyz", "/metrics"] {
        server.rest.get(path, None).await.expect(200);
    }
    // Those who say nothing take no place from those who ask.
    let mut silent = Vec::new();
    for _ in 0..150 {
        silent.push(Raw::connect(server.address).await);
    }
    server.rest.get("/healthz", None).await.expect(200);
    server.rest.get(&format!("/v1/reading-sessions/{id}"), Some(&service())).await.expect(200);
    assert_eq!(silent[0].end().await, "", "the first to have said nothing gave way");

    // Those who are in are served as ever, and there is room again where one goes.
    held[0].send(json!({"type": "beat", "ref": 7})).await;
    assert_eq!(held[0].frame("beat").await["ref"], 7);
    held.pop().expect("one of them").close().await;
    eventually("room for another", async || Client::connect(server.address, &id, &way).await.ok()).await;

    drop((held, silent));
    server.signal(Signal::SIGTERM);
    let log = server.finished().await.stderr;
    assert!(log.contains("does not fit into the limit of open files"), "{log}");
    assert!(!log.contains("accepting a connection failed"), "{log}");
}

#[tokio::test]
async fn only_a_number_that_was_set_is_missed() {
    let database = TestDatabase::new().await;
    let server = serve(&database, &["-n 256"], &[]).await;
    server.rest.get("/healthz", None).await.expect(200);
    server.signal(Signal::SIGTERM);
    let log = server.finished().await.stderr;
    assert!(!log.contains("limit of open files"), "{log}");
}

#[tokio::test]
async fn a_limit_that_is_too_low_for_any_server_ends_the_start_with_what_helps() {
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--database-url", "postgres://nobody@127.0.0.1:1/none"];
    let output = limited(&["-n 100"], &arguments).output();
    let output = timeout(PATIENCE, output).await.expect("it ends").expect("it starts");
    let complaint = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    let line = complaint.lines().last().expect("a line");
    assert!(line.starts_with("lastseen: the limit of open files is 100") && line.contains("LimitNOFILE"), "{line}");
}
