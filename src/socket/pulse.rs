//! The liveness of a connection and its quality: deadlines, Pings and their round trips.
//!
//! A Pong proves that a browser is there, not that the page runs: browsers answer Pings also for a page in the
//! back/forward cache, and for one whose process has stopped. Only frames prove that.

use std::time::Duration;

use crate::app::rules::ConnectionRules;
use crate::clock::Moment;
use crate::domain::participant::Quality;
use crate::protocol::Code;

/// The Pings of all connections are sent at this many moments of an interval, so that the server wakes up
/// for many at once, and their Pongs arrive together.
const MOMENTS: u32 = 100;

/// The deadlines of one connection. One timer serves them all; it is armed again only when it fires. The rules are
/// passed in: each connection would hold a copy of them.
#[derive(Debug)]
pub struct Pulse {
    /// When something arrived last.
    seen_at: Moment,
    next_ping: Moment,
    /// When the last Ping was sent, where its Pong is missing. It is the payload, too.
    pinged: Option<Moment>,
    /// When the credential expires, and the connection with it.
    expires_at: Option<Moment>,
    /// For how long the process had not run in all, as last counted.
    stalled: Duration,
    /// For how long nothing but Pings and Pongs had come when something arrived last, in ms.
    silent: u32,
    /// Whether it is a person's, whom nothing but frames hold present for long.
    is_person: bool,
    missed: u8,
    /// How many Pongs to Pings before the last one may still arrive.
    late: u8,
}

/// What a Pong is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pong {
    /// The answer to the last Ping.
    Answer(Quality),
    /// As many of these as there were Pings without an answer: a client that was slow answers each of them, or the
    /// last one alone (RFC 6455, section 5.5.3).
    Late,
    /// No Ping asked for it.
    Unasked,
}

impl Pulse {
    /// A connection that was opened just now; `stalled` is [`Clock::stalled`](crate::clock::Clock::stalled).
    pub fn new(
        rules: &ConnectionRules,
        expires_at: Option<Moment>,
        is_person: bool,
        stalled: Duration,
        now: Moment,
    ) -> Self {
        let next_ping = next_ping(now, rules.ping_interval);
        Self { seen_at: now, next_ping, pinged: None, silent: 0, is_person, missed: 0, late: 0, expires_at, stalled }
    }

    /// Gives the client the time in which the process did not run.
    pub fn give(&mut self, stalled: Duration, now: Moment) {
        let added = stalled.saturating_sub(self.stalled);
        self.stalled = stalled;
        self.seen_at = (self.seen_at + added).min(now);
    }

    /// Something arrived from the client.
    pub fn seen(&mut self, now: Moment) {
        let passed = u32::try_from(now.since(self.seen_at).as_millis()).unwrap_or(u32::MAX);
        self.silent = self.silent.saturating_add(passed);
        self.seen_at = now;
    }

    /// What arrived was a frame: the client's program runs.
    pub fn heard(&mut self) {
        self.silent = 0;
    }

    /// When the connection ends for what does not come.
    fn ends_at(&self, rules: &ConnectionRules) -> Moment {
        let dead_at = self.seen_at + rules.dead_after;
        if !self.is_person {
            return dead_at;
        }
        let left = rules.silent_after.saturating_sub(Duration::from_millis(self.silent.into()));
        dead_at.min(self.seen_at + left)
    }

    /// When the credential expires, where it does.
    pub fn expires_at(&self) -> Option<Moment> {
        self.expires_at
    }

    /// The credential was renewed: it expires then.
    pub fn renew(&mut self, expires_at: Moment) {
        self.expires_at = Some(expires_at);
    }

    /// When [`Pulse::check`] is due.
    pub fn next(&self, rules: &ConnectionRules) -> Moment {
        let next = self.next_ping.min(self.ends_at(rules));
        self.expires_at.map_or(next, |expires_at| next.min(expires_at))
    }

    /// Checks the deadlines. The payload of a Ping, where one is to be sent.
    ///
    /// # Errors
    /// Why the connection ends: `beat_timeout` or `token_expired`.
    pub fn check(&mut self, rules: &ConnectionRules, now: Moment) -> Result<Option<[u8; 8]>, Code> {
        if self.ends_at(rules) <= now {
            return Err(Code::BeatTimeout);
        }
        if self.expires_at.is_some_and(|expires_at| expires_at <= now) {
            return Err(Code::TokenExpired);
        }
        if self.next_ping > now {
            return Ok(None);
        }
        if self.pinged.replace(now).is_some() {
            self.missed = self.missed.saturating_add(1);
            self.late = self.late.saturating_add(1);
        }
        self.next_ping = next_ping(now, rules.ping_interval);
        Ok(Some(now.as_millis().to_be_bytes()))
    }

