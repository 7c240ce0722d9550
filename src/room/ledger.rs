//! What was seen since the last flush; the newest wins.
//!
//! Every participant has one [`Mark`]: a handful of atomics that the beats of its connections store
//! to, and a place in the ledger's queue that it takes at most once between two flushes. The queue
//! holds marks, not values: a flush reads what is newest when it comes by, a failed flush just queues
//! the mark again, and memory is bounded by participants, never by beats.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_queue::SegQueue;
use parking_lot::Mutex;

use super::participant::{LeaveReason, State};
use crate::clock::Moment;
use crate::ids::{InviteId, ParticipantId, SessionId};

/// What is known of one participant beyond what others are shown: when it was last seen and active,
/// and what of that the database has not heard yet.
#[derive(Debug)]
pub struct Mark {
    participant: ParticipantId,
    session: SessionId,
    seen: AtomicU64,
    active: AtomicU64,
    /// Somebody waits to hear of the next activity; see [`Mark::watch_activity`].
    watched: AtomicBool,
    /// Whether the mark stands in the ledger's queue.
    queued: AtomicBool,
    /// What changes seldom.
    unwritten: Mutex<Unwritten>,
}

#[derive(Debug, Default)]
struct Unwritten {
    left: Option<LeaveReason>,
    state: Option<State>,
}

impl Mark {
    /// The mark of a participant that was just seen. It is in no ledger yet.
    pub fn new(participant: ParticipantId, session: SessionId, seen: Moment, active: Moment) -> Arc<Self> {
        Arc::new(Self {
            participant,
            session,
            seen: AtomicU64::new(seen.as_millis()),
            active: AtomicU64::new(active.as_millis()),
            watched: AtomicBool::new(false),
            queued: AtomicBool::new(false),
            unwritten: Mutex::default(),
        })
    }

    /// Whose mark this is.
    pub fn participant(&self) -> ParticipantId {
        self.participant
    }

    /// When a connection of the participant was last heard.
    pub fn seen(&self) -> Moment {
        Moment::from_millis(self.seen.load(Ordering::Relaxed))
    }

    /// When the person last did something.
    pub fn active(&self) -> Moment {
        Moment::from_millis(self.active.load(Ordering::SeqCst))
    }

    /// Asks that the next activity be told to the room: the person is shown as idle, or the room is
    /// about to expire. Beats need no lock as long as nobody watches.
    ///
    /// One side stores `watched` and then loads `active`, the other stores `active` and then loads
    /// `watched`; sequential consistency keeps them from both missing the other.
    pub(super) fn watch_activity(&self, watch: bool) {
        self.watched.store(watch, Ordering::SeqCst);
    }

    pub(super) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::SeqCst)
    }
}

/// The marks that the next flush has to write, and the uses of invites that it has to add.
#[derive(Debug, Default)]
pub struct Ledger {
    queue: SegQueue<Arc<Mark>>,
    invite_uses: Mutex<HashMap<InviteId, i32>>,
    failing: AtomicBool,
}

impl Ledger {
    /// Notes that the participant was heard. No lock, no allocation but the queue's own blocks.
    pub fn seen(&self, mark: &Arc<Mark>, now: Moment) {
        mark.seen.store(now.as_millis(), Ordering::Relaxed);
        self.enqueue(mark);
    }

    /// Notes that the participant was heard and did something.
    pub fn active(&self, mark: &Arc<Mark>, now: Moment) {
        mark.active.store(now.as_millis(), Ordering::SeqCst);
        self.seen(mark, now);
    }

    /// Notes that the participant is gone. Whoever comes back gets a mark of its own.
    pub fn left(&self, mark: &Arc<Mark>, reason: LeaveReason) {
        mark.unwritten.lock().left = Some(reason);
        self.enqueue(mark);
    }

    /// Notes a new public state.
    pub fn state(&self, mark: &Arc<Mark>, state: State) {
        mark.unwritten.lock().state = Some(state);
        self.enqueue(mark);
    }

    /// Counts a use of an invite that has no limit of uses.
    pub fn invite_used(&self, invite: InviteId, uses: i32) {
        *self.invite_uses.lock().entry(invite).or_default() += uses;
    }

    /// How many marks wait to be written.
    pub fn backlog(&self) -> usize {
        self.queue.len()
    }

    /// Whether the last attempt to write failed.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Notes how an attempt to write ended.
    pub fn set_failing(&self, failing: bool) {
        self.failing.store(failing, Ordering::Relaxed);
    }

    /// A value stored before this swap is read after the swap that clears `queued`: either the mark
    /// stands in the queue and the flush that takes it out reads the value, or it is queued here.
    fn enqueue(&self, mark: &Arc<Mark>) {
        if !mark.queued.swap(true, Ordering::AcqRel) {
            self.queue.push(Arc::clone(mark));
        }
    }

