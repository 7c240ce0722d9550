//! A room: one lock around a roster, the changes that were not published yet, and the subscribers.
//!
//! Changes are gathered until the room's tick and then published as one diff. A diff gets its number and
//! its place among the events under the lock, and so does every snapshot: between a snapshot and the diffs
//! after it there is never a hole.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::census::Census;
use super::error::{Gone, JoinError};
use super::event::Event;
use super::expiry::Expiry;
use super::liveness::Liveness;
use super::notice::Notice;
use super::participant::Participant;
use super::publisher::{Publication, Publisher};
use super::roster::{Change, Entrant, Roster};
use super::rules::Rules;
use super::shared::Shared;
use super::snapshot::{CaughtUp, Snapshot};
use super::subscribers::Subscribers;
use super::write_behind::WriteBehind;
use crate::clock::Moment;
use crate::domain::idle::IdleCounts;
use crate::domain::ids::{ConnectionId, ParticipantId, SessionId};
use crate::domain::participant::LeaveReason;
use crate::domain::reading_session::{CloseReason, ReadingSession};

/// The live side of one reading session.
#[derive(Debug)]
pub struct Room {
    id: SessionId,
    pub(super) shared: Arc<Shared>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) session: Arc<ReadingSession>,
    /// Whether the session was changed since the room was opened.
    revised: bool,
    pub(super) life: Life,
    pub(super) roster: Roster,
    pub(super) subscribers: Subscribers,
    pub(super) publisher: Publisher,
    pub(super) expiry: Expiry,
    /// Places promised to people on the way.
    pub(super) reserved: usize,
    /// WebSockets of the service.
    pub(super) observers: usize,
    /// Streams of Server-Sent Events.
    pub(super) watchers: usize,
    /// The deadline of the roster and the expiry that was put into the schedule.
    wake_at: Option<Moment>,
    /// For how long the process had not run in all, at the last tick.
    stalled: Duration,
    /// The notice of each kind that was over last, for a subscriber that missed its end.
    pub(super) over: Vec<Notice>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Life {
    Open,
    /// It is empty and leaves memory.
    Retired,
    Closed(CloseReason),
    Draining,
}

impl Room {
    pub(super) fn new(session: ReadingSession, shared: Arc<Shared>) -> Self {
        let last = shared.rules.idle.counts.of(session.last_seen_at, session.last_activity_at);
        let inner = Inner {
            life: Life::Open,
            roster: Roster::new(shared.rules.timings),
            subscribers: Subscribers::default(),
            publisher: Publisher::default(),
            expiry: Expiry::new(&shared.rules, shared.clock.moment(last)),
            reserved: 0,
            observers: 0,
            watchers: 0,
            wake_at: None,
            stalled: shared.clock.stalled(),
            over: Vec::new(),
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

    /// Whether it takes people in.
    pub fn is_open(&self) -> bool {
        self.lock().check_open().is_ok()
    }

    /// Where the room notes what has to be written.
    pub fn write_behind(&self) -> &WriteBehind {
        &self.shared.write_behind
    }

    pub(super) fn lock(&self) -> Locked<'_> {
        Locked(self.inner.lock())
    }

    /// Puts a person back whom the last run of this server left in the room.
    pub fn restore(&self, entrant: Entrant, last_seen: Moment) {
        let mut inner = self.lock();
        if inner.check_open().is_err() || inner.roster.get(entrant.id).is_some() {
            return;
        }
        let liveness = Liveness::new(entrant.id, self.id, last_seen, last_seen);
        liveness.confirm();
        let now = self.shared.clock.now();
        let change = inner.roster.restore(entrant, liveness, now);
        self.note(&mut inner, change, now);
        self.arm(&mut inner);
    }

    /// The presence as it is now.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot_of(&mut self.lock())
    }

    /// All that a subscriber needs that fell behind or asks for it.
    ///
    /// # Errors
    /// [`Gone`] where its place is void: the end is among what it missed.
    pub(super) fn catch_up(&self, holder: Option<ParticipantId>, connection: ConnectionId) -> Result<CaughtUp, Gone> {
        let mut inner = self.lock();
        match inner.life {
            Life::Closed(reason) => return Err(Gone::Closed(reason)),
            Life::Draining => return Err(Gone::Draining),
            Life::Open | Life::Retired => {}
        }
        let own = holder.map(|id| inner.roster.get(id).cloned().ok_or(Gone::Removed)).transpose()?;
        Ok(CaughtUp {
            events: inner.subscribers.queued_for(connection),
            snapshot: self.snapshot_of(&mut inner),
            own,
            session: inner.revised.then(|| Arc::clone(&inner.session)),
            expires_at: inner.expiry.announced(),
            notices: self.notices(&inner),
        })
    }

