//! Identity: tokens and keys, the caller behind a request, and the address that it comes from.

pub mod client_address;
pub mod invite;
pub mod jwks;
pub mod jwt;
pub mod origin;
mod refused;
pub mod resume;
pub mod secret;

use std::sync::Arc;
use std::time::Duration;

use crate::domain::subject::Subject;
use crate::metrics::Metrics;
use crate::protocol::{Code, Refusal};
use jwt::{Claims, JwtRole, TokenError, TokenFault, Verifier};
use refused::RefusedTokens;
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
        subject: Subject,
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
    refused: RefusedTokens,
}

impl Keys {
    /// The keys of a server, which counts the JWTs that it refuses.
    pub fn new(jwt: Verifier, resume: ResumeKey, metrics: Arc<Metrics>) -> Self {
        Self { jwt, resume, refused: RefusedTokens::new(metrics) }
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
        let claims = self.jwt.verify(token).await.map_err(|error| {
            self.refused.note(error.fault());
            refusal(error)
        })?;
        let Claims { subject, role, name, expires_at } = claims;
        match (role, subject) {
            (JwtRole::Service, _) => Ok(Caller::Service { expires_at }),
            (JwtRole::Authenticated, Some(subject)) => Ok(Caller::User { subject, name, expires_at }),
            (JwtRole::Authenticated, None) => Err(Code::Unauthenticated.into()),
        }
    }
}

fn refusal(error: TokenError) -> Refusal {
    match error {
        TokenError::Refused(TokenFault::Expired) => Code::TokenExpired.into(),
        TokenError::Refused(fault) => {
            Refusal::new(Code::Unauthenticated, format!("The token is not valid: {}.", fault.message()))
        }
        // Not all at once: the first one that comes has the keys read.
        TokenError::Unavailable(wait) => {
            let refusal = Refusal::new(Code::Unavailable, "The token is signed with a key that is not known yet.");
            refusal.retry_after(wait + KEY_SPREAD.mul_f64(rand::random::<f64>()))
        }
    }
}
