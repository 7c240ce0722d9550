//! The tarpit: refusals after the upgrade to a network that is refused again and again are slowed down.
//!
//! To many clients a handshake that succeeds is a success, whatever is sent after it: they come back at once when the
//! connection is closed, thousands of times in some seconds, or for ever. So the Close waits, longer each time. A network
//! that has had too many is refused before the upgrade instead, which these clients know as a failure. Only a request
//! that is refused anyway is slowed down: whoever has a good credential comes in from the same network as ever.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

use crate::config::LimitSettings;
use crate::identity::client_address::Network;
use crate::protocol::{Code, Refusal};

/// One refusal is forgotten after so long.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);

/// So much of what a network may have is sent without a delay: several people with an expired link.
const UNDELAYED_PART: u32 = 6;

/// The longest delay of a Close. reconnecting-websocket and partysocket take a connection that lasts for 5 s as a good
/// one, and forget how long they were waiting between two.
const LONGEST_DELAY: Duration = Duration::from_secs(4);

/// Counts the refusals of each network.
#[derive(Debug)]
pub struct Tarpit<C: Clock = DefaultClock> {
    refusals: RateLimiter<Network, DefaultKeyedStateStore<Network>, C, StateInformationMiddleware>,
    most: NonZeroU32,
}

impl Tarpit {
    /// Without a refusal.
    pub fn new(limits: &LimitSettings) -> Self {
        Self::with_clock(limits.max_refusals_per_ip(), DefaultClock::default())
    }
}

impl<C: Clock> Tarpit<C> {
    fn with_clock(most: NonZeroU32, clock: C) -> Self {
        let quota = Quota::with_period(FORGOTTEN_AFTER).expect("it is longer than nothing").allow_burst(most);
        Self { refusals: RateLimiter::new(quota, DefaultKeyedStateStore::default(), clock), most }
    }

    /// Counts a refusal to this network that is sent after the upgrade. How long its Close waits.
    ///
    /// # Errors
    /// `rate_limited`, to be sent before the upgrade: the network has had too many of late.
    pub fn refuse(&self, network: Network) -> Result<Duration, Refusal> {
        match self.refusals.check_key(&network) {
            Ok(state) => Ok(delay(self.most.get() - state.remaining_burst_capacity(), self.most.get())),
            Err(not_until) => {
                let refusal = Refusal::new(Code::RateLimited, "Too many attempts from this address were refused.");
                Err(refusal.retry_about(not_until.wait_time_from(self.refusals.clock().now())))
            }
        }
    }

    /// Forgets networks without a refusal of late.
    pub fn forget(&self) {
        self.refusals.retain_recent();
    }
}

/// The delay of the `nth` refusal of at most `most`: none at first, then longer each time, up to the longest.
fn delay(nth: u32, most: u32) -> Duration {
    let undelayed = most / UNDELAYED_PART;
    match nth.checked_sub(undelayed) {
        Some(late @ 1..) => LONGEST_DELAY.mul_f64(f64::from(late) / f64::from(most - undelayed)),
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn tarpit(most: u32) -> (Tarpit<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Tarpit::with_clock(NonZeroU32::new(most).expect("some"), clock.clone()), clock)
    }

    fn network(address: &str) -> Network {
        Network::of(address.parse().expect("an address"))
    }

    #[test]
    fn the_first_are_not_delayed_the_next_ever_more_and_the_last_are_for_http() {
        let (tarpit, _) = tarpit(120);
        let [home, other] = ["192.0.2.1", "192.0.2.2"].map(network);
        let delays: Vec<_> = (0..120).map(|_| tarpit.refuse(home).expect("after the upgrade")).collect();
        assert!(delays[..20].iter().all(Duration::is_zero), "{delays:?}");
        assert!(delays[19..].windows(2).all(|pair| pair[0] < pair[1]), "{delays:?}");
        assert_eq!(delays[119], LONGEST_DELAY);
        for _ in 0..1000 {
            let refusal = tarpit.refuse(home).expect_err("before the upgrade");
            let wait = refusal.retry_after.expect("a time to come back");
            assert!(refusal.code == Code::RateLimited && wait <= 2 * FORGOTTEN_AFTER, "{wait:?}");
        }
        assert_eq!(tarpit.refuse(other), Ok(Duration::ZERO), "another network is another matter");
    }

    #[test]
    fn refusals_are_forgotten_one_after_the_other() {
        let (tarpit, clock) = tarpit(12);
        let home = network("2001:db8::1");
        while tarpit.refuse(home).is_ok() {}
        clock.advance(FORGOTTEN_AFTER);
        assert_eq!(tarpit.refuse(home), Ok(LONGEST_DELAY));
        assert!(tarpit.refuse(network("2001:db8::2")).is_err(), "of the same /64");
        clock.advance(20 * FORGOTTEN_AFTER);
        tarpit.forget();
        assert!(tarpit.refusals.is_empty());
        assert_eq!(tarpit.refuse(home), Ok(Duration::ZERO));
    }

    #[test]
    fn a_network_may_have_one_at_least() {
        let (tarpit, _) = tarpit(1);
        assert_eq!(tarpit.refuse(network("::1")), Ok(LONGEST_DELAY));
        assert!(tarpit.refuse(network("::1")).is_err());
    }
}
