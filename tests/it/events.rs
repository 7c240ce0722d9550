//! The events of a room as Server-Sent Events, for its participants; a subscriber is not shown as present.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::harness::rest::{Opened, did, keys, seconds_from_now, service, sign, user};
use crate::harness::rows::execute;
use crate::harness::{Client, Join, PATIENCE, TestServer, client::id, eventually, pass, quiet};

/// One event of a stream.
#[derive(Clone, Debug, Default)]
struct Event {
    kind: String,
    id: Option<String>,
    retry: Option<u64>,
    data: Value,
}

/// A stream as an `EventSource` reads it.
struct Reader {
    response: reqwest::Response,
    text: String,
    comments: usize,
    /// Every event so far.
    heard: Vec<Event>,
}

fn path(session: &Opened) -> String {
    format!("/v1/reading-sessions/{}/events", session.id)
}

impl Reader {
    async fn open(server: &TestServer, session: &Opened, token: &str, headers: &[(&str, &str)]) -> Self {
        Self::at(server, &path(session), token, headers).await
    }

    async fn at(server: &TestServer, path: &str, token: &str, headers: &[(&str, &str)]) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let mut request = http.get(format!("http://{}{path}", server.address())).bearer_auth(token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let deadline = Instant::now() + PATIENCE;
        let response = loop {
            let response = request.try_clone().expect("no body").send().await.expect("an answer");
            // As clients do: on a busy machine a database may not answer in time.
            if response.status() != StatusCode::SERVICE_UNAVAILABLE || Instant::now() >= deadline {
                break response;
            }
            sleep(Duration::from_millis(100)).await;
        };
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new(), comments: 0, heard: Vec::new() }
    }

    /// Begins, and gives the welcome.
    async fn welcomed(server: &TestServer, session: &Opened, token: &str) -> (Self, Event) {
        let mut reader = Self::open(server, session, token, &[]).await;
        let welcome = reader.next().await.expect("a welcome");
        assert_eq!(welcome.kind, "welcome");
        (reader, welcome)
    }

    /// The next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                if let Some(event) = self.read(&block) {
                    self.heard.push(event.clone());
                    return Some(event);
                }
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await.expect("waited in vain for an event");
            self.text.push_str(std::str::from_utf8(&chunk.ok()??).expect("text"));
        }
    }

    fn read(&mut self, block: &str) -> Option<Event> {
        let mut event = Event::default();
        let mut is_event = false;
        for line in block.lines() {
            match line.split_once(':').map(|(field, value)| (field, value.trim_start())) {
                Some(("", _)) => self.comments += 1,
                Some(("event", kind)) => kind.clone_into(&mut event.kind),
                Some(("id", id)) => event.id = Some(id.to_owned()),
                Some(("retry", retry)) => event.retry = retry.parse().ok(),
                Some(("data", data)) => {
                    is_event = true;
                    event.data = serde_json::from_str(data).expect("JSON");
                }
                _ => {}
            }
        }
        // Some readers take an empty line without data before it for an event.
        assert!(is_event, "an empty line that ends nothing: {block:?}");
        if is_event {
            let named = if event.kind == "refusal" { "error" } else { &event.kind };
            assert_eq!(event.data["type"], named, "an event is named after its frame");
            let seq = event.data["seq"].as_u64().map(|seq| seq.to_string());
            assert_eq!(event.id, seq, "the id is the seq, where there is one");
        }
        is_event.then_some(event)
    }

    /// The next event of this type.
    async fn event(&mut self, kind: &str) -> Event {
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("ended instead of {kind}"));
            if event.kind == kind {
                return event;
            }
        }
    }

    /// Reads until an event of this type was received, which may have been before.
    async fn until(&mut self, kind: &str) -> Event {
        match self.heard.iter().find(|event| event.kind == kind) {
            Some(event) => event.clone(),
            None => self.event(kind).await,
        }
    }

    /// Reads until a diff names this person as gone.
    async fn left(&mut self, person: Uuid) -> Event {
        loop {
            let diff = self.event("diff").await;
            if diff.data["leaves"].as_array().expect("a list").iter().any(|leave| id(&leave["id"]) == person) {
                return diff;
            }
        }
    }

    /// Reads to the end: the error that must stand there last.
    async fn ended(mut self) -> Event {
        let mut last = None;
        while let Some(event) = self.next().await {
            last = Some(event);
        }
        let last = last.expect("an event before the end");
        assert_eq!(last.kind, "refusal", "{last:?}");
        last
    }
}

