//! The sweep: ends what is idle or overdue, and deletes what is over and past its retention.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use serde::ser::{Serialize, SerializeMap, Serializer};
use tokio::time::{Instant, sleep};
use utoipa::openapi::{Array, Object, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::Tasks;
use super::audit::Audit;
use super::flush::Flusher;
use super::policy::{Effect, Policy};
use crate::config::{PresenceSettings, SessionSettings};
use crate::metrics::{Counts, Metrics};
use crate::room::Registry;
use crate::store::{Store, StoreError};

/// The result of a sweep, by policy.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Swept {
    counts: Vec<(Policy, u64)>,
    failed: Vec<Policy>,
}

impl Swept {
    /// Adds what a policy did.
    pub fn add(&mut self, policy: Policy, count: u64) {
        match self.counts.iter_mut().find(|(done, _)| *done == policy) {
            Some((_, so_far)) => *so_far += count,
            None => self.counts.push((policy, count)),
        }
    }

    /// Notes that a policy failed; what it did before stays counted.
    pub fn fail(&mut self, policy: Policy) {
        self.failed.push(policy);
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

/// A sweep, while it runs and afterwards.
#[derive(Debug)]
pub struct Run {
    started_at: DateTime<Utc>,
    swept: Mutex<Swept>,
    has_ended: AtomicBool,
}

impl Run {
    fn new() -> Self {
        Self { started_at: Utc::now(), swept: Mutex::default(), has_ended: AtomicBool::new(false) }
    }

    /// When it began.
    pub fn started_at(&self) -> DateTime<Utc> {
        self.started_at
    }

    /// What it did so far.
    pub fn swept(&self) -> Swept {
        self.swept.lock().clone()
    }

    /// Whether it goes on.
    pub fn is_running(&self) -> bool {
        !self.has_ended.load(Ordering::Acquire)
    }
}

/// A sweep that has ended.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Ended {
    pub started_at: DateTime<Utc>,
    pub ended_at: DateTime<Utc>,
    pub swept: Swept,
}

/// What a server's sweeps and audits have done since it started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Totals {
    /// How many sweeps there were.
    pub sweeps: u64,
    /// The rows that each policy has ended or deleted.
    pub swept: Counts,
    /// How often each policy has failed.
    pub failed: Counts,
}

/// Notes the end of a run, also where the task that ran it is gone.
struct End<'a>(&'a Run);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.has_ended.store(true, Ordering::Release);
    }
}

/// How often the audit runs, also where sweeps are further apart.
const AUDIT_INTERVAL: Duration = Duration::from_mins(1);

/// Runs sweeps.
#[derive(Debug)]
pub struct Sweeper {
    registry: Arc<Registry>,
    store: Store,
    flusher: Arc<Flusher>,
    metrics: Arc<Metrics>,
    audit: Audit,
    interval: Duration,
    rules: SessionSettings,
    /// The one that began last.
    newest: Mutex<Option<Arc<Run>>>,
    last: Mutex<Option<Ended>>,
    next_at: Mutex<Option<DateTime<Utc>>>,
}

impl Sweeper {
    /// A sweeper with these rules.
    pub fn new(
        registry: Arc<Registry>,
        store: Store,
        flusher: Arc<Flusher>,
        metrics: Arc<Metrics>,
        presence: &PresenceSettings,
        rules: SessionSettings,
    ) -> Self {
        // A counter that is missing until its first increment would look like one that does not exist.
        for policy in Policy::ALL {
            let _ = (metrics.swept(policy.as_str()), metrics.sweep_failures(policy.as_str()));
        }
        let (newest, last, next_at) = (Mutex::default(), Mutex::default(), Mutex::default());
        let audit = Audit::new(Arc::clone(&registry), store.clone(), presence);
        let interval = presence.sweep_interval;
        Self { registry, store, flusher, metrics, audit, interval, rules, newest, last, next_at }
    }

    /// The sweep of this server that ended last; `None` before the first.
    pub fn last(&self) -> Option<Ended> {
        self.last.lock().clone()
    }

    /// What was done so far.
    pub fn totals(&self) -> Totals {
        let policies = || Policy::ALL.iter().map(|policy| policy.as_str());
        Totals {
            sweeps: self.metrics.sweeps.get(),
            swept: self.metrics.swept_by(policies()),
            failed: self.metrics.sweep_failures_by(policies()),
        }
    }

    /// When the server sweeps next by itself; `None` while it does. Later where the process does not run meanwhile.
    pub fn next_at(&self) -> Option<DateTime<Utc>> {
        *self.next_at.lock()
    }

