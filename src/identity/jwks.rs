//! The public keys that JWTs are checked with: a JSON Web Key Set out of a file or from a URL, read
//! at the start, again every ten minutes, and when a token names a key that is not in it.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use parking_lot::RwLock;
use reqwest::{Client, StatusCode, Url, redirect};
use serde::Deserialize;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

/// What a key set may have at most, in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// When keys are read. Tests have less patience.
#[derive(Debug, Clone, Copy)]
struct Timing {
    /// From one reading to the next.
    refresh: Duration,
    /// Between two readings that tokens with unknown keys caused, as anybody can send those.
    unknown_key: Duration,
    /// What one reading may take.
    limit: Duration,
}

const TIMING: Timing =
    Timing { refresh: Duration::from_mins(10), unknown_key: Duration::from_secs(30), limit: Duration::from_secs(5) };

/// Why there is no key set.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// The setting names neither a file nor an address that may be asked.
    #[error("a JWKS is a file or an https URL without a password; http is only for this machine")]
    NotASource,
    /// The file or the address gave no keys.
    #[error("cannot load the JWKS from {source_name}: {fault}")]
    Load {
        /// The path, or the URL without its query.
        source_name: String,
        /// What went wrong.
        fault: LoadFault,
    },
}

/// What can go wrong when a key set is read.
#[derive(Debug, thiserror::Error)]
pub enum LoadFault {
    /// The file cannot be read.
    #[error("{0}")]
    File(#[from] io::Error),
    /// The request failed; the text says at which step.
    #[error("{0}")]
    Request(String),
    /// The server answered with another status than a success. Redirects are not followed.
    #[error("the answer was {0}")]
    Status(StatusCode),
    /// It took longer than five seconds.
    #[error("it took too long")]
    TimedOut,
    /// It is larger than 1 MiB.
    #[error("it is larger than {MAX_BYTES} bytes")]
    TooLarge,
    /// It is no JSON object with an array `keys`.
    #[error("it is not a JSON Web Key Set: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It has no public key for RS256, ES256 or EdDSA.
    #[error("it holds no key that can be used (RS256, ES256 and EdDSA are)")]
    NoUsableKey,
}

impl From<reqwest::Error> for LoadFault {
    fn from(error: reqwest::Error) -> Self {
        // reqwest leaves the actual reason to the sources. The URL is told by `JwksError`, and its
        // query by nobody.
        let error = error.without_url();
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Self::Request(text)
    }
}

/// Where a key set comes from.
#[derive(Clone, PartialEq, Eq)]
pub struct JwksSource(Place);

#[derive(Clone, PartialEq, Eq)]
enum Place {
    File(PathBuf),
    Url(Url),
}

impl JwksSource {
    /// Takes a path, or a URL: https, or http where the host is this machine itself.
    ///
    /// # Errors
    ///
    /// [`JwksError::NotASource`] for any other URL, for one with a password, and for no text at all.
    pub fn parse(text: &str) -> Result<Self, JwksError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(JwksError::NotASource);
        }
        if !text.contains("://") {
            return Ok(Self(Place::File(text.into())));
        }
        let url: Url = text.parse().map_err(|_| JwksError::NotASource)?;
        let is_private = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
        if is_private && url.username().is_empty() && url.password().is_none() {
            Ok(Self(Place::Url(url)))
        } else {
            Err(JwksError::NotASource)
        }
    }

    async fn load(&self, limit: Duration) -> Result<KeySet, LoadFault> {
        let read = async {
            match &self.0 {
                Place::File(path) => read_file(path).await,
                Place::Url(url) => fetch(url).await,
            }
        };
        let json = timeout(limit, read).await.map_err(|_| LoadFault::TimedOut)??;
        KeySet::parse(&json)
    }

    fn error(&self, fault: LoadFault) -> JwksError {
        JwksError::Load { source_name: self.to_string(), fault }
    }
}

impl fmt::Display for JwksSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::File(path) => path.display().fmt(f),
            // Some services want their API key in the query.
            Place::Url(url) => write!(f, "{}{}", url.origin().ascii_serialization(), url.path()),
        }
    }
}

