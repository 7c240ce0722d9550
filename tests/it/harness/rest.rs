//! The HTTP interface, as an app developer calls it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use lastseen::domain::ids::UserId;
use lastseen::domain::subject::Subject;
use lastseen::identity::jwt::{self, JwtRole};
use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::PATIENCE;
use super::client::Join;
use super::server::SECRET;

/// An answer of the HTTP interface.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
    /// How often the call was made before, and answered with `unavailable`: each of these may have been served as well.
    pub before: i64,
}

impl Answer {
    /// The body of an answer that must have this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body
    }

    /// The body of what was made; 200 in place of 201 where a busy machine had made it before its first answer came.
    #[track_caller]
    pub fn made(self) -> Value {
        assert!(matches!(self.status.as_u16(), 200 | 201), "{} {}", self.status, self.body);
        self.body
    }

    /// Whether the server asks to come again, since the database did not answer in time.
    pub fn is_unavailable(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE && self.body["code"] == "unavailable"
    }

    /// A refusal with this status and code, in the form of RFC 9457; gives its detail.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> String {
        assert_eq!((self.status.as_u16(), self.body["code"].as_str()), (status, Some(code)), "{}", self.body);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(
            (self.body["type"].as_str(), self.body["status"].as_u64()),
            (Some("about:blank"), Some(status.into()))
        );
        assert!(self.body["title"].is_string());
        self.body["detail"].as_str().expect("a detail").to_owned()
    }
}

/// A client of the HTTP interface.
#[derive(Clone)]
pub struct Rest {
    pub address: SocketAddr,
    base: String,
    http: reqwest::Client,
}

/// A session that was just opened, and the ways into it.
#[derive(Clone, Debug)]
pub struct Opened {
    pub id: Uuid,
    pub invite: String,
    pub host_invite: Option<String>,
    pub body: Value,
}

impl Rest {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, base: format!("http://{address}"), http: client().build().expect("a client") }
    }

    /// Of a server with this certificate, for `localhost`, and no other.
    pub fn over_tls(address: SocketAddr, certificate: &[u8]) -> Self {
        let trusted = reqwest::Certificate::from_pem(certificate).expect("a certificate");
        let http = client().tls_certs_only([trusted]).resolve("localhost", address).build().expect("a client");
        Self { address, base: format!("https://localhost:{}", address.port()), http }
    }

    /// Calls with a token or none, with a JSON body or none (`Value::Null`). As clients do, it comes again where the
    /// server is `unavailable`: on a busy machine a database may not answer in time.
    pub async fn call(&self, method: Method, path: &str, token: Option<&str>, body: Value) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        for before in 0.. {
            let answer = self.call_once(method.clone(), path, token, body.clone()).await;
            if !path.starts_with("/v1/") || !answer.is_unavailable() || Instant::now() >= deadline {
                return Answer { before, ..answer };
            }
            sleep(Duration::from_millis(100)).await;
        }
        unreachable!("there is a deadline")
    }

    /// Calls, and takes the first answer.
    pub async fn call_once(&self, method: Method, path: &str, token: Option<&str>, body: Value) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if !body.is_null() {
            request = request.json(&body);
        }
        answer(request).await
    }

    /// Calls with these headers and this body, byte for byte.
    pub async fn raw(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.base)).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request).await
    }

    /// A handshake by a client that would rather read a refusal as an HTTP answer. It comes again as a call does.
    pub async fn handshake(&self, session: &str, join: &Join) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.handshake_once(session, join).await;
            if !answer.is_unavailable() || Instant::now() >= deadline {
                return answer;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// The same, with the first answer.
    pub async fn handshake_once(&self, session: &str, join: &Join) -> Answer {
        let (parts, ()) = join.request(self.address, session).into_parts();
        let url = parts.uri.to_string().replacen("ws://", "http://", 1);
        let request = self.http.get(url).headers(parts.headers).header("accept", "application/problem+json");
        answer(request).await
    }

    pub async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        self.call(Method::GET, path, token, Value::Null).await
    }

    pub async fn post(&self, path: &str, token: Option<&str>, body: Value) -> Answer {
        self.call(Method::POST, path, token, body).await
    }

    pub async fn patch(&self, path: &str, token: Option<&str>, body: Value) -> Answer {
        self.call(Method::PATCH, path, token, body).await
    }

    pub async fn delete(&self, path: &str, token: Option<&str>) -> Answer {
        self.call(Method::DELETE, path, token, Value::Null).await
    }

    /// Opens a session as a guest.
    pub async fn open(&self) -> Opened {
        self.open_as(None, json!({})).await
    }

    /// Opens a session as the caller with this token.
    pub async fn open_as(&self, token: Option<&str>, body: Value) -> Opened {
        let body = self.post("/v1/reading-sessions", token, body).await.expect(201);
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Opened {
            id: body["id"].as_str().expect("an id").parse().expect("a UUID"),
            invite: text(&body["invite"]["token"]).expect("an invite"),
            host_invite: text(&body["host_invite"]["token"]),
            body,
        }
    }

    /// The people in a session, by the HTTP interface.
    pub async fn participants(&self, session: Uuid) -> Value {
        self.get(&format!("/v1/reading-sessions/{session}/participants"), Some(&service())).await.expect(200)
    }

    /// Closes a session as the service.
    pub async fn close(&self, session: Uuid) -> Answer {
        self.post(&format!("/v1/reading-sessions/{session}/close"), Some(&service()), Value::Null).await
    }

    /// Sweeps now, to the end: on a busy machine the sweep goes on after the answer.
    pub async fn sweep(&self) -> Value {
        let begun = self.post("/v1/admin/sweep", Some(&service()), Value::Null).await;
        if begun.status != StatusCode::ACCEPTED {
            return begun.expect(200);
        }
        // Not `eventually`: tests sweep in tasks of their own, and its condition may not change threads.
        let ended = async {
            loop {
                let newest = self.get("/v1/admin/sweep", Some(&service())).await.expect(200);
                if newest["running"] == false {
                    return newest["swept"].clone();
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, ended).await.expect("the end of the sweep")
    }

    /// A figure of `/metrics`, by its full name with labels; zero where it is not there (yet).
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics", None).await.body;
        let text = text.as_str().expect("text");
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok()).unwrap_or(0.0)
    }
}