    /// One person as the others see it.
    pub fn participant(&self, id: ParticipantId) -> Option<Arc<Participant>> {
        self.lock().roster.get(id).cloned()
    }

    /// The number of the last diff, and the people who are here, in no order.
    pub fn presence(&self) -> (u64, Vec<Arc<Participant>>) {
        let inner = self.lock();
        (inner.publisher.seq(), inner.roster.iter().cloned().collect())
    }

    /// How many people are here.
    pub fn occupancy(&self) -> usize {
        self.lock().roster.occupancy()
    }

    /// When any of the people who are here was last seen, and last active.
    pub fn last_signs(&self) -> Option<(Moment, Moment)> {
        let inner = self.lock();
        let seen = inner.roster.iter().map(|person| person.liveness.seen()).max()?;
        let active = inner.roster.iter().map(|person| person.liveness.active()).max()?;
        Some((seen, active))
    }

    /// The stored session was changed by its host: this is the session now.
    pub fn revise(&self, session: ReadingSession) {
        let session = Arc::new(session);
        let mut inner = self.lock();
        (inner.session, inner.revised) = (Arc::clone(&session), true);
        inner.subscribers.queue(Event::Session(session));
    }

    /// Removes a participant. Its connections end, also those of one that is not here and only reads events.
    /// Whether it was here.
    pub fn remove(&self, id: ParticipantId) -> bool {
        let now = self.shared.clock.now();
        let mut inner = self.lock();
        let change = inner.roster.remove(id, LeaveReason::Removed);
        let was_here = change.is_some();
        if let Some(change) = change {
            self.note(&mut inner, change, now);
        }
        inner.subscribers.queue(Event::Removed(id));
        self.arm(&mut inner);
        was_here
    }

    /// Ends the room and all its connections.
    pub(super) fn close(&self, reason: CloseReason) {
        let mut inner = self.lock();
        if inner.life == Life::Open {
            inner.life = Life::Closed(reason);
            self.shared.metrics.left(LeaveReason::Closed, inner.roster.occupancy());
            inner.roster = Roster::new(self.shared.rules.timings);
            inner.publisher.clear_people();
            inner.subscribers.queue(Event::Closed(reason));
        }
    }

    /// Ends all connections without a leave: people are coming back.
    pub(super) fn drain(&self) {
        let mut inner = self.lock();
        if inner.life == Life::Open {
            inner.life = Life::Draining;
            inner.subscribers.queue(Event::Draining);
        }
    }

    /// Whether the room is empty and nobody is on the way; from then on it takes no people in.
    pub(super) fn retire(&self) -> bool {
        let mut inner = self.lock();
        let retires = inner.is_empty() && inner.life == Life::Open;
        if retires {
            inner.life = Life::Retired;
        }
        retires
    }

