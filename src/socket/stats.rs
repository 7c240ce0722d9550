//! The figures of this server, once a second, for all who watch them.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::end::End;
use super::limits::Limits;
use crate::metrics::Counts;
use crate::protocol::Code;
use crate::protocol::v1::Timestamp;
use crate::room::{LeaveReason, Registry, Status, Text};
use crate::task::flush::Flusher;
use crate::task::sweep::{Sweeper, Swept};
use crate::user_session::UserSessions;

/// How often they are told.
const INTERVAL: Duration = Duration::from_secs(1);

/// Where the figures come from.
#[derive(Debug)]
#[expect(missing_docs, reason = "the types say it")]
pub struct Sources {
    pub node: String,
    pub registry: Arc<Registry>,
    pub limits: Arc<Limits>,
    pub user_sessions: Arc<UserSessions>,
    pub flusher: Arc<Flusher>,
    pub sweeper: Arc<Sweeper>,
}

/// Tells the figures. Looked up once for all who watch, and not at all while nobody does.
#[derive(Debug)]
pub struct Figures {
    sources: Sources,
    started: Timestamp,
    told: watch::Sender<Text>,
    telling: Mutex<Option<JoinHandle<()>>>,
    draining: CancellationToken,
}

impl Figures {
    /// Of a server that starts now.
    pub fn new(sources: Sources) -> Self {
        Self {
            sources,
            started: Utc::now().into(),
            told: watch::Sender::new(Text::default()),
            telling: Mutex::new(None),
            draining: CancellationToken::new(),
        }
    }

    /// The frames from now on. One who is slow misses some and gets the newest.
    pub fn watch(self: &Arc<Self>) -> watch::Receiver<Text> {
        // Under the lock, or the task could end for want of watchers while we come.
        let mut telling = self.telling.lock();
        let watching = self.told.subscribe();
        if telling.as_ref().is_none_or(JoinHandle::is_finished) {
            *telling = Some(tokio::spawn(Arc::clone(self).tell()));
        }
        watching
    }

    /// Those who watch are asked to come back later: the server stops.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Done when the server stops.
    pub async fn drained(&self) {
        self.draining.cancelled().await;
    }

    /// Whether the server stops and takes nobody in.
    pub fn is_draining(&self) -> bool {
        self.sources.registry.is_draining()
    }

    async fn tell(self: Arc<Self>) {
        let mut seconds = interval(INTERVAL);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = seconds.tick() => {}
                () = self.drained() => return,
            }
            {
                let mut telling = self.telling.lock();
                if self.told.receiver_count() == 0 {
                    *telling = None;
                    return;
                }
            }
            let frame = serde_json::to_string(&self.now()).expect("figures are JSON");
            self.told.send_replace(frame.into());
        }
    }

    fn now(&self) -> Stats<'_> {
        let Sources { node, registry, limits, user_sessions, flusher, sweeper } = &self.sources;
        let (census, shared) = (registry.census(), registry.shared());
        let metrics = &shared.metrics;
        let status = |status: Status| census.participants[status as usize];
        Stats {
            kind: "stats",
            time: Utc::now().into(),
            node,
            started_at: self.started,
            // A stream holds a permit like a WebSocket.
            connections: (limits.open() as u64).saturating_sub(census.watchers),
            observers: census.observers,
            streams: census.watchers,
            user_sessions: user_sessions.count() as u64,
            rooms: census.rooms,
            participants: People {
                active: status(Status::Active),
                idle: status(Status::Idle),
                reconnecting: status(Status::Reconnecting),
            },
            joins: metrics.joins.get(),
            leaves: metrics.leaves_by(LeaveReason::ALL.iter().map(|reason| reason.as_str())),
            beats: metrics.beats.get(),
            diffs: metrics.diffs.get(),
            deliveries: metrics.deliveries.get(),
            refusals: metrics.refusals_by(Code::ALL.iter().map(|code| code.as_str())),
            connection_ends: metrics.connection_ends_by(End::words()),
            flush: Flush {
                backlog: (shared.ledger.backlog() + user_sessions.backlog()) as u64,
                age_seconds: flusher.age().as_secs_f64(),
                rows: metrics.flush_rows.get() + metrics.flush_user_sessions.get(),
                failures: metrics.flush_failures.get(),
            },
            sweep: sweeper.last().map(|(at, did)| Sweep { at: at.into(), did }),
            memory_bytes: memory(),
        }
    }
}

/// The frame `stats`, as docs/PROTOCOL.md has it.
#[derive(Serialize)]
struct Stats<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    time: Timestamp,
    node: &'a str,
    started_at: Timestamp,
    connections: u64,
    observers: u64,
    streams: u64,
    user_sessions: u64,
    rooms: u64,
    participants: People,
    joins: u64,
    leaves: Counts,
    beats: u64,
    diffs: u64,
    deliveries: u64,
    refusals: Counts,
    connection_ends: Counts,
    flush: Flush,
    sweep: Option<Sweep>,
    memory_bytes: Option<u64>,
}

#[derive(Serialize)]
struct People {
    active: u64,
    idle: u64,
    reconnecting: u64,
}

#[derive(Serialize)]
struct Flush {
    backlog: u64,
    age_seconds: f64,
    rows: u64,
    failures: u64,
}

#[derive(Serialize)]
struct Sweep {
    at: Timestamp,
    #[serde(flatten)]
    did: Swept,
}

/// What the process holds in memory, where the system says it.
fn memory() -> Option<u64> {
    resident(&fs::read_to_string("/proc/self/status").ok()?)
}

/// In kilobytes there, and not in pages as in `statm`, whose size would have to be asked for.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_where_the_system_says_it() {
        assert_eq!(resident("Name:\tlastseen\nVmRSS:\t   29696 kB\nThreads:\t4\n"), Some(29696 * 1024));
        assert_eq!(resident("Name:\tlastseen\n"), None);
        assert_eq!(resident("VmRSS:\tmuch\n"), None);
    }
}
