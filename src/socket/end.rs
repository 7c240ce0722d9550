//! How a connection ends: the close code, the last frames, and whether the client is expected back.

use std::time::Duration;

use super::frame::{Close, FrameBatch, Violation};
use crate::protocol::{Code, Refusal, v1};
use crate::room::Gone;

/// How a connection ended.
#[derive(Debug)]
pub enum End {
    /// The client sent `leave`.
    Left,
    /// A Close was received. The answer is one with the same code.
    Closed(Closed),
    /// The stream is broken, or the client hung up without a Close.
    Lost,
    /// The server ends the connection with a reason.
    Refused(Refusal),
    /// The client broke the WebSocket protocol. It is sent a close code and nothing else.
    Broken(Violation),
}

/// A Close that was received.
#[derive(Debug)]
pub struct Closed {
    /// Without one it is leaving, as with 1000: most libraries send none where none is given. With any other the client
    /// means to come back, or says nothing of it.
    code: Option<u16>,
    reason: Box<str>,
    /// A proxy's own is no word of the client's.
    is_by_proxy: bool,
}

impl Closed {
    /// Whether the client left by it.
    fn is_goodbye(&self) -> bool {
        !self.is_by_proxy && matches!(self.code, None | Some(1000))
    }

    /// Whether the client could not go on with what it was sent.
    fn is_failure(&self) -> bool {
        !self.is_by_proxy && matches!(self.code, Some(1002 | 1003 | 1007..=1011))
    }

    /// The code for the log.
    pub fn code(&self) -> u16 {
        self.code.unwrap_or(1005)
    }

    /// The reason for the log, where there is one: without words that may be tokens. The log escapes it.
    pub fn reason(&self) -> Option<String> {
        let is_token = |word: &str| ["lsr_", "lsi_", "eyJ"].iter().any(|start| word.contains(start));
        let shown = |word| if is_token(word) { "[token]" } else { word };
        (!self.reason.is_empty()).then(|| self.reason.split(' ').map(shown).collect::<Vec<_>>().join(" "))
    }
}

impl From<Close<'_>> for Closed {
    fn from(Close { code, reason, is_masked }: Close<'_>) -> Self {
        Self { code, reason: reason.into(), is_by_proxy: !is_masked }
    }
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
        match self {
            Self::Left => true,
            Self::Closed(closed) => closed.is_goodbye(),
            Self::Lost | Self::Refused(_) | Self::Broken(_) => false,
        }
    }

    /// Whether the connection broke, or was ended for want of a client that reads and answers. What the client says by
    /// its own Close is no failure, unless it says that it could not go on with what it was sent.
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Lost | Self::Broken(_) => true,
            Self::Closed(closed) => closed.is_failure(),
            Self::Refused(refusal) => matches!(refusal.code, Code::SlowConsumer | Code::BeatTimeout),
            Self::Left => false,
        }
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
            Self::Left => "left",
            Self::Closed(closed) => {
                if closed.is_goodbye() {
                    "left"
                } else {
                    "closed"
                }
            }
            Self::Lost => "lost",
            Self::Refused(refusal) => refusal.code.as_str(),
            Self::Broken(violation) => violation.word(),
        }
    }

    /// The Close that was received, where one was.
    pub fn closed(&self) -> Option<&Closed> {
        match self {
            Self::Closed(closed) => Some(closed),
            _ => None,
        }
    }

    /// The last frames of the connection; `None` where there is no client to read them.
    pub fn last_frames(&self) -> Option<FrameBatch> {
        let mut frames = FrameBatch::default();
        match self {
            Self::Left => frames.close(Some(1000), ""),
            Self::Closed(closed) => frames.close(closed.code, ""),
            Self::Lost => return None,
            Self::Refused(refusal) => {
                frames.text(&v1::error(refusal, None));
                frames.close(Some(refusal.code.close_code().unwrap_or(1011)), refusal.code.as_str());
            }
            Self::Broken(violation) => frames.close(Some(violation.close_code()), &violation.reason()),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(code: Option<u16>, reason: &str, is_masked: bool) -> End {
        End::Closed(Close { code, reason, is_masked }.into())
    }

    #[test]
    fn a_close_with_1000_or_without_a_code_is_leaving_where_the_client_sent_it() {
        for code in [None, Some(1000)] {
            assert!(closed(code, "", true).is_goodbye(), "{code:?}");
            assert!(!closed(code, "", false).is_goodbye(), "{code:?} of a proxy");
        }
        for code in [1001, 1002, 1011, 3000, 4000, 4999] {
            let end = closed(Some(code), "", true);
            assert_eq!((end.is_goodbye(), end.comes_back(), end.word()), (false, true, "closed"), "{code}");
        }
    }

    #[test]
    fn a_reason_is_shown_without_tokens() {
        let shown = |reason| closed(Some(4000), reason, true).closed().and_then(Closed::reason);
        assert_eq!(shown(""), None);
        assert_eq!(shown("the tab was closed").as_deref(), Some("the tab was closed"));
        assert_eq!(shown("gone token=lsr_abc eyJhbGciOi.e30.x").as_deref(), Some("gone [token] [token]"));
    }
}
