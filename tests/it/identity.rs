//! The identity of callers: JWTs of every kind that must be refused and of those that must not,
//! guests with an invite and with what `welcome` gave them, each by the role that they have.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::PublicKeyData;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::harness::issuer::{Issuer, Signer, key_set};
use crate::harness::rest::{seconds_from_now, service, sign, user};
use crate::harness::server::SECRET;
use crate::harness::{Client, Join, TestServer};

const ISSUER: &str = "https://id.example";

/// A user's claims, with some changed; `null` takes one out.
fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "sub": Uuid::now_v7(), "role": "authenticated", "name": "Una", "exp": seconds_from_now(3600)
    });
    for (key, value) in changes.as_object().expect("an object") {
        claims[key] = value.clone();
    }
    claims.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
    claims
}

/// Refused with this code over HTTP and over the WebSocket, although there is an invite as well.
async fn not_believed(server: &TestServer, what: &str, token: &str, code: &str) {
    let open = server.open().await;
    let answer = server.get("/v1/reading-sessions", Some(token)).await;
    assert_eq!(answer.headers["www-authenticate"], "Bearer", "{what}");
    let over_http = answer.refused(401, code);
    let ways = [
        Join { token: Some(token.to_owned()), ..Join::invite(&open.invite, "Eve") },
        Join {
            headers: vec![("sec-websocket-protocol", format!("lastseen.v1, lastseen.bearer.{token}"))],
            ..Join::invite(&open.invite, "Eve")
        },
    ];
    for way in ways {
        let ended = Client::refused(server.address(), &open.id.to_string(), &way).await;
        assert_eq!(
            (ended.error["code"].as_str(), ended.error["message"].as_str()),
            (Some(code), Some(&*over_http)),
            "{what}"
        );
        assert_eq!(ended.code, if code == "token_expired" { 4001 } else { 4501 }, "{what}");
    }
}

/// Accepted over HTTP and over the WebSocket.
async fn believed(server: &TestServer, what: &str, token: &str) {
    server.get("/v1/reading-sessions", Some(token)).await.expect(200);
    let open = server.open_as(Some(token), json!({})).await;
    let host = Client::join(server.address(), open.id, &Join::token(token)).await;
    assert_eq!(host.view[&host.id()]["role"], "host", "{what}");
    assert_eq!(host.view[&host.id()]["user_id"], open.body["host_user_id"], "{what}");
}

#[tokio::test]
async fn a_token_that_is_not_good_is_refused_wherever_it_is_shown() {
    let server = TestServer::start(&[]).await;
    let now = seconds_from_now;
    not_believed(&server, "expired", &sign(&claims(json!({"exp": now(-31)}))), "token_expired").await;
    let bad = [
        ("not yet valid", json!({"nbf": now(3600)})),
        ("without an end", json!({"exp": null})),
        ("with an end that is no time", json!({"exp": "soon"})),
        ("without a subject", json!({"sub": null})),
        ("with a subject that is no text", json!({"sub": 7})),
        ("with a role that is nobody's", json!({"role": "anon"})),
        ("expired and without a subject", json!({"exp": now(-3600), "sub": null})),
    ];
    for (what, changes) in bad {
        not_believed(&server, what, &sign(&claims(changes)), "unauthenticated").await;
    }
    let good = sign(&claims(json!({})));
    believed(&server, "what the others differ from", &good).await;
    believed(&server, "expired within the leeway", &sign(&claims(json!({"exp": now(-10)})))).await;
    believed(&server, "valid from within the leeway", &sign(&claims(json!({"nbf": now(20)})))).await;
    believed(&server, "without a role", &sign(&claims(json!({"role": null})))).await;
    believed(&server, "with a role of the app's own", &sign(&claims(json!({"role": "editor"})))).await;

    // The signature is of this secret and of these claims.
    let other =
        encode(&Header::default(), &claims(json!({})), &EncodingKey::from_secret(b"another secret")).expect("a token");
    not_believed(&server, "signed with another secret", &other, "unauthenticated").await;
    let [head, _, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("{good}") };
    let swapped = [head, &BASE64_URL_SAFE_NO_PAD.encode(claims(json!({})).to_string()), signature].join(".");
    not_believed(&server, "with other claims", &swapped, "unauthenticated").await;
}

