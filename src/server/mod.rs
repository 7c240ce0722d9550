//! The server: what it is made of, how it starts, and the order in which it stops.

mod capacity;
mod database;
mod keys;
mod listener;
mod overflow;
mod places;
mod recovery;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::api;
use crate::app::App;
use crate::config::Settings;
use crate::metrics::Metrics;
use crate::open_files;
use crate::room::Registry;
use crate::socket::end::End;
use crate::store::StoreError;
use crate::task::Tasks;
use capacity::Capacity;
pub use database::Database;
pub use keys::{secret_rules, server_secret};
use listener::{Front, Listener};
use overflow::Overflow;
use places::Places;
use tls::Tls;

/// How many rooms are asked at once to reconnect later when the server stops, and the pause between batches.
const DRAIN_BATCH: usize = 200;
const DRAIN_PAUSE: Duration = Duration::from_millis(20);

/// How long the last writes may take where `drain-timeout` is used up.
const LAST_WRITES_PATIENCE: Duration = Duration::from_secs(3);

/// Connections with plain HTTP that a network may have, however few WebSockets it may.
const LEAST_OF_NETWORK: usize = 64;

/// How long connections to the database may take to close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(3);

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    app: App,
    database: Database,
    drain_timeout: Duration,
    tasks: Tasks,
    /// The accept loop, which stops before all else.
    accepting: Tasks,
    /// Ends connections that carry plain HTTP.
    stop_serving: CancellationToken,
}

impl Server {
    /// Starts a server: database, schema, keys, rooms, tasks, and at last the listener.
    ///
    /// # Errors
    /// Why it cannot start, as one line for the operator.
    pub async fn start(settings: &Settings) -> anyhow::Result<Self> {
        let asked = settings.limits.max_connections;
        let (settings, capacity) = &fitted(settings)?;
        let tcp = listener::bind(settings.network.listen)
            .with_context(|| format!("cannot listen on {}", settings.network.listen))?;
        let address = tcp.local_addr()?;
        let metrics = Arc::new(Metrics::default());
        let tls = Tls::of(&settings.network, &metrics)?;
        let keys = keys::keys(&settings.identity, &settings.database, &metrics).await?;
        let database = Database::open(&settings.database).await?;
        let store = database.prepare(settings).await?;
        let app = App::new(settings, keys, store, address, End::words().collect(), metrics).await?;
        recovery::recover(&app, &settings.presence).await?;
        let tasks = Tasks::default();
        app.spawn(&tasks);
        warn_of_few(capacity, asked);
        let (accepting, stop_serving) = (Tasks::default(), CancellationToken::new());
        if let Some(tls) = &tls {
            tasks.spawn("certificate", tls, tls::watch);
        }
        let front = Arc::new(front(&app, settings, *capacity, tls, stop_serving.clone()));
        accepting.spawn("accept", &Arc::new(Listener { tcp, front }), listener::accept);
        let drain_timeout = settings.limits.drain_timeout;
        Ok(Self { address, app, database, drain_timeout, tasks, accepting, stop_serving })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its rooms.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.app.registry
    }

    /// Its database.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Stops it: refuses new connections, asks all connections to reconnect later, writes what was seen, and
    /// closes the database. No person is shown as leaving, since clients reconnect. All of it takes not much longer than
    /// `drain-timeout`, whatever the database does.
    pub async fn stop(self) {
        tracing::info!(rooms = self.app.registry.census().rooms, "stopping");
        self.app.registry.refuse_newcomers();
        self.accepting.stop().await;
        self.stop_serving.cancel();
        let deadline = Instant::now() + self.drain_timeout;
        self.app.figures.drain();
        let drained = timeout(self.drain_timeout, async {
            self.app.registry.drain(DRAIN_BATCH, async || sleep(DRAIN_PAUSE).await).await;
            self.app.tracker.close();
            self.app.tracker.wait().await;
        });
        if drained.await.is_err() {
            tracing::warn!(left = self.app.tracker.len(), "connections still open after drain-timeout are cut");
        }
        self.tasks.stop().await;
        self.app.supervisor.stop().await;
        let deadline = deadline.max(Instant::now() + LAST_WRITES_PATIENCE);
        let late = || StoreError::Unavailable("no answer within drain-timeout".to_owned());
        match timeout_at(deadline, self.app.flusher.flush()).await.unwrap_or_else(|_| Err(late())) {
            Ok(rows) => tracing::info!(rows, "last flush written"),
            Err(error) => {
                tracing::error!(%error, lost = self.app.registry.shared().write_behind.backlog(), "last flush failed")
            }
        }
        if let Err(error) = timeout_at(deadline, self.app.sits.record_all()).await.unwrap_or_else(|_| Err(late())) {
            tracing::warn!(%error, "ended sits not recorded; the next start records them");
        }
        // A connection whose statement hangs in a paused database never returns to the pool.
        if timeout(CLOSE_PATIENCE, self.app.store.close()).await.is_err() {
            tracing::warn!("database connections did not close in time and are cut");
        }
        self.database.close().await;
        tracing::info!("stopped");
    }
}

/// The settings, with as many connections as fit into the limit of open files, which is raised.
fn fitted(settings: &Settings) -> anyhow::Result<(Settings, Capacity)> {
    let files = open_files::raise().context("the limit of open files cannot be read")?;
    let capacity = Capacity::of(files, settings)?;
    let mut settings = settings.clone();
    settings.limits.max_connections = Some(capacity.sockets);
    Ok((settings, capacity))
}

/// Says at a start that succeeds that it is not all that was asked for. The default is as much as fits.
fn warn_of_few(capacity: &Capacity, asked: Option<usize>) {
    if let Some(asked) = asked.filter(|asked| capacity.sockets < *asked) {
        tracing::warn!(
            "max-connections {asked} does not fit into the limit of open files: no more than {} are taken; raise the hard limit (ulimit -Hn, LimitNOFILE=)",
            capacity.sockets
        );
    }
}

fn front(app: &App, settings: &Settings, capacity: Capacity, tls: Option<Arc<Tls>>, stop: CancellationToken) -> Front {
    let routes = api::router(app);
    let of_network = settings.limits.max_connections_per_ip.max(LEAST_OF_NETWORK);
    Front {
        places: Arc::new(Places::new(
            capacity.connections,
            of_network,
            Arc::clone(&app.limits),
            app.metrics.http_connections.clone(),
        )),
        overflow: Overflow::new(routes.clone(), tls.clone(), Arc::clone(&app.metrics), Arc::clone(&app.refusal_log)),
        app: routes,
        tls,
        trusted_proxies: app.trusted_proxies.clone(),
        write_timeout: settings.limits.write_timeout,
        stop,
    }
}
