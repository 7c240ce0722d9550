//! A PostgreSQL of the server's own, for when no `DATABASE_URL` is given.
//!
//! It is the real thing: a private cluster of the installed programs, below the data directory, reached by a unix
//! socket that is closed to other users. So there is one SQL dialect, and the tests run what production runs.
//!
//! The modules: `data_dir` chooses the data directory, `home` is what is in it and its lock, `account` is the user that
//! PostgreSQL runs as, `programs` (with `download`) finds `initdb` and `postgres`, `cluster` makes the cluster and what
//! is in it, `guard` is the thread that starts the postmaster and restarts it when it dies.

mod account;
mod closed;
mod cluster;
mod data_dir;
mod download;
mod error;
mod guard;
mod home;
mod output;
mod programs;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use sqlx::{
    ConnectOptions, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};

use self::{
    account::Account,
    cluster::{Cluster, Leftovers},
    guard::Guard,
    home::Home,
    programs::Search,
};

pub use self::{closed::Closed, data_dir::DataDir, error::EmbeddedError};

/// The database that the server works in.
const DATABASE: &str = "lastseen";
/// The superuser that `initdb` makes.
const SUPERUSER: &str = "postgres";
/// The login role that the server works as.
const APP_ROLE: &str = "lastseen_app";
/// There is no TCP port; the number is part of the socket's file name.
const PORT: u16 = 5432;

/// Replaying the log after a crash can take this long, and must not be cut short: the next start would begin again.
const START_PATIENCE: Duration = Duration::from_secs(300);
/// How long the backends and the shared memory of a killed postmaster may keep the next one from starting.
const LEFTOVERS_PATIENCE: Duration = Duration::from_secs(10);
/// How long one attempt to connect may take while the postmaster comes up.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// The interval at which a starting postmaster is tried for a connection.
const READY_POLL: Duration = Duration::from_millis(10);

/// How to run the embedded database.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server's data directory. The cluster is in `postgres` below it, its log in `postgres.log`.
    pub data_dir: PathBuf,
    /// The directory of PostgreSQL's programs, where the operator names one (`LASTSEEN_POSTGRES_BIN`).
    pub bin: Option<PathBuf>,
    /// Whether what is committed survives a power cut. `false` is for tests.
    pub durable: bool,
    /// PostgreSQL's `max_connections`. It keeps three of them for superusers.
    pub max_connections: u32,
}

/// A PostgreSQL cluster of our own, running.
///
/// A postmaster that ends unexpectedly is restarted, so connections may break but the database comes back.
/// It ends with [`Embedded::stop`]. Dropping it sends PostgreSQL a signal to stop and does not wait, and on Linux PostgreSQL
/// also ends when the server is killed.
#[derive(Debug)]
pub struct Embedded {
    socket_dir: PathBuf,
    guard: Guard,
}

impl Embedded {
    /// Starts the database, making it first where there is none yet.
    ///
    /// # Errors
    ///
    /// The text has what is wrong and what to do about it: see [`EmbeddedError`].
    pub async fn start(options: &Options) -> Result<Self, EmbeddedError> {
        Self::start_with(options, &Search::of_this_machine()).await
    }

    async fn start_with(options: &Options, search: &Search) -> Result<Self, EmbeddedError> {
        let home = Home::open(&options.data_dir).await?;
        let account = Account::choose(&home.cluster())?;
        let socket_dir = home.prepare_for(&account)?;
        let cluster = Cluster::at(&home, account);

        let need = cluster.need()?;
        let programs = search.find(options.bin.as_deref(), &home, cluster.account(), need).await?;
        if !cluster.exists() {
            cluster.create(&programs, options.durable).await?;
        }
        let leftovers = cluster.clear_leftovers(&socket_dir).await;

        let postmaster = cluster.postmaster(&programs, &socket_dir, options);
        let embedded = Self { socket_dir, guard: Guard::start(postmaster, home.log(), home.into_lock())? };
        let connection = embedded.wait_until_ready(&cluster, leftovers).await?;
        cluster::provide(connection).await?;
        Ok(embedded)
    }

    /// Connects as the superuser, on the database `lastseen`: for migrations only.
    #[must_use]
    pub fn admin(&self) -> PgConnectOptions {
        connect_as(&self.socket_dir, SUPERUSER, DATABASE)
    }

    /// The same, of the database that another server runs in this data directory. Nothing is asked of that server, and
    /// the database ends with it.
    ///
    /// # Errors
    ///
    /// Where there is no such directory.
    pub fn admin_beside(data_dir: &Path) -> Result<PgConnectOptions, EmbeddedError> {
        Ok(connect_as(&home::socket_dir(data_dir)?, SUPERUSER, DATABASE))
    }

    /// Connects as `lastseen_app`, on the database `lastseen`. The role is neither superuser nor owner, so the policies
    /// hold for it, and it is a member of `lastseen_service`.
    #[must_use]
    pub fn app(&self) -> PgConnectOptions {
        connect_as(&self.socket_dir, APP_ROLE, DATABASE)
    }

    /// The process id of the postmaster: after a death, and until it is replaced, the one that died.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.guard.pid()
    }

    /// Stops the database and waits until it is gone: first in order, with open connections cut, then by force.
    pub async fn stop(self) {
        self.guard.stop().await;
    }

    async fn wait_until_ready(&self, cluster: &Cluster, leftovers: Leftovers) -> Result<PgConnection, EmbeddedError> {
        let options = connect_as(&self.socket_dir, SUPERUSER, SUPERUSER);
        let began = Instant::now();
        loop {
            match tokio::time::timeout(CONNECT_PATIENCE, options.connect()).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) if !may_pass(&error) => return Err(EmbeddedError::Prepare(error)),
                Ok(Err(_)) | Err(_) => {}
            }
            let patience = match (self.guard.has_died(), leftovers) {
                (false, _) => START_PATIENCE,
                (true, Leftovers::Found) => LEFTOVERS_PATIENCE,
                (true, Leftovers::None) => Duration::ZERO,
            };
            if began.elapsed() >= patience {
                return Err(cluster.did_not_start());
            }
            tokio::time::sleep(READY_POLL).await;
        }
    }
}

fn connect_as(socket_dir: &Path, role: &str, database: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(socket_dir)
        .port(PORT)
        .username(role)
        .database(database)
        .application_name("lastseen")
        .ssl_mode(PgSslMode::Disable)
}

/// Whether this error is part of starting: no socket yet, or `cannot_connect_now` from a server that is not ready.
fn may_pass(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(refusal) => refusal.code().as_deref() == Some("57P03"),
        sqlx::Error::Configuration(_) => false,
        _ => true,
    }
}
