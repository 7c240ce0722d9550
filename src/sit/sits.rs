//! Which sit runs where, also while its room is not in memory, and what has ended and is not recorded yet.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::Moment;
use crate::domain::ids::{RoomSitId, SessionId, UserId};
use crate::domain::sit::EndedRoomSit;
use crate::room::notice::{Feature, Notice, Phase, Presence};
use crate::room::{Registry, Room};

/// The word for sits among the notices of a room.
const KIND: &str = "sit";

/// A sit of a room that runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunningSit {
    /// Which one.
    pub id: RoomSitId,
    /// When it began, by the store's clock.
    pub started_at: DateTime<Utc>,
    /// When it is over, by the store's clock.
    pub ends_at: DateTime<Utc>,
    /// The same by the server's clock.
    pub ends: Moment,
}

impl RunningSit {
    fn notice(&self) -> Notice {
        let phase = Phase::Running { started_at: self.started_at, ends_at: self.ends_at };
        Notice { kind: KIND, id: self.id.0, phase }
    }
}

/// The sits of all rooms of a server; one at a time in each.
#[derive(Debug, Default)]
pub struct Sits {
    /// `None` while the store is asked to start one.
    running: DashMap<SessionId, Option<RunningSit>>,
    ended: Mutex<Vec<Arc<EndedRoomSit>>>,
    more: Notify,
}

impl Sits {
    /// Promises that no other sit starts in this room; `None` where there is one, and where the room is over.
    pub fn promise(self: &Arc<Self>, room: &Arc<Room>) -> Option<Starting> {
        let mut is_new = false;
        if room.is_open() {
            self.running.entry(room.id()).or_insert_with(|| {
                is_new = true;
                None
            });
        }
        is_new.then(|| Starting { sits: Arc::clone(self), room: Arc::clone(room), runs: false })
    }

    /// Takes up a sit that began before this server was started. Its room may not be in memory.
    pub fn resume(&self, registry: &Registry, room: SessionId, sit: RunningSit) {
        self.running.insert(room, Some(sit));
        registry.shared().schedule.add(sit.ends, room);
    }

    /// What has ended and is not recorded yet.
    pub fn ended(&self) -> Vec<Arc<EndedRoomSit>> {
        self.ended.lock().clone()
    }

    /// Takes a user out of what has ended and is not recorded yet.
    pub fn forget_user(&self, user: UserId) {
        for ended in self.ended.lock().iter_mut() {
            if ended.present.iter().any(|(present, _)| *present == user) {
                Arc::make_mut(ended).present.retain(|(present, _)| *present != user);
            }
        }
    }

    /// The store has it.
    pub fn recorded(&self, id: RoomSitId) {
        self.ended.lock().retain(|ended| ended.id != id);
    }

    /// Resolves when another sit has ended.
    pub async fn more(&self) {
        self.more.notified().await;
    }
}

impl Feature for Sits {
    fn running(&self, room: SessionId) -> Option<Notice> {
        self.running.get(&room).and_then(|sit| sit.as_ref().map(RunningSit::notice))
    }

    fn end_due(&self, room: SessionId, now: Moment, present: &dyn Fn() -> Vec<Presence>) -> Option<Notice> {
        let is_due = |sit: &Option<RunningSit>| sit.is_some_and(|sit| sit.ends <= now);
        let (_, sit) = self.running.remove_if(&room, |_, sit| is_due(sit))?;
        let id = sit?.id;
        self.ended.lock().push(Arc::new(EndedRoomSit { id, present: present() }));
        self.more.notify_one();
        Some(Notice { kind: KIND, id: id.0, phase: Phase::Over })
    }

    fn forget(&self, room: SessionId) {
        self.running.remove(&room);
    }
}

/// A sit that the store is asked to start. Dropped before it runs, it makes way for another.
#[derive(Debug)]
#[must_use = "a sit that is dropped does not run"]
pub struct Starting {
    sits: Arc<Sits>,
    room: Arc<Room>,
    runs: bool,
}

impl Starting {
    /// The store has the sit: announces it. Nothing runs where the session was closed meanwhile.
    pub fn run(mut self, sit: RunningSit) {
        let begin = || {
            self.sits.running.insert(self.room.id(), Some(sit));
        };
        self.runs = self.room.announce(sit.notice(), sit.ends, begin);
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if !self.runs {
            self.sits.running.remove_if(&self.room.id(), |_, sit| sit.is_none());
        }
    }
}

#[cfg(test)]
mod tests;
