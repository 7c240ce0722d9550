//! The state of a run in one process: its phase, its counts, and who is still on the way in.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::habits::Habits;
use super::plan::Plan;
use super::tally::Tally;
use super::target::Target;
use super::whereabouts::Crashes;

/// The part of the run that is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// People come, and do what they do.
    Load,
    /// The same, after all connections were cut.
    Cut,
    /// Nobody acts any more; whoever is disconnected reconnects.
    Quiet,
    /// Everybody leaves.
    Over,
}

/// The state that all people of a process share.
#[expect(missing_docs, reason = "the types say it")]
pub struct Run {
    pub plan: Plan,
    pub target: Target,
    pub habits: Habits,
    pub phase: watch::Sender<Phase>,
    pub tally: Mutex<Tally>,
    pub crashes: Mutex<Crashes>,
    /// Open connections.
    pub open: AtomicU64,
    /// The grace of the last welcome.
    pub grace_ms: AtomicU64,
    outside: AtomicU64,
}

/// Guard of a person who is on the way in.
pub struct OnTheWayIn(Arc<Run>);

impl Drop for OnTheWayIn {
    fn drop(&mut self) {
        self.0.outside.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Run {
    /// The state of a run that begins.
    pub fn new(plan: Plan, target: Target) -> Self {
        Self {
            habits: Habits::of(&plan),
            plan,
            target,
            phase: watch::Sender::new(Phase::Load),
            tally: Mutex::default(),
            crashes: Mutex::default(),
            open: AtomicU64::new(0),
            grace_ms: AtomicU64::new(0),
            outside: AtomicU64::new(0),
        }
    }

    /// Counts a person as on the way in until the guard is dropped.
    pub fn on_the_way_in(self: &Arc<Self>) -> OnTheWayIn {
        self.outside.fetch_add(1, Ordering::Relaxed);
        OnTheWayIn(Arc::clone(self))
    }

    /// How many people are on the way in.
    pub fn outside(&self) -> u64 {
        self.outside.load(Ordering::Relaxed)
    }

    /// Counts a person who will not come in any more.
    pub fn give_up(&self) {
        self.tally.lock().outside += 1;
    }

    /// How long a person may be away before the server may announce a leave.
    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms.load(Ordering::Relaxed))
    }

    /// The source address of this person's connections, where the plan names addresses.
    pub fn source(&self, number: usize) -> Option<IpAddr> {
        let sources = &self.plan.sources;
        (!sources.is_empty()).then(|| sources[number % sources.len()])
    }
}
