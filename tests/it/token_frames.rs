//! A fresh JWT on a connection that was let in by one: the connection goes on, a token that is not good changes
//! nothing, and others see nothing of either.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use uuid::Uuid;

use crate::harness::rest::{Opened, keys, seconds_from_now, sign};
use crate::harness::{Client, Join, TestServer, pass, quiet};

/// A token of a user that expires so many seconds from now, by the machine's clock: the time that a test lets pass is
/// not on it.
fn token(user: Uuid, seconds: i64) -> String {
    sign(&json!({"sub": user, "role": "authenticated", "name": "Hera", "exp": seconds_from_now(seconds)}))
}

fn token_of_service(seconds: i64) -> String {
    sign(&json!({"role": "service_role", "exp": seconds_from_now(seconds)}))
}

async fn hosted(server: &TestServer, host: Uuid) -> Opened {
    server.open_as(Some(&token(host, 3600)), json!({})).await
}

async fn joined(server: &TestServer, open: &Opened, token: &str) -> Client {
    Client::join(server.address(), open.id, &Join::token(token)).await
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().expect("a time").parse().expect("a time")
}

/// The seconds from the server's time in a frame to the time under this key.
fn seconds_left(frame: &Value, key: &str) -> i64 {
    (time(&frame[key]) - time(&frame["server_time"])).num_seconds()
}

/// Shows a token: the seconds that are left of it by the answer, or the refusal's code.
async fn renew(client: &mut Client, token: &str) -> Result<i64, String> {
    let reference = 5_000 + client.heard.len();
    client.send(json!({"type": "token", "ref": reference, "token": token})).await;
    client.until("an answer", |client| client.heard.last().is_some_and(|frame| frame["ref"] == reference)).await;
    let answer = client.heard.last().expect("the answer");
    match answer["type"].as_str() {
        Some("token") => {
            assert_eq!(keys(answer), ["type", "ref", "expires_at", "server_time"].into());
            Ok(seconds_left(answer, "expires_at"))
        }
        Some("error") => Err(answer["code"].as_str().expect("a code").to_owned()),
        other => panic!("{other:?}"),
    }
}

/// Whether there are as many seconds left as a token was made for, less what a slow machine took.
fn is_about(left: i64, seconds: i64) -> bool {
    (seconds - 60..=seconds + 1).contains(&left)
}

#[tokio::test]
async fn a_connection_goes_on_with_a_fresh_token_and_others_see_nothing_of_it() {
    let server = TestServer::start(&quiet(&[])).await;
    let hera = Uuid::now_v7();
    let open = hosted(&server, hera).await;
    let mut host = joined(&server, &open, &token(hera, 120)).await;
    let mut guest = server.guest(&open, "Ada").await;
    assert!(is_about(seconds_left(&host.welcome, "token_expires_at"), 120), "{}", host.welcome);
    assert_eq!(guest.welcome["token_expires_at"], Value::Null);
    server.settled(&open, &mut [&mut host, &mut guest]).await;
    let before = guest.heard.len();

    // Tokens of two minutes carry it over five.
    for _ in 0..3 {
        pass(Duration::from_secs(100)).await;
        let left = renew(&mut host, &token(hera, 120)).await.expect("a good token");
        assert!(is_about(left, 120), "{left}");
    }
    server.settled(&open, &mut [&mut guest, &mut host]).await;
    let told: Vec<_> = guest.heard[before..].iter().filter(|frame| frame["type"] != "beat").collect();
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(guest.view[&host.id()]["connections"], 1);

    // It ends with the last one.
    pass(Duration::from_secs(151)).await;
    let ended = host.ended().await;
    assert_eq!((ended.code, &ended.error["code"]), (4001, &json!("token_expired")));
}

