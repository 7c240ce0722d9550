//! The times at which the process did not run: it was stopped, or its machine was.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::millis;

/// A gap of this length between two notes is a stall: more than scheduling on a busy machine.
const STALL: Duration = Duration::from_secs(1);

/// A wall clock that is this far ahead of the monotonic one since the last note: the machine was suspended.
const SUSPENDED: Duration = Duration::from_secs(10);

/// In place of the time of the last note where no notes are taken.
const NEVER: u64 = u64::MAX;

/// A moment by clocks that tests do not move.
#[derive(Clone, Copy, Debug)]
struct Now {
    /// Since the server started.
    running: Duration,
    wall: SystemTime,
}

/// What is known of stalls. Reading it takes no lock, since every room does at each of its ticks, but for the first
/// reader after a stall, who may come before the task that takes the notes.
#[derive(Debug)]
pub(super) struct Stalls {
    started: Instant,
    /// When the last note was, in milliseconds since `started`. Written after what it leads to, and under the lock.
    noted_ms: AtomicU64,
    total_ms: AtomicU64,
    interruptions: AtomicU64,
    /// The wall clock at the last note.
    wall: Mutex<SystemTime>,
}

impl Stalls {
    /// None are known, and no notes are taken yet.
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            noted_ms: AtomicU64::new(NEVER),
            total_ms: AtomicU64::new(0),
            interruptions: AtomicU64::new(0),
            wall: Mutex::new(SystemTime::now()),
        }
    }

    /// Notes that the process runs.
    pub fn note(&self) {
        self.note_at(self.now());
    }

    /// For how long the process did not run, in all until now.
    pub fn total(&self) -> Duration {
        self.total_at(self.started.elapsed(), SystemTime::now)
    }

    /// How often the process did not run for a while, or the machine was suspended.
    pub fn interruptions(&self) -> u64 {
        // A machine that was suspended shows by its wall clock alone, so that it takes a note to know.
        if self.noted_ms.load(Ordering::Acquire) != NEVER {
            self.note();
        }
        self.interruptions.load(Ordering::Relaxed)
    }

    /// Pretends that the process did not run for this long.
    #[cfg(test)]
    pub fn add(&self, time: Duration) {
        self.total_ms.fetch_add(millis(time), Ordering::Relaxed);
    }

    fn now(&self) -> Now {
        Now { running: self.started.elapsed(), wall: SystemTime::now() }
    }

    fn total_at(&self, running: Duration, wall: impl FnOnce() -> SystemTime) -> Duration {
        let noted = self.noted_ms.load(Ordering::Acquire);
        if noted != NEVER && is_stall(noted, running) {
            self.note_at(Now { running, wall: wall() });
        }
        Duration::from_millis(self.total_ms.load(Ordering::Relaxed))
    }

    fn note_at(&self, now: Now) {
        let mut last_wall = self.wall.lock();
        let wall = now.wall.duration_since(std::mem::replace(&mut *last_wall, now.wall)).unwrap_or_default();
        let (noted, running) = (self.noted_ms.load(Ordering::Relaxed), millis(now.running));
        if noted == NEVER {
            return self.noted_ms.store(running, Ordering::Release);
        }
        let gap = Duration::from_millis(running.saturating_sub(noted));
        let stalled = is_stall(noted, now.running);
        if stalled {
            self.total_ms.fetch_add(millis(gap), Ordering::Relaxed);
        }
        if stalled || wall.saturating_sub(gap) >= SUSPENDED {
            self.interruptions.fetch_add(1, Ordering::Relaxed);
        }
        // Released last: a reader that sees this note sees the stall as well. Another one may have noted a later time.
        self.noted_ms.store(noted.max(running), Ordering::Release);
    }
}

fn is_stall(noted_ms: u64, running: Duration) -> bool {
    millis(running).saturating_sub(noted_ms) >= millis(STALL)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A server of which these many seconds have passed by the monotonic clock, and by the wall clock.
    fn at(running: u64, wall: u64) -> Now {
        let (running, wall) = (Duration::from_secs(running), Duration::from_secs(wall));
        Now { running, wall: SystemTime::UNIX_EPOCH + wall }
    }

    impl Stalls {
        fn total_then(&self, now: Now) -> Duration {
            self.total_at(now.running, || now.wall)
        }

        fn interrupted(&self) -> u64 {
            self.interruptions.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn a_gap_between_notes_is_a_stall_where_notes_are_taken() {
        let stalls = Stalls::new();
        assert_eq!(stalls.total_then(at(60, 60)), Duration::ZERO, "no notes are taken");
        stalls.note_at(at(60, 60));
        assert_eq!((stalls.total_then(at(60, 60)), stalls.interrupted()), (Duration::ZERO, 0));
        stalls.note_at(at(100, 100));
        assert_eq!((stalls.total_then(at(100, 100)), stalls.interrupted()), (40 * SECOND, 1));
        stalls.note_at(at(100, 100));
        assert_eq!((stalls.total_then(at(100, 100)), stalls.interrupted()), (40 * SECOND, 1), "counted once");
    }

    #[test]
    fn whoever_asks_first_after_a_stall_knows_of_it() {
        let stalls = Stalls::new();
        stalls.note_at(at(1, 1));
        for _ in 0..2 {
            assert_eq!(stalls.total_then(at(7, 7)), 6 * SECOND);
        }
        stalls.note_at(at(7, 7));
        assert_eq!((stalls.total_then(at(7, 7)), stalls.interrupted()), (6 * SECOND, 1), "the note adds nothing");
    }

    #[test]
    fn a_note_that_comes_late_does_not_turn_the_clock_back() {
        let stalls = Stalls::new();
        stalls.note_at(at(5, 5));
        stalls.note_at(at(4, 4));
        assert_eq!(stalls.total_then(at(5, 5)), Duration::ZERO);
    }

    #[test]
    fn a_wall_clock_that_is_ahead_is_an_interruption_and_no_time() {
        let stalls = Stalls::new();
        stalls.note_at(at(1, 1));
        stalls.note_at(at(1, 3600));
        assert_eq!((stalls.total_then(at(1, 3600)), stalls.interrupted()), (Duration::ZERO, 1));
        stalls.note_at(at(1, 1));
        assert_eq!(stalls.interrupted(), 1, "one that is set back is none");
    }
}
