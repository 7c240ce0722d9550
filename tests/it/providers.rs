//! The pages on logins: a server with the settings of a page takes the tokens of that page, and no others. The keys are
//! the test's own, on a loopback address.

use std::fs;
use std::path::Path;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::issuer::{Issuer, Signer, key_set};
use crate::harness::rest::{seconds_from_now, service, sign};
use crate::harness::server::SECRET;
use crate::harness::{Client, Join, TestServer};

/// What a page says.
struct Page {
    /// The flags of its first command.
    flags: Vec<String>,
    /// The claims of its tokens, in their order.
    tokens: Vec<Value>,
    /// Whether the command has a secret beside the keys.
    has_secret: bool,
}

impl Page {
    fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/how-to/logins").join(name);
        let text = fs::read_to_string(path).expect("the page");
        let blocks: Vec<_> = text.split("```").skip(1).step_by(2).collect();
        let of = |language: &'static str| blocks.iter().filter_map(move |block| block.strip_prefix(language));
        let command = of("sh\n").find(|block| block.contains("lastseen serve")).expect("a command");
        let has_secret = command.contains("export LASTSEEN_JWT_SECRET=");
        let (_, flags) = command.split_once("lastseen serve").expect("its flags");
        let flags = shlex::split(&flags.replace("\\\n", " ")).expect("words");
        let tokens = of("json\n").map(|block| serde_json::from_str(block).expect("JSON")).collect();
        Self { flags, tokens, has_secret }
    }

    /// The value of a flag.
    fn flag(&self, name: &str) -> &str {
        let at = self.flags.iter().position(|flag| flag == name).unwrap_or_else(|| panic!("no {name}"));
        &self.flags[at + 1]
    }

    /// A token of the page, with times of now and with some claims changed; `null` takes one out.
    fn token(&self, index: usize, changes: Value) -> Value {
        let mut claims = self.tokens[index].clone();
        for (key, value) in [("iat", -10), ("nbf", -20), ("auth_time", -10), ("exp", 3600)] {
            if claims.get(key).is_some() {
                claims[key] = json!(seconds_from_now(value));
            }
        }
        for (key, value) in changes.as_object().expect("an object") {
            claims[key] = value.clone();
        }
        claims.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
        claims
    }
}

/// A provider with its page, its key, and a server with the settings of the page.
struct Provider {
    page: Page,
    signer: Signer,
    server: TestServer,
    _issuer: Issuer,
    _data: TempDir,
}

impl Provider {
    /// With a key set made of the public key.
    async fn start(page: &str, signer: Signer, set: impl FnOnce(Value) -> Vec<Value>, more: &[&str]) -> Self {
        let page = Page::read(page);
        let issuer = Issuer::serve(key_set(set(signer.jwk()))).await;
        let data = TempDir::new().expect("a directory");
        let url = issuer.url_by_name();
        let mut flags: Vec<&str> = page.flags.iter().map(String::as_str).collect();
        let jwks = flags.iter().position(|flag| *flag == "--jwks").expect("keys");
        flags[jwks + 1] = &url;
        flags.extend(["--data-dir", data.path().to_str().expect("a path")]);
        if page.has_secret {
            flags.extend(["--jwt-secret", SECRET]);
        }
        flags.extend(more);
        let server = TestServer::start(&flags).await;
        Self { page, signer, server, _issuer: issuer, _data: data }
    }

    /// The user of the first token.
    fn user(&self) -> &str {
        self.page.tokens[0]["sub"].as_str().expect("a subject")
    }

    fn sign(&self, index: usize, changes: Value) -> String {
        self.signer.sign(&self.page.token(index, changes))
    }

    /// The user of a token of the page opens a session and is its host, under this id and name. They are not the
    /// service.
    async fn is_user(&self, token: &str, id: &str, name: Option<&str>) {
        let open = self.server.open_as(Some(token), json!({})).await;
        assert_eq!(open.body["host_user_id"], json!(id));
        let join = Join { name: name.is_none().then(|| "Guest".to_owned()), ..Join::token(token) };
        let host = Client::join(self.server.address(), open.id, &join).await;
        let shown = &host.view[&host.id()];
        assert_eq!(
            (&shown["role"], &shown["user_id"], &shown["name"]),
            (&json!("host"), &json!(id), &json!(name.unwrap_or("Guest")))
        );
        self.server.get("/v1/admin/stats", Some(token)).await.refused(403, "forbidden");
    }

    async fn is_service(&self, token: &str) {
        self.server.get("/v1/admin/stats", Some(token)).await.expect(200);
    }

    /// Refused, and counted by the reason.
    async fn refuses(&self, token: &str, code: &str, reason: &str) {
        let metric = format!("lastseen_refused_tokens_total{{reason=\"{reason}\"}}");
        let before = self.server.metric(&metric).await;
        let answer = self.server.get("/v1/reading-sessions", Some(token)).await.refused(401, code);
        assert!(!answer.contains(token), "{answer}");
        assert_eq!(self.server.metric(&metric).await, before + 1.0, "{reason}: {answer}");
    }

