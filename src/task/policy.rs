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
    /// Reading sessions that are older than sessions may become are closed, where there is such an age.
    Age,
    /// Reading sessions that want for company are closed, where that is asked for.
    Company,
    /// User sessions that nothing was heard of any more are ended.
    TimeOutUserSessions,
    /// Sits that nobody completed are marked as abandoned.
    AbandonSits,
    /// Simulators that nobody used are marked for their servers to stop.
    Simulators,
    /// Closed reading sessions are deleted after their retention.
    Purge,
    /// User sessions that have ended are deleted after their retention.
    PurgeUserSessions,
    /// Check-ins are deleted after their retention.
    PurgeCheckIns,
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
    pub const ALL: [Self; 9] = [
        Self::Idle,
        Self::Age,
        Self::Company,
        Self::TimeOutUserSessions,
        Self::AbandonSits,
        Self::Simulators,
        Self::Purge,
        Self::PurgeUserSessions,
        Self::PurgeCheckIns,
    ];

    /// Its count in answers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "closed",
            Self::Age => "aged",
            Self::Company => "lonely",
            Self::TimeOutUserSessions => "user_sessions_timed_out",
            Self::AbandonSits => "sits_abandoned",
            Self::Simulators => "simulators_stopped",
            Self::Purge => "purged",
            Self::PurgeUserSessions => "user_sessions_purged",
            Self::PurgeCheckIns => "check_ins_purged",
        }
    }

    /// Whether there is anything for it to do: some are off unless somebody asks for them.
    pub fn is_asked_for(self, rules: &SessionSettings) -> bool {
        match self {
            Self::Age => rules.max_session_age.is_some(),
            Self::Company => rules.min_participants_after.is_some(),
            _ => true,
        }
    }

    /// Whether it decides by when somebody was last seen: then what was seen has to be written first,
    /// and where that fails the policy waits for the next sweep.
    pub fn asks_who_was_seen(self) -> bool {
        match self {
            Self::Idle | Self::Company | Self::TimeOutUserSessions | Self::Simulators => true,
            Self::Age | Self::AbandonSits | Self::Purge | Self::PurgeUserSessions | Self::PurgeCheckIns => false,
        }
    }

    /// Why the reading sessions are closed that it closes.
    pub fn close_reason(self) -> CloseReason {
        match self {
            Self::Age => CloseReason::Expired,
            Self::Idle
            | Self::Company
            | Self::TimeOutUserSessions
            | Self::AbandonSits
            | Self::Simulators
            | Self::Purge
            | Self::PurgeUserSessions
            | Self::PurgeCheckIns => CloseReason::Idle,
        }
    }

    /// Does it, in a transaction of its own.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn apply(self, store: &Store, rules: &SessionSettings) -> Result<Effect, StoreError> {
        Ok(match self {
            Self::Idle => store.close_idle_sessions().await?.into(),
            Self::Age => match rules.max_session_age {
                Some(age) => store.close_aged_sessions(age).await?.into(),
                None => Effect::default(),
            },
            Self::Company => match rules.min_participants_after {
                Some(alone_for) => store.close_lonely_sessions(alone_for).await?.into(),
                None => Effect::default(),
            },
            Self::TimeOutUserSessions => store.expire_user_sessions().await?.into(),
            Self::AbandonSits => store.abandon_overdue_sits(rules.sit_grace).await?.into(),
            Self::Simulators => store.stop_inactive_simulators(rules.simulator_idle).await?.into(),
            Self::Purge => store.purge_closed_sessions(rules.retention.reading_sessions).await?.into(),
            Self::PurgeUserSessions => store.purge_user_sessions(rules.retention.user_sessions).await?.into(),
            Self::PurgeCheckIns => store.purge_check_ins(rules.retention.check_ins).await?.into(),
        })
    }
}
