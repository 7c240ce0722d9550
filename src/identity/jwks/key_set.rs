//! The public keys of a key set, each with the algorithms that it is used with.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, CommonParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use reqwest::Url;
use serde::Deserialize;
use serde_json::Value;

/// The algorithms of RSA keys.
const RSA: [Algorithm; 6] =
    [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

/// The `use` of keys for tokens in the bundles of SPIFFE.
const SPIFFE_USE: &str = "jwt-svid";

/// Where Firebase has its keys as a key set.
const FIREBASE_KEYS: &str = "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com";

/// Why a document gives no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// It is no JSON.
    #[error("it is not a JSON Web Key Set: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is no JSON object with an array `keys`.
    #[error("it is not a JSON Web Key Set, which is an object with an array `keys`")]
    NoKeySet,
    /// It holds certificates, each under the id of its key.
    #[error(
        "it is a map of certificates and not a JSON Web Key Set; Firebase has the same keys as one at {FIREBASE_KEYS}"
    )]
    Certificates,
    /// It is the document of an issuer that says where its keys are.
    #[error("it is a discovery document and not a JSON Web Key Set, which is at {0}")]
    Discovery(Url),
    /// It has no key at all.
    #[error(
        "it is an empty JSON Web Key Set: an issuer without public keys signs with a secret, which would be jwt-secret"
    )]
    Empty,
    /// It has no public key for an algorithm that is used.
    #[error("it holds no key that can be used (of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA)")]
    NoUsableKey,
}

impl KeySetError {
    /// Of JSON that is another document.
    fn of_another(document: &Value) -> Self {
        let is_certificate =
            |value: &Value| value.as_str().is_some_and(|text| text.starts_with("-----BEGIN CERTIFICATE"));
        if document.as_object().is_some_and(|map| !map.is_empty() && map.values().all(is_certificate)) {
            return Self::Certificates;
        }
        let keys = document.get("jwks_uri").and_then(Value::as_str).and_then(|uri| uri.parse().ok());
        keys.map_or(Self::NoKeySet, Self::Discovery)
    }
}

/// The algorithm of this name.
pub(in crate::identity) fn algorithm(name: &str) -> Option<Algorithm> {
    match name {
        // The name of RFC 9864 for the one that is used of those that EdDSA may mean.
        "Ed25519" => Some(Algorithm::EdDSA),
        name => Algorithm::from_str(name).ok(),
    }
}

/// A key, and the only algorithms that it is used with.
#[derive(Debug)]
pub(in crate::identity) struct PublicKey {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    pub(in crate::identity) key: DecodingKey,
}

/// Why no key fits a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::identity) enum NoKey {
    /// No key has the id that the token names.
    UnknownId,
    /// The key is not one for the token's algorithm; or none is, where the token names no key.
    OtherAlgorithm,
    /// The token names no key, and more than one could be meant.
    Ambiguous,
    /// It may be a new key, but the key set is not read again before this time has passed.
    Unavailable(Duration),
}

/// The keys of a set that can be used.
#[derive(Debug)]
pub(super) struct KeySet(Vec<Arc<PublicKey>>);

impl KeySet {
    /// Reads the keys that can be used and skips the others: a set may serve other programs too.
    pub(super) fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        let document: Value = serde_json::from_slice(json)?;
        let values = document.get("keys").and_then(Value::as_array);
        let values = values.ok_or_else(|| KeySetError::of_another(&document))?;
        let mut keys = Vec::new();
        for value in values {
            match PublicKey::new(value) {
                Ok(key) => keys.push(Arc::new(key)),
                Err(Unusable::Symmetric) => {
                    tracing::warn!(
                        "a symmetric key in the JWKS is skipped: everyone who can read the set could sign with it"
                    )
                }
                Err(reason) => tracing::debug!(?reason, "a key in the JWKS is skipped"),
            }
        }
        match (values.is_empty(), keys.is_empty()) {
            (true, _) => Err(KeySetError::Empty),
            (_, true) => Err(KeySetError::NoUsableKey),
            _ => Ok(Self(keys)),
        }
    }

    /// The key for a token that names this id and algorithm. The algorithm of the token can only rule
    /// keys out: a key is never used with an algorithm that is not its own.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Arc<PublicKey>, NoKey> {
        let named: Vec<_> = self.0.iter().filter(|key| id.is_none() || key.id.as_deref() == id).collect();
        if named.is_empty() {
            return Err(NoKey::UnknownId);
        }
        let mut fitting = named.into_iter().filter(|key| key.algorithms.contains(&algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(Arc::clone(key)),
            (Some(_), Some(_)) => Err(NoKey::Ambiguous),
            (None, _) => Err(NoKey::OtherAlgorithm),
        }
    }
}

