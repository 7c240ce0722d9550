//! What a room is told and what it answers: its rules, its session, and why not.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::event::Snapshot;
use super::ledger::Ledger;
use super::participant::CloseReason;
use super::roster::Timings;
use super::schedule::Schedule;
use super::sits::{SitNews, Sits};
use crate::clock::{Clock, Moment};
use crate::config::Settings;
use crate::domain::idle::IdleCounts;
use crate::ids::{ParticipantId, SessionId, UserId};
use crate::metrics::Metrics;

/// The rules that all rooms of a server follow; see `config` for each.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the setting of the same name")]
pub struct Rules {
    pub timings: Timings,
    pub diff_interval: Duration,
    pub diff_interval_large: Duration,
    pub detail_limit: usize,
    pub idle_counts: IdleCounts,
    pub idle_timeout: Duration,
    pub expiring_notice: Duration,
}

impl From<&Settings> for Rules {
    fn from(settings: &Settings) -> Self {
        let presence = &settings.presence;
        Self {
            timings: Timings { grace: presence.grace, idle_after: presence.idle_after },
            diff_interval: presence.diff_interval,
            diff_interval_large: presence.diff_interval_large,
            detail_limit: presence.detail_limit,
            idle_counts: settings.sessions.idle_counts,
            idle_timeout: settings.sessions.idle_timeout,
            expiring_notice: presence.expiring_notice,
        }
    }
}

/// What all rooms of a server share.
#[derive(Debug)]
pub struct Shared {
    /// How they behave.
    pub rules: Rules,
    /// Their time.
    pub clock: Clock,
    /// Where they note what has to be written.
    pub ledger: Arc<Ledger>,
    /// Where they note when they want to be ticked.
    pub schedule: Schedule,
    /// Their sits.
    pub sits: Sits,
    /// Where they count.
    pub metrics: Arc<Metrics>,
}

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
    /// When somebody was last seen in it.
    pub last_seen_at: DateTime<Utc>,
    /// When somebody last did something in it.
    pub last_activity_at: DateTime<Utc>,
}

/// Who asks for a place, as far as that is known before the store is asked.
#[derive(Clone, Copy, Debug)]
pub enum Who {
    /// The holder of a resume token.
    Participant(ParticipantId),
    /// A user.
    User(UserId),
    /// Somebody with an invite and nothing else.
    Stranger,
}

/// Why somebody who was let in cannot join.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JoinError {
    /// The session was closed since.
    Closed(CloseReason),
    /// Everybody had left and the room has left memory: open it again.
    Retired,
    /// All places are taken.
    Full,
    /// The server stops.
    Draining,
}

/// What a connection is told that fell behind.
#[derive(Clone, Debug)]
pub struct CaughtUp {
    /// Who is here.
    pub snapshot: Snapshot,
    /// The session, where it was changed since the room was opened.
    pub session: Option<Arc<Session>>,
    /// When the session expires, where that was announced.
    pub expires_at: Option<Moment>,
    /// The room's sit: the one that runs, else the one that was over last.
    pub sit: Option<SitNews>,
}

/// Why a seat is void.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gone {
    /// A host or the service removed the participant.
    Removed,
    /// The session is closed.
    Closed(CloseReason),
    /// The server stops.
    Draining,
}
