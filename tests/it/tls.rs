//! TLS without a proxy: HTTP, WebSockets and streams of events over it, certificates that change, and clients that do not
//! come so far.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::process::run;
use crate::harness::raw::{FIN, Raw, TEXT, frame};
use crate::harness::rest::{Opened, service};
use crate::harness::tls::{Files, Issued, connect, issue, shake};
use crate::harness::{TestServer, eventually, pass, quiet};

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Connections with plain HTTP that an address may have at least.
const PLACES: usize = 64;

/// A server with this certificate.
async fn server(files: &Files, flags: &[&str]) -> TestServer {
    TestServer::start(&quiet(&[&files.flags()[..], flags].concat())).await
}

async fn asked(server: &TestServer, trusted: &Issued) -> Raw {
    let mut raw = Raw::over(connect(server.address(), trusted).await.expect("a handshake"));
    raw.send(HEALTH).await;
    let head = raw.head().await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    raw
}

async fn joined(server: &TestServer, session: &Opened, trusted: &Issued, name: &str) -> Raw {
    let mut raw = Raw::over(connect(server.address(), trusted).await.expect("a handshake"));
    raw.upgrade("localhost", session.id, &session.invite, name, b"").await;
    raw.welcome = raw.json().await;
    raw
}

async fn say(raw: &mut Raw, value: Value) {
    raw.send(&frame(FIN | TEXT, value.to_string().as_bytes())).await;
}

#[tokio::test]
async fn calls_sockets_and_streams_are_served_over_tls() {
    let issued = issue(2090);
    let files = Files::of(&issued);
    let server = server(&files, &[]).await;
    let session = server.open().await;
    let link = session.body["invite"]["url"].as_str().expect("a link");
    assert!(link.starts_with(&format!("https://{}/join/", server.address())), "{link}");

    let mut stream = Raw::over(connect(server.address(), &issued).await.expect("a handshake"));
    let request = format!(
        "GET /v1/reading-sessions/{}/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        session.id,
        service()
    );
    stream.send(request.as_bytes()).await;
    stream.until("event: welcome").await;

    // Frames that come with the handshake, one after the other, and in many pieces.
    let beat = |reference: u32| frame(FIN | TEXT, json!({"type": "beat", "ref": reference}).to_string().as_bytes());
    let mut ada = Raw::over(connect(server.address(), &issued).await.expect("a handshake"));
    ada.upgrade("localhost", session.id, &session.invite, "Ada", &beat(1)).await;
    assert_eq!(ada.json().await["type"], "welcome");
    assert_eq!(ada.json_of("beat").await["ref"], 1);
    let mut bob = joined(&server, &session, &issued, "Bob").await;
    for reference in 2..10 {
        for byte in beat(reference) {
            ada.send(&[byte]).await;
        }
        assert_eq!(ada.json_of("beat").await["ref"], reference);
    }
    // Several in one record, and more than the server reads at once.
    let many: Vec<u8> = (10..14).flat_map(beat).collect();
    let long = frame(FIN | TEXT, json!({"type": "update", "state": {"a": "x".repeat(2000)}}).to_string().as_bytes());
    ada.send(&[many, long].concat()).await;
    for reference in 10..14 {
        assert_eq!(ada.json_of("beat").await["ref"], reference);
    }
    stream.until(&"x".repeat(2000)).await;
    loop {
        let diff = bob.json_of("diff").await;
        if diff["updates"][0]["state"]["a"] == "x".repeat(2000) {
            break;
        }
    }
    assert_eq!(server.metric("lastseen_connections").await, 2.0);
    assert_eq!(server.metric("lastseen_sse_connections").await, 1.0);
    // Whoever leaves gets the close, and then the end of the stream.
    say(&mut ada, json!({"type": "leave"})).await;
    assert_eq!(ada.close_code().await, 1000);
    eventually("Bob alone", async || (server.metric("lastseen_connections").await == 1.0).then_some(())).await;
    drop((bob, stream));
    eventually("nobody", async || (server.metric("lastseen_connections").await == 0.0).then_some(())).await;
    eventually("no stream", async || (server.metric("lastseen_sse_connections").await == 0.0).then_some(())).await;
}

