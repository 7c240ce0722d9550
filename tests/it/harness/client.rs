//! A WebSocket client that folds what it receives into a view of the room, as the browser client does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use uuid::Uuid;

use super::PATIENCE;

/// A frame that no server knows: it is ignored, and shows that the client has read its welcome.
pub const HELLO: &str = r#"{"type":"hello"}"#;

/// The close code of a refusal that another try may not meet.
const TRY_AGAIN_LATER: u16 = 1013;

/// The credentials of a join.
#[derive(Clone, Debug, Default)]
pub struct Join {
    pub invite: Option<String>,
    pub name: Option<String>,
    pub resume: Option<String>,
    pub token: Option<String>,
    /// More of the query, as it stands in an address: `platform=web&…`.
    pub more: String,
    /// More headers.
    pub headers: Vec<(&'static str, String)>,
}

impl Join {
    pub fn invite(invite: &str, name: &str) -> Self {
        Self { invite: Some(invite.to_owned()), name: Some(name.to_owned()), ..Self::default() }
    }

    pub fn resume(token: &str) -> Self {
        Self { resume: Some(token.to_owned()), ..Self::default() }
    }

    pub fn token(token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..Self::default() }
    }

    pub fn request(&self, address: SocketAddr, session: &str) -> Request {
        let mut url = reqwest::Url::parse(&format!("ws://{address}/v1/reading-sessions/{session}/ws?{}", self.more))
            .expect("a URL");
        for (key, value) in [("invite", &self.invite), ("name", &self.name), ("resume", &self.resume)] {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(key, value);
            }
        }
        let mut request = url.as_str().into_client_request().expect("a request");
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", "lastseen.v1".parse().expect("a header"));
        if let Some(token) = &self.token {
            headers.insert("authorization", format!("Bearer {token}").parse().expect("a header"));
        }
        for (name, value) in &self.headers {
            headers.insert(*name, value.parse().expect("a header"));
        }
        request
    }
}

/// How a connection ended, as the client saw it.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The close code; 1006 where there was none.
    pub code: u16,
    /// The error frame before it, or null.
    pub error: Value,
}

/// A connected client.
pub struct Client {
    pub socket: WebSocketStream<TcpStream>,
    pub welcome: Value,
    /// The people who are here, by id.
    pub view: BTreeMap<Uuid, Value>,
    pub seq: u64,
    pub occupancy: u64,
    /// Every message that was received, the welcome first; one that came in several frames is whole.
    pub heard: Vec<Value>,
    /// A message of which not all frames have come.
    begun: Option<Value>,
    /// How long the frames were, in bytes.
    pub lengths: Vec<usize>,
    /// Steps that were missing; stays empty where the server is right.
    pub gaps: Vec<(u64, u64)>,
    /// How often the server pinged.
    pub pings: u64,
}

/// A step of a client: a frame, or the end.
#[derive(Debug)]
pub enum Step {
    Frame(Value),
    Ended(Ended),
}

impl Client {
    /// Connects without waiting for a welcome.
    pub async fn connect(address: SocketAddr, session: &str, join: &Join) -> Result<Self, Error> {
        Self::over(TcpStream::connect(address).await?, session, join).await
    }

    /// The same by a client that takes no message of more bytes than this, as libraries do by default.
    pub async fn limited(address: SocketAddr, session: &str, join: &Join, bytes: usize) -> Result<Self, Error> {
        let limit = WebSocketConfig::default().max_message_size(Some(bytes)).max_frame_size(Some(bytes));
        Self::with(TcpStream::connect(address).await?, session, join, Some(limit)).await
    }

    /// The same over a TCP stream of the test's making.
    pub async fn over(stream: TcpStream, session: &str, join: &Join) -> Result<Self, Error> {
        Self::with(stream, session, join, None).await
    }

