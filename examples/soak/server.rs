//! The server of a run: a process of its own on one port, which can be stopped, killed and started again.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use lastseen::load::rest::Figures;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The secret of tokens.
pub const SECRET: &str = "a secret of the soak that is long enough";

/// The pulse of rooms: short, so that a run of two minutes sees many of each. Beats that wait while the server is
/// stopped come at once when it goes on, and must stay below the burst of frames that a client may send.
pub const BEAT: Duration = Duration::from_secs(4);
/// When a silent connection is dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(6);
/// How long a lost person is kept as reconnecting.
pub const GRACE: Duration = Duration::from_secs(4);

const SETTINGS: [&str; 24] = [
    "--beat-interval",
    "4s",
    "--ping-interval",
    "2s",
    "--dead-after",
    "6s",
    "--grace",
    "4s",
    "--flush-interval",
    "1s",
    "--sweep-interval",
    "10s",
    "--write-timeout",
    "5s",
    "--drain-timeout",
    "5s",
    // All sockets come from one machine.
    "--max-connections-per-ip",
    "100000",
    "--max-refusals-per-ip",
    "1000000",
    "--max-sessions-per-minute",
    "100000",
    "--log",
    "info",
];

/// How long a start and a stop may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How to start the server, and the running one.
pub struct Server {
    program: PathBuf,
    database_url: String,
    directory: PathBuf,
    log: Arc<LogReader>,
    faketime: Option<FakeTime>,
    /// Where it listens, also after it was started again.
    pub address: SocketAddr,
    node: String,
    child: Child,
}

/// A library that shows the server another time.
struct FakeTime {
    library: PathBuf,
    file: PathBuf,
}

/// Takes the server's log from its pipe, and may stop doing so.
struct LogReader {
    stalled: AtomicBool,
    kept: Option<parking_lot::Mutex<File>>,
}

/// A log whose reader reads nothing until this is dropped.
pub struct Stalled(Arc<LogReader>);

impl Drop for Stalled {
    fn drop(&mut self) {
        self.0.stalled.store(false, Ordering::Relaxed);
    }
}

/// Where the log of a run of the server goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Log {
    /// To us, by a small pipe.
    Pipe,
    /// To a disk that is full.
    FullDisk,
}

impl Log {
    /// A file that takes nothing, for want of space.
    pub const FULL_DISK: &str = "/dev/full";
}

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Holds {
    /// Resident memory in MiB.
    pub memory: f64,
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
    /// Tasks of its runtime.
    pub tasks: usize,
}

impl Holds {
    /// Whether this is no more than `before` and `more` together.
    pub fn is_at_most(self, before: Self, more: Self) -> bool {
        self.memory <= before.memory + more.memory
            && self.descriptors <= before.descriptors + more.descriptors
            && self.threads <= before.threads + more.threads
            && self.tasks <= before.tasks + more.tasks
    }
}

impl Server {
    /// Starts it on a free port.
    pub async fn start(
        program: &Path,
        directory: &Path,
        database_url: String,
        log: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let kept = log.map(File::create).transpose()?.map(parking_lot::Mutex::new);
        let log = Arc::new(LogReader { stalled: AtomicBool::new(false), kept });
        let faketime = FakeTime::find(directory)?;
        let (program, directory, node) = (program.to_owned(), directory.join("server"), "soak-1".to_owned());
        let child =
            spawn(&program, &arguments(address, &node, &database_url, &directory), faketime.as_ref(), Some(&log))
                .await?;
        Ok(Self { program, database_url, directory, log, faketime, address, node, child })
    }

    /// Starts it again after its end, under this name.
    pub async fn start_again(&mut self, node: Option<String>) -> anyhow::Result<()> {
        self.node = node.unwrap_or_else(|| self.node.clone());
        self.start_with(Log::Pipe).await
    }

