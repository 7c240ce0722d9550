//! Keeps a postmaster running: a thread of its own starts it, waits for it, and restarts it when it dies.
//!
//! The thread runs exactly as long as the postmaster is needed. That matters on Linux, where the signal at a parent's
//! death is sent when the *thread* that started the child ends.

use std::{
    fs::File,
    io,
    os::unix::{fs::OpenOptionsExt, process::CommandExt},
    path::PathBuf,
    process::{Child, Command, ExitStatus},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use tokio::sync::watch;

use super::error::{Doing, EmbeddedError};

/// The ways to end a postmaster, each tried for a while: cut its clients off and leave in order, leave at once and
/// replay the log at the next start, be killed.
pub(super) const WAYS_TO_END: [(Signal, Duration); 3] = [
    (Signal::SIGINT, Duration::from_secs(10)),
    (Signal::SIGQUIT, Duration::from_secs(5)),
    (Signal::SIGKILL, Duration::from_secs(5)),
];

const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// A postmaster that ran this long was healthy: after its end the backoff begins anew.
const WELL: Duration = Duration::from_secs(30);

/// The state of the postmaster, and whether it is to stop.
#[derive(Debug, Default)]
struct Life {
    /// The newest one.
    pid: i32,
    running: bool,
    has_died: bool,
    /// It is to end, and not to be started again.
    stopping: bool,
    /// The thread is done, and the data directory free.
    over: bool,
}

/// The handle of the thread.
#[derive(Debug)]
pub(super) struct Guard {
    life: watch::Sender<Life>,
    thread: Thread,
}

impl Guard {
    /// Starts the postmaster, and holds the lock of the data directory until it has ended for good.
    pub(super) fn start(mut postmaster: Command, log: PathBuf, lock: File) -> Result<Self, EmbeddedError> {
        let output = File::options().create(true).append(true).mode(0o600).open(&log).doing("open", &log)?;
        postmaster.stderr(output.try_clone().doing("open", &log)?).stdout(output);
        // Ctrl-C in a terminal must reach the server alone, which ends the database after the last flush.
        postmaster.process_group(0);
        #[cfg(target_os = "linux")]
        end_with_us(&mut postmaster);

        let life = watch::Sender::new(Life::default());
        let thread = thread::Builder::new()
            .name("postgres".to_owned())
            .spawn({
                let life = life.clone();
                move || keep(&mut postmaster, &life, lock)
            })
            .doing("start the thread that keeps PostgreSQL, which logs to", log)?;
        Ok(Self { life, thread: thread.thread().clone() })
    }

    /// The newest postmaster, which may have ended. Zero in the moment before the first.
    pub(super) fn pid(&self) -> u32 {
        self.life.borrow().pid.unsigned_abs()
    }

    /// Whether a postmaster has ended unexpectedly.
    pub(super) fn has_died(&self) -> bool {
        self.life.borrow().has_died
    }

    /// Ends the postmaster for good, by force if it has to be, and waits for it.
    pub(super) async fn stop(&self) {
        let mut life = self.life.subscribe();
        for (way, patience) in WAYS_TO_END {
            self.end(way);
            if tokio::time::timeout(patience, life.wait_for(|life| life.over)).await.is_ok() {
                return;
            }
            tracing::warn!("PostgreSQL did not end within {patience:?} of {way}");
        }
    }

    fn end(&self, way: Signal) {
        self.life.send_modify(|life| {
            life.stopping = true;
            if life.running {
                // It fails where the postmaster has just ended, which is the purpose.
                let _ = signal::kill(Pid::from_raw(life.pid), way);
            }
        });
        self.thread.unpark();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.end(Signal::SIGINT);
    }
}

/// The thread: one postmaster after another, until `stopping` is set.
fn keep(postmaster: &mut Command, life: &watch::Sender<Life>, lock: File) {
    let mut backoff = FIRST_BACKOFF;
    while let Some(spawned) = spawn_if_wanted(postmaster, life) {
        let began = Instant::now();
        let end = spawned.and_then(|mut child| child.wait());
        life.send_modify(|life| {
            life.running = false;
            life.has_died |= !life.stopping;
        });
        if life.borrow().stopping {
            break;
        }
        if began.elapsed() >= WELL {
            backoff = FIRST_BACKOFF;
        }
        tracing::error!("PostgreSQL ended unexpectedly ({}); restarting it in {backoff:?}", describe(end));
        thread::park_timeout(backoff);
        backoff = (backoff * 2).min(LONGEST_BACKOFF);
    }
    drop(lock);
    life.send_modify(|life| life.over = true);
}

/// Starts a postmaster, under the same lock that `end` takes: none is started after `stopping` was set.
fn spawn_if_wanted(postmaster: &mut Command, life: &watch::Sender<Life>) -> Option<io::Result<Child>> {
    let mut spawned = None;
    life.send_modify(|life| {
        if life.stopping {
            return;
        }
        let child = postmaster.spawn();
        if let Ok(child) = &child {
            life.pid = child.id().cast_signed();
            life.running = true;
        }
        spawned = Some(child);
    });
    spawned
}

fn describe(end: io::Result<ExitStatus>) -> String {
    end.map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// Makes the kernel end the postmaster in order when this process is gone, however it ended.
///
/// A change of user undoes this. The standard library makes that change before it calls what is registered here.
#[cfg(target_os = "linux")]
fn end_with_us(postmaster: &mut Command) {
    let us = std::process::id();
    let ask = move || {
        // SAFETY: both are plain system calls, which are allowed between fork and exec.
        let (asked, parent) = unsafe { (libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGINT), libc::getppid()) };
        if asked == -1 {
            return Err(io::Error::last_os_error());
        }
        // The server may have ended before this call; then no signal would ever be sent.
        if parent.unsigned_abs() != us {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(())
    };
    // SAFETY: `ask` neither allocates nor takes a lock.
    unsafe { postmaster.pre_exec(ask) };
}