#[tokio::test]
async fn only_http_1_is_agreed_on() {
    let issued = issue(2090);
    let files = Files::of(&issued);
    let server = server(&files, &[]).await;
    let tcp = async || TcpStream::connect(server.address()).await.expect("a connection");
    let both = shake(tcp().await, &issued, &["h2", "http/1.1"]).await.expect("a handshake");
    assert_eq!(both.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert!(shake(tcp().await, &issued, &["h2"]).await.is_err());
    shake(tcp().await, &issued, &[]).await.expect("a handshake");
}

/// A session whose list of people is some 40 KiB.
async fn large_session(server: &TestServer, trusted: &Issued) -> Opened {
    let session = server.open().await;
    for index in 0..20 {
        let mut person = joined(server, &session, trusted, &format!("Person{index}")).await;
        say(&mut person, json!({"type": "update", "state": {"a": "x".repeat(2000)}})).await;
        person.json_of("diff").await;
    }
    eventually("the states of all", async || {
        let people = server.participants(session.id).await["items"].clone();
        let people = people.as_array().expect("a list").clone();
        people.iter().all(|person| person["state"]["a"].is_string()).then_some(())
    })
    .await;
    session
}

/// Asks for the list of people more often than all buffers in between hold, and reads nothing of it. One question after
/// the other: those that wait for an answer get one.
async fn asks_for_much(server: &TestServer, session: &Opened, trusted: &Issued) -> Raw {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let tcp = socket.connect(server.address()).await.expect("a connection");
    let mut raw = Raw::over(shake(tcp, trusted, &[]).await.expect("a handshake"));
    raw.upgrade("localhost", session.id, &session.invite, "Late", b"").await;
    let sync = frame(FIN | TEXT, br#"{"type":"sync"}"#);
    for _ in 0..15 {
        // Where it was cut already, that is what one of the tests waits for.
        raw.try_send(&sync).await;
        server.get("/healthz", None).await.expect(200);
    }
    raw
}

#[tokio::test]
async fn a_client_that_reads_late_gets_whole_frames() {
    let issued = issue(2090);
    let files = Files::of(&issued);
    let server = server(&files, &["--grace", "10m", "--write-timeout", "10m"]).await;
    let session = large_session(&server, &issued).await;
    let mut late = asks_for_much(&server, &session, &issued).await;
    assert!(late.json_of("state").await["participants"].is_array());
    say(&mut late, json!({"type": "beat", "ref": 99})).await;
    assert_eq!(late.json_of("beat").await["ref"], 99);
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut() {
    let issued = issue(2090);
    let files = Files::of(&issued);
    let server = server(&files, &["--grace", "10m", "--write-timeout", "300ms"]).await;
    let session = large_session(&server, &issued).await;
    let mut never = asks_for_much(&server, &session, &issued).await;
    eventually("its end", async || {
        let ends = server.metric("lastseen_connection_ends_total{reason=\"slow_consumer\"}").await;
        (ends == 1.0).then_some(())
    })
    .await;
    never.end().await;
}

#[tokio::test]
async fn a_new_certificate_is_taken_without_an_end_of_connections_and_a_broken_one_is_not() {
    let (first, second) = (issue(2090), issue(2091));
    let files = Files::of(&first);
    let server = server(&files, &[]).await;
    let session = server.open().await;
    let mut ada = joined(&server, &session, &first, "Ada").await;
    let expires = "lastseen_tls_certificate_expires_seconds";
    let metric = async |trusted: &Issued, name: &str| {
        let mut raw = Raw::over(connect(server.address(), trusted).await.ok()?);
        raw.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
        let text = raw.end().await;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<f64>().ok())
    };
    // The ends of these years begin at this second of Unix time.
    let ends = |year: i32| f64::from(year - 1970) * 365.2425 * 86_400.0;
    let near = |is: f64, year: i32| (is - ends(year + 1)).abs() < 3.0 * 86_400.0;
    assert!(near(metric(&first, expires).await.expect("a figure"), 2090));
    assert!(connect(server.address(), &second).await.is_err());

    // The key of another certificate, half a file, none at all.
    let failures = "lastseen_tls_reload_failures_total";
    let mut failed = 0.0;
    for (cert, key) in [(&*second.cert, &*first.key), (&second.cert[..100], &second.key), ("", "")] {
        files.write(cert, key);
        failed += 1.0;
        eventually("a certificate that is refused", async || {
            pass(Duration::from_secs(5)).await;
            (metric(&first, failures).await == Some(failed)).then_some(())
        })
        .await;
    }
    // It is said once.
    for _ in 0..3 {
        pass(Duration::from_secs(5)).await;
        asked(&server, &first).await;
    }
    assert_eq!(metric(&first, failures).await, Some(failed));

    files.write(&second.cert, &second.key);
    eventually("the new certificate", async || {
        pass(Duration::from_secs(5)).await;
        connect(server.address(), &second).await.ok()
    })
    .await;
    assert!(connect(server.address(), &first).await.is_err());
    assert!(near(metric(&second, expires).await.expect("a figure"), 2091));
    say(&mut ada, json!({"type": "beat", "ref": 7})).await;
    assert_eq!(ada.json_of("beat").await["ref"], 7, "the connection of before goes on");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_one_line_at_start() {
    let (first, second) = (issue(2090), issue(2090));
    let files = Files::of(&first);
    files.write(&first.cert, &second.key);
    let (cert, key) = (files.cert.display(), files.key.display());
    let start = async || {
        run(&[&["serve", "--listen", "127.0.0.1:0", "--data-dir", "/nonexistent"], &files.flags()[..]].concat()).await
    };
    let finished = start().await;
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
    assert_eq!(finished.complaint(), format!("tls-key {key} is not the key of the certificate in tls-cert {cert}"));
    std::fs::remove_file(&files.cert).expect("removed");
    let finished = start().await;
    assert!(finished.complaint().starts_with(&format!("tls-cert {cert} cannot be read: ")), "{}", finished.stderr);
    let alone = run(&["serve", "--tls-cert", "cert.pem"]).await;
    assert_eq!(alone.status.code(), Some(2));
    assert!(alone.stderr.contains("--tls-key"), "{}", alone.stderr);
}

#[tokio::test]
async fn whoever_speaks_no_tls_is_told_so() {
    let issued = issue(2090);
    let files = Files::of(&issued);
    let server = server(&files, &[]).await;
    let mut plain = Raw::connect(server.address()).await;
    plain.send(HEALTH).await;
    let answer = plain.end().await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https://"), "{answer}");
    let mut garbage = Raw::connect(server.address()).await;
    garbage.send(b"\x16\x03\x01\x00\x05hello").await;
    garbage.end().await;
    assert_eq!(server.metric("lastseen_tls_handshake_failures_total").await, 2.0);
}

#[tokio::test]
async fn connections_without_a_handshake_keep_nobody_out_and_do_not_stay() {
    let issued = issue(2090);
    let files = Files::of(&issued);
    let server = server(&files, &["--max-connections-per-ip", "1"]).await;
    let mut silent = Vec::new();
    for _ in 0..3 * PLACES {
        silent.push(Raw::connect(server.address()).await);
    }
    asked(&server, &issued).await;
    assert_eq!(silent[0].end().await, "", "it has waited longest");
    pass(Duration::from_secs(6)).await;
    assert_eq!(silent.last_mut().expect("one").end().await, "");
    eventually("nobody but us", async || (server.metric("lastseen_http_connections").await <= 1.0).then_some(())).await;
}

#[tokio::test]
async fn a_full_server_answers_over_tls() {
    let issued = issue(2090);
    let files = Files::of(&issued);
    let server = server(&files, &["--max-connections-per-ip", "1", "--write-timeout", "10m"]).await;
    let stuck = async || {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let mut tls = shake(socket.connect(server.address()).await.ok()?, &issued, &[]).await.ok()?;
        let requests = "GET /static/admin/admin.css HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(200);
        // Where there is no place, the server may hang up before it has read all of it.
        let _ = tls.write_all(requests.as_bytes()).await;
        // Until a request is read, the connection gives way to the next one.
        let _ = tls.read_u8().await;
        Some(tls)
    };
    let mut connections = Vec::new();
    for _ in 0..PLACES {
        connections.push(stuck().await);
    }
    let get = async |path: &str| {
        let mut raw = Raw::over(connect(server.address(), &issued).await.ok()?);
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        raw.try_send(request.as_bytes()).await.then_some(())?;
        Some(raw.end().await)
    };
    let answer = eventually("all places with an answer that is not taken", async || {
        connections.push(stuck().await);
        get("/").await.filter(|answer| answer.starts_with("HTTP/1.1 429 "))
    })
    .await;
    assert!(answer.contains("rate_limited"), "{answer}");
    // Nobody has all the time of the world there, and the machine may be busy.
    eventually("its health", async || get("/healthz").await.filter(|answer| answer.starts_with("HTTP/1.1 200 "))).await;
    drop(connections);
    eventually("free places", async || get("/").await.filter(|answer| answer.starts_with("HTTP/1.1 200 "))).await;
}
