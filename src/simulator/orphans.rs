//! Orphans: processes that a crashed server left behind, and those of a simulator that left its process group.
//! They are found by the handle in their row, or by the `SIMULATOR_ID` in their environment where the row has no
//! handle yet; never by a process id alone, which another process may have by now.
//!
//! Both are read from `/proc`. Where there is none (macOS) nothing is found: simulators have to end by
//! themselves when their output breaks, or by hand.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::ID_VARIABLE;
use crate::domain::ids::SimulatorId;

/// How often it is checked whether they are gone.
const PAUSE: Duration = Duration::from_millis(100);

/// How long the kernel may take to end a killed process.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// A process as the kernel identifies it: unlike its id, this is never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Process {
    pid: i32,
    /// In clock ticks since boot.
    started: u64,
}

/// The handle of a child that was just started: its id, its start time, and the boot of the machine.
pub(super) fn handle(pid: Pid) -> Value {
    let started = stat(pid.as_raw()).map(|stat| stat.process.started);
    json!({ "pid": pid.as_raw(), "started": started, "boot": boot() })
}

fn boot() -> Option<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned())
}

/// Stops all processes of a simulator, with SIGTERM first, and waits until they are gone.
pub(super) async fn stop(id: SimulatorId, handle: Option<&Value>, patience: Duration) {
    // Kept from round to round: children that hide their environment were found by their group.
    let mut known = HashSet::new();
    // A process in the middle of its exec has no environment: only one that was missing twice in a row is gone.
    let mut was_gone = false;
    for (signal, patience) in [(Signal::SIGTERM, patience), (Signal::SIGKILL, KILL_TIMEOUT)] {
        let deadline = Instant::now() + patience;
        let mut told = HashSet::new();
        loop {
            known.retain(|process: &Process| is_there(*process));
            known.extend(family(id, handle));
            if known.is_empty() && was_gone {
                return;
            }
            was_gone = known.is_empty();
            if Instant::now() >= deadline {
                break;
            }
            for process in known.iter().filter(|process| told.insert(**process)) {
                tracing::info!(simulator = %id, pid = process.pid, %signal, "stopping an orphaned process");
                let _ = signal::kill(Pid::from_raw(process.pid), signal);
            }
            sleep(PAUSE).await;
        }
    }
    tracing::error!(simulator = %id, "orphaned processes did not end");
}

/// The processes of a simulator: those with its id in their environment, the noted one, and those of its group.
fn family(id: SimulatorId, handle: Option<&Value>) -> HashSet<Process> {
    let leader = handle.filter(|handle| handle["boot"].as_str() == boot().as_deref()).and_then(noted);
    let leader = leader.filter(|leader| is_there(*leader));
    let mark = format!("{ID_VARIABLE}={id}");
    let belongs = |stat: &Stat| {
        leader.is_some_and(|leader| stat.process == leader || stat.group == leader.pid)
            || fs::read(Path::new("/proc").join(stat.process.pid.to_string()).join("environ"))
                .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes()))
    };
    // Not this server, which may itself have been started by a simulator.
    all()
        .filter(|stat| stat.process.pid != nix::unistd::getpid().as_raw())
        .filter(belongs)
        .map(|stat| stat.process)
        .collect()
}

fn noted(handle: &Value) -> Option<Process> {
    Some(Process { pid: i32::try_from(handle["pid"].as_i64()?).ok()?, started: handle["started"].as_u64()? })
}

fn is_there(process: Process) -> bool {
    stat(process.pid).is_some_and(|stat| stat.process == process)
}

fn all() -> impl Iterator<Item = Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?))
}

/// The fields of `/proc/<pid>/stat` that are needed.
struct Stat {
    process: Process,
    group: i32,
}

/// The process with this id, unless it is gone or a zombie.
fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in the second field may contain anything, also parentheses.
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    if matches!(*fields.first()?, "Z" | "X") {
        return None;
    }
    let started = fields.get(19)?.parse().ok()?;
    Some(Stat { process: Process { pid, started }, group: fields.get(2)?.parse().ok()? })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn sleeper(id: Option<SimulatorId>) -> Child {
        let mut command = Command::new("sleep");
        if let Some(id) = id {
            command.env(ID_VARIABLE, id.to_string());
        }
        executed(command.arg("600").stdin(Stdio::null()).spawn().expect("sleep"))
    }

    /// A child after its exec: it is spawned shortly before its environment can be read.
    fn executed(child: Child) -> Child {
        let environment = format!("/proc/{}/environ", child.id());
        while fs::read(&environment).expect("the environment of a child").is_empty() {
            std::thread::yield_now();
        }
        child
    }

    fn pid(child: &Child) -> Pid {
        Pid::from_raw(i32::try_from(child.id()).expect("a process id"))
    }

    /// Whether the child was ended; ends it otherwise.
    fn was_ended(mut child: Child) -> bool {
        let ended = child.try_wait().expect("a child").is_some();
        let _ = child.kill();
        let _ = child.wait();
        ended
    }

    #[tokio::test]
    async fn what_was_not_noted_is_found_by_its_environment_and_others_are_left_alone() {
        let (ours, other) = (SimulatorId::new(), SimulatorId::new());
        let (of_ours, of_other, of_nobody) = (sleeper(Some(ours)), sleeper(Some(other)), sleeper(None));
        stop(ours, None, Duration::from_secs(10)).await;
        assert!(was_ended(of_ours));
        assert!(!was_ended(of_other));
        assert!(!was_ended(of_nobody));
    }

    #[tokio::test]
    async fn what_was_noted_is_found_also_where_it_hides_its_environment() {
        let child = sleeper(None);
        stop(SimulatorId::new(), Some(&handle(pid(&child))), Duration::from_secs(10)).await;
        assert!(was_ended(child));
    }

    #[tokio::test]
    async fn a_process_that_got_the_id_of_another_is_left_alone() {
        let child = sleeper(None);
        let noted = handle(pid(&child));
        let mut another_start = noted.clone();
        another_start["started"] = json!(noted["started"].as_u64().expect("a start") - 1);
        let mut another_boot = noted.clone();
        another_boot["boot"] = json!("an earlier one");
        for handle in [another_start, another_boot, json!({}), json!({"pid": noted["pid"]}), json!({"pid": -1})] {
            stop(SimulatorId::new(), Some(&handle), Duration::from_secs(10)).await;
        }
        assert!(!was_ended(child));
    }

    #[tokio::test]
    async fn what_does_not_listen_is_killed() {
        let id = SimulatorId::new();
        let stubborn = Command::new("sh")
            .args(["-c", "trap '' TERM; while :; do sleep 600; done"])
            .env(ID_VARIABLE, id.to_string())
            .stdin(Stdio::null())
            .spawn()
            .expect("sh");
        let stubborn = executed(stubborn);
        stop(id, None, Duration::from_millis(300)).await;
        assert!(was_ended(stubborn));
    }
}
