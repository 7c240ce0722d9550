//! A subscription to a room's events without a WebSocket, given back when it is dropped.

use std::sync::Arc;

use super::error::{Gone, JoinError};
use super::notice::Notice;
use super::room::Room;
use super::snapshot::{CaughtUp, Snapshot};
use super::subscribers::Subscriber;
use crate::clock::Moment;
use crate::domain::ids::ConnectionId;

/// What a watcher gets when it begins, all of one moment: the events continue the snapshot.
#[derive(Debug)]
pub struct Watching {
    /// Its place.
    pub watch: Watch,
    /// The presence.
    pub snapshot: Snapshot,
    /// The notices that run.
    pub notices: Vec<Notice>,
    /// When the session expires, where that was announced.
    pub expires_at: Option<Moment>,
}

/// A watcher's place in a room. It keeps the room in memory and no person present.
#[derive(Debug)]
pub struct Watch {
    room: Arc<Room>,
    connection: ConnectionId,
}

impl Room {
    /// Subscribes without a connection of its own.
    ///
    /// # Errors
    /// [`JoinError`] where the room is not open any more.
    pub fn watch(self: &Arc<Self>, subscriber: Arc<dyn Subscriber>) -> Result<Watching, JoinError> {
        let mut inner = self.lock();
        inner.check_open()?;
        inner.watchers += 1;
        self.arm(&mut inner);
        let connection = ConnectionId::new();
        inner.subscribers.add(connection, subscriber);
        Ok(Watching {
            snapshot: self.snapshot_of(&mut inner),
            notices: self.running_notices(),
            expires_at: inner.expiry.announced(),
            watch: Watch { room: Arc::clone(self), connection },
        })
    }

    fn unwatch(&self, connection: ConnectionId) {
        let mut inner = self.lock();
        inner.subscribers.remove(connection);
        inner.watchers -= 1;
        self.arm_if_empty(&inner);
    }
}

impl Watch {
    /// The room.
    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// All that a watcher needs that fell behind.
    ///
    /// # Errors
    /// [`Gone`] where the room is over.
    pub fn catch_up(&self) -> Result<CaughtUp, Gone> {
        self.room.catch_up(None, self.connection)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.room.unwatch(self.connection);
    }
}
