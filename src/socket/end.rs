//! How a connection ends.

use std::time::Duration;

use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::protocol::{Code, Refusal};
use crate::room::Gone;

/// How a connection ended.
#[derive(Debug)]
pub enum End {
    /// The client sent `leave`.
    Left,
    /// The client closed with 1000, which is leaving too. The library has queued the answer.
    ClosedNormally,
    /// The client closed with another code: it means to come back.
    Closed,
    /// The client is gone without a word.
    Lost,
    /// Sent away with a reason.
    Refused(Refusal),
    /// Broke the WebSocket protocol: a close code and nothing else.
    Broken(CloseCode),
}

/// Every word of [`End::word`] that is no code.
const WORDS: [&str; 7] =
    ["left", "closed", "lost", "message_too_large", "binary_message", "invalid_utf8", "protocol_error"];

impl End {
    /// Every [`End::word`].
    pub fn words() -> impl Iterator<Item = &'static str> {
        WORDS.into_iter().chain(Code::ALL.iter().map(|code| code.as_str()))
    }

    /// Whether the client is expected back: it is gone, or was told to come again.
    pub fn comes_back(&self) -> bool {
        match self {
            Self::Left | Self::ClosedNormally | Self::Broken(_) => false,
            Self::Closed | Self::Lost => true,
            Self::Refused(refusal) => refusal.code.retry(),
        }
    }

    /// For the log and the metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Left | Self::ClosedNormally => "left",
            Self::Closed => "closed",
            Self::Lost => "lost",
            Self::Refused(refusal) => refusal.code.as_str(),
            Self::Broken(CloseCode::Size) => "message_too_large",
            Self::Broken(CloseCode::Unsupported) => "binary_message",
            Self::Broken(CloseCode::Invalid) => "invalid_utf8",
            Self::Broken(_) => "protocol_error",
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

/// What a failure of the WebSocket means.
impl From<&Error> for End {
    fn from(error: &Error) -> Self {
        match error {
            Error::Utf8(_) => End::Broken(CloseCode::Invalid),
            Error::Capacity(_) => End::Broken(CloseCode::Size),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Lost,
            Error::Protocol(_) => End::Broken(CloseCode::Protocol),
            Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_) => End::Lost,
            _ => End::Refused(Code::Internal.into()),
        }
    }
}