/// A connection for each request: one that rests is closed by the server when a test lets time pass.
fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy().redirect(Policy::none()).pool_max_idle_per_host(0)
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status(), response.headers().clone());
    // After a switch of protocols there is no body that would end.
    let text = match status {
        StatusCode::SWITCHING_PROTOCOLS => String::new(),
        _ => response.text().await.expect("a body"),
    };
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer { status, headers, body, before: 0 }
}

/// The keys of an object, to see that there are these and no others.
pub fn keys(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap_or_else(|| panic!("{object} is no object")).keys().map(String::as_str).collect()
}

/// What a sweep did: its answer without what is zero or empty.
pub fn did(swept: &Value) -> Value {
    let swept = swept.as_object().unwrap_or_else(|| panic!("{swept} is no object"));
    let done = swept.iter().filter(|(_, count)| **count != json!(0) && **count != json!([]));
    done.map(|(policy, count)| (policy.clone(), count.clone())).collect::<serde_json::Map<_, _>>().into()
}

/// A token of the service, good for longer than a test lets pass.
pub fn service() -> String {
    jwt::issue(SECRET.as_bytes(), None, None, JwtRole::Service, None, Duration::from_hours(24))
}

/// A token of a user.
pub fn user(id: Uuid, name: &str) -> String {
    user_for(id, name, Duration::from_secs(3600))
}

/// A token of a user that is good for this long.
pub fn user_for(id: Uuid, name: &str, ttl: Duration) -> String {
    let subject = Subject::from(UserId(id));
    jwt::issue(SECRET.as_bytes(), Some(&subject), Some(name), JwtRole::Authenticated, None, ttl)
}

/// A token with these claims, signed with the tests' secret.
pub fn sign(claims: &Value) -> String {
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET.as_bytes())).expect("a token")
}

/// The present second of Unix time, and so many on.
pub fn seconds_from_now(offset: i64) -> i64 {
    jsonwebtoken::get_current_timestamp().cast_signed() + offset
}