/// Why a key of the set is skipped.
#[derive(Debug)]
enum Unusable {
    Malformed,
    Symmetric,
    NotForSignatures,
    OtherAlgorithm,
}

impl PublicKey {
    fn new(value: &Value) -> Result<Self, Unusable> {
        let jwk = Jwk::deserialize(value).map_err(|_| Unusable::Malformed)?;
        let of_kind: &[Algorithm] = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => &RSA,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => &[Algorithm::ES256],
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => &[Algorithm::ES384],
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
            AlgorithmParameters::OctetKey(_) => return Err(Unusable::Symmetric),
            _ => return Err(Unusable::OtherAlgorithm),
        };
        // Not from `jwk`, which does not know all names. Some issuers name no algorithm: the kind bounds it.
        let named = value.get("alg").and_then(Value::as_str);
        let is_named = |kind: &Algorithm| named.is_none_or(|named| algorithm(named) == Some(*kind));
        let algorithms: Vec<_> = of_kind.iter().copied().filter(is_named).collect();
        if algorithms.is_empty() {
            return Err(Unusable::OtherAlgorithm);
        }
        if !is_for_signatures(&jwk.common) {
            return Err(Unusable::NotForSignatures);
        }
        let key = DecodingKey::from_jwk(&jwk).map_err(|_| Unusable::Malformed)?;
        if !has_right_size(&key, &algorithms) {
            return Err(Unusable::Malformed);
        }
        Ok(Self { id: jwk.common.key_id, algorithms, key })
    }
}

fn is_for_signatures(about: &CommonParameters) -> bool {
    let by_use = about.public_key_use.as_ref().is_none_or(|usage| match usage {
        PublicKeyUse::Signature => true,
        PublicKeyUse::Other(other) => other == SPIFFE_USE,
        PublicKeyUse::Encryption => false,
    });
    by_use && about.key_operations.as_ref().is_none_or(|ops| ops.contains(&KeyOperations::Verify))
}

