//! The audit: ends presence that the database holds and no server has, and rooms whose sessions are closed.
//!
//! Presence is left behind by a server that is gone, above all by one whose `node` is never used again, and by
//! admissions and leaves of which no statement arrived.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::PresenceSettings;
use crate::domain::ids::{ParticipantId, SessionId};
use crate::domain::reading_session::CloseReason;
use crate::room::Registry;
use crate::store::presence::CHUNK_ROWS;
use crate::store::{Store, StoreError};

/// How late the flush of another server may be beside what its settings say.
const FLUSH_MARGIN: Duration = Duration::from_secs(15);

/// A participant of this node who is in none of its rooms is gone once unseen for this long: more than an admission
/// takes.
const UNSEEN_HERE_FOR: Duration = Duration::from_secs(30);

/// Compares the database with the rooms in memory.
#[derive(Debug)]
pub struct Audit {
    registry: Arc<Registry>,
    store: Store,
    unseen_for: Duration,
}

/// How long a participant of another server may be unseen while that server runs, with these settings.
pub fn unseen_for(presence: &PresenceSettings) -> Duration {
    presence.dead_after + presence.grace + presence.flush_interval * 2 + FLUSH_MARGIN
}

impl Audit {
    /// An audit of the rooms in `registry`.
    pub fn new(registry: Arc<Registry>, store: Store, presence: &PresenceSettings) -> Self {
        Self { registry, store, unseen_for: unseen_for(presence) }
    }

    /// How long a participant of another server may be unseen.
    pub fn unseen_for(&self) -> Duration {
        self.unseen_for
    }

    /// Ends the presence of this node that is in none of its rooms, a chunk at a time. `done` takes how many of a chunk
    /// that were and says whether to go on.
    ///
    /// # Errors
    /// [`StoreError`]; the chunks before were done.
    pub async fn settle_own(&self, mut done: impl FnMut(u64) -> bool) -> Result<(), StoreError> {
        let mut unseen = self.store.unseen_here(UNSEEN_HERE_FOR).await?;
        unseen.retain(|(session, participant)| self.is_orphan(*session, *participant));
        let orphans: Vec<_> = unseen.into_iter().map(|(_, participant)| participant).collect();
        for chunk in orphans.chunks(CHUNK_ROWS) {
            if self.registry.is_draining() || !done(self.store.settle_unseen(chunk, UNSEEN_HERE_FOR).await?) {
                break;
            }
        }
        Ok(())
    }

    /// Whether no room has the participant, and no leave of it waits for the flush, which knows the reason.
    fn is_orphan(&self, session: SessionId, participant: ParticipantId) -> bool {
        let has_left = self.registry.shared().write_behind.departed_state(participant, Instant::now()).is_some();
        let is_here = self.registry.find(session).is_some_and(|room| room.participant(participant).is_some());
        !is_here && !has_left
    }

    /// Closes the rooms of sessions that were closed elsewhere. The flush finds those in which a participant is seen;
    /// in a room with observers alone none is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn close_rooms(&self) -> Result<(), StoreError> {
        let rooms = self.registry.rooms().into_iter();
        let without_people: Vec<_> = rooms.filter(|room| room.occupancy() == 0).map(|room| room.id()).collect();
        if without_people.is_empty() {
            return Ok(());
        }
        for (session, reason) in self.store.closed_among(&without_people).await? {
            self.registry.close(session, reason.unwrap_or(CloseReason::Admin));
        }
        Ok(())
    }
}
