//! What keeps a reading session open, and when it expires.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::words::words;

words! {
    /// What keeps a session open.
    IdleCounts {
        /// A person is connected, or was within the idle timeout.
        Seen = "seen",
        /// A person did something within the idle timeout; an unattended tab does not count.
        Activity = "activity",
    }
}

impl IdleCounts {
    /// Of what was last seen and what was last active, that which keeps a session open.
    pub fn of<T>(self, seen: T, active: T) -> T {
        match self {
            Self::Seen => seen,
            Self::Activity => active,
        }
    }
}

/// When a session is idle.
#[derive(Clone, Copy, Debug)]
pub struct IdleRule {
    /// After this long without a sign.
    pub timeout: Duration,
    /// What a sign is.
    pub counts: IdleCounts,
}

impl IdleRule {
    /// When a session expires that was last seen and last active at these times.
    pub fn expires_at(&self, seen: DateTime<Utc>, active: DateTime<Utc>) -> DateTime<Utc> {
        self.counts.of(seen, active) + TimeDelta::from_std(self.timeout).unwrap_or(TimeDelta::zero())
    }
}
