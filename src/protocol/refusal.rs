//! A refusal: what was wrong, with the same code and message over HTTP and over a WebSocket.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::code::Code;
use crate::domain::reading_session::CloseReason;

/// One field of a request that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// Which one.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// The answer to a request that is not carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Which of the refusals it is.
    pub code: Code,
    /// For a person. Never holds a token or an internal detail.
    pub message: Cow<'static, str>,
    /// When to try again, where that helps.
    pub retry_after: Option<Duration>,
    /// Why the session is closed, where it is.
    pub reason: Option<CloseReason>,
    /// Which fields were wrong, where it was those.
    pub errors: Vec<FieldError>,
}

impl Refusal {
    /// A refusal with a message of its own.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), retry_after: None, reason: None, errors: Vec::new() }
    }

    /// A field of the request cannot be used.
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        let errors = vec![FieldError { field: field.to_owned(), message: message.clone() }];
        Self { errors, ..Self::new(Code::InvalidRequest, format!("{field}: {message}")) }
    }

    /// The session is closed.
    pub fn closed(reason: CloseReason) -> Self {
        let message = match reason {
            CloseReason::Idle => "This session was closed because nobody, or nobody else, was here for a while.",
            CloseReason::Host => "This session was closed by its host.",
            CloseReason::Admin => "This session was closed by an operator.",
            CloseReason::Expired => "This session has reached its greatest age and was closed.",
        };
        Self { reason: Some(reason), ..Self::new(Code::SessionClosed, message) }
    }

    /// The same with a time to try again.
    pub fn retry_after(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }

    /// The same with a random time to try again between `least` and twice that, so that clients that are refused
    /// together do not come back together.
    pub fn retry_about(self, least: Duration) -> Self {
        self.retry_after(least.mul_f64(1.0 + rand::random::<f64>()))
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        let refusal = Self::new(code, code.message());
        match code {
            Code::Unavailable | Code::AtCapacity | Code::Draining | Code::Internal => {
                refusal.retry_about(Duration::from_secs(1))
            }
            _ => refusal,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}
