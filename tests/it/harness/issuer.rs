//! An identity provider: keys that sign tokens, and the key set that a server reads.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A private key under an id.
pub struct Signer {
    pub id: &'static str,
    pub pair: KeyPair,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl Signer {
    pub fn rs256(id: &'static str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key");
        let key = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).expect("a key");
        Self { id, pair, algorithm: Algorithm::RS256, key }
    }

    pub fn es256(id: &'static str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let key = EncodingKey::from_ec_der(pair.serialized_der());
        Self { id, pair, algorithm: Algorithm::ES256, key }
    }

    pub fn eddsa(id: &'static str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let key = EncodingKey::from_ed_der(pair.serialized_der());
        Self { id, pair, algorithm: Algorithm::EdDSA, key }
    }

    /// Of the algorithm of this name.
    pub fn of(algorithm: &str, id: &'static str) -> Self {
        match algorithm {
            "RS256" => Self::rs256(id),
            "ES256" => Self::es256(id),
            "EdDSA" => Self::eddsa(id),
            other => panic!("no test signs with {other}"),
        }
    }

    pub fn algorithm_name(&self) -> &'static str {
        match self.algorithm {
            Algorithm::RS256 => "RS256",
            Algorithm::ES256 => "ES256",
            _ => "EdDSA",
        }
    }

    /// The public half as it stands in a key set.
    pub fn jwk(&self) -> Value {
        let raw = rcgen::PublicKeyData::der_bytes(&self.pair);
        let base64 = |bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match self.algorithm {
            Algorithm::ES256 => {
                json!({"kty": "EC", "crv": "P-256", "x": base64(&raw[1..33]), "y": base64(&raw[33..])})
            }
            Algorithm::EdDSA => json!({"kty": "OKP", "crv": "Ed25519", "x": base64(raw)}),
            algorithm => {
                let jwk = Jwk::from_encoding_key(&self.key, algorithm).expect("a public half");
                serde_json::to_value(jwk).expect("JSON")
            }
        };
        jwk["kid"] = json!(self.id);
        jwk
    }

    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(Some(self.id), claims)
    }

    /// A token that names another key, or none.
    pub fn sign_as(&self, id: Option<&str>, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = id.map(str::to_owned);
        encode(&header, claims, &self.key).expect("a token")
    }
}

/// The text of a key set.
pub fn key_set(keys: impl IntoIterator<Item = Value>) -> String {
    json!({ "keys": keys.into_iter().collect::<Vec<_>>() }).to_string()
}

/// Serves a document on a loopback address until it is dropped.
pub struct Issuer {
    port: u16,
    document: watch::Sender<String>,
    task: JoinHandle<()>,
}

impl Issuer {
    pub async fn serve(document: String) -> Self {
        let (document, served) = watch::channel(document);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n")
                    && stream.read_buf(&mut request).await.is_ok_and(|bytes| bytes > 0)
                {}
                let body = served.borrow().clone();
                let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        Self { port, document, task }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/jwks.json", self.port)
    }

    /// The same by a name.
    pub fn url_by_name(&self) -> String {
        format!("http://localhost:{}/jwks.json", self.port)
    }

    pub fn publish(&self, document: String) {
        self.document.send(document).expect("the issuer listens");
    }

    /// Answers nothing any more.
    pub async fn stop(mut self) {
        self.task.abort();
        assert!((&mut self.task).await.is_err_and(|error| error.is_cancelled()));
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
