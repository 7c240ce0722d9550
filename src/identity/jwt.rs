//! JSON Web Tokens: the identity of a user or a service, as the embedding application states it.
//!
//! The algorithm is that of the configured key, whatever the token claims. The signature is checked before
//! anything else in the token is used, and the expiry last, so that [`TokenError::Expired`] means an otherwise
//! valid token.

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::Utc;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode, get_current_timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::jwks::{self, Jwks, JwksError, JwksSource, NoKey};
use crate::clock::{Clock, Moment};
use crate::protocol::name::display_name;

/// The accepted difference of the issuer's clock, in seconds.
pub const LEEWAY_SECONDS: u32 = 30;

/// The role that a JWT gives to its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JwtRole {
    /// A user of the embedding application.
    Authenticated,
    /// The embedding application itself, which has all rights.
    Service,
}

impl JwtRole {
    /// The value of the claim `role`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authenticated => "authenticated",
            Self::Service => "service_role",
        }
    }
}

/// A role that this server has no meaning for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the role must be `authenticated` or `service_role`")]
pub struct UnknownRole;

impl FromStr for JwtRole {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        [Self::Authenticated, Self::Service].into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}

/// The claims of a valid token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The user's id. A user always has one, a service may have one.
    pub subject: Option<Uuid>,
    /// What the holder may do.
    pub role: JwtRole,
    /// The user's display name, trimmed; `None` where the token's is no valid display name.
    pub name: Option<String>,
    /// When the token expires, in seconds since 1970, without leeway.
    pub expires_at: i64,
}

/// Why a token is refused. It contains no part of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The token was valid; a fresh one will be accepted.
    #[error("the token has expired")]
    Expired,
    /// The token will never be accepted; the text says why.
    #[error("the token is not valid: {0}")]
    Invalid(&'static str),
    /// The key that the token is signed with may be a new one, and keys are not read again before this time has
    /// passed.
    #[error("the key that the token is signed with cannot be had just now")]
    Unavailable(Duration),
}

impl From<NoKey> for TokenError {
    fn from(reason: NoKey) -> Self {
        match reason {
            NoKey::UnknownId => Self::Invalid("it is signed with a key that is not known"),
            NoKey::OtherAlgorithm => Self::Invalid(OTHER_ALGORITHM),
            NoKey::Ambiguous => Self::Invalid("it does not say which key it is signed with"),
            NoKey::Unavailable(wait) => Self::Unavailable(wait),
        }
    }
}

const OTHER_ALGORITHM: &str = "it is signed with another algorithm than the key's";
const WRONG_SIGNATURE: &str = "its signature is wrong";

/// Checks tokens. Its `Debug` shows no key.
pub struct Verifier {
    keys: Keys,
    audience: Option<String>,
}

enum Keys {
    /// For HS256.
    Secret(DecodingKey),
    /// For RS256, ES256 and EdDSA.
    Public(Jwks),
}

impl Verifier {
    /// Checks tokens signed with a shared secret (HS256). With an audience, only tokens for it are accepted.
    pub fn with_secret(secret: &[u8], audience: Option<String>) -> Self {
        Self { keys: Keys::Secret(DecodingKey::from_secret(secret)), audience }
    }

    /// Checks tokens signed with a key of this set. With an audience, only tokens for it are accepted. The set
    /// is read again at intervals, by a task that ends with the verifier.
    ///
    /// # Errors
    ///
    /// Where the set cannot be read or has no key that can be used.
    pub async fn with_jwks(source: JwksSource, audience: Option<String>) -> Result<Self, JwksError> {
        Ok(Self { keys: Keys::Public(Jwks::load(source).await?), audience })
    }

