//! The figures of this server, made once a second for all clients that read them, and kept for an hour.

use std::collections::VecDeque;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Tasks;
use super::flush::Flusher;
use super::sweep::{Sweeper, Swept};
use crate::admission::limits::Limits;
use crate::domain::participant::{LeaveReason, Status};
use crate::metrics::{Counts, Metrics};
use crate::protocol::Code;
use crate::protocol::v1::{self, Timestamp};
use crate::room::{Registry, Text};
use crate::user_session::UserSessions;

/// How often they are sent.
const INTERVAL: Duration = Duration::from_secs(1);

/// Keep every N-th frame.
const KEEP_EVERY: u32 = 10;

/// How many frames are kept: those of an hour.
const KEPT: usize = 360;

/// Where the figures come from.
#[derive(Debug)]
#[expect(missing_docs, reason = "the types say it")]
pub struct Sources {
    pub node: String,
    pub metrics: Arc<Metrics>,
    pub registry: Arc<Registry>,
    pub limits: Arc<Limits>,
    pub user_sessions: Arc<UserSessions>,
    pub flusher: Arc<Flusher>,
    pub sweeper: Arc<Sweeper>,
    /// The words for why a connection ended.
    pub connection_ends: Vec<&'static str>,
    /// How long a frame may be, in bytes.
    pub max_frame_bytes: usize,
}

/// Makes the figures once for all clients; without clients, only the frames that are kept.
#[derive(Debug)]
pub struct Figures {
    sources: Sources,
    started: Timestamp,
    latest: watch::Sender<Text>,
    past: Mutex<Past>,
    draining: CancellationToken,
}

impl Figures {
    /// The figures of a server that starts now.
    pub fn new(sources: Sources) -> Self {
        Self {
            sources,
            started: Utc::now().into(),
            latest: watch::Sender::new(Text::default()),
            past: Mutex::default(),
            draining: CancellationToken::new(),
        }
    }

    /// The frames of `history`, and those from now on. A slow client misses some and gets the newest.
    pub fn watch(&self) -> (Vec<Text>, watch::Receiver<Text>) {
        let now = self.frame();
        let history = self.past.lock().with(&now, self.sources.max_frame_bytes);
        (history, self.latest.subscribe())
    }

    /// Asks the clients to reconnect later: the server stops.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Resolves when the server stops.
    pub async fn drained(&self) {
        self.draining.cancelled().await;
    }

    /// Whether the server stops and admits no client.
    pub fn is_draining(&self) -> bool {
        self.sources.registry.is_draining()
    }

    /// Starts it as a background task.
    pub fn spawn(self: &Arc<Self>, tasks: &Tasks) {
        tasks.spawn("figures", self, Self::run);
    }

    /// Sends and keeps them, for ever.
    async fn run(self: Arc<Self>) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for tick in (0..KEEP_EVERY).cycle() {
            ticks.tick().await;
            let kept = tick == 0;
            if !kept && self.latest.receiver_count() == 0 {
                continue;
            }
            let frame = self.frame();
            if kept {
                self.past.lock().keep(frame.clone());
            }
            self.latest.send_replace(frame);
        }
    }

    fn frame(&self) -> Text {
        serde_json::to_string(&self.now()).expect("figures are JSON").into()
    }

    fn now(&self) -> Stats<'_> {
        let Sources { node, metrics, registry, limits, user_sessions, flusher, sweeper, connection_ends, .. } =
            &self.sources;
        let (census, shared) = (registry.census(), registry.shared());
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
            connection_ends: metrics.connection_ends_by(connection_ends.iter().copied()),
            flush: Flush {
                backlog: (shared.write_behind.backlog() + user_sessions.backlog()) as u64,
                age_seconds: flusher.age().as_secs_f64(),
                rows: metrics.flush_rows.get() + metrics.flush_user_sessions.get(),
                failures: metrics.flush_failures.get(),
            },
            sweep: sweeper.last().map(|last| Sweep { at: last.ended_at.into(), did: last.swept }),
            memory_bytes: memory(),
        }
    }
}

/// The frames that were kept, oldest first. As text, since they are only sent.
#[derive(Debug, Default)]
struct Past(VecDeque<Text>);

impl Past {
    fn keep(&mut self, frame: Text) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(frame);
    }

    /// The frames of `history`: the kept frames, then the newest one.
    fn with(&self, now: &Text, max_frame_bytes: usize) -> Vec<Text> {
        let frames: Vec<&str> = self.0.iter().chain([now]).map(AsRef::as_ref).collect();
        v1::history((INTERVAL * KEEP_EVERY).as_millis(), &frames, max_frame_bytes)
    }
}

/// The frame `stats`, as docs/reference/PROTOCOL.md has it.
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

/// The resident memory of the process in bytes, where the system reports it.
fn memory() -> Option<u64> {
    resident(&fs::read_to_string("/proc/self/status").ok()?)
}

/// `VmRSS` in bytes. `statm` counts pages, whose size would have to be asked for.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_kept_and_no_more() {
        let mut past = Past::default();
        for n in 0..KEPT + 5 {
            past.keep(n.to_string().into());
        }
        let [history] = &past.with(&Text::from("-1"), 30_000)[..] else { panic!("one frame") };
        let value: serde_json::Value = serde_json::from_str(history).expect("JSON");
        let frames = value["frames"].as_array().expect("a list");
        assert_eq!(value["interval_ms"].as_u64().map(|ms| ms * KEPT as u64), Some(3_600_000));
        assert_eq!((frames.len(), &frames[0], &frames[KEPT]), (KEPT + 1, &5.into(), &(-1).into()));
    }

    #[test]
    fn an_hour_comes_in_frames_that_are_not_too_long() {
        let mut past = Past::default();
        let stats = |n: usize| -> Text { format!(r#"{{"type":"stats","n":{n},"fill":"{}"}}"#, "x".repeat(900)).into() };
        for n in 0..KEPT {
            past.keep(stats(n));
        }
        let frames = past.with(&stats(KEPT), 30_000);
        let mut seen = Vec::new();
        for (place, frame) in frames.iter().enumerate() {
            assert!(frame.len() <= 30_000, "{} bytes", frame.len());
            let frame: serde_json::Value = serde_json::from_str(frame).expect("JSON");
            let kind = if place == 0 { "history" } else { "more" };
            assert_eq!(
                (&frame["type"], &frame["chunk"], &frame["chunks"]),
                (&kind.into(), &(place + 1).into(), &frames.len().into())
            );
            let list = frame["frames"].as_array().expect("a list");
            seen.extend(list.iter().map(|stats| stats["n"].as_u64().expect("a number") as usize));
        }
        assert_eq!(seen, (0..=KEPT).collect::<Vec<_>>());
    }

    #[test]
    fn memory_is_read_where_the_system_says_it() {
        assert_eq!(resident("Name:\tlastseen\nVmRSS:\t   29696 kB\nThreads:\t4\n"), Some(29696 * 1024));
        assert_eq!(resident("Name:\tlastseen\n"), None);
        assert_eq!(resident("VmRSS:\tmuch\n"), None);
    }
}
