//! The rate limit of a client's frames: 100 a minute over a burst of 20.
//!
//! An update counts less than other frames, since others are sent the newest state once in an interval whatever comes
//! in between: as many as a setting says in a second take half of the pace, and leave the other half to all else.
//!
//! By hand (it is the generic cell rate algorithm), though a library limits networks and users: its limiter takes 72
//! bytes of every connection, and cannot give back the time of a stall.

use std::time::Duration;

use crate::clock::Moment;
use crate::protocol::v1::FRAMES_PER_MINUTE;

/// What a frame counts: its time at 100 a minute.
pub const PER_FRAME: Duration = Duration::from_millis(60_000 / FRAMES_PER_MINUTE as u64);
const BURST: u32 = 20;

/// The most time of stalls that a client is given, however long the process did not run: the frames of a minute.
const MOST_GIVEN: Duration = Duration::from_mins(1);

/// What an update counts where so many may come in a second.
pub fn per_update(max_per_second: u32) -> Duration {
    Duration::from_millis(500) / max_per_second
}

/// What is to be done with a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Serve it.
    Serve,
    /// Refuse it, with how long to wait.
    Refuse(Duration),
    /// Drop it: the client was sent a refusal before.
    Ignore,
    /// End the connection: the client goes on in spite of the refusal.
    End(Duration),
}

/// The pace of one connection. The first frame over the limit is refused; as many as a burst after it are
/// dropped, while the client may not have read the refusal. After a minute without a frame over the limit
/// the count starts again.
///
/// Frames that waited in the socket while the process did not run arrive all at once. They are served as if they had
/// come one after the other: the client is not at fault.
#[derive(Debug)]
pub struct Pace {
    /// When the whole burst is free again: each frame moves it by its time.
    free_at: Moment,
    last_over: Option<Moment>,
    /// What of [`Clock::stalled`](crate::clock::Clock::stalled) this client has had.
    given: Duration,
    over: u32,
}

impl Pace {
    /// A connection that has sent nothing.
    pub fn new(stalled: Duration, now: Moment) -> Self {
        Self { free_at: now, last_over: None, given: stalled, over: 0 }
    }

    /// Counts a frame as this much time. `stalled` is asked where the frame is over the limit.
    pub fn frame(&mut self, counts: Duration, now: Moment, stalled: impl FnOnce() -> Duration) -> Verdict {
        let most = PER_FRAME * (BURST - 1);
        if self.ahead(now) > most {
            self.give(now, stalled());
        }
        let Some(wait) = self.ahead(now).checked_sub(most).filter(|wait| !wait.is_zero()) else {
            self.free_at = self.free_at.max(now) + counts;
            return Verdict::Serve;
        };
        if self.last_over.replace(now).is_some_and(|last| now.since(last) > Duration::from_mins(1)) {
            self.over = 0;
        }
        self.over += 1;
        match self.over {
            1 => Verdict::Refuse(wait),
            over if over > BURST => Verdict::End(wait),
            _ => Verdict::Ignore,
        }
    }

    /// By how much time the client has used its rate up.
    fn ahead(&self, now: Moment) -> Duration {
        self.free_at.since(now)
    }

    /// Gives as much of the time in which the process did not run as the client can use.
    fn give(&mut self, now: Moment, stalled: Duration) {
        self.given = self.given.max(stalled.saturating_sub(MOST_GIVEN));
        let given = self.ahead(now).min(stalled.saturating_sub(self.given));
        self.free_at = self.free_at.before(given);
        self.given += given;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const SECOND: Duration = Duration::from_secs(1);

    /// What becomes of so many frames at once.
    fn verdicts(pace: &mut Pace, frames: usize, now: Moment, stalled: Duration) -> Vec<Verdict> {
        (0..frames).map(|_| pace.frame(PER_FRAME, now, || stalled)).collect()
    }

    fn served(verdicts: &[Verdict]) -> usize {
        verdicts.iter().take_while(|verdict| **verdict == Verdict::Serve).count()
    }

    #[test]
    fn a_burst_is_served_then_one_frame_is_refused_and_then_it_ends() {
        let now = Clock::new().now();
        let mut pace = Pace::new(Duration::ZERO, now);
        let verdicts = verdicts(&mut pace, 42, now, Duration::ZERO);
        assert_eq!(served(&verdicts), 20);
        assert_eq!(verdicts[20], Verdict::Refuse(PER_FRAME));
        assert_eq!(verdicts[21..40], [Verdict::Ignore; 19]);
        assert_eq!(verdicts[40], Verdict::End(PER_FRAME));
    }

    #[test]
    fn a_client_that_waits_as_it_was_told_is_served() {
        let mut now = Clock::new().now();
        let mut pace = Pace::new(Duration::ZERO, now);
        for _ in 0..5 {
            let burst = verdicts(&mut pace, 21, now, Duration::ZERO);
            let Some(Verdict::Refuse(wait)) = burst.last().copied() else { panic!("{burst:?}") };
            now = now + wait;
            assert_eq!(pace.frame(PER_FRAME, now, || Duration::ZERO), Verdict::Serve);
            now = now + 2 * Duration::from_mins(1);
        }
        for _ in 0..500 {
            now = now + PER_FRAME;
            assert_eq!(pace.frame(PER_FRAME, now, || Duration::ZERO), Verdict::Serve, "at the rate itself");
        }
    }

    #[test]
    fn updates_at_their_pace_leave_room_for_half_of_all_other_frames() {
        for a_second in [1, 10, 20, 100] {
            let mut now = Clock::new().now();
            let mut pace = Pace::new(Duration::ZERO, now);
            for second in 0..600 {
                // Fifty others a minute, beats among them.
                let others = usize::from(second % 6 != 0);
                assert_eq!(served(&verdicts(&mut pace, others, now, Duration::ZERO)), others, "{a_second}");
                for _ in 0..a_second {
                    let update = pace.frame(per_update(a_second), now, || Duration::ZERO);
                    assert_eq!(update, Verdict::Serve, "{a_second}, after {second} s");
                }
                now = now + SECOND;
            }
            // Far beyond it they are refused like all others.
            let flood = (0..100_000).map(|_| pace.frame(per_update(a_second), now, || Duration::ZERO));
            assert!(flood.into_iter().any(|verdict| matches!(verdict, Verdict::End(_))), "{a_second}");
        }
    }

    #[test]
    fn what_waited_while_the_process_did_not_run_is_served_once_and_no_more_than_that() {
        let start = Clock::new().now();
        let mut pace = Pace::new(5 * SECOND, start);
        assert_eq!(served(&verdicts(&mut pace, 20, start, 5 * SECOND)), 20);
        // 30 s are the time of 50 frames, in which the burst was free again as well.
        let (now, stalled) = (start + 30 * SECOND, 35 * SECOND);
        assert_eq!(served(&verdicts(&mut pace, 100, now, stalled)), 20 + 50);
        assert_eq!(served(&verdicts(&mut pace, 1, now, stalled)), 0);

        let mut pace = Pace::new(Duration::ZERO, start);
        let day = 86_400 * SECOND;
        assert_eq!(served(&verdicts(&mut pace, 1000, start + day, day)), 20 + 100);
    }
}
