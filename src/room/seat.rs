//! A connection's place in a room, given back when it is dropped.

use std::sync::Arc;

use super::error::{Gone, JoinError};
use super::liveness::Liveness;
use super::notice::Notice;
use super::participant::Participant;
use super::reservation::Reservation;
use super::room::Room;
use super::roster::{Change, Entrant, Roster};
use super::snapshot::{CaughtUp, Snapshot};
use super::state::State;
use super::subscribers::Subscriber;
use crate::clock::Moment;
use crate::domain::ids::{ConnectionId, ParticipantId};
use crate::domain::participant::{LeaveReason, Quality};

/// What a connection gets when it joins, all of one moment: what its subscriber receives continues the
/// snapshot.
#[derive(Debug)]
pub struct Joined {
    /// Its place.
    pub seat: Seat,
    /// The presence, the newcomer included.
    pub snapshot: Snapshot,
    /// The notices that run; where the person was reconnecting also those that were over last.
    pub notices: Vec<Notice>,
    /// When the session expires, where that was announced. Whoever comes in takes it back: only an observer gets it.
    pub expires_at: Option<Moment>,
}

/// One connection's place in a room. Dropping it is losing the connection; [`Seat::leave`] is leaving, [`Seat::fail`] an
/// end by an error.
#[derive(Debug)]
pub struct Seat {
    room: Arc<Room>,
    connection: ConnectionId,
    /// `None` for an observer.
    liveness: Option<Arc<Liveness>>,
    is_given_back: bool,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug)]
enum Parting {
    /// The client said so.
    Left,
    /// Without a word: it may come back.
    Lost,
    /// With an error, before the client had sent anything: it cannot come back.
    Failed,
}

impl Room {
    /// Takes a seat for a connection of a person who was admitted. Its subscriber receives what happens
    /// from then on.
    ///
    /// # Errors
    /// [`JoinError`] where the room is not open any more or has no place.
    pub fn join(
        self: &Arc<Self>,
        mut entrant: Entrant,
        reservation: Option<Reservation>,
        subscriber: Arc<dyn Subscriber>,
    ) -> Result<Joined, JoinError> {
        let (shared, now) = (&self.shared, self.shared.clock.now());
        // Bound before the guard: one that is not used is given back when the lock is free.
        let mut reservation = reservation;
        let mut inner = self.lock();
        inner.check_open()?;
        let id = entrant.id;
        match &mut reservation {
            Some(reservation) if reservation.is_in(self) => reservation.redeem(&mut inner),
            _ if inner.roster.get(id).is_some() => {}
            _ => inner.check_place()?,
        }
        let known = inner.roster.get(id).map(|known| (Arc::clone(&known.liveness), known.connections == 0));
        let (liveness, comes_back) = known.unwrap_or_else(|| {
            let liveness = Liveness::new(id, self.id(), now, now);
            // What is not written yet is newer than what the store said.
            if let Some(state) = shared.write_behind.came_back(&liveness) {
                entrant.state = state;
            }
            (liveness, false)
        });
        shared.write_behind.active(&liveness, now);
        let connection = ConnectionId::new();
        let change = inner.roster.join(entrant, connection, || Arc::clone(&liveness));
        if matches!(change, Change::Joined(_)) {
            shared.metrics.joined();
        }
        self.note(&mut inner, change, now);
        self.withdraw_expiry(&mut inner, id, now);
        self.arm(&mut inner);
        inner.subscribers.add(connection, subscriber);
        Ok(Joined {
            snapshot: self.snapshot_of(&mut inner),
            notices: if comes_back { self.notices(&inner) } else { self.running_notices() },
            expires_at: inner.expiry.announced(),
            seat: Seat { room: Arc::clone(self), connection, liveness: Some(liveness), is_given_back: false },
        })
    }

    /// Takes a seat for an observer, who holds no person present.
    ///
    /// # Errors
    /// [`JoinError`] where the room is not open any more.
    pub fn observe(self: &Arc<Self>, subscriber: Arc<dyn Subscriber>) -> Result<Joined, JoinError> {
        let mut inner = self.lock();
        inner.check_open()?;
        inner.observers += 1;
        self.arm(&mut inner);
        let connection = ConnectionId::new();
        inner.subscribers.add(connection, subscriber);
        Ok(Joined {
            snapshot: self.snapshot_of(&mut inner),
            notices: self.running_notices(),
            expires_at: inner.expiry.announced(),
            seat: Seat { room: Arc::clone(self), connection, liveness: None, is_given_back: false },
        })
    }