#[tokio::test]
async fn a_token_that_ends_sooner_than_the_old_one_ends_the_connection_sooner() {
    let server = TestServer::start(&quiet(&[])).await;
    let hera = Uuid::now_v7();
    let open = hosted(&server, hera).await;
    let mut host = joined(&server, &open, &token(hera, 3600)).await;
    renew(&mut host, &token(hera, 300)).await.expect("a good token");
    pass(Duration::from_mins(6)).await;
    assert_eq!(host.ended().await.code, 4001);
}

#[tokio::test]
async fn a_token_that_is_not_good_is_refused_and_changes_nothing() {
    let server = TestServer::start(&quiet(&[])).await;
    let hera = Uuid::now_v7();
    let open = hosted(&server, hera).await;
    let mut host = joined(&server, &open, &token(hera, 600)).await;
    let guest = server.guest(&open, "Ada").await;
    let forged = {
        let claims = json!({"sub": hera, "role": "authenticated", "exp": seconds_from_now(3600)});
        encode(&Header::default(), &claims, &EncodingKey::from_secret(b"another secret")).expect("a token")
    };
    let service_with_her_subject = sign(&json!({"sub": hera, "role": "service_role", "exp": seconds_from_now(3600)}));
    let long = sign(&json!({
        "sub": hera, "role": "authenticated", "exp": seconds_from_now(3600), "groups": "x".repeat(13_000),
    }));
    assert!((16 * 1024..18 * 1024).contains(&long.len()), "{}", long.len());
    let bad = [
        ("of nobody", "not a token".to_owned(), "unauthenticated"),
        ("forged", forged, "unauthenticated"),
        ("another user's", token(Uuid::now_v7(), 3600), "forbidden"),
        ("the service's", token_of_service(3600), "forbidden"),
        ("the service's, with her subject", service_with_her_subject, "forbidden"),
        ("a resume token", guest.resume_token(), "forbidden"),
        ("her own resume token", host.resume_token(), "forbidden"),
        ("expired", token(hera, -31), "token_expired"),
        ("too long", long, "payload_too_large"),
    ];
    for (what, token, code) in bad {
        assert_eq!(renew(&mut host, &token).await, Err(code.to_owned()), "{what}");
        let error = host.heard.last().expect("the error");
        assert_eq!(error["retry"], code == "token_expired", "{what}");
        assert!(!error["message"].as_str().expect("a message").contains(&token), "{what}");
    }
    // No text at all is a bad frame like any other.
    for frame in [json!({"type": "token", "ref": 1}), json!({"type": "token", "ref": 2, "token": ["a"]})] {
        host.send(frame.clone()).await;
        let error = host.frame("error").await;
        assert_eq!((&error["code"], &error["ref"]), (&json!("bad_frame"), &frame["ref"]));
    }
    host.catch_up().await;
    assert_eq!(server.metric("lastseen_refusals_total{code=\"payload_too_large\"}").await, 1.0);

    // The end is that of the first token.
    pass(Duration::from_mins(11)).await;
    let ended = host.ended().await;
    assert_eq!((ended.code, &ended.error["code"]), (4001, &json!("token_expired")));
}

#[tokio::test]
async fn whoever_was_not_let_in_by_a_token_needs_none() {
    let server = TestServer::start(&quiet(&[])).await;
    let hera = Uuid::now_v7();
    let open = hosted(&server, hera).await;
    let host = joined(&server, &open, &token(hera, 3600)).await;
    let mut resumed = Client::join(server.address(), open.id, &Join::resume(&host.resume_token())).await;
    let mut guest = server.guest(&open, "Ada").await;
    for client in [&mut resumed, &mut guest] {
        assert_eq!(client.welcome["token_expires_at"], Value::Null);
        assert_eq!(renew(client, &token(hera, 60)).await, Err("forbidden".into()));
    }
    pass(Duration::from_mins(5)).await;
    resumed.catch_up().await;
    guest.catch_up().await;
}

