//! The sweep: sessions that nobody was seen in are closed, and what is over is deleted in time.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::flush::Flusher;
use crate::room::{CloseReason, Registry};
use crate::store::{Store, StoreError};

/// What a sweep did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Swept {
    /// Reading sessions closed for being idle.
    pub closed: usize,
    /// Closed reading sessions deleted after their retention.
    pub purged: i64,
}

/// Sweeps. The SQL functions decide: one truth for this server, for others and for cron.
#[derive(Debug)]
pub struct Sweeper {
    registry: Arc<Registry>,
    store: Store,
    flusher: Arc<Flusher>,
    interval: Duration,
    retention: Duration,
}

impl Sweeper {
    /// A sweeper of closed sessions older than `retention` and of idle ones.
    pub fn new(
        registry: Arc<Registry>,
        store: Store,
        flusher: Arc<Flusher>,
        interval: Duration,
        retention: Duration,
    ) -> Self {
        Self { registry, store, flusher, interval, retention }
    }

    /// Sweeps for ever.
    pub async fn run(&self) {
        loop {
            sleep(self.interval).await;
            if let Err(error) = self.sweep().await {
                tracing::warn!(%error, "sweep failed, the next one does its work");
            }
        }
    }

    /// Writes what was seen, closes what is idle, tells those who are still connected, deletes what is
    /// over. Where what was seen cannot be written nothing is closed: the database would not know it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sweep(&self) -> Result<Swept, StoreError> {
        let metrics = &self.registry.shared().metrics;
        let started = Instant::now();
        let result = self.sweep_all().await;
        metrics.sweeps.inc();
        metrics.sweep_seconds.observe(started.elapsed().as_secs_f64());
        match &result {
            Ok(swept) => {
                metrics.sweep_closed.inc_by(swept.closed as u64);
                metrics.sweep_purged.inc_by(swept.purged.unsigned_abs());
                if *swept != Swept::default() {
                    tracing::info!(closed = swept.closed, purged = swept.purged, "swept");
                }
            }
            Err(_) => {
                metrics.sweep_failures.inc();
            }
        }
        result
    }

    async fn sweep_all(&self) -> Result<Swept, StoreError> {
        self.flusher.flush().await?;
        let idle = self.store.close_idle_sessions().await?;
        for session in &idle {
            self.registry.close(*session, CloseReason::Idle);
        }
        let purged = self.store.purge_closed_sessions(self.retention).await?;
        Ok(Swept { closed: idle.len(), purged })
    }
}
