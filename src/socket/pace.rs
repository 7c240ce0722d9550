//! How many frames a client may send: 100 a minute over a burst of 20.

use std::num::NonZeroU32;
use std::sync::LazyLock;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::time::Instant;

const PER_MINUTE: NonZeroU32 = NonZeroU32::new(100).unwrap();
const BURST: NonZeroU32 = NonZeroU32::new(20).unwrap();

/// Shared: making one asks the processor what it can do, which a virtual machine answers slowly.
static CLOCK: LazyLock<DefaultClock> = LazyLock::new(DefaultClock::default);

/// What is to be done with a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Serve it.
    Fine,
    /// Not served; say so, and when the next one is.
    Tell(Duration),
    /// Not served; it was said.
    Ignore,
    /// It goes on though it was said: end the connection.
    End(Duration),
}

/// The pace of one connection. Somebody who is too fast is told once, and has one more burst to hear
/// it. After a minute without a frame too many it is forgiven.
#[derive(Debug)]
pub struct Pace {
    limiter: DefaultDirectRateLimiter,
    over: u32,
    last_over: Option<Instant>,
}

impl Pace {
    /// Nothing was sent yet.
    pub fn new() -> Self {
        Self {
            limiter: RateLimiter::direct_with_clock(Quota::per_minute(PER_MINUTE).allow_burst(BURST), CLOCK.clone()),
            over: 0,
            last_over: None,
        }
    }

    /// A frame came.
    pub fn frame(&mut self) -> Verdict {
        let Err(not_until) = self.limiter.check() else { return Verdict::Fine };
        let wait = not_until.wait_time_from(CLOCK.now());
        let now = Instant::now();
        if self.last_over.replace(now).is_some_and(|last| now - last > Duration::from_mins(1)) {
            self.over = 0;
        }
        self.over += 1;
        match self.over {
            1 => Verdict::Tell(wait),
            over if over > BURST.get() => Verdict::End(wait),
            _ => Verdict::Ignore,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_fine_then_it_is_told_once_and_then_it_ends() {
        let mut pace = Pace::new();
        let verdicts: Vec<_> = (0..60).map(|_| pace.frame()).collect();
        assert!(verdicts[..20].iter().all(|verdict| *verdict == Verdict::Fine));
        assert_eq!(verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Tell(_))).count(), 1);
        assert!(matches!(verdicts[20], Verdict::Tell(_)));
        let end = verdicts.iter().position(|verdict| matches!(verdict, Verdict::End(_))).expect("it ends");
        assert!((40..=45).contains(&end), "after {end} frames");
    }
}
