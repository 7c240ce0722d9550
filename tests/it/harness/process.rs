//! The real program as a process of its own, for signals, exit codes and what it prints.

use std::fs;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::rest::Rest;
use super::{PATIENCE, eventually};

/// A running `lastseen`.
pub struct Process {
    child: Child,
    /// Reads the log all the time, or lines would be dropped.
    log: JoinHandle<String>,
    pub address: SocketAddr,
    pub rest: Rest,
}

/// How a `lastseen` ended.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// The one line that says why it failed, without the program's name. The log may have lines beside it: of statements
    /// that a busy machine was slow with.
    #[track_caller]
    pub fn complaint(&self) -> &str {
        let lines: Vec<_> = self.stderr.lines().filter_map(|line| line.strip_prefix("lastseen: ")).collect();
        assert_eq!(lines.len(), 1, "{}", self.stderr);
        lines[0]
    }
}

/// The command, with no setting of the environment's.
pub fn lastseen(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lastseen"));
    let is_setting =
        |name: &str| name.starts_with("LASTSEEN_") || ["DATABASE_URL", "DATABASE_DIRECT_URL"].contains(&name);
    for (name, _) in std::env::vars().filter(|(name, _)| is_setting(name)) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs it to its end.
pub async fn run(arguments: &[&str]) -> Finished {
    let output = timeout(PATIENCE, lastseen(arguments).output()).await.expect("it ends").expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Finished { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

impl Process {
    /// Starts `lastseen serve` with these flags and waits until it listens.
    pub async fn serve(flags: &[&str]) -> Self {
        let arguments: Vec<_> = ["serve", "--listen", "127.0.0.1:0"].into_iter().chain(flags.iter().copied()).collect();
        Self::start(lastseen(&arguments)).await
    }

    /// Starts a command that serves and waits until it listens.
    pub async fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("it starts");
        let log = child.stderr.take();
        let log = tokio::spawn(async move {
            let mut said = String::new();
            // A test may have sent it elsewhere.
            if let Some(mut log) = log {
                log.read_to_string(&mut said).await.expect("its log is text");
            }
            said
        });
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let line = timeout(PATIENCE, lines.next_line()).await.expect("it listens in time").expect("its output");
        let Some(line) = line else {
            panic!("it ended before it listened: {}", log.await.unwrap_or_default());
        };
        let address = line.strip_prefix("listening on http://").expect("the first line").parse().expect("an address");
        Self { child, log, address, rest: Rest::new(address) }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().expect("it runs").cast_signed();
        kill(Pid::from_raw(pid), signal).expect("signalled");
    }

    /// Stops it, as SIGSTOP does, and waits until each of its threads stands still: on a busy machine one may run on
    /// while another has yet to take the signal.
    pub async fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        let pid = self.child.id().expect("it runs");
        eventually("that it stands still", async || {
            let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
            let states = threads.map(|thread| {
                let stat = fs::read_to_string(thread.expect("a thread").path().join("stat")).expect("its state");
                // The name, in parentheses, may hold anything.
                stat.rsplit_once(") ").expect("a name").1.chars().next()
            });
            states.into_iter().all(|state| state == Some('T')).then_some(())
        })
        .await;
    }

    /// Waits for its end.
    pub async fn finished(mut self) -> Finished {
        let stderr = timeout(PATIENCE, self.log).await.expect("it ends in time").expect("its log");
        let status = timeout(PATIENCE, self.child.wait()).await.expect("it ends in time").expect("its status");
        Finished { status, stdout: String::new(), stderr }
    }
}

/// The same under these limits, as `ulimit` of a shell has them.
pub fn limited(ulimits: &[&str], arguments: &[&str]) -> Command {
    let limits: String = ulimits.iter().map(|limit| format!("ulimit {limit} && ")).collect();
    let program = lastseen(&[]);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{limits}exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_lastseen")]).args(arguments);
    for (name, value) in program.as_std().get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}