    /// Starts it again after its end, with its log there.
    pub async fn start_with(&mut self, log: Log) -> anyhow::Result<()> {
        let arguments = arguments(self.address, &self.node, &self.database_url, &self.directory);
        let log = (log == Log::Pipe).then_some(&self.log);
        self.child = spawn(&self.program, &arguments, self.faketime.as_ref(), log).await?;
        Ok(())
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Its name in the database.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Whether it ended by itself, which it must not.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Kills it.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop and waits for it; how long that took.
    pub async fn stop(&mut self) -> anyhow::Result<(ExitStatus, Duration)> {
        let began = Instant::now();
        kill(self.pid(), Signal::SIGTERM)?;
        while began.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                return Ok((status, began.elapsed()));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.kill()?;
        anyhow::bail!("the server did not stop within {PATIENCE:?} of SIGTERM")
    }

    /// Stops reading its log.
    pub fn stall_log(&self) -> Stalled {
        self.log.stalled.store(true, Ordering::Relaxed);
        Stalled(Arc::clone(&self.log))
    }

    /// Whether its clock can be set.
    pub fn has_a_clock(&self) -> bool {
        self.faketime.is_some()
    }

    /// Sets its clock this many seconds off.
    pub fn set_clock(&self, seconds: i64) -> anyhow::Result<()> {
        let clock = self.faketime.as_ref().context("no libfaketime")?;
        Ok(std::fs::write(&clock.file, format!("{seconds:+}"))?)
    }

    /// What it holds now, with the tasks that it counts itself.
    pub fn holds(&self, figures: &Figures) -> anyhow::Result<Holds> {
        let directory = PathBuf::from(format!("/proc/{}", self.child.id()));
        let status = std::fs::read_to_string(directory.join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        let count = |name| anyhow::Ok(std::fs::read_dir(directory.join(name))?.count());
        Ok(Holds {
            memory: line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0,
            descriptors: count("fd")?,
            threads: count("task")?,
            tasks: figures.get("tasks").copied().context("a count of tasks")? as usize,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Where it was stopped in good order there is nothing left.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn arguments(address: SocketAddr, node: &str, database_url: &str, directory: &Path) -> Vec<String> {
    let (address, directory) = (address.to_string(), directory.to_string_lossy());
    let own = ["serve", "--listen", &address, "--node", node, "--database-url", database_url, "--data-dir", &directory];
    own.iter().chain(&["--jwt-secret", SECRET]).chain(&SETTINGS).map(|text| (*text).to_owned()).collect()
}

async fn spawn(
    program: &Path,
    arguments: &[String],
    clock: Option<&FakeTime>,
    log: Option<&Arc<LogReader>>,
) -> anyhow::Result<Child> {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LASTSEEN_")) {
        command.env_remove(name);
    }
    command.env_remove("DATABASE_URL").args(arguments);
    let stderr = match log {
        Some(_) => Stdio::piped(),
        None => File::options().write(true).open(Log::FULL_DISK)?.into(),
    };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
    // Ctrl-C is for us, who end it.
    command.process_group(0);
    if let Some(clock) = clock {
        std::fs::write(&clock.file, "+0")?;
        command
            .env("LD_PRELOAD", &clock.library)
            .env("FAKETIME_TIMESTAMP_FILE", &clock.file)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1");
    }
    let mut child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
    if let Some(log) = log {
        let stderr = child.stderr.take().context("its log")?;
        // A pipe that is soon full.
        let _ = nix::fcntl::fcntl(&stderr, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096));
        let reader = Arc::clone(log);
        std::thread::spawn(move || reader.read(stderr));
    }
    let mut stdout = BufReader::new(child.stdout.take().context("its output")?);
    let line = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        stdout.read_line(&mut line).map(|_| line)
    });
    let listening = tokio::time::timeout(PATIENCE, line).await;
    if !matches!(&listening, Ok(Ok(Ok(line))) if line.starts_with("listening on ")) {
        let _ = child.kill();
        let _ = child.wait();
        anyhow::bail!("the server does not start: {listening:?}");
    }
    Ok(child)
}

impl LogReader {
    fn read(&self, mut log: impl Read) {
        let mut bytes = [0; 4096];
        loop {
            while self.stalled.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
            }
            match log.read(&mut bytes) {
                Ok(0) | Err(_) => return,
                Ok(read) => {
                    if let Some(kept) = &self.kept {
                        // A full disk costs lines of the log, and no more.
                        let _ = kept.lock().write_all(&bytes[..read]);
                    }
                }
            }
        }
    }
}

impl FakeTime {
    fn find(directory: &Path) -> anyhow::Result<Option<Self>> {
        let named = std::env::var_os("FAKETIME_LIBRARY").map(PathBuf::from);
        let installed = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
            .map(|machine| PathBuf::from(format!("/usr/lib/{machine}/faketime/libfaketimeMT.so.1")));
        let library = named.into_iter().chain(installed).find(|library| library.exists());
        Ok(library.map(|library| Self { library, file: directory.join("faketime") }))
    }
}
