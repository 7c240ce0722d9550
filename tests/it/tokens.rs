//! Which tokens the settings let in, which of them are the service's, and what is said of those that are refused.

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::harness::cluster::TestDatabase;
use crate::harness::issuer::{Issuer, Signer, key_set};
use crate::harness::process::{Finished, Process, run};
use crate::harness::rest::{seconds_from_now, service, sign};
use crate::harness::server::SECRET;
use crate::harness::{Client, Join, TestServer};

const ISSUER: &str = "https://id.example";

fn claims(changes: Value) -> Value {
    let mut claims = json!({"iss": ISSUER, "sub": Uuid::now_v7(), "name": "Una", "exp": seconds_from_now(3600)});
    for (key, value) in changes.as_object().expect("an object") {
        claims[key] = value.clone();
    }
    claims
}

/// Starts a server that has no database, and cannot start.
async fn start(flags: &[&str]) -> Finished {
    let base = ["serve", "--listen", "127.0.0.1:0", "--database-url", "postgres://127.0.0.1:1/nowhere"];
    run(&[&base, &["--jwt-secret", SECRET][..], flags].concat()).await
}

#[tokio::test]
async fn keys_without_an_issuer_or_an_audience_keep_a_server_from_starting() {
    let finished = start(&["--jwks", "keys.json"]).await;
    assert_eq!(finished.status.code(), Some(2), "{}", finished.stderr);
    let line = finished.complaint();
    assert!(line.contains("jwt-iss") && line.contains("jwt-aud"), "{line}");
    // An empty one is none.
    let finished = start(&["--jwks", "keys.json", "--jwt-iss", ""]).await;
    assert_eq!(finished.status.code(), Some(2), "{}", finished.stderr);
    // With one of them it goes on to look for the keys.
    for of_us in [["--jwt-iss", ISSUER], ["--jwt-aud", "rooms"]] {
        let finished = start(&[&["--jwks", "/nowhere/keys.json"], &of_us[..]].concat()).await;
        assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
        assert!(finished.complaint().contains("/nowhere/keys.json"), "{}", finished.stderr);
    }
}

#[tokio::test]
async fn a_document_that_is_no_key_set_is_refused_with_the_address_that_works() {
    let certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let issuer = Issuer::serve(json!({"a1b2": certificate, "c3d4": certificate}).to_string()).await;
    for (document, address) in [
        (None, "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com"),
        (Some(json!({"issuer": ISSUER, "jwks_uri": "https://id.example/keys"})), "https://id.example/keys"),
        (Some(json!({"keys": []})), "jwt-secret"),
    ] {
        document.into_iter().for_each(|document: Value| issuer.publish(document.to_string()));
        let finished = start(&["--jwks", &issuer.url(), "--jwt-aud", "PROJECT"]).await;
        assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
        assert!(finished.complaint().contains(address), "{}", finished.complaint());
    }
}

#[tokio::test]
async fn keys_come_by_http_from_private_addresses_alone_and_only_where_that_is_allowed() {
    let by_name = "http://keycloak.example:8080/keys";
    let finished = start(&["--jwks", by_name, "--jwt-iss", ISSUER]).await;
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
    assert!(finished.complaint().contains("jwks-allow-http"), "{}", finished.complaint());
    // No packet is sent there.
    let public = "http://203.0.113.7/keys";
    let finished = start(&["--jwks", public, "--jwks-allow-http", "--jwt-iss", ISSUER]).await;
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
    assert!(finished.complaint().contains("no private address"), "{}", finished.complaint());
}

/// A server with keys, an issuer, and these flags.
async fn with_keys(signer: &Signer, flags: &[&str]) -> (TestServer, Issuer, TempDir) {
    let (issuer, data) = (Issuer::serve(key_set([signer.jwk()])).await, TempDir::new().expect("a directory"));
    let (url, path) = (issuer.url(), data.path().to_str().expect("a path").to_owned());
    let base = ["--jwks", &url, "--jwt-iss", ISSUER, "--data-dir", &path];
    (TestServer::start(&[&base, flags].concat()).await, issuer, data)
}

async fn is_service(server: &TestServer, token: &str) {
    server.get("/v1/admin/stats", Some(token)).await.expect(200);
}

async fn is_user(server: &TestServer, token: &str) {
    server.get("/v1/reading-sessions", Some(token)).await.expect(200);
    server.get("/v1/admin/stats", Some(token)).await.refused(403, "forbidden");
}

