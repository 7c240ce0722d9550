//! A room: one lock around a roster, the count of its steps, and those who are told of them.
//!
//! What changes is gathered until the room's tick and then told as one step. A step gets its number
//! and its place among the events under the lock, and so does every snapshot: between a snapshot and
//! the steps after it there is never a hole.

mod audience;
mod diff;
mod notice;
mod place;
mod sitting;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use indexmap::IndexMap;
use parking_lot::Mutex;
use tokio::sync::broadcast;

use self::audience::{Audience, Locked};
use self::diff::Pending;
use self::notice::Notice;
pub use self::place::Place;
pub use self::sitting::Starting;
use super::event::{Event, Listener, People, Snapshot};
use super::ledger::{Ledger, Mark};
use super::participant::{CloseReason, LeaveReason, Participant, Quality, State};
use super::registry::Census;
use super::roster::{Change, Entrant, Roster};
use super::seat::{Joined, Seat};
use super::terms::{CaughtUp, Gone, JoinError, Session, Shared, Who};
use super::watch::{Watch, Watching};
use crate::clock::Moment;
use crate::domain::idle::IdleCounts;
use crate::ids::{ConnectionId, ParticipantId, RoomSitId, SessionId};

/// Events a reader may fall behind before it gets a snapshot instead. Presence is state and not a log,
/// so a short queue loses nothing.
const EVENTS: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    Open,
    Retired,
    Closed(CloseReason),
    Draining,
}

/// The live side of one reading session.
#[derive(Debug)]
pub struct Room {
    id: SessionId,
    pub(super) shared: Arc<Shared>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    session: Arc<Session>,
    /// Whether the session was changed since the room was opened.
    revised: bool,
    life: Life,
    roster: Roster,
    audience: Audience,
    /// Places promised to people whose admission is under way.
    reserved: usize,
    observers: usize,
    /// Those who read along without a WebSocket.
    watchers: usize,
    /// The last step that was told.
    seq: u64,
    /// The fewest and the most people that anybody was told of, by that step or a snapshot since.
    told: (usize, usize),
    /// Who changed since that step, and whether those who knew that step know them.
    pending: IndexMap<ParticipantId, Pending>,
    publish_at: Option<Moment>,
    /// The deadline of the roster and the notice that the schedule knows of.
    wake_at: Option<Moment>,
    /// Everybody who is here, for those who ask next. It does not outlive the next `publish_at`, so an
    /// idle room holds none.
    people: Option<People>,
    /// The newest activity of those who are not here (any more).
    past_activity: Moment,
    notice: Notice,
    /// The sit that was over last, for who was not told.
    completed_sit: Option<RoomSitId>,
}

impl Room {
    pub(super) fn new(session: Session, shared: Arc<Shared>) -> Self {
        let past_activity = shared.clock.moment(session.last_activity_at);
        let notice = match shared.rules.idle_counts {
            IdleCounts::Seen => Notice::Unused,
            IdleCounts::Activity => Notice::Due(shared.notice_at(past_activity)),
        };
        let inner = Inner {
            life: Life::Open,
            roster: Roster::new(shared.rules.timings),
            audience: Audience::default(),
            reserved: 0,
            observers: 0,
            watchers: 0,
            seq: 0,
            told: (0, 0),
            pending: IndexMap::new(),
            publish_at: None,
            wake_at: None,
            people: None,
            past_activity,
            notice,
            completed_sit: None,
            revised: false,
            session: Arc::new(session),
        };
        let id = inner.session.id;
        Self { id, shared, inner: Mutex::new(inner) }
    }