#[tokio::test]
async fn a_token_may_be_longer_than_other_messages_where_there_was_one_before() {
    let server = TestServer::start(&quiet(&["--max-message-bytes", "4096"])).await;
    let hera = Uuid::now_v7();
    let open = hosted(&server, hera).await;
    let mut host = joined(&server, &open, &token(hera, 600)).await;
    // As Microsoft Entra makes them for the members of two hundred groups.
    let groups: Vec<_> = (0..200).map(|_| Uuid::now_v7()).collect();
    let long = sign(&json!({
        "sub": hera, "role": "authenticated", "exp": seconds_from_now(3600), "groups": groups,
    }));
    assert!(long.len() > 10_000);
    assert!(is_about(renew(&mut host, &long).await.expect("a good token"), 3600));
    // In fragments, too.
    let frame = json!({"type": "token", "ref": 77, "token": long}).to_string();
    let (start, rest) = frame.split_at(5_000);
    let fragments = [(start, Data::Text, false), (rest, Data::Continue, true)]
        .map(|(text, opcode, is_last)| Frame::message(text.to_owned(), OpCode::Data(opcode), is_last));
    host.send_at_once(fragments.map(Message::Frame)).await;
    assert_eq!(host.frame("token").await["ref"], 77);

    // What is no token may not, nor a token of 20 KiB, nor any message of whoever was let in by something else.
    let beat = json!({"type": "beat", "ref": 1, "more": "x".repeat(4096)});
    host.send(beat.clone()).await;
    assert_eq!(host.ended().await.code, 1009);
    let mut host = joined(&server, &open, &token(hera, 600)).await;
    host.send(json!({"type": "token", "token": "x".repeat(4096 + 16 * 1024)})).await;
    assert_eq!(host.ended().await.code, 1009);
    let mut guest = server.guest(&open, "Ada").await;
    guest.send(json!({"type": "token", "token": long})).await;
    assert_eq!(guest.ended().await.code, 1009);
}

#[tokio::test]
async fn tokens_count_in_the_pace_of_a_connection() {
    let server = TestServer::start(&quiet(&["--grace", "10m"])).await;
    let hera = Uuid::now_v7();
    let open = hosted(&server, hera).await;
    let mut host = joined(&server, &open, &token(hera, 3600)).await;
    let fresh = token(hera, 3600);
    let frames = (0..100).map(|reference| json!({"type": "token", "ref": reference, "token": fresh}).to_string());
    host.send_at_once(frames.map(Message::text)).await;
    let ended = host.ended().await;
    assert_eq!((ended.code, &ended.error["code"]), (4029, &json!("rate_limited")));
    // In order, and none twice.
    let answered: Vec<_> =
        host.heard.iter().filter(|frame| frame["type"] == "token").map(|frame| frame["ref"].as_u64()).collect();
    assert!(answered.len() >= 19 && answered.is_sorted() && answered.windows(2).all(|two| two[0] < two[1]));
}

#[tokio::test]
async fn the_service_renews_as_an_observer_and_at_the_figures() {
    let server = TestServer::start(&quiet(&[])).await;
    let open = server.open().await;
    let mut observer = joined(&server, &open, &token_of_service(120)).await;
    assert!(is_about(seconds_left(&observer.welcome, "token_expires_at"), 120), "{}", observer.welcome);
    let mut ended = joined(&server, &open, &token_of_service(120)).await;
    let mut figures = figures(&server, &token_of_service(120)).await;
    pass(Duration::from_secs(100)).await;
    assert_eq!(renew(&mut observer, &token(Uuid::now_v7(), 3600)).await, Err("forbidden".into()));
    assert!(is_about(renew(&mut observer, &token_of_service(240)).await.expect("a good token"), 240));
    assert_eq!(renew(&mut figures, &token(Uuid::now_v7(), 3600)).await, Err("forbidden".into()));
    assert!(is_about(renew(&mut figures, &token_of_service(240)).await.expect("a good token"), 240));

    // Whoever did not renew is gone.
    pass(Duration::from_secs(60)).await;
    assert_eq!(ended.ended().await.code, 4001);
    observer.catch_up().await;
    figures.frame("stats").await;
    pass(Duration::from_secs(271)).await;
    assert_eq!(observer.ended().await.code, 4001);
    assert_eq!(figures.ended().await.code, 4001);
}