    /// Tokens that differ from the user's, the first of the page, in one thing.
    async fn refuses_what_differs(&self) {
        let changed = |changes| self.sign(0, changes);
        self.refuses(&changed(json!({"exp": seconds_from_now(-60)})), "token_expired", "expired").await;
        let bad = "unauthenticated";
        for iss in [json!("https://id.example/other"), json!(null)] {
            self.refuses(&changed(json!({"iss": iss})), bad, "wrong_issuer").await;
        }
        self.refuses(&changed(json!({"role": "service_role"})), bad, "no_service_rights").await;
        let forger = Signer::of(self.signer.algorithm_name(), self.signer.id);
        self.refuses(&forger.sign(&self.page.token(0, json!({}))), bad, "bad_signature").await;
        let unknown = self.signer.sign_as(Some("of another project"), &self.page.token(0, json!({})));
        self.refuses(&unknown, bad, "unknown_key").await;

        // The public key is no secret.
        let header = Header { kid: Some(self.signer.id.to_owned()), ..Header::new(Algorithm::HS256) };
        let key = EncodingKey::from_secret(self.signer.pair.public_key_pem().as_bytes());
        let token = encode(&header, &self.page.token(0, json!({})), &key).expect("a token");
        let reason = if self.page.has_secret { "bad_signature" } else { "wrong_algorithm" };
        self.refuses(&token, bad, reason).await;
    }

    async fn refuses_another_audience(&self, claim: &str) {
        for other in [json!("others"), json!(null)] {
            self.refuses(&self.sign(0, json!({claim: other})), "unauthenticated", "wrong_audience").await;
        }
    }
}

/// The set has this key for signatures.
fn plain(mut jwk: Value) -> Vec<Value> {
    jwk["use"] = json!("sig");
    vec![jwk]
}

#[tokio::test]
async fn supabase() {
    let supabase = Provider::start("supabase.md", Signer::es256("of-supabase"), plain, &[]).await;
    let sub = supabase.user();
    supabase.is_user(&supabase.sign(0, json!({})), sub, Some("Ada Lovelace")).await;
    let nameless = supabase.sign(0, json!({"user_metadata": {}, "is_anonymous": true}));
    supabase.is_user(&nameless, sub, None).await;
    supabase.refuses_what_differs().await;
    supabase.refuses_another_audience("aud").await;
    let bad = "unauthenticated";
    supabase.refuses(&supabase.sign(0, json!({"role": "anon"})), bad, "anonymous_role").await;

    // The backend's own, and the API keys.
    supabase.is_service(&service()).await;
    for key in ["sb_publishable_0123456789abcdefghijkl_01234567", "sb_secret_0123456789abcdefghijkl_01234567"] {
        supabase.refuses(key, bad, "api_key").await;
        let answer = supabase.server.get("/v1/reading-sessions", Some(key)).await.refused(401, bad);
        assert!(answer.contains("access token") && answer.contains("jwt-secret"), "{answer}");
    }
    // The older keys, of a project whose secret is the server's.
    let year = seconds_from_now(365 * 24 * 3600);
    let key = |role| sign(&json!({"iss": "supabase", "ref": "PROJECT", "role": role, "iat": 1, "exp": year}));
    supabase.refuses(&key("anon"), bad, "anonymous_role").await;
    supabase.is_service(&key("service_role")).await;
    // A user's token that was signed with that secret.
    supabase.is_user(&sign(&supabase.page.token(0, json!({}))), sub, Some("Ada Lovelace")).await;
}

#[tokio::test]
async fn auth0() {
    let auth0 = Provider::start("auth0.md", Signer::rs256("of-auth0"), plain, &[]).await;
    auth0.is_user(&auth0.sign(0, json!({})), auth0.user(), Some("Ada Lovelace")).await;
    auth0.refuses_what_differs().await;
    auth0.refuses_another_audience("aud").await;
    auth0.is_service(&auth0.sign(1, json!({}))).await;
    let elsewhere = auth0.sign(1, json!({"aud": "https://other.example"}));
    auth0.refuses(&elsewhere, "unauthenticated", "wrong_audience").await;
    // What a page gets that names no audience.
    auth0.refuses("eyJhbGciOiJkaXIifQ..AAAA.AAAA.AAAA", "unauthenticated", "encrypted").await;
}

#[tokio::test]
async fn clerk() {
    let clerk = Provider::start("clerk.md", Signer::rs256("of-clerk"), plain, &[]).await;
    clerk.is_user(&clerk.sign(0, json!({})), clerk.user(), Some("Ada Lovelace")).await;
    clerk.refuses_what_differs().await;
    clerk.refuses_another_audience("azp").await;
    clerk.is_service(&service()).await;
}

#[tokio::test]
async fn firebase() {
    let firebase = Provider::start("firebase.md", Signer::rs256("of-firebase"), plain, &[]).await;
    firebase.is_user(&firebase.sign(0, json!({})), firebase.user(), Some("Ada Lovelace")).await;
    firebase.refuses_what_differs().await;
    firebase.refuses_another_audience("aud").await;
    // Of another project, which has the same keys.
    let other = json!({"iss": "https://securetoken.google.com/OTHER", "aud": "OTHER"});
    firebase.refuses(&firebase.sign(0, other), "unauthenticated", "wrong_issuer").await;
    firebase.is_service(&service()).await;
    assert!(firebase.page.flag("--jwks").contains("/service_accounts/v1/jwk/"), "the address that a refusal names");
}