#[tokio::test]
async fn the_algorithm_is_the_keys_and_never_the_tokens() {
    let server = TestServer::start(&[]).await;
    let payload = BASE64_URL_SAFE_NO_PAD.encode(claims(json!({})).to_string());
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let head = BASE64_URL_SAFE_NO_PAD.encode(json!({"typ": "JWT", "alg": alg}).to_string());
        for signature in ["", "x"] {
            not_believed(&server, alg, &format!("{head}.{payload}.{signature}"), "unauthenticated").await;
        }
    }
    // The right secret, and another algorithm of the family.
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let token = encode(&Header::new(algorithm), &claims(json!({})), &key).expect("a token");
        not_believed(&server, "another HMAC", &token, "unauthenticated").await;
    }
    let signer = Signer::es256("stranger");
    not_believed(&server, "a key of its own", &signer.sign(&claims(json!({}))), "unauthenticated").await;
}

#[tokio::test]
async fn where_an_audience_is_set_a_token_has_to_name_it() {
    let server = TestServer::start(&["--jwt-aud", "rooms"]).await;
    for aud in [json!(null), json!("games"), json!(""), json!(["games", "chess"]), json!(7)] {
        let what = format!("for {aud}");
        not_believed(&server, &what, &sign(&claims(json!({"aud": aud}))), "unauthenticated").await;
        let of_service = sign(&claims(json!({"aud": aud, "role": "service_role"})));
        not_believed(&server, &what, &of_service, "unauthenticated").await;
    }
    for aud in [json!("rooms"), json!(["games", "rooms"])] {
        believed(&server, "for this server", &sign(&claims(json!({"aud": aud})))).await;
    }
}