/// Checked here, since a key of a wrong size would otherwise look like a bad signature of every token.
fn has_right_size(key: &DecodingKey, algorithms: &[Algorithm]) -> bool {
    match key.kind() {
        // 2048 to 8192 bits; some issuers write a leading zero.
        DecodingKeyKind::RsaModulusExponent { n, .. } => (256..=1025).contains(&n.len()),
        DecodingKeyKind::SecretOrDer(point) => match algorithms {
            [Algorithm::ES256] => point.len() == 65,
            [Algorithm::ES384] => point.len() == 97,
            _ => point.len() == 32,
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::signers::{Signer, key_set};
    use super::*;

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
            changed("use", json!("x509-svid")),
            changed("key_ops", json!(["sign"])),
            changed("alg", json!("ES384")),
            changed("alg", json!("HS256")),
            changed("alg", json!("Ed25519")),
            changed("crv", json!("P-384")),
            changed("crv", json!("secp256k1")),
            changed("x", json!("AAAA")),
            changed("x", json!("not base64!")),
            changed("x", json!(7)),
            json!({"kid": "bad", "kty": "oct", "k": "aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg"}),
            json!({"kid": "bad", "kty": "RSA", "n": "AQAB", "e": "AQAB"}),
            json!({"kid": "bad", "kty": "RSA", "use": "sig", "alg": "RS256", "x5c": ["MIIB"]}),
            json!({"kid": "bad", "kty": "OKP", "crv": "X25519", "x": "AAAA"}),
            json!({"kid": "bad", "kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"}),
            json!("no key at all"),
            ec.jwk(),
        ]);
        let set = KeySet::parse(set.as_bytes()).unwrap();
        assert_eq!(set.0.len(), 1);
        assert_eq!(set.0[0].id.as_deref(), Some("good"));
    }

    /// What the set of this one key is used with.
    fn algorithms(jwk: Value) -> Vec<Algorithm> {
        let set = KeySet::parse(key_set(&[jwk]).as_bytes());
        set.map_or_else(|_| Vec::new(), |set| set.0[0].algorithms.clone())
    }

    #[test]
    fn a_key_has_the_algorithms_of_its_kind() {
        let signers = [Signer::rs256("r"), Signer::es256("e"), Signer::es384("f"), Signer::eddsa("d")];
        let set = KeySet::parse(key_set(&signers.each_ref().map(Signer::jwk)).as_bytes()).unwrap();
        let algorithms = [Algorithm::RS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];
        for (signer, algorithm) in signers.iter().zip(algorithms) {
            assert_eq!(set.find(Some(signer.id), algorithm).unwrap().algorithms, [algorithm]);
            assert_eq!(set.find(None, algorithm).unwrap().id.as_deref(), Some(signer.id));
            for other in [Algorithm::HS256, Algorithm::PS256] {
                assert_eq!(set.find(Some(signer.id), other).unwrap_err(), NoKey::OtherAlgorithm);
            }
        }
        assert_eq!(set.find(Some("x"), Algorithm::RS256).unwrap_err(), NoKey::UnknownId);
        assert_eq!(set.find(None, Algorithm::HS256).unwrap_err(), NoKey::OtherAlgorithm);
    }

    #[test]
    fn a_key_that_names_no_algorithm_has_all_of_its_kind() {
        let mut rsa = Signer::rs256("r").jwk();
        rsa.as_object_mut().unwrap().remove("alg");
        assert_eq!(algorithms(rsa.clone()), RSA);
        for name in ["RS256", "RS512", "PS256", "PS384"] {
            rsa["alg"] = json!(name);
            assert_eq!(algorithms(rsa.clone()), [Algorithm::from_str(name).unwrap()]);
        }
        rsa["alg"] = json!("RSA-OAEP");
        assert!(algorithms(rsa).is_empty());
        let mut ed = Signer::eddsa("d").jwk();
        for name in ["EdDSA", "Ed25519"] {
            ed["alg"] = json!(name);
            assert_eq!(algorithms(ed.clone()), [Algorithm::EdDSA]);
        }
        ed["alg"] = json!("Ed448");
        assert!(algorithms(ed).is_empty());
    }

    #[test]
    fn keys_for_tokens_in_a_bundle_of_spiffe_are_used() {
        let mut jwk = Signer::es256("svid").jwk();
        jwk["use"] = json!("jwt-svid");
        assert_eq!(algorithms(jwk), [Algorithm::ES256]);
    }

    #[test]
    fn a_document_of_another_kind_is_named_with_the_address_that_works() {
        let refused = |document: Value| KeySet::parse(document.to_string().as_bytes()).unwrap_err().to_string();
        let certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        let text = refused(json!({"a": certificate, "b": certificate}));
        assert!(text.contains(FIREBASE_KEYS), "{text}");
        let text = refused(json!({"issuer": "https://sso.example", "jwks_uri": "https://sso.example/keys"}));
        assert!(text.ends_with("https://sso.example/keys"), "{text}");
        assert!(refused(json!({"keys": []})).contains("jwt-secret"));
        for document in
            [json!({}), json!([]), json!({"keys": {}}), json!({"a": certificate, "b": 1}), json!({"jwks_uri": 7})]
        {
            assert!(refused(document.clone()).contains("`keys`"), "{document}");
        }
    }

    #[test]
    fn two_fitting_keys_are_ambiguous_without_an_id() {
        let set = key_set(&[Signer::es256("one").jwk(), Signer::es256("other").jwk()]);
        let set = KeySet::parse(set.as_bytes()).unwrap();
        assert_eq!(set.find(None, Algorithm::ES256).unwrap_err(), NoKey::Ambiguous);
        assert!(set.find(Some("other"), Algorithm::ES256).is_ok());
    }
}
