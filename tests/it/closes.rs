//! Closes, from both sides: what of them is leaving, what a proxy sends in a client's name, what the server says of a
//! broken rule, and what the log has of them.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use uuid::Uuid;

use crate::harness::cluster::TestDatabase;
use crate::harness::process::Process;
use crate::harness::raw::{BINARY, CLOSE, CONTINUATION, FIN, Raw, TEXT, frame, unmasked};
use crate::harness::rest::user;
use crate::harness::server::SECRET;
use crate::harness::{Client, Join, TestServer, pass, quiet};

#[tokio::test]
async fn a_close_that_a_proxy_sends_is_going_away_whatever_its_code() {
    let server = TestServer::start(&quiet(&["--grace", "30s"])).await;
    let open = server.open().await;
    let mut ada = Client::join(server.address(), open.id, &Join::invite(&open.invite, "Ada")).await;
    // As Caddy 2.6 sends it at a reload; and with a code by which a client would leave, and without one.
    for payload in [&1001_u16.to_be_bytes()[..], &1000_u16.to_be_bytes(), b""] {
        let mut raw = Raw::join(server.address(), open.id, &open.invite, "Bob").await;
        let id = raw.id();
        raw.send(&unmasked(FIN | CLOSE, payload)).await;
        let answer = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
        assert_eq!(raw.closed().await, (answer, String::new()));
        ada.until("Bob lost", |ada| ada.view.get(&id).is_some_and(|bob| bob["status"] == "reconnecting")).await;
    }
    assert_eq!(server.metric("lastseen_connection_ends_total{reason=\"closed\"}").await, 3.0);
    assert_eq!(server.metric("lastseen_connection_ends_total{reason=\"protocol_error\"}").await, 0.0);
    // Nobody comes back.
    pass(Duration::from_secs(31)).await;
    ada.sees(&[ada.id()]).await;
}

#[tokio::test]
async fn a_broken_rule_is_closed_with_what_was_wrong() {
    let server = TestServer::start(&quiet(&["--max-message-bytes", "4096"])).await;
    let open = server.open().await;
    let broken = async |bytes: &[u8]| {
        let mut raw = Raw::join(server.address(), open.id, &open.invite, "Mallory").await;
        raw.send(bytes).await;
        raw.closed().await
    };
    let large = frame(FIN | TEXT, &[b' '; 5000]);
    for (bytes, code, reason) in [
        (frame(FIN | BINARY, b"{}"), 1003, "binary_message: frames are JSON in text messages"),
        (frame(FIN | TEXT, b"\xff"), 1007, "invalid_utf8: texts and reasons are UTF-8"),
        (large.clone(), 1009, "message_too_large: over 4096 bytes"),
        (unmasked(FIN | TEXT, b"{}"), 1002, "protocol_error: a frame of a client is not masked"),
        (frame(FIN | CONTINUATION, b"{}"), 1002, "protocol_error: a fragment without a first one"),
        (frame(FIN | 0x40 | TEXT, b"{}"), 1002, "protocol_error: a frame is compressed, or has reserved bits"),
        (frame(FIN | CLOSE, &1005_u16.to_be_bytes()), 1002, "protocol_error: a Close with a code that may not be sent"),
    ] {
        assert_eq!(broken(&bytes).await, (code, reason.to_owned()));
    }
    // Where a token may be longer, the limit of all other frames is named.
    let token = user(Uuid::now_v7(), "Una");
    let way = Join { token: Some(token), ..Join::invite(&open.invite, "Una") };
    let mut una = Client::join(server.address(), open.id, &way).await;
    una.socket.send(Message::text(" ".repeat(5000))).await.expect("sent");
    let closed = loop {
        match una.socket.next().await {
            Some(Ok(Message::Close(close))) => break close.expect("a code"),
            Some(Ok(_)) => {}
            end => panic!("{end:?}"),
        }
    };
    assert_eq!((u16::from(closed.code), closed.reason.as_str()), (1009, "message_too_large: over 4096 bytes"));
}

/// The log lines of connections that ended, of a server on which these Closes were sent.
async fn logged(closes: &[Option<(u16, &str)>]) -> Vec<Value> {
    let database = TestDatabase::new().await;
    let server = Process::serve(&["--database-url", &database.url(), "--jwt-secret", SECRET, "--node", "one"]).await;
    let open = server.rest.open().await;
    for close in closes {
        let mut client = Client::join(server.address, open.id, &Join::invite(&open.invite, "Ada")).await;
        let close = close.map(|(code, reason)| CloseFrame { code: code.into(), reason: reason.into() });
        client.socket.send(Message::Close(close)).await.expect("sent");
        client.ended().await;
    }
    server.signal(Signal::SIGTERM);
    let log = server.finished().await.stderr;
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == "connection ended").collect()
}

#[tokio::test]
async fn the_log_has_the_code_and_the_reason_of_a_client() {
    let token = "lsr_0123456789abcdef";
    let told = format!("resume {token} failed");
    let lines = logged(&[
        Some((1001, "")),
        Some((4000, "watch\u{1b}[2Jdog\n{\"level\":\"ERROR\"}")),
        Some((3001, &told)),
        Some((1000, "done")),
        None,
    ])
    .await;
    let shown: Vec<_> =
        lines.iter().map(|line| json!([line["reason"], line["close_code"], line["close_reason"]])).collect();
    assert_eq!(
        shown,
        [
            json!(["closed", 1001, null]),
            json!(["closed", 4000, "watch\u{1b}[2Jdog\n{\"level\":\"ERROR\"}"]),
            json!(["closed", 3001, "resume [token] failed"]),
            json!(["left", 1000, "done"]),
            json!(["left", 1005, null]),
        ]
    );
}
