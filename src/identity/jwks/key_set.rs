//! The public keys of a key set, each with the one algorithm that it is used with.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde::Deserialize;

/// Why a document gives no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// It is no JSON object with an array `keys`.
    #[error("it is not a JSON Web Key Set: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It has no public key for RS256, ES256 or EdDSA.
    #[error("it holds no key that can be used (RS256, ES256 and EdDSA are)")]
    NoUsableKey,
}

/// A key, and the only algorithm that it is used with.
#[derive(Debug)]
pub(in crate::identity) struct PublicKey {
    id: Option<String>,
    pub(in crate::identity) algorithm: Algorithm,
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
                    tracing::warn!(
                        "a symmetric key in the JWKS is skipped: everyone who can read the set could sign with it"
                    )
                }
                Err(reason) => tracing::debug!(?reason, "a key in the JWKS is skipped"),
            }
        }
        if keys.is_empty() { Err(KeySetError::NoUsableKey) } else { Ok(Self(keys)) }
    }

    /// The key for a token that names this id and algorithm. The algorithm of the token can only rule
    /// keys out: a key is never used with another algorithm than its own.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Arc<PublicKey>, NoKey> {
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

/// Why a key of the set is skipped.
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

/// Checked here, since a key of a wrong size would otherwise look like a bad signature of every token.
fn has_right_size(key: &DecodingKey, algorithm: Algorithm) -> bool {
    match key.kind() {
        // 2048 to 8192 bits; some issuers write a leading zero.
        DecodingKeyKind::RsaModulusExponent { n, .. } => (256..=1025).contains(&n.len()),
        DecodingKeyKind::SecretOrDer(point) if algorithm == Algorithm::ES256 => point.len() == 65,
        DecodingKeyKind::SecretOrDer(point) => point.len() == 32,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

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
}