    /// The claims of a token, after all checks. It may wait up to five seconds for an unknown key that the token
    /// names.
    ///
    /// # Errors
    ///
    /// [`TokenError::Expired`] only where nothing but the time is wrong with the token.
    pub async fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        // This also refuses `none`, which is no algorithm that can be decoded.
        let header = decode_header(token).map_err(|_| TokenError::Invalid("it is no JWT of a known algorithm"))?;
        // RFC 7515, section 4.1.11: extensions that a token calls critical must be understood. None are here.
        if header.crit.is_some() {
            return Err(TokenError::Invalid("it needs an extension that is not known"));
        }
        let claims = match &self.keys {
            Keys::Secret(secret) => self.decode(token, secret, Algorithm::HS256),
            Keys::Public(jwks) => self.decode_by_set(token, &header, jwks).await,
        }?;
        claims.check(get_current_timestamp().cast_signed())
    }

    /// Finds the key and decodes. A token without a key id that no key in memory has signed may be signed with a
    /// new one, like one that names an unknown key.
    async fn decode_by_set(&self, token: &str, header: &Header, jwks: &Jwks) -> Result<UncheckedClaims, TokenError> {
        let decode = async || {
            let public = jwks.find(header.kid.as_deref(), header.alg).await?;
            self.decode(token, &public.key, public.algorithm)
        };
        match decode().await {
            Err(TokenError::Invalid(WRONG_SIGNATURE | OTHER_ALGORITHM))
                if header.kid.is_none() && jwks::ALGORITHMS.contains(&header.alg) =>
            {
                jwks.look_for(token).await?;
                decode().await
            }
            decoded => decoded,
        }
    }

    /// Checks everything except the expiry and the claims of this server.
    fn decode(&self, token: &str, key: &DecodingKey, algorithm: Algorithm) -> Result<UncheckedClaims, TokenError> {
        let mut rules = Validation::new(algorithm);
        rules.leeway = LEEWAY_SECONDS.into();
        rules.validate_nbf = true;
        rules.validate_exp = false;
        rules.required_spec_claims.clear();
        match &self.audience {
            Some(audience) => {
                rules.set_audience(&[audience]);
                // Without this a token that has no `aud` would pass for any audience.
                rules.set_required_spec_claims(&["aud"]);
            }
            None => rules.validate_aud = false,
        }
        let decoded = decode(token, key, &rules).map_err(|error| TokenError::Invalid(in_words(error.kind())))?;
        Ok(decoded.claims)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = match self.keys {
            Keys::Secret(_) => "a secret",
            Keys::Public(_) => "a JWKS",
        };
        f.debug_struct("Verifier").field("keys", &keys).field("audience", &self.audience).finish()
    }
}

fn in_words(error: &ErrorKind) -> &'static str {
    match error {
        ErrorKind::InvalidSignature => WRONG_SIGNATURE,
        ErrorKind::InvalidAlgorithm => OTHER_ALGORITHM,
        ErrorKind::ImmatureSignature => "it is not valid yet",
        ErrorKind::InvalidAudience => "it is for another audience",
        ErrorKind::MissingRequiredClaim(_) => "it does not say for which audience it is",
        ErrorKind::InvalidClaimFormat(_) => "its `nbf` is not a time",
        _ => "it cannot be read",
    }
}

/// The claims of a token whose signature is valid.
#[derive(Deserialize)]
struct UncheckedClaims {
    sub: Option<Value>,
    role: Option<Value>,
    name: Option<Value>,
    exp: Option<Value>,
}

impl UncheckedClaims {
    /// The expiry comes last: on `token_expired` a client fetches a fresh token and reconnects, which would be
    /// in vain if anything else was wrong. `now` is in seconds since 1970.
    fn check(self, now: i64) -> Result<Claims, TokenError> {
        let role = self
            .role
            .as_ref()
            .and_then(Value::as_str)
            .and_then(|role| role.parse().ok())
            .ok_or(TokenError::Invalid("its `role` is not one of this server's"))?;
        // A service's `sub` may be something else than a user id.
        let subject = self.sub.as_ref().and_then(Value::as_str).and_then(|sub| Uuid::try_parse(sub).ok());
        if role == JwtRole::Authenticated && subject.is_none() {
            return Err(TokenError::Invalid("its `sub` is not a UUID"));
        }
        let name = match &self.name {
            None => None,
            Some(Value::String(name)) => display_name(name).ok(),
            Some(_) => return Err(TokenError::Invalid("its `name` is not a text")),
        };
        // RFC 7519 allows times with fractions. The cast truncates, and saturates at the last second.
        let expires_at = self
            .exp
            .as_ref()
            .and_then(Value::as_f64)
            .ok_or(TokenError::Invalid("its `exp` is missing or not a time"))? as i64;
        if expires_at.saturating_add(LEEWAY_SECONDS.into()) <= now {
            return Err(TokenError::Expired);
        }
        Ok(Claims { subject, role, name, expires_at })
    }
}

/// From when on a token that expires at this Unix time is refused.
pub fn deadline(expires_at: i64, clock: &Clock) -> Moment {
    let left = expires_at.saturating_sub(Utc::now().timestamp()).saturating_add(LEEWAY_SECONDS.into());
    clock.now() + Duration::from_secs(u64::try_from(left).unwrap_or_default())
}

/// Makes a token signed with a shared secret (HS256), valid for `ttl` from now, in whole seconds.
pub fn issue(
    secret: &[u8],
    subject: Option<Uuid>,
    name: Option<&str>,
    role: JwtRole,
    audience: Option<&str>,
    ttl: Duration,
) -> String {
    #[derive(Serialize)]
    struct IssuedClaims<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        sub: Option<Uuid>,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<&'a str>,
        role: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        aud: Option<&'a str>,
        iat: u64,
        exp: u64,
    }
    let now = get_current_timestamp();
    let claims = IssuedClaims {
        sub: subject,
        name,
        role: role.as_str(),
        aud: audience,
        iat: now,
        exp: now.saturating_add(ttl.as_secs()),
    };
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret))
        .expect("plain claims become JSON, and HS256 takes any secret")
}
