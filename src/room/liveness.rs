//! When a participant was last seen and active, and what of it is not written to the database yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::state::State;
use crate::clock::Moment;
use crate::domain::ids::{ParticipantId, SessionId};
use crate::domain::participant::LeaveReason;

/// What is known of one participant beyond what others are shown. A handful of atomics that the beats of
/// its connections store to, without a lock.
#[derive(Debug)]
pub struct Liveness {
    participant: ParticipantId,
    session: SessionId,
    seen: AtomicU64,
    active: AtomicU64,
    /// The room waits for the next activity; see [`Liveness::watch_activity`].
    watched: AtomicBool,
    /// Whether it stands in the queue of the write-behind.
    queued: AtomicBool,
    /// Whether a client of the participant has sent a frame: it has read its welcome.
    confirmed: AtomicBool,
    /// What changes seldom.
    unwritten: Mutex<Unwritten>,
}

/// Changes that the database does not have.
#[derive(Debug, Default)]
struct Unwritten {
    left: Option<LeaveReason>,
    /// With when it was shown.
    state: Option<(State, Moment)>,
}

impl Liveness {
    /// Of a participant that was last seen and active at these moments. It is in no queue yet.
    pub fn new(participant: ParticipantId, session: SessionId, seen: Moment, active: Moment) -> Arc<Self> {
        Arc::new(Self {
            participant,
            session,
            seen: AtomicU64::new(seen.as_millis()),
            active: AtomicU64::new(active.as_millis()),
            watched: AtomicBool::new(false),
            queued: AtomicBool::new(false),
            confirmed: AtomicBool::new(false),
            unwritten: Mutex::default(),
        })
    }

    /// The participant.
    pub fn participant(&self) -> ParticipantId {
        self.participant
    }

    /// The session that the participant belongs to.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// When anything was last received on a connection of the participant.
    pub fn seen(&self) -> Moment {
        Moment::from_millis(self.seen.load(Ordering::Relaxed))
    }

    /// When the person last did something.
    pub fn active(&self) -> Moment {
        Moment::from_millis(self.active.load(Ordering::SeqCst))
    }

    /// A client of the participant has read its welcome, and could come back.
    pub(super) fn confirm(&self) {
        self.confirmed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_confirmed(&self) -> bool {
        self.confirmed.load(Ordering::Relaxed)
    }

    pub(super) fn set_seen(&self, now: Moment) {
        self.seen.store(now.as_millis(), Ordering::Relaxed);
    }

    pub(super) fn set_active(&self, now: Moment) {
        self.active.store(now.as_millis(), Ordering::SeqCst);
    }

    pub(super) fn set_left(&self, reason: LeaveReason) {
        self.unwritten.lock().left = Some(reason);
    }

    pub(super) fn set_state(&self, state: State, shown: Moment) {
        self.unwritten.lock().state = Some((state, shown));
    }

    /// Asks that the next activity be passed to the room: the person is shown as idle, or the session is
    /// about to expire. Beats need no lock as long as the room does not wait.
    ///
    /// One side stores `watched` and then loads `active`, the other stores `active` and then loads
    /// `watched`; sequential consistency keeps them from both missing the other.
    pub(super) fn watch_activity(&self, watch: bool) {
        self.watched.store(watch, Ordering::SeqCst);
    }

    pub(super) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::SeqCst)
    }

    /// Claims the place in the queue; whether it stood in none before.
    ///
    /// A value stored before this swap is read after the swap in [`Liveness::take`]: either it stands in
    /// the queue and the flush that takes it out reads the value, or the caller queues it.
    pub(super) fn enter_queue(&self) -> bool {
        !self.queued.swap(true, Ordering::AcqRel)
    }

    /// Gives the place in the queue up and says what is to be written. The changes stay until they are written.
    pub(super) fn take(&self) -> (Option<LeaveReason>, Option<(State, Moment)>) {
        self.queued.swap(false, Ordering::AcqRel);
        let unwritten = self.unwritten.lock();
        (unwritten.left, unwritten.state.clone())
    }

    /// The database has this state. A newer one stays to be written. A leave stays too: it is final.
    pub(super) fn state_written(&self, state: &State) {
        self.unwritten.lock().state.take_if(|(unwritten, _)| unwritten.is_copy_of(state));
    }

    /// The state that the database does not have, and when it was shown.
    pub(super) fn unwritten_state(&self) -> Option<(State, Moment)> {
        self.unwritten.lock().state.clone()
    }
}
