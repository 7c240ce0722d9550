//! Places in a room, promised to people whom the store has admitted and who are on the way.

use std::sync::Arc;

use super::error::JoinError;
use super::room::{Inner, Room};
use super::roster::{Entrant, Roster};
use crate::domain::ids::{ParticipantId, UserId};
use crate::domain::reading_session::ReadingSession;

/// The person whom an admission is asked for, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub enum Applicant {
    /// The holder of a resume token.
    Participant(ParticipantId),
    /// A user.
    User(UserId),
    /// The holder of an invite, of whom nothing else is known.
    Stranger,
}

impl Applicant {
    fn find(self, roster: &Roster) -> Option<ParticipantId> {
        match self {
            Self::Participant(id) => roster.get(id).map(|person| person.id),
            Self::User(user) => roster.find_user(user),
            Self::Stranger => None,
        }
    }
}

/// A place that is promised to a person on the way; given back when it is dropped unused.
#[derive(Debug)]
pub struct Reservation {
    room: Arc<Room>,
    is_used: bool,
}

impl Room {
    /// Whether the people who are here leave a place for an applicant. A promise counts for nothing here: it may
    /// not be kept.
    ///
    /// # Errors
    /// [`JoinError`] where they do not, and where the room takes nobody in.
    pub fn check_capacity(&self, applicant: Applicant) -> Result<(), JoinError> {
        let inner = self.lock();
        inner.check_open()?;
        if applicant.find(&inner.roster).is_none() && inner.is_full() {
            return Err(JoinError::Full);
        }
        Ok(())
    }

    /// Promises a place to an applicant; `None` where that person is here already and needs none.
    ///
    /// # Errors
    /// [`JoinError`] where there is none.
    pub fn reserve(self: &Arc<Self>, applicant: Applicant) -> Result<Option<Reservation>, JoinError> {
        let mut inner = self.lock();
        inner.check_open()?;
        if applicant.find(&inner.roster).is_some() {
            return Ok(None);
        }
        inner.check_place()?;
        inner.reserved += 1;
        Ok(Some(Reservation { room: Arc::clone(self), is_used: false }))
    }

    /// The answer that the store would give for an applicant who is here; `None` for one who is not.
    pub fn recall(&self, applicant: Applicant) -> Option<(ReadingSession, Entrant)> {
        let inner = self.lock();
        inner.check_open().ok()?;
        let entrant = inner.roster.entrant(applicant.find(&inner.roster)?)?;
        Some((ReadingSession::clone(&inner.session), entrant))
    }
}

impl Reservation {
    /// Whether the place is in this room.
    pub(super) fn is_in(&self, room: &Arc<Room>) -> bool {
        Arc::ptr_eq(&self.room, room)
    }

    /// The roster counts the place from here on.
    pub(super) fn redeem(&mut self, inner: &mut Inner) {
        inner.reserved -= 1;
        self.is_used = true;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.is_used {
            let mut inner = self.room.lock();
            inner.reserved -= 1;
            self.room.arm_if_empty(&inner);
        }
    }
}
