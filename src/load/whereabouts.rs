//! Where a participant of ours really is. What the server sends to others about it is judged by this.

use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::time::Instant;

use super::frame::Reason;

/// How long after an absence its leave may still arrive: a large room gathers changes, a busy server lags.
const LATE_NEWS: Duration = Duration::from_secs(60);

/// How old a leave may be that a crash of the server takes with it: twice the interval in which it is written.
const UNWRITTEN: Duration = Duration::from_secs(10);

/// The tolerance for a server that counts in whole milliseconds.
const ROUNDING: Duration = Duration::from_millis(5);

/// How many participants without a known person are kept: those of other workers never get one.
const MOST_EARLY: usize = 1024;

/// When the server may have crashed: connections of ours ended without a word of it.
#[derive(Debug, Default)]
pub struct Crashes(Vec<RangeInclusive<Instant>>);

impl Crashes {
    /// A connection ended without a Close frame. Many that end together are one crash.
    pub fn note(&mut self, at: Instant) {
        match self.0.last_mut() {
            Some(last) if at.saturating_duration_since(*last.end()) < Duration::from_secs(1) => {
                *last = *last.start()..=at.max(*last.end());
            }
            _ => self.0.push(at..=at),
        }
    }

    /// Whether the server may have forgotten a leave that was sent to it at that time.
    fn forgot(&self, left: Instant) -> bool {
        self.0.iter().any(|crash| left <= *crash.end() && *crash.start() < left + UNWRITTEN)
    }
}

/// One participant.
#[derive(Debug, Default)]
pub struct Whereabouts {
    /// Whether this worker plays it: nothing is known of the people of other workers.
    ours: bool,
    /// When it was due this time.
    due: Option<Instant>,
    /// When others received its join, before this worker knew that it had joined.
    early: Vec<Instant>,
    place: Place,
    /// An absence longer than the grace: when the grace ended, and when the participant was back.
    overstayed: Option<(Instant, Instant)>,
    /// Leaves that others received and that are wrong, unless the connection turns out to be broken.
    suspicions: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Place {
    #[default]
    Here,
    /// The connection is gone, and was there until this time at least.
    Lost(Instant),
    /// It sent `leave` at this time, and the answer is on its way.
    Leaving(Instant),
    /// The server took its `leave`, which was sent at this time.
    Left(Instant),
    /// It sent `leave`, and whether that arrived is not known.
    Vanished,
}

impl Place {
    /// What is known of it, for whoever looks into a disagreement.
    fn describe(self, at: Instant) -> String {
        let before = |since: Instant| format!("{:.1} s before", at.saturating_duration_since(since).as_secs_f64());
        match self {
            Self::Here => "it is connected as far as it knows".to_owned(),
            Self::Lost(since) => format!("its connection was there {}", before(since)),
            Self::Leaving(since) => format!("it sent a leave {}", before(since)),
            Self::Left(since) => format!("its leave was taken, and sent {}", before(since)),
            Self::Vanished => "its leave was not answered".to_owned(),
        }
    }
}

impl Whereabouts {
    /// The participant was welcomed, having been due at `due`. Returns how long each join took that others
    /// received before.
    pub fn came(&mut self, due: Instant, now: Instant, grace: Duration) -> Vec<Duration> {
        if let Place::Lost(since) = self.place
            && since + grace <= now + ROUNDING
        {
            self.overstayed = Some((since + grace, now));
        }
        self.ours = true;
        self.place = Place::Here;
        self.due = Some(due);
        std::mem::take(&mut self.early).into_iter().map(|at| at.saturating_duration_since(due)).collect()
    }

    /// Another client received the join. Returns how long that took, where it is known when the participant was
    /// due.
    pub fn seen(&mut self, at: Instant) -> Option<Duration> {
        match self.due {
            Some(due) => Some(at.saturating_duration_since(due)),
            None => {
                if self.early.len() < MOST_EARLY {
                    self.early.push(at);
                }
                None
            }
        }
    }

