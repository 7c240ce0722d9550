//! Who is told what happens in a room, and the turns in which that is done.
//!
//! What is told is noted under the room's lock and handed over outside of it, by whoever gave the lock
//! back: to one listener after the other, all of them the same events in the same order. That is what a
//! room costs that many listen to, so there is no task to wake and no queue for each of them.

use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use indexmap::IndexMap;
use parking_lot::MutexGuard;

use super::Inner;
use crate::ids::ConnectionId;
use crate::room::event::{Event, Listener};

/// The listeners of a room, and what they were not told yet.
#[derive(Debug, Default)]
pub(super) struct Audience {
    listeners: IndexMap<ConnectionId, Hearing>,
    waiting: Vec<Event>,
    /// How many events were ever handed over, so that nobody is told what its snapshot includes.
    told: u64,
    /// Somebody hands over just now, and takes along what is noted meanwhile.
    speaking: bool,
}

#[derive(Clone, Debug)]
struct Hearing {
    listener: Arc<dyn Listener>,
    /// The first event that it is told.
    from: u64,
}

/// What is handed over at once, and to whom.
struct Turn {
    listeners: Vec<Hearing>,
    events: Vec<Event>,
    /// The number of the first of the events.
    first: u64,
}

impl Audience {
    /// Somebody listens from now on.
    pub(super) fn add(&mut self, connection: ConnectionId, listener: Arc<dyn Listener>) {
        let from = self.told + self.waiting.len() as u64;
        self.listeners.insert(connection, Hearing { listener, from });
    }

    /// It does not any more. It may still be told what is being handed over.
    pub(super) fn remove(&mut self, connection: ConnectionId) {
        self.listeners.swap_remove(&connection);
    }

    /// Everybody has to hear of this.
    pub(super) fn note(&mut self, event: Event) {
        // Nobody listening is no error: presence is state, whoever comes gets a snapshot.
        if !self.listeners.is_empty() {
            self.waiting.push(event);
        }
    }

    fn next_turn(&mut self) -> Option<Turn> {
        if self.speaking || self.waiting.is_empty() {
            return None;
        }
        self.speaking = true;
        let (events, first) = (std::mem::take(&mut self.waiting), self.told);
        self.told += events.len() as u64;
        Some(Turn { listeners: self.listeners.values().cloned().collect(), events, first })
    }
}

impl Turn {
    fn speak(self) {
        for Hearing { listener, from } in self.listeners {
            let known = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX);
            let Some(news @ [_, ..]) = self.events.get(known..) else { continue };
            // One that fails must not keep the others from hearing.
            if catch_unwind(AssertUnwindSafe(|| listener.tell(news))).is_err() {
                tracing::error!(?listener, "somebody could not be told what happened");
            }
        }
    }
}

/// The room's lock. Giving it back hands over what was noted under it.
pub(super) struct Locked<'a>(pub(super) MutexGuard<'a, Inner>);

impl Deref for Locked<'_> {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Inner {
        &mut self.0
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        while let Some(turn) = self.0.audience.next_turn() {
            MutexGuard::unlocked(&mut self.0, || turn.speak());
            self.0.audience.speaking = false;
        }
    }
}
