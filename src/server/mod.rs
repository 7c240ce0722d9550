//! The server: what it is made of, how it starts, and the order in which it stops.

mod database;
mod keys;
mod listener;
mod recovery;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use governor::{Quota, RateLimiter};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::Admissions;
use crate::api::{self, Api};
use crate::clock::Clock;
use crate::config::Settings;
use crate::metrics::Metrics;
use crate::protocol::v1::Frames;
use crate::room::{Feature, Registry, RoomMetrics, Rules, Schedule, Shared, Timings, WriteBehind};
use crate::simulator::Launcher;
use crate::simulator::supervisor::Supervisor;
use crate::sit::{SitRecorder, Sits};
use crate::socket::Sockets;
use crate::socket::limits::Limits;
use crate::socket::origin::Origins;
use crate::socket::stats::{Figures, Sources};
use crate::store::Store;
use crate::task::flush::Flusher;
use crate::task::sweep::Sweeper;
use crate::task::{Tasks, tick};
use crate::user_session::{self, UserSessions};
pub use database::Database;
pub use keys::server_secret;

/// How many rooms are asked at once to reconnect later when the server stops, and the pause between batches.
const DRAIN_BATCH: usize = 200;
const DRAIN_PAUSE: Duration = Duration::from_millis(20);

/// How long connections to the database may take to close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(3);

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    registry: Arc<Registry>,
    store: Store,
    flusher: Arc<Flusher>,
    sits: Arc<SitRecorder>,
    figures: Arc<Figures>,
    supervisor: Arc<Supervisor>,
    database: Database,
    drain_timeout: Duration,
    connections: TaskTracker,
    tasks: Tasks,
    stop_accepting: CancellationToken,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Starts a server: database, schema, keys, rooms, tasks, and at last the listener.
    ///
    /// # Errors
    /// Why it cannot start, as one line for the operator.
    pub async fn start(settings: &Settings) -> anyhow::Result<Self> {
        let listener = listener::bind(settings.network.listen)
            .with_context(|| format!("cannot listen on {}", settings.network.listen))?;
        let address = listener.local_addr()?;
        let keys = Arc::new(keys::keys(&settings.identity, &settings.database).await?);
        let database = Database::open(&settings.database).await?;
        let store = database.prepare(settings).await?;

        let (clock, metrics, sits) = (Clock::new(), Arc::new(Metrics::default()), Arc::new(Sits::default()));
        let shared = Shared {
            rules: room_rules(settings),
            clock,
            write_behind: Arc::new(WriteBehind::default()),
            schedule: Schedule::default(),
            features: vec![Arc::clone(&sits) as Arc<dyn Feature>],
            metrics: Arc::clone(&metrics) as Arc<dyn RoomMetrics>,
        };
        let registry = Arc::new(Registry::new(Arc::new(shared)));
        let user_sessions = Arc::new(UserSessions::new(clock, user_session_rules(settings)));
        let sits = Arc::new(SitRecorder::new(sits, Arc::clone(&registry), store.clone()));

        let presence = &settings.presence;
        let flusher = Arc::new(Flusher::new(
            Arc::clone(&registry),
            Arc::clone(&user_sessions),
            store.clone(),
            Arc::clone(&metrics),
            presence.flush_interval,
        ));
        let sweeper = Arc::new(Sweeper::new(
            Arc::clone(&registry),
            store.clone(),
            Arc::clone(&flusher),
            Arc::clone(&metrics),
            presence.sweep_interval,
            settings.sessions.clone(),
        ));
        let supervisor = supervisor(settings, &store, &metrics).await?;
        let connections = TaskTracker::new();
        let limits = Arc::new(Limits::new(&settings.limits));
        let figures = Arc::new(Figures::new(Sources {
            node: store.node().to_owned(),
            metrics: Arc::clone(&metrics),
            registry: Arc::clone(&registry),
            limits: Arc::clone(&limits),
            user_sessions: Arc::clone(&user_sessions),
            flusher: Arc::clone(&flusher),
            sweeper: Arc::clone(&sweeper),
        }));
        let sockets = Arc::new(Sockets {
            admissions: Arc::new(Admissions::new(Arc::clone(&keys), store.clone(), Arc::clone(&registry))),
            frames: Arc::new(Frames::new(clock, settings)),
            clock,
            metrics: Arc::clone(&metrics),
            limits,
            origins: Origins::new(&settings.network),
            trusted_proxies: settings.network.trusted_proxies.clone(),
            timings: settings.into(),
            store: store.clone(),
            write_behind: Arc::clone(&registry.shared().write_behind),
            user_sessions: Arc::clone(&user_sessions),
            sits: Arc::clone(&sits),
            figures: Arc::clone(&figures),
            tracker: connections.clone(),
        });
        let api = Arc::new(Api {
            keys,
            store: store.clone(),
            registry: Arc::clone(&registry),
            user_sessions,
            sweeper: Arc::clone(&sweeper),
            supervisor: Arc::clone(&supervisor),
            metrics: Arc::clone(&metrics),
            origins: Origins::new(&settings.network),
            trusted_proxies: settings.network.trusted_proxies.clone(),
            public_url: settings.network.public_url.clone().unwrap_or_else(|| format!("http://{address}")),
            guest_hosts: settings.guest_hosts(),
            max_participants: settings.limits.max_participants,
            session_rate: RateLimiter::keyed(Quota::per_minute(settings.limits.max_sessions_per_minute)),
            sockets,
        });

        recovery::recover(&registry, &store, &sits, &supervisor, &settings.presence).await?;
        let tasks = Tasks::default();
        tick::start(&tasks, &registry);
        flusher.start(&tasks);
        sweeper.start(&tasks);
        sits.start_recording(&tasks);
        supervisor.start(&tasks);
        figures.start(&tasks);
        api.start(&tasks);
        let app = api::finish(api::routes(api), metrics);
        let stop_accepting = CancellationToken::new();
        let accepting = tokio::spawn(listener::accept(listener, app, stop_accepting.clone()));
        Ok(Self {
            address,
            registry,
            store,
            flusher,
            sits,
            figures,
            supervisor,
            database,
            drain_timeout: settings.limits.drain_timeout,
            connections,
            tasks,
            stop_accepting,
            accepting,
        })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its rooms.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Its database.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Stops it: refuses new connections, asks all connections to reconnect later, writes what was seen, and
    /// closes the database. Nobody is shown as leaving, since clients reconnect.
    pub async fn stop(self) {
        tracing::info!(rooms = self.registry.census().rooms, "stopping");
        self.registry.refuse_newcomers();
        self.stop_accepting.cancel();
        self.figures.drain();
        let drained = timeout(self.drain_timeout, async {
            self.registry.drain(DRAIN_BATCH, async || sleep(DRAIN_PAUSE).await).await;
            self.connections.close();
            self.connections.wait().await;
        });
        if drained.await.is_err() {
            tracing::warn!(left = self.connections.len(), "connections still open after drain-timeout are cut");
        }
        self.accepting.abort();
        self.tasks.stop().await;
        self.supervisor.stop().await;
        match self.flusher.flush().await {
            Ok(rows) => tracing::info!(rows, "last flush written"),
            Err(error) => {
                tracing::error!(%error, lost = self.registry.shared().write_behind.backlog(), "last flush failed")
            }
        }
        if let Err(error) = self.sits.record_all().await {
            tracing::warn!(%error, "ended sits not recorded; the next start records them");
        }
        // A connection whose statement hangs in a paused database never returns to the pool.
        if timeout(CLOSE_PATIENCE, self.store.close()).await.is_err() {
            tracing::warn!("database connections did not close in time and are cut");
        }
        self.database.close().await;
        tracing::info!("stopped");
    }
}

async fn supervisor(settings: &Settings, store: &Store, metrics: &Arc<Metrics>) -> anyhow::Result<Arc<Supervisor>> {
    let launcher = Launcher::of(&settings.simulators, store.node()).await?;
    Ok(Arc::new(Supervisor::new(launcher, store.clone(), Arc::clone(metrics), settings.simulators.clone())))
}

/// The rules of rooms by these settings.
pub fn room_rules(settings: &Settings) -> Rules {
    let presence = &settings.presence;
    Rules {
        timings: Timings { grace: presence.grace, idle_after: presence.idle_after },
        diff_interval: presence.diff_interval,
        diff_interval_large: presence.diff_interval_large,
        detail_limit: presence.detail_limit,
        idle: settings.sessions.idle(),
        expiring_notice: presence.expiring_notice,
    }
}

fn user_session_rules(settings: &Settings) -> user_session::Rules {
    user_session::Rules { timeout: settings.sessions.user_session_timeout, idle_after: settings.presence.idle_after }
}
