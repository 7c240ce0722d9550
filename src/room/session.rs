//! The reading session behind a room.

use chrono::{DateTime, Utc};

use crate::ids::{SessionId, UserId};

/// The reading session behind a room, as the store knew it when the room was opened or the session was
/// changed last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// Its id, the room's too.
    pub id: SessionId,
    /// What people see on top.
    pub title: Option<String>,
    /// The user who opened it; `None` where a guest did.
    pub host_user_id: Option<UserId>,
    /// How many people it takes.
    pub max_participants: usize,
    /// When it was opened.
    pub created_at: DateTime<Utc>,
    /// When a participant was last seen in it.
    pub last_seen_at: DateTime<Utc>,
    /// When a participant was last active in it.
    pub last_activity_at: DateTime<Utc>,
}
