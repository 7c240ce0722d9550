//! Private keys that sign tokens, for the tests of key sets and JWTs.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, crypto, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData};
use serde_json::{Value, json};

/// A private key under an id.
pub(in crate::identity) struct Signer {
    pub(in crate::identity) id: &'static str,
    pub(in crate::identity) pair: KeyPair,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl Signer {
    pub(in crate::identity) fn rs256(id: &'static str) -> Self {
        Self::rsa(id, Algorithm::RS256)
    }

    pub(in crate::identity) fn rsa(id: &'static str, algorithm: Algorithm) -> Self {
        let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let key = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self { id, pair, algorithm, key }
    }

    /// The same key, used with another algorithm.
    pub(in crate::identity) fn with(&self, algorithm: Algorithm) -> Self {
        let pair = KeyPair::from_pem(&self.pair.serialize_pem()).unwrap();
        Self { id: self.id, pair, algorithm, key: self.key.clone() }
    }

    pub(in crate::identity) fn es256(id: &'static str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let key = EncodingKey::from_ec_der(pair.serialized_der());
        Self { id, pair, algorithm: Algorithm::ES256, key }
    }

    pub(in crate::identity) fn es384(id: &'static str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let key = EncodingKey::from_ec_der(pair.serialized_der());
        Self { id, pair, algorithm: Algorithm::ES384, key }
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
            Algorithm::ES384 => json!({
                "kty": "EC", "crv": "P-384", "x": base64(&raw[1..49]), "y": base64(&raw[49..])
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

/// A token of this signer whose header says this.
pub(in crate::identity) fn sign_under(signer: &Signer, header: &Value, claims: &Value) -> String {
    let part = |json: &Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = crypto::sign(message.as_bytes(), &signer.key, signer.algorithm).unwrap();
    format!("{message}.{signature}")
}

/// The text of a key set.
pub(in crate::identity) fn key_set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}
