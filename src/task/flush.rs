//! The flush: writes what was seen since the last one to the database. What could not be written is kept for the
//! next.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::Tasks;
use crate::domain::ids::InviteId;
use crate::domain::participant::StaleCause;
use crate::domain::reading_session::CloseReason;
use crate::domain::user_session::ClientSession;
use crate::metrics::Metrics;
use crate::room::write_behind::Chunk;
use crate::room::{Registry, WriteBehind};
use crate::store::admission::Compensation;
use crate::store::presence::{CHUNK_ROWS, Stale};
use crate::store::{Store, StoreError};
use crate::user_session::UserSessions;

/// The longest pause between attempts while flushes fail.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Writes presence and user sessions to the store.
#[derive(Debug)]
pub struct Flusher {
    registry: Arc<Registry>,
    user_sessions: Arc<UserSessions>,
    store: Store,
    metrics: Arc<Metrics>,
    interval: Duration,
    /// One flush at a time: an older one must not overtake a newer one.
    turn: Mutex<Instant>,
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
        Self { registry, user_sessions, store, metrics, interval, turn: Mutex::new(Instant::now()) }
    }

    /// The time since the start of the last flush that wrote everything; while a flush is running, as last
    /// measured.
    pub fn age(&self) -> Duration {
        match self.turn.try_lock() {
            Ok(last_success) => last_success.elapsed(),
            Err(_) => Duration::from_secs_f64(self.metrics.flush_age_seconds.get()),
        }
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

    /// Writes everything that is due by now. Returns the number of participants written.
    ///
    /// # Errors
    /// [`StoreError`]; what was not written is due again.
    pub async fn flush(&self) -> Result<usize, StoreError> {
        let mut last_success = self.turn.lock().await;
        let shared = self.registry.shared();
        let started = Instant::now();
        let result = self.write_all().await;
        self.metrics.flush_seconds.observe(started.elapsed().as_secs_f64());
        shared.write_behind.set_failing(result.is_err());
        if result.is_ok() {
            *last_success = started;
        }
        self.metrics.flush_age_seconds.set(last_success.elapsed().as_secs_f64());
        result
    }

    async fn write_all(&self) -> Result<usize, StoreError> {
        let write_behind = &self.registry.shared().write_behind;
        let chunks = Mutex::new(write_behind.take(CHUNK_ROWS).into_iter());
        let (some, others) = tokio::join!(self.write_presence(&chunks), self.write_presence(&chunks));
        let written = some? + others?;
        self.write_user_sessions().await?;
        let mut uses = Uses { write_behind, counts: write_behind.take_invite_uses() };
        if !uses.counts.is_empty() {
            if let Err(error) = self.store.add_invite_uses(&uses.counts).await {
                self.metrics.flush_failures.inc();
                return Err(error);
            }
            uses.counts.clear();
        }
        // While rooms drain, no participant is recalled: what is not undone by then is left to the next start.
        if !self.registry.is_draining() {
            self.store.run_compensations(|compensation| self.is_here(compensation)).await?;
        }
        Ok(written)
    }

    /// Writes chunks until none is left, beside another call that does the same: no participant is in two
    /// chunks, and each statement takes its locks in the order of ids. Returns the number of participants
    /// written.
    async fn write_presence(&self, chunks: &Mutex<impl Iterator<Item = Chunk>>) -> Result<usize, StoreError> {
        let shared = self.registry.shared();
        let mut written = 0;
        // A chunk that is dropped, by an error or by the end of this task, is due again.
        while let Some(chunk) = { chunks.lock().await.next() } {
            let stale = self.store.write_presence(chunk.rows(), shared.clock.now()).await;
            if stale.is_err() {
                self.metrics.flush_failures.inc();
            }
            let stale = stale?;
            written += chunk.rows().len();
            self.metrics.flush_rows.inc_by(chunk.rows().len() as u64);
            chunk.written();
            stale.into_iter().for_each(|stale| self.drop_from_memory(&stale));
        }
        Ok(written)
    }

    async fn write_user_sessions(&self) -> Result<(), StoreError> {
        let metrics = &self.metrics;
        for chunk in self.user_sessions.take(CHUNK_ROWS) {
            let (rules, now) = (self.user_sessions.rules(), self.user_sessions.now());
            let over = self.store.write_heartbeats(chunk.rows(), rules, now).await;
            if over.is_err() {
                metrics.flush_failures.inc();
            }
            let over = over?;
            metrics.flush_user_sessions.inc_by(chunk.rows().len() as u64);
            chunk.written();
            for over in over {
                if let Ok(session) = ClientSession::new(&over.session_id) {
                    self.user_sessions.forget(over.user_id, &session);
                }
            }
        }
        Ok(())
    }

    fn is_here(&self, compensation: &Compensation) -> bool {
        self.registry.find(compensation.session()).is_some_and(|room| room.recall(compensation.applicant()).is_some())
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
