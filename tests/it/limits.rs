//! Limits: sizes, rates and numbers, each with its own answer, and the
//! others not touched.

use std::time::Duration;

use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Error, Message};
use uuid::Uuid;

use crate::harness::client::Step;
use crate::harness::raw::{CONTINUATION, FIN, PONG, Raw, TEXT, frame};
use crate::harness::rest::{Answer, Opened, service, user};
use crate::harness::{Client, Join, TestServer, eventually};

async fn joined(server: &TestServer, open: &Opened, name: &str) -> Client {
    Client::join(server.address(), open.id, &Join::invite(&open.invite, name)).await
}

/// Behind a proxy that names the address of its client.
fn forwarded(open: &Opened, hops: &str) -> Join {
    Join { headers: vec![("x-forwarded-for", hops.to_owned())], ..Join::invite(&open.invite, "Ada") }
}

/// A time to come back that a client can use, in whole seconds.
#[track_caller]
fn assert_retry_after(answer: &Answer) {
    let seconds = answer.headers["retry-after"].to_str().expect("text").parse::<u64>().expect("whole seconds");
    assert!((1..=60).contains(&seconds), "{seconds}");
}

/// A beat of so many bytes.
fn beat_of(bytes: usize) -> String {
    let frame = |filler: &str| json!({"type": "beat", "ref": 1, "x": filler}).to_string();
    frame(&"x".repeat(bytes - frame("").len()))
}

