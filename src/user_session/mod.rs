//! The live side of user sessions: which of them have connections to this server, and what was heard
//! of those since the last flush. Pure, like the rooms: no HTTP, no SQL, no wire format.

mod ledger;
mod mark;
mod tie;

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

pub use crate::domain::user_session::{EndReason, Platform, UserSessionStatus};

pub use ledger::{Chunk, Row, UserSessions};
pub use tie::{Tie, Wire};

/// The longest id that a client makes, in characters.
pub const MAX_ID_CHARS: usize = 128;

/// What is kept of a User-Agent header, in characters.
pub const MAX_USER_AGENT_CHARS: usize = 512;

/// The rules of user sessions; see `config` for each.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// It has ended after this long without a heartbeat.
    pub timeout: Duration,
    /// It is idle after this long without activity.
    pub idle_after: Duration,
}

/// A user session's id, as its client made it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClientSession(Arc<str>);

impl ClientSession {
    /// Takes an id that can be one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.chars().count() > MAX_ID_CHARS {
            return Err(format!("must have 1 to {MAX_ID_CHARS} characters"));
        }
        if text.chars().any(char::is_control) {
            return Err("must not hold control characters".to_owned());
        }
        // At its address stands the summary of all.
        if text == "summary" {
            return Err("must not be 'summary'".to_owned());
        }
        Ok(Self(text.into()))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a connection says of the device at its other end.
#[derive(Clone, Debug)]
pub struct Device {
    /// The session it belongs to.
    pub session: ClientSession,
    /// Where it runs.
    pub platform: Platform,
    /// Its User-Agent, cut.
    pub user_agent: Option<String>,
    /// The network that it is in, and no closer.
    pub network: IpNet,
}
