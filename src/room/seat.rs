//! A connection's place in a room, given back when it is dropped.

use std::sync::Arc;

use super::event::Snapshot;
use super::ledger::Mark;
use super::participant::{Participant, Quality, State};
use super::room::Room;
use super::sits::SitNews;
use super::terms::{CaughtUp, Gone};
use crate::clock::Moment;
use crate::ids::{ConnectionId, ParticipantId};

/// What a connection gets when it joins, all of one moment: what its listener is told continues the
/// snapshot.
#[derive(Debug)]
pub struct Joined {
    /// Its place.
    pub seat: Seat,
    /// Who is here, the newcomer included.
    pub snapshot: Snapshot,
    /// The room's sit, where one runs; for whoever was lost while it ended, that it is over.
    pub sit: Option<SitNews>,
}

/// One connection's place in a room. Dropping it is losing the connection; [`Seat::leave`] is leaving.
#[derive(Debug)]
pub struct Seat {
    room: Arc<Room>,
    connection: ConnectionId,
    /// `None` for an observer.
    mark: Option<Arc<Mark>>,
    given_back: bool,
}

impl Seat {
    pub(super) fn of_participant(room: Arc<Room>, connection: ConnectionId, mark: Arc<Mark>) -> Self {
        Self { room, connection, mark: Some(mark), given_back: false }
    }

    pub(super) fn of_observer(room: Arc<Room>, connection: ConnectionId) -> Self {
        Self { room, connection, mark: None, given_back: false }
    }

    /// The room.
    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// The connection.
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// Whose seat it is; `None` for an observer.
    pub fn participant(&self) -> Option<ParticipantId> {
        self.mark.as_ref().map(|mark| mark.participant())
    }

    /// The person as the others see it; `None` for an observer, and for somebody who is gone.
    pub fn shown(&self) -> Option<Arc<Participant>> {
        self.room.participant(self.participant()?)
    }

    /// Something came from the connection: it is alive. One store and one mark, no lock.
    pub fn heard(&self, now: Moment) {
        if let Some(mark) = &self.mark {
            self.room.shared.ledger.seen(mark, now);
        }
    }

    /// The person did something. As cheap as [`Seat::heard`] unless the room waits to hear of it.
    pub fn active(&self, now: Moment) {
        if let Some(mark) = &self.mark {
            self.room.shared.ledger.active(mark, now);
            if mark.is_watched() {
                self.room.activate(mark.participant());
            }
        }
    }

    /// A new public state (a JSON object, checked before).
    pub fn set_state(&self, state: State) {
        if let Some(mark) = &self.mark {
            self.room.shared.ledger.state(mark, State::clone(&state));
            self.room.set_state(mark.participant(), state);
        }
    }

    /// A new class of this connection's quality.
    pub fn set_quality(&self, quality: Quality) {
        if let Some(mark) = &self.mark {
            self.room.set_quality(mark.participant(), self.connection, quality);
        }
    }

    /// All that a connection has to know that fell behind or asks.
    ///
    /// # Errors
    /// [`Gone`] where this seat is void.
    pub fn catch_up(&self) -> Result<CaughtUp, Gone> {
        self.room.catch_up(self.participant())
    }

    /// Says goodbye: no grace for this connection.
    pub fn leave(mut self) {
        self.given_back = true;
        self.room.leave(self.participant(), self.connection);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.given_back {
            self.room.lose(self.participant(), self.connection);
        }
    }
}
