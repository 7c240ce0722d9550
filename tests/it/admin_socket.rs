//! The figures, live: access, that they move, and the end of a subscription.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use uuid::Uuid;

use crate::harness::rest::{seconds_from_now, service, sign, user};
use crate::harness::{PATIENCE, TestServer, eventually, pass, quiet};

/// A client that receives the figures.
struct Watcher(WebSocketStream<TcpStream>);

/// What was received: a frame, or the close code at the end.
type Step = Result<Value, u16>;

impl Watcher {
    /// With these headers.
    async fn with(server: &TestServer, headers: &[(&'static str, String)]) -> Self {
        let mut request = format!("ws://{}/v1/admin/ws", server.address()).into_client_request().expect("a request");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a header"));
        }
        let stream = TcpStream::connect(server.address()).await.expect("a stream");
        Self(tokio_tungstenite::client_async(request, stream).await.expect("an upgrade").0)
    }

    async fn new(server: &TestServer, token: &str) -> Self {
        Self::with(server, &[("authorization", format!("Bearer {token}"))]).await
    }

    async fn step(&mut self) -> Step {
        timeout(PATIENCE, async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).expect("JSON")),
                    Some(Ok(Message::Close(frame))) => return Err(frame.map_or(1005, |frame| frame.code.into())),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Err(1006),
                }
            }
        })
        .await
        .expect("a message")
    }

    /// The first frame: the figures of the last hour.
    async fn history(&mut self) -> Vec<Value> {
        let mut frame = self.step().await.expect("a frame");
        assert_eq!((&frame["type"], &frame["interval_ms"]), (&json!("history"), &json!(10_000)));
        serde_json::from_value(frame["frames"].take()).expect("a list")
    }

    /// The next figures.
    async fn stats(&mut self) -> Value {
        loop {
            let frame = self.step().await.expect("a frame");
            if frame["type"] != "history" {
                assert_eq!(frame["type"], "stats");
                return frame;
            }
        }
    }

    /// Reads until the figures are so.
    async fn until(&mut self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        timeout(PATIENCE, async {
            loop {
                let stats = self.stats().await;
                if condition(&stats) {
                    return stats;
                }
            }
        })
        .await
        .unwrap_or_else(|_| panic!("waited in vain for: {what}"))
    }

    /// Reads to the end: the last error, and the close code.
    async fn ended(&mut self) -> (Value, u16) {
        let mut error = Value::Null;
        loop {
            match self.step().await {
                Ok(frame) if frame["type"] == "error" => error = frame,
                Ok(_) => {}
                Err(code) => return (error, code),
            }
        }
    }
}

