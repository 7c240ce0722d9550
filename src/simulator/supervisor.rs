//! The supervisor: moves the simulators of this server from state to state, notices their end, and stops those
//! that are marked. The wanted state is in the database; here is only what runs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Fault, Instance, Launcher, Spec};
use crate::config::SimulatorSettings;
use crate::domain::ids::SimulatorId;
use crate::domain::simulator::{Held, LauncherKind, Move, SimulatorStatus};
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};
use crate::task::Tasks;

/// How often the database is polled. Another server, the sweep or SQL may have marked a simulator of this
/// server.
const POLL: Duration = Duration::from_secs(2);

/// The pause after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// The pause after a failure to end what a crash left behind, for which no user waits.
const TIDY_PAUSE: Duration = Duration::from_secs(15);

/// How much longer than `simulator-stop-timeout` a stopping server waits for its simulators.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// How long a stopping server waits for the database.
const CLOSING_PATIENCE: Duration = Duration::from_secs(2);

/// Runs the simulators of this server.
#[derive(Debug)]
pub struct Supervisor {
    store: Store,
    metrics: Arc<Metrics>,
    launcher: Option<Launcher>,
    settings: SimulatorSettings,
    /// The task of each simulator. Only [`Supervisor::poll`] adds and removes entries.
    guarded: Mutex<HashMap<SimulatorId, Guarded>>,
    guards: TaskTracker,
    woken: Notify,
    closing: CancellationToken,
}

#[derive(Debug)]
struct Guarded {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Supervisor {
    /// A supervisor of what this server launches.
    pub fn new(launcher: Option<Launcher>, store: Store, metrics: Arc<Metrics>, settings: SimulatorSettings) -> Self {
        // A metric that is missing until its first value would look like one that does not exist.
        for status in SimulatorStatus::ALL {
            match status.is_over() {
                true => drop(metrics.simulator_ends(status.as_str())),
                false => drop(metrics.simulators(status.as_str())),
            }
        }
        Self {
            store,
            metrics,
            launcher,
            settings,
            guarded: Mutex::default(),
            guards: TaskTracker::new(),
            woken: Notify::new(),
            closing: CancellationToken::new(),
        }
    }

    /// Marks the simulators that an earlier run of this node left behind for stopping. To be called before new
    /// ones can be requested.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn mark_orphans(&self) -> Result<(), StoreError> {
        let orphans = self.store.stop_own_simulators().await?;
        if orphans > 0 {
            tracing::info!(orphans, "stopping simulators of the last run");
        }
        Ok(())
    }

    /// The kind of launcher; `None` where simulators are not configured.
    pub fn launcher(&self) -> Option<LauncherKind> {
        self.launcher.as_ref().map(Launcher::kind)
    }

    /// How many simulators this server may run.
    pub fn capacity(&self) -> i32 {
        self.settings.max_simulators
    }

    /// Polls the database at once.
    pub fn wake(&self) {
        self.woken.notify_one();
    }

    /// Starts it as a background task.
    pub fn spawn(self: &Arc<Self>, tasks: &Tasks) {
        tasks.spawn("simulators", self, Self::run);
    }

    async fn run(self: Arc<Self>) {
        self.guards.spawn(Arc::clone(&self).tidy());
        loop {
            match self.poll().await {
                // No simulator can ever be requested.
                Ok(0) if self.launcher.is_none() => return std::future::pending().await,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "polling simulators failed; retrying"),
            }
            tokio::select! {
                () = sleep(POLL) => {}
                () = self.woken.notified() => {}
            }
        }
    }

    /// Ends what a crash left behind and has no row.
    async fn tidy(self: Arc<Self>) {
        let Some(launcher) = &self.launcher else { return };
        while let Err(fault) = launcher.end_unknown(&self.store).await {
            tracing::warn!(%fault, "looking for orphaned simulators failed; retrying");
            tokio::select! {
                () = self.closing.cancelled() => return,
                () = sleep(TIDY_PAUSE) => {}
            }
        }
    }

    /// Marks all simulators of this server for stopping and waits, with a limit, until they are gone.
    pub async fn stop(self: &Arc<Self>) {
        // A write that fails from now on is not repeated: the next start does it.
        self.closing.cancel();
        let marked = timeout(CLOSING_PATIENCE, async {
            self.store.stop_own_simulators().await?;
            self.poll().await
        });
        if !matches!(marked.await, Ok(Ok(_))) {
            tracing::warn!("simulators end without being marked in the database; the next start marks them");
        }
        for guarded in self.guarded.lock().values() {
            guarded.stop.cancel();
        }
        self.guards.close();
        if timeout(self.settings.simulator_stop_timeout + STOP_MARGIN, self.guards.wait()).await.is_err() {
            tracing::error!(left = self.guards.len(), "simulators did not end in time");
        }
    }

    /// Compares the wanted simulators with the running ones. Returns how many rows there are.
    async fn poll(self: &Arc<Self>) -> Result<usize, StoreError> {
        // Before the database is asked: the last write of a finished task is then seen, and a row without a task
        // never had one.
        self.guarded.lock().retain(|_, guarded| !guarded.task.is_finished());
        if self.launcher.is_some() {
            self.store.stop_simulators_of_ended_sessions().await?;
        }
        let wanted = self.store.held_simulators().await?;
        let mut guarded = self.guarded.lock();
        for held in &wanted {
            match (held.status, guarded.get(&held.id)) {
                (SimulatorStatus::Stopping, Some(guarded)) => guarded.stop.cancel(),
                (_, Some(_)) => {}
                (_, None) => drop(guarded.insert(held.id, self.guard(held))),
            }
        }
        // Ended or deleted by SQL.
        for (id, guarded) in guarded.iter() {
            if !wanted.iter().any(|held| held.id == *id) {
                guarded.stop.cancel();
            }
        }
        for status in SimulatorStatus::ALL.iter().filter(|status| !status.is_over()) {
            let count = wanted.iter().filter(|held| held.status == *status).count();
            self.metrics.simulators(status.as_str()).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        Ok(wanted.len())
    }

    fn guard(self: &Arc<Self>, held: &Held) -> Guarded {
        let stop = CancellationToken::new();
        let guard = Guard { supervisor: Arc::clone(self), id: held.id, stop: stop.clone() };
        let held = held.clone();
        let task = self.guards.spawn(async move {
            match (&guard.supervisor.launcher, held.status) {
                (Some(launcher), SimulatorStatus::Creating) if launcher.kind() == held.launcher => {
                    guard.launch(launcher, &Spec::from(&held)).await;
                }
                _ => guard.stop_orphan(&held).await,
            }
            guard.supervisor.wake();
        });
        Guarded { stop, task }
    }
}