    async fn with(
        stream: TcpStream,
        session: &str,
        join: &Join,
        config: Option<WebSocketConfig>,
    ) -> Result<Self, Error> {
        stream.set_nodelay(true)?;
        let request = join.request(stream.peer_addr()?, session);
        let (socket, _) = tokio_tungstenite::client_async_with_config(request, stream, config).await?;
        Ok(Self::new(socket))
    }

    /// A client that has received nothing yet.
    pub fn new(socket: WebSocketStream<TcpStream>) -> Self {
        Self {
            socket,
            welcome: Value::Null,
            view: BTreeMap::new(),
            seq: 0,
            occupancy: 0,
            heard: Vec::new(),
            begun: None,
            lengths: Vec::new(),
            gaps: Vec::new(),
            pings: 0,
        }
    }

    /// Connects and receives `welcome`, or the refusal. Says that it was read, as clients do.
    pub async fn try_join(address: SocketAddr, session: Uuid, join: &Join) -> Result<Self, Ended> {
        let mut client = Self::connect(address, &session.to_string(), join).await.expect("an upgrade");
        match client.step().await {
            Step::Frame(frame) if frame["type"] == "welcome" => {
                client.confirm().await;
                Ok(client)
            }
            Step::Frame(frame) if frame["type"] == "error" => Err(client.ended().await),
            step => panic!("neither a welcome nor a refusal: {step:?}"),
        }
    }

    /// Connects and is welcomed. Comes again where the server says so, as every client does: a busy machine may take
    /// longer than an admission may.
    #[track_caller]
    pub fn join(address: SocketAddr, session: Uuid, join: &Join) -> impl Future<Output = Self> {
        let (caller, join) = (std::panic::Location::caller(), join.clone());
        let deadline = Instant::now() + PATIENCE;
        async move {
            loop {
                match Self::try_join(address, session, &join).await {
                    Ok(client) => return client,
                    Err(ended) if ended.code == TRY_AGAIN_LATER && Instant::now() < deadline => {
                        let wait = ended.error["retry_after_ms"].as_u64().unwrap_or_default();
                        sleep(Duration::from_millis(wait)).await;
                    }
                    Err(ended) => panic!("not let in: {ended:?} ({caller})"),
                }
            }
        }
    }

    /// Connects and is refused. Comes again where the server is `unavailable`, as [`Client::join`] does.
    pub async fn refused(address: SocketAddr, session: &str, join: &Join) -> Ended {
        Self::turned_away(address, session, join).await.1
    }