impl fmt::Debug for JwksSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JwksSource({self})")
    }
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    })
}

async fn read_file(path: &PathBuf) -> Result<Vec<u8>, LoadFault> {
    let mut json = Vec::new();
    File::open(path).await?.take(MAX_BYTES as u64 + 1).read_to_end(&mut json).await?;
    if json.len() > MAX_BYTES { Err(LoadFault::TooLarge) } else { Ok(json) }
}

/// Fetches with a client of its own: at one request in ten minutes no connection is worth keeping,
/// and new root certificates of this machine are seen.
async fn fetch(url: &Url) -> Result<Vec<u8>, LoadFault> {
    // A redirect could lead to where `parse` lets nobody go.
    let mut client = Client::builder().redirect(redirect::Policy::none());
    if is_loopback(url) {
        client = client.no_proxy();
    }
    let mut response = client.build()?.get(url.clone()).send().await?;
    if !response.status().is_success() {
        return Err(LoadFault::Status(response.status()));
    }
    let mut json = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if json.len() + chunk.len() > MAX_BYTES {
            return Err(LoadFault::TooLarge);
        }
        json.extend_from_slice(&chunk);
    }
    Ok(json)
}

/// A key, and the only algorithm that it is used with.
#[derive(Debug)]
pub(super) struct PublicKey {
    id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// Why no key fits a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoKey {
    /// No key has the id that the token names.
    UnknownId,
    /// The key is not one for the token's algorithm; or none is, where the token names no key.
    OtherAlgorithm,
    /// The token names no key, and more than one could be meant.
    Ambiguous,
    /// It may be a new key, but the new keys cannot be had just now.
    Unavailable,
}

#[derive(Debug)]
struct KeySet(Vec<Arc<PublicKey>>);

impl KeySet {
    /// Reads the keys that can be used and passes over the others, as sets are shared with programs
    /// of other needs.
    fn parse(json: &[u8]) -> Result<Self, LoadFault> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<serde_json::Value>,
        }
        let document: Document = serde_json::from_slice(json)?;
        let mut keys = Vec::new();
        for value in document.keys {
            let key = serde_json::from_value(value).map_err(|_| Unusable::Malformed);
            match key.and_then(|jwk: Jwk| PublicKey::new(&jwk)) {
                Ok(key) => keys.push(Arc::new(key)),
                Err(Unusable::Symmetric) => {
                    tracing::warn!("a symmetric key in the JWKS is not used; whoever can read the set can sign with it")
                }
                Err(reason) => tracing::debug!(?reason, "a key in the JWKS is not used"),
            }
        }
        if keys.is_empty() { Err(LoadFault::NoUsableKey) } else { Ok(Self(keys)) }
    }

    /// The key for a token that names this id, and claims to be signed with this algorithm. The claim
    /// can rule keys out, and never makes a key do what it is not for.
    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Arc<PublicKey>, NoKey> {
        let named: Vec<_> = self.0.iter().filter(|key| id.is_none() || key.id.as_deref() == id).collect();
        if named.is_empty() {
            return Err(NoKey::UnknownId);
        }
        let mut fitting = named.into_iter().filter(|key| key.algorithm == algorithm);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(Arc::clone(key)),
            (Some(_), Some(_)) => Err(NoKey::Ambiguous),
            (None, _) => Err(NoKey::OtherAlgorithm),
        }
    }
}

/// Why a key of the set is passed over.
#[derive(Debug)]
enum Unusable {
    Malformed,
    Symmetric,
    NotForSignatures,
    OtherAlgorithm,
}

impl PublicKey {
    fn new(jwk: &Jwk) -> Result<Self, Unusable> {
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
            AlgorithmParameters::OctetKey(_) => return Err(Unusable::Symmetric),
            _ => return Err(Unusable::OtherAlgorithm),
        };
        let about = &jwk.common;
        if about.key_algorithm.is_some_and(|named| named != algorithm.into()) {
            return Err(Unusable::OtherAlgorithm);
        }
        let is_for_signatures = about.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature)
            && about.key_operations.as_ref().is_none_or(|ops| ops.contains(&KeyOperations::Verify));
        if !is_for_signatures {
            return Err(Unusable::NotForSignatures);
        }
        let key = DecodingKey::from_jwk(jwk).map_err(|_| Unusable::Malformed)?;
        if !has_right_size(&key, algorithm) {
            return Err(Unusable::Malformed);
        }
        Ok(Self { id: about.key_id.clone(), algorithm, key })
    }
}

