//! The rate limit of a client's frames: 100 a minute over a burst of 20.

use std::num::NonZeroU32;
use std::sync::LazyLock;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::time::Instant;

const PER_MINUTE: NonZeroU32 = NonZeroU32::new(100).unwrap();
const BURST: NonZeroU32 = NonZeroU32::new(20).unwrap();

/// Shared by all connections: making one runs CPUID, which is slow in a virtual machine.
static CLOCK: LazyLock<DefaultClock> = LazyLock::new(DefaultClock::default);

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
#[derive(Debug)]
pub struct Pace {
    limiter: DefaultDirectRateLimiter,
    over: u32,
    last_over: Option<Instant>,
}

impl Pace {
    /// A connection that has sent nothing.
    pub fn new() -> Self {
        Self {
            limiter: RateLimiter::direct_with_clock(Quota::per_minute(PER_MINUTE).allow_burst(BURST), CLOCK.clone()),
            over: 0,
            last_over: None,
        }
    }

    /// Counts a frame.
    pub fn frame(&mut self) -> Verdict {
        let Err(not_until) = self.limiter.check() else { return Verdict::Serve };
        let wait = not_until.wait_time_from(CLOCK.now());
        let now = Instant::now();
        if self.last_over.replace(now).is_some_and(|last| now - last > Duration::from_mins(1)) {
            self.over = 0;
        }
        self.over += 1;
        match self.over {
            1 => Verdict::Refuse(wait),
            over if over > BURST.get() => Verdict::End(wait),
            _ => Verdict::Ignore,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_served_then_one_frame_is_refused_and_then_it_ends() {
        let mut pace = Pace::new();
        let verdicts: Vec<_> = (0..60).map(|_| pace.frame()).collect();
        assert!(verdicts[..20].iter().all(|verdict| *verdict == Verdict::Serve));
        assert_eq!(verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Refuse(_))).count(), 1);
        assert!(matches!(verdicts[20], Verdict::Refuse(_)));
        let end = verdicts.iter().position(|verdict| matches!(verdict, Verdict::End(_))).expect("it ends");
        assert!((40..=45).contains(&end), "after {end} frames");
    }
}
