//! An admission that was granted: how it is used, and how it is given back.

use std::sync::Arc;

use crate::clock::Moment;
use crate::domain::ids::InviteId;
use crate::domain::reading_session::ReadingSession;
use crate::identity::resume::ResumeClaims;
use crate::room::{Applicant, Entrant, JoinError, Joined, Reservation, Room, Subscriber};
use crate::store::Store;
use crate::store::admission::Compensation;

/// The proof that a connection may join a room, with a place reserved for it. Dropped unused, it has the
/// store take back what was granted.
#[derive(Debug)]
pub struct Admission {
    pub(super) room: Arc<Room>,
    pub(super) admittee: Admittee,
    /// What the store has to undo unless the room is joined; `None` for a participant who is in the room
    /// already.
    pub(super) compensation: Option<Compensation>,
    pub(super) uncounted_invite: Option<InviteId>,
    /// When the credential expires and the connection has to end.
    pub until: Option<Moment>,
    /// The session.
    pub session: ReadingSession,
    pub(super) store: Store,
}

/// What the connection becomes in the room.
#[derive(Debug)]
pub(super) enum Admittee {
    /// A participant, with a reservation unless it is in the room already.
    Participant { entrant: Entrant, reservation: Option<Reservation> },
    /// The service, which watches without being shown.
    Observer,
}

impl Admission {
    /// Reserves a place until the room is joined. Where there is none, the store takes back what it granted when
    /// this is dropped.
    ///
    /// # Errors
    /// [`JoinError`] where there is none.
    pub(super) fn reserve(&mut self) -> Result<(), JoinError> {
        if let Admittee::Participant { entrant, reservation } = &mut self.admittee {
            *reservation = self.room.reserve(Applicant::Participant(entrant.id))?;
        }
        Ok(())
    }

    /// Whether it is the service, which watches.
    pub fn is_observer(&self) -> bool {
        matches!(self.admittee, Admittee::Observer)
    }

    /// The claims of the participant's current resume token; `None` for an observer.
    pub fn resume_claims(&self) -> Option<ResumeClaims> {
        match &self.admittee {
            Admittee::Participant { entrant, .. } => Some(ResumeClaims {
                participant: entrant.id.0,
                session: self.session.id.0,
                generation: entrant.generation,
            }),
            Admittee::Observer => None,
        }
    }

    /// Takes a seat in the room: from then on the subscriber receives the room's events.
    ///
    /// # Errors
    /// [`JoinError`] where the room changed meanwhile; the store then takes back what it granted.
    pub fn enter(mut self, subscriber: Arc<dyn Subscriber>) -> Result<Joined, JoinError> {
        let joined = match &mut self.admittee {
            Admittee::Observer => self.room.observe(subscriber)?,
            Admittee::Participant { entrant, reservation } => {
                // No place was reserved for a participant who was in the room. One that left meanwhile may
                // have been removed, which the store has to decide.
                if reservation.is_none() && self.room.participant(entrant.id).is_none() {
                    return Err(JoinError::Retired);
                }
                self.room.join(entrant.clone(), reservation.take(), subscriber)?
            }
        };
        self.compensation = None;
        if let Some(invite) = self.uncounted_invite {
            self.room.write_behind().invite_used(invite, 1);
        }
        Ok(joined)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(compensation) = self.compensation.take() {
            self.store.compensate(compensation);
        }
    }
}