    /// The same, with the connection.
    pub async fn turned_away(address: SocketAddr, session: &str, join: &Join) -> (Self, Ended) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (client, ended) = Self::try_once(address, session, join).await;
            if ended.error["code"] != "unavailable" || Instant::now() >= deadline {
                return (client, ended);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Connects and is refused, whatever the reason.
    pub async fn refused_at_once(address: SocketAddr, session: &str, join: &Join) -> Ended {
        Self::try_once(address, session, join).await.1
    }

    async fn try_once(address: SocketAddr, session: &str, join: &Join) -> (Self, Ended) {
        let mut client = Self::connect(address, session, join).await.expect("an upgrade");
        let ended = client.ended().await;
        (client, ended)
    }

    pub fn id(&self) -> Uuid {
        id(&self.welcome["you"])
    }

    pub fn resume_token(&self) -> String {
        self.welcome["resume"].as_str().expect("a resume token").to_owned()
    }

    /// The next frame or the end. Pings are answered while this waits.
    pub async fn step(&mut self) -> Step {
        timeout(PATIENCE, self.step_without_end())
            .await
            .unwrap_or_else(|_| panic!("nothing was received; before: {:?}", self.heard))
    }

    async fn step_without_end(&mut self) -> Step {
        loop {
            if let Some(step) = self.message().await {
                return step;
            }
        }
    }

    /// The next message, a step or not.
    async fn message(&mut self) -> Option<Step> {
        match self.socket.next().await {
            Some(Ok(Message::Text(text))) => {
                self.lengths.push(text.len());
                let frame = self.whole(serde_json::from_str(&text).expect("JSON"))?;
                self.fold(&frame);
                self.heard.push(frame.clone());
                Some(Step::Frame(frame))
            }
            Some(Ok(Message::Close(frame))) => Some(Step::Ended(self.end(frame))),
            Some(Ok(Message::Ping(_))) => {
                self.pings += 1;
                None
            }
            Some(Ok(_)) => None,
            Some(Err(_)) | None => Some(Step::Ended(self.end(None))),
        }
    }

    /// Reads until this many more Pings were received. All but the last are answered by then; the answer to
    /// that one leaves with the next read.
    pub async fn pinged(&mut self, times: u64) {
        let enough = self.pings + times;
        let wait = async {
            while self.pings < enough {
                if let Some(Step::Ended(ended)) = self.message().await {
                    panic!("ended instead of being pinged: {ended:?}");
                }
            }
        };
        timeout(PATIENCE, wait).await.expect("Pings");
    }

    /// Reads what is here already, without waiting.
    pub fn drain(&mut self) {
        while let Some(step) = self.step_without_end().now_or_never() {
            if let Step::Ended(ended) = step {
                panic!("ended: {ended:?}");
            }
        }
    }

    /// The changes of a person in the diffs that were received, in order: `join` and `update` with the person
    /// as it was then, `leave` with the reason.
    pub fn told_of(&self, person: Uuid) -> Vec<(&'static str, Value)> {
        let mut told = Vec::new();
        for diff in self.heard.iter().filter(|frame| frame["type"] == "diff") {
            for (key, word) in [("joins", "join"), ("updates", "update"), ("leaves", "leave")] {
                let about = list(&diff[key]).filter(|entry| id(&entry["id"]) == person);
                told.extend(
                    about.map(|entry| (word, if word == "leave" { entry["reason"].clone() } else { entry.clone() })),
                );
            }
        }
        told
    }

    /// How many frames of this type were received.
    pub fn count(&self, kind: &str) -> usize {
        self.heard.iter().filter(|frame| frame["type"] == kind).count()
    }

    fn end(&self, frame: Option<CloseFrame>) -> Ended {
        let error = self.heard.iter().rev().find(|frame| frame["type"] == "error").cloned().unwrap_or(Value::Null);
        Ended { code: frame.map_or(1006, |frame| frame.code.into()), error }
    }

    /// The next frame of this type; those before it are folded.
    pub async fn frame(&mut self, kind: &str) -> Value {
        loop {
            match self.step().await {
                Step::Frame(frame) if frame["type"] == kind => return frame,
                Step::Frame(_) => {}
                Step::Ended(ended) => panic!("ended instead of {kind}: {ended:?}"),
            }
        }
    }

    /// Reads until the end.
    pub async fn ended(&mut self) -> Ended {
        loop {
            if let Step::Ended(ended) = self.step().await {
                return ended;
            }
        }
    }

    /// Reads until the view fulfils the condition.
    pub async fn until(&mut self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !condition(self) {
            match tokio::time::timeout_at(deadline, self.step_without_end()).await {
                Ok(Step::Frame(_)) => {}
                Ok(Step::Ended(ended)) => panic!("ended before {what}: {ended:?}"),
                Err(_) => panic!("waited in vain for: {what}; the view is {:?}", self.view),
            }
        }
    }

    /// Reads until exactly these people are here.
    pub async fn sees(&mut self, ids: &[Uuid]) {
        let mut expected = ids.to_vec();
        expected.sort_unstable();
        self.until(&format!("seeing {expected:?}"), |client| client.view.keys().copied().eq(expected.iter().copied()))
            .await;
    }

    /// Reads what is received by the time a beat is answered: everything that was sent before.
    pub async fn catch_up(&mut self) {
        let reference = u64::try_from(self.heard.len()).expect("few frames") + 1_000_000;
        self.send(json!({"type": "beat", "ref": reference, "active": false})).await;
        loop {
            if self.frame("beat").await["ref"] == reference {
                return;
            }
        }
    }

    pub async fn send(&mut self, frame: Value) {
        self.socket.send(Message::text(frame.to_string())).await.expect("sent");
    }

    /// Sends these in one write: between them passes no time that would count.
    pub async fn send_at_once(&mut self, messages: impl IntoIterator<Item = Message>) {
        for message in messages {
            self.socket.feed(message).await.expect("taken");
        }
        self.socket.flush().await.expect("sent");
    }

    /// Says that the welcome was read: who is lost after that has a grace. By a frame that has no answer.
    pub async fn confirm(&mut self) {
        // What was welcomed may have ended by now.
        let _ = self.socket.send(Message::text(HELLO)).await;
    }

    /// Goes without a word: the TCP stream ends, with no close frame.
    pub fn vanish(self) {
        drop(self);
    }

    /// Closes the connection as a browser does.
    pub async fn close(self) -> Ended {
        self.close_with(Some(1000)).await
    }

    /// Closes with this code, or with none, which the other side calls 1005.
    pub async fn close_with(mut self, code: Option<u16>) -> Ended {
        let goodbye = code.map(|code| CloseFrame { code: code.into(), reason: "".into() });
        self.socket.send(Message::Close(goodbye)).await.expect("sent");
        self.ended().await
    }

    /// Leaves by a frame.
    pub async fn leave(mut self) -> Ended {
        self.send(json!({"type": "leave"})).await;
        self.ended().await
    }

    /// The message that a frame ends; `None` where it goes on. Nothing may come in between.
    fn whole(&mut self, frame: Value) -> Option<Value> {
        let number = |frame: &Value| frame["chunk"].as_u64().zip(frame["chunks"].as_u64()).unwrap_or((1, 1));
        let (chunk, chunks) = number(&frame);
        let mut message = match self.begun.take() {
            None if chunk == 1 => frame,
            Some(mut begun) if frame["type"] == "more" => {
                assert_eq!((chunk - 1, chunks), number(&begun), "{frame}");
                assert_eq!(frame["seq"], begun["seq"]);
                for list in ["participants", "joins", "updates", "leaves", "frames"] {
                    if let Some(more) = frame[list].as_array() {
                        begun[list].as_array_mut().expect("a list").extend_from_slice(more);
                    }
                }
                begun["chunk"] = chunk.into();
                begun
            }
            begun => panic!("{frame} does not follow {begun:?}"),
        };
        if chunk < chunks {
            self.begun = Some(message);
            return None;
        }
        for number in ["chunk", "chunks"] {
            message.as_object_mut().expect("an object").remove(number);
        }
        Some(message)
    }

    fn fold(&mut self, frame: &Value) {
        match frame["type"].as_str() {
            Some("welcome" | "state") => {
                if frame["type"] == "welcome" {
                    self.welcome = frame.clone();
                }
                self.seq = frame["seq"].as_u64().expect("a seq");
                self.view = list(&frame["participants"]).map(|person| (id(&person["id"]), person.clone())).collect();
            }
            Some("diff") => {
                if !self.advance(frame) {
                    return;
                }
                for person in list(&frame["joins"]).chain(list(&frame["updates"])) {
                    self.view.insert(id(&person["id"]), person.clone());
                }
                for leave in list(&frame["leaves"]) {
                    self.view.remove(&id(&leave["id"]));
                }
            }
            Some("occupancy") => {
                self.advance(frame);
            }
            _ => return,
        }
        self.occupancy = frame["occupancy"].as_u64().expect("an occupancy");
    }

    fn advance(&mut self, frame: &Value) -> bool {
        let seq = frame["seq"].as_u64().expect("a seq");
        if seq <= self.seq {
            return false;
        }
        if seq != self.seq + 1 {
            self.gaps.push((self.seq, seq));
        }
        self.seq = seq;
        true
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().expect("a list").iter()
}

/// A UUID in a frame.
pub fn id(value: &Value) -> Uuid {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no id"))
}
