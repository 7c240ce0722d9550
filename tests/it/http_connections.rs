//! Connections that carry plain HTTP: how long they may take for what, and that those that take it long keep nobody out.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::raw::Raw;
use crate::harness::rest::service;
use crate::harness::{Client, Join, TestServer, eventually, pass, quiet};

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: lastseen\r\n\r\n";

/// One WebSocket of an address, and so many connections with plain HTTP as are let in at least.
const ONE_OF_AN_ADDRESS: [&str; 2] = ["--max-connections-per-ip", "1"];
const PLACES: usize = 64;

async fn asked(server: &TestServer) -> Raw {
    let mut connection = Raw::connect(server.address()).await;
    ask(&mut connection).await;
    connection
}

async fn ask(connection: &mut Raw) {
    connection.send(HEALTH).await;
    let head = connection.head().await;
    assert!(head.contains("HTTP/1.1 200 "), "{head}");
}

/// Asks for more than the buffers between us hold, and reads none of it.
async fn stuck(server: &TestServer) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let mut stream = socket.connect(server.address()).await.expect("connected");
    let requests = "GET /static/admin/admin.css HTTP/1.1\r\nHost: lastseen\r\n\r\n".repeat(200);
    // Where there is no place, the server may hang up before it has read all of it.
    let _ = stream.write_all(requests.as_bytes()).await;
    // Until a request is read, the connection gives way to the next one.
    let _ = stream.read_u8().await;
    stream
}

#[tokio::test]
async fn a_connection_is_kept_for_longer_than_proxies_keep_theirs() {
    let server = TestServer::start(&[]).await;
    let mut connection = asked(&server).await;
    for _ in 0..3 {
        pass(Duration::from_secs(70)).await;
        ask(&mut connection).await;
    }
    pass(Duration::from_secs(80)).await;
    connection.end().await;
}

#[tokio::test]
async fn the_head_of_a_second_request_has_no_more_time_than_that_of_the_first() {
    let server = TestServer::start(&[]).await;
    let mut connection = asked(&server).await;
    // A byte whenever 100 ms have passed: 20 s for all, where 5 s are given.
    let head = format!("GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(170));
    connection.end_while_dribbling(head.as_bytes(), Duration::from_millis(100)).await;
}

#[tokio::test]
async fn connections_that_wait_give_way_to_new_ones() {
    let server = TestServer::start(&ONE_OF_AN_ADDRESS).await;
    let mut first = asked(&server).await;
    let mut others = Vec::new();
    for _ in 1..PLACES {
        others.push(asked(&server).await);
    }
    // It has waited longest, and then no longer.
    ask(&mut first).await;
    let _newest = asked(&server).await;
    others[0].end().await;
    ask(&mut first).await;
    ask(&mut others[1]).await;
    // Those that never ask for anything keep nobody out.
    let mut silent = Vec::new();
    for _ in 0..3 * PLACES {
        silent.push(Raw::connect(server.address()).await);
    }
    server.get("/", None).await.expect(200);
    assert_eq!(silent[0].end().await, "");
}

#[tokio::test]
async fn an_address_that_takes_no_answers_uses_up_its_places_and_no_others() {
    let flags = [&ONE_OF_AN_ADDRESS[..], &["--write-timeout", "10m", "--max-connections", "100"]].concat();
    let server = TestServer::start(&flags).await;
    let mut connections = Vec::new();
    for _ in 0..PLACES {
        connections.push(stuck(&server).await);
    }
    let answer = eventually("all places with an answer that is not taken", async || {
        // Our own question takes the place of one that was not read yet.
        connections.push(stuck(&server).await);
        Some(server.get("/", None).await).filter(|answer| answer.status != 200)
    })
    .await;
    assert!(answer.headers.contains_key("retry-after"));
    answer.refused(429, "rate_limited");
    for path in ["/healthz", "/readyz", "/metrics"] {
        server.get(path, None).await.expect(200);
    }
    // Others that are too many neither ask nor go.
    let mut silent = Vec::new();
    for _ in 0..2 * PLACES {
        silent.push(Raw::connect(server.address()).await);
    }
    server.get("/healthz", None).await.expect(200);
    assert!(server.metric("lastseen_refusals_total{code=\"rate_limited\"}").await >= 1.0);

    drop(connections);
    eventually("free places", async || (server.get("/", None).await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn an_answer_that_is_not_taken_is_given_up() {
    let flags = [&ONE_OF_AN_ADDRESS[..], &["--write-timeout", "300ms"]].concat();
    let server = TestServer::start(&flags).await;
    let mut connections = Vec::new();
    for _ in 0..PLACES {
        connections.push(stuck(&server).await);
    }
    // One of them is ours that asks.
    eventually("all of them cut", async || (server.metric("lastseen_http_connections").await <= 1.0).then_some(()))
        .await;
    server.get("/", None).await.expect(200);
    drop(connections);
}

#[tokio::test]
async fn sockets_and_streams_are_not_counted_as_plain_http() {
    let server = TestServer::start(&quiet(&[])).await;
    let session = server.open().await;
    let mut ada = Client::join(server.address(), session.id, &Join::invite(&session.invite, "Ada")).await;
    let mut stream = Raw::connect(server.address()).await;
    let request = format!(
        "GET /v1/reading-sessions/{}/events HTTP/1.1\r\nHost: lastseen\r\nAuthorization: Bearer {}\r\n\r\n",
        session.id,
        service()
    );
    stream.send(request.as_bytes()).await;
    let head = stream.head().await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("text/event-stream"), "{head}");
    eventually("nobody but us who ask", async || {
        (server.metric("lastseen_http_connections").await == 1.0).then_some(())
    })
    .await;
    assert_eq!(server.metric("lastseen_connections").await, 1.0);
    assert_eq!(server.metric("lastseen_sse_connections").await, 1.0);
    // Neither is a request that is waited for.
    pass(Duration::from_secs(90)).await;
    ada.send(json!({"type": "beat", "ref": 7})).await;
    assert_eq!(ada.frame("beat").await["ref"], 7);
    assert_eq!(server.metric("lastseen_sse_connections").await, 1.0);
}
