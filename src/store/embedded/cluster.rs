//! The cluster: how it is made, what has to be in it, and how what a crashed server left behind is cleared away.

use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use nix::{errno::Errno, sys::signal, unistd::Pid};
use sqlx::{Connection, PgConnection};

use super::{
    Options, PORT, SUPERUSER,
    account::Account,
    error::{Doing, EmbeddedError},
    guard::WAYS_TO_END,
    home::Home,
    output::output_of,
    programs::{Need, Programs},
};

/// Not every macOS has `C.UTF-8`, which differs from `C` only in its letters beyond ASCII.
const LOCALE: &str = if cfg!(target_os = "macos") { "C" } else { "C.UTF-8" };
/// How much of the log an error quotes when PostgreSQL does not start.
const TAIL_LINES: usize = 12;

/// Whether the last postmaster ended as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leftovers {
    /// It did, or there was none.
    None,
    /// It did not: its backends and shared memory can be in the way for a moment.
    Found,
}

/// One cluster on disk.
#[derive(Debug)]
pub(super) struct Cluster {
    directory: PathBuf,
    log: PathBuf,
    account: Account,
}

impl Cluster {
    pub(super) fn at(home: &Home, account: Account) -> Self {
        Self { directory: home.cluster(), log: home.log(), account }
    }

    /// The user that owns it and runs its programs.
    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    pub(super) fn exists(&self) -> bool {
        self.directory.exists()
    }

    /// The version of the programs that it needs.
    pub(super) fn need(&self) -> Result<Need, EmbeddedError> {
        if !self.exists() {
            return Ok(Need::Supported);
        }
        let file = self.directory.join("PG_VERSION");
        let text = fs::read_to_string(&file).doing("read", &file)?;
        let major = text.trim().parse().map_err(std::io::Error::other).doing("understand", file)?;
        Ok(Need::Exactly(major))
    }

    /// Makes the cluster under another name and moves it into place, so that one found there is complete.
    pub(super) async fn create(&self, programs: &Programs, durable: bool) -> Result<(), EmbeddedError> {
        let unfinished = self.directory.with_extension("unfinished");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).doing("remove", &unfinished)?;
        }
        fs::DirBuilder::new().mode(0o700).create(&unfinished).doing("create", &unfinished)?;
        self.account.own(&unfinished).doing("hand over", &unfinished)?;

        let mut command = self.account.command(programs.initdb());
        command
            .arg("--pgdata")
            .arg(&unfinished)
            .args(["--username", SUPERUSER, "--encoding=UTF8", "--locale", LOCALE, "--no-instructions"])
            // Only root and the owner of these very files can enter the socket's directory: a password would protect
            // nothing.
            .args(["--auth-local=trust", "--auth-host=reject"]);
        if !durable {
            command.arg("--no-sync");
        }
        output_of(command)
            .await
            .map_err(|error| EmbeddedError::Initdb { cluster: self.directory.clone(), output: error.to_string() })?;
        fs::rename(&unfinished, &self.directory).doing("move into place", &self.directory)
    }

    /// The command that runs it.
    pub(super) fn postmaster(&self, programs: &Programs, socket_dir: &Path, options: &Options) -> Command {
        let mut settings = vec![
            // No TCP: the permissions of the socket's directory are the access control.
            "listen_addresses=".to_owned(),
            format!("port={PORT}"),
            format!("unix_socket_directories={}", socket_dir.display()),
            format!("max_connections={}", options.max_connections),
            // It shares the machine with the server: short statements on little data, and no replica.
            "shared_buffers=32MB".to_owned(),
            "max_wal_size=256MB".to_owned(),
            "jit=off".to_owned(),
            "max_parallel_workers_per_gather=0".to_owned(),
            "max_logical_replication_workers=0".to_owned(),
            "max_wal_senders=0".to_owned(),
            "wal_level=minimal".to_owned(),
            // The log stays small, and holds no values of rows.
            "logging_collector=off".to_owned(),
            "log_checkpoints=off".to_owned(),
            "log_error_verbosity=terse".to_owned(),
        ];
        if !options.durable {
            // `synchronous_commit` stays on: without fsync it costs nothing, and what was committed survives a kill of
            // the postmaster, as in the tests.
            settings.extend(["fsync=off", "full_page_writes=off"].map(str::to_owned));
        }
        let mut command = self.account.command(programs.postgres());
        command.arg("-D").arg(&self.directory);
        for setting in settings {
            command.arg("-c").arg(setting);
        }
        command
    }

    /// Ends a postmaster that a crashed server left running, and removes lock files that only seem to be in use. The
    /// lock on the data directory is ours, so no running server needs them.
    ///
    /// Where a postmaster runs of which no file tells, PostgreSQL does not start beside it: it finds the shared memory
    /// of this cluster in use. A postmaster without its file ends by itself within a minute.
    pub(super) async fn clear_leftovers(&self, socket_dir: &Path) -> Leftovers {
        let (of_cluster, of_socket) =
            (self.directory.join("postmaster.pid"), socket_dir.join(format!(".s.PGSQL.{PORT}.lock")));
        let left = [lock_file(&of_cluster), lock_file(&of_socket)];
        if let LockFile::Of(pid) = left[0]
            && self.holder(pid) == Holder::Postmaster
        {
            self.end(pid).await;
        }
        for (file, found) in [of_cluster, of_socket].into_iter().zip(left) {
            self.remove_stale(&file, found);
        }
        if left == [LockFile::Missing; 2] { Leftovers::None } else { Leftovers::Found }
    }

    /// Removes a lock file for which PostgreSQL would refuse to start for ever.
    fn remove_stale(&self, file: &Path, found: LockFile) {
        let why = match found {
            LockFile::Missing => return,
            // A disk was full, or power was lost while it was written.
            LockFile::Unreadable => "it holds no process id".to_owned(),
            LockFile::Of(pid) => match self.holder(pid) {
                // PostgreSQL clears this one itself, and judges one that does not end.
                Holder::None | Holder::Postmaster => return,
                // The process id was reused, as happens in containers, where ids are small. PostgreSQL takes
                // any process of its user for its postmaster.
                Holder::Other => format!("process {pid} is another program"),
            },
        };
        tracing::warn!("removing a stale {}: {why}", file.display());
        if let Err(error) = fs::remove_file(file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove {}: {error}", file.display());
        }
    }

    async fn end(&self, pid: Pid) {
        tracing::warn!("PostgreSQL of the last run is still running as process {pid}; ending it first");
        for (way, patience) in WAYS_TO_END {
            let _ = signal::kill(pid, way);
            let began = Instant::now();
            while began.elapsed() < patience {
                if self.holder(pid) != Holder::Postmaster {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// What the process with this id is to the cluster.
    #[cfg(target_os = "linux")]
    fn holder(&self, pid: Pid) -> Holder {
        if signal::kill(pid, None) == Err(Errno::ESRCH) {
            return Holder::None;
        }
        // The working directory of a postmaster is its cluster, however it was started.
        match fs::read_link(format!("/proc/{pid}/cwd")) {
            Ok(directory) if directory == self.directory => Holder::Postmaster,
            Ok(_) => Holder::Other,
            // Another user's, or ending just now: PostgreSQL handles these itself.
            Err(_) => Holder::None,
        }
    }

    /// What the process with this id is to the cluster. Without `/proc` a postmaster that was started in another way
    /// than ours looks like any other program, so `Holder::Other` is never returned.
    #[cfg(not(target_os = "linux"))]
    fn holder(&self, pid: Pid) -> Holder {
        if signal::kill(pid, None) == Err(Errno::ESRCH) {
            return Holder::None;
        }
        let listed = Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid.to_string()]).output();
        let ours = format!("-D {} ", self.directory.display());
        match listed {
            Ok(output) if String::from_utf8_lossy(&output.stdout).contains(&ours) => Holder::Postmaster,
            _ => Holder::None,
        }
    }

    /// The error for a postmaster that ended or did not get ready, with the last lines of its log.
    pub(super) fn did_not_start(&self) -> EmbeddedError {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
        EmbeddedError::Start { log: self.log.clone(), tail }
    }
}

/// The process whose id is in `postmaster.pid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    None,
    Postmaster,
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "cannot be recognised there"))]
    Other,
}

