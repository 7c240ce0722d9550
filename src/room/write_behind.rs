//! What was seen since the last flush; the newest value wins.
//!
//! The queue holds [`Liveness`]es and not values, each at most once: a flush reads what is newest when it
//! takes them out, a failed flush queues them again, and memory is bounded by participants, never by
//! beats.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_queue::SegQueue;
use parking_lot::Mutex;

use super::liveness::Liveness;
use super::state::State;
use crate::clock::Moment;
use crate::domain::participant::LeaveReason;
use crate::ids::{InviteId, ParticipantId, SessionId};

/// The participants that the next flush has to write, and the uses of invites that it has to add.
#[derive(Debug, Default)]
pub struct WriteBehind {
    queue: SegQueue<Arc<Liveness>>,
    invite_uses: Mutex<HashMap<InviteId, i32>>,
    failing: AtomicBool,
}

impl WriteBehind {
    /// Notes that something was received from the participant. No lock, no allocation but the queue's own blocks.
    pub fn seen(&self, liveness: &Arc<Liveness>, now: Moment) {
        liveness.set_seen(now);
        self.enqueue(liveness);
    }

    /// Notes that the participant was seen and did something.
    pub fn active(&self, liveness: &Arc<Liveness>, now: Moment) {
        liveness.set_active(now);
        self.seen(liveness, now);
    }

    /// Notes that the participant is gone. One that comes back gets a liveness of its own.
    pub fn left(&self, liveness: &Arc<Liveness>, reason: LeaveReason) {
        liveness.set_left(reason);
        self.enqueue(liveness);
    }

    /// Notes a new public state.
    pub fn state(&self, liveness: &Arc<Liveness>, state: State) {
        liveness.set_state(state);
        self.enqueue(liveness);
    }

    /// Counts a use of an invite that has no limit of uses.
    pub fn invite_used(&self, invite: InviteId, uses: i32) {
        *self.invite_uses.lock().entry(invite).or_default() += uses;
    }

    /// How many participants wait to be written.
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

    fn enqueue(&self, liveness: &Arc<Liveness>) {
        if liveness.enter_queue() {
            self.queue.push(Arc::clone(liveness));
        }
    }

