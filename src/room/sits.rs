//! Sits of rooms: which runs where, also while its room is not in memory, and what has ended and is not
//! written yet.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::Moment;
use crate::ids::{RoomSitId, SessionId, UserId};

/// A sit of everybody in a room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoomSit {
    /// Which one.
    pub id: RoomSitId,
    /// When it began, by the store.
    pub started_at: DateTime<Utc>,
    /// When it is over, by the store.
    pub ends_at: DateTime<Utc>,
    /// The same by our clock.
    pub ends: Moment,
}

/// What a room tells of its sit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SitNews {
    /// It runs.
    Runs(RoomSit),
    /// It is over.
    Completed(RoomSitId),
}

/// A sit that is over, for the store to record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndedSit {
    /// Which one.
    pub id: RoomSitId,
    /// The users who were there, and since when.
    pub present: Vec<(UserId, DateTime<Utc>)>,
}

/// The sits of all rooms of a server; one at a time in each.
#[derive(Debug, Default)]
pub struct Sits {
    /// `None` while the store is asked to start one.
    running: DashMap<SessionId, Option<RoomSit>>,
    ended: Mutex<Vec<Arc<EndedSit>>>,
    more: Notify,
}

impl Sits {
    /// Promises that the next sit of this room is the caller's to start; false where there is one.
    pub(super) fn promise(&self, room: SessionId) -> bool {
        let mut is_new = false;
        self.running.entry(room).or_insert_with(|| {
            is_new = true;
            None
        });
        is_new
    }

    /// Takes a promise back of which nothing came.
    pub(super) fn withdraw(&self, room: SessionId) {
        self.running.remove_if(&room, |_, sit| sit.is_none());
    }

    /// The sit runs.
    pub(super) fn run(&self, room: SessionId, sit: RoomSit) {
        self.running.insert(room, Some(sit));
    }

    /// The sit that runs in this room.
    pub(super) fn running(&self, room: SessionId) -> Option<RoomSit> {
        self.running.get(&room).and_then(|sit| *sit)
    }

    /// The room was closed, and its sit with it.
    pub(super) fn forget(&self, room: SessionId) {
        self.running.remove(&room);
    }

    /// Ends the room's sit where its time has come, with those who are there.
    pub(super) fn end_due(
        &self,
        room: SessionId,
        now: Moment,
        present: impl FnOnce() -> Vec<(UserId, DateTime<Utc>)>,
    ) -> Option<RoomSitId> {
        let is_due = |sit: &Option<RoomSit>| sit.is_some_and(|sit| sit.ends <= now);
        let (_, sit) = self.running.remove_if(&room, |_, sit| is_due(sit))?;
        let id = sit?.id;
        self.ended.lock().push(Arc::new(EndedSit { id, present: present() }));
        self.more.notify_one();
        Some(id)
    }

    /// What has ended and is not written yet.
    pub fn ended(&self) -> Vec<Arc<EndedSit>> {
        self.ended.lock().clone()
    }

    /// The store has it.
    pub fn written(&self, id: RoomSitId) {
        self.ended.lock().retain(|ended| ended.id != id);
    }

    /// Resolves when another sit has ended.
    pub async fn more(&self) {
        self.more.notified().await;
    }
}
