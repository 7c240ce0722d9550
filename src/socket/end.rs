//! How a connection ends: the close code, the last frames, and whether the client is expected back.

use std::time::Duration;

use super::frame::{FrameBatch, Violation};
use crate::protocol::{Code, Refusal, v1};
use crate::room::Gone;

/// How a connection ended.
#[derive(Debug)]
pub enum End {
    /// The client sent `leave`.
    Left,
    /// The client sent a Close with this code, or without one. 1000 is leaving too; with any other code it
    /// means to come back. The answer is a Close with the same code.
    Closed(Option<u16>),
    /// The stream is broken, or the client hung up without a Close.
    Lost,
    /// The server ends the connection with a reason.
    Refused(Refusal),
    /// The client broke the WebSocket protocol. It is sent a close code and nothing else.
    Broken(Violation),
}

/// The values of [`End::word`] that are not those of a [`Code`].
const WORDS: [&str; 7] =
    ["left", "closed", "lost", "message_too_large", "binary_message", "invalid_utf8", "protocol_error"];

impl End {
    /// All values of [`End::word`].
    pub fn words() -> impl Iterator<Item = &'static str> {
        WORDS.into_iter().chain(Code::ALL.iter().map(|code| code.as_str()))
    }

    /// Whether the client left, rather than was lost.
    pub fn is_goodbye(&self) -> bool {
        matches!(self, Self::Left | Self::Closed(Some(1000)))
    }

    /// Whether the client is expected back: it was lost, or asked to reconnect.
    pub fn comes_back(&self) -> bool {
        match self {
            Self::Broken(_) => false,
            Self::Left | Self::Closed(_) | Self::Lost => !self.is_goodbye(),
            Self::Refused(refusal) => refusal.code.retry(),
        }
    }

    /// The word for the log and the metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Left | Self::Closed(Some(1000)) => "left",
            Self::Closed(_) => "closed",
            Self::Lost => "lost",
            Self::Refused(refusal) => refusal.code.as_str(),
            Self::Broken(violation) => violation.word(),
        }
    }

    /// The last frames of the connection; `None` where there is no client to read them.
    pub fn last_frames(&self) -> Option<FrameBatch> {
        let mut frames = FrameBatch::default();
        match self {
            Self::Left => frames.close(Some(1000), ""),
            Self::Closed(code) => frames.close(*code, ""),
            Self::Lost => return None,
            Self::Refused(refusal) => {
                frames.text(&v1::error(refusal, None));
                frames.close(Some(refusal.code.close_code().unwrap_or(1011)), refusal.code.as_str());
            }
            Self::Broken(violation) => frames.close(Some(violation.close_code()), ""),
        }
        Some(frames)
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
            // Jittered, so that clients that are disconnected together do not reconnect together.
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