    /// Everything that waits to be written, in chunks of at most `chunk_rows`, sorted by participant:
    /// those who left or show a new state apart from those who were only heard, who are written for less.
    ///
    /// Two marks of one participant (gone and come back as a newcomer between two flushes) become
    /// the newer one.
    pub fn take(self: &Arc<Self>, chunk_rows: usize) -> Vec<Chunk> {
        // Bounded by what stands in the queue now, so that beats that come meanwhile cannot keep us.
        let mut rows: Vec<Row> = (0..self.queue.len())
            .map_while(|_| self.queue.pop())
            .map(|mark| {
                mark.queued.swap(false, Ordering::AcqRel);
                Row::read(mark)
            })
            .collect();
        rows.sort_by(|a, b| {
            (a.mark.participant, b.seen, a.left.is_some()).cmp(&(b.mark.participant, a.seen, b.left.is_some()))
        });
        rows.dedup_by_key(|row| row.mark.participant);

        let (changes, beats): (Vec<_>, Vec<_>) = rows.into_iter().partition(Row::is_change);
        let mut chunks = Vec::new();
        for mut rows in [changes, beats] {
            while !rows.is_empty() {
                let rest = rows.split_off(rows.len().min(chunk_rows));
                chunks.push(Chunk { ledger: Arc::clone(self), rows: std::mem::replace(&mut rows, rest) });
            }
        }
        chunks
    }

    /// The uses of invites that wait to be added, taken out.
    pub fn take_invite_uses(&self) -> HashMap<InviteId, i32> {
        std::mem::take(&mut self.invite_uses.lock())
    }
}

/// One participant as the flush writes it.
#[derive(Debug)]
pub struct Row {
    mark: Arc<Mark>,
    /// When it was last heard.
    pub seen: Moment,
    /// When it last did something.
    pub active: Moment,
    /// Why it is gone; `None` while it is present.
    pub left: Option<LeaveReason>,
    /// Its new public state (JSON), where that changed.
    pub state: Option<State>,
}

impl Row {
    fn read(mark: Arc<Mark>) -> Self {
        let (left, state) = {
            let mut unwritten = mark.unwritten.lock();
            (unwritten.left, unwritten.state.take())
        };
        Self { seen: mark.seen(), active: mark.active(), left, state, mark }
    }

    /// Whether there is more to write than that it was heard.
    pub fn is_change(&self) -> bool {
        self.left.is_some() || self.state.is_some()
    }

    /// Whose row this is.
    pub fn participant(&self) -> ParticipantId {
        self.mark.participant
    }

    /// The session it belongs to.
    pub fn session(&self) -> SessionId {
        self.mark.session
    }
}

/// Rows of one statement. Dropped before [`Chunk::written`] (the statement failed, timed out, or the
/// task that ran it died), they go back into the ledger: nothing is lost.
#[derive(Debug)]
#[must_use = "a chunk that is dropped goes back into the ledger"]
pub struct Chunk {
    ledger: Arc<Ledger>,
    rows: Vec<Row>,
}

