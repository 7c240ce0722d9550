//! The rules that all rooms of a server follow, as plain values.

use std::time::Duration;

use crate::domain::idle::IdleRule;

/// How rooms behave. Each is explained at the setting of the same name.
#[derive(Clone, Debug)]
pub struct Rules {
    /// When people are shown as idle, and when they are gone.
    pub timings: Timings,
    /// How long changes are gathered for one diff.
    pub diff_interval: Duration,
    /// The same in a large room.
    pub diff_interval_large: Duration,
    /// The most people of whom a room publishes more than their number.
    pub detail_limit: usize,
    /// When the session expires.
    pub idle: IdleRule,
    /// How long before that it is announced.
    pub expiring_notice: Duration,
}

/// The timings of a roster.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// How long a participant is kept whose last connection was lost.
    pub grace: Duration,
    /// How long without activity makes a participant idle.
    pub idle_after: Duration,
}