/// A client that watches the figures of the server.
async fn figures(server: &TestServer, token: &str) -> Client {
    let mut request = format!("ws://{}/v1/admin/ws", server.address()).into_client_request().expect("a request");
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().expect("a header"));
    let stream = tokio::net::TcpStream::connect(server.address()).await.expect("a connection");
    let (socket, _) = tokio_tungstenite::client_async(request, stream).await.expect("an upgrade");
    let mut client = Client::new(socket);
    client.frame("stats").await;
    client
}

#[tokio::test]
async fn a_token_whose_key_has_to_be_fetched_holds_up_no_other_connection() {
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let set = json!({"keys": [old.jwk(), new.jwk()]}).to_string();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let source = format!("http://{}/jwks.json", listener.local_addr().expect("an address"));
    // The first reading has the old key alone; the second is answered when the test says so.
    let (asked, answer) = (&*Box::leak(Box::new(Semaphore::new(0))), &*Box::leak(Box::new(Semaphore::new(0))));
    let first = json!({"keys": [old.jwk()]}).to_string();
    tokio::spawn(async move {
        let mut bodies = vec![set, first];
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.is_ok_and(|bytes| bytes > 0) {}
            let Some(body) = bodies.pop() else { return };
            if bodies.is_empty() {
                asked.add_permits(1);
                answer.acquire().await.expect("open").forget();
            }
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    let data = TempDir::new().expect("a directory");
    let path = data.path().to_str().expect("a path").to_owned();
    let server = TestServer::start(&quiet(&["--jwks", &source, "--jwt-iss", ISSUER, "--data-dir", &path])).await;
    let (hera, una) = (Uuid::now_v7(), Uuid::now_v7());
    let open = server.open_as(Some(&old.sign(hera, 3600)), json!({})).await;
    let mut host = joined(&server, &open, &old.sign(hera, 600)).await;
    let way = Join { invite: Some(open.invite.clone()), ..Join::token(&old.sign(una, 600)) };
    let mut other = Client::join(server.address(), open.id, &way).await;

    host.send(json!({"type": "token", "ref": 1, "token": new.sign(hera, 3600)})).await;
    asked.acquire().await.expect("open").forget();
    // Frames of this client wait for the answer, those of others do not, nor their tokens of a known key.
    host.send(json!({"type": "beat", "ref": 2})).await;
    other.catch_up().await;
    assert!(is_about(renew(&mut other, &old.sign(una, 3600)).await.expect("a good token"), 3600));
    answer.add_permits(1);
    host.until("both answers", |host| host.heard.last().is_some_and(|frame| frame["type"] == "beat")).await;
    let answers: Vec<_> = host.heard.iter().filter(|frame| frame["ref"].is_u64()).map(|frame| &frame["ref"]).collect();
    assert_eq!(answers, [&json!(1), &json!(2)]);
}

/// What the tokens of a JWKS name as their issuer.
const ISSUER: &str = "https://issuer.example";

/// Signs tokens with a key of its own.
struct Issuer {
    id: &'static str,
    pair: KeyPair,
    key: EncodingKey,
}

impl Issuer {
    fn new(id: &'static str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let key = EncodingKey::from_ed_der(pair.serialized_der());
        Self { id, pair, key }
    }

    fn jwk(&self) -> Value {
        let public = BASE64_URL_SAFE_NO_PAD.encode(self.pair.der_bytes());
        json!({"kty": "OKP", "crv": "Ed25519", "x": public, "kid": self.id})
    }

    fn sign(&self, user: Uuid, seconds: i64) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.id.to_owned());
        let claims = json!({"iss": ISSUER, "sub": user, "name": "Hera", "exp": seconds_from_now(seconds)});
        encode(&header, &claims, &self.key).expect("a token")
    }
}
