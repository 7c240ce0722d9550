//! The database of a run: a PostgreSQL of our own, which can be stopped, killed and locked.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use lastseen::store::embedded::{Embedded, Options};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection};

/// How long a question to the database may take that nothing disturbs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running PostgreSQL. It is started again when it dies.
pub struct Postgres {
    embedded: Embedded,
    /// For questions of the judge.
    pub pool: PgPool,
}

/// Processes that are stopped until this is dropped.
pub struct Stopped(Vec<Pid>);

impl Stopped {
    /// Stops these processes.
    pub fn now(processes: Vec<Pid>) -> Self {
        for process in &processes {
            // One that has ended needs no stop.
            let _ = kill(*process, Signal::SIGSTOP);
        }
        Self(processes)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        for process in &self.0 {
            let _ = kill(*process, Signal::SIGCONT);
        }
    }
}

impl Postgres {
    /// Makes a cluster below this directory and starts it.
    pub async fn start(directory: &Path) -> anyhow::Result<Self> {
        // Durable: what a killed PostgreSQL has confirmed must be there.
        let options = Options { data_dir: directory.join("data"), bin: None, durable: true, max_connections: 60 };
        let embedded = Embedded::start(&options).await?;
        let mut connection = embedded.admin().connect().await?;
        // The disk is small.
        for statement in [
            "ALTER SYSTEM SET max_wal_size = '96MB'",
            "ALTER SYSTEM SET min_wal_size = '32MB'",
            "SELECT pg_reload_conf()",
        ] {
            sqlx::query(statement).execute(&mut connection).await?;
        }
        connection.close().await?;
        let pool =
            PgPoolOptions::new().max_connections(3).acquire_timeout(PATIENCE).connect_lazy_with(embedded.admin());
        Ok(Self { embedded, pool })
    }

    /// Its address, as `DATABASE_URL` has it.
    pub fn url(&self) -> String {
        self.admin().to_url_lossy().to_string()
    }

    fn admin(&self) -> PgConnectOptions {
        self.embedded.admin()
    }

    /// A superuser's connection of its own.
    pub async fn connect(&self) -> anyhow::Result<PgConnection> {
        tokio::time::timeout(PATIENCE, self.admin().connect())
            .await
            .context("the database does not answer")?
            .map_err(Into::into)
    }

    /// The postmaster and its children.
    pub fn processes(&self) -> anyhow::Result<Vec<Pid>> {
        let postmaster = self.embedded.pid().cast_signed();
        let mut found = vec![Pid::from_raw(postmaster)];
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            // A process may end while we look.
            let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
            let parent =
                stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<i32>().ok());
            if parent == Some(postmaster) {
                found.push(Pid::from_raw(process));
            }
        }
        Ok(found)
    }

    /// Kills the postmaster and its children.
    pub fn kill(&self) -> anyhow::Result<()> {
        for process in self.processes()? {
            let _ = kill(process, Signal::SIGKILL);
        }
        Ok(())
    }

    /// Ends it.
    pub async fn stop(self) {
        self.pool.close().await;
        self.embedded.stop().await;
    }
}