#[tokio::test]
async fn the_service_may_do_everything_and_needs_no_subject() {
    let server = TestServer::start(&[]).await;
    let open = server.open_as(Some(&user(Uuid::now_v7(), "Hera")), json!({})).await;
    for sub in [json!(null), json!("a client id"), json!(Uuid::now_v7())] {
        let token = sign(&claims(json!({"sub": sub, "role": "service_role"})));
        server.get(&format!("/v1/reading-sessions/{}", open.id), Some(&token)).await.expect(200);
        server.post("/v1/admin/sweep", Some(&token), Value::Null).await.expect(200);
        let observer = Client::join(server.address(), open.id, &Join::token(&token)).await;
        assert_eq!((&observer.welcome["you"], &observer.welcome["occupancy"]), (&Value::Null, &json!(0)));
    }
    let user = user(Uuid::now_v7(), "Una");
    server.post("/v1/admin/sweep", Some(&user), Value::Null).await.refused(403, "forbidden");
    server.post("/v1/admin/sweep", None, Value::Null).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn tokens_may_come_as_subprotocols() {
    let server = TestServer::start(&[]).await;
    let host = Uuid::now_v7();
    let open = server.open_as(Some(&user(host, "Hera")), json!({})).await;
    // What the client offers, whose welcome it gets, and the subprotocol that is agreed on.
    let connect = async |offered: &[&str], query: &str| {
        let protocols = offered.join(", ");
        let way =
            Join { more: query.to_owned(), headers: vec![("sec-websocket-protocol", protocols)], ..Join::default() };
        let stream = TcpStream::connect(server.address()).await.expect("a connection");
        let request = way.request(server.address(), &open.id.to_string());
        let (socket, response) = tokio_tungstenite::client_async(request, stream).await.expect("an upgrade");
        let agreed =
            response.headers().get("sec-websocket-protocol").map(|agreed| agreed.to_str().expect("text").to_owned());
        let mut client = Client::new(socket);
        assert_eq!(client.frame("welcome").await["type"], "welcome");
        assert_eq!(agreed.as_deref(), Some("lastseen.v1"), "and no token comes back: {:?}", response.headers());
        client
    };
    let bearer = format!("lastseen.bearer.{}", user(host, "Hera"));
    for offered in [["lastseen.v1", &*bearer], [&*bearer, "lastseen.v1"]] {
        let hera = connect(&offered, "").await;
        assert_eq!(hera.view[&hera.id()]["user_id"], json!(host));
        let resume = format!("lastseen.resume.{}", hera.resume_token());
        let again = connect(&["lastseen.v1", &resume], "").await;
        assert_eq!(again.id(), hera.id());
    }
    // A resume token goes before a JWT here too.
    let guest = connect(&["lastseen.v1"], &format!("name=Ada&invite={}", open.invite)).await;
    let resume = format!("lastseen.resume.{}", guest.resume_token());
    assert_eq!(connect(&["lastseen.v1", &bearer, &resume], "").await.id(), guest.id());
    // A client that cannot set a header uses the one for the JWT; the other way round is refused.
    let wrong = format!("lastseen.v1, lastseen.bearer.{}", guest.resume_token());
    let way = Join { headers: vec![("sec-websocket-protocol", wrong)], ..Join::default() };
    assert_eq!(Client::refused(server.address(), &open.id.to_string(), &way).await.code, 4501);
}

#[tokio::test]
async fn people_have_the_role_that_their_invite_gives_them() {
    let server = TestServer::start(&[]).await;
    let open = server.open_as(Some(&service()), json!({})).await;
    let path = format!("/v1/reading-sessions/{}/invites", open.id);
    // By the invite's role: that of a guest who joins by it, and that of a user.
    let kinds = [
        (json!({}), "guest", "participant"),
        (json!({"role": "guest"}), "guest", "participant"),
        (json!({"role": "participant"}), "participant", "participant"),
        (json!({"role": "host"}), "host", "host"),
    ];
    for (body, of_guest, of_user) in kinds {
        let invite = server.post(&path, Some(&service()), body.clone()).await.expect(201);
        let invite = invite["token"].as_str().expect("a token");
        let guest = Client::join(server.address(), open.id, &Join::invite(invite, "Ada")).await;
        let shown = &guest.view[&guest.id()];
        assert_eq!((&shown["role"], &shown["user_id"]), (&json!(of_guest), &Value::Null), "{body}");
        let id = Uuid::now_v7();
        let way = Join { invite: Some(invite.to_owned()), ..Join::token(&user(id, "Una")) };
        let una = Client::join(server.address(), open.id, &way).await;
        let shown = &una.view[&una.id()];
        assert_eq!(
            (&shown["role"], &shown["user_id"], &shown["name"]),
            (&json!(of_user), &json!(id), &json!("Una")),
            "{body}"
        );
        // A name that is asked for goes before the one in the JWT.
        let renamed = Join { name: Some("Dr. Una".into()), ..way };
        let una = Client::join(server.address(), open.id, &renamed).await;
        assert_eq!(una.view[&una.id()]["name"], "Dr. Una");
    }
}

#[tokio::test]
async fn a_guest_who_is_a_host_may_do_over_http_what_a_host_may() {
    let server = TestServer::start(&[]).await;
    let open = server.open().await;
    let way = Join::invite(open.host_invite.as_deref().expect("a host's invite"), "Hera");
    let hera = Client::join(server.address(), open.id, &way).await;
    let mut guest = Client::join(server.address(), open.id, &Join::invite(&open.invite, "Ada")).await;
    assert_eq!(hera.view[&hera.id()]["role"], "host");
    let token = hera.resume_token();
    let path = |more: &str| format!("/v1/reading-sessions/{}{more}", open.id);
    let changed = server.call(Method::PATCH, &path(""), Some(&token), json!({"title": "Ulysses"})).await.expect(200);
    assert_eq!(changed["title"], "Ulysses");
    let invite = server.post(&path("/invites"), Some(&token), json!({"max_uses": 1})).await.expect(201);
    let listed = server.get(&path("/invites"), Some(&token)).await.expect(200);
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(3));
    let revoke = path(&format!("/invites/{}", invite["id"].as_str().expect("an id")));
    server.call(Method::DELETE, &revoke, Some(&token), Value::Null).await.expect(204);
    let remove = path(&format!("/participants/{}", guest.id()));
    server.call(Method::DELETE, &remove, Some(&token), Value::Null).await.expect(204);
    assert_eq!(guest.ended().await.code, 4512);
    server.post(&path("/close"), Some(&token), Value::Null).await.expect(200);
    // And it is over for the host too.
    server.get(&path(""), Some(&token)).await.refused(410, "session_closed");
}