    /// The generator cuts the connection, which has not ended before. Returns the leaves that others received until
    /// then, which were wrong.
    pub fn lost(&mut self, at: Instant) -> Vec<String> {
        self.place = Place::Lost(at);
        self.due = None;
        std::mem::take(&mut self.suspicions)
    }

    /// The participant sends `leave`. [`Whereabouts::taken`] or [`Whereabouts::vanished`] follows.
    pub fn leaves(&mut self, at: Instant) {
        self.place = Place::Leaving(at);
        self.due = None;
    }

    /// The server has answered the `leave`, so that the connection was there until then. Returns the leaves that others
    /// received before, which were wrong.
    pub fn taken(&mut self) -> Vec<String> {
        if let Place::Leaving(at) = self.place {
            self.place = Place::Left(at);
        }
        std::mem::take(&mut self.suspicions)
    }

    /// The participant sent `leave` and got no answer.
    pub fn vanished(&mut self) {
        self.place = Place::Vanished;
        self.suspicions.clear();
    }

    /// The connection was ended by the server or the network, and was there at `since` at least: leaves received after
    /// that may be right.
    pub fn broke(&mut self, since: Instant) {
        self.place = Place::Lost(since);
        self.due = None;
        self.suspicions.clear();
    }

    /// Others received a leave. Judges whether it can be right; while the connection is open as far as is known,
    /// that is decided later. Returns what is wrong for certain.
    pub fn leave_received(
        &mut self,
        reason: Reason,
        at: Instant,
        grace: Duration,
        crashes: &Crashes,
        teller: impl FnOnce() -> String,
    ) -> Option<String> {
        let may_be = match (reason, self.place) {
            (Reason::Left, Place::Leaving(_) | Place::Left(_)) | (Reason::Left | Reason::Timeout, Place::Vanished) => {
                true
            }
            (Reason::Timeout, Place::Lost(since)) if since + grace <= at + ROUNDING => true,
            (Reason::Timeout, Place::Leaving(left) | Place::Left(left)) if crashes.forgot(left) => true,
            (Reason::Timeout, _) => self
                .overstayed
                .is_some_and(|(over, back)| over <= at + ROUNDING && at.saturating_duration_since(back) <= LATE_NEWS),
            _ => false,
        };
        if may_be || self.suspicions.len() >= MOST_EARLY {
            return None;
        }
        let wrong = format!("{}: {}", teller(), self.place.describe(at));
        match self.place {
            Place::Left(_) => Some(wrong),
            _ => {
                self.suspicions.push(wrong);
                None
            }
        }
    }