/// A key of a wrong size would be found out by the first token only, and look like a bad signature.
fn has_right_size(key: &DecodingKey, algorithm: Algorithm) -> bool {
    match key.kind() {
        // 2048 to 8192 bits; some issuers write a leading zero.
        DecodingKeyKind::RsaModulusExponent { n, .. } => (256..=1025).contains(&n.len()),
        DecodingKeyKind::SecretOrDer(point) if algorithm == Algorithm::ES256 => point.len() == 65,
        DecodingKeyKind::SecretOrDer(point) => point.len() == 32,
    }
}

/// A key set that is kept up to date for as long as this lives.
pub(super) struct Jwks {
    shared: Arc<Shared>,
    _refresher: AbortOnDropHandle<()>,
}

struct Shared {
    source: JwksSource,
    timing: Timing,
    keys: RwLock<Arc<KeySet>>,
    /// Held while keys are read, so that whoever waits for keys waits for those.
    refresh: Mutex<LastRefresh>,
}

struct LastRefresh {
    /// When a token with an unknown key last caused one.
    for_unknown_key: Option<Instant>,
    /// Whether the last one, whatever it was for, brought keys.
    succeeded: bool,
}

impl Jwks {
    /// Reads the keys for the first time.
    ///
    /// # Errors
    ///
    /// [`JwksError::Load`] where there are none.
    pub(super) async fn load(source: JwksSource) -> Result<Self, JwksError> {
        Self::load_timed(source, TIMING).await
    }

    async fn load_timed(source: JwksSource, timing: Timing) -> Result<Self, JwksError> {
        let keys = source.load(timing.limit).await.map_err(|fault| source.error(fault))?;
        let shared = Arc::new(Shared {
            source,
            timing,
            keys: RwLock::new(Arc::new(keys)),
            refresh: Mutex::new(LastRefresh { for_unknown_key: None, succeeded: true }),
        });
        let refresher = tokio::spawn(Arc::clone(&shared).refresh_for_ever());
        Ok(Self { shared, _refresher: AbortOnDropHandle::new(refresher) })
    }

    /// The key for a token that names this id, and claims to be signed with this algorithm. An id
    /// that is not known yet has the keys read again, though not more than once in thirty seconds.
    pub(super) async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Arc<PublicKey>, NoKey> {
        let shared = &self.shared;
        match shared.keys().find(id, algorithm) {
            Err(NoKey::UnknownId) if shared.refresh_for_unknown_key().await => shared.keys().find(id, algorithm),
            Err(NoKey::UnknownId) => Err(NoKey::Unavailable),
            found => found,
        }
    }
}

impl Shared {
    fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.keys.read())
    }

    async fn refresh_for_ever(self: Arc<Self>) {
        loop {
            sleep(self.timing.refresh).await;
            self.refresh(&mut *self.refresh.lock().await).await;
        }
    }

    /// Whether the keys are as new as they can be had; where not, an unknown one may be a new one.
    async fn refresh_for_unknown_key(&self) -> bool {
        let mut last = self.refresh.lock().await;
        if last.for_unknown_key.is_none_or(|at| at.elapsed() >= self.timing.unknown_key) {
            last.for_unknown_key = Some(Instant::now());
            self.refresh(&mut last).await;
        }
        last.succeeded
    }

    /// Old keys are better than none: an issuer that is away for a while must not lock everybody out.
    async fn refresh(&self, last: &mut LastRefresh) {
        let loaded = self.source.load(self.timing.limit).await;
        last.succeeded = loaded.is_ok();
        match loaded {
            Ok(keys) => *self.keys.write() = Arc::new(keys),
            Err(fault) => {
                let error = self.source.error(fault);
                tracing::warn!(%error, "the keys that were read before stay in use");
            }
        }
    }
}

