//! The flush: writes what was seen since the last one to the database. What could not be written is kept for the
//! next.
//!
//! One bad row hurts no other: a chunk that the database refuses is halved until that row is alone, and is dropped; rows
//! that another transaction has locked are left to the next flush.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep};
use tracing::Level;

use super::Tasks;
use crate::domain::ids::{InviteId, SessionId};
use crate::domain::participant::StaleCause;
use crate::domain::reading_session::CloseReason;
use crate::metrics::Metrics;
use crate::room::write_behind::{Chunk, Row};
use crate::room::{Registry, WriteBehind};
use crate::store::presence::{CHUNK_ROWS, Locks, Stale};
use crate::store::{Store, StoreError};
use crate::user_session::UserSessions;

/// The longest pause between attempts while flushes fail.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// How late a flush may be before the server is not ready any more.
const LATE: Duration = Duration::from_secs(10);

/// Writes presence and user sessions to the store.
#[derive(Debug)]
pub struct Flusher {
    registry: Arc<Registry>,
    user_sessions: Arc<UserSessions>,
    store: Store,
    metrics: Arc<Metrics>,
    interval: Duration,
    /// One flush at a time: an older one must not overtake a newer one.
    turn: Mutex<()>,
    /// When the last flush began that wrote everything.
    last_success: parking_lot::Mutex<Instant>,
}

impl Flusher {
    /// A flusher of the rooms in `registry` and of the user sessions.
    pub fn new(
        registry: Arc<Registry>,
        user_sessions: Arc<UserSessions>,
        store: Store,
        metrics: Arc<Metrics>,
        interval: Duration,
    ) -> Self {
        let last_success = parking_lot::Mutex::new(Instant::now());
        Self { registry, user_sessions, store, metrics, interval, turn: Mutex::default(), last_success }
    }

    /// The time from the start of the last flush that wrote everything until now, whatever the flush does now.
    pub fn age(&self) -> Duration {
        self.last_success.lock().elapsed()
    }

    /// Whether the last flush failed, or the next one should long be over: it hangs, or its task is gone.
    pub fn is_behind(&self) -> bool {
        let due = self.interval.saturating_mul(2).saturating_add(LATE);
        self.registry.shared().write_behind.is_failing() || self.age() > due
    }

    /// Starts it as a background task.
    pub fn spawn(self: &Arc<Self>, tasks: &Tasks) {
        tasks.spawn("flush", self, Self::run);
    }

    /// Flushes for ever. After a failure the pause doubles, with a random part, so that servers which lost the
    /// same database do not return to it together.
    async fn run(self: Arc<Self>) {
        let mut failures = 0;
        loop {
            let patience = self.interval.saturating_mul(1 << failures).min(LONGEST_PAUSE.max(self.interval));
            let jitter = if failures == 0 { 1.0 } else { 0.5 + rand::random::<f64>() / 2.0 };
            sleep(patience.mul_f64(jitter)).await;
            failures = match self.flush().await {
                Ok(_) => 0,
                Err(error) => {
                    tracing::warn!(%error, waiting = self.registry.shared().write_behind.backlog(), "flush failed; the next one retries");
                    (failures + 1).min(10)
                }
            };
        }
    }