async fn is_refused(server: &TestServer, token: &str) -> String {
    server.get("/v1/admin/stats", Some(token)).await.refused(401, "unauthenticated")
}

#[tokio::test]
async fn a_token_of_another_project_of_the_same_keys_gets_nothing() {
    let signer = Signer::es256("shared");
    let (server, _issuer, _data) = with_keys(&signer, &["--jwt-service-claim", "role=service_role"]).await;
    is_user(&server, &signer.sign(&claims(json!({})))).await;
    for role in ["service_role", "authenticated"] {
        for iss in [json!("https://other.example"), json!(null)] {
            is_refused(&server, &signer.sign(&claims(json!({"iss": iss, "role": role})))).await;
        }
    }
}

#[tokio::test]
async fn a_secret_beside_keys_is_the_servers_own_and_gives_the_rights_of_the_service() {
    let signer = Signer::es256("key");
    let flags =
        ["--jwt-secret", SECRET, "--jwt-aud", "rooms,games", "--jwt-sub-claim", "oid", "--jwt-role-claim", "kind"];
    let (server, _issuer, _data) = with_keys(&signer, &flags).await;
    // The settings are about the tokens of the keys.
    let user = json!({"oid": Uuid::now_v7(), "sub": "pairwise", "aud": "games"});
    is_user(&server, &signer.sign(&claims(user.clone()))).await;
    let mut service_role = user;
    service_role["kind"] = json!(["service_role"]);
    let answer = is_refused(&server, &signer.sign(&claims(service_role))).await;
    assert!(answer.contains("jwt-service-claim"), "{answer}");
    is_refused(&server, &signer.sign(&claims(json!({"aud": "rooms"})))).await;
    // The server's own have their claims where its own tokens have them, and need no issuer.
    is_service(&server, &service()).await;
    is_user(&server, &sign(&json!({"sub": Uuid::now_v7(), "exp": seconds_from_now(60)}))).await;
    // One that is for others is for others.
    is_refused(&server, &sign(&json!({"role": "service_role", "aud": "shop", "exp": seconds_from_now(60)}))).await;
    // A printed token is good here.
    let printed = ["token", "--jwks", "unread", "--jwt-secret", SECRET, "--jwt-aud", "rooms", "--role", "service_role"];
    is_service(&server, run(&printed).await.stdout.trim()).await;
}

#[tokio::test]
async fn a_claim_may_give_tokens_of_the_keys_the_rights_of_the_service() {
    let signer = Signer::es256("key");
    let flags = ["--jwt-service-claim", "https://app.example/roles=backend"];
    let (server, _issuer, _data) = with_keys(&signer, &flags).await;
    let of_roles = |roles| signer.sign(&claims(json!({"https://app.example/roles": roles})));
    for roles in [json!("backend"), json!(["user", "backend"])] {
        is_service(&server, &of_roles(roles)).await;
    }
    for roles in [json!("user"), json!([]), json!("backend user"), json!({"backend": true}), json!(null)] {
        is_user(&server, &of_roles(roles)).await;
    }
    // Nothing else does, and without a secret none of HS256 is good.
    is_refused(&server, &signer.sign(&claims(json!({"role": "service_role"})))).await;
    is_refused(&server, &service()).await;
}

#[tokio::test]
async fn the_settings_say_where_the_claims_of_a_secret_are_too() {
    let flags = [
        "--jwt-iss",
        ISSUER,
        "--jwt-role-claim",
        "realm_access.roles",
        "--jwt-name-claim",
        "https://app.example/nick",
        "--jwt-sub-claim",
        "oid",
    ];
    let server = TestServer::start(&flags).await;
    let id = Uuid::now_v7();
    let user = json!({"oid": id, "sub": "pairwise", "https://app.example/nick": "Lady Ada", "role": "service_role"});
    let user = sign(&claims(user));
    is_user(&server, &user).await;
    let open = server.open_as(Some(&user), json!({})).await;
    let host = Client::join(server.address(), open.id, &Join::token(&user)).await;
    let shown = &host.view[&host.id()];
    assert_eq!((&shown["user_id"], &shown["name"]), (&json!(id), &json!("Lady Ada")));
    is_service(&server, &sign(&claims(json!({"realm_access": {"roles": ["x", "service_role"]}})))).await;
    is_refused(&server, &sign(&claims(json!({"oid": id, "iss": "https://other.example"})))).await;
    // What is printed for these settings is good with them.
    let printed = async |more: &[&str]| {
        let token = run(&[&["token", "--jwt-secret", SECRET], &flags[..], more].concat()).await;
        assert_eq!(token.status.code(), Some(0), "{}", token.stderr);
        token.stdout.trim().to_owned()
    };
    is_service(&server, &printed(&["--role", "service_role"]).await).await;
    let token = printed(&["--sub", &id.to_string(), "--name", "Ada"]).await;
    is_user(&server, &token).await;
}

