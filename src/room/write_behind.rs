//! What was seen since the last flush; the newest value wins.
//!
//! The queue holds [`Liveness`]es and not values, each at most once: a flush reads what is newest when it
//! takes them out, a failed flush queues them again, and memory is bounded by participants, never by
//! beats.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_queue::SegQueue;
use dashmap::DashMap;
use parking_lot::Mutex;

use super::liveness::Liveness;
use super::state::State;
use crate::clock::Moment;
use crate::domain::ids::{InviteId, ParticipantId, SessionId};
use crate::domain::participant::LeaveReason;

/// How long it is known after its leave was written what a participant showed last: longer than an admission
/// that asked the store before.
const DEPARTED_FOR: Duration = Duration::from_secs(10);

/// The participants that the next flush has to write, and the uses of invites that it has to add.
#[derive(Debug, Default)]
pub struct WriteBehind {
    queue: SegQueue<Arc<Liveness>>,
    /// Those who left, until the database has it and no admission is under way that has read it before.
    departed: DashMap<ParticipantId, Departed>,
    invite_uses: Mutex<HashMap<InviteId, i32>>,
    failing: AtomicBool,
}

/// A participant who left.
#[derive(Debug)]
struct Departed {
    liveness: Arc<Liveness>,
    state: State,
    written_at: Option<Instant>,
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

    /// Notes that the participant is gone, and what it showed. One that comes back gets a liveness of its own.
    pub fn left(&self, liveness: &Arc<Liveness>, reason: LeaveReason, state: State) {
        liveness.set_left(reason);
        let departed = Departed { liveness: Arc::clone(liveness), state, written_at: None };
        self.departed.insert(liveness.participant(), departed);
        self.enqueue(liveness);
    }

    /// What a participant showed when it left, where that may be newer than what the store answered to a request
    /// that was sent at `asked`.
    pub fn departed_state(&self, participant: ParticipantId, asked: Instant) -> Option<State> {
        let departed = self.departed.get(&participant)?;
        departed.written_at.is_none_or(|written| written >= asked).then(|| departed.state.clone())
    }

    /// A participant who had left is back, with this liveness. The state that was not written yet, where there is
    /// one, is now to be written with it.
    pub(super) fn came_back(&self, liveness: &Arc<Liveness>) -> Option<State> {
        let (_, departed) = self.departed.remove(&liveness.participant())?;
        let (state, shown) = departed.liveness.unwritten_state()?;
        self.state(liveness, state.clone(), shown);
        Some(state)
    }

    /// Notes a new public state, which is shown since then.
    pub fn state(&self, liveness: &Arc<Liveness>, state: State, shown: Moment) {
        liveness.set_state(state, shown);
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
    /// newer one, which has the unwritten state of the older one.
    pub fn take(self: &Arc<Self>, chunk_rows: usize) -> Vec<Chunk> {
        self.departed.retain(|_, departed| departed.written_at.is_none_or(|at| at.elapsed() < DEPARTED_FOR));
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
    /// Its new public state and when it was shown, where that changed.
    pub state: Option<(State, Moment)>,
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

    /// Two chunks of half the rows; the chunk itself where it has one row.
    ///
    /// # Errors
    /// The chunk, where there is nothing to halve.
    pub fn halves(mut self) -> Result<[Self; 2], Self> {
        if self.rows.len() < 2 {
            return Err(self);
        }
        let rows = self.rows.split_off(self.rows.len() / 2);
        let write_behind = Arc::clone(&self.write_behind);
        Ok([self, Self { write_behind, rows }])
    }

    /// The database has them, or refuses them for good.
    pub fn written(self) {
        self.written_except(|_| false);
    }

    /// The database has them, without those that go back into the queue.
    pub fn written_except(mut self, goes_back: impl Fn(&Row) -> bool) {
        let (left, written): (Vec<_>, Vec<_>) = self.rows.drain(..).partition(goes_back);
        self.rows = left;
        for Row { liveness, left, state, .. } in written {
            if let Some((state, _)) = state {
                liveness.state_written(&state);
            }
            if left.is_some()
                && let Some(mut departed) = self.write_behind.departed.get_mut(&liveness.participant())
                && Arc::ptr_eq(&departed.liveness, &liveness)
            {
                departed.written_at = Some(Instant::now());
            }
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        for row in self.rows.drain(..) {
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

    fn shown(row: &Row) -> Option<&str> {
        row.state.as_ref().map(|(state, _)| state.get())
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
        write_behind.state(&liveness, state(1), liveness.seen());
        drop(write_behind.take(10));
        assert_eq!(write_behind.backlog(), 1);

        write_behind.seen(&liveness, Moment::from_millis(7));
        let chunk = write_behind.take(10).pop().expect("the row that failed");
        assert_eq!(chunk.rows()[0].seen, Moment::from_millis(7));
        assert_eq!(shown(&chunk.rows()[0]), Some("{\"page\":1}"));

        write_behind.state(&liveness, state(2), liveness.seen());
        drop(chunk);
        let chunk = write_behind.take(10).pop().expect("the row that failed again");
        assert_eq!(shown(&chunk.rows()[0]), Some("{\"page\":2}"), "the newer state wins");
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
        write_behind.left(&people[2], LeaveReason::Left, state(0));
        write_behind.state(&people[1], state(1), Moment::from_millis(2));
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
        write_behind.state(&gone, state(2), gone.seen());
        write_behind.left(&gone, LeaveReason::Left, state(2));
        let at = Moment::from_millis(1);
        let back = Liveness::new(gone.participant(), gone.session(), at, at);
        assert_eq!(write_behind.came_back(&back).as_deref().map(RawValue::get), Some("{\"page\":2}"));
        write_behind.seen(&back, at);
        let chunk = write_behind.take(10).pop().expect("a row");
        assert_eq!(chunk.rows().len(), 1);
        assert_eq!(chunk.rows()[0].left, None);
        assert_eq!(shown(&chunk.rows()[0]), Some("{\"page\":2}"));
        chunk.written();
    }

    #[test]
    fn what_a_participant_showed_last_is_known_to_whoever_asked_before_it_was_written() {
        let write_behind = Arc::new(WriteBehind::default());
        let gone = liveness(1);
        write_behind.left(&gone, LeaveReason::Left, state(2));
        let known = |asked| write_behind.departed_state(gone.participant(), asked).is_some();
        let before = Instant::now();
        assert!(known(before));
        let chunk = write_behind.take(10).pop().expect("a row");
        assert!(known(Instant::now()), "it is on its way");
        chunk.written();
        assert!(known(before));
        std::thread::sleep(Duration::from_millis(1));
        assert!(!known(Instant::now()), "the store has it");
        let back = Liveness::new(gone.participant(), gone.session(), gone.seen(), gone.seen());
        assert!(write_behind.came_back(&back).is_none(), "nothing is left to write");
        assert!(!known(before), "it is here");
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