#[tokio::test]
async fn other_guests_may_look_at_their_own_session_and_nothing_else() {
    let server = TestServer::start(&[]).await;
    let (open, other) = (server.open().await, server.open().await);
    let invite = server
        .post(&format!("/v1/reading-sessions/{}/invites", open.id), Some(&service()), json!({"role": "participant"}))
        .await
        .expect(201);
    for (invite, name) in [(&*open.invite, "Ada"), (invite["token"].as_str().expect("a token"), "Bob")] {
        let guest = Client::join(server.address(), open.id, &Join::invite(invite, name)).await;
        let token = guest.resume_token();
        let path = |more: &str| format!("/v1/reading-sessions/{}{more}", open.id);
        assert!(server.get(&path(""), Some(&token)).await.expect(200)["occupancy"].is_u64());
        server.get(&path("/participants"), Some(&token)).await.expect(200);
        server.get(&path("/expiry"), Some(&token)).await.expect(200);
        let remove = path(&format!("/participants/{}", guest.id()));
        let forbidden = [
            (Method::PATCH, path(""), json!({"title": "Mine"})),
            (Method::POST, path("/close"), Value::Null),
            (Method::POST, path("/invites"), json!({})),
            (Method::GET, path("/invites"), Value::Null),
            (Method::DELETE, remove, Value::Null),
            (Method::GET, "/v1/reading-sessions".into(), Value::Null),
            (Method::POST, "/v1/admin/sweep".into(), Value::Null),
            (Method::GET, format!("/v1/reading-sessions/{}", other.id), Value::Null),
            (Method::GET, format!("/v1/reading-sessions/{}/participants", other.id), Value::Null),
        ];
        for (method, path, body) in forbidden {
            server.call(method, &path, Some(&token), body).await.refused(403, "forbidden");
        }
        server.get(&path(""), Some(&token[..token.len() - 1])).await.refused(401, "unauthenticated");
        // An invite opens the door and is no token for the interface.
        server.get(&path(""), Some(invite)).await.refused(401, "unauthenticated");
        server.get(&path(""), None).await.refused(401, "unauthenticated");
        // Once removed, not even that.
        let path_of_guest = path(&format!("/participants/{}", guest.id()));
        server.call(Method::DELETE, &path_of_guest, Some(&service()), Value::Null).await.expect(204);
        server.get(&path(""), Some(&token)).await.refused(403, "removed");
    }
}

/// A server that accepts the keys of this source, with a data directory for its own secret.
async fn with_jwks(source: &str) -> (TestServer, TempDir) {
    let data = TempDir::new().expect("a directory");
    let path = data.path().to_str().expect("a path").to_owned();
    (TestServer::start(&["--jwks", source, "--jwt-iss", ISSUER, "--data-dir", &path]).await, data)
}