#[tokio::test]
async fn a_name_that_cannot_be_used_is_as_none() {
    let server = TestServer::start(&[]).await;
    let guide = server.open_as(Some(&service()), json!({})).await;
    for name in [json!(null), json!(7), json!("x".repeat(81)), json!("a\u{7}b"), json!(["Ada"])] {
        let token = sign(&claims(json!({"name": name})));
        let way = Join { invite: Some(guide.invite.clone()), ..Join::token(&token) };
        let ended = Client::refused(server.address(), &guide.id.to_string(), &way).await;
        assert_eq!(ended.error["code"], "invalid_request", "a name is needed: {name}");
        let una = Client::join(server.address(), guide.id, &Join { name: Some("Una".into()), ..way }).await;
        assert_eq!(una.view[&una.id()]["name"], "Una");
    }
}

#[tokio::test]
async fn an_api_key_of_supabase_is_answered_with_what_to_use() {
    let server = TestServer::start(&[]).await;
    let open = server.open().await;
    for key in ["sb_publishable_abcdefgh", "sb_secret_abcdefgh"] {
        let over_http = is_refused(&server, key).await;
        assert!(over_http.contains("access token") && over_http.contains("jwt-secret"), "{over_http}");
        let way = Join { token: Some(key.to_owned()), ..Join::invite(&open.invite, "Eve") };
        let ended = Client::refused(server.address(), &open.id.to_string(), &way).await;
        assert_eq!((ended.code, ended.error["message"].as_str()), (4501, Some(&*over_http)));
    }
    assert_eq!(server.metric("lastseen_refused_tokens_total{reason=\"api_key\"}").await, 4.0);
}

/// More than one reason may have lines in a minute, by far.
const MANY: usize = 200;

#[tokio::test]
async fn the_reason_of_a_refused_token_is_logged_now_and_then_and_counted_each_time() {
    let database = TestDatabase::new().await;
    let url = database.url();
    let server = Process::serve(&["--database-url", &url, "--database-connections", "4", "--jwt-secret", SECRET]).await;
    let metric = |reason| format!("lastseen_refused_tokens_total{{reason=\"{reason}\"}}");
    assert_eq!(server.rest.metric(&metric("expired")).await, 0.0);
    let text = server.rest.get("/metrics", None).await.expect(200);
    assert!(text.as_str().is_some_and(|text| text.contains(&metric("wrong_issuer"))), "each is there from the start");
    let bad = format!("{}x", sign(&claims(json!({"sub": Uuid::now_v7()}))));
    for _ in 0..MANY {
        server.rest.get("/v1/reading-sessions", Some(&bad)).await.refused(401, "unauthenticated");
    }
    let expired = sign(&claims(json!({"exp": seconds_from_now(-60)})));
    server.rest.get("/v1/reading-sessions", Some(&expired)).await.refused(401, "token_expired");
    assert_eq!(server.rest.metric(&metric("bad_signature")).await, MANY as f64);
    assert_eq!(server.rest.metric(&metric("expired")).await, 1.0);
    server.signal(Signal::SIGTERM);
    let log = server.finished().await.stderr;
    let lines = |reason: &str| {
        let reason = format!("\"reason\":\"{reason}\"");
        log.lines().filter(|line| line.contains("refused a token") && line.contains(&reason)).count()
    };
    assert!((1..MANY).contains(&lines("bad_signature")), "{}", lines("bad_signature"));
    assert_eq!(lines("expired"), 1, "{log}");
    for part in bad.split('.').chain(expired.split('.')).filter(|part| part.len() > 40) {
        assert!(!log.contains(part), "a part of a token is in the log");
    }
}

#[test]
fn every_reason_is_described() {
    let page = include_str!("../../docs/reference/logins.md");
    for reason in lastseen::identity::jwt::TokenFault::WORDS {
        assert!(page.contains(&format!("| `{reason}` |")), "{reason} is not in docs/reference/logins.md");
    }
}
