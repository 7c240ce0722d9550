//! The user sessions with connections to this server, and what the next flush has to write of them.
//!
//! As in the write-behind of rooms the queue holds no values, and each session at most once: a beat is one
//! store and at most one push, and memory is bounded by sessions, never by beats.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_queue::SegQueue;
use dashmap::DashMap;

use super::tracked::{Key, Tracked};
use super::wire::Wire;
use crate::clock::{Clock, Moment};
use crate::domain::ids::UserId;
use crate::domain::participant::Quality;
use crate::domain::user_session::{ClientSession, Device, Rules};

/// The user sessions that this server has connections of.
#[derive(Debug)]
pub struct UserSessions {
    tracked: DashMap<Key, Arc<Tracked>>,
    queue: SegQueue<Arc<Tracked>>,
    clock: Clock,
    rules: Rules,
}

impl UserSessions {
    /// None yet.
    pub fn new(clock: Clock, rules: Rules) -> Self {
        Self { tracked: DashMap::new(), queue: SegQueue::new(), clock, rules }
    }

    /// The rules that they follow.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// The time by which stamps are made.
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// A connection of a session is opened. It is not queued yet: a flush that overtakes the statement that opens
    /// the row would have its values overwritten by that statement's.
    pub(super) fn connect(&self, user: UserId, device: Device, wire: Wire) -> Arc<Tracked> {
        let now = self.now();
        let key = (device.session.clone(), user);
        let entry = self.tracked.entry(key.clone()).or_insert_with(|| Arc::new(Tracked::new(key, device, now)));
        // While the entry is held: a session with a connection does not leave memory.
        entry.connect(wire, now);
        Arc::clone(&entry)
    }

    /// A connection goes. The entry is held meanwhile: a session that leaves memory has nothing to write.
    pub(super) fn disconnect(&self, tracked: &Arc<Tracked>, wire: Wire, lost: bool) {
        let _held = self.tracked.get(&tracked.key);
        tracked.disconnect(wire, lost);
        self.enqueue(tracked);
    }

    /// The session was seen in another way than by a connection: it waits for no lost connection.
    pub fn seen_otherwise(&self, user: UserId, session: &ClientSession) {
        if let Some(tracked) = self.tracked.get(&(session.clone(), user)) {
            tracked.found();
        }
    }

    /// The session has ended: its connections are attached to nothing any more.
    pub fn forget(&self, user: UserId, session: &ClientSession) {
        if let Some((_, tracked)) = self.tracked.remove(&(session.clone(), user)) {
            tracked.void.store(true, Ordering::Release);
        }
    }

    /// All sessions of a user who is erased, in the same way.
    pub fn forget_user(&self, user: UserId) {
        self.tracked.retain(|(_, of), tracked| {
            let stays = *of != user;
            if !stays {
                tracked.void.store(true, Ordering::Release);
            }
            stays
        });
    }

    /// The same where it turns out that the session never was this user's, for the connections so far.
    pub(super) fn void(&self, tracked: &Arc<Tracked>) {
        tracked.void.store(true, Ordering::Release);
        self.tracked.remove_if(&tracked.key, |_, current| Arc::ptr_eq(current, tracked));
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.tracked.len()
    }

    /// How many wait to be written.
    pub fn backlog(&self) -> usize {
        self.queue.len()
    }

    /// A value stored before this swap is read after the swap that clears `queued`: either the session
    /// stands in the queue and the flush that takes it out reads the value, or it is queued here.
    pub(super) fn enqueue(&self, tracked: &Arc<Tracked>) {
        if !tracked.void.load(Ordering::Acquire) && !tracked.queued.swap(true, Ordering::AcqRel) {
            self.queue.push(Arc::clone(tracked));
        }
    }

