//! The main path through the reverse proxies that people have, with the configurations that the how-to gives them.
//! `script/test --proxies` runs it: a test of plain cargo has no proxy, and no time to wait for 70 s.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use crate::harness::client::Step;
use crate::harness::rest::{Opened, Rest, seconds_from_now, sign, user};
use crate::harness::reverse_proxy::{Kind, ReverseProxy};
use crate::harness::{Client, Join, PATIENCE, TestServer, eventually, quiet};

/// Longer than what proxies, left to themselves, take for a connection that is not used any more.
const IDLE: Duration = Duration::from_secs(70);

/// The only trusted one is 127.0.0.1, where proxies connect from. Nothing is sent by itself, and nobody who is lost goes.
const FLAGS: [&str; 6] =
    ["--trusted-proxies", "127.0.0.1", "--public-url", "https://presence.example", "--grace", "1h"];

/// A client that is no proxy, and what it says it were.
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 77, 1, 1);
const CLIENT_NETWORK: &str = "127.77.1.0/24";
const LIES: [(&str, &str); 2] = [("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=203.0.113.9")];

macro_rules! through {
    ($($name:ident: $kind:ident),*) => {$(
        mod $name {
            use super::Kind;

            #[tokio::test]
            #[ignore = "script/test --proxies runs it"]
            async fn main_path() {
                super::main_path(Kind::$kind).await;
            }

            #[tokio::test]
            #[ignore = "script/test --proxies runs it"]
            async fn reload_and_restart() {
                super::reload_and_restart(Kind::$kind).await;
            }
        }
    )*};
}

through!(nginx: Nginx, haproxy: Haproxy, caddy: Caddy, apache: Apache, traefik: Traefik, envoy: Envoy);

/// A token of nearly 16 KiB, the largest that is let in. Providers give long ones to people with many roles.
fn large_token(name: &str) -> String {
    let claims = json!({
        "sub": Uuid::now_v7(), "name": name, "exp": seconds_from_now(3600), "roles": "x".repeat(11_900),
    });
    let token = sign(&claims);
    assert!((15 * 1024..16 * 1024).contains(&token.len()), "{}", token.len());
    token
}

fn as_subprotocol(token: &str) -> Join {
    let header = ("sec-websocket-protocol", format!("lastseen.v1, lastseen.bearer.{token}"));
    Join { headers: vec![header], ..Join::default() }
}

async fn main_path(kind: Kind) {
    let server = TestServer::start(&quiet(&FLAGS)).await;
    let Some(proxy) = ReverseProxy::before(kind, server.address()).await else { return };
    let through = Rest::new(proxy.address);
    let ada = user(Uuid::now_v7(), "Ada");
    let idle = Idle::begin(&server, &through, &ada).await;

    through.get("/healthz", None).await.expect(200);
    eventually("readiness", async || (through.get("/readyz", None).await.status == 200).then_some(())).await;
    assert!([403, 404].contains(&through.get("/metrics", None).await.status.as_u16()), "figures are not for all");

    let session = through.open_as(Some(&ada), json!({"title": "Emma"})).await;
    through.get(&format!("/v1/invites/{}", session.invite), None).await.expect(200);
    through.get(&format!("/join/{}", session.invite), None).await.expect(200);
    every_credential(&through, &session, &ada).await;
    events_come_at_once(&through, &ada).await;
    addresses_are_the_proxy_s(&through, &session).await;

    idle.end(&through).await;
    hides_tokens(proxy, &[&session.invite, &ada]).await;
}

/// The ways to join, each with a person of its own.
async fn every_credential(through: &Rest, session: &Opened, ada: &str) {
    let join = async |join: Join| {
        let join = Join { invite: Some(session.invite.clone()), ..join };
        Client::join(through.address, session.id, &join).await
    };
    let mut by_header = Client::join(through.address, session.id, &Join::token(ada)).await;
    let from_a_page = vec![("origin", "https://presence.example".to_owned())];
    let mut by_invite = join(Join { name: Some("Gus".to_owned()), headers: from_a_page, ..Join::default() }).await;
    let by_subprotocol = join(as_subprotocol(&user(Uuid::now_v7(), "Bea"))).await;
    let by_large_header = join(Join::token(&large_token("Cyd"))).await;
    let by_large_subprotocol = join(as_subprotocol(&large_token("Dan"))).await;
    let all = [&by_header, &by_invite, &by_subprotocol, &by_large_header, &by_large_subprotocol].map(Client::id);
    by_header.sees(&all).await;

    let resumed = Client::join(through.address, session.id, &Join::resume(&by_invite.resume_token())).await;
    assert_eq!(resumed.id(), by_invite.id());
    by_invite.send(json!({"type": "update", "state": {"page": 7}})).await;
    by_header.until("the page", |host| host.view[&resumed.id()]["state"] == json!({"page": 7})).await;
    for client in [by_header, by_invite, by_subprotocol, by_large_header, by_large_subprotocol, resumed] {
        client.leave().await;
    }
}

