//! A room: one lock around a roster, the count of its steps, and the broadcast of its events.
//!
//! What changes is gathered until the room's tick and then told as one step. A step gets its number
//! and its place in the broadcast under the lock, and so does every snapshot: between a snapshot and
//! the steps after it there is never a hole.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::broadcast;

use super::event::{Changed, Diff, Encoded, Event, Snapshot};
use super::ledger::{Ledger, Mark};
use super::participant::{CloseReason, LeaveReason, Participant, Quality, State};
use super::registry::Census;
use super::roster::{Change, Entrant, Roster, Timings};
use super::schedule::Schedule;
use super::seat::{Joined, Seat};
use crate::clock::{Clock, Moment};
use crate::config::IdleCounts;
use crate::ids::{ConnectionId, ParticipantId, SessionId, UserId};
use crate::metrics::Metrics;

/// Events a connection may fall behind before it gets a snapshot instead. Presence is state and not a
/// log, so a short queue loses nothing; it is paid for by every room.
const EVENTS: usize = 16;

/// Rooms with more people than this gather changes for the longer interval.
const LARGE: usize = 100;

/// The rules that all rooms of a server follow; see `config` for each.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the setting of the same name")]
pub struct Rules {
    pub timings: Timings,
    pub diff_interval: Duration,
    pub diff_interval_large: Duration,
    pub detail_limit: usize,
    pub idle_counts: IdleCounts,
    pub idle_timeout: Duration,
    pub expiring_notice: Duration,
}

/// What all rooms of a server share.
#[derive(Debug)]
pub struct Shared {
    /// How they behave.
    pub rules: Rules,
    /// Their time.
    pub clock: Clock,
    /// Where they note what has to be written.
    pub ledger: Arc<Ledger>,
    /// Where they note when they want to be ticked.
    pub schedule: Schedule,
    /// Where they count.
    pub metrics: Arc<Metrics>,
}

/// The reading session behind a room, as the store knew it when the room was opened.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its id, the room's too.
    pub id: SessionId,
    /// What people see on top.
    pub title: Option<String>,
    /// The user who opened it; `None` where a guest did.
    pub host_user_id: Option<UserId>,
    /// How many people it takes.
    pub max_participants: usize,
    /// When it was opened.
    pub created_at: DateTime<Utc>,
    /// When somebody was last seen in it.
    pub last_seen_at: DateTime<Utc>,
    /// When somebody last did something in it.
    pub last_activity_at: DateTime<Utc>,
}

/// Who asks for a place, as far as that is known before the store is asked.
#[derive(Clone, Copy, Debug)]
pub enum Who {
    /// The holder of a resume token.
    Participant(ParticipantId),
    /// A user.
    User(UserId),
    /// Somebody with an invite and nothing else.
    Stranger,
}

/// Why somebody who was let in cannot join.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JoinError {
    /// The session was closed since.
    Closed(CloseReason),
    /// Everybody had left and the room has left memory: open it again.
    Retired,
    /// All places are taken.
    Full,
    /// The server stops.
    Draining,
}

/// Why a seat is void.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gone {
    /// A host or the service removed the participant.
    Removed,
    /// The session is closed.
    Closed(CloseReason),
    /// The server stops.
    Draining,
}

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
    events: broadcast::Sender<Event>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    session: Session,
    life: Life,
    roster: Roster,
    /// Places promised to people whose admission is under way.
    reserved: usize,
    observers: usize,
    /// The last step that was told.
    seq: u64,
    /// The fewest and the most people that anybody was told of, by that step or a snapshot since.
    told: (usize, usize),
    /// Who changed since that step, and whether those who knew that step know them.
    pending: IndexMap<ParticipantId, Pending>,
    publish_at: Option<Moment>,
    /// The deadline of the roster and the notice that the schedule knows of.
    wake_at: Option<Moment>,
    snapshot: Option<Arc<Snapshot>>,
    /// The newest activity of those who are not here (any more).
    past_activity: Moment,
    notice: Notice,
}

#[derive(Debug)]
struct Pending {
    known: bool,
    left: Option<LeaveReason>,
}

