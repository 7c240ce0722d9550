//! The target of each figure.

/// A bound that a figure has to keep.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// At most this share of what `ws` needs in the same run.
    OfWs(f64),
}

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub what: &'static str,
    /// The row, and the key of its detail; without one it is the row's own value.
    pub row: &'static str,
    pub key: Option<&'static str>,
    pub unit: &'static str,
    pub bound: Bound,
}

impl Target {
    /// The target as a multiple of what bare sockets need, where that is known.
    pub fn of_bare(&self) -> Option<f64> {
        let (_, bare) = BARE.into_iter().find(|(row, _)| *row == self.row)?;
        match self.bound {
            Bound::AtMost(most) if self.key.is_none() => Some(most / bare),
            _ => None,
        }
    }
}

/// What bare sockets needed on the machine for which the bounds were set: raw epoll, and uWebSockets where
/// frames are written together.
const BARE: [(&str, f64); 3] = [("beats", 0.31), ("fanout-1", 2.4), ("fanout-16", 0.26)];

const fn target(what: &'static str, row: &'static str, unit: &'static str, bound: Bound) -> Target {
    Target { what, row, key: None, unit, bound }
}

const fn also(what: &'static str, row: &'static str, key: &'static str, unit: &'static str, bound: Bound) -> Target {
    Target { what, row, key: Some(key), unit, bound }
}

use Bound::{AtLeast, AtMost, OfWs};

/// All targets, in the order of the page.
pub const TARGETS: [Target; 28] = [
    target("resident memory per idle participant, rooms of 10, 10,000 sockets", "memory-10k", "KiB", AtMost(3.0)),
    target("the same at 18,000 sockets", "memory-18k", "KiB", AtMost(3.0)),
    target("server CPU per 100,000 beats with answer, 5,000 sockets", "beats", "s", AtMost(0.6)),
    target("the same as a share of ws 8", "beats", "of ws", OfWs(0.55)),
    target("server CPU per million deliveries, room of 1,000, one message in flight", "fanout-1", "s", AtMost(2.6)),
    target("the same with 16 in flight", "fanout-16", "s", AtMost(0.45)),
    also("1,000 people join one room at once: frames sent", "mass-join", "frames", "frames", AtMost(10_000.0)),
    target("CPU of that beside admission", "mass-join", "s", AtMost(0.15)),
    also("from the last admission until all see all", "mass-join", "converged_seconds", "s", AtMost(0.5)),
    also("10 rooms of 100, all leave and come back: frames sent", "leave-return", "frames", "frames", AtMost(6_000.0)),
    target("CPU of that beside admission", "leave-return", "s", AtMost(0.15)),
    target("joins a second with full admission", "connects", "a second", AtLeast(3_000.0)),
    also("server CPU per join", "connects", "cpu_us_per_join", "µs", AtMost(100.0)),
    target("reconnect storm: 15,000 sockets cut at once, all back with resume", "storm", "s", AtMost(20.0)),
    also("leaves sent in it", "storm", "leaves_told", "leaves", AtMost(0.0)),
    also("rooms in which REST finds a ghost or misses somebody", "storm", "rooms_that_disagree", "rooms", AtMost(0.0)),
    also("calls of a bystander that failed meanwhile", "storm", "bystander_failures", "calls", AtMost(0.0)),
    target("flush of 100,000 participants", "flush", "rows/s", AtLeast(250_000.0)),
    target("updates in place (HOT)", "flush in place (HOT)", "%", AtLeast(95.0)),
    target("WAL", "flush WAL", "bytes a row", AtMost(120.0)),
    target("growth of the table over 20 flushes", "flush growth", "%", AtMost(0.0)),
    target("sweep over 200,000 open sessions, nothing idle", "sweep of 0 idle rooms", "s", AtMost(0.005)),
    target("the same, 1,000 to close", "sweep of 1000 idle rooms", "s", AtMost(2.0)),
    target("the same, 20,000 to close", "sweep of 20000 idle rooms", "s", AtMost(2.0)),
    target("idle CPU at 18,000 sockets, beats of 30 s", "idle", "% of one core", AtMost(3.0)),
    target("a million participants in process: memory", "million memory", "bytes each", AtMost(f64::INFINITY)),
    target("beats of a million, one thread", "million beats", "a second", AtLeast(0.0)),
    target("flush of a million", "million flush", "s", AtMost(f64::INFINITY)),
];