#[tokio::test]
async fn public_keys_of_every_kind_are_read_from_a_file() {
    let signers = [Signer::rs256("rsa"), Signer::es256("ec"), Signer::eddsa("ed")];
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("jwks.json");
    std::fs::write(&file, key_set(signers.each_ref().map(Signer::jwk))).expect("a file");
    let (server, _data) = with_jwks(file.to_str().expect("a path")).await;
    for signer in &signers {
        believed(&server, signer.id, &signer.sign(&claims(json!({})))).await;
        // Of its kind there is but one, so it need not be named.
        believed(&server, signer.id, &signer.sign_as(None, &claims(json!({})))).await;
        let expired = signer.sign(&claims(json!({"exp": seconds_from_now(-31)})));
        not_believed(&server, signer.id, &expired, "token_expired").await;
        // Another key's name does not make it that key's token.
        for other in signers.iter().filter(|other| other.id != signer.id) {
            let token = signer.sign_as(Some(other.id), &claims(json!({})));
            not_believed(&server, "in another's name", &token, "unauthenticated").await;
        }
    }
    for forger in [Signer::rs256("rsa"), Signer::es256("ec"), Signer::eddsa("ed")] {
        not_believed(&server, "forged", &forger.sign(&claims(json!({}))), "unauthenticated").await;
    }
    let unknown = signers[1].sign_as(Some("retired"), &claims(json!({})));
    not_believed(&server, "of an unknown key", &unknown, "unauthenticated").await;

    // A public value must not be usable as the secret of an HMAC.
    let public = [
        signers[0].pair.public_key_pem().into_bytes(),
        signers[0].pair.subject_public_key_info(),
        signers[0].jwk()["n"].as_str().expect("text").as_bytes().to_vec(),
    ];
    for secret in public {
        for id in [Some("rsa".to_owned()), None] {
            let header = Header { kid: id, ..Header::new(Algorithm::HS256) };
            let token = encode(&header, &claims(json!({})), &EncodingKey::from_secret(&secret)).expect("a token");
            not_believed(&server, "HS256 with a public key", &token, "unauthenticated").await;
        }
    }
    // A server with public keys has no secret for JWTs.
    not_believed(&server, "HS256", &sign(&claims(json!({}))), "unauthenticated").await;
    let payload = BASE64_URL_SAFE_NO_PAD.encode(claims(json!({})).to_string());
    let head = BASE64_URL_SAFE_NO_PAD.encode(json!({"alg": "none", "kid": "rsa"}).to_string());
    not_believed(&server, "none", &format!("{head}.{payload}."), "unauthenticated").await;
    // Guests need no JWT, and come back with the server's own tokens.
    let open = server.open().await;
    let guest = Client::join(server.address(), open.id, &Join::invite(&open.invite, "Ada")).await;
    let again = Client::join(server.address(), open.id, &Join::resume(&guest.resume_token())).await;
    assert_eq!(again.id(), guest.id());
}

#[tokio::test]
async fn a_key_that_is_new_at_the_issuer_is_fetched_when_a_token_names_it() {
    let (old, new) = (Signer::es256("old"), Signer::eddsa("new"));
    let issuer = Issuer::serve(key_set([old.jwk()])).await;
    let (server, _data) = with_jwks(&issuer.url()).await;
    believed(&server, "the old key", &old.sign(&claims(json!({})))).await;
    issuer.publish(key_set([new.jwk()]));
    believed(&server, "the new key", &new.sign(&claims(json!({})))).await;
    // Keys were read a moment ago and are not read again yet. What is unknown until then is refused for now, never
    // for good: it may be a key that is newer still.
    let (newer, open) = (Signer::es256("newer"), server.open().await);
    issuer.publish(key_set([new.jwk(), newer.jwk()]));
    for signer in [&old, &newer] {
        let token = signer.sign(&claims(json!({})));
        let answer = server.call_once(Method::GET, "/v1/reading-sessions", Some(&token), Value::Null).await;
        let seconds: u64 = answer.headers["retry-after"].to_str().expect("text").parse().expect("whole seconds");
        assert!(seconds <= 36, "{seconds}");
        answer.refused(503, "unavailable");
        let way = Join { token: Some(token), ..Join::invite(&open.invite, "Una") };
        let ended = Client::refused_at_once(server.address(), &open.id.to_string(), &way).await;
        assert_eq!((ended.code, &ended.error["code"]), (1013, &json!("unavailable")));
        assert_eq!(ended.error["retry"], true);
    }
    // While the issuer is away the keys that are known are good.
    issuer.stop().await;
    believed(&server, "the new key", &new.sign(&claims(json!({})))).await;
}
