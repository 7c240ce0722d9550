//! JSON Web Tokens: who a user or a service is, as the embedding application says it.
//!
//! The algorithm is that of the configured key, whatever a token claims. The signature is checked
//! before anything that a token says is believed, and its expiry last, so that [`TokenError::Expired`]
//! means a token that was good.

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

use super::jwks::{Jwks, JwksError, JwksSource, NoKey};
use crate::clock::{Clock, Moment};
use crate::protocol::name::display_name;

/// How far the issuer's clock may be off, in seconds.
pub const LEEWAY_SECONDS: u32 = 30;

/// What a JWT's holder is to this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JwtRole {
    /// A user of the embedding application.
    Authenticated,
    /// The embedding application itself, which may do everything.
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

/// A role that this server does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the role must be `authenticated` or `service_role`")]
pub struct UnknownRole;

impl FromStr for JwtRole {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        [Self::Authenticated, Self::Service].into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}

/// What a good token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The user's id. A user always has one, a service may.
    pub subject: Option<Uuid>,
    /// What the holder may do.
    pub role: JwtRole,
    /// The user's display name, trimmed; `None` where the token's cannot be shown.
    pub name: Option<String>,
    /// When the token expires, in seconds since 1970, without leeway.
    pub expires_at: i64,
}

/// Why a token is refused. No part of the token is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The token was good, and a fresh one will be.
    #[error("the token has expired")]
    Expired,
    /// The token is not good and never will be; the text says why.
    #[error("the token is not valid: {0}")]
    Invalid(&'static str),
    /// The token may be good, but the key that it names cannot be had just now.
    #[error("the key that the token is signed with cannot be had just now")]
    Unavailable,
}

impl From<NoKey> for TokenError {
    fn from(reason: NoKey) -> Self {
        match reason {
            NoKey::UnknownId => Self::Invalid("it is signed with a key that is not known"),
            NoKey::OtherAlgorithm => Self::Invalid(OTHER_ALGORITHM),
            NoKey::Ambiguous => Self::Invalid("it does not say which key it is signed with"),
            NoKey::Unavailable => Self::Unavailable,
        }
    }
}

const OTHER_ALGORITHM: &str = "it is signed with another algorithm than the key's";

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
    /// Checks tokens that are signed with a shared secret (HS256), and with an audience those that
    /// are for it alone.
    pub fn with_secret(secret: &[u8], audience: Option<String>) -> Self {
        Self { keys: Keys::Secret(DecodingKey::from_secret(secret)), audience }
    }

    /// Checks tokens that are signed with a key of this set, and with an audience those that are for
    /// it alone. The set is read again from time to time, by a task that ends with the verifier.
    ///
    /// # Errors
    ///
    /// Where the set cannot be read or has no key that can be used.
    pub async fn with_jwks(source: JwksSource, audience: Option<String>) -> Result<Self, JwksError> {
        Ok(Self { keys: Keys::Public(Jwks::load(source).await?), audience })
    }

    /// What a token says, where all of it is in order. It may wait, up to five seconds, for a key
    /// that the token names and that is not known yet.
    ///
    /// # Errors
    ///
    /// [`TokenError::Expired`] only where nothing but the time is wrong with the token.
    pub async fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        // `none` ends here too: it is no algorithm that could be read.
        let header = decode_header(token).map_err(|_| TokenError::Invalid("it is no JWT of a known algorithm"))?;
        // RFC 7515, section 4.1.11: what a token calls critical must be understood. Nothing is, here.
        if header.crit.is_some() {
            return Err(TokenError::Invalid("it needs an extension that is not known"));
        }
        let claims = match &self.keys {
            Keys::Secret(secret) => self.decode(token, secret, Algorithm::HS256),
            Keys::Public(jwks) => {
                let public = jwks.find(header.kid.as_deref(), header.alg).await?;
                self.decode(token, &public.key, public.algorithm)
            }
        }?;
        claims.check(get_current_timestamp().cast_signed())
    }

    /// Checks everything but the expiry and the claims of our own.
    fn decode(&self, token: &str, key: &DecodingKey, algorithm: Algorithm) -> Result<UncheckedClaims, TokenError> {
        let mut rules = Validation::new(algorithm);
        rules.leeway = LEEWAY_SECONDS.into();
        rules.validate_nbf = true;
        rules.validate_exp = false;
        rules.required_spec_claims.clear();
        match &self.audience {
            Some(audience) => {
                rules.set_audience(&[audience]);
                // Else a token without `aud` passes for one of any audience.
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
        ErrorKind::InvalidSignature => "its signature is wrong",
        ErrorKind::InvalidAlgorithm => OTHER_ALGORITHM,
        ErrorKind::ImmatureSignature => "it is not valid yet",
        ErrorKind::InvalidAudience => "it is for another audience",
        ErrorKind::MissingRequiredClaim(_) => "it does not say for which audience it is",
        ErrorKind::InvalidClaimFormat(_) => "its `nbf` is not a time",
        _ => "it cannot be read",
    }
}

/// The claims as they stand in a token whose signature is right.
#[derive(Deserialize)]
struct UncheckedClaims {
    sub: Option<Value>,
    role: Option<Value>,
    name: Option<Value>,
    exp: Option<Value>,
}

impl UncheckedClaims {
    /// The expiry comes last: a client that is told of it gets a fresh token and comes back, which is
    /// in vain where anything else is wrong. `now` is in seconds since 1970.
    fn check(self, now: i64) -> Result<Claims, TokenError> {
        let role = self
            .role
            .as_ref()
            .and_then(Value::as_str)
            .and_then(|role| role.parse().ok())
            .ok_or(TokenError::Invalid("its `role` is not one of this server's"))?;
        // A service's `sub` may name what is no user here: a client id, say.
        let subject = self.sub.as_ref().and_then(Value::as_str).and_then(|sub| Uuid::try_parse(sub).ok());
        if role == JwtRole::Authenticated && subject.is_none() {
            return Err(TokenError::Invalid("its `sub` is not a UUID"));
        }
        let name = match &self.name {
            None => None,
            Some(Value::String(name)) => display_name(name).ok(),
            Some(_) => return Err(TokenError::Invalid("its `name` is not a text")),
        };
        // RFC 7519 has times with fractions too. The cast cuts them off, and stops at the last second
        // that there is.
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

/// Makes a token that is signed with a shared secret (HS256), and good for `ttl`, in whole seconds,
/// from now.
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
