//! A person in a reading session.

use chrono::{DateTime, Utc};

use super::document::Document;
use super::ids::ParticipantId;
use super::reading_session::CloseReason;
use super::role::Role;
use super::subject::Subject;
use super::words::words;

words! {
    /// Whether a participant is connected and active.
    Status {
        /// Connected, and did something lately.
        Active = "active",
        /// Connected, and did nothing for `idle-after`.
        Idle = "idle",
        /// The last connection was lost; the grace runs.
        Reconnecting = "reconnecting",
    }
}

words! {
    /// How good a connection is, by the round trip of the server's Ping.
    Quality {
        /// Under 150 ms.
        Good = "good",
        /// Under 400 ms, or one Pong missed.
        Degraded = "degraded",
        /// Worse.
        Poor = "poor",
    }
}

words! {
    /// Why a participant is gone from a room.
    LeaveReason {
        /// It sent `leave`.
        Left = "left",
        /// Its connection was lost and the grace ran out.
        Timeout = "timeout",
        /// A host or the service removed it.
        Removed = "removed",
        /// The session was closed.
        Closed = "closed",
    }
}

words! {
    /// Why a participant that was written as present is not to be present.
    StaleCause {
        /// The participant was removed.
        Removed = "removed",
        /// The session is closed.
        Closed = "closed",
        /// The row does not exist any more.
        Gone = "gone",
    }
}

impl Quality {
    /// The class of a Ping's round trip (protocol.md, Liveness).
    pub const fn of_round_trip(millis: u128) -> Self {
        match millis {
            0..150 => Self::Good,
            150..400 => Self::Degraded,
            _ => Self::Poor,
        }
    }

    /// The class of a connection with this many Pings unanswered; `None` where there are none.
    pub const fn of_missed_pongs(missed: u8) -> Option<Self> {
        match missed {
            0 => None,
            1 => Some(Self::Degraded),
            _ => Some(Self::Poor),
        }
    }

    const fn rank(self) -> u8 {
        match self {
            Self::Good => 2,
            Self::Degraded => 1,
            Self::Poor => 0,
        }
    }

    /// The best of several connections: the one by which the person can be reached.
    pub fn best(qualities: impl Iterator<Item = Self>) -> Option<Self> {
        qualities.max_by_key(|quality| quality.rank())
    }
}

/// A stored participant who is present.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are the table's, see migrations")]
pub struct StoredParticipant {
    pub id: ParticipantId,
    pub user_id: Option<Subject>,
    pub name: Option<String>,
    pub role: Role,
    pub state: Document,
    pub joined_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
}

/// The participant that a resume token names.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are the tables', see migrations")]
pub struct Membership {
    pub role: Role,
    pub removed: bool,
    pub resume_generation: i32,
    pub close_reason: Option<CloseReason>,
}

/// Whether a participant still belongs to a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It does.
    Good,
    /// The participant was removed.
    Removed,
    /// The session is closed.
    Closed(CloseReason),
    /// The session is not there any more.
    Gone,
}
