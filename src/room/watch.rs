//! A place for somebody who reads along: told everything, and neither there nor seen.

use std::sync::Arc;

use tokio::sync::broadcast;

use super::event::{Event, Snapshot};
use super::room::Room;
use super::sits::SitNews;
use super::terms::{CaughtUp, Gone};
use crate::ids::ConnectionId;

/// What a watcher gets when it begins, all of one moment: the events continue the snapshot.
#[derive(Debug)]
pub struct Watching {
    /// Its place.
    pub watch: Watch,
    /// Who is here.
    pub snapshot: Snapshot,
    /// The room's sit, where one runs.
    pub sit: Option<SitNews>,
    /// What happens from then on.
    pub events: broadcast::Receiver<Event>,
}

/// A watcher's place in a room, given back when it is dropped. It keeps the room in memory and nobody
/// present.
#[derive(Debug)]
pub struct Watch {
    room: Arc<Room>,
    connection: ConnectionId,
}

impl Watch {
    pub(super) fn of(room: Arc<Room>, connection: ConnectionId) -> Self {
        Self { room, connection }
    }

    /// The room.
    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// All that a watcher has to know that fell behind.
    ///
    /// # Errors
    /// [`Gone`] where the room has ended.
    pub fn catch_up(&self) -> Result<CaughtUp, Gone> {
        self.room.catch_up(None)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.room.unwatch(self.connection);
    }
}
