//! What a stream of events is as an answer of HTTP: what its headers say to proxies, when its client comes back, and how
//! long one counts whose host takes nothing any more.

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::harness::raw::Raw;
use crate::harness::rest::{Opened, service};
use crate::harness::{PATIENCE, TestServer, eventually, quiet};

fn request(session: &Opened) -> String {
    format!(
        "GET /v1/reading-sessions/{}/events HTTP/1.1\r\nHost: lastseen\r\nAuthorization: Bearer {}\r\n\r\n",
        session.id,
        service()
    )
}

/// A reader with a small buffer, that reads nothing.
async fn frozen(server: &TestServer, session: &Opened) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let mut stream = socket.connect(server.address()).await.expect("a connection");
    stream.write_all(request(session).as_bytes()).await.expect("sent");
    stream
}

/// The values of all lines `retry`.
fn retries(text: &str) -> Vec<u64> {
    text.lines().filter_map(|line| line.strip_prefix("retry: ")?.parse().ok()).collect()
}

#[tokio::test]
async fn proxies_are_asked_to_hold_nothing_back() {
    let server = TestServer::start(&quiet(&[])).await;
    let session = server.open().await;
    let mut reader = Raw::connect(server.address()).await;
    reader.send(request(&session).as_bytes()).await;
    let head = reader.head().await.to_ascii_lowercase();
    for line in [
        "content-type: text/event-stream\r\n",
        "cache-control: no-cache, no-transform\r\n",
        "content-encoding: identity\r\n",
        "x-accel-buffering: no\r\n",
    ] {
        assert!(head.contains(line), "{line} is missing: {head}");
    }
}

#[tokio::test]
async fn a_reader_comes_back_after_one_to_six_seconds_however_its_stream_ends() {
    let server = TestServer::start(&quiet(&[])).await;
    let session = server.open().await;
    let mut readers = Vec::new();
    for _ in 0..8 {
        let mut reader = Raw::connect(server.address()).await;
        reader.send(request(&session).as_bytes()).await;
        reader.head().await;
        readers.push(reader);
    }
    eventually("all streams", async || (server.metric("lastseen_sse_connections").await == 8.0).then_some(())).await;
    let stopping = tokio::spawn(server.stop());
    for mut reader in readers {
        let text = reader.end().await;
        // At the beginning, for a stream that is lost, and at the end.
        let waits = retries(&text);
        assert_eq!(waits.len(), 2, "{text}");
        assert!(waits.iter().all(|wait| (1000..=6000).contains(wait)), "{waits:?}");
        let end = text.split("event: refusal\n").nth(1).unwrap_or_else(|| panic!("no refusal in {text}"));
        assert!(end.contains(&format!("\"retry_after_ms\":{}", waits[1])), "{end}");
    }
    timeout(PATIENCE, stopping).await.expect("a stop").expect("a database");
}

/// What it is sent fits into the kernel's buffer of the server, which waits for a quarter of an hour by itself.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_reader_whose_host_takes_nothing_counts_no_longer_than_the_write_timeout() {
    let server = TestServer::start(&quiet(&["--write-timeout", "300ms"])).await;
    let session = server.open().await;
    let mut people = Vec::new();
    for index in 0..10 {
        let mut client = server.guest(&session, &format!("Person {index}")).await;
        client.send(json!({"type": "update", "state": {"a": "x".repeat(1500)}})).await;
        people.push(client);
    }
    server.settled(&session, &mut people.iter_mut().collect::<Vec<_>>()).await;
    // One whose host takes all goes on, although nothing more is sent for longer than that.
    let mut reader = Raw::connect(server.address()).await;
    reader.send(request(&session).as_bytes()).await;
    reader.head().await;
    let _frozen = frozen(&server, &session).await;
    eventually("both", async || (server.metric("lastseen_sse_connections").await == 2.0).then_some(())).await;
    eventually("one", async || (server.metric("lastseen_sse_connections").await == 1.0).then_some(())).await;
    assert_eq!(server.metric("lastseen_connections").await, 10.0);
    people[0].send(json!({"type": "update", "state": {"page": 7}})).await;
    reader.until("\"page\":7").await;
}
