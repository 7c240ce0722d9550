//! The policies of the sweep. Each is one call of the SQL function that decides, so that this server, other
//! servers, cron and `lastseen sweep` apply the same rule.

use std::time::Duration;

use crate::config::SessionSettings;
use crate::domain::ids::SessionId;
use crate::domain::reading_session::CloseReason;
use crate::store::{BATCH_ROWS, Store, StoreError};

/// Reading sessions of one chunk, each with all its people; chunks of the others have [`BATCH_ROWS`].
const SESSIONS: i32 = 1_000;

/// A policy of the sweep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    /// Ends the presence of servers that are gone. A server's audit also ends what is in none of its own rooms.
    Orphans,
    /// Closes reading sessions in which no person was seen for `idle-timeout`.
    Idle,
    /// Closes reading sessions older than `max-session-age`, where that is set.
    Age,
    /// Closes reading sessions with too few participants for too long, where that is set.
    Company,
    /// Ends user sessions that were not seen for their timeout.
    TimeOutUserSessions,
    /// Marks sits that were not completed as abandoned.
    AbandonSits,
    /// Marks unused simulators for their servers to stop.
    Simulators,
    /// Deletes closed reading sessions after their retention.
    Purge,
    /// Deletes ended user sessions after their retention.
    PurgeUserSessions,
    /// Deletes check-ins after their retention.
    PurgeCheckIns,
    /// Deletes sits after their retention.
    PurgeSits,
}

/// The effect of a policy, or of a chunk of it.
#[derive(Debug, Default)]
pub struct Effect {
    /// How many rows it ended or deleted.
    pub count: u64,
    /// The reading sessions that it closed and whose rooms have to be closed too.
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
    /// All policies in the order of a sweep: those that end something before those that delete.
    pub const ALL: [Self; 11] = [
        Self::Orphans,
        Self::Idle,
        Self::Age,
        Self::Company,
        Self::TimeOutUserSessions,
        Self::AbandonSits,
        Self::Simulators,
        Self::Purge,
        Self::PurgeUserSessions,
        Self::PurgeCheckIns,
        Self::PurgeSits,
    ];

    /// The word in answers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Orphans => "orphans_settled",
            Self::Idle => "closed",
            Self::Age => "aged",
            Self::Company => "lonely",
            Self::TimeOutUserSessions => "user_sessions_timed_out",
            Self::AbandonSits => "sits_abandoned",
            Self::Simulators => "simulators_stopped",
            Self::Purge => "purged",
            Self::PurgeUserSessions => "user_sessions_purged",
            Self::PurgeCheckIns => "check_ins_purged",
            Self::PurgeSits => "sits_purged",
        }
    }

    /// Whether it is enabled: some need a setting.
    pub fn is_asked_for(self, rules: &SessionSettings) -> bool {
        match self {
            Self::Age => rules.max_session_age.is_some(),
            Self::Company => rules.min_participants_after.is_some(),
            _ => true,
        }
    }

    /// Whether it depends on when participants were last seen. Such a policy needs a flush before it, and is
    /// postponed where that fails.
    pub fn asks_who_was_seen(self) -> bool {
        match self {
            Self::Idle | Self::Company | Self::TimeOutUserSessions | Self::Simulators => true,
            Self::Orphans
            | Self::Age
            | Self::AbandonSits
            | Self::Purge
            | Self::PurgeUserSessions
            | Self::PurgeCheckIns
            | Self::PurgeSits => false,
        }
    }

    /// The close reason of the reading sessions that it closes.
    pub fn close_reason(self) -> CloseReason {
        match self {
            Self::Age => CloseReason::Expired,
            Self::Orphans
            | Self::Idle
            | Self::Company
            | Self::TimeOutUserSessions
            | Self::AbandonSits
            | Self::Simulators
            | Self::Purge
            | Self::PurgeUserSessions
            | Self::PurgeCheckIns
            | Self::PurgeSits => CloseReason::Idle,
        }
    }

    /// Applies it until there is nothing left to do, a chunk at a time and each in a transaction of its own: rows are
    /// locked for a moment only, and what was done stays done. A server that has seen nobody for `silent_for` is taken
    /// for gone. `done` takes the effect of each chunk and says whether to go on.
    ///
    /// # Errors
    /// [`StoreError`]; the chunks before were done.
    pub async fn apply(
        self,
        store: &Store,
        rules: &SessionSettings,
        silent_for: Duration,
        mut done: impl FnMut(Effect) -> bool,
    ) -> Result<(), StoreError> {
        loop {
            let effect = self.apply_once(store, rules, silent_for).await?;
            let is_last = effect.count == 0;
            if !done(effect) || is_last {
                return Ok(());
            }
        }
    }

    async fn apply_once(
        self,
        store: &Store,
        rules: &SessionSettings,
        silent_for: Duration,
    ) -> Result<Effect, StoreError> {
        let retention = &rules.retention;
        Ok(match self {
            Self::Orphans => store.settle_strangers(silent_for, BATCH_ROWS).await?.into(),
            Self::Idle => store.close_idle_sessions(SESSIONS).await?.into(),
            Self::Age => match rules.max_session_age {
                Some(age) => store.close_aged_sessions(age, SESSIONS).await?.into(),
                None => Effect::default(),
            },
            Self::Company => match rules.min_participants_after {
                Some(alone_for) => store.close_lonely_sessions(alone_for, SESSIONS).await?.into(),
                None => Effect::default(),
            },
            Self::TimeOutUserSessions => store.expire_user_sessions(BATCH_ROWS).await?.into(),
            Self::AbandonSits => store.abandon_overdue_sits(rules.sit_grace, BATCH_ROWS).await?.into(),
            Self::Simulators => store.stop_inactive_simulators(rules.simulator_idle).await?.into(),
            Self::Purge => store.purge_closed_sessions(retention.reading_sessions, SESSIONS).await?.into(),
            Self::PurgeUserSessions => store.purge_user_sessions(retention.user_sessions, BATCH_ROWS).await?.into(),
            Self::PurgeCheckIns => store.purge_check_ins(retention.check_ins, BATCH_ROWS).await?.into(),
            Self::PurgeSits => store.purge_sits(retention.sits, BATCH_ROWS).await?.into(),
        })
    }
}