    /// Everything that waits to be written, in chunks of at most `chunk_rows`, sorted by participant:
    /// those who left or have a new state apart from those who were only seen, which cost less to write.
    ///
    /// Two rows of one participant (gone and come back as a newcomer between two flushes) become the
    /// newer one.
    pub fn take(self: &Arc<Self>, chunk_rows: usize) -> Vec<Chunk> {
        // Bounded by what stands in the queue now, so that beats that come meanwhile do not prolong it.
        let mut rows: Vec<Row> = (0..self.queue.len()).map_while(|_| self.queue.pop()).map(Row::read).collect();
        rows.sort_by(|a, b| {
            (a.participant(), b.seen, a.left.is_some()).cmp(&(b.participant(), a.seen, b.left.is_some()))
        });
        rows.dedup_by_key(|row| row.participant());

        let (changes, beats): (Vec<_>, Vec<_>) = rows.into_iter().partition(Row::is_change);
        let mut chunks = Vec::new();
        for mut rows in [changes, beats] {
            while !rows.is_empty() {
                let rest = rows.split_off(rows.len().min(chunk_rows));
                chunks.push(Chunk { write_behind: Arc::clone(self), rows: std::mem::replace(&mut rows, rest) });
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
    liveness: Arc<Liveness>,
    /// When it was last seen.
    pub seen: Moment,
    /// When it last did something.
    pub active: Moment,
    /// Why it is gone; `None` while it is present.
    pub left: Option<LeaveReason>,
    /// Its new public state, where that changed.
    pub state: Option<State>,
}

impl Row {
    fn read(liveness: Arc<Liveness>) -> Self {
        let (left, state) = liveness.take();
        Self { seen: liveness.seen(), active: liveness.active(), left, state, liveness }
    }

    /// Whether there is more to write than that it was seen.
    pub fn is_change(&self) -> bool {
        self.left.is_some() || self.state.is_some()
    }

    /// The participant.
    pub fn participant(&self) -> ParticipantId {
        self.liveness.participant()
    }

    /// The session it belongs to.
    pub fn session(&self) -> SessionId {
        self.liveness.session()
    }
}

/// Rows of one statement. Dropped before [`Chunk::written`] (the statement failed, timed out, or the
/// task that ran it died), they go back into the queue: nothing is lost.
#[derive(Debug)]
#[must_use = "a chunk that is dropped goes back into the queue"]
pub struct Chunk {
    write_behind: Arc<WriteBehind>,
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
                row.liveness.restore_state(state);
            }
            self.write_behind.enqueue(&row.liveness);
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

    fn liveness(at: u64) -> Arc<Liveness> {
        let at = Moment::from_millis(at);
        Liveness::new(ParticipantId::new(), SessionId::new(), at, at)
    }

    fn rows(write_behind: &Arc<WriteBehind>) -> Vec<(ParticipantId, u64)> {
        let mut rows = Vec::new();
        for chunk in write_behind.take(10) {
            rows.extend(chunk.rows().iter().map(|row| (row.participant(), row.seen.as_millis())));
            chunk.written();
        }
        rows
    }

    #[test]
    fn many_beats_are_one_row_with_the_newest_time() {
        let write_behind = Arc::new(WriteBehind::default());
        let liveness = liveness(1);
        for at in 2..100 {
            write_behind.seen(&liveness, Moment::from_millis(at));
        }
        assert_eq!(write_behind.backlog(), 1);
        assert_eq!(rows(&write_behind), [(liveness.participant(), 99)]);
        assert_eq!(write_behind.backlog(), 0);
        assert_eq!(rows(&write_behind), []);
    }

    #[test]
    fn a_chunk_that_was_not_written_comes_back_with_what_is_newest_then() {
        let write_behind = Arc::new(WriteBehind::default());
        let liveness = liveness(1);
        write_behind.state(&liveness, state(1));
        drop(write_behind.take(10));
        assert_eq!(write_behind.backlog(), 1);

        write_behind.seen(&liveness, Moment::from_millis(7));
        let chunk = write_behind.take(10).pop().expect("the row that failed");
        assert_eq!(chunk.rows()[0].seen, Moment::from_millis(7));
        assert_eq!(chunk.rows()[0].state.as_deref().map(RawValue::get), Some("{\"page\":1}"));

        write_behind.state(&liveness, state(2));
        drop(chunk);
        let chunk = write_behind.take(10).pop().expect("the row that failed again");
        assert_eq!(chunk.rows()[0].state.as_deref().map(RawValue::get), Some("{\"page\":2}"), "the newer state wins");
        chunk.written();
        assert_eq!(write_behind.backlog(), 0);
    }

    #[test]
    fn a_beat_while_a_chunk_is_on_its_way_is_written_by_the_next_one() {
        let write_behind = Arc::new(WriteBehind::default());
        let liveness = liveness(1);
        write_behind.seen(&liveness, Moment::from_millis(2));
        let chunk = write_behind.take(10).pop().expect("a row");
        write_behind.seen(&liveness, Moment::from_millis(3));
        chunk.written();
        assert_eq!(rows(&write_behind), [(liveness.participant(), 3)]);
    }

    #[test]
    fn chunks_are_sorted_and_bounded_and_hold_everybody_once() {
        let write_behind = Arc::new(WriteBehind::default());
        let people: Vec<_> = (0..25).map(|_| liveness(1)).collect();
        for liveness in people.iter().rev() {
            write_behind.seen(liveness, Moment::from_millis(2));
        }
        let chunks = write_behind.take(10);
        assert_eq!(chunks.iter().map(|chunk| chunk.rows().len()).collect::<Vec<_>>(), [10, 10, 5]);
        let ids: Vec<_> = chunks.iter().flat_map(Chunk::rows).map(Row::participant).collect();
        assert!(ids.is_sorted());
        assert_eq!(ids.len(), people.len());
        chunks.into_iter().for_each(Chunk::written);
    }

    #[test]
    fn who_left_or_shows_a_new_state_is_in_chunks_of_their_own() {
        let write_behind = Arc::new(WriteBehind::default());
        let people: Vec<_> = (0..4).map(|_| liveness(1)).collect();
        for liveness in &people {
            write_behind.seen(liveness, Moment::from_millis(2));
        }
        write_behind.left(&people[2], LeaveReason::Left);
        write_behind.state(&people[1], state(1));
        let chunks = write_behind.take(10);
        let ids = |chunk: &Chunk| chunk.rows().iter().map(Row::participant).collect::<Vec<_>>();
        assert_eq!(ids(&chunks[0]), [people[1].participant(), people[2].participant()]);
        assert_eq!(ids(&chunks[1]), [people[0].participant(), people[3].participant()]);
        assert_eq!(chunks.len(), 2);
        chunks.into_iter().for_each(Chunk::written);
    }

    #[test]
    fn somebody_who_left_and_came_back_as_a_newcomer_is_present() {
        let write_behind = Arc::new(WriteBehind::default());
        let gone = liveness(1);
        write_behind.left(&gone, LeaveReason::Left);
        let at = Moment::from_millis(1);
        let back = Liveness::new(gone.participant(), gone.session(), at, at);
        write_behind.seen(&back, at);
        let chunk = write_behind.take(10).pop().expect("a row");
        assert_eq!(chunk.rows().len(), 1);
        assert_eq!(chunk.rows()[0].left, None);
        chunk.written();
    }

    #[test]
    fn uses_of_an_invite_add_up_and_can_be_given_back() {
        let write_behind = WriteBehind::default();
        let invite = InviteId::new();
        write_behind.invite_used(invite, 1);
        write_behind.invite_used(invite, 1);
        let taken = write_behind.take_invite_uses();
        assert_eq!(taken.get(&invite), Some(&2));
        assert!(write_behind.take_invite_uses().is_empty());
        write_behind.invite_used(invite, taken[&invite]);
        assert_eq!(write_behind.take_invite_uses().get(&invite), Some(&2));
    }

    #[test]
    fn concurrent_beats_and_takes_lose_no_newest_value() {
        const BEATS: u64 = 20_000;
        let write_behind = Arc::new(WriteBehind::default());
        let liveness = liveness(0);
        let mut newest = 0;
        std::thread::scope(|scope| {
            let beats = scope.spawn(|| {
                for at in 1..=BEATS {
                    write_behind.seen(&liveness, Moment::from_millis(at));
                }
            });
            while !beats.is_finished() {
                newest = rows(&write_behind).last().map_or(newest, |row| row.1);
            }
        });
        newest = rows(&write_behind).last().map_or(newest, |row| row.1);
        assert_eq!(newest, BEATS);
    }
}