#[tokio::test]
async fn keycloak() {
    let with_encryption = |jwk: Value| {
        let mut encryption = Signer::rs256("for-encryption").jwk();
        (encryption["use"], encryption["alg"]) = (json!("enc"), json!("RSA-OAEP"));
        [vec![encryption], plain(jwk)].concat()
    };
    let signer = Signer::rs256("of-keycloak");
    let keycloak = Provider::start("keycloak.md", signer, with_encryption, &["--jwks-allow-http"]).await;
    let sub = keycloak.user();
    keycloak.is_user(&keycloak.sign(0, json!({})), sub, Some("Ada Lovelace")).await;
    keycloak.is_user(&keycloak.sign(0, json!({"name": null})), sub, Some("ada")).await;
    keycloak.refuses_what_differs().await;
    keycloak.refuses(&keycloak.sign(0, json!({"sub": null})), "unauthenticated", "no_subject").await;
    keycloak.is_service(&keycloak.sign(1, json!({}))).await;
}

#[tokio::test]
async fn cognito() {
    let cognito = Provider::start("cognito.md", Signer::rs256("of-cognito="), plain, &[]).await;
    let sub = cognito.user();
    cognito.is_user(&cognito.sign(0, json!({})), sub, Some("Ada Lovelace")).await;
    cognito.is_user(&cognito.sign(0, json!({"name": null})), sub, Some("ada")).await;
    cognito.is_user(&cognito.sign(1, json!({})), sub, None).await;
    cognito.refuses_what_differs().await;
    cognito.refuses_another_audience("aud").await;
    let elsewhere = cognito.sign(1, json!({"client_id": "of another app"}));
    cognito.refuses(&elsewhere, "unauthenticated", "wrong_audience").await;
    cognito.is_service(&cognito.sign(2, json!({}))).await;
}

#[tokio::test]
async fn entra() {
    let without_algorithm = |mut jwk: Value| {
        jwk.as_object_mut().expect("an object").remove("alg");
        plain(jwk)
    };
    let entra = Provider::start("entra.md", Signer::rs256("of-entra"), without_algorithm, &[]).await;
    let oid = entra.page.tokens[0]["oid"].as_str().expect("an id");
    entra.is_user(&entra.sign(0, json!({})), oid, Some("Ada Lovelace")).await;
    entra.refuses_what_differs().await;
    entra.refuses_another_audience("aud").await;
    let version_1 = json!({"iss": "https://sts.windows.net/99999999-8888-4777-8666-555555555555/", "ver": "1.0"});
    entra.refuses(&entra.sign(0, version_1), "unauthenticated", "wrong_issuer").await;
    entra.is_service(&entra.sign(1, json!({}))).await;
}

#[tokio::test]
async fn a_backend_of_ones_own() {
    let page = Page::read("own.md");
    assert!(page.has_secret && page.flags.is_empty(), "{:?}", page.flags);
    let server = TestServer::start(&[]).await;
    let token = |index, changes| page.token(index, changes);
    let ada = sign(&token(0, json!({})));
    let open = server.open_as(Some(&ada), json!({})).await;
    let host = Client::join(server.address(), open.id, &Join::token(&ada)).await;
    let shown = &host.view[&host.id()];
    assert_eq!((&shown["user_id"], &shown["name"]), (&page.tokens[0]["sub"], &json!("Ada Lovelace")));
    server.get("/v1/admin/stats", Some(&ada)).await.refused(403, "forbidden");
    server.get("/v1/admin/stats", Some(&sign(&token(1, json!({}))))).await.expect(200);
    let expired = sign(&token(0, json!({"exp": seconds_from_now(-60)})));
    server.get("/v1/reading-sessions", Some(&expired)).await.refused(401, "token_expired");
    let key = EncodingKey::from_secret(b"another secret that is long enough to be one");
    let forged = encode(&Header::default(), &token(0, json!({})), &key).expect("a token");
    server.get("/v1/reading-sessions", Some(&forged)).await.refused(401, "unauthenticated");
}

#[test]
fn every_page_on_logins_is_in_the_table_of_what_was_tried() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let table = fs::read_to_string(docs.join("reference/logins.md")).expect("the table");
    let guide = fs::read_to_string(docs.join("how-to/logins/README.md")).expect("the guide");
    let mut pages = 0;
    for page in fs::read_dir(docs.join("how-to/logins")).expect("the pages") {
        let name = page.expect("a page").file_name().into_string().expect("a name");
        if name != "README.md" {
            pages += 1;
            assert!(table.contains(&format!("(../how-to/logins/{name})")), "{name} is not in the table");
            assert!(guide.contains(&format!("({name})")), "{name} is not in the guide");
        }
    }
    assert_eq!(pages, 8);
}
