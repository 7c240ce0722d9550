//! The supervisor: brings the simulators of this server from state to state, sees them end, and stops
//! those that are marked. What is wanted stands in the database; here is only what runs.

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
use crate::domain::simulator::{Held, LauncherKind, Move, SimulatorStatus};
use crate::ids::SimulatorId;
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};

/// How often the database is asked what is wanted. Another server, the sweep or SQL may have marked
/// one of ours.
const POLL: Duration = Duration::from_secs(2);

/// The pause after something that did not work.
const PAUSE: Duration = Duration::from_secs(1);

/// The same where it is about what a crash left behind: nobody waits for that.
const TIDY_PAUSE: Duration = Duration::from_secs(15);

/// How much longer than `simulator-stop-timeout` a stopping server waits for its simulators.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// How long a stopping server waits for the database.
const CLOSING_PATIENCE: Duration = Duration::from_secs(2);

/// Looks after the simulators of this server.
#[derive(Debug)]
pub struct Supervisor {
    store: Store,
    metrics: Arc<Metrics>,
    launcher: Option<Launcher>,
    settings: SimulatorSettings,
    /// Who keeps which simulator. Only [`Supervisor::poll`] adds and takes away.
    kept: Mutex<HashMap<SimulatorId, Kept>>,
    keepers: TaskTracker,
    woken: Notify,
    closing: CancellationToken,
}

#[derive(Debug)]
struct Kept {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Supervisor {
    /// A supervisor of what this server launches. What a server of this name left behind is marked to
    /// be stopped, before anybody can ask for something new.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn new(
        launcher: Option<Launcher>,
        store: Store,
        metrics: Arc<Metrics>,
        settings: SimulatorSettings,
    ) -> Result<Self, StoreError> {
        let orphans = store.stop_own_simulators().await?;
        if orphans > 0 {
            tracing::info!(orphans, "simulators were left behind and are stopped");
        }
        // A figure that is not there yet looks like one that is not told at all.
        for status in SimulatorStatus::ALL {
            match status.is_over() {
                true => drop(metrics.simulator_ends(status.as_str())),
                false => drop(metrics.simulators(status.as_str())),
            }
        }
        Ok(Self {
            store,
            metrics,
            launcher,
            settings,
            kept: Mutex::default(),
            keepers: TaskTracker::new(),
            woken: Notify::new(),
            closing: CancellationToken::new(),
        })
    }

    /// How simulators are launched here; `None` where they are not.
    pub fn launcher(&self) -> Option<LauncherKind> {
        self.launcher.as_ref().map(Launcher::kind)
    }

    /// How many simulators this server may hold.
    pub fn capacity(&self) -> i32 {
        self.settings.max_simulators
    }

    /// Looks at once what is wanted.
    pub fn wake(&self) {
        self.woken.notify_one();
    }

    /// Looks after them for ever.
    pub async fn run(self: Arc<Self>) {
        self.keepers.spawn(Arc::clone(&self).tidy());
        loop {
            match self.poll().await {
                // Nothing will ever be asked for.
                Ok(0) if self.launcher.is_none() => return std::future::pending().await,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "cannot see which simulators are wanted, asking again"),
            }
            tokio::select! {
                () = sleep(POLL) => {}
                () = self.woken.notified() => {}
            }
        }
    }

    /// Ends what a crash left behind and no row tells of.
    async fn tidy(self: Arc<Self>) {
        let Some(launcher) = &self.launcher else { return };
        while let Err(fault) = launcher.end_unknown(&self.store).await {
            tracing::warn!(%fault, "what was left behind cannot be looked for, trying again");
            tokio::select! {
                () = self.closing.cancelled() => return,
                () = sleep(TIDY_PAUSE) => {}
            }
        }
    }

    /// Marks all simulators of this server to be stopped and waits, bounded, until they are gone.
    pub async fn stop(self: &Arc<Self>) {
        // What cannot be written now is not tried again: the next start does it.
        self.closing.cancel();
        let marked = timeout(CLOSING_PATIENCE, async {
            self.store.stop_own_simulators().await?;
            self.poll().await
        });
        if !matches!(marked.await, Ok(Ok(_))) {
            tracing::warn!("simulators end and the database was not told; the next start does it");
        }
        for kept in self.kept.lock().values() {
            kept.stop.cancel();
        }
        self.keepers.close();
        if timeout(self.settings.simulator_stop_timeout + STOP_MARGIN, self.keepers.wait()).await.is_err() {
            tracing::error!(left = self.keepers.len(), "simulators did not end");
        }
    }

    /// Compares what is wanted with what runs, and says how many are wanted or to be stopped.
    async fn poll(self: &Arc<Self>) -> Result<usize, StoreError> {
        // Before the database is asked: what a keeper that is done has written is then seen, and a row
        // without a keeper never had one.
        self.kept.lock().retain(|_, kept| !kept.task.is_finished());
        if self.launcher.is_some() {
            self.store.stop_simulators_of_ended_sessions().await?;
        }
        let wanted = self.store.held_simulators().await?;
        let mut kept = self.kept.lock();
        for held in &wanted {
            match (held.status, kept.get(&held.id)) {
                (SimulatorStatus::Stopping, Some(kept)) => kept.stop.cancel(),
                (_, Some(_)) => {}
                (_, None) => drop(kept.insert(held.id, self.keep(held))),
            }
        }
        // Ended or deleted by somebody's SQL.
        for (id, kept) in kept.iter() {
            if !wanted.iter().any(|held| held.id == *id) {
                kept.stop.cancel();
            }
        }
        for status in SimulatorStatus::ALL.iter().filter(|status| !status.is_over()) {
            let count = wanted.iter().filter(|held| held.status == *status).count();
            self.metrics.simulators(status.as_str()).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        Ok(wanted.len())
    }

    fn keep(self: &Arc<Self>, held: &Held) -> Kept {
        let stop = CancellationToken::new();
        let keeper = Keeper { supervisor: Arc::clone(self), id: held.id, stop: stop.clone() };
        let held = held.clone();
        let task = self.keepers.spawn(async move {
            match (&keeper.supervisor.launcher, held.status) {
                (Some(launcher), SimulatorStatus::Creating) if launcher.kind() == held.launcher => {
                    keeper.launch(launcher, &Spec::from(&held)).await;
                }
                _ => keeper.stop_orphan(&held).await,
            }
            keeper.supervisor.wake();
        });
        Kept { stop, task }
    }
}

