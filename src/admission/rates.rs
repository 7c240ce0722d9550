//! Rates: how fast one network comes in, and how fast one user writes.
//!
//! A network may be a school or an office with hundreds of people behind one address, so bursts are as large as what
//! may come in a minute.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::config::LimitSettings;
use crate::domain::ids::UserId;
use crate::identity::Caller;
use crate::identity::client_address::Network;
use crate::protocol::{Code, Refusal};

/// What the arrival of a stranger counts: it asks the database, and either makes a row or is refused.
const STRANGER: NonZeroU32 = NonZeroU32::new(5).unwrap();

/// What comes in, by what it costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// A handshake or a stream by a resume token or a JWT, or a look at an invite.
    Known,
    /// A handshake without such a credential, or a change by a caller without an account.
    Stranger,
}

/// The rates of a server.
#[derive(Debug)]
pub struct Rates {
    arrivals: DefaultKeyedRateLimiter<Network>,
    stranger: NonZeroU32,
    sessions: DefaultKeyedRateLimiter<Network>,
    writes: DefaultKeyedRateLimiter<UserId>,
}

impl Rates {
    /// With nothing counted.
    pub fn new(limits: &LimitSettings) -> Self {
        let arrivals = limits.max_handshakes_per_minute();
        Self {
            arrivals: RateLimiter::keyed(Quota::per_minute(arrivals)),
            // What counts more than the limit would never be let in.
            stranger: STRANGER.min(arrivals),
            sessions: RateLimiter::keyed(Quota::per_minute(limits.max_sessions_per_minute)),
            writes: RateLimiter::keyed(Quota::per_minute(limits.max_writes_per_minute)),
        }
    }

    /// Counts what comes from a network.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn arrive(&self, network: Network, arrival: Arrival) -> Result<(), Refusal> {
        let cells = match arrival {
            Arrival::Known => NonZeroU32::MIN,
            Arrival::Stranger => self.stranger,
        };
        match self.arrivals.check_key_n(&network, cells) {
            Ok(Ok(())) => Ok(()),
            _ => Err(refused("Too many requests from this address.", Duration::from_secs(2))),
        }
    }

    /// Counts a session that is opened from a network.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn open_session(&self, network: Network) -> Result<(), Refusal> {
        let opened = self.sessions.check_key(&network);
        opened.map_err(|_| refused("Too many sessions were opened from this address.", Duration::from_secs(10)))
    }

    /// Counts a call that changes something: for the user, or for the network of a caller without an account. The
    /// service is not limited.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn write(&self, caller: &Caller, network: Network) -> Result<(), Refusal> {
        match caller {
            Caller::Service { .. } => Ok(()),
            Caller::User { subject, .. } => self.write_by(subject.id()),
            Caller::Guest(_) | Caller::Anonymous => self.arrive(network, Arrival::Stranger),
        }
    }

    /// Counts a change by a user.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn write_by(&self, user: UserId) -> Result<(), Refusal> {
        let written = self.writes.check_key(&user);
        written.map_err(|_| refused("This user changes too much in too short a time.", Duration::from_secs(2)))
    }

    /// Forgets networks and users that may do as much as any other.
    pub fn forget(&self) {
        self.arrivals.retain_recent();
        self.sessions.retain_recent();
        self.writes.retain_recent();
    }
}

fn refused(message: &'static str, wait: Duration) -> Refusal {
    Refusal::new(Code::RateLimited, message).retry_about(wait)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        limits: LimitSettings,
    }

    fn rates(flags: &[&str]) -> Rates {
        let arguments = std::iter::once("lastseen").chain(flags.iter().copied());
        Rates::new(&Cli::try_parse_from(arguments).expect("flags").limits)
    }

    fn network(address: &str) -> Network {
        Network::of(address.parse().expect("an address"))
    }

    /// How many of this arrival are let in at once: at most so many as are asked, in time in which next to nothing
    /// is added.
    fn let_in(rates: &Rates, arrival: Arrival, asked: usize) -> usize {
        let office = network("192.0.2.1");
        (0..asked).take_while(|_| rates.arrive(office, arrival).is_ok()).count()
    }

    #[test]
    fn five_hundred_people_of_one_address_come_in_at_once() {
        let rates = rates(&[]);
        // Each opens the page, which looks at the link, and joins.
        assert_eq!(let_in(&rates, Arrival::Known, 500), 500);
        assert_eq!(let_in(&rates, Arrival::Stranger, 500), 500);
        // After a restart of the server all connections that an address may have come back at once.
        let rates = self::rates(&[]);
        assert_eq!(let_in(&rates, Arrival::Known, 1000), 1000);
    }

    #[test]
    fn one_address_does_not_come_in_faster_than_it_may_and_others_do() {
        let rates = rates(&["--max-handshakes-per-minute", "50"]);
        let strangers = let_in(&rates, Arrival::Stranger, 1000);
        assert!((10..1000).contains(&strangers), "{strangers}");
        let refusal = rates.arrive(network("192.0.2.1"), Arrival::Stranger).expect_err("refused");
        assert!(refusal.code == Code::RateLimited && refusal.retry_after.is_some());
        rates.arrive(network("192.0.2.2"), Arrival::Stranger).expect("another address");
    }

    #[test]
    fn the_limit_is_six_times_the_connections_that_an_address_may_have() {
        let usual = rates(&[]);
        assert!(matches!(usual.arrivals.check_key_n(&network("::1"), NonZeroU32::new(6000).unwrap()), Ok(Ok(()))));
        let more = rates(&["--max-connections-per-ip", "100000"]);
        assert!(matches!(more.arrivals.check_key_n(&network("::1"), NonZeroU32::new(600_000).unwrap()), Ok(Ok(()))));
        // However small, it lets a stranger in.
        for few in [&["--max-connections-per-ip", "0"][..], &["--max-handshakes-per-minute", "1"]] {
            rates(few).arrive(network("::1"), Arrival::Stranger).expect("the first one");
        }
    }

    #[test]
    fn what_may_do_as_much_as_any_other_is_forgotten() {
        let rates = rates(&["--max-handshakes-per-minute", "4000000000", "--max-writes-per-minute", "1"]);
        rates.arrive(network("192.0.2.1"), Arrival::Known).expect("let in");
        rates.write_by(UserId::new()).expect("written");
        std::thread::yield_now();
        rates.forget();
        assert_eq!((rates.arrivals.len(), rates.writes.len()), (0, 1));
    }
}