    /// A connection is closed, of a participant or of an observer.
    fn give_back(&self, seat: &Seat, parting: Parting) {
        let now = self.shared.clock.now();
        let mut inner = self.lock();
        inner.subscribers.remove(seat.connection);
        let Some(id) = seat.participant() else {
            inner.observers -= 1;
            self.arm_if_empty(&inner);
            return;
        };
        let change = match parting {
            Parting::Left => inner.roster.leave(id, seat.connection, LeaveReason::Left),
            // Asked to come back: the next start shows them as reconnecting.
            Parting::Lost | Parting::Failed if inner.is_draining() => None,
            Parting::Failed => inner.roster.leave(id, seat.connection, LeaveReason::Timeout),
            Parting::Lost => inner.roster.lose(id, seat.connection, now),
        };
        if let Some(change) = change {
            self.note(&mut inner, change, now);
            self.arm(&mut inner);
        }
    }

    /// Changes what is shown of a participant.
    fn update(&self, operation: impl FnOnce(&mut Roster) -> Option<Change>) {
        let now = self.shared.clock.now();
        let mut inner = self.lock();
        if let Some(change) = operation(&mut inner.roster) {
            self.note(&mut inner, change, now);
        }
    }

    /// A person is active for whose activity the room waits.
    fn activate(&self, id: ParticipantId) {
        let now = self.shared.clock.now();
        let mut inner = self.lock();
        if let Some(change) = inner.roster.activate(id) {
            self.note(&mut inner, change, now);
        }
        self.withdraw_expiry(&mut inner, id, now);
        self.arm(&mut inner);
    }
}

impl Seat {
    /// The room.
    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// The connection.
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// The participant whose seat it is; `None` for an observer.
    pub fn participant(&self) -> Option<ParticipantId> {
        self.liveness.as_ref().map(|liveness| liveness.participant())
    }

    /// The person as the others see it; `None` for an observer, and for a person who is gone.
    pub fn shown(&self) -> Option<Arc<Participant>> {
        self.room.participant(self.participant()?)
    }

    /// Something was received on the connection: it is alive. One store and one place in a queue, no lock.
    pub fn seen(&self, now: Moment) {
        if let Some(liveness) = &self.liveness {
            self.room.shared.write_behind.seen(liveness, now);
        }
    }

    /// The client has sent a frame: it has read its welcome. One store, no lock.
    pub fn confirm(&self) {
        if let Some(liveness) = &self.liveness {
            liveness.confirm();
        }
    }

    /// The person did something. As cheap as [`Seat::seen`] unless the room waits for it.
    pub fn active(&self, now: Moment) {
        if let Some(liveness) = &self.liveness {
            self.room.shared.write_behind.active(liveness, now);
            if liveness.is_watched() {
                self.room.activate(liveness.participant());
            }
        }
    }

    /// A new public state (a JSON object, checked before).
    pub fn set_state(&self, state: State) {
        if let Some(liveness) = &self.liveness {
            let shown = self.room.shared.clock.now();
            self.room.update(|roster| {
                let change = roster.set_state(liveness.participant(), state.clone())?;
                // Under the room's lock: of two updates that cross, the one that is shown is written.
                self.room.shared.write_behind.state(liveness, state, shown);
                Some(change)
            });
        }
    }

    /// A new class of this connection's quality.
    pub fn set_quality(&self, quality: Quality) {
        if let Some(id) = self.participant() {
            self.room.update(|roster| roster.set_quality(id, self.connection, quality));
        }
    }

    /// All that a connection needs that fell behind or asks for it.
    ///
    /// # Errors
    /// [`Gone`] where this seat is void.
    pub fn catch_up(&self) -> Result<CaughtUp, Gone> {
        self.room.catch_up(self.participant(), self.connection)
    }

    /// Leaves: no grace for this connection.
    pub fn leave(mut self) {
        self.is_given_back = true;
        self.room.give_back(&self, Parting::Left);
    }

    /// The connection has failed: it is lost, unless no client of the person ever sent a frame. Such a client may not
    /// even have been able to read its welcome, and comes again as somebody else: no grace, or each try would hold a
    /// place for that long.
    pub fn fail(mut self) {
        if self.liveness.as_ref().is_some_and(|liveness| !liveness.is_confirmed()) {
            self.is_given_back = true;
            self.room.give_back(&self, Parting::Failed);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.is_given_back {
            self.room.give_back(self, Parting::Lost);
        }
    }
}