    /// Waits until the flush that runs has ended, and holds back the next one until what is returned is dropped.
    pub async fn pause(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Writes everything that is due by now. Returns the number of participants written.
    ///
    /// # Errors
    /// [`StoreError`]; what was not written is due again.
    pub async fn flush(&self) -> Result<usize, StoreError> {
        let _turn = self.turn.lock().await;
        let shared = self.registry.shared();
        let started = Instant::now();
        let result = self.write_all().await;
        self.metrics.flush_seconds.observe(started.elapsed().as_secs_f64());
        shared.write_behind.set_failing(result.is_err());
        if result.is_ok() {
            *self.last_success.lock() = started;
        }
        result
    }

    /// The steps do not depend on each other: where one fails, the others are done. The first error is returned.
    async fn write_all(&self) -> Result<usize, StoreError> {
        let mut chunks = self.registry.shared().write_behind.take(CHUNK_ROWS);
        // The first is taken first.
        chunks.reverse();
        let (chunks, locks, written) = (Mutex::new(chunks), LockWait::default(), Written::default());
        let (some, others, user_sessions, uses) = tokio::join!(
            self.write_presence(&chunks, &locks, &written),
            self.write_presence(&chunks, &locks, &written),
            self.write_user_sessions(),
            self.add_invite_uses(),
        );
        let failures = [some.is_err(), others.is_err(), user_sessions.is_err(), uses.is_err()];
        self.metrics.flush_failures.inc_by(failures.into_iter().filter(|failed| *failed).count() as u64);
        let written = some? + others?;
        user_sessions.and(uses).map(|()| written)
    }

    /// Writes chunks until none is left, beside another call that does the same: no participant is in two
    /// chunks, and each statement takes its locks in the order of ids. Returns the number of participants
    /// written.
    async fn write_presence(
        &self,
        chunks: &Mutex<Vec<Chunk>>,
        locks: &LockWait,
        of_sessions: &Written,
    ) -> Result<usize, StoreError> {
        let shared = self.registry.shared();
        let mut written = 0;
        // A chunk that is dropped, by an error or by the end of this task, is due again.
        while let Some(chunk) = { chunks.lock().await.pop() } {
            let mode = locks.mode();
            match self.store.write_presence(chunk.rows(), shared.clock.now(), mode).await {
                Ok(done) => {
                    let rows = chunk.rows().len() - done.locked.len();
                    written += rows;
                    self.metrics.flush_rows.inc_by(rows as u64);
                    self.metrics.flush_locked.inc_by(done.locked.len() as u64);
                    of_sessions.add(chunk.rows().iter().filter(|row| !done.locked.contains(&row.participant())));
                    chunk.written_except(|row| done.locked.contains(&row.participant()));
                    done.stale.iter().for_each(|stale| self.drop_from_memory(stale));
                }
                Err(StoreError::Locked) if mode == Locks::Wait => {
                    locks.give_up();
                    chunks.lock().await.push(chunk);
                }
                Err(error) if error.is_about_a_row() => match chunk.halves() {
                    Ok(halves) => chunks.lock().await.extend(halves),
                    Err(alone) => {
                        let participant = alone.rows().first().map(Row::participant);
                        tracing::error!(?participant, error = ?error, "a row was refused and is dropped");
                        self.metrics.flush_dropped.inc();
                        alone.written();
                    }
                },
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    async fn write_user_sessions(&self) -> Result<(), StoreError> {
        let (metrics, locks) = (&self.metrics, LockWait::default());
        let mut chunks = self.user_sessions.take(CHUNK_ROWS);
        chunks.reverse();
        while let Some(chunk) = chunks.pop() {
            let (rules, now, mode) = (self.user_sessions.rules(), self.user_sessions.now(), locks.mode());
            match self.store.write_heartbeats(chunk.rows(), rules, now, mode).await {
                Ok(done) => {
                    metrics.flush_user_sessions.inc_by((chunk.rows().len() - done.locked.len()) as u64);
                    metrics.flush_locked.inc_by(done.locked.len() as u64);
                    chunk.written_except(|row| done.locked.contains(row.key()));
                    for (session, user) in done.over {
                        self.user_sessions.forget(user, &session);
                    }
                }
                Err(StoreError::Locked) if mode == Locks::Wait => {
                    locks.give_up();
                    chunks.push(chunk);
                }
                // Not even opened, since another transaction is about to make a row of the same id.
                Err(StoreError::Locked) => match chunk.halves() {
                    Ok(halves) => chunks.extend(halves),
                    Err(alone) => {
                        metrics.flush_locked.inc();
                        drop(alone);
                    }
                },
                Err(error) if error.is_about_a_row() => match chunk.halves() {
                    Ok(halves) => chunks.extend(halves),
                    Err(alone) => {
                        let session = alone.rows().first().map(|row| row.session().as_str());
                        tracing::error!(session, error = ?error, "a user session was refused and is dropped");
                        metrics.flush_dropped.inc();
                        alone.refused();
                    }
                },
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn add_invite_uses(&self) -> Result<(), StoreError> {
        let write_behind = &self.registry.shared().write_behind;
        let mut uses = Uses { write_behind, counts: write_behind.take_invite_uses() };
        if !uses.counts.is_empty() {
            let locked = self.store.add_invite_uses(&uses.counts).await?;
            self.metrics.flush_locked.inc_by(locked.len() as u64);
            uses.counts.retain(|invite, _| locked.contains(invite));
        }
        Ok(())
    }

    /// A participant or a whole session was ended outside of this server: by another server, cron or SQL.
    fn drop_from_memory(&self, stale: &Stale) {
        match (stale.why, self.registry.find(stale.session_id)) {
            (StaleCause::Closed, _) => {
                self.registry.close(stale.session_id, stale.close_reason.unwrap_or(CloseReason::Admin));
            }
            (StaleCause::Removed | StaleCause::Gone, Some(room)) => {
                room.remove(stale.id);
            }
            (StaleCause::Removed | StaleCause::Gone, None) => {}
        }
    }
}

/// How many people of each session a flush has written, for the log, which has a line for each session at the end.
/// Counted only where that is logged.
#[derive(Debug)]
struct Written(Option<parking_lot::Mutex<HashMap<SessionId, usize>>>);

impl Default for Written {
    fn default() -> Self {
        Self(tracing::enabled!(Level::DEBUG).then(parking_lot::Mutex::default))
    }
}

impl Written {
    fn add<'a>(&self, rows: impl Iterator<Item = &'a Row>) {
        let Some(counts) = &self.0 else { return };
        let mut counts = counts.lock();
        for row in rows {
            *counts.entry(row.session()).or_default() += 1;
        }
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        for (session, people) in self.0.take().into_iter().flat_map(parking_lot::Mutex::into_inner) {
            let noun = if people == 1 { "person" } else { "people" };
            tracing::debug!(%session, people, "{people} {noun} of session {session} written");
        }
    }
}

/// Whether the statements of a flush wait for locked rows: until one has waited in vain.
#[derive(Debug, Default)]
struct LockWait(AtomicBool);

impl LockWait {
    fn mode(&self) -> Locks {
        if self.0.load(Ordering::Relaxed) { Locks::Skip } else { Locks::Wait }
    }

    /// From now on locked rows are skipped.
    fn give_up(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Uses of invites on their way to the store. What is not cleared is due again, also when the flush is cancelled
/// half way.
struct Uses<'a> {
    write_behind: &'a WriteBehind,
    counts: HashMap<InviteId, i32>,
}

impl Drop for Uses<'_> {
    fn drop(&mut self) {
        for (invite, uses) in self.counts.drain() {
            self.write_behind.invite_used(invite, uses);
        }
    }
}
