//! What a sweep does, policy by policy. Each is one call of the function in the database that decides:
//! one truth for this server, for others, for cron and for `lastseen sweep`.

use crate::config::SessionSettings;
use crate::ids::SessionId;
use crate::room::CloseReason;
use crate::store::{Store, StoreError};

/// A policy of the sweep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    /// Reading sessions that nobody was seen in are closed.
    Idle,
    /// User sessions that nothing was heard of any more are ended.
    TimeOutUserSessions,
    /// Closed reading sessions are deleted after their retention.
    Purge,
    /// User sessions that have ended are deleted after their retention.
    PurgeUserSessions,
}

/// What a policy did.
#[derive(Debug, Default)]
pub struct Effect {
    /// How many rows it ended or deleted.
    pub count: u64,
    /// The reading sessions that it closed, for their rooms to be told.
    pub closed: Vec<SessionId>,
}

impl From<i64> for Effect {
    fn from(count: i64) -> Self {
        Self { count: count.unsigned_abs(), closed: Vec::new() }
    }
}

impl From<Vec<SessionId>> for Effect {
    fn from(closed: Vec<SessionId>) -> Self {
        Self { count: closed.len() as u64, closed }
    }
}

impl Policy {
    /// All of them, in the order in which a sweep takes them: what ends something before what deletes.
    pub const ALL: [Self; 4] = [Self::Idle, Self::TimeOutUserSessions, Self::Purge, Self::PurgeUserSessions];

    /// Its count in answers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "closed",
            Self::TimeOutUserSessions => "user_sessions_timed_out",
            Self::Purge => "purged",
            Self::PurgeUserSessions => "user_sessions_purged",
        }
    }

    /// Whether it decides by when somebody was last seen: then what was seen has to be written first,
    /// and where that fails the policy waits for the next sweep.
    pub fn asks_who_was_seen(self) -> bool {
        match self {
            Self::Idle | Self::TimeOutUserSessions => true,
            Self::Purge | Self::PurgeUserSessions => false,
        }
    }

    /// Why the reading sessions are closed that it closes.
    pub fn close_reason(self) -> CloseReason {
        match self {
            Self::Idle | Self::TimeOutUserSessions | Self::Purge | Self::PurgeUserSessions => CloseReason::Idle,
        }
    }

    /// Does it, in a transaction of its own.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn apply(self, store: &Store, rules: &SessionSettings) -> Result<Effect, StoreError> {
        Ok(match self {
            Self::Idle => store.close_idle_sessions().await?.into(),
            Self::TimeOutUserSessions => store.expire_user_sessions().await?.into(),
            Self::Purge => store.purge_closed_sessions(rules.retention.reading_sessions).await?.into(),
            Self::PurgeUserSessions => store.purge_user_sessions(rules.retention.user_sessions).await?.into(),
        })
    }
}