    /// Everything that waits to be written, in chunks of at most `chunk_rows`, sorted by session.
    pub fn take(self: &Arc<Self>, chunk_rows: usize) -> Vec<Chunk> {
        // Bounded by what stands in the queue now, so that beats that come meanwhile do not prolong it.
        let mut rows: Vec<Row> = (0..self.queue.len())
            .map_while(|_| self.queue.pop())
            .filter(|tracked| {
                tracked.queued.swap(false, Ordering::AcqRel);
                !tracked.void.load(Ordering::Acquire)
            })
            .map(Row::read)
            .collect();
        rows.sort_by(|a, b| a.tracked.key.cmp(&b.tracked.key));

        let mut chunks = Vec::with_capacity(rows.len().div_ceil(chunk_rows));
        while !rows.is_empty() {
            let rest = rows.split_off(rows.len().min(chunk_rows));
            chunks.push(Chunk { sessions: Arc::clone(self), rows: std::mem::replace(&mut rows, rest) });
        }
        chunks
    }

    /// Lets a session go that has no connections and nothing left to write.
    fn let_go(&self, tracked: &Arc<Tracked>) {
        self.tracked.remove_if(&tracked.key, |_, current| {
            Arc::ptr_eq(current, tracked) && !tracked.is_connected() && !tracked.queued.load(Ordering::Acquire)
        });
    }
}

/// One user session as the flush writes it: what happened since the last flush, and what it has now.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Row {
    tracked: Arc<Tracked>,
    pub seen: Option<Moment>,
    pub active: Option<Moment>,
    /// How often the person did something since the last flush.
    pub activity: u32,
    pub sockets: u32,
    pub streams: u32,
    pub socket_opened: Option<Moment>,
    /// The last connection was lost.
    pub lost: bool,
    pub quality: Option<Quality>,
}

impl Row {
    fn read(tracked: Arc<Tracked>) -> Self {
        Self {
            activity: tracked.activity.swap(0, Ordering::AcqRel),
            seen: tracked.seen.take(),
            active: tracked.active.take(),
            sockets: tracked.connections(Wire::Socket),
            streams: tracked.connections(Wire::Stream),
            socket_opened: tracked.socket_opened.take(),
            lost: tracked.is_lost(),
            quality: tracked.quality(),
            tracked,
        }
    }

    /// The session's id.
    pub fn session(&self) -> &ClientSession {
        &self.tracked.key.0
    }

    /// Both: one id may be claimed by two users.
    pub fn key(&self) -> &Key {
        &self.tracked.key
    }

    /// Its user.
    pub fn user(&self) -> UserId {
        self.tracked.key.1
    }

    /// The device as its first connection described it, and when; `None` where the database has
    /// the row.
    pub fn unopened(&self) -> Option<(&Device, Moment)> {
        (!self.tracked.opened.load(Ordering::Acquire)).then_some((&self.tracked.device, self.tracked.began))
    }
}

/// Rows of one statement. Dropped before [`Chunk::written`], they go back: nothing is lost.
#[derive(Debug)]
#[must_use = "a chunk that is dropped goes back to be written"]
pub struct Chunk {
    sessions: Arc<UserSessions>,
    rows: Vec<Row>,
}

impl Chunk {
    /// The rows, sorted by session, each once.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Two chunks of half the rows.
    ///
    /// # Errors
    /// The chunk, where there is nothing to halve.
    pub fn halves(mut self) -> Result<[Self; 2], Self> {
        if self.rows.len() < 2 {
            return Err(self);
        }
        let rows = self.rows.split_off(self.rows.len() / 2);
        let sessions = Arc::clone(&self.sessions);
        Ok([self, Self { sessions, rows }])
    }

    /// The database has them.
    pub fn written(self) {
        self.written_except(|_| false);
    }

    /// The database has them, without those that go back to be written.
    pub fn written_except(mut self, goes_back: impl Fn(&Row) -> bool) {
        let (left, written): (Vec<_>, Vec<_>) = self.rows.drain(..).partition(goes_back);
        self.rows = left;
        for row in written {
            row.tracked.opened.store(true, Ordering::Release);
            self.sessions.let_go(&row.tracked);
        }
    }