/// The task of one simulator, from launch to end.
struct Guard {
    supervisor: Arc<Supervisor>,
    id: SimulatorId,
    /// Asks it to end.
    stop: CancellationToken,
}

/// Why a launched simulator ended.
enum Ending {
    /// Its row was marked, or this server stops.
    Asked,
    /// It ended by itself while it was in this state.
    Failed(SimulatorStatus, Fault),
}

impl Guard {
    async fn launch(&self, launcher: &Launcher, spec: &Spec) {
        let ending = match launcher.start(spec).await {
            Ok(mut instance) => {
                let ending = self.live(&mut instance).await;
                self.end(&mut instance).await;
                ending
            }
            Err(fault) => Ending::Failed(SimulatorStatus::Creating, fault),
        };
        self.record_end(ending).await;
    }

    /// From launch to end.
    async fn live(&self, instance: &mut Instance) -> Ending {
        // The move touches no row where the simulator was marked while it started.
        if !self.moved(Move::Launched { handle: instance.handle() }).await {
            return Ending::Asked;
        }
        let patience = self.supervisor.settings.simulator_start_timeout;
        let ready = tokio::select! {
            () = self.stop.cancelled() => return Ending::Asked,
            ready = timeout(patience, instance.ready()) => ready,
        };
        let late = |_| Fault(format!("it was not ready within {}", humantime::format_duration(patience)));
        if let Err(fault) = ready.map_err(late).flatten() {
            return Ending::Failed(SimulatorStatus::Starting, fault);
        }
        let endpoint = instance.endpoint();
        if !self.moved(Move::Ready { endpoint: endpoint.clone() }).await {
            return Ending::Asked;
        }
        tracing::info!(simulator = %self.id, endpoint, "simulator running");
        self.supervisor.wake();
        tokio::select! {
            () = self.stop.cancelled() => Ending::Asked,
            fault = instance.ended() => Ending::Failed(SimulatorStatus::Running, fault),
        }
    }

    /// Stops it until nothing of it is left, also where it ended by itself.
    async fn end(&self, instance: &mut Instance) {
        while let Err(fault) = instance.stop().await {
            tracing::warn!(simulator = %self.id, %fault, "stopping a simulator failed; retrying");
            if !self.may_try_again(PAUSE).await {
                return;
            }
        }
    }

    async fn record_end(&self, ending: Ending) {
        let metrics = &self.supervisor.metrics;
        if let Ending::Failed(from, Fault(error)) = ending
            && self.moved(Move::Failed { from, error: error.clone() }).await
        {
            tracing::warn!(simulator = %self.id, error, "simulator failed");
            metrics.simulator_ends(SimulatorStatus::Error.as_str()).inc();
            return;
        }
        if self.moved(Move::Stopped).await {
            tracing::info!(simulator = %self.id, "simulator stopped");
            metrics.simulator_ends(SimulatorStatus::Stopped.as_str()).inc();
            return;
        }
        tracing::warn!(simulator = %self.id, "simulator ended, but its row has another state");
    }

    /// Ends a simulator without a running instance: a crashed server left it, or it was marked before it was
    /// launched.
    async fn stop_orphan(&self, orphan: &Held) {
        if orphan.status != SimulatorStatus::Stopping && !self.moved(Move::Marked).await {
            return;
        }
        let launcher = self.supervisor.launcher.as_ref();
        while let Err(fault) = Launcher::stop_orphan(launcher, orphan).await {
            tracing::warn!(simulator = %self.id, %fault, "stopping an orphaned simulator failed; retrying");
            if !self.may_try_again(TIDY_PAUSE).await {
                return;
            }
        }
        self.record_end(Ending::Asked).await;
    }

    /// Writes a move until the database has answered; whether it touched the row.
    async fn moved(&self, to: Move) -> bool {
        loop {
            match self.supervisor.store.move_simulator(self.id, &to).await {
                Ok(moved) => return moved,
                Err(error) => tracing::warn!(simulator = %self.id, %error, "writing the state of a simulator failed"),
            }
            // Also where the database refuses it: once that is repaired, the next start finds the row.
            if !self.may_try_again(PAUSE).await {
                return false;
            }
        }
    }

    /// Waits, unless the server stops.
    async fn may_try_again(&self, pause: Duration) -> bool {
        tokio::select! {
            () = self.supervisor.closing.cancelled() => false,
            () = sleep(pause) => true,
        }
    }
}
