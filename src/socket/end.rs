//! How a connection ends.

use std::time::Duration;

use super::frame::Violation;
use crate::protocol::{Code, Refusal};
use crate::room::Gone;

/// How a connection ended.
#[derive(Debug)]
pub enum End {
    /// The client sent `leave`.
    Left,
    /// The client closed, with this code or without one: 1000 is leaving too, with any other it means to
    /// come back. It is answered with the same.
    Closed(Option<u16>),
    /// The client is gone without a word.
    Lost,
    /// Sent away with a reason.
    Refused(Refusal),
    /// Broke the WebSocket protocol: a close code and nothing else.
    Broken(Violation),
}

/// Every word of [`End::word`] that is no code.
const WORDS: [&str; 7] =
    ["left", "closed", "lost", "message_too_large", "binary_message", "invalid_utf8", "protocol_error"];

impl End {
    /// Every [`End::word`].
    pub fn words() -> impl Iterator<Item = &'static str> {
        WORDS.into_iter().chain(Code::ALL.iter().map(|code| code.as_str()))
    }

    /// Whether the client said goodbye.
    pub fn is_goodbye(&self) -> bool {
        matches!(self, Self::Left | Self::Closed(Some(1000)))
    }

    /// Whether the client is expected back: it is gone, or was told to come again.
    pub fn comes_back(&self) -> bool {
        match self {
            Self::Broken(_) => false,
            Self::Left | Self::Closed(_) | Self::Lost => !self.is_goodbye(),
            Self::Refused(refusal) => refusal.code.retry(),
        }
    }

    /// For the log and the metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Left | Self::Closed(Some(1000)) => "left",
            Self::Closed(_) => "closed",
            Self::Lost => "lost",
            Self::Refused(refusal) => refusal.code.as_str(),
            Self::Broken(violation) => violation.word(),
        }
    }
}

impl From<Code> for End {
    fn from(code: Code) -> Self {
        Self::Refused(code.into())
    }
}

impl From<Gone> for End {
    fn from(gone: Gone) -> Self {
        Self::Refused(match gone {
            Gone::Removed => Code::Removed.into(),
            Gone::Closed(reason) => Refusal::closed(reason),
            // Jittered, so that those who go together do not come back together.
            Gone::Draining => {
                Refusal::from(Code::Draining).retry_after(Duration::from_secs(5).mul_f64(rand::random::<f64>()))
            }
        })
    }
}

impl From<Violation> for End {
    fn from(violation: Violation) -> Self {
        Self::Broken(violation)
    }
}