async fn send_text(client: &mut Client, text: impl Into<String>) {
    client.socket.send(Message::text(text.into())).await.expect("sent");
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_its_connection_alone() {
    let server = TestServer::start(&["--grace", "10m"]).await;
    let open = server.open().await;
    let mut ada = joined(&server, &open, "Ada").await;
    send_text(&mut ada, beat_of(8192)).await;
    assert_eq!(ada.frame("beat").await["ref"], 1, "8 KiB are fine");
    // Above the server's own limit, and above what the library takes.
    for bytes in [8193, 60_000, 65_537, 1_000_000] {
        let mut bob = joined(&server, &open, "Bob").await;
        // The server may close before it has read all of it.
        let _ = bob.socket.send(Message::text(beat_of(bytes))).await;
        assert_eq!(bob.ended().await.code, 1009, "{bytes} bytes");
        let id = bob.id();
        ada.until("Bob lost", |ada| ada.view.get(&id).is_some_and(|bob| bob["status"] == "reconnecting")).await;
    }
    ada.catch_up().await;
    assert_eq!(ada.gaps, []);
}

#[tokio::test]
async fn the_size_of_messages_is_a_setting() {
    let server = TestServer::start(&["--max-message-bytes", "200"]).await;
    let open = server.open().await;
    let mut ada = joined(&server, &open, "Ada").await;
    send_text(&mut ada, beat_of(200)).await;
    assert_eq!(ada.frame("beat").await["ref"], 1);
    send_text(&mut ada, beat_of(201)).await;
    assert_eq!(ada.ended().await.code, 1009);
}

#[tokio::test]
async fn somebody_who_sends_too_much_is_told_once_and_then_sent_away() {
    let server = TestServer::start(&["--grace", "10m"]).await;
    let open = server.open().await;
    let (mut ada, mut bob) = (joined(&server, &open, "Ada").await, joined(&server, &open, "Bob").await);
    ada.sees(&[ada.id(), bob.id()]).await;
    bob.sees(&[ada.id(), bob.id()]).await;
    // A burst of 20 is fine, of which one frame said that the welcome was read; of these some are too many, and not so
    // many that it ends yet.
    let beat = |reference| Message::text(json!({"type": "beat", "ref": reference, "active": false}).to_string());
    ada.send_at_once((0..39).map(beat)).await;
    let told = ada.frame("error").await;
    assert_eq!((&told["code"], &told["retry"]), (&json!("rate_limited"), &json!(true)));
    assert!(told["retry_after_ms"].as_u64().is_some_and(|wait| (1..=60_000).contains(&wait)), "{told}");
    // What Bob does now is after all that, and Ada is still sent it.
    bob.send(json!({"type": "update", "state": {"page": 1}})).await;
    let id = bob.id();
    ada.until("Bob's page", |ada| ada.view[&id]["state"]["page"] == 1).await;
    let errors = |client: &Client| client.heard.iter().filter(|frame| frame["type"] == "error").count();
    let beats = ada.heard.iter().filter(|frame| frame["type"] == "beat").count();
    assert_eq!(errors(&ada), 1, "sent once");
    assert!((19..39).contains(&beats), "{beats} were answered");

    // It goes on: closed, with the reason before it.
    for _ in 0..200 {
        if ada.socket.send(Message::text(r#"{"type":"sync"}"#)).await.is_err() {
            break;
        }
    }
    let ended = ada.ended().await;
    assert_eq!((ended.code, &ended.error["code"]), (4029, &json!("rate_limited")));
    assert!(ended.error["retry_after_ms"].is_u64());
    assert_eq!(errors(&ada), 2, "and once more as the reason of the close");
    // Bob saw Ada lose the connection, and is served as ever.
    let id = ada.id();
    bob.until("Ada lost", |bob| bob.view[&id]["status"] == "reconnecting").await;
    bob.catch_up().await;
    assert_eq!((errors(&bob), bob.gaps), (0, vec![]));
}

#[tokio::test]
async fn pings_are_frames_too() {
    let server = TestServer::start(&["--grace", "10m"]).await;
    let open = server.open().await;
    let mut ada = joined(&server, &open, "Ada").await;
    ada.send_at_once((0..40).map(|_| Message::Ping(b"x".as_slice().into()))).await;
    assert_eq!(ada.frame("error").await["code"], "rate_limited", "sent before it ends");
    for _ in 0..200 {
        if ada.socket.send(Message::Ping(b"x".as_slice().into())).await.is_err() {
            break;
        }
    }
    assert_eq!(ada.ended().await.code, 4029);
}

#[tokio::test]
async fn a_server_holds_no_more_connections_than_it_may() {
    let server = TestServer::start(&["--max-connections", "2"]).await;
    let open = server.open().await;
    let ada = joined(&server, &open, "Ada").await;
    let mut bob = joined(&server, &open, "Bob").await;
    let cleo = Join::invite(&open.invite, "Cleo");
    let error = Client::connect(server.address(), &open.id.to_string(), &cleo).await.err().expect("no upgrade");
    assert!(matches!(error, Error::Http(response) if response.status() == 503));
    let answer = server.handshake(&open.id.to_string(), &cleo).await;
    assert_retry_after(&answer);
    answer.refused(503, "at_capacity");
    // Other requests are served.
    server.get("/healthz", None).await.expect(200);
    bob.sees(&[ada.id(), bob.id()]).await;

    ada.close().await;
    eventually("a free connection", async || Client::try_connect(&server, &open, &cleo).await).await;
}

#[tokio::test]
async fn one_address_holds_no_more_connections_than_it_may() {
    let server = TestServer::start(&["--max-connections-per-ip", "2"]).await;
    let open = server.open().await;
    let ada = joined(&server, &open, "Ada").await;
    let _bob = joined(&server, &open, "Bob").await;
    // A header that any client can write does not change its address.
    for way in [Join::invite(&open.invite, "Cleo"), forwarded(&open, "203.0.113.1")] {
        let answer = server.handshake(&open.id.to_string(), &way).await;
        assert_retry_after(&answer);
        answer.refused(429, "rate_limited");
    }
    ada.close().await;
    let cleo = Join::invite(&open.invite, "Cleo");
    eventually("a free connection", async || Client::try_connect(&server, &open, &cleo).await).await;
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_forwarded_address_is_counted() {
    let flags = ["--max-connections-per-ip", "1", "--trusted-proxies", "127.0.0.0/8", "--max-sessions-per-minute", "1"];
    let server = TestServer::start(&flags).await;
    let open = server.open_as(Some(&service()), json!({})).await;
    let _one = Client::join(server.address(), open.id, &forwarded(&open, "203.0.113.1")).await;
    let _two = Client::join(server.address(), open.id, &forwarded(&open, "203.0.113.2")).await;
    // Whatever a client puts before what the proxy wrote.
    for hops in ["203.0.113.1", "6.6.6.6, 203.0.113.1", "203.0.113.1, 127.0.0.9", "203.0.113.2"] {
        server.handshake(&open.id.to_string(), &forwarded(&open, hops)).await.refused(429, "rate_limited");
    }
    // Of IPv6 a /64 is one address, and an IPv4 address in IPv6 form is that IPv4 address.
    let _three = Client::join(server.address(), open.id, &forwarded(&open, "6.6.6.6, 2001:db8::1")).await;
    for hops in ["2001:db8::2", "2001:db8::ffff:ffff:ffff:ffff", "::ffff:203.0.113.1"] {
        server.handshake(&open.id.to_string(), &forwarded(&open, hops)).await.refused(429, "rate_limited");
    }
    let _four = Client::join(server.address(), open.id, &forwarded(&open, "2001:db8:0:1::1")).await;

    // The sessions that are opened are counted in the same way.
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let opened = async |address: &str| {
        let request = http.post(format!("http://{}/v1/reading-sessions", server.address()));
        let request = request.bearer_auth(user(Uuid::now_v7(), "Una")).header("x-forwarded-for", address);
        request.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(
        [opened("203.0.113.1").await, opened("::ffff:203.0.113.1").await, opened("203.0.113.2").await],
        [201, 429, 201]
    );
    assert_eq!(
        [opened("2001:db8::1").await, opened("2001:db8::2").await, opened("2001:db8:0:1::1").await],
        [201, 429, 201]
    );
}

#[tokio::test]
async fn an_address_opens_no_more_sessions_a_minute_than_it_may() {
    let server = TestServer::start(&["--max-sessions-per-minute", "1"]).await;
    // A request that cannot be used is not counted.
    server.post("/v1/reading-sessions", None, json!({"title": ""})).await.refused(422, "invalid_request");
    server.open().await;
    for token in [None, Some(user(Uuid::now_v7(), "Una"))] {
        let answer = server.post("/v1/reading-sessions", token.as_deref(), json!({})).await;
        assert_retry_after(&answer);
        answer.refused(429, "rate_limited");
    }
    // The service is not limited.
    for _ in 0..3 {
        server.open_as(Some(&service()), json!({})).await;
    }
    let sessions = server.get("/v1/reading-sessions", Some(&service())).await.expect(200);
    assert_eq!(sessions["items"].as_array().map(Vec::len), Some(4), "those that were refused were not made");
}

#[tokio::test]
async fn an_address_does_not_come_in_faster_than_it_may() {
    // Four strangers, and two more handshakes of people who are known.
    let flags = ["--max-handshakes-per-minute", "22", "--trusted-proxies", "127.0.0.0/8", "--guest-hosts"];
    let server = TestServer::start(&flags).await;
    let open = server.open_as(Some(&service()), json!({})).await;
    let refused = async |way: &Join| {
        let answer = server.handshake(&open.id.to_string(), way).await;
        let is_refused = answer.status == 429;
        if is_refused {
            assert_retry_after(&answer);
            answer.refused(429, "rate_limited");
        }
        is_refused
    };
    let ada = Client::join(server.address(), open.id, &forwarded(&open, "203.0.113.1")).await;
    let bogus = Join { headers: forwarded(&open, "203.0.113.1").headers, ..Join::invite("lsi_bogus", "Eve") };
    let mut guesses = 0;
    while !refused(&bogus).await {
        guesses += 1;
        assert!(guesses < 1000, "guessing goes on for ever");
    }
    assert!(guesses >= 3, "{guesses}");
    assert!(refused(&forwarded(&open, "203.0.113.1")).await, "a good link makes no difference");
    // Whoever has a token may still come, and go on looking, for a while.
    let back = Join { headers: bogus.headers.clone(), ..Join::resume(&ada.resume_token()) };
    let again = Client::join(server.address(), open.id, &back).await;
    assert_eq!(again.id(), ada.id());
    let mut looks = 0;
    let headers = [("x-forwarded-for", "203.0.113.1")];
    let look = format!("/v1/invites/{}", open.invite);
    let last = loop {
        let answer = server.raw(reqwest::Method::GET, &look, &headers, "").await;
        if answer.status != 200 {
            break answer;
        }
        looks += 1;
        assert!(looks < 1000, "looking goes on for ever");
    };
    assert!(looks >= 1);
    assert_retry_after(&last);
    last.refused(429, "rate_limited");
    // Others are not touched.
    let bob = Client::join(server.address(), open.id, &forwarded(&open, "203.0.113.2")).await;
    assert_eq!(bob.welcome["occupancy"], 2);
}

#[tokio::test]
async fn a_user_does_not_write_faster_than_it_may() {
    let server = TestServer::start(&["--max-writes-per-minute", "3"]).await;
    let open = server.open_as(Some(&service()), json!({})).await;
    let (una, uri) = (user(Uuid::now_v7(), "Una"), user(Uuid::now_v7(), "Uri"));
    let sit = async |token: &str| server.post("/v1/sits", Some(token), json!({"sit_length_seconds": 60})).await;
    let mut made = 0;
    let last = loop {
        let answer = sit(&una).await;
        if answer.status != 201 {
            break answer;
        }
        made += 1;
        assert!(made < 1000, "writing goes on for ever");
    };
    assert!(made >= 3, "{made}");
    assert_retry_after(&last);
    last.refused(429, "rate_limited");
    // It may still read and join; only the row of its device is not made.
    let sits = server.get("/v1/sits", Some(&una)).await.expect(200);
    assert_eq!(sits["items"].as_array().map(Vec::len), Some(made));
    let way = Join {
        token: Some(una),
        more: "platform=web&client_session=tab".to_owned(),
        ..Join::invite(&open.invite, "Una")
    };
    let mut joined = Client::join(server.address(), open.id, &way).await;
    let error = joined.frame("error").await;
    assert_eq!((&error["code"], &error["retry"]), (&json!("rate_limited"), &json!(true)));
    joined.catch_up().await;
    // Another user is not touched, and the service not limited.
    sit(&uri).await.expect(201);
    for _ in 0..10 {
        server.open_as(Some(&service()), json!({})).await;
    }
}

#[tokio::test]
async fn pongs_that_answer_nothing_and_empty_fragments_are_frames_too() {
    let server = TestServer::start(&["--grace", "10m"]).await;
    let open = server.open().await;
    let mut watcher = joined(&server, &open, "Ada").await;
    let pongs = frame(FIN | PONG, b"unasked").repeat(60);
    let fragments = [frame(TEXT, b""), frame(CONTINUATION, b"").repeat(60)].concat();
    for bytes in [pongs, fragments] {
        let mut raw = Raw::join(server.address(), open.id, &open.invite, "Mallory").await;
        raw.try_send(&bytes).await;
        assert_eq!(raw.close_code().await, 4029);
        let id = raw.id();
        watcher.until("Mallory lost", |ada| ada.view.get(&id).is_some_and(|it| it["status"] == "reconnecting")).await;
    }
    // A message in parts is a message.
    let mut parts = Raw::join(server.address(), open.id, &open.invite, "Bob").await;
    let beat = br#"{"type":"beat","ref":7}"#;
    let [start, middle, end] = [&beat[..8], &beat[8..16], &beat[16..]];
    for (first, part) in [(TEXT, start), (CONTINUATION, middle), (FIN | CONTINUATION, end)] {
        parts.send(&frame(first, part)).await;
    }
    assert_eq!(parts.json_of("beat").await["ref"], 7);
}

#[tokio::test]
async fn a_state_has_at_most_two_kib() {
    let server = TestServer::start(&[]).await;
    let open = server.open().await;
    let (mut ada, mut bob) = (joined(&server, &open, "Ada").await, joined(&server, &open, "Bob").await);
    let state = |bytes: usize| json!({"a": "x".repeat(bytes - json!({"a": ""}).to_string().len())});
    ada.send(json!({"type": "update", "ref": 1, "state": state(2048)})).await;
    let id = ada.id();
    bob.until("the state", |bob| bob.view.get(&id).is_some_and(|ada| ada["state"] == state(2048))).await;
    ada.send(json!({"type": "update", "ref": 2, "state": state(2049)})).await;
    let error = ada.frame("error").await;
    assert_eq!((&error["code"], &error["ref"], &error["retry"]), (&json!("bad_frame"), &json!(2), &json!(false)));
    // Bob is sent the next one, and not the one that was refused.
    ada.send(json!({"type": "update", "ref": 3, "state": {}})).await;
    bob.until("the next state", |bob| bob.view[&id]["state"] == json!({})).await;
    let large = bob.heard.iter().filter_map(|frame| frame["updates"].as_array()).flatten();
    assert!(large.map(|person| &person["state"]).all(|shown| *shown == state(2048) || *shown == json!({})));
}

#[tokio::test]
async fn the_fifth_frame_that_cannot_be_understood_is_the_last() {
    let server = TestServer::start(&["--grace", "10m"]).await;
    let open = server.open().await;
    let (mut ada, mut bob) = (joined(&server, &open, "Ada").await, joined(&server, &open, "Bob").await);
    let frames = [
        ("hello", Value::Null),
        (r#"["beat"]"#, Value::Null),
        (r#"{"type":"beat","ref":7,"active":"yes"}"#, json!(7)),
        (r#"{"type":"update","ref":8}"#, json!(8)),
        (r#"{"ref":9}"#, Value::Null),
    ];
    for (frame, reference) in &frames[..4] {
        send_text(&mut ada, *frame).await;
        // Good frames in between do no harm, and do not make good either.
        ada.send(json!({"type": "dance", "with": "anybody"})).await;
        let error = ada.frame("error").await;
        assert_eq!((&error["code"], &error["ref"], &error["retry"]), (&json!("bad_frame"), reference, &json!(false)));
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()));
        ada.catch_up().await;
    }
    send_text(&mut ada, frames[4].0).await;
    let ended = ada.ended().await;
    assert_eq!((ended.code, &ended.error["code"]), (4500, &json!("bad_frame")));
    let id = ada.id();
    bob.until("Ada lost", |bob| bob.view.get(&id).is_some_and(|ada| ada["status"] == "reconnecting")).await;
    bob.catch_up().await;
    assert_eq!(bob.gaps, []);
}

#[tokio::test]
async fn frames_of_types_that_nobody_knows_are_ignored() {
    let server = TestServer::start(&[]).await;
    let open = server.open().await;
    let mut ada = joined(&server, &open, "Ada").await;
    ada.sees(&[ada.id()]).await;
    for frame in [
        json!({"type": "dance"}),
        json!({"type": ""}),
        json!({"type": "Beat", "ref": "x"}),
        json!({"type": "welcome", "seq": -1}),
    ] {
        ada.send(frame).await;
    }
    // Known frames may hold what a later version made up.
    ada.send(json!({"type": "beat", "ref": 5, "mood": "fine", "active": null})).await;
    assert_eq!(ada.frame("beat").await["ref"], 5);
    assert!(ada.heard.iter().all(|frame| frame["type"] != "error"), "{:?}", ada.heard);
}

#[tokio::test]
async fn a_binary_message_ends_its_connection() {
    let server = TestServer::start(&[]).await;
    let open = server.open().await;
    let mut ada = joined(&server, &open, "Ada").await;
    ada.socket.send(Message::binary(br#"{"type":"beat"}"#.as_slice())).await.expect("sent");
    let ended = ada.ended().await;
    assert_eq!((ended.code, ended.error), (1003, Value::Null));
}

#[tokio::test]
async fn somebody_who_takes_no_data_is_cut_off() {
    let server = TestServer::start(&["--write-timeout", "300ms", "--grace", "10m"]).await;
    let open = server.open().await;
    // Much to send: each answer to `sync` holds the states of all.
    let mut others = Vec::new();
    for index in 0..20 {
        let mut client = joined(&server, &open, &format!("Person {index}")).await;
        client.send(json!({"type": "update", "state": {"a": "x".repeat(2000)}})).await;
        others.push(client);
    }
    let watcher = &mut others[0];
    watcher
        .until("all states", |watcher| {
            watcher.view.len() == 20 && watcher.view.values().all(|person| person["state"]["a"].is_string())
        })
        .await;
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let stream = socket.connect(server.address()).await.expect("a connection");
    let way = Join::invite(&open.invite, "Stuck");
    let request = way.request(server.address(), &open.id.to_string());
    let (mut stuck, _) = tokio_tungstenite::client_async(request, stream).await.expect("an upgrade");
    for _ in 0..18 {
        stuck.send(Message::text(r#"{"type":"sync"}"#)).await.expect("sent");
    }
    eventually("the end of the stuck connection", async || {
        (server.metric("lastseen_connection_ends_total{reason=\"slow_consumer\"}").await == 1.0).then_some(())
    })
    .await;
    let is_stuck = |person: &Value| person["name"] == "Stuck" && person["status"] == "reconnecting";
    watcher.until("the stuck one lost", |watcher| watcher.view.values().any(is_stuck)).await;
    watcher.catch_up().await;
    assert_eq!(watcher.gaps, []);
}

#[tokio::test]
async fn a_connection_that_asks_for_nothing_is_closed() {
    let server = TestServer::start(&[]).await;
    let mut silent = Raw::connect(server.address()).await;
    let mut dribbling = Raw::connect(server.address()).await;
    let mut halfway = Raw::connect(server.address()).await;
    let head = format!(
        "GET /v1/reading-sessions/{}/ws HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
        Uuid::now_v7(),
        "x".repeat(10_000)
    );
    halfway.send(&head.as_bytes()[..100]).await;
    // A byte whenever 50 ms have passed, which they do as fast as the server can follow: well within the time that it
    // gives between two bytes, and on for much longer than it gives for all of them.
    let (silence, dribble, half) = tokio::join!(
        silent.end(),
        dribbling.end_while_dribbling(head.as_bytes(), Duration::from_millis(50)),
        halfway.end(),
    );
    for answer in [silence, dribble, half] {
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer:?}");
    }
    server.get("/healthz", None).await.expect(200);
}

impl Client {
    /// Connected and welcomed, or `None` where there is no upgrade.
    async fn try_connect(server: &TestServer, open: &Opened, way: &Join) -> Option<Self> {
        let mut client = Self::connect(server.address(), &open.id.to_string(), way).await.ok()?;
        match client.step().await {
            Step::Frame(frame) if frame["type"] == "welcome" => Some(client),
            step => panic!("{step:?}"),
        }
    }
}