/// A lock file of PostgreSQL: of the cluster, or of its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LockFile {
    Missing,
    /// Empty, or not what PostgreSQL writes.
    Unreadable,
    Of(Pid),
}

/// The process id is the first line, negative where it is not a postmaster's.
fn lock_file(file: &Path) -> LockFile {
    match fs::read(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => LockFile::Missing,
        Err(_) => LockFile::Unreadable,
        Ok(text) => {
            let text = String::from_utf8_lossy(&text);
            let pid = text.lines().next().and_then(|line| line.trim().parse::<i32>().ok()?.checked_abs());
            pid.filter(|pid| *pid > 0).map_or(LockFile::Unreadable, |pid| LockFile::Of(Pid::from_raw(pid)))
        }
    }
}

/// Makes what the server needs, where it is missing: the database and the two roles.
pub(super) async fn provide(mut connection: PgConnection) -> Result<(), EmbeddedError> {
    make_missing(&mut connection).await.map_err(EmbeddedError::Prepare)?;
    // Nothing is lost where closing the connection fails.
    let _ = connection.close().await;
    Ok(())
}

async fn make_missing(connection: &mut PgConnection) -> sqlx::Result<()> {
    let (database_exists,): (bool,) =
        sqlx::query_as("SELECT EXISTS (SELECT FROM pg_database WHERE datname = 'lastseen')")
            .fetch_one(&mut *connection)
            .await?;
    if !database_exists {
        sqlx::raw_sql("CREATE DATABASE lastseen").execute(&mut *connection).await?;
    }
    sqlx::raw_sql(ROLES).execute(connection).await?;
    Ok(())
}

const ROLES: &str = "
DO $$
BEGIN
    IF to_regrole('lastseen_service') IS NULL THEN
        CREATE ROLE lastseen_service NOLOGIN NOINHERIT NOSUPERUSER NOBYPASSRLS;
    END IF;
    IF to_regrole('lastseen_app') IS NULL THEN
        CREATE ROLE lastseen_app LOGIN NOSUPERUSER NOBYPASSRLS IN ROLE lastseen_service;
    END IF;
END
$$";