    /// The sweep that began last, which may still run; `None` before the first.
    pub fn newest(&self) -> Option<Arc<Run>> {
        self.newest.lock().clone()
    }

    /// Starts it as a background task, and the audit as another.
    pub fn spawn(self: &Arc<Self>, tasks: &Tasks) {
        tasks.spawn("sweep", self, Self::run);
        tasks.spawn("audit", self, Self::run_audit);
    }

    /// Waits for this long, and on where the process did not run meanwhile: clients and other servers have to be seen
    /// before anything is judged by when they were seen.
    async fn rest(&self, time: Duration) {
        let clock = self.registry.shared().clock;
        let mut interruptions = clock.interruptions();
        sleep(time).await;
        while clock.interruptions() > interruptions {
            interruptions = clock.interruptions();
            sleep(time.min(AUDIT_INTERVAL)).await;
        }
    }

    /// Audits for ever.
    async fn run_audit(self: Arc<Self>) {
        loop {
            self.rest(AUDIT_INTERVAL).await;
            self.apply_or_fail(&Run::new(), Policy::Orphans).await;
            self.close_rooms().await;
        }
    }

    async fn close_rooms(&self) {
        if let Err(error) = self.audit.close_rooms().await {
            tracing::warn!(%error, "looking for closed sessions failed; retrying");
        }
    }

    /// Sweeps for ever.
    async fn run(self: Arc<Self>) {
        loop {
            *self.next_at.lock() = in_future(self.interval);
            self.rest(self.interval).await;
            *self.next_at.lock() = None;
            if let Err(error) = self.sweep(&self.begin()).await {
                tracing::warn!(%error, "sweep failed; the next one catches up");
            }
        }
    }

    /// A sweep that is about to run.
    pub fn begin(&self) -> Arc<Run> {
        let run = Arc::new(Run::new());
        *self.newest.lock() = Some(Arc::clone(&run));
        run
    }

    /// Flushes, then applies each policy. A failure does not stop the other policies. Where the flush failed,
    /// policies that depend on it are postponed: the database would decide on old data. A server that stops begins
    /// no further chunk.
    ///
    /// # Errors
    /// [`StoreError`] where nothing at all could be done.
    pub async fn sweep(&self, run: &Run) -> Result<Swept, StoreError> {
        let _end = End(run);
        let metrics = &self.metrics;
        let started = Instant::now();
        let last_error = self.apply_all(run).await;
        let swept = run.swept();
        *self.last.lock() = Some(Ended { started_at: run.started_at(), ended_at: Utc::now(), swept: swept.clone() });
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

    async fn apply_all(&self, run: &Run) -> Option<StoreError> {
        let flushed = self.flusher.flush().await;
        let mut last_error = None;
        for policy in Policy::ALL.into_iter().filter(|policy| policy.is_asked_for(&self.rules)) {
            if flushed.is_err() && policy.asks_who_was_seen() {
                self.failed(run, policy);
                continue;
            }
            last_error = self.apply_or_fail(run, policy).await.or(last_error);
        }
        self.close_rooms().await;
        last_error.or(flushed.err())
    }

    async fn apply_or_fail(&self, run: &Run, policy: Policy) -> Option<StoreError> {
        let error = self.apply(run, policy).await.err()?;
        tracing::warn!(policy = policy.as_str(), %error, "sweep policy failed");
        self.failed(run, policy);
        Some(error)
    }

    fn failed(&self, run: &Run, policy: Policy) {
        run.swept.lock().fail(policy);
        self.metrics.sweep_failures(policy.as_str()).inc();
    }

    async fn apply(&self, run: &Run, policy: Policy) -> Result<(), StoreError> {
        let mut done = |effect: Effect| {
            for session in &effect.closed {
                self.registry.close(*session, policy.close_reason());
            }
            self.metrics.swept(policy.as_str()).inc_by(effect.count);
            run.swept.lock().add(policy, effect.count);
            !self.registry.is_draining()
        };
        policy.apply(&self.store, &self.rules, self.audit.unseen_for(), &mut done).await?;
        if policy == Policy::Orphans {
            self.audit.settle_own(|count| done(Effect { count, ..Effect::default() })).await?;
        }
        Ok(())
    }
}

/// The time after this long; `None` where there is no such date.
fn in_future(time: Duration) -> Option<DateTime<Utc>> {
    Utc::now().checked_add_signed(TimeDelta::from_std(time).ok()?)
}