/// Keys that sign, for the tests here and in `jwt`.
#[cfg(test)]
pub(super) mod signers {
    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use jsonwebtoken::{EncodingKey, Header, encode};
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData};
    use serde_json::{Value, json};

    use super::*;

    /// A private key under an id.
    pub(in crate::identity) struct Signer {
        pub(in crate::identity) id: &'static str,
        pub(in crate::identity) pair: KeyPair,
        algorithm: Algorithm,
        key: EncodingKey,
    }

    impl Signer {
        pub(in crate::identity) fn rs256(id: &'static str) -> Self {
            let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
            let key = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
            Self { id, pair, algorithm: Algorithm::RS256, key }
        }

        pub(in crate::identity) fn es256(id: &'static str) -> Self {
            let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
            let key = EncodingKey::from_ec_der(pair.serialized_der());
            Self { id, pair, algorithm: Algorithm::ES256, key }
        }

        pub(in crate::identity) fn eddsa(id: &'static str) -> Self {
            let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
            let key = EncodingKey::from_ed_der(pair.serialized_der());
            Self { id, pair, algorithm: Algorithm::EdDSA, key }
        }

        /// The public half as it stands in a key set.
        pub(in crate::identity) fn jwk(&self) -> Value {
            let raw = self.pair.der_bytes();
            let base64 = |bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes);
            let mut jwk = match self.algorithm {
                Algorithm::ES256 => json!({
                    "kty": "EC", "crv": "P-256", "x": base64(&raw[1..33]), "y": base64(&raw[33..])
                }),
                Algorithm::EdDSA => json!({"kty": "OKP", "crv": "Ed25519", "x": base64(raw)}),
                _ => serde_json::to_value(Jwk::from_encoding_key(&self.key, self.algorithm).unwrap()).unwrap(),
            };
            jwk["kid"] = json!(self.id);
            jwk
        }

        /// A token that names this key.
        pub(in crate::identity) fn sign(&self, claims: &Value) -> String {
            self.sign_as(Some(self.id), claims)
        }

        /// A token that names another key, or none.
        pub(in crate::identity) fn sign_as(&self, id: Option<&str>, claims: &Value) -> String {
            let mut header = Header::new(self.algorithm);
            header.kid = id.map(str::to_owned);
            encode(&header, claims, &self.key).unwrap()
        }
    }

    /// The text of a key set.
    pub(in crate::identity) fn key_set(keys: &[Value]) -> String {
        json!({ "keys": keys }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::{Value, json};
    use tempfile::TempDir;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::signers::{Signer, key_set};
    use super::*;

    const SLOW: Timing = Timing {
        refresh: Duration::from_hours(1),
        unknown_key: Duration::from_hours(1),
        limit: Duration::from_secs(5),
    };

    /// A file with a key set in it.
    struct KeyFile(TempDir);

    impl KeyFile {
        fn new(keys: &[Value]) -> Self {
            let file = Self(tempfile::tempdir().unwrap());
            file.write(&key_set(keys));
            file
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("jwks.json")
        }

        /// Replaces the file in one step, as a refresh may read it at any time.
        fn write(&self, text: &str) {
            let draft = self.0.path().join("draft");
            fs::write(&draft, text).unwrap();
            fs::rename(draft, self.path()).unwrap();
        }

        fn source(&self) -> JwksSource {
            JwksSource::parse(self.path().to_str().unwrap()).unwrap()
        }
    }

    /// Answers every request with `response`, and counts them.
    async fn server(response: impl Into<Vec<u8>>) -> (JwksSource, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys?apikey=hunter2", listener.local_addr().unwrap());
        let (response, requests) = (response.into(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let _request = socket.read(&mut [0; 4096]).await;
                // The client hangs up on an answer that is too large.
                let _ = socket.write_all(&response).await;
            }
        });
        (JwksSource::parse(&url).unwrap(), requests)
    }

    fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    async fn load_fault(source: JwksSource, timing: Timing) -> (LoadFault, String) {
        let Err(error) = Jwks::load_timed(source, timing).await else { panic!("it was loaded") };
        let text = error.to_string();
        assert!(!text.contains('\n') && !text.contains("hunter2"), "{text}");
        let JwksError::Load { fault, .. } = error else { panic!("{error}") };
        (fault, text)
    }

    async fn until(condition: impl Fn() -> bool) {
        let wait = async {
            while !condition() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(30), wait).await.expect("it comes about");
    }

    #[test]
    fn a_source_is_a_file_or_a_private_url() {
        for text in [
            "jwks.json",
            "/etc/lastseen/jwks.json",
            "https://example.com/.well-known/jwks.json",
            "http://localhost:9999/keys",
            "http://127.0.0.1/keys",
            "http://[::1]:8080/keys",
        ] {
            assert_eq!(JwksSource::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            " ",
            "http://example.com/keys",
            "http://localhost.example.com/keys",
            "http://127.0.0.1.example.com/keys",
            "ftp://example.com/keys",
            "https://user:password@example.com/keys",
            "https://",
        ] {
            assert!(JwksSource::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_source_never_shows_its_query() {
        let source = JwksSource::parse("https://example.com/keys?apikey=hunter2").unwrap();
        assert_eq!(format!("{source:?}"), "JwksSource(https://example.com/keys)");
    }

    #[test]
    fn keys_that_cannot_be_used_are_passed_over() {
        let ec = Signer::es256("good");
        let changed = |key: &str, value: Value| {
            let mut jwk = ec.jwk();
            jwk["kid"] = json!("bad");
            jwk[key] = value;
            jwk
        };
        let set = key_set(&[
            changed("use", json!("enc")),
            changed("key_ops", json!(["sign"])),
            changed("alg", json!("ES384")),
            changed("alg", json!("HS256")),
            changed("crv", json!("P-384")),
            changed("x", json!("AAAA")),
            changed("x", json!("not base64!")),
            changed("x", json!(7)),
            json!({"kid": "bad", "kty": "oct", "k": "aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg"}),
            json!({"kid": "bad", "kty": "RSA", "n": "AQAB", "e": "AQAB"}),
            json!({"kid": "bad", "kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"}),
            json!("no key at all"),
            ec.jwk(),
        ]);
        let set = KeySet::parse(set.as_bytes()).unwrap();
        assert_eq!(set.0.len(), 1);
        assert_eq!(set.0[0].id.as_deref(), Some("good"));
    }

    #[test]
    fn a_key_has_the_algorithm_of_its_kind() {
        let signers = [Signer::rs256("r"), Signer::es256("e"), Signer::eddsa("d")];
        let set = KeySet::parse(key_set(&signers.each_ref().map(Signer::jwk)).as_bytes()).unwrap();
        let algorithms = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
        for (signer, algorithm) in signers.iter().zip(algorithms) {
            assert_eq!(set.find(Some(signer.id), algorithm).unwrap().algorithm, algorithm);
            assert_eq!(set.find(None, algorithm).unwrap().id.as_deref(), Some(signer.id));
            let unfit = set.find(Some(signer.id), Algorithm::HS256).unwrap_err();
            assert_eq!(unfit, NoKey::OtherAlgorithm);
        }
        assert_eq!(set.find(Some("x"), Algorithm::RS256).unwrap_err(), NoKey::UnknownId);
        assert_eq!(set.find(None, Algorithm::HS256).unwrap_err(), NoKey::OtherAlgorithm);
    }

    #[test]
    fn two_fitting_keys_are_ambiguous_without_an_id() {
        let set = key_set(&[Signer::es256("one").jwk(), Signer::es256("other").jwk()]);
        let set = KeySet::parse(set.as_bytes()).unwrap();
        assert_eq!(set.find(None, Algorithm::ES256).unwrap_err(), NoKey::Ambiguous);
        assert!(set.find(Some("other"), Algorithm::ES256).is_ok());
    }

    #[tokio::test]
    async fn no_keys_at_the_start_is_an_error_of_one_line() {
        let missing = JwksSource::parse("/nowhere/jwks.json").unwrap();
        let (fault, text) = load_fault(missing, SLOW).await;
        assert!(matches!(fault, LoadFault::File(_)), "{text}");
        assert!(text.contains("/nowhere/jwks.json"), "{text}");

        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let nobody = JwksSource::parse(&format!("http://{nobody}/?apikey=hunter2")).unwrap();
        let (fault, text) = load_fault(nobody, SLOW).await;
        assert!(matches!(fault, LoadFault::Request(_)), "{text}");

        let (source, _) = server("HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n").await;
        let (fault, _) = load_fault(source, SLOW).await;
        assert!(matches!(fault, LoadFault::Status(StatusCode::FOUND)));

        let (source, _) = server(ok("<html>")).await;
        assert!(matches!(load_fault(source, SLOW).await.0, LoadFault::Malformed(_)));

        let (source, _) = server(ok(r#"{"keys":[]}"#)).await;
        assert!(matches!(load_fault(source, SLOW).await.0, LoadFault::NoUsableKey));
    }

    #[tokio::test]
    async fn size_and_time_are_limited() {
        let (source, _) = server(ok(&" ".repeat(MAX_BYTES + 1))).await;
        assert!(matches!(load_fault(source, SLOW).await.0, LoadFault::TooLarge));

        let file = KeyFile::new(&[]);
        file.write(&" ".repeat(MAX_BYTES + 1));
        assert!(matches!(load_fault(file.source(), SLOW).await.0, LoadFault::TooLarge));

        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let hasty = Timing { limit: Duration::from_millis(50), ..SLOW };
        let (fault, _) = load_fault(JwksSource::parse(&url).unwrap(), hasty).await;
        assert!(matches!(fault, LoadFault::TimedOut));
    }

    #[tokio::test]
    async fn keys_are_read_again_without_being_asked_for() {
        let file = KeyFile::new(&[Signer::es256("old").jwk()]);
        let often = Timing { refresh: Duration::from_millis(5), ..SLOW };
        let jwks = Jwks::load_timed(file.source(), often).await.unwrap();
        file.write("broken");
        file.write(&key_set(&[Signer::es256("new").jwk()]));
        until(|| jwks.shared.keys().find(Some("new"), Algorithm::ES256).is_ok()).await;
        let shared = Arc::downgrade(&jwks.shared);
        drop(jwks);
        until(|| shared.strong_count() == 0).await;
    }

    #[tokio::test]
    async fn an_unknown_id_has_the_keys_read_once() {
        let set = key_set(&[Signer::es256("known").jwk()]);
        let (source, requests) = server(ok(&set)).await;
        let jwks = Jwks::load_timed(source, SLOW).await.unwrap();
        assert!(jwks.find(Some("known"), Algorithm::ES256).await.is_ok());
        assert_eq!(requests.load(Ordering::Relaxed), 1);
        for _ in 0..3 {
            let unknown = jwks.find(Some("unknown"), Algorithm::ES256).await;
            assert_eq!(unknown.unwrap_err(), NoKey::UnknownId);
        }
        assert_eq!(requests.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_refresh_that_fails_keeps_the_old_keys() {
        let file = KeyFile::new(&[Signer::es256("old").jwk()]);
        let timing = Timing { unknown_key: Duration::ZERO, ..SLOW };
        let jwks = Jwks::load_timed(file.source(), timing).await.unwrap();
        for broken in ["", "{}", r#"{"keys":[]}"#] {
            file.write(broken);
            let unknown = jwks.find(Some("new"), Algorithm::ES256).await;
            assert_eq!(unknown.unwrap_err(), NoKey::Unavailable);
            assert!(jwks.find(Some("old"), Algorithm::ES256).await.is_ok());
        }
        file.write(&key_set(&[Signer::es256("new").jwk()]));
        assert!(jwks.find(Some("new"), Algorithm::ES256).await.is_ok());
        assert_eq!(jwks.find(Some("old"), Algorithm::ES256).await.unwrap_err(), NoKey::UnknownId);
    }
}
