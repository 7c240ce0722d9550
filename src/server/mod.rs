//! The server: what it is made of, how it starts, and the order in which it stops.

mod database;
mod keys;
mod listener;
mod recovery;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::api;
use crate::app::App;
use crate::config::Settings;
use crate::room::Registry;
use crate::socket::end::End;
use crate::store::StoreError;
use crate::task::Tasks;
pub use database::Database;
pub use keys::server_secret;

/// How many rooms are asked at once to reconnect later when the server stops, and the pause between batches.
const DRAIN_BATCH: usize = 200;
const DRAIN_PAUSE: Duration = Duration::from_millis(20);

/// How long the last writes may take where `drain-timeout` is used up.
const LAST_WRITES_PATIENCE: Duration = Duration::from_secs(3);

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
        let keys = keys::keys(&settings.identity, &settings.database).await?;
        let database = Database::open(&settings.database).await?;
        let store = database.prepare(settings).await?;
        let app = App::new(settings, keys, store, address, End::words().collect()).await?;
        recovery::recover(&app, &settings.presence).await?;
        let tasks = Tasks::default();
        app.spawn(&tasks);
        let stop_accepting = CancellationToken::new();
        let accepting = tokio::spawn(listener::accept(listener, api::router(&app), stop_accepting.clone()));
        let drain_timeout = settings.limits.drain_timeout;
        Ok(Self { address, app, database, drain_timeout, tasks, stop_accepting, accepting })
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
        self.stop_accepting.cancel();
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
        self.accepting.abort();
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