    /// Does what the passing of time asks for: ends graces, shows people idle, announces that the session
    /// expires, publishes what changed. Whether the room is empty and may leave memory.
    pub fn tick(&self, now: Moment) -> bool {
        let mut inner = self.lock();
        if inner.life != Life::Open {
            return false;
        }
        if inner.wake_at.is_some_and(|at| at <= now) {
            inner.wake_at = None;
        }
        let stalled = self.shared.clock.stalled();
        if stalled > inner.stalled {
            let added = stalled - std::mem::replace(&mut inner.stalled, stalled);
            inner.roster.give_time(added, now);
        }
        for change in inner.roster.expire(now) {
            self.note(&mut inner, change, now);
        }
        self.end_notices(&mut inner, now);
        if inner.may_expire(&self.shared.rules) {
            let Inner { expiry, roster, subscribers, .. } = &mut *inner;
            if let Some(expires_at) = expiry.check(roster, &self.shared.rules, now) {
                subscribers.queue(Event::Expiring(expires_at));
            }
        }
        if inner.publisher.is_due(now) {
            self.publish(&mut inner);
        }
        self.arm(&mut inner);
        inner.is_empty()
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

    /// Notes a change of the roster for the next diff, and what of it has to be stored.
    pub(super) fn note(&self, inner: &mut Inner, change: Change, now: Moment) {
        inner.publisher.note(&change, &inner.roster);
        if let Change::Left(person, reason) = change {
            self.shared.metrics.left(reason, 1);
            inner.expiry.note_departure(&self.shared.rules, &person.liveness);
            // A removal and a close are written where they are decided.
            if matches!(reason, LeaveReason::Left | LeaveReason::Timeout) {
                self.shared.write_behind.left(&person.liveness, reason, person.state.clone());
            }
        }
        self.publish_later(inner, now);
    }

    fn publish_later(&self, inner: &mut Inner, now: Moment) {
        if let Some(at) = inner.publisher.plan(&inner.roster, &self.shared.rules, now) {
            self.shared.schedule.add(at, self.id);
        }
    }

    fn publish(&self, inner: &mut Inner) {
        match inner.publisher.publish(&inner.roster, self.shared.rules.detail_limit) {
            Publication::Nothing => {}
            Publication::Refresh => inner.subscribers.queue(Event::Refresh),
            Publication::Diff(diff) => {
                self.shared.metrics.diff_published();
                inner.subscribers.queue(Event::Diff(Arc::new(diff)));
            }
        }
    }

    pub(super) fn snapshot_of(&self, inner: &mut Inner) -> Snapshot {
        let snapshot = inner.publisher.snapshot(&inner.roster, self.shared.rules.detail_limit);
        if snapshot.people.is_some() {
            self.publish_later(inner, self.shared.clock.now());
        }
        snapshot
    }

    /// A person came, or is active: the session does not expire soon. All see whose sign it was.
    pub(super) fn withdraw_expiry(&self, inner: &mut Inner, by: ParticipantId, now: Moment) {
        if inner.expiry.withdraw(&self.shared.rules, now) {
            self.note(inner, Change::Updated(by), now);
        }
    }

    /// Puts the next deadline of the room into the schedule.
    pub(super) fn arm(&self, inner: &mut Inner) {
        let expiry = inner.expiry.next_check().filter(|_| inner.may_expire(&self.shared.rules));
        let deadlines = [inner.roster.next_deadline(), expiry];
        let Some(next) = deadlines.into_iter().flatten().min() else { return };
        if inner.wake_at.is_none_or(|at| next < at) {
            inner.wake_at = Some(next);
            self.shared.schedule.add(next, self.id);
        }
    }

    /// Sees to it that the room is ticked now where it may leave memory.
    pub(super) fn arm_if_empty(&self, inner: &Inner) {
        if inner.is_empty() {
            self.shared.schedule.add(self.shared.clock.now(), self.id);
        }
    }
}

impl Inner {
    pub(super) fn check_open(&self) -> Result<(), JoinError> {
        match self.life {
            Life::Open => Ok(()),
            Life::Retired => Err(JoinError::Retired),
            Life::Closed(reason) => Err(JoinError::Closed(reason)),
            Life::Draining => Err(JoinError::Draining),
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.life == Life::Draining
    }

    /// Whether the people who are here take all places.
    pub(super) fn is_full(&self) -> bool {
        self.roster.occupancy() >= self.session.max_participants
    }

    pub(super) fn check_place(&self) -> Result<(), JoinError> {
        if self.is_full() {
            Err(JoinError::Full)
        } else if self.roster.occupancy() + self.reserved >= self.session.max_participants {
            Err(JoinError::Promised)
        } else {
            Ok(())
        }
    }

    /// Whether a subscriber may have to be told that the session expires: where being seen keeps it open, only
    /// those who follow a room without people.
    fn may_expire(&self, rules: &Rules) -> bool {
        match rules.idle.counts {
            IdleCounts::Activity => true,
            IdleCounts::Seen => self.roster.occupancy() == 0 && self.observers + self.watchers > 0,
        }
    }

    fn is_empty(&self) -> bool {
        self.roster.occupancy() == 0 && self.observers == 0 && self.watchers == 0 && self.reserved == 0
    }
}

/// The room's lock. Giving it back delivers the events that were queued under it.
pub(super) struct Locked<'a>(MutexGuard<'a, Inner>);

impl Deref for Locked<'_> {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Inner {
        &mut self.0
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        while let Some(delivery) = self.0.subscribers.next_delivery() {
            MutexGuard::unlocked(&mut self.0, || delivery.run());
            self.0.subscribers.delivered();
        }
    }
}