/// A stream of events by a client that would take it compressed.
struct Events {
    response: reqwest::Response,
    text: String,
}

impl Events {
    async fn of(through: &Rest, session: &Opened, token: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let url = format!("http://{}/v1/reading-sessions/{}/events", through.address, session.id);
        let request = http.get(url).bearer_auth(token).header("accept-encoding", "gzip, deflate, br");
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        let encoding = response.headers().get("content-encoding").map(|value| value.as_bytes());
        assert_eq!(encoding, Some(&b"identity"[..]), "a stream waits for nothing");
        let mut events = Self { response, text: String::new() };
        events.next("welcome").await;
        events
    }

    /// Reads until an event of this type has come, whole. The server has sent nothing behind it that could push it.
    async fn next(&mut self, kind: &str) {
        loop {
            if let Some(at) = self.text.find(&format!("event: {kind}\n"))
                && let Some(end) = self.text[at..].find("\n\n")
            {
                self.text.drain(..at + end + 2);
                return;
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await.expect("waited in vain for an event");
            let chunk = chunk.expect("a stream").expect("an event before the end");
            self.text.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    }
}

async fn events_come_at_once(through: &Rest, ada: &str) {
    // Nothing has happened in it that would be told later.
    let session = through.open_as(Some(ada), json!({"title": "Persuasion"})).await;
    let mut events = Events::of(through, &session, ada).await;
    let mut host = Client::join(through.address, session.id, &Join::token(ada)).await;
    events.next("diff").await;
    host.send(json!({"type": "update", "state": {"page": 8}})).await;
    events.next("diff").await;
    host.leave().await;
    events.next("diff").await;
}

/// What a client says of its address is not believed, over HTTP and on a WebSocket, with the token that only just fits.
async fn addresses_are_the_proxy_s(through: &Rest, session: &Opened) {
    let token = large_token("Eve");
    let http = reqwest::Client::builder().no_proxy().local_address(IpAddr::V4(CLIENT)).build().expect("a client");
    let shown = eventually("a user session", async || {
        let url = format!("http://{}/v1/user-sessions", through.address);
        let body = json!({"session_id": "by-http", "platform": "web"});
        let mut request = http.request(Method::POST, url).bearer_auth(&token).json(&body);
        for (name, value) in LIES {
            request = request.header(name, value);
        }
        let answer = request.send().await.expect("an answer");
        // A busy database may be away for a moment.
        assert!(matches!(answer.status().as_u16(), 200 | 201 | 503), "{answer:?}");
        if answer.status() == 503 { None } else { answer.json::<Value>().await.ok() }
    })
    .await;
    assert_eq!(shown["ip_address"], CLIENT_NETWORK);

    let join = Join {
        invite: Some(session.invite.clone()),
        more: "platform=web&client_session=by-socket".to_owned(),
        headers: LIES.map(|(name, value)| (name, value.to_owned())).to_vec(),
        ..Join::token(&token)
    };
    let eve = joined_from(CLIENT, through.address, session.id, &join).await;
    let shown = eventually("its user session", async || {
        let answer = through.get("/v1/user-sessions/by-socket", Some(&token)).await;
        (answer.status == 200).then_some(answer.body)
    })
    .await;
    assert_eq!(shown["ip_address"], CLIENT_NETWORK);
    eve.leave().await;
}

/// Joins from this address of the machine.
async fn joined_from(source: Ipv4Addr, to: SocketAddr, session: Uuid, join: &Join) -> Client {
    eventually("a welcome", async || {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((source, 0).into()).expect("an address of this machine");
        let stream = socket.connect(to).await.expect("connected");
        let mut client = Client::over(stream, &session.to_string(), join).await.expect("an upgrade");
        match client.step().await {
            Step::Frame(frame) if frame["type"] == "welcome" => Some(client),
            _ => None,
        }
    })
    .await
}

/// A WebSocket and a stream on which nothing is sent, in either direction.
struct Idle {
    session: Opened,
    client: Client,
    events: Events,
    begun: Instant,
}

impl Idle {
    async fn begin(server: &TestServer, through: &Rest, ada: &str) -> Self {
        let session = through.open_as(Some(ada), json!({"title": "Walden"})).await;
        let mut client = Client::join(through.address, session.id, &Join::token(ada)).await;
        server.settled(&session, &mut [&mut client]).await;
        let events = Events::of(through, &session, ada).await;
        Self { session, client, events, begun: Instant::now() }
    }

    async fn end(mut self, through: &Rest) {
        sleep_until(self.begun + IDLE).await;
        self.client.send(json!({"type": "beat", "ref": 1})).await;
        assert_eq!(self.client.frame("beat").await["ref"], 1);
        let bea = Join { invite: Some(self.session.invite.clone()), ..Join::token(&user(Uuid::now_v7(), "Bea")) };
        let bea = Client::join(through.address, self.session.id, &bea).await;
        self.events.next("diff").await;
        self.client.sees(&[self.client.id(), bea.id()]).await;
    }
}

/// Nothing that the proxy wrote has one of these, or any other token.
async fn hides_tokens(proxy: ReverseProxy, tokens: &[&str]) {
    let kind = proxy.kind;
    // WebSockets are logged at their end.
    let word = if matches!(kind, Kind::Traefik | Kind::Envoy) { "GET" } else { "/ws" };
    eventually("a log of WebSockets", async || proxy.log().contains(word).then_some(())).await;
    let log = proxy.stop().await;
    for token in tokens {
        let (_, secret) = token.split_at(token.len() - 16);
        assert!(!log.contains(secret), "{kind:?} writes a token: {log}");
    }
    for mark in ["lsr_", "eyJ", "name=Gus", "invite="] {
        assert!(!log.contains(mark), "{kind:?} writes {mark}: {log}");
    }
}

async fn reload_and_restart(kind: Kind) {
    let server = TestServer::start(&quiet(&FLAGS)).await;
    let address = server.address();
    let Some(proxy) = ReverseProxy::before(kind, address).await else { return };
    let through = Rest::new(proxy.address);
    let token = user(Uuid::now_v7(), "Ada");
    let session = through.open_as(Some(&token), json!({"title": "Emma"})).await;
    let mut watch = server.observer(&session).await;
    let mut ada = Client::join(proxy.address, session.id, &Join::token(&token)).await;
    watch.sees(&[ada.id()]).await;

    if proxy.reload().await {
        ada = after_the_reload(&proxy, &session, ada).await;
    }
    through.get("/healthz", None).await.expect(200);
    let gus = Client::join(proxy.address, session.id, &Join::invite(&session.invite, "Gus")).await;
    watch.sees(&[ada.id(), gus.id()]).await;
    let leaves = watch.told_of(ada.id()).into_iter().filter(|(word, _)| *word == "leave");
    assert_eq!(leaves.count(), 0, "nobody goes with a reload");

    let (resume, id) = (ada.resume_token(), ada.id());
    let both = async |mut one: Client, mut other: Client| [one.ended().await.code, other.ended().await.code];
    let (database, codes, _) = tokio::join!(server.stop(), both(ada, gus), watch.ended());
    assert_eq!(codes, [1012, 1012], "the server's code comes through");
    let down = |status: u16| (502..=504).contains(&status);
    assert!(down(through.get("/healthz", None).await.status.as_u16()));
    let (path, page) = (format!("/v1/invites/{}", session.invite), format!("http://presence/join/{}", session.invite));
    assert!(down(through.raw(Method::GET, &path, &[("referer", &page)], "").await.status.as_u16()));
    let refused = Client::connect(proxy.address, &session.id.to_string(), &Join::invite(&session.invite, "Gus")).await;
    assert!(refused.is_err(), "there is no server");

    let listen = address.to_string();
    let server = TestServer::on(database, &quiet(&[&FLAGS[..], &["--listen", &listen]].concat())).await;
    server.get("/healthz", None).await.expect(200);
    assert_eq!(through.get("/healthz", None).await.status, 200, "the first request after it finds it");
    let ada = Client::join(proxy.address, session.id, &Join::resume(&resume)).await;
    assert_eq!(ada.id(), id, "the same participant");
    ada.leave().await;
    hides_tokens(proxy, &[&session.invite, &token, &resume]).await;
}

/// The same participant, who stayed or has come back, as the how-to says of this proxy.
async fn after_the_reload(proxy: &ReverseProxy, session: &Opened, mut ada: Client) -> Client {
    if proxy.kind == Kind::Caddy {
        assert_eq!(ada.ended().await.code, 1001);
        let back = Client::join(proxy.address, session.id, &Join::resume(&ada.resume_token())).await;
        assert_eq!(back.id(), ada.id());
        return back;
    }
    ada.send(json!({"type": "beat", "ref": 1})).await;
    assert_eq!(ada.frame("beat").await["ref"], 1, "{:?} keeps what it has", proxy.kind);
    ada
}