#[tokio::test]
async fn only_the_service_watches() {
    let server = TestServer::start(&[]).await;
    let guest = server.guest(&server.open().await, "Ada").await.resume_token();
    let user = user(Uuid::now_v7(), "Una");
    let expired = sign(&json!({"role": "service_role", "exp": seconds_from_now(-60)}));
    for (token, code, close) in [
        ("nonsense", "unauthenticated", 4501),
        (&*expired, "token_expired", 4001),
        (&*user, "forbidden", 4503),
        (&*guest, "forbidden", 4503),
    ] {
        let (error, ended) = Watcher::new(&server, token).await.ended().await;
        assert_eq!((error["code"].as_str(), ended), (Some(code), close), "{token}");
    }
    let (error, ended) = Watcher::with(&server, &[]).await.ended().await;
    assert_eq!((&error["code"], ended), (&json!("unauthenticated"), 4501));
    server.get("/v1/admin/ws", Some(&service())).await.refused(426, "invalid_request");

    let protocol = format!("lastseen.v1, lastseen.bearer.{}", service());
    Watcher::with(&server, &[("sec-websocket-protocol", protocol)]).await.stats().await;
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused() {
    let server = TestServer::start(&[]).await;
    let mut request = format!("ws://{}/v1/admin/ws", server.address()).into_client_request().expect("a request");
    request.headers_mut().insert("origin", "https://evil.example".parse().expect("a header"));
    let stream = TcpStream::connect(server.address()).await.expect("a stream");
    assert!(tokio_tungstenite::client_async(request, stream).await.is_err());
}

#[tokio::test]
async fn the_figures_move_for_all_who_watch() {
    let server = TestServer::start(&["--idle-after", "1h"]).await;
    let mut watchers = [Watcher::new(&server, &service()).await, Watcher::new(&server, &service()).await];
    let before = watchers[0].stats().await;
    for figure in ["connections", "observers", "streams", "user_sessions", "rooms", "joins", "beats", "memory_bytes"] {
        assert!(before[figure].is_u64(), "{figure}: {before}");
    }
    assert_eq!(
        (&before["participants"]["active"], &before["joins"], &before["sweep"]),
        (&json!(0), &json!(0), &Value::Null)
    );

    let open = server.open().await;
    let (ada, mut bob) = (server.guest(&open, "Ada").await, server.guest(&open, "Bob").await);
    for watcher in &mut watchers {
        let stats = watcher.until("two people", |stats| stats["participants"]["active"] == 2).await;
        // Sockets of the dashboard are connections, too.
        assert_eq!((&stats["joins"], &stats["rooms"], &stats["connections"]), (&json!(2), &json!(1), &json!(4)));
    }
    bob.catch_up().await;
    ada.leave().await;
    server.sweep().await;
    server.get("/nowhere", None).await.refused(404, "not_found");
    let [watcher, other] = &mut watchers;
    let stats = watcher
        .until("all that was done", |stats| {
            stats["leaves"]["left"] == 1
                && stats["beats"] == 1
                && stats["refusals"]["not_found"] == 1
                && stats["connection_ends"]["left"] == 1
                && stats["flush"]["rows"].as_u64() > Some(0)
                && stats["sweep"].is_object()
        })
        .await;
    assert_eq!((&stats["sweep"]["closed"], &stats["sweep"]["failed"]), (&json!(0), &json!([])));
    assert!(stats["flush"]["age_seconds"].is_number() && stats["sweep"]["at"].is_string());
    // One moment, sent to both.
    let told = other.until("the same frame", |frame| frame["time"] == stats["time"]).await;
    assert_eq!(told, stats);
}

#[tokio::test]
async fn who_comes_when_nobody_watched_is_told_what_is_now() {
    let server = TestServer::start(&[]).await;
    let mut first = Watcher::new(&server, &service()).await;
    let before = first.stats().await;
    drop(first);
    eventually("nobody watches", async || {
        (server.get("/v1/admin/stats", Some(&service())).await.expect(200)["connections"] == 0).then_some(())
    })
    .await;
    let _ada = server.guest(&server.open().await, "Ada").await;
    let now = Watcher::new(&server, &service()).await.stats().await;
    assert!(now["time"].as_str() > before["time"].as_str());
    assert_eq!(now["joins"], 1);
}

#[tokio::test]
async fn who_comes_after_it_happened_is_told_what_was() {
    let server = TestServer::start(&[]).await;
    let history = async || Watcher::new(&server, &service()).await.history().await;
    // One is kept at once, and the last is of now.
    eventually("the first that is kept", async || (history().await.len() > 1).then_some(())).await;
    let _ada = server.guest(&server.open().await, "Ada").await;
    let frames = history().await;
    let (first, now) = (&frames[0], &frames[frames.len() - 1]);
    assert_eq!((&first["type"], &first["joins"], &first["rooms"]), (&json!("stats"), &json!(0), &json!(0)));
    assert_eq!((&now["type"], &now["joins"], &now["rooms"]), (&json!("stats"), &json!(1), &json!(1)));
    assert!(first["time"].as_str() < now["time"].as_str());
}

#[tokio::test]
async fn watching_ends_with_the_token() {
    let server = TestServer::start(&quiet(&[])).await;
    let token = sign(&json!({"role": "service_role", "exp": seconds_from_now(600)}));
    let mut watcher = Watcher::new(&server, &token).await;
    watcher.stats().await;
    pass(Duration::from_mins(11)).await;
    let (error, code) = watcher.ended().await;
    assert_eq!((&error["code"], code), (&json!("token_expired"), 4001));
}

#[tokio::test]
async fn a_server_that_stops_asks_watchers_to_come_back() {
    let server = TestServer::start(&[]).await;
    let mut watcher = Watcher::new(&server, &service()).await;
    watcher.stats().await;
    // Its socket goes with it: the server waits for that.
    let ended = async move { watcher.ended().await };
    let (_, (error, code)) = tokio::join!(server.stop(), ended);
    assert_eq!((&error["code"], code), (&json!("draining"), 1012));
    assert!(error["retry_after_ms"].is_u64());
}

#[tokio::test]
async fn a_watcher_who_answers_no_ping_is_dead() {
    let server = TestServer::start(&[]).await;
    let mut watcher = Watcher::new(&server, &service()).await;
    watcher.stats().await;
    // A library answers when it reads, and this one does not.
    pass(Duration::from_secs(76)).await;
    eventually("the end", async || {
        (server.metric("lastseen_connection_ends_total{reason=\"beat_timeout\"}").await > 0.0).then_some(())
    })
    .await;
}
