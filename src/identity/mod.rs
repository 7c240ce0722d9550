//! Identity: tokens and keys, the caller behind a request, and the address that it comes from.

pub mod client_address;
pub mod invite;
pub mod jwks;
pub mod jwt;
pub mod origin;
pub mod resume;
pub mod secret;

use std::time::Duration;

use crate::domain::ids::UserId;
use crate::protocol::{Code, Refusal};
use jwt::{JwtRole, TokenError, Verifier};
use resume::{ResumeClaims, ResumeKey};

/// Clients whose tokens have an unknown key come back within this time after keys may be read again.
const KEY_SPREAD: Duration = Duration::from_secs(5);

/// The caller of a request, by its Bearer token.
#[derive(Clone, Debug)]
pub enum Caller {
    /// No token was sent.
    Anonymous,
    /// The holder of a resume token. Whether the participant may still use it is for the store to decide.
    Guest(ResumeClaims),
    /// A user of the embedding application.
    User {
        /// Its `sub`.
        id: UserId,
        /// Its display name, where the token has one.
        name: Option<String>,
        /// When the token expires, in seconds of Unix time.
        expires_at: i64,
    },
    /// The embedding application itself.
    Service {
        /// When the token expires, in seconds of Unix time.
        expires_at: i64,
    },
}

/// The keys that tokens are checked with.
#[derive(Debug)]
pub struct Keys {
    jwt: Verifier,
    resume: ResumeKey,
}

impl Keys {
    /// The keys of a server.
    pub fn new(jwt: Verifier, resume: ResumeKey) -> Self {
        Self { jwt, resume }
    }

    /// The key of resume tokens.
    pub fn resume(&self) -> &ResumeKey {
        &self.resume
    }

    /// The caller behind a Bearer token.
    ///
    /// # Errors
    /// `token_expired`, `unauthenticated`, or `unavailable` where the key set cannot be read.
    pub async fn caller(&self, bearer: Option<&str>) -> Result<Caller, Refusal> {
        let Some(token) = bearer else { return Ok(Caller::Anonymous) };
        if resume::is_resume_token(token) {
            return match self.resume.verify(token) {
                Some(claims) => Ok(Caller::Guest(claims)),
                None => Err(Refusal::new(Code::Unauthenticated, "The resume token is not valid.")),
            };
        }
        let claims = self.jwt.verify(token).await.map_err(|error| match error {
            TokenError::Expired => Code::TokenExpired.into(),
            TokenError::Invalid(why) => Refusal::new(Code::Unauthenticated, format!("The token is not valid: {why}.")),
            // Not all at once: the first one that comes has the keys read.
            TokenError::Unavailable(wait) => {
                let refusal = Refusal::new(Code::Unavailable, "The token is signed with a key that is not known yet.");
                refusal.retry_after(wait + KEY_SPREAD.mul_f64(rand::random::<f64>()))
            }
        })?;
        match (claims.role, claims.subject) {
            (JwtRole::Service, _) => Ok(Caller::Service { expires_at: claims.expires_at }),
            (JwtRole::Authenticated, Some(subject)) => {
                Ok(Caller::User { id: UserId(subject), name: claims.name, expires_at: claims.expires_at })
            }
            (JwtRole::Authenticated, None) => Err(Code::Unauthenticated.into()),
        }
    }
}
