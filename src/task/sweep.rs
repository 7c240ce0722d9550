//! The sweep: ends what is idle or overdue, and deletes what is over and past its retention.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use serde::ser::{Serialize, SerializeMap, Serializer};
use tokio::time::{Instant, sleep};
use utoipa::openapi::{Array, Object, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::Tasks;
use super::flush::Flusher;
use super::policy::Policy;
use crate::config::SessionSettings;
use crate::metrics::Metrics;
use crate::room::Registry;
use crate::store::{Store, StoreError};

/// The result of a sweep, by policy.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Swept {
    counts: Vec<(Policy, u64)>,
    failed: Vec<Policy>,
}

impl Swept {
    /// Records the outcome of a policy.
    pub fn note(&mut self, policy: Policy, outcome: &Result<u64, StoreError>) {
        match outcome {
            Ok(count) => self.counts.push((policy, *count)),
            Err(_) => self.failed.push(policy),
        }
    }

    /// Whether there was nothing to do.
    pub fn is_idle(&self) -> bool {
        self.failed.is_empty() && self.counts.iter().all(|(_, count)| *count == 0)
    }

    /// The policies that failed and are left to the next sweep.
    pub fn failed(&self) -> &[Policy] {
        &self.failed
    }
}

/// `{"closed":1,…,"purged":0,"failed":[]}`
impl Serialize for Swept {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for policy in Policy::ALL {
            let count = self.counts.iter().find(|(done, _)| *done == policy).map_or(0, |(_, count)| *count);
            map.serialize_entry(policy.as_str(), &count)?;
        }
        let failed: Vec<_> = self.failed.iter().map(|policy| policy.as_str()).collect();
        map.serialize_entry("failed", &failed)?;
        map.end()
    }
}

impl PartialSchema for Swept {
    fn schema() -> RefOr<Schema> {
        let count = || Object::builder().schema_type(Type::Integer).minimum(Some(0));
        let word = Object::builder().schema_type(Type::String).enum_values(Some(Policy::ALL.map(Policy::as_str)));
        let mut example = serde_json::json!(Self::default());
        example[Policy::Idle.as_str()] = 1.into();
        let counts = Policy::ALL.into_iter().fold(Object::builder(), |object, policy| {
            object.property(policy.as_str(), count()).required(policy.as_str())
        });
        let failed =
            Array::builder().items(word).description(Some("The policies that failed and are left to the next sweep."));
        counts.property("failed", failed).required("failed").examples([example]).into()
    }
}

impl ToSchema for Swept {}

/// Runs sweeps.
#[derive(Debug)]
pub struct Sweeper {
    registry: Arc<Registry>,
    store: Store,
    flusher: Arc<Flusher>,
    metrics: Arc<Metrics>,
    interval: Duration,
    rules: SessionSettings,
    last: Mutex<Option<(DateTime<Utc>, Swept)>>,
}

impl Sweeper {
    /// A sweeper with these rules.
    pub fn new(
        registry: Arc<Registry>,
        store: Store,
        flusher: Arc<Flusher>,
        metrics: Arc<Metrics>,
        interval: Duration,
        rules: SessionSettings,
    ) -> Self {
        // A counter that is missing until its first increment would look like one that does not exist.
        for policy in Policy::ALL {
            let _ = (metrics.swept(policy.as_str()), metrics.sweep_failures(policy.as_str()));
        }
        Self { registry, store, flusher, metrics, interval, rules, last: Mutex::new(None) }
    }

    /// When the last sweep of this server ran and what it did; `None` before the first.
    pub fn last(&self) -> Option<(DateTime<Utc>, Swept)> {
        self.last.lock().clone()
    }

    /// Starts it as a background task.
    pub fn spawn(self: &Arc<Self>, tasks: &Tasks) {
        tasks.spawn("sweep", self, Self::run);
    }

    /// Sweeps for ever.
    async fn run(self: Arc<Self>) {
        loop {
            sleep(self.interval).await;
            if let Err(error) = self.sweep().await {
                tracing::warn!(%error, "sweep failed; the next one catches up");
            }
        }
    }

    /// Flushes, then applies each policy. A failure does not stop the other policies. Where the flush failed,
    /// policies that depend on it are postponed: the database would decide on old data.
    ///
    /// # Errors
    /// [`StoreError`] where nothing at all could be done.
    pub async fn sweep(&self) -> Result<Swept, StoreError> {
        let metrics = &self.metrics;
        let started = Instant::now();
        let (swept, last_error) = self.apply_all().await;
        *self.last.lock() = Some((Utc::now(), swept.clone()));
        metrics.sweeps.inc();
        metrics.sweep_seconds.observe(started.elapsed().as_secs_f64());
        if !swept.is_idle() {
            tracing::info!(swept = %serde_json::json!(swept), "sweep done");
        }
        match last_error {
            Some(error) if swept.counts.is_empty() => Err(error),
            _ => Ok(swept),
        }
    }

    async fn apply_all(&self) -> (Swept, Option<StoreError>) {
        let metrics = &self.metrics;
        let mut swept = Swept::default();
        let flushed = self.flusher.flush().await;
        let mut last_error = None;
        for policy in Policy::ALL.into_iter().filter(|policy| policy.is_asked_for(&self.rules)) {
            if flushed.is_err() && policy.asks_who_was_seen() {
                swept.failed.push(policy);
                continue;
            }
            let outcome = self.apply(policy).await;
            swept.note(policy, &outcome);
            match outcome {
                Ok(count) => {
                    metrics.swept(policy.as_str()).inc_by(count);
                }
                Err(error) => {
                    tracing::warn!(policy = policy.as_str(), %error, "sweep policy failed");
                    last_error = Some(error);
                }
            }
        }
        for policy in &swept.failed {
            metrics.sweep_failures(policy.as_str()).inc();
        }
        (swept, last_error.or(flushed.err()))
    }

    async fn apply(&self, policy: Policy) -> Result<u64, StoreError> {
        let effect = policy.apply(&self.store, &self.rules).await?;
        for session in &effect.closed {
            self.registry.close(*session, policy.close_reason());
        }
        Ok(effect.count)
    }
}