impl Chunk {
    /// The rows, sorted by participant, each participant once.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The database has them.
    pub fn written(mut self) {
        self.rows.clear();
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        for row in self.rows.drain(..) {
            if let Some(state) = row.state {
                row.mark.unwritten.lock().state.get_or_insert(state);
            }
            self.ledger.enqueue(&row.mark);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn state(page: u8) -> State {
        let json = RawValue::from_string(format!("{{\"page\":{page}}}")).expect("valid JSON");
        State::from(json)
    }

    fn mark(at: u64) -> Arc<Mark> {
        let at = Moment::from_millis(at);
        Mark::new(ParticipantId::new(), SessionId::new(), at, at)
    }

    fn rows(ledger: &Arc<Ledger>) -> Vec<(ParticipantId, u64)> {
        let mut rows = Vec::new();
        for chunk in ledger.take(10) {
            rows.extend(chunk.rows().iter().map(|row| (row.participant(), row.seen.as_millis())));
            chunk.written();
        }
        rows
    }

    #[test]
    fn many_beats_are_one_row_with_the_newest_time() {
        let ledger = Arc::new(Ledger::default());
        let mark = mark(1);
        for at in 2..100 {
            ledger.seen(&mark, Moment::from_millis(at));
        }
        assert_eq!(ledger.backlog(), 1);
        assert_eq!(rows(&ledger), [(mark.participant, 99)]);
        assert_eq!(ledger.backlog(), 0);
        assert_eq!(rows(&ledger), []);
    }

    #[test]
    fn a_chunk_that_was_not_written_comes_back_with_what_is_newest_then() {
        let ledger = Arc::new(Ledger::default());
        let mark = mark(1);
        ledger.state(&mark, state(1));
        drop(ledger.take(10));
        assert_eq!(ledger.backlog(), 1);

        ledger.seen(&mark, Moment::from_millis(7));
        let chunk = ledger.take(10).pop().expect("the row that failed");
        assert_eq!(chunk.rows()[0].seen, Moment::from_millis(7));
        assert_eq!(chunk.rows()[0].state.as_deref().map(RawValue::get), Some("{\"page\":1}"));

        ledger.state(&mark, state(2));
        drop(chunk);
        let chunk = ledger.take(10).pop().expect("the row that failed again");
        assert_eq!(chunk.rows()[0].state.as_deref().map(RawValue::get), Some("{\"page\":2}"), "the newer state wins");
        chunk.written();
        assert_eq!(ledger.backlog(), 0);
    }

    #[test]
    fn a_beat_while_a_chunk_is_on_its_way_is_written_by_the_next_one() {
        let ledger = Arc::new(Ledger::default());
        let mark = mark(1);
        ledger.seen(&mark, Moment::from_millis(2));
        let chunk = ledger.take(10).pop().expect("a row");
        ledger.seen(&mark, Moment::from_millis(3));
        chunk.written();
        assert_eq!(rows(&ledger), [(mark.participant, 3)]);
    }

    #[test]
    fn chunks_are_sorted_and_bounded_and_hold_everybody_once() {
        let ledger = Arc::new(Ledger::default());
        let marks: Vec<_> = (0..25).map(|_| mark(1)).collect();
        for mark in marks.iter().rev() {
            ledger.seen(mark, Moment::from_millis(2));
        }
        let chunks = ledger.take(10);
        assert_eq!(chunks.iter().map(|chunk| chunk.rows().len()).collect::<Vec<_>>(), [10, 10, 5]);
        let ids: Vec<_> = chunks.iter().flat_map(Chunk::rows).map(Row::participant).collect();
        assert!(ids.is_sorted());
        assert_eq!(ids.len(), marks.len());
        chunks.into_iter().for_each(Chunk::written);
    }

    #[test]
    fn who_left_or_shows_a_new_state_is_in_chunks_of_their_own() {
        let ledger = Arc::new(Ledger::default());
        let marks: Vec<_> = (0..4).map(|_| mark(1)).collect();
        for mark in &marks {
            ledger.seen(mark, Moment::from_millis(2));
        }
        ledger.left(&marks[2], LeaveReason::Left);
        ledger.state(&marks[1], state(1));
        let chunks = ledger.take(10);
        let ids = |chunk: &Chunk| chunk.rows().iter().map(Row::participant).collect::<Vec<_>>();
        assert_eq!(ids(&chunks[0]), [marks[1].participant, marks[2].participant]);
        assert_eq!(ids(&chunks[1]), [marks[0].participant, marks[3].participant]);
        assert_eq!(chunks.len(), 2);
        chunks.into_iter().for_each(Chunk::written);
    }

    #[test]
    fn somebody_who_left_and_came_back_as_a_newcomer_is_present() {
        let ledger = Arc::new(Ledger::default());
        let gone = mark(1);
        ledger.left(&gone, LeaveReason::Left);
        let at = Moment::from_millis(1);
        let back = Mark::new(gone.participant, gone.session, at, at);
        ledger.seen(&back, at);
        let chunk = ledger.take(10).pop().expect("a row");
        assert_eq!(chunk.rows().len(), 1);
        assert_eq!(chunk.rows()[0].left, None);
        chunk.written();
    }

    #[test]
    fn uses_of_an_invite_add_up_and_can_be_given_back() {
        let ledger = Ledger::default();
        let invite = InviteId::new();
        ledger.invite_used(invite, 1);
        ledger.invite_used(invite, 1);
        let taken = ledger.take_invite_uses();
        assert_eq!(taken.get(&invite), Some(&2));
        assert!(ledger.take_invite_uses().is_empty());
        ledger.invite_used(invite, taken[&invite]);
        assert_eq!(ledger.take_invite_uses().get(&invite), Some(&2));
    }

    #[test]
    fn concurrent_beats_and_takes_lose_no_newest_value() {
        const BEATS: u64 = 20_000;
        let ledger = Arc::new(Ledger::default());
        let mark = mark(0);
        let mut newest = 0;
        std::thread::scope(|scope| {
            let beats = scope.spawn(|| {
                for at in 1..=BEATS {
                    ledger.seen(&mark, Moment::from_millis(at));
                }
            });
            while !beats.is_finished() {
                newest = rows(&ledger).last().map_or(newest, |row| row.1);
            }
        });
        newest = rows(&ledger).last().map_or(newest, |row| row.1);
        assert_eq!(newest, BEATS);
    }
}