/// Brings one simulator to its end.
struct Keeper {
    supervisor: Arc<Supervisor>,
    id: SimulatorId,
    /// It is to end.
    stop: CancellationToken,
}

/// Why a simulator that was launched is over.
enum Ending {
    /// It was marked, in the database or by this server's own end.
    Asked,
    /// By itself, while it was in this state.
    Failed(SimulatorStatus, Fault),
}

impl Keeper {
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
        // A move that touches no row: it was stopped while it started.
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
        tracing::info!(simulator = %self.id, endpoint, "a simulator runs");
        self.supervisor.wake();
        tokio::select! {
            () = self.stop.cancelled() => Ending::Asked,
            fault = instance.ended() => Ending::Failed(SimulatorStatus::Running, fault),
        }
    }

    /// Nothing of it is to be left, also where it ended by itself.
    async fn end(&self, instance: &mut Instance) {
        while let Err(fault) = instance.stop().await {
            tracing::warn!(simulator = %self.id, %fault, "a simulator could not be stopped, trying again");
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
            tracing::warn!(simulator = %self.id, error, "a simulator failed");
            metrics.simulator_ends(SimulatorStatus::Error.as_str()).inc();
            return;
        }
        if self.moved(Move::Stopped).await {
            tracing::info!(simulator = %self.id, "a simulator was stopped");
            metrics.simulator_ends(SimulatorStatus::Stopped.as_str()).inc();
            return;
        }
        tracing::warn!(simulator = %self.id, "a simulator ended, and its row says otherwise");
    }

    /// One that nobody here holds: a server that crashed left it, or it was marked before it was launched.
    async fn stop_orphan(&self, orphan: &Held) {
        if orphan.status != SimulatorStatus::Stopping && !self.moved(Move::Marked).await {
            return;
        }
        let launcher = self.supervisor.launcher.as_ref();
        while let Err(fault) = Launcher::stop_orphan(launcher, orphan).await {
            tracing::warn!(simulator = %self.id, %fault, "what is left of a simulator cannot be stopped");
            if !self.may_try_again(TIDY_PAUSE).await {
                return;
            }
        }
        self.record_end(Ending::Asked).await;
    }

    /// Writes a move until the database has answered; whether it took place.
    async fn moved(&self, to: Move) -> bool {
        loop {
            match self.supervisor.store.move_simulator(self.id, &to).await {
                Ok(moved) => return moved,
                Err(error) => tracing::warn!(simulator = %self.id, %error, "a simulator's state cannot be written"),
            }
            // Also where the database says no: whoever mends it finds the row brought to its end.
            if !self.may_try_again(PAUSE).await {
                return false;
            }
        }
    }

    /// Waits a moment, unless the server stops.
    async fn may_try_again(&self, pause: Duration) -> bool {
        tokio::select! {
            () = self.supervisor.closing.cancelled() => false,
            () = sleep(pause) => true,
        }
    }
}
