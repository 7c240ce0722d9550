//! The room's sit: started by its host, told to everybody, over on time.

use std::sync::Arc;

use super::event::Event;
use super::room::{Inner, Life, Room};
use super::sits::{RoomSit, SitNews};
use crate::clock::Moment;

/// A sit that the store is asked to start. Nothing comes of it where it is dropped.
#[derive(Debug)]
#[must_use = "a sit that is dropped does not run"]
pub struct Starting {
    room: Arc<Room>,
    runs: bool,
}

impl Starting {
    /// The store has it: everybody is told.
    pub fn run(mut self, sit: RoomSit) {
        self.runs = self.room.run_sit(sit);
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if !self.runs {
            self.room.shared.sits.withdraw(self.room.id());
        }
    }
}

impl Room {
    /// Promises that nobody else starts a sit in this room; `None` where there is one.
    pub fn start_sit(self: &Arc<Self>) -> Option<Starting> {
        let inner = self.lock();
        let promised = inner.life == Life::Open && self.shared.sits.promise(self.id());
        promised.then(|| Starting { room: Arc::clone(self), runs: false })
    }

    /// Whether it runs: a close takes the sit along.
    fn run_sit(&self, sit: RoomSit) -> bool {
        let mut inner = self.lock();
        let runs = !matches!(inner.life, Life::Closed(_));
        if runs {
            self.shared.sits.run(self.id(), sit);
            self.shared.schedule.add(sit.ends, self.id());
            inner.subscribers.queue(Event::Sit(Arc::new(SitNews::Runs(sit))));
        }
        runs
    }

    /// Ends the sit whose time has come, for whoever is there.
    pub(super) fn end_sit(&self, inner: &mut Inner, now: Moment) {
        let roster = &inner.roster;
        let present = || roster.iter().filter_map(|person| Some((person.user_id?, person.joined_at))).collect();
        if let Some(id) = self.shared.sits.end_due(self.id(), now, present) {
            inner.completed_sit = Some(id);
            inner.subscribers.queue(Event::Sit(Arc::new(SitNews::Completed(id))));
        }
    }

    /// What a newcomer has to hear of the room's sit.
    pub(super) fn running_sit(&self) -> Option<SitNews> {
        self.shared.sits.running(self.id()).map(SitNews::Runs)
    }

    /// What somebody has to hear of it who may have missed its end.
    pub(super) fn sit_news(&self, inner: &Inner) -> Option<SitNews> {
        self.running_sit().or(inner.completed_sit.map(SitNews::Completed))
    }
}
