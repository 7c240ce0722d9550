//! Notices: what a feature beside the rooms announces in them.
//!
//! The room delivers a notice to all subscribers, to newcomers while it runs, and to those who may have
//! missed its end. What it is about is the business of the feature.

use std::fmt::Debug;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::clock::Moment;
use crate::domain::ids::{SessionId, UserId};

/// Something that runs in a room for a while. One of each kind at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Notice {
    /// What it is about, by one word.
    pub kind: &'static str,
    /// Which one of its kind.
    pub id: Uuid,
    /// Whether it runs.
    pub phase: Phase,
}

/// Where a notice stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// It runs.
    Running {
        /// Since when.
        started_at: DateTime<Utc>,
        /// Until when.
        ends_at: DateTime<Utc>,
    },
    /// It is over.
    Over,
}

impl Notice {
    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }
}

/// A user who is present, and since when.
pub type Presence = (UserId, DateTime<Utc>);

/// A feature that puts notices into rooms. It is called under the lock of the room, or of the place of a
/// room that is not in memory: it must not wait and must not call the room.
pub trait Feature: Debug + Send + Sync {
    /// The notice that runs in this room.
    fn running(&self, room: SessionId) -> Option<Notice>;

    /// Ends the notice whose time is over, and returns its end. `present` are the users who are here.
    fn end_due(&self, room: SessionId, now: Moment, present: &dyn Fn() -> Vec<Presence>) -> Option<Notice>;

    /// The session was closed: nothing runs in it any more.
    fn forget(&self, room: SessionId);
}