    /// The leaves that were wrong, when nothing more can become known.
    pub fn suspicions(&mut self) -> Vec<String> {
        match self.ours {
            true => std::mem::take(&mut self.suspicions),
            false => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(15);
    const SECOND: Duration = Duration::from_secs(1);

    struct Case {
        start: Instant,
        ours: Whereabouts,
        crashes: Crashes,
    }

    impl Case {
        /// A participant who has just joined.
        fn new() -> Self {
            let (start, mut ours) = (Instant::now(), Whereabouts::default());
            ours.came(start, start, GRACE);
            Self { start, ours, crashes: Crashes::default() }
        }

        /// One whose leave was taken at that second.
        fn left(second: u32) -> Self {
            let mut case = Self::new();
            case.ours.leaves(case.at(second));
            assert_eq!(case.ours.taken(), Vec::<String>::new());
            case
        }

        fn at(&self, second: u32) -> Instant {
            self.start + second * SECOND
        }

        /// Others receive a leave; what is wrong for certain.
        fn leave(&mut self, reason: Reason, second: u32) -> Option<String> {
            let at = self.at(second);
            self.ours.leave_received(reason, at, GRACE, &self.crashes, || format!("{reason:?} at {second}"))
        }
    }

    #[test]
    fn who_said_so_has_left() {
        let mut case = Case::left(0);
        assert_eq!(case.leave(Reason::Left, 1), None);
        let wrong = "Timeout at 20: its leave was taken, and sent 20.0 s before";
        assert_eq!(case.leave(Reason::Timeout, 20).as_deref(), Some(wrong));
        assert!(case.ours.suspicions().is_empty());
    }

    #[test]
    fn a_leave_without_an_answer_may_have_arrived_or_not() {
        let mut case = Case::new();
        case.ours.leaves(case.start);
        case.leave(Reason::Timeout, 3);
        case.ours.vanished();
        for (reason, second) in [(Reason::Left, 4), (Reason::Timeout, 40), (Reason::Removed, 40)] {
            assert_eq!(case.leave(reason, second), None);
        }
        assert_eq!(case.ours.suspicions(), ["Removed at 40: its leave was not answered"]);
    }

    #[test]
    fn a_leave_that_is_answered_shows_that_the_connection_was_there() {
        let mut case = Case::new();
        case.leave(Reason::Timeout, 5);
        case.ours.leaves(case.at(6));
        assert_eq!(case.leave(Reason::Left, 7), None, "others may receive it first");
        assert_eq!(case.ours.taken(), ["Timeout at 5: it is connected as far as it knows"]);
    }

    #[test]
    fn a_crash_forgets_a_leave_that_was_not_written_yet() {
        for (crash, forgets) in [(9, false), (10, true), (19, true), (20, false)] {
            let mut case = Case::left(10);
            for at in [case.at(1), case.at(crash), case.at(crash)] {
                case.crashes.note(at);
            }
            assert_eq!(case.crashes.0.len(), 2, "those that end together are one");
            assert_eq!(case.leave(Reason::Timeout, 40).is_none(), forgets, "a crash at {crash}");
            assert_eq!(case.leave(Reason::Left, 40), None);
        }
    }

    #[test]
    fn who_lost_the_line_is_gone_after_the_grace_and_not_before() {
        let mut case = Case::new();
        case.ours.lost(case.at(10));
        case.leave(Reason::Timeout, 24);
        case.leave(Reason::Left, 26);
        case.leave(Reason::Timeout, 25);
        let wrong = [
            "Timeout at 24: its connection was there 14.0 s before",
            "Left at 26: its connection was there 16.0 s before",
        ];
        assert_eq!(case.ours.suspicions(), wrong);
    }

    #[test]
    fn a_leave_that_is_told_after_the_return_needs_an_absence_that_was_long_enough() {
        let mut case = Case::new();
        case.ours.lost(case.at(10));
        case.ours.came(case.at(20), case.at(21), GRACE);
        case.leave(Reason::Timeout, 26);
        assert_eq!(case.ours.suspicions().len(), 1, "back within the grace");
        case.ours.lost(case.at(30));
        case.ours.came(case.at(44), case.at(46), GRACE);
        case.leave(Reason::Timeout, 47);
        assert!(case.ours.suspicions().is_empty(), "the grace was over at 45");
    }

    #[test]
    fn who_stands_is_not_gone_unless_the_connection_turns_out_to_be_broken() {
        let mut case = Case::new();
        case.leave(Reason::Timeout, 5);
        assert_eq!(case.ours.lost(case.at(6)), ["Timeout at 5: it is connected as far as it knows"]);
        let mut case = Case::new();
        case.leave(Reason::Timeout, 5);
        case.ours.broke(case.start);
        assert!(case.ours.suspicions().is_empty());
    }

    #[test]
    fn how_long_others_took_to_see_it_counts_from_when_it_was_to_come() {
        let (start, mut ours) = (Instant::now(), Whereabouts::default());
        assert_eq!(ours.seen(start + 3 * SECOND), None, "not welcomed yet");
        assert_eq!(ours.came(start, start + 4 * SECOND, GRACE), [3 * SECOND]);
        assert_eq!(ours.seen(start + 5 * SECOND), Some(5 * SECOND));
        ours.lost(start + 6 * SECOND);
        assert_eq!(ours.seen(start + 7 * SECOND), None);
    }
}
