//! Notices in a room: begun by a feature, delivered to all, over on time.

use std::sync::Arc;

use super::event::Event;
use super::notice::{Notice, Presence};
use super::room::{Inner, Life, Room};
use crate::clock::Moment;

impl Room {
    /// Announces a notice that runs until `ends`; false where the session is closed. `begin` makes it run
    /// for the feature, under the room's lock: a newcomer gets the notice either way.
    pub fn announce(&self, notice: Notice, ends: Moment, begin: impl FnOnce()) -> bool {
        let mut inner = self.lock();
        if matches!(inner.life, Life::Closed(_)) {
            return false;
        }
        begin();
        self.shared.schedule.add(ends, self.id());
        inner.subscribers.queue(Event::Notice(Arc::new(notice)));
        true
    }

    /// Ends the notices whose time is over.
    pub(super) fn end_notices(&self, inner: &mut Inner, now: Moment) {
        let Inner { roster, subscribers, over, .. } = inner;
        let present = || -> Vec<Presence> {
            roster.iter().filter_map(|person| Some((person.user_id.as_ref()?.id(), person.joined_at))).collect()
        };
        for notice in self.shared.features.iter().filter_map(|feature| feature.end_due(self.id(), now, &present)) {
            over.retain(|known| known.kind != notice.kind);
            over.push(notice);
            subscribers.queue(Event::Notice(Arc::new(notice)));
        }
    }

    /// The notices that a newcomer is sent.
    pub(super) fn running_notices(&self) -> Vec<Notice> {
        self.shared.features.iter().filter_map(|feature| feature.running(self.id())).collect()
    }

    /// The notices that a subscriber is sent that may have missed an end: of each kind the notice that runs, else
    /// the one that was over last.
    pub(super) fn notices(&self, inner: &Inner) -> Vec<Notice> {
        let mut notices = self.running_notices();
        let ended = inner.over.iter().filter(|ended| notices.iter().all(|notice| notice.kind != ended.kind));
        let ended: Vec<_> = ended.copied().collect();
        notices.extend(ended);
        notices
    }
}