async fn nobody_reads(server: &TestServer) {
    eventually("no stream", async || {
        let figures = [server.metric("lastseen_sse_connections").await, server.metric("lastseen_connections").await];
        (figures == [0.0, 0.0]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn whoever_reads_along_hears_what_an_observer_hears_and_is_not_there() {
    let server = TestServer::start(&quiet(&[])).await;
    let hana = Uuid::now_v7();
    let session = server.open_as(Some(&user(hana, "Hana")), json!({"title": "Emma"})).await;
    let mut host = Client::join(server.address(), session.id, &Join::token(&user(hana, "Hana"))).await;
    server.settled(&session, &mut [&mut host]).await;
    let (mut reader, welcome) = Reader::welcomed(&server, &session, &user(hana, "Hana")).await;
    let wanted = [
        "type",
        "seq",
        "you",
        "session",
        "occupancy",
        "participants",
        "beat_ms",
        "dead_after_ms",
        "grace_ms",
        "server_time",
    ];
    assert_eq!(keys(&welcome.data), wanted.into());
    assert_eq!((&welcome.data["you"], &welcome.data["session"]["title"]), (&Value::Null, &json!("Emma")));
    assert_eq!(welcome.data["occupancy"], 1);
    assert_eq!(welcome.data["participants"][0]["connections"], 1, "reading along is no connection of the person");

    let mut gus = server.guest(&session, "Gus").await;
    let diff = reader.event("diff").await;
    assert_eq!(id(&diff.data["joins"][0]["id"]), gus.id());
    gus.send(json!({"type": "update", "state": {"page": 7}})).await;
    assert_eq!(reader.event("diff").await.data["updates"][0]["state"], json!({"page": 7}));
    let path = format!("/v1/reading-sessions/{}", session.id);
    server.patch(&path, Some(&service()), json!({"title": "Persuasion"})).await.expect(200);
    assert_eq!(reader.event("session").await.data["session"]["title"], "Persuasion");
    host.send(json!({"type": "sit", "action": "start", "sit_length_seconds": 1})).await;
    let sit = reader.event("sit").await;
    assert_eq!(keys(&sit.data), ["type", "id", "started_at", "ends_at"].into());
    assert_eq!(reader.event("sit").await.data, json!({"type": "sit", "id": sit.data["id"], "completed": true}));
    host.send(json!({"type": "sit", "action": "start", "sit_length_seconds": 600})).await;
    let sit = reader.event("sit").await;
    let (mut late, _) = Reader::welcomed(&server, &session, &service()).await;
    assert_eq!(late.next().await.expect("an event").data, sit.data, "right after the welcome");
    assert_eq!(server.metric("lastseen_sse_connections").await, 2.0);
    assert_eq!((server.metric("lastseen_connections").await, server.metric("lastseen_observers").await), (2.0, 0.0));
    let stats = server.participants(session.id).await;
    assert_eq!(stats["occupancy"], 2);

    // A reconnect begins with the state of now, whatever was received last.
    let gus_id = gus.id();
    gus.close().await;
    let left = reader.left(gus_id).await;
    assert_eq!(left.data["leaves"][0]["reason"], "left");
    for last in ["0", left.id.as_deref().expect("an id"), "99999", "no number"] {
        let mut back = Reader::open(&server, &session, &service(), &[("last-event-id", last)]).await;
        let state = back.next().await.expect("an event");
        assert_eq!((state.kind.as_str(), &state.data["seq"]), ("state", &left.data["seq"]));
        assert_eq!(state.data["participants"].as_array().expect("a list").len(), 1);
    }
    drop((reader, late));
    host.close().await;
    nobody_reads(&server).await;
    eventually("no room", async || (server.metric("lastseen_rooms").await == 0.0).then_some(())).await;
}

#[tokio::test]
async fn large_rooms_are_told_as_counts_and_the_end_is_announced() {
    let flags =
        ["--detail-limit", "2", "--idle-counts", "activity", "--idle-timeout", "1h", "--expiring-notice", "59m59s"];
    let server = TestServer::start(&quiet(&flags)).await;
    let session = server.open().await;
    let _ada = server.guest(&session, "Ada").await;
    let (mut reader, _) = Reader::welcomed(&server, &session, &service()).await;
    let bob = server.guest(&session, "Bob").await;
    let cyd = server.guest(&session, "Cyd").await;
    assert_eq!(reader.event("occupancy").await.data["occupancy"], 3);
    cyd.close().await;
    assert_eq!(reader.event("occupancy").await.data["occupancy"], 2);
    bob.close().await;
    assert_eq!(reader.event("state").await.data["participants"].as_array().expect("a list").len(), 1);
    // On a slow machine it was sent before the state.
    assert!(reader.until("expiring").await.data["minutes"].is_u64());
}

#[tokio::test]
async fn whoever_reads_in_an_empty_room_is_told_that_the_session_expires() {
    let server = TestServer::start(&quiet(&["--ping-interval", "2h", "--dead-after", "5h"])).await;
    let session = server.open().await;
    let (mut reader, _) = Reader::welcomed(&server, &session, &service()).await;
    pass(Duration::from_secs(55 * 60 + 1)).await;
    let notice = reader.event("expiring").await.data;
    assert_eq!(notice["minutes"], 5);
    // Also whoever begins to read now, or comes back: right after the first event.
    for headers in [&[][..], &[("last-event-id", "0")]] {
        let mut late = Reader::open(&server, &session, &service(), headers).await;
        late.next().await.expect("an event");
        assert_eq!(late.next().await.expect("an event").data["expires_at"], notice["expires_at"], "{headers:?}");
    }
    // Somebody comes: it is taken back, and nobody is told anything of it any more.
    let _ada = server.guest(&session, "Ada").await;
    assert_eq!(reader.next().await.expect("an event").data["joins"].as_array().expect("a list").len(), 1);
    let (mut late, _) = Reader::welcomed(&server, &session, &service()).await;
    let _bob = server.guest(&session, "Bob").await;
    assert_eq!(late.next().await.expect("an event").kind, "diff");
}

#[tokio::test]
async fn only_people_of_the_session_read_along() {
    let server = TestServer::start(&quiet(&[])).await;
    let [hana, mel] = [(); 2].map(|()| Uuid::now_v7());
    let session = server.open_as(Some(&user(hana, "Hana")), json!({})).await;
    let gus = server.guest(&session, "Gus").await;
    // Also a host that was never connected.
    for token in [user(hana, "Hana"), gus.resume_token(), service()] {
        Reader::welcomed(&server, &session, &token).await;
    }
    server.get(&path(&session), None).await.refused(401, "unauthenticated");
    server.get(&path(&session), Some(&user(mel, "Mel"))).await.refused(404, "session_not_found");
    let elsewhere = server.open().await;
    server.get(&path(&elsewhere), Some(&gus.resume_token())).await.refused(403, "forbidden");
    server.get("/v1/reading-sessions/none/events", Some(&service())).await.refused(404, "session_not_found");
    for query in ["platform=pager", "client_session="] {
        server.get(&format!("{}?{query}", path(&session)), Some(&service())).await.refused(422, "invalid_request");
    }
    let tracked = format!("{}?platform=web&client_session=tab-1&x=1", path(&session));
    drop(
        reqwest::Client::new().get(format!("http://{}{tracked}", server.address())).bearer_auth(service()).send().await,
    );
    server.close(session.id).await.expect(200);
    for token in [user(hana, "Hana"), gus.resume_token(), service()] {
        server.get(&path(&session), Some(&token)).await.refused(410, "session_closed");
    }
    nobody_reads(&server).await;
}

#[tokio::test]
async fn a_stream_ends_with_its_reason() {
    let server = TestServer::start(&quiet(&[])).await;
    let [hana, mel] = [(); 2].map(|()| Uuid::now_v7());
    let session = server.open_as(Some(&user(hana, "Hana")), json!({})).await;
    let join = Join { invite: Some(session.invite.clone()), ..Join::token(&user(mel, "Mel")) };
    let as_mel = Client::join(server.address(), session.id, &join).await;
    let gus = server.guest(&session, "Gus").await;
    let remove = async |person: Uuid| {
        let path = format!("/v1/reading-sessions/{}/participants/{person}", session.id);
        server.delete(&path, Some(&service())).await.expect(204);
    };

    // Removed while being there, and while only reading.
    let (of_gus, _) = Reader::welcomed(&server, &session, &gus.resume_token()).await;
    let (of_mel, _) = Reader::welcomed(&server, &session, &user(mel, "Mel")).await;
    let (gus_id, mel_id, gus_token) = (gus.id(), as_mel.id(), gus.resume_token());
    as_mel.close().await;
    remove(gus_id).await;
    let end = of_gus.ended().await;
    assert_eq!((&end.data["code"], &end.data["retry"]), (&json!("removed"), &json!(false)));
    remove(mel_id).await;
    assert_eq!(of_mel.ended().await.data["code"], "removed");
    server.get(&path(&session), Some(&gus_token)).await.refused(403, "removed");
    server.get(&path(&session), Some(&user(mel, "Mel"))).await.refused(404, "session_not_found");

    // The JWT expires.
    let expires_in = |seconds| sign(&json!({"sub": hana, "role": "authenticated", "exp": seconds_from_now(seconds)}));
    let (of_hana, _) = Reader::welcomed(&server, &session, &expires_in(600)).await;
    let of_service = sign(&json!({"role": "service_role", "exp": seconds_from_now(600)}));
    let (of_service, _) = Reader::welcomed(&server, &session, &of_service).await;
    pass(Duration::from_mins(11)).await;
    for reader in [of_hana, of_service] {
        let end = reader.ended().await;
        assert_eq!((&end.data["code"], &end.data["retry"]), (&json!("token_expired"), &json!(true)));
    }
    server.get(&path(&session), Some(&expires_in(-60))).await.refused(401, "token_expired");

    // Closed.
    let (of_hana, _) = Reader::welcomed(&server, &session, &user(hana, "Hana")).await;
    server.close(session.id).await.expect(200);
    let end = of_hana.ended().await;
    assert_eq!(
        (&end.data["code"], &end.data["reason"], &end.data["retry"]),
        (&json!("session_closed"), &json!("admin"), &json!(false))
    );
    nobody_reads(&server).await;
}

#[tokio::test]
async fn a_server_that_stops_asks_readers_to_come_back() {
    let server = TestServer::start(&quiet(&[])).await;
    let session = server.open().await;
    let mut readers = Vec::new();
    for _ in 0..8 {
        readers.push(Reader::welcomed(&server, &session, &service()).await.0);
    }
    let stopping = tokio::spawn(server.stop());
    let mut waits = BTreeSet::new();
    for reader in readers {
        let end = reader.ended().await;
        assert_eq!((&end.data["code"], &end.data["retry"]), (&json!("draining"), &json!(true)));
        waits.insert(end.retry.expect("a time to come back"));
    }
    assert!(waits.len() > 1, "not all at once");
    timeout(PATIENCE, stopping).await.expect("a stop").expect("a database");
}

#[tokio::test]
async fn a_session_that_is_only_read_is_not_seen_and_ends() {
    let server = TestServer::start(&quiet(&["--sweep-interval", "1h"])).await;
    let session = server.open().await;
    let (reader, _) = Reader::welcomed(&server, &session, &service()).await;
    server.age(session.id, 7200.0).await;
    assert_eq!(did(&server.sweep().await), json!({"closed": 1}));
    assert_eq!(reader.ended().await.data["reason"], "idle");
}

#[tokio::test]
async fn silence_is_filled_and_what_happened_behind_the_servers_back_is_found() {
    let server = TestServer::start(&["--ping-interval", "50ms"]).await;
    let (closed, left) = (server.open().await, server.open().await);
    let gus = server.guest(&left, "Gus").await;
    let (of_closed, _) = Reader::welcomed(&server, &closed, &service()).await;
    let (mut of_gus, _) = Reader::welcomed(&server, &left, &gus.resume_token()).await;
    let gus_id = gus.id();
    gus.close().await;
    of_gus.left(gus_id).await;
    let pool = &server.database.pool;
    execute(pool, "SELECT lastseen.close_session($1, 'host')", closed.id).await;
    let end = of_closed.ended().await;
    assert_eq!((&end.data["code"], &end.data["reason"]), (&json!("session_closed"), &json!("host")));
    execute(
        pool,
        "UPDATE session_participants SET left_at = now(), leave_reason = 'removed', is_active = false WHERE id = $1",
        gus_id,
    )
    .await;
    let mut last = None;
    while let Some(event) = of_gus.next().await {
        last = Some(event);
    }
    assert_eq!(last.expect("an event").data["code"], "removed");
    assert!(of_gus.comments > 0, "comments keep proxies from closing the connection");
}

#[tokio::test]
async fn readers_are_counted_like_connections() {
    let server = TestServer::start(&quiet(&["--max-connections-per-ip", "1"])).await;
    let session = server.open().await;
    let (reader, _) = Reader::welcomed(&server, &session, &service()).await;
    server.get(&path(&session), Some(&service())).await.refused(429, "rate_limited");
    drop(reader);
    nobody_reads(&server).await;
    Reader::welcomed(&server, &session, &service()).await;
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_cut() {
    let server = TestServer::start(&quiet(&["--write-timeout", "300ms", "--grace", "10m"])).await;
    let session = server.open().await;
    let mut others = Vec::new();
    for index in 0..20 {
        others.push(server.guest(&session, &format!("Person {index}")).await);
    }
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let mut stuck = socket.connect(server.address()).await.expect("a connection");
    let request = format!("GET {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n", path(&session), service());
    stuck.write_all(request.as_bytes()).await.expect("sent");
    eventually("a reader", async || (server.metric("lastseen_sse_connections").await == 1.0).then_some(())).await;

    // Each round is some 40 KiB to send.
    for round in 0..18 {
        for client in &mut others {
            client.send(json!({"type": "update", "state": {"round": round, "a": "x".repeat(2000)}})).await;
        }
        for client in &mut others {
            client
                .until("the round", |client| client.view.values().all(|person| person["state"]["round"] == round))
                .await;
        }
    }
    eventually("the end of the stuck reader", async || {
        (server.metric("lastseen_sse_connections").await == 0.0).then_some(())
    })
    .await;
    // And its connection, with all that was queued for it.
    let mut taken = Vec::new();
    let _ = timeout(PATIENCE, stuck.read_to_end(&mut taken)).await.expect("the end of the connection");
    assert!(taken.len() < 1024 * 1024 && !taken.ends_with(b"0\r\n\r\n"), "cut, and not closed in good order");
    assert_eq!(server.metric("lastseen_connections").await, 20.0);
}

#[tokio::test]
async fn a_stream_is_counted_in_the_user_session_that_it_names() {
    let server = TestServer::start(&["--ping-interval", "50ms"]).await;
    let [hana, mel] = [(); 2].map(|()| Uuid::now_v7());
    let session = server.open_as(Some(&user(hana, "Hana")), json!({})).await;
    let tracked = format!("{}?platform=web&client_session=tab-1", path(&session));
    let mut reader = Reader::at(&server, &tracked, &user(hana, "Hana"), &[]).await;
    assert_eq!(reader.event("welcome").await.data["occupancy"], 0);
    let row = async || server.get("/v1/user-sessions/tab-1", Some(&user(hana, "Hana"))).await.expect(200);
    eventually("a stream that is counted", async || (row().await["sse_connections"] == 1).then_some(())).await;
    let first = row().await;
    assert_eq!((&first["frontend_connections"], &first["activity_count"]), (&json!(0), &json!(0)));
    // What is taken is a heartbeat, and no activity. A reader that is read keeps taking.
    let reading = tokio::spawn(async move { while reader.next().await.is_some() {} });
    eventually("a heartbeat", async || {
        (row().await["last_heartbeat_at"].as_str() > first["last_heartbeat_at"].as_str()).then_some(())
    })
    .await;
    assert_eq!(row().await["last_activity_at"], first["last_activity_at"]);
    reading.abort();
    eventually("no stream", async || (row().await["sse_connections"] == 0).then_some(())).await;

    // The user session of another user does not keep a stream from being opened.
    let join = Join { invite: Some(session.invite.clone()), ..Join::token(&user(mel, "Mel")) };
    let as_mel = Client::join(server.address(), session.id, &join).await;
    let mut reader = Reader::at(&server, &tracked, &user(mel, "Mel"), &[]).await;
    assert_eq!(reader.event("refusal").await.data["code"], "session_id_taken");
    let mel_id = as_mel.id();
    as_mel.close().await;
    reader.left(mel_id).await;
}
