//! The presence of a room at one moment.

use std::sync::Arc;

use super::encoding::Encodings;
use super::notice::Notice;
use super::participant::Participant;
use crate::clock::Moment;
use crate::domain::reading_session::ReadingSession;

/// The presence of a room at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The last diff that it includes.
    pub seq: u64,
    /// How many people are here.
    pub occupancy: usize,
    /// The people; `None` in a room over its detail limit.
    pub people: Option<People>,
}

/// The people of a room: a list that many snapshots share, and those who came since it was made.
#[derive(Clone, Debug)]
pub struct People {
    /// Those who were here then.
    pub list: Arc<List>,
    /// Those who are not in the list, in the order in which they came.
    pub newer: Vec<Arc<Participant>>,
}

impl People {
    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Participant>> {
        self.list.people.iter().chain(&self.newer)
    }
}

/// A list of people that is made and encoded once.
#[derive(Debug)]
pub struct List {
    /// The people, in no order.
    pub people: Vec<Arc<Participant>>,
    /// The encodings of the list.
    pub encodings: Encodings,
}

/// All that a subscriber needs that fell behind or asks for it.
#[derive(Clone, Debug)]
pub struct CaughtUp {
    /// How many events were queued for the subscriber until now. All that follows includes them.
    pub events: u64,
    /// The presence.
    pub snapshot: Snapshot,
    /// The subscriber's own participant, where it has one.
    pub own: Option<Arc<Participant>>,
    /// The session, where it was changed since the room was opened.
    pub session: Option<Arc<ReadingSession>>,
    /// When the session expires, where that was announced.
    pub expires_at: Option<Moment>,
    /// Of each kind the notice that runs, else the one that was over last.
    pub notices: Vec<Notice>,
}
