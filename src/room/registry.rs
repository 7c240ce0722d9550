//! All rooms of this server: open, find, close.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dashmap::{DashMap, Entry};

use super::census::Census;
use super::room::Room;
use super::shared::Shared;
use crate::clock::Moment;
use crate::domain::ids::SessionId;
use crate::domain::reading_session::{CloseReason, ReadingSession};

/// How long a room waits for those it was opened for; they may never come.
const WAIT: Duration = Duration::from_secs(30);

/// How long it is known that a session was closed: longer than an admission takes that asked the store before.
pub(super) const CLOSED_FOR: Duration = Duration::from_secs(10);

/// The rooms that are in memory: those with people in them, or on the way.
#[derive(Debug)]
pub struct Registry {
    rooms: DashMap<SessionId, Arc<Room>>,
    /// The sessions that were closed just now, until when that is known: whoever was admitted before is on the way.
    closed: DashMap<SessionId, (CloseReason, Moment)>,
    draining: AtomicBool,
    shared: Arc<Shared>,
}

impl Registry {
    /// No rooms.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { rooms: DashMap::new(), closed: DashMap::new(), draining: AtomicBool::new(false), shared }
    }

    /// What the rooms share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The room of a session, where it is in memory.
    pub fn find(&self, id: SessionId) -> Option<Arc<Room>> {
        self.rooms.get(&id).map(|room| Arc::clone(&room))
    }

    /// The room of a session, made where it is not in memory; over already where the session was closed just now.
    pub fn open(&self, session: ReadingSession) -> Arc<Room> {
        let id = session.id;
        let room = Arc::clone(&self.rooms.entry(id).or_insert_with(|| {
            self.shared.schedule.add(self.shared.clock.now() + WAIT, id);
            Arc::new(Room::new(session, Arc::clone(&self.shared)))
        }));
        // Set before `close` takes the room out: either it finds this room or the reason is seen here.
        let closed = self.closed.get(&id).map(|closed| closed.0);
        if let Some(reason) = closed {
            self.end(id, reason);
            room.close(reason);
        }
        // Set before `drain` walks the rooms: either the walk finds this room or the flag is seen here.
        if self.is_draining() {
            room.drain();
        }
        room
    }

    /// Ends the room of a session that was closed. Whether it was in memory.
    pub fn close(&self, id: SessionId, reason: CloseReason) -> bool {
        let until = self.shared.clock.now() + CLOSED_FOR;
        self.closed.insert(id, (reason, until));
        self.shared.schedule.add(until, id);
        self.end(id, reason)
    }

    fn end(&self, id: SessionId, reason: CloseReason) -> bool {
        let room = self.rooms.remove(&id);
        if let Some((_, room)) = &room {
            room.close(reason);
        }
        self.shared.features.iter().for_each(|feature| feature.forget(id));
        room.is_some()
    }

    /// Ticks a room whose deadline is over; an empty one leaves memory. In one that is not in memory
    /// notices end without a person present.
    pub fn tick(&self, id: SessionId, now: Moment) {
        self.closed.remove_if(&id, |_, (_, until)| *until <= now);
        let room = match self.find(id) {
            Some(room) => room,
            // Held, or a person could come in meanwhile and never get the end of the notice.
            None => match self.rooms.entry(id) {
                Entry::Occupied(room) => Arc::clone(room.get()),
                Entry::Vacant(_) => {
                    for feature in &self.shared.features {
                        feature.end_due(id, now, &Vec::new);
                    }
                    return;
                }
            },
        };
        if room.tick(now) {
            self.rooms.remove_if(&id, |_, current| Arc::ptr_eq(current, &room) && current.retire());
        }
    }

    /// Whether the server stops and admits no more people.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// No more people are admitted. The connections that are open go on until [`Registry::drain`].
    pub fn refuse_newcomers(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// The rooms in memory.
    pub fn rooms(&self) -> Vec<Arc<Room>> {
        self.rooms.iter().map(|room| Arc::clone(&room)).collect()
    }

    /// Asks the connections of all rooms to come back later, some rooms at a time: `pause` is awaited
    /// after each batch, so that connections do not all end in one moment.
    pub async fn drain(&self, rooms_at_once: usize, pause: impl AsyncFn()) {
        self.refuse_newcomers();
        for batch in self.rooms().chunks(rooms_at_once) {
            batch.iter().for_each(|room| room.drain());
            pause().await;
        }
    }

    /// Counts rooms and people.
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for room in self.rooms() {
            room.count(&mut census);
        }
        census
    }
}