    /// The database refuses them for good: their connections are attached to nothing any more.
    pub fn refused(mut self) {
        for row in self.rows.drain(..) {
            self.sessions.void(&row.tracked);
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        for row in self.rows.drain(..) {
            let tracked = &row.tracked;
            tracked.activity.fetch_add(row.activity, Ordering::AcqRel);
            for (stamp, moment) in
                [(&tracked.seen, row.seen), (&tracked.active, row.active), (&tracked.socket_opened, row.socket_opened)]
            {
                moment.into_iter().for_each(|moment| stamp.note(moment));
            }
            self.sessions.enqueue(tracked);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::domain::user_session::Platform;
    use crate::user_session::Attachment;

    const RULES: Rules = Rules { timeout: Duration::from_hours(1), idle_after: Duration::from_mins(5) };

    fn sessions() -> Arc<UserSessions> {
        Arc::new(UserSessions::new(Clock::new(), RULES))
    }

    fn device(session: &str) -> Device {
        Device {
            session: ClientSession::new(session).expect("an id"),
            platform: Platform::Web,
            user_agent: None,
            network: "203.0.113.0/24".parse().expect("a network"),
        }
    }

    fn user() -> UserId {
        UserId(Uuid::now_v7())
    }

    /// Attaches a connection whose row a flush opens.
    fn attach(sessions: &Arc<UserSessions>, user: UserId, session: &str, wire: Wire) -> Attachment {
        let attachment = sessions.attach(user, device(session), wire);
        attachment.unanswered();
        attachment
    }

    /// Takes the one row there is, and gives it to the database.
    fn only_row<T>(sessions: &Arc<UserSessions>, read: impl FnOnce(&Row) -> T) -> T {
        let mut chunks = sessions.take(10);
        assert_eq!(chunks.iter().map(|chunk| chunk.rows().len()).sum::<usize>(), 1);
        let chunk = chunks.remove(0);
        let value = read(&chunk.rows()[0]);
        chunk.written();
        value
    }

    #[test]
    fn ids_are_bounded_and_not_trimmed() {
        for id in ["", &"x".repeat(129), "a\u{0}b", "a\nb", "summary"] {
            assert!(ClientSession::new(id).is_err(), "{id:?}");
        }
        for id in [" a ", "a/b?c", &"🂡".repeat(128)] {
            assert_eq!(ClientSession::new(id).expect(id).as_str(), id);
        }
    }

    #[test]
    fn many_beats_of_many_connections_are_one_row() {
        let sessions = sessions();
        let me = user();
        let tab = attach(&sessions, me, "a", Wire::Socket);
        let other_tab = attach(&sessions, me, "a", Wire::Socket);
        let _stream = attach(&sessions, me, "a", Wire::Stream);
        for _ in 0..100 {
            tab.active(sessions.now());
            other_tab.seen(sessions.now());
        }
        other_tab.set_quality(Quality::Poor);
        assert_eq!((sessions.backlog(), sessions.count()), (1, 1));
        let row = only_row(&sessions, |row| (row.activity, row.sockets, row.streams, row.quality, row.lost));
        assert_eq!(row, (100, 2, 1, Some(Quality::Poor), false));
        assert_eq!(sessions.backlog(), 0);
        tab.active(sessions.now());
        assert_eq!(only_row(&sessions, |row| row.activity), 1, "what was written is not written again");
    }

    #[test]
    fn a_connection_is_written_only_after_the_database_was_asked() {
        let sessions = sessions();
        let me = user();
        let attachment = sessions.attach(me, device("a"), Wire::Socket);
        assert_eq!((sessions.backlog(), sessions.count()), (0, 1));
        attachment.opened();
        assert!(only_row(&sessions, |row| row.unopened().is_none()));

        // A handshake that is given up meanwhile: the row may be there.
        drop(sessions.attach(me, device("b"), Wire::Socket));
        assert_eq!(only_row(&sessions, |row| (row.sockets, row.lost)), (0, true));
    }

    #[test]
    fn the_last_connection_decides_whether_the_session_waits_for_it() {
        let sessions = sessions();
        let me = user();
        let connect = || attach(&sessions, me, "a", Wire::Socket);
        let (tab, other_tab) = (connect(), connect());
        drop(tab);
        assert_eq!(only_row(&sessions, |row| (row.sockets, row.lost)), (1, false));
        drop(other_tab);
        assert_eq!(only_row(&sessions, |row| (row.sockets, row.lost)), (0, true));
        assert_eq!(sessions.count(), 0, "written and without connections: it leaves memory");

        connect().leave();
        assert_eq!(only_row(&sessions, |row| (row.sockets, row.lost)), (0, false));
        drop(connect());
        let back = connect();
        assert_eq!(only_row(&sessions, |row| (row.sockets, row.lost)), (1, false), "it is back");
        drop(back);
        sessions.seen_otherwise(me, &device("a").session);
        assert_eq!(only_row(&sessions, |row| (row.sockets, row.lost)), (0, false), "it calls instead");
    }

    #[test]
    fn what_was_not_written_comes_back_with_what_is_newest_then() {
        let sessions = sessions();
        let attachment = attach(&sessions, user(), "a", Wire::Socket);
        attachment.active(sessions.now());
        let chunk = sessions.take(10).pop().expect("a row");
        assert!(chunk.rows()[0].unopened().is_some());
        attachment.active(sessions.now());
        drop(chunk);
        assert_eq!(only_row(&sessions, |row| row.activity), 2);
        attachment.seen(sessions.now());
        assert!(only_row(&sessions, |row| row.unopened().is_none()), "the database has it now");
        drop(attachment);
        drop(sessions.take(10));
        assert_eq!(sessions.count(), 1, "its end is still to be written");
    }

    #[test]
    fn what_has_ended_is_not_written_and_a_new_one_is_not_the_old_one() {
        let sessions = sessions();
        let me = user();
        let attachment = attach(&sessions, me, "a", Wire::Socket);
        sessions.forget(me, attachment.session());
        assert_eq!((sessions.count(), sessions.take(10).len()), (0, 0));
        attachment.active(sessions.now());
        assert_eq!(sessions.backlog(), 0);
        let _other = attach(&sessions, me, "a", Wire::Socket);
        drop(attachment);
        assert_eq!(only_row(&sessions, |row| row.sockets), 1);
    }

    #[test]
    fn two_users_who_claim_one_id_are_two() {
        let sessions = sessions();
        let attachments = [user(), user()].map(|user| attach(&sessions, user, "a", Wire::Socket));
        assert_eq!(sessions.count(), 2);
        attachments[0].forget();
        assert_eq!(sessions.count(), 1);
    }

    #[test]
    fn chunks_are_sorted_and_bounded() {
        let sessions = sessions();
        let attachment = |n: u32| attach(&sessions, user(), &format!("{n:03}"), Wire::Socket);
        let attachments: Vec<_> = (0..25).rev().map(attachment).collect();
        let chunks = sessions.take(10);
        assert_eq!(chunks.iter().map(|chunk| chunk.rows().len()).collect::<Vec<_>>(), [10, 10, 5]);
        assert!(chunks.iter().flat_map(Chunk::rows).map(Row::session).is_sorted());
        chunks.into_iter().for_each(Chunk::written);
        assert_eq!(sessions.count(), attachments.len());
    }

    #[test]
    fn concurrent_beats_and_failing_flushes_count_every_activity_once() {
        const BEATS: u32 = 20_000;
        let sessions = sessions();
        let attachment = attach(&sessions, user(), "a", Wire::Socket);
        let (mut counted, mut flushes) = (0, 0);
        let mut flush = || {
            for chunk in sessions.take(10) {
                flushes += 1;
                if flushes % 3 != 0 {
                    counted += chunk.rows().iter().map(|row| row.activity).sum::<u32>();
                    chunk.written();
                }
            }
        };
        std::thread::scope(|scope| {
            let beats = scope.spawn(|| (0..BEATS).for_each(|_| attachment.active(sessions.now())));
            while !beats.is_finished() {
                flush();
            }
        });
        (0..2).for_each(|_| flush());
        assert_eq!(counted, BEATS);
    }
}
