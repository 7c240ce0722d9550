//! The server's own time: monotonic milliseconds that fit an atomic.

use std::ops::Add;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tokio::time::Instant;

/// What a clock shows when it is made, in milliseconds. Far enough from zero that a moment from
/// before this process (a person who was seen by the last run of this server) is a number too.
const START_MS: u64 = 1 << 42;

/// A point on a [`Clock`], in milliseconds. Compare and store these freely: they never run backwards.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Moment(u64);

impl Moment {
    /// Takes back what [`Moment::as_millis`] gave, for atomics.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The number behind the moment; only good for [`Moment::from_millis`].
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this moment; zero where `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The moment `age` before this one.
    pub fn before(self, age: Duration) -> Self {
        Self(self.0.saturating_sub(millis(age)))
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

/// A gap of this length between two notes is a stall: more than scheduling on a busy machine.
const STALL: Duration = Duration::from_secs(1);

/// A wall clock that is this far ahead of the monotonic one since the last note: the machine was suspended.
const SUSPENDED: Duration = Duration::from_secs(10);

/// What is known of the times at which the process did not run: it was stopped, or its machine was.
#[derive(Debug, Default)]
struct Stalls {
    /// When the last note was, by clocks that tests do not move; `None` where nobody takes notes.
    noted: Option<(std::time::Instant, SystemTime)>,
    total: Duration,
    interruptions: u64,
}

impl Stalls {
    fn note(&mut self) {
        let (now, wall) = (std::time::Instant::now(), SystemTime::now());
        if let Some((last, last_wall)) = self.noted.replace((now, wall)) {
            let gap = now - last;
            let suspended = wall.duration_since(last_wall).unwrap_or_default().saturating_sub(gap) >= SUSPENDED;
            if gap >= STALL {
                self.total += gap;
            }
            self.interruptions += u64::from(gap >= STALL || suspended);
        }
    }
}

/// Where moments come from. Copies show the same time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    /// Unix time in milliseconds less the moment, kept so that a moment is always shown as the same time.
    anchor: &'static AtomicI64,
    stalls: &'static Mutex<Stalls>,
}

impl Clock {
    /// A clock that starts now. There is one for each server, which is never given back.
    #[expect(clippy::new_without_default, reason = "a default would hide that it starts now")]
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            anchor: Box::leak(Box::new(AtomicI64::new(i64::MIN))),
            stalls: Box::leak(Box::default()),
        }
    }

    /// The present moment.
    pub fn now(&self) -> Moment {
        Moment(START_MS + millis(self.started.elapsed()))
    }

    /// Notes that the process runs; to be called every [`RUNNING_INTERVAL`] from the start on.
    pub fn note_running(&self) {
        self.stalls.lock().note();
    }

    /// For how long the process did not run, in all until now. A deadline for which others had to be heard is given
    /// what was added to this since it was set: moments count the stalls.
    pub fn stalled(&self) -> Duration {
        let mut stalls = self.stalls.lock();
        if stalls.noted.is_some() {
            stalls.note();
        }
        stalls.total
    }

    /// How often the process did not run for a while, or the machine was suspended.
    pub fn interruptions(&self) -> u64 {
        let _ = self.stalled();
        self.stalls.lock().interruptions
    }

    /// Pretends that the process did not run for this long.
    #[cfg(test)]
    pub fn stall(&self, time: Duration) {
        self.stalls.lock().total += time;
    }

    /// The moment as a deadline for tokio's timers.
    pub fn instant(&self, moment: Moment) -> Instant {
        self.started + Duration::from_millis(moment.0.saturating_sub(START_MS))
    }

    /// The moment in civil time, by this machine's wall clock. For people and JSON; what is compared
    /// with stored times goes to the database as an age.
    pub fn utc(&self, moment: Moment) -> DateTime<Utc> {
        let unix = self.anchor().saturating_add(moment.0.cast_signed());
        DateTime::from_timestamp_millis(unix).unwrap_or(DateTime::UNIX_EPOCH)
    }

    /// The moment of a stored time, for people who were seen before this process started; now, for a
    /// time that has not come.
    pub fn moment(&self, time: DateTime<Utc>) -> Moment {
        let moment = time.timestamp_millis().saturating_sub(self.anchor());
        Moment(u64::try_from(moment).unwrap_or_default()).min(self.now())
    }

    fn anchor(&self) -> i64 {
        let measured = Utc::now().timestamp_millis() - self.now().0.cast_signed();
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
    fn a_gap_between_notes_is_a_stall_where_notes_are_taken() {
        let gap = STALL + Duration::from_millis(200);
        let clock = Clock::new();
        std::thread::sleep(gap);
        assert_eq!((clock.stalled(), clock.interruptions()), (Duration::ZERO, 0));
        clock.note_running();
        std::thread::sleep(gap);
        let stalled = clock.stalled();
        assert!(stalled >= gap && clock.interruptions() >= 1, "{stalled:?}");
    }

    #[test]
    fn time_never_runs_backwards() {
        let clock = Clock::new();
        let now = clock.now();
        assert_eq!(now.since(now + Duration::from_secs(1)), Duration::ZERO);
        assert_eq!((now + Duration::from_secs(1)).since(now), Duration::from_secs(1));
    }
}
