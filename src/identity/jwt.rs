//! JSON Web Tokens: the identity of a user or a service, as the embedding application or its identity provider states
//! it.
//!
//! A key is used with no other algorithm than its own kind's, whatever the token claims. The signature is checked
//! before anything else in the token is used, and the expiry last, so that [`TokenFault::Expired`] means an otherwise
//! valid token.

mod claims;
mod fault;
mod issue;
mod role;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::Utc;
use jsonwebtoken::{Algorithm, DecodingKey, crypto, get_current_timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::jwks::{self, Jwks, JwksError, JwksSource, NoKey};
use crate::clock::{Clock, Moment};
use claims::ClaimSet;
pub use claims::{Claim, Claims, LEEWAY_SECONDS, TokenRules};
pub use fault::TokenFault;
pub use issue::{issue, issue_by};
pub use role::{JwtRole, UnknownRole};

/// A token that is good for longer counts as good for this long, in seconds: a hundred years.
const LONGEST_SECONDS: i64 = 100 * 365 * 24 * 3600;

/// That a token is not accepted. It contains no part of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It will never be accepted. Where it has expired a fresh one will.
    #[error("the token is not valid: {}", .0.message())]
    Refused(TokenFault),
    /// The key that the token is signed with may be a new one, and keys are not read again before this time has
    /// passed.
    #[error("the key that the token is signed with cannot be had just now")]
    Unavailable(Duration),
}

impl TokenError {
    /// The reason.
    pub fn fault(self) -> TokenFault {
        match self {
            Self::Refused(fault) => fault,
            Self::Unavailable(_) => TokenFault::KeyUnavailable,
        }
    }
}

impl From<TokenFault> for TokenError {
    fn from(fault: TokenFault) -> Self {
        Self::Refused(fault)
    }
}

impl From<NoKey> for TokenError {
    fn from(reason: NoKey) -> Self {
        match reason {
            NoKey::UnknownId => TokenFault::UnknownKey.into(),
            NoKey::OtherAlgorithm => TokenFault::WrongAlgorithm.into(),
            NoKey::Ambiguous => TokenFault::AmbiguousKey.into(),
            NoKey::Unavailable(wait) => Self::Unavailable(wait),
        }
    }
}

/// Checks tokens: those of a secret, those of a key set, or both. Its `Debug` shows no key.
pub struct Verifier {
    /// For HS256.
    secret: Option<(DecodingKey, TokenRules)>,
    /// For the algorithms of public keys.
    jwks: Option<(Jwks, TokenRules)>,
}

impl Verifier {
    /// Checks tokens signed with a shared secret (HS256).
    pub fn with_secret(secret: &[u8], rules: TokenRules) -> Self {
        Self { secret: Some((DecodingKey::from_secret(secret), rules)), jwks: None }
    }

    /// Checks tokens signed with a key of this set. The set is read again at intervals, by a task that ends with the
    /// verifier.
    ///
    /// # Errors
    ///
    /// Where the set cannot be read or has no key that can be used.
    pub async fn with_jwks(source: JwksSource, rules: TokenRules) -> Result<Self, JwksError> {
        Ok(Self { secret: None, jwks: Some((Jwks::load(source).await?, rules)) })
    }

    /// Checks tokens signed with this secret as well, by rules of their own.
    pub fn and_secret(self, secret: &[u8], rules: TokenRules) -> Self {
        Self { jwks: self.jwks, ..Self::with_secret(secret, rules) }
    }