    /// The quality by the Pongs that are missing; `None` where none is.
    pub fn missed_pongs(&self) -> Option<Quality> {
        Quality::of_missed_pongs(self.missed)
    }

    /// Takes a Pong.
    pub fn pong(&mut self, payload: &[u8], now: Moment) -> Pong {
        if let Some(pinged) = self.pinged.take_if(|pinged| pinged.as_millis().to_be_bytes() == payload) {
            (self.missed, self.late) = (0, 0);
            return Pong::Answer(Quality::of_round_trip(now.since(pinged).as_millis()));
        }
        match self.late.checked_sub(1) {
            Some(late) => {
                self.late = late;
                Pong::Late
            }
            None => Pong::Unasked,
        }
    }
}

/// The last moment for Pings within the next interval.
fn next_ping(now: Moment, interval: Duration) -> Moment {
    let latest = now + interval;
    let apart = (interval / MOMENTS).max(Duration::from_millis(1));
    let since = Duration::from_millis(latest.as_millis() % u64::try_from(apart.as_millis()).unwrap_or(u64::MAX));
    latest.before(since)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const SECOND: Duration = Duration::from_secs(1);

    const RULES: ConnectionRules = ConnectionRules {
        ping_interval: Duration::from_secs(25),
        dead_after: Duration::from_secs(75),
        silent_after: Duration::from_mins(15),
        write_timeout: Duration::from_secs(10),
        max_message_bytes: 4096,
        max_updates_per_second: 20,
    };

    fn pulse(expires_at: Option<Moment>, now: Moment) -> Pulse {
        Pulse::new(&RULES, expires_at, true, Duration::ZERO, now)
    }

    /// Until when a connection lives that answers every Ping at once; `None` where it outlives a day.
    fn lives_until(pulse: &mut Pulse, start: Moment) -> Option<Moment> {
        while pulse.next(&RULES) < start + Duration::from_hours(24) {
            let now = pulse.next(&RULES);
            match pulse.check(&RULES, now) {
                Ok(Some(payload)) => {
                    pulse.seen(now);
                    assert_eq!(pulse.pong(&payload, now), Pong::Answer(Quality::Good));
                }
                Ok(None) => panic!("nothing was due at {now:?}"),
                Err(code) => {
                    assert_eq!(code, Code::BeatTimeout);
                    return Some(now);
                }
            }
        }
        None
    }

    #[test]
    fn a_person_whose_client_only_answers_pings_is_silent_and_then_dead() {
        let start = Clock::new().now();
        let mut silent = pulse(None, start);
        assert_eq!(lives_until(&mut silent, start), Some(start + RULES.silent_after));

        // From its last frame on; the time of a stall is given here too.
        let mut quiet = pulse(None, start);
        quiet.seen(start + 20 * SECOND);
        quiet.heard();
        quiet.give(10 * SECOND, start + 40 * SECOND);
        assert!(quiet.check(&RULES, start + 40 * SECOND).is_ok_and(|ping| ping.is_some()));
        assert_eq!(lives_until(&mut quiet, start), Some(start + RULES.silent_after + 30 * SECOND));

        let mut observer = Pulse::new(&RULES, None, false, Duration::ZERO, start);
        assert_eq!(lives_until(&mut observer, start), None);
    }

    #[test]
    fn a_silent_connection_is_pinged_and_then_dead() {
        let start = Clock::new().now();
        let mut pulse = pulse(None, start);
        let mut pings = 0;
        loop {
            let now = pulse.next(&RULES);
            match pulse.check(&RULES, now) {
                Ok(Some(_)) => pings += 1,
                Ok(None) => panic!("nothing was due at {now:?}"),
                Err(code) => {
                    assert_eq!((code, now), (Code::BeatTimeout, start + 75 * SECOND));
                    break;
                }
            }
        }
        // The third, where one is due, is due just before the end.
        assert!((2..=3).contains(&pings), "{pings}");
    }

    #[test]
    fn the_time_of_a_stall_is_no_silence() {
        let start = Clock::new().now();
        let mut pulse = pulse(None, start);
        let resumed = start + 100 * SECOND;
        pulse.give(60 * SECOND, resumed);
        assert!(pulse.check(&RULES, resumed).expect("silent for 40 s").is_some(), "and asked at once");
        pulse.give(60 * SECOND, resumed);
        assert_eq!(pulse.check(&RULES, start + 135 * SECOND), Err(Code::BeatTimeout));
        pulse.give(9000 * SECOND, resumed + SECOND);
        assert!(pulse.check(&RULES, resumed + 75 * SECOND).is_ok(), "not more than was silent");
        assert_eq!(pulse.check(&RULES, resumed + 76 * SECOND), Err(Code::BeatTimeout));
    }

    #[test]
    fn connections_of_any_time_are_pinged_together_and_never_late() {
        let start = Clock::new().now();
        let mut moments: Vec<_> = (0..SECOND.as_millis() as u64)
            .map(|ms| pulse(None, start + Duration::from_millis(ms)).next(&RULES))
            .collect();
        assert!(moments.iter().zip(0..).all(|(ping, ms)| *ping <= start + 25 * SECOND + Duration::from_millis(ms)));
        moments.dedup();
        assert!(moments.len() <= 5, "{moments:?}");
        let mut pulse = pulse(None, start);
        let first = pulse.next(&RULES);
        pulse.check(&RULES, first).expect("alive").expect("a ping is due");
        assert_eq!(pulse.next(&RULES), first + 25 * SECOND);
    }

    #[test]
    fn the_round_trip_and_missed_pongs_give_the_quality() {
        let start = Clock::new().now();
        let mut pulse = pulse(None, start);
        let mut now = start + 25 * SECOND;
        for (trip, quality) in
            [(149, Quality::Good), (150, Quality::Degraded), (399, Quality::Degraded), (400, Quality::Poor)]
        {
            let payload = pulse.check(&RULES, now).expect("alive").expect("a ping is due");
            let back = now + Duration::from_millis(trip);
            assert_eq!(pulse.pong(b"other", back), Pong::Unasked);
            assert_eq!(pulse.pong(&payload, back), Pong::Answer(quality), "{trip} ms");
            assert_eq!(pulse.pong(&payload, back), Pong::Unasked, "one Pong a Ping");
            pulse.seen(back);
            now = now + 25 * SECOND;
        }
        for missed in [None, Some(Quality::Degraded), Some(Quality::Poor)] {
            pulse.seen(now);
            pulse.check(&RULES, now).expect("alive").expect("a ping is due");
            assert_eq!(pulse.missed_pongs(), missed);
            now = now + 25 * SECOND;
        }
    }

    #[test]
    fn a_slow_client_answers_each_ping_or_the_last_alone() {
        let start = Clock::new().now();
        let mut pulse = pulse(None, start);
        let mut now = start;
        let mut ping = |pulse: &mut Pulse| {
            now = now + 25 * SECOND;
            pulse.seen(now);
            (pulse.check(&RULES, now).expect("alive").expect("a ping is due"), now)
        };
        let pings = [(); 3].map(|()| ping(&mut pulse));
        let (last, back) = pings[2];
        let answers = pings.map(|(payload, _)| pulse.pong(&payload, back));
        assert_eq!(answers, [Pong::Late, Pong::Late, Pong::Answer(Quality::Good)]);

        ping(&mut pulse);
        assert_eq!(pulse.pong(&last, back), Pong::Unasked, "that one was answered");
        let (_, back) = ping(&mut pulse);
        assert_eq!([(); 2].map(|()| pulse.pong(b"other", back)), [Pong::Late, Pong::Unasked], "one Pong a Ping");
        assert_eq!(pulse.missed_pongs(), Some(Quality::Degraded), "a late one does not say how the connection is");
    }

    #[test]
    fn a_connection_does_not_outlive_its_token() {
        let start = Clock::new().now();
        let mut pulse = pulse(Some(start + 3 * SECOND), start);
        assert_eq!(pulse.next(&RULES), start + 3 * SECOND);
        assert_eq!(pulse.check(&RULES, start + 3 * SECOND), Err(Code::TokenExpired));
        pulse.renew(start + 5 * SECOND);
        assert!(pulse.check(&RULES, start + 4 * SECOND).is_ok());
        assert_eq!(pulse.next(&RULES), start + 5 * SECOND);
        assert_eq!(pulse.check(&RULES, start + 5 * SECOND), Err(Code::TokenExpired));
    }
}
