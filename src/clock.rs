//! The server's own time: monotonic milliseconds that fit an atomic.

mod stalls;

use std::num::NonZeroU64;
use std::ops::Add;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use self::stalls::Stalls;

/// What a clock shows when it is made, in milliseconds. Far enough from zero that a moment from
/// before this process (a person who was seen by the last run of this server) is a number too.
const START_MS: u64 = 1 << 42;

/// A point on a [`Clock`], in milliseconds. Compare and store these freely: they never run backwards.
///
/// Never zero, so that one that may be missing takes no more room: every connection has some.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Moment(NonZeroU64);

impl Moment {
    /// Takes back what [`Moment::as_millis`] gave, for atomics.
    pub const fn from_millis(millis: u64) -> Self {
        match NonZeroU64::new(millis) {
            Some(millis) => Self(millis),
            None => Self(NonZeroU64::MIN),
        }
    }

    /// The number behind the moment; only good for [`Moment::from_millis`].
    pub const fn as_millis(self) -> u64 {
        self.0.get()
    }

    /// The time from `earlier` to this moment; zero where `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.as_millis().saturating_sub(earlier.as_millis()))
    }

    /// The moment `age` before this one.
    pub fn before(self, age: Duration) -> Self {
        Self::from_millis(self.as_millis().saturating_sub(millis(age)))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How far the wall clock may move against the monotonic one before moments are shown by its new time,
/// in milliseconds: more than rounding and scheduling, less than people notice.
const WALL_CLOCK_MOVED_MS: i64 = 500;

/// How often a server notes that it runs.
pub const RUNNING_INTERVAL: Duration = Duration::from_millis(250);

/// Where moments come from. Copies show the same time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    /// Unix time in milliseconds less the moment, kept so that a moment is always shown as the same time.
    anchor: &'static AtomicI64,
    stalls: &'static Stalls,
}

impl Clock {
    /// A clock that starts now. There is one for each server, which is never given back.
    #[expect(clippy::new_without_default, reason = "a default would hide that it starts now")]
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            anchor: Box::leak(Box::new(AtomicI64::new(i64::MIN))),
            stalls: Box::leak(Box::new(Stalls::new())),
        }
    }

    /// The present moment.
    pub fn now(&self) -> Moment {
        Moment::from_millis(START_MS + millis(self.started.elapsed()))
    }

    /// Notes that the process runs; to be called every [`RUNNING_INTERVAL`] from the start on.
    pub fn note_running(&self) {
        self.stalls.note();
    }

    /// For how long the process did not run, in all until now. A deadline for which others had to be heard is given
    /// what was added to this since it was set: moments count the stalls. Takes no lock while there is no stall.
    pub fn stalled(&self) -> Duration {
        self.stalls.total()
    }

    /// How often the process did not run for a while, or the machine was suspended.
    pub fn interruptions(&self) -> u64 {
        self.stalls.interruptions()
    }

    /// Pretends that the process did not run for this long.
    #[cfg(test)]
    pub fn stall(&self, time: Duration) {
        self.stalls.add(time);
    }

    /// The moment as a deadline for tokio's timers.
    pub fn instant(&self, moment: Moment) -> Instant {
        self.started + Duration::from_millis(moment.as_millis().saturating_sub(START_MS))
    }

    /// The moment in civil time, by this machine's wall clock. For people and JSON; what is compared
    /// with stored times goes to the database as an age.
    pub fn utc(&self, moment: Moment) -> DateTime<Utc> {
        let unix = self.anchor().saturating_add(moment.as_millis().cast_signed());
        DateTime::from_timestamp_millis(unix).unwrap_or(DateTime::UNIX_EPOCH)
    }

    /// The moment of a stored time, for people who were seen before this process started; now, for a
    /// time that has not come.
    pub fn moment(&self, time: DateTime<Utc>) -> Moment {
        let moment = time.timestamp_millis().saturating_sub(self.anchor());
        Moment::from_millis(u64::try_from(moment).unwrap_or_default()).min(self.now())
    }

    fn anchor(&self) -> i64 {
        let measured = Utc::now().timestamp_millis() - self.now().as_millis().cast_signed();
        let kept = self.anchor.load(Ordering::Relaxed);
        if measured.saturating_sub(kept).saturating_abs() <= WALL_CLOCK_MOVED_MS {
            return kept;
        }
        self.anchor.store(measured, Ordering::Relaxed);
        measured
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_survives_the_way_to_civil_time_and_back() {
        let clock = Clock::new();
        let yesterday = clock.now().before(Duration::from_hours(24));
        let back = clock.moment(clock.utc(yesterday));
        let error = back.since(yesterday).max(yesterday.since(back));
        assert!(error < Duration::from_secs(5), "off by {error:?}");
    }

    #[test]
    fn a_moment_is_told_alike_each_time() {
        let clock = Clock::new();
        let moment = clock.now();
        let told = clock.utc(moment);
        for _ in 0..100_000 {
            assert_eq!(clock.utc(moment), told);
        }
    }

    #[test]
    fn time_never_runs_backwards() {
        let clock = Clock::new();
        let now = clock.now();
        assert_eq!(now.since(now + Duration::from_secs(1)), Duration::ZERO);
        assert_eq!((now + Duration::from_secs(1)).since(now), Duration::from_secs(1));
    }
}
