//! What a room tells its connections. Shared values: one allocation a room and change.

use std::sync::Arc;

use tokio::sync::broadcast;

use super::encoding::Encodings;
use super::participant::{CloseReason, LeaveReason, Participant};
use super::sits::SitNews;
use super::terms::Session;
use crate::clock::Moment;
use crate::ids::ParticipantId;

/// Something that every connection of a room has to hear of.
#[derive(Clone, Debug)]
pub enum Event {
    /// Presence changed.
    Diff(Arc<Diff>),
    /// Everybody needs a fresh snapshot: the room fell below its detail limit.
    Refresh,
    /// The session will be closed at that moment unless somebody does something.
    Expiring(Moment),
    /// A host gave the session another title or size: the session as it is now.
    Session(Arc<Session>),
    /// The room's sit began, or is over.
    Sit(Arc<SitNews>),
    /// A participant was removed: its connections end.
    Removed(ParticipantId),
    /// The session was closed: all connections end.
    Closed(CloseReason),
    /// The server stops: all connections end and come back.
    Draining,
}

/// Somebody who is told what happens in a room: in order, never by two at once, and never under the
/// room's lock. It must not wait; all others are told after it. It may still be told something after it
/// was taken from the room.
pub trait Listener: std::fmt::Debug + Send + Sync {
    /// This happened, in this order.
    fn tell(&self, events: &[Event]);
}

/// A queue of its own, for who cannot be told at once. What it has no place for is lost to the one who
/// reads it, who is told that.
impl Listener for broadcast::Sender<Event> {
    fn tell(&self, events: &[Event]) {
        for event in events {
            // Nobody reads any more: it is about to be taken from the room.
            let _ = self.send(event.clone());
        }
    }
}

/// What changed in a room's presence within one interval.
#[derive(Debug)]
pub struct Diff {
    /// Counts the diffs of the room, from 1.
    pub seq: u64,
    /// How many people are here after it.
    pub occupancy: usize,
    /// The people who changed; `None` in a room over its detail limit, where only the count is sent.
    pub changes: Option<Changes>,
    /// Its encodings.
    pub encodings: Encodings,
}

/// The people who changed since the diff before.
#[derive(Debug, Default)]
pub struct Changes {
    /// Who came.
    pub joins: Vec<Arc<Participant>>,
    /// Who looks different.
    pub updates: Vec<Arc<Participant>>,
    /// Who left, and why.
    pub leaves: Vec<(ParticipantId, LeaveReason)>,
}

/// The presence of a room at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The last diff that it includes.
    pub seq: u64,
    /// How many people are here.
    pub occupancy: usize,
    /// Everybody; `None` in a room over its detail limit.
    pub people: Option<People>,
}

/// Everybody in a room: a list that is shared by many snapshots, and who came since it was made.
#[derive(Clone, Debug)]
pub struct People {
    /// Those who were here then.
    pub list: Arc<List>,
    /// Those who are not in the list, as they came.
    pub newer: Vec<Arc<Participant>>,
}

/// A list of people that is made and encoded once.
#[derive(Debug)]
pub struct List {
    /// The people, in no order.
    pub people: Vec<Arc<Participant>>,
    /// The encodings of the list.
    pub encodings: Encodings,
}

impl People {
    /// Everybody, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Participant>> {
        self.list.people.iter().chain(&self.newer)
    }
}
