//! A reading session: what people join.

use chrono::{DateTime, Utc};

use super::ids::SessionId;
use super::invite::NewInvite;
use super::subject::Subject;
use super::words::words;

words! {
    /// Why a session is closed.
    CloseReason {
        /// Its participants were not seen for the idle timeout.
        Idle = "idle",
        /// A host closed it.
        Host = "host",
        /// The service closed it.
        Admin = "admin",
        /// It reached its greatest age.
        Expired = "expired",
    }
}

/// A reading session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadingSession {
    /// Its id, and its room's.
    pub id: SessionId,
    /// What people see as its heading.
    pub title: Option<String>,
    /// The user who opened it; `None` where a guest or the service did.
    pub host_user_id: Option<Subject>,
    /// How many people it takes.
    pub max_participants: usize,
    /// When it was opened.
    pub created_at: DateTime<Utc>,
    /// When a participant was last seen in it.
    pub last_seen_at: DateTime<Utc>,
    /// When a participant was last active in it.
    pub last_activity_at: DateTime<Utc>,
    /// How it was closed; `None` while it is open.
    pub closed: Option<Closed>,
}

/// How a reading session was closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed {
    /// When.
    pub at: DateTime<Utc>,
    /// Why.
    pub reason: CloseReason,
}

impl ReadingSession {
    /// Whether people may join it.
    pub fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    /// Why it is closed; `None` while it is open.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.closed.map(|closed| closed.reason)
    }
}

/// A session that is about to be opened.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are the table's, see migrations")]
pub struct NewSession {
    pub id: SessionId,
    pub title: Option<String>,
    pub max_participants: i32,
    /// The user who opens it, with the name of its token.
    pub host: Option<(Subject, Option<String>)>,
    /// The invites that it starts with.
    pub invites: Vec<NewInvite>,
}

/// What a host changes.
#[derive(Clone, Debug, Default)]
pub struct SessionChange {
    /// `Some(None)` removes the title.
    pub title: Option<Option<String>>,
    /// How many people it takes.
    pub max_participants: Option<i32>,
}

/// When a session expires.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are those of check_session_expiry()")]
pub struct Expiry {
    pub expired: bool,
    pub last_seen_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub minutes_until_expiry: i32,
}