    /// The session's id.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Where the room notes what has to be written.
    pub fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    fn lock(&self) -> Locked<'_> {
        Locked(self.inner.lock())
    }

    /// Promises a place to somebody whose admission is about to be asked for; `None` where that
    /// person is here already and needs none.
    ///
    /// # Errors
    /// [`JoinError`] where there is none.
    pub fn reserve(self: &Arc<Self>, who: Who) -> Result<Option<Place>, JoinError> {
        let mut inner = self.lock();
        inner.check_open()?;
        if inner.find(who).is_some() {
            return Ok(None);
        }
        inner.check_place()?;
        inner.reserved += 1;
        Ok(Some(Place { room: Arc::clone(self), filled: false }))
    }

    /// What admission would say of somebody who is here, without asking the store.
    pub fn recall(&self, who: Who) -> Option<(Session, Entrant)> {
        let inner = self.lock();
        inner.check_open().ok()?;
        let entrant = inner.roster.entrant(inner.find(who)?)?;
        Some((Session::clone(&inner.session), entrant))
    }

    /// Takes a seat for a connection of somebody who was let in. Its listener is told what happens from
    /// then on.
    ///
    /// # Errors
    /// [`JoinError`] where the room is not there any more or has no place.
    pub fn join(
        self: &Arc<Self>,
        entrant: Entrant,
        place: Option<Place>,
        listener: Arc<dyn Listener>,
    ) -> Result<Joined, JoinError> {
        let (shared, now) = (&self.shared, self.shared.clock.now());
        // Bound before the guard: a place that is not filled is given back when the lock is free.
        let mut place = place;
        let mut inner = self.lock();
        inner.check_open()?;
        let id = entrant.id;
        match &mut place {
            Some(place) if Arc::ptr_eq(&place.room, self) => place.fill(&mut inner),
            _ if inner.roster.get(id).is_some() => {}
            _ => inner.check_place()?,
        }
        let mark = match inner.roster.get(id) {
            Some(known) => Arc::clone(&known.mark),
            None => {
                let mark = Mark::new(id, self.id, now, now);
                // Memory is right: what the store has of the state may be older than a flush.
                shared.ledger.state(&mark, entrant.state.clone());
                mark
            }
        };
        let comes_back = inner.roster.get(id).is_some_and(|known| known.connections == 0);
        shared.ledger.active(&mark, now);
        let connection = ConnectionId::new();
        let change = inner.roster.join(entrant, connection, || Arc::clone(&mark));
        if matches!(change, Change::Joined(_)) {
            shared.metrics.joins.inc();
        }
        self.note(&mut inner, change, now);
        self.withdraw_notice(&mut inner, id, now);
        self.arm(&mut inner);
        inner.audience.add(connection, listener);
        Ok(Joined {
            snapshot: self.snapshot_of(&mut inner),
            sit: if comes_back { self.sit_news(&inner) } else { self.running_sit() },
            seat: Seat::of_participant(Arc::clone(self), connection, mark),
        })
    }

    /// Takes a seat for somebody who only watches, and holds nobody present.
    ///
    /// # Errors
    /// [`JoinError`] where the room is not there any more.
    pub fn observe(self: &Arc<Self>, listener: Arc<dyn Listener>) -> Result<Joined, JoinError> {
        let mut inner = self.lock();
        inner.check_open()?;
        inner.observers += 1;
        self.arm(&mut inner);
        let connection = ConnectionId::new();
        inner.audience.add(connection, listener);
        Ok(Joined {
            snapshot: self.snapshot_of(&mut inner),
            sit: self.running_sit(),
            seat: Seat::of_observer(Arc::clone(self), connection),
        })
    }

    /// Takes a place for somebody who reads along without a connection of its own.
    ///
    /// # Errors
    /// [`JoinError`] where the room is not there any more.
    pub fn watch(self: &Arc<Self>) -> Result<Watching, JoinError> {
        let mut inner = self.lock();
        inner.check_open()?;
        inner.watchers += 1;
        self.arm(&mut inner);
        let connection = ConnectionId::new();
        let (queue, events) = broadcast::channel(EVENTS);
        inner.audience.add(connection, Arc::new(queue));
        Ok(Watching {
            snapshot: self.snapshot_of(&mut inner),
            events,
            sit: self.running_sit(),
            watch: Watch::of(Arc::clone(self), connection),
        })
    }

    pub(super) fn unwatch(&self, connection: ConnectionId) {
        let now = self.shared.clock.now();
        let mut inner = self.lock();
        inner.audience.remove(connection);
        inner.watchers -= 1;
        self.arm_if_empty(&inner, now);
    }

    /// Puts somebody back whom the server that ran here before left in the room.
    pub fn restore(&self, entrant: Entrant, last_seen: Moment) {
        let mut inner = self.lock();
        if inner.check_open().is_err() || inner.roster.get(entrant.id).is_some() {
            return;
        }
        let mark = Mark::new(entrant.id, self.id, last_seen, last_seen);
        let now = self.shared.clock.now();
        let change = inner.roster.restore(entrant, mark, now);
        self.note(&mut inner, change, now);
        self.arm(&mut inner);
    }

    /// The presence as it is now.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot_of(&mut self.lock())
    }

    /// All that a connection has to know that fell behind or asks.
    ///
    /// # Errors
    /// [`Gone`] where the seat is void: what it fell behind included its end.
    pub(super) fn catch_up(&self, holder: Option<ParticipantId>) -> Result<CaughtUp, Gone> {
        let mut inner = self.lock();
        match inner.life {
            Life::Closed(reason) => return Err(Gone::Closed(reason)),
            Life::Draining => return Err(Gone::Draining),
            Life::Open | Life::Retired => {}
        }
        if holder.is_some_and(|id| inner.roster.get(id).is_none()) {
            return Err(Gone::Removed);
        }
        let expires_at = match inner.notice {
            Notice::Given(expires_at) => Some(expires_at),
            Notice::Unused | Notice::Due(_) => None,
        };
        Ok(CaughtUp {
            snapshot: self.snapshot_of(&mut inner),
            session: inner.revised.then(|| Arc::clone(&inner.session)),
            expires_at,
            sit: self.sit_news(&inner),
        })
    }

    /// One person as the others see it.
    pub fn participant(&self, id: ParticipantId) -> Option<Arc<Participant>> {
        self.lock().roster.get(id).cloned()
    }

    /// The last step that was told, and everybody who is here, in no order.
    pub fn presence(&self) -> (u64, Vec<Arc<Participant>>) {
        let inner = self.lock();
        (inner.seq, inner.roster.iter().cloned().collect())
    }

    /// How many people are here.
    pub fn occupancy(&self) -> usize {
        self.lock().roster.occupancy()
    }

    /// When somebody was last seen, and was last active, of those who are here.
    pub fn last_signs(&self) -> Option<(Moment, Moment)> {
        let inner = self.lock();
        let seen = inner.roster.iter().map(|person| person.mark.seen()).max()?;
        let active = inner.roster.iter().map(|person| person.mark.active()).max()?;
        Some((seen, active))
    }

    /// The stored session was changed by its host: this is the session now.
    pub fn revise(&self, session: Session) {
        let session = Arc::new(session);
        let mut inner = self.lock();
        (inner.session, inner.revised) = (Arc::clone(&session), true);
        inner.audience.note(Event::Session(session));
    }

    /// Removes somebody; its connections, and its readers where it was not here, are told and end.
    /// Whether it was here.
    pub fn remove(&self, id: ParticipantId) -> bool {
        let now = self.shared.clock.now();
        let mut inner = self.lock();
        let change = inner.roster.remove(id, LeaveReason::Removed);
        let was_here = change.is_some();
        if let Some(change) = change {
            self.note(&mut inner, change, now);
        }
        inner.audience.note(Event::Removed(id));
        was_here
    }

    /// Ends the room: everybody is told why.
    pub(super) fn close(&self, reason: CloseReason) {
        let mut inner = self.lock();
        if inner.life == Life::Open {
            inner.life = Life::Closed(reason);
            self.shared.metrics.leaves(LeaveReason::Closed.as_str()).inc_by(inner.roster.occupancy() as u64);
            inner.roster = Roster::new(self.shared.rules.timings);
            inner.people = None;
            inner.audience.note(Event::Closed(reason));
        }
    }

    /// Ends all connections without anybody leaving: people are coming back.
    pub(super) fn drain(&self) {
        let mut inner = self.lock();
        if inner.life == Life::Open {
            inner.life = Life::Draining;
            inner.audience.note(Event::Draining);
        }
    }

    /// Whether nobody is here or on the way; from then on the room takes nobody in.
    pub(super) fn retire(&self) -> bool {
        let mut inner = self.lock();
        let retires = inner.is_empty() && inner.life == Life::Open;
        if retires {
            inner.life = Life::Retired;
        }
        retires
    }

    /// Does what the passing of time asks for: ends graces, shows people idle, tells what changed,
    /// gives notice. Whether the room is empty and may leave memory.
    pub fn tick(&self, now: Moment) -> bool {
        let mut inner = self.lock();
        if inner.life != Life::Open {
            return false;
        }
        if inner.wake_at.is_some_and(|at| at <= now) {
            inner.wake_at = None;
        }
        for change in inner.roster.expire(now) {
            self.note(&mut inner, change, now);
        }
        self.end_sit(&mut inner, now);
        self.give_notice(&mut inner, now);
        if inner.publish_at.is_some_and(|at| at <= now) {
            self.publish(&mut inner);
        }
        self.arm(&mut inner);
        inner.is_empty()
    }

    pub(super) fn lose(&self, holder: Option<ParticipantId>, connection: ConnectionId) {
        let now = self.shared.clock.now();
        self.apply(holder, connection, now, |roster, id| roster.lose(id, connection, now));
    }

    pub(super) fn leave(&self, holder: Option<ParticipantId>, connection: ConnectionId) {
        let now = self.shared.clock.now();
        self.apply(holder, connection, now, |roster, id| roster.leave(id, connection));
    }

    /// A connection goes, of a participant or (`None`) of an observer.
    fn apply(
        &self,
        holder: Option<ParticipantId>,
        connection: ConnectionId,
        now: Moment,
        operation: impl FnOnce(&mut Roster, ParticipantId) -> Option<Change>,
    ) {
        let mut inner = self.lock();
        inner.audience.remove(connection);
        if inner.life == Life::Draining {
            return;
        }
        match holder {
            None => {
                inner.observers -= 1;
                self.arm_if_empty(&inner, now);
            }
            Some(id) => {
                if let Some(change) = operation(&mut inner.roster, id) {
                    self.note(&mut inner, change, now);
                    self.arm(&mut inner);
                }
            }
        }
    }

    pub(super) fn set_state(&self, id: ParticipantId, state: State) {
        let now = self.shared.clock.now();
        let mut inner = self.lock();
        if let Some(change) = inner.roster.set_state(id, state) {
            self.note(&mut inner, change, now);
        }
    }

    pub(super) fn set_quality(&self, id: ParticipantId, connection: ConnectionId, quality: Quality) {
        let now = self.shared.clock.now();
        let mut inner = self.lock();
        if let Some(change) = inner.roster.set_quality(id, connection, quality) {
            self.note(&mut inner, change, now);
        }
    }

    /// Somebody did something while the room was watching for it.
    pub(super) fn activate(&self, id: ParticipantId) {
        let now = self.shared.clock.now();
        let mut inner = self.lock();
        if let Some(change) = inner.roster.activate(id) {
            self.note(&mut inner, change, now);
        }
        self.withdraw_notice(&mut inner, id, now);
        self.arm(&mut inner);
    }

    /// Adds this room to a count.
    pub(super) fn count(&self, census: &mut Census) {
        let inner = self.lock();
        census.rooms += 1;
        census.observers += inner.observers as u64;
        census.watchers += inner.watchers as u64;
        for person in inner.roster.iter() {
            census.participants[person.status as usize] += 1;
        }
    }

    /// Sees to it that the room is ticked when its next deadline comes.
    fn arm(&self, inner: &mut Inner) {
        let notice_at = match inner.notice {
            Notice::Due(at) => Some(at),
            Notice::Unused | Notice::Given(_) => None,
        };
        let Some(next) = inner.roster.next_deadline().into_iter().chain(notice_at).min() else { return };
        if inner.wake_at.is_none_or(|at| next < at) {
            inner.wake_at = Some(next);
            self.shared.schedule.add(next, self.id);
        }
    }

    fn arm_if_empty(&self, inner: &Inner, now: Moment) {
        if inner.is_empty() {
            self.shared.schedule.add(now, self.id);
        }
    }
}

impl Inner {
    fn check_open(&self) -> Result<(), JoinError> {
        match self.life {
            Life::Open => Ok(()),
            Life::Retired => Err(JoinError::Retired),
            Life::Closed(reason) => Err(JoinError::Closed(reason)),
            Life::Draining => Err(JoinError::Draining),
        }
    }

    fn check_place(&self) -> Result<(), JoinError> {
        if self.roster.occupancy() + self.reserved < self.session.max_participants {
            Ok(())
        } else {
            Err(JoinError::Full)
        }
    }

    fn is_empty(&self) -> bool {
        self.roster.occupancy() == 0 && self.observers == 0 && self.watchers == 0 && self.reserved == 0
    }

    fn find(&self, who: Who) -> Option<ParticipantId> {
        match who {
            Who::Participant(id) => self.roster.get(id).map(|person| person.id),
            Who::User(user) => self.roster.find_user(user),
            Who::Stranger => None,
        }
    }
}