    /// The claims of a token, after all checks. It may wait up to five seconds for an unknown key that the token
    /// names.
    ///
    /// # Errors
    ///
    /// [`TokenFault::Expired`] only where nothing but the time is wrong with the token.
    pub async fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        let jws = Jws::parse(token)?;
        let rules = match (&self.secret, &self.jwks) {
            (Some((secret, rules)), _) if jws.algorithm == Algorithm::HS256 => {
                jws.verify(secret)?;
                rules
            }
            (_, Some((jwks, rules))) if jwks::ALGORITHMS.contains(&jws.algorithm) => {
                jws.verify_by_set(jwks).await?;
                rules
            }
            _ => return Err(TokenFault::WrongAlgorithm.into()),
        };
        Ok(rules.check(&jws.claims()?, get_current_timestamp().cast_signed())?)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = |name, rules: Option<&TokenRules>| rules.map(|rules| (name, rules.clone()));
        let secret = rules("a secret", self.secret.as_ref().map(|(_, rules)| rules));
        let jwks = rules("a JWKS", self.jwks.as_ref().map(|(_, rules)| rules));
        f.debug_map().entries(secret.into_iter().chain(jwks)).finish()
    }
}

/// A token in its parts, nothing of which is known to be true.
struct Jws<'a> {
    token: &'a str,
    key_id: Option<String>,
    algorithm: Algorithm,
    /// What is signed.
    message: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> Jws<'a> {
    fn parse(token: &'a str) -> Result<Self, TokenFault> {
        #[derive(Deserialize)]
        struct Header {
            alg: String,
            kid: Option<String>,
            crit: Option<Value>,
        }
        if ["sb_publishable_", "sb_secret_"].iter().any(|prefix| token.starts_with(prefix)) {
            return Err(TokenFault::ApiKey);
        }
        let (header, payload, signature) = match token.splitn(6, '.').collect::<Vec<_>>()[..] {
            [header, payload, signature] => (header, payload, signature),
            [_, _, _, _, _] => return Err(TokenFault::Encrypted),
            _ => return Err(TokenFault::Malformed),
        };
        let message = &token[..token.len() - signature.len() - 1];
        let header: Header = decoded(header)?;
        // RFC 7515, section 4.1.11: extensions that a token calls critical must be understood. None are here.
        if header.crit.is_some() {
            return Err(TokenFault::UnknownExtension);
        }
        // This also refuses `none`.
        let algorithm = jwks::algorithm(&header.alg).ok_or(TokenFault::WrongAlgorithm)?;
        Ok(Self { token, key_id: header.kid, algorithm, message, payload, signature })
    }

    /// The caller has seen to it that the key is one for the algorithm.
    fn verify(&self, key: &DecodingKey) -> Result<(), TokenFault> {
        // jsonwebtoken's `decode` does not know all names of algorithms, and finds the audience in `aud` alone.
        match crypto::verify(self.signature, self.message.as_bytes(), key, self.algorithm) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(TokenFault::BadSignature),
        }
    }

    /// Finds the key and verifies. A token without a key id that no key in memory has signed may be signed with a
    /// new one, like one that names an unknown key.
    async fn verify_by_set(&self, jwks: &Jwks) -> Result<(), TokenError> {
        let verify = async || -> Result<(), TokenError> {
            let public = jwks.find(self.key_id.as_deref(), self.algorithm).await?;
            Ok(self.verify(&public.key)?)
        };
        match verify().await {
            Err(TokenError::Refused(TokenFault::BadSignature | TokenFault::WrongAlgorithm))
                if self.key_id.is_none() =>
            {
                jwks.look_for(self.token).await?;
                verify().await
            }
            verified => verified,
        }
    }

    fn claims(&self) -> Result<ClaimSet, TokenFault> {
        decoded(self.payload)
    }
}

fn decoded<T: DeserializeOwned>(part: &str) -> Result<T, TokenFault> {
    let json = BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| TokenFault::Malformed)
}

/// From when on a token that expires at this Unix time is refused.
pub fn deadline(expires_at: i64, clock: &Clock) -> Moment {
    let left = expires_at.saturating_sub(Utc::now().timestamp()).min(LONGEST_SECONDS) + i64::from(LEEWAY_SECONDS);
    clock.now() + Duration::from_secs(u64::try_from(left).unwrap_or_default())
}

/// When a token expires that is refused from this [`deadline`] on.
pub fn expiry(deadline: Moment) -> Moment {
    deadline.before(Duration::from_secs(LEEWAY_SECONDS.into()))
}