/// Where the notice that a session expires stands. Only used where idle counts activity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Notice {
    Unused,
    /// Look again at that moment.
    Due(Moment),
    /// It was given: the session expires at that moment.
    Given(Moment),
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
            reserved: 0,
            observers: 0,
            seq: 0,
            told: (0, 0),
            pending: IndexMap::new(),
            publish_at: None,
            wake_at: None,
            snapshot: None,
            past_activity,
            notice,
            session,
        };
        let id = inner.session.id;
        Self { id, shared, events: broadcast::Sender::new(EVENTS), inner: Mutex::new(inner) }
    }

    /// The session's id.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Where the room notes what has to be written.
    pub fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
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
        Some((inner.session.clone(), entrant))
    }

    /// Takes a seat for a connection of somebody who was let in.
    ///
    /// # Errors
    /// [`JoinError`] where the room is not there any more or has no place.
    pub fn join(self: &Arc<Self>, entrant: Entrant, place: Option<Place>) -> Result<Joined, JoinError> {
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
                shared.ledger.state(&mark, Arc::clone(&entrant.state));
                mark
            }
        };
        shared.ledger.active(&mark, now);
        let connection = ConnectionId::new();
        let change = inner.roster.join(entrant, connection, || Arc::clone(&mark));
        if matches!(change, Change::Joined(_)) {
            shared.metrics.joins.inc();
        }
        self.note(&mut inner, change, now);
        self.withdraw_notice(&mut inner, id, now);
        self.arm(&mut inner);
        Ok(Joined {
            snapshot: self.snapshot_of(&mut inner),
            events: self.events.subscribe(),
            seat: Seat::of_participant(Arc::clone(self), connection, mark),
        })
    }

    /// Takes a seat for somebody who only watches, and holds nobody present.
    ///
    /// # Errors
    /// [`JoinError`] where the room is not there any more.
    pub fn observe(self: &Arc<Self>) -> Result<Joined, JoinError> {
        let mut inner = self.lock();
        inner.check_open()?;
        inner.observers += 1;
        self.arm(&mut inner);
        Ok(Joined {
            snapshot: self.snapshot_of(&mut inner),
            events: self.events.subscribe(),
            seat: Seat::of_observer(Arc::clone(self), ConnectionId::new()),
        })
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
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot_of(&mut self.lock())
    }

    /// The presence as it is now, for a connection that fell behind or asks; and the moment at which
    /// the session expires, where that was announced.
    ///
    /// # Errors
    /// [`Gone`] where the seat is void: what it fell behind included its end.
    pub(super) fn catch_up(&self, holder: Option<ParticipantId>) -> Result<(Arc<Snapshot>, Option<Moment>), Gone> {
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
        Ok((self.snapshot_of(&mut inner), expires_at))
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

    /// The stored session was changed by its host.
    pub fn revise(&self, title: Option<String>, max_participants: usize) {
        let mut inner = self.lock();
        inner.session.title = title;
        inner.session.max_participants = max_participants;
    }

    /// Removes somebody; its connections are told and end. Whether it was here.
    pub fn remove(&self, id: ParticipantId) -> bool {
        let now = self.shared.clock.now();
        let mut inner = self.lock();
        let Some(change) = inner.roster.remove(id, LeaveReason::Removed) else { return false };
        self.note(&mut inner, change, now);
        self.send(Event::Removed(id));
        true
    }

    /// Ends the room: everybody is told why.
    pub(super) fn close(&self, reason: CloseReason) {
        let mut inner = self.lock();
        if inner.life == Life::Open {
            inner.life = Life::Closed(reason);
            self.shared.metrics.leaves(LeaveReason::Closed.as_str()).inc_by(inner.roster.occupancy() as u64);
            inner.roster = Roster::new(self.shared.rules.timings);
            inner.snapshot = None;
            self.send(Event::Closed(reason));
        }
    }

    /// Ends all connections without anybody leaving: people are coming back.
    pub(super) fn drain(&self) {
        let mut inner = self.lock();
        if inner.life == Life::Open {
            inner.life = Life::Draining;
            self.send(Event::Draining);
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
        self.give_notice(&mut inner, now);
        if inner.publish_at.is_some_and(|at| at <= now) {
            self.publish(&mut inner);
        }
        self.arm(&mut inner);
        inner.is_empty()
    }

    pub(super) fn lose(&self, holder: Option<ParticipantId>, connection: ConnectionId) {
        let now = self.shared.clock.now();
        self.apply(holder, now, |roster, id| roster.lose(id, connection, now));
    }

    pub(super) fn leave(&self, holder: Option<ParticipantId>, connection: ConnectionId) {
        let now = self.shared.clock.now();
        self.apply(holder, now, |roster, id| roster.leave(id, connection));
    }

    /// A connection goes, of a participant or (`None`) of an observer.
    fn apply(
        &self,
        holder: Option<ParticipantId>,
        now: Moment,
        operation: impl FnOnce(&mut Roster, ParticipantId) -> Option<Change>,
    ) {
        let mut inner = self.lock();
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
        for person in inner.roster.iter() {
            census.participants[person.status as usize] += 1;
        }
    }

    /// Notes a change for the next step, and what of it the store has to know.
    fn note(&self, inner: &mut Inner, change: Change, now: Moment) {
        inner.snapshot = None;
        let (id, known, left) = match change {
            Change::Joined(id) => (id, false, None),
            Change::Updated(id) => (id, true, None),
            Change::Left(mark, reason) => {
                self.shared.metrics.leaves(reason.as_str()).inc();
                inner.past_activity = inner.past_activity.max(mark.active());
                if matches!(reason, LeaveReason::Left | LeaveReason::Timeout) {
                    self.shared.ledger.left(&mark, reason);
                }
                (mark.participant(), true, Some(reason))
            }
        };
        inner.pending.entry(id).or_insert(Pending { known, left }).left = left;
        if inner.publish_at.is_none() {
            let large = inner.roster.occupancy() > LARGE;
            let rules = &self.shared.rules;
            let at = now + if large { rules.diff_interval_large } else { rules.diff_interval };
            inner.publish_at = Some(at);
            self.shared.schedule.add(at, self.id);
        }
    }

    /// Tells everybody what changed since the last step.
    fn publish(&self, inner: &mut Inner) {
        inner.publish_at = None;
        let pending = std::mem::take(&mut inner.pending);
        let limit = self.shared.rules.detail_limit;
        let occupancy = inner.roster.occupancy();
        let told = std::mem::replace(&mut inner.told, (occupancy, occupancy));
        let diff = match (told.1 > limit, occupancy > limit) {
            // Also where only a snapshot since the last step went without the list.
            (true, false) => return self.send(Event::Refresh),
            (_, true) if told == (occupancy, occupancy) => return,
            (_, true) => None,
            (false, false) => Some(inner.diff(pending)),
        };
        inner.seq += 1;
        // Its `seq` is part of it.
        inner.snapshot = None;
        self.shared.metrics.diffs.inc();
        self.send(Event::Changed(Arc::new(Changed { seq: inner.seq, occupancy, diff, text: Encoded::default() })));
    }

    fn snapshot_of(&self, inner: &mut Inner) -> Arc<Snapshot> {
        let (roster, seq, limit) = (&inner.roster, inner.seq, self.shared.rules.detail_limit);
        let occupancy = roster.occupancy();
        inner.told = (inner.told.0.min(occupancy), inner.told.1.max(occupancy));
        let make = || {
            let everybody = (occupancy <= limit).then(|| roster.iter().cloned().collect());
            Arc::new(Snapshot { seq, occupancy, everybody, text: Encoded::default() })
        };
        Arc::clone(inner.snapshot.get_or_insert_with(make))
    }

    /// Nobody listening is no error: presence is state, whoever comes gets a snapshot.
    fn send(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// Tells everybody that the session expires, where that is near.
    fn give_notice(&self, inner: &mut Inner, now: Moment) {
        let Notice::Due(at) = inner.notice else { return };
        if at > now {
            return;
        }
        for person in inner.roster.iter() {
            person.mark.watch_activity(true);
        }
        let last = inner.last_activity();
        let due = self.shared.notice_at(last);
        if due > now {
            inner.notice = Notice::Due(due);
        } else {
            let expires_at = last + self.shared.rules.idle_timeout;
            inner.notice = Notice::Given(expires_at);
            self.send(Event::Expiring(expires_at));
        }
    }

    /// Any activity takes the notice back; everybody sees whose it was.
    fn withdraw_notice(&self, inner: &mut Inner, by: ParticipantId, now: Moment) {
        if let Notice::Given(_) = inner.notice {
            inner.notice = Notice::Due(self.shared.notice_at(now));
            self.note(inner, Change::Updated(by), now);
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
        self.roster.occupancy() == 0 && self.observers == 0 && self.reserved == 0
    }

    fn find(&self, who: Who) -> Option<ParticipantId> {
        match who {
            Who::Participant(id) => self.roster.get(id).map(|person| person.id),
            Who::User(user) => self.roster.find_user(user),
            Who::Stranger => None,
        }
    }

    fn last_activity(&self) -> Moment {
        self.roster.iter().map(|person| person.mark.active()).fold(self.past_activity, Moment::max)
    }

    /// Whoever changed several times appears as what it ends as.
    fn diff(&self, pending: IndexMap<ParticipantId, Pending>) -> Diff {
        let mut diff = Diff::default();
        for (id, Pending { known, left }) in pending {
            match (self.roster.get(id), known, left) {
                (Some(person), true, _) => diff.updates.push(Arc::clone(person)),
                (Some(person), false, _) => diff.joins.push(Arc::clone(person)),
                // Also for somebody who came since the last step: a snapshot taken meanwhile has it.
                (None, _, left) => diff.leaves.push((id, left.unwrap_or(LeaveReason::Left))),
            }
        }
        diff
    }
}

impl Shared {
    fn notice_at(&self, last_activity: Moment) -> Moment {
        last_activity + self.rules.idle_timeout.saturating_sub(self.rules.expiring_notice)
    }
}

/// A place promised to somebody whose admission is under way; given back when dropped unfilled.
#[derive(Debug)]
pub struct Place {
    room: Arc<Room>,
    filled: bool,
}

impl Place {
    /// The roster counts the place from here on.
    fn fill(&mut self, inner: &mut Inner) {
        inner.reserved -= 1;
        self.filled = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.filled {
            let now = self.room.shared.clock.now();
            let mut inner = self.room.lock();
            inner.reserved -= 1;
            self.room.arm_if_empty(&inner, now);
        }
    }
}

#[cfg(test)]
mod tests;
