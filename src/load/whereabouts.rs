//! Where a participant of ours really is. What the server sends to others about it is judged by this.

use std::time::Duration;

use tokio::time::Instant;

use super::frame::Reason;

/// How long after an absence its leave may still arrive: a large room gathers changes, a busy server lags.
const LATE_NEWS: Duration = Duration::from_secs(60);

/// The tolerance for a server that counts in whole milliseconds.
const ROUNDING: Duration = Duration::from_millis(5);

/// How many participants without a known person are kept: those of other workers never get one.
const MOST_EARLY: usize = 1024;

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
    /// Leaves that others received while the connection was open.
    suspicions: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Place {
    #[default]
    Here,
    /// The connection was cut at this time.
    Lost(Instant),
    /// It sent `leave`.
    Left,
    /// It sent `leave`, and whether that arrived is not known.
    Vanished,
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

    /// The generator cuts the connection. Returns the leaves that others received before, which were wrong.
    pub fn lost(&mut self, at: Instant) -> Vec<String> {
        self.place = Place::Lost(at);
        self.due = None;
        std::mem::take(&mut self.suspicions)
    }

    /// The participant sends `leave`. Returns the leaves that others received before, which were wrong.
    pub fn left(&mut self) -> Vec<String> {
        self.place = Place::Left;
        self.due = None;
        std::mem::take(&mut self.suspicions)
    }

    /// The participant sent `leave` and got no answer.
    pub fn vanished(&mut self) {
        self.place = Place::Vanished;
        self.suspicions.clear();
    }

    /// The connection was ended by the server or the network, and is last known to have stood at `since`: leaves
    /// received after that may be right.
    pub fn broke(&mut self, since: Instant) {
        self.place = Place::Lost(since);
        self.due = None;
        self.suspicions.clear();
    }

    /// Others received a leave. Judges whether it can be right; while the connection is open as far as is known,
    /// that is decided later.
    pub fn leave_received(&mut self, reason: Reason, at: Instant, grace: Duration, teller: impl FnOnce() -> String) {
        let may_be = match (reason, self.place) {
            (Reason::Left, Place::Left) | (Reason::Left | Reason::Timeout, Place::Vanished) => true,
            (Reason::Timeout, Place::Lost(since)) if since + grace <= at + ROUNDING => true,
            (Reason::Timeout, _) => self
                .overstayed
                .is_some_and(|(over, back)| over <= at + ROUNDING && at.saturating_duration_since(back) <= LATE_NEWS),
            _ => false,
        };
        if !may_be && self.suspicions.len() < MOST_EARLY {
            self.suspicions.push(teller());
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
    }

    impl Case {
        /// A participant who has just joined.
        fn new() -> Self {
            let (start, mut ours) = (Instant::now(), Whereabouts::default());
            ours.came(start, start, GRACE);
            Self { start, ours }
        }

        fn at(&self, second: u32) -> Instant {
            self.start + second * SECOND
        }

        fn leave(&mut self, reason: Reason, second: u32) {
            let at = self.at(second);
            self.ours.leave_received(reason, at, GRACE, || format!("{reason:?} at {second}"));
        }
    }

    #[test]
    fn who_said_so_has_left() {
        let mut case = Case::new();
        assert_eq!(case.ours.left(), Vec::<String>::new());
        case.leave(Reason::Left, 1);
        assert!(case.ours.suspicions().is_empty());
        case.leave(Reason::Timeout, 20);
        assert_eq!(case.ours.suspicions(), ["Timeout at 20"]);
        case.ours.vanished();
        case.leave(Reason::Timeout, 40);
        case.leave(Reason::Removed, 40);
        assert_eq!(
            case.ours.suspicions(),
            ["Removed at 40"],
            "the connection may have been lost before the leave was sent"
        );
    }

    #[test]
    fn who_lost_the_line_is_gone_after_the_grace_and_not_before() {
        let mut case = Case::new();
        case.ours.lost(case.at(10));
        case.leave(Reason::Timeout, 24);
        case.leave(Reason::Left, 26);
        assert_eq!(case.ours.suspicions(), ["Timeout at 24", "Left at 26"]);
        case.leave(Reason::Timeout, 25);
        assert!(case.ours.suspicions().is_empty());
    }

    #[test]
    fn a_leave_that_is_told_after_the_return_needs_an_absence_that_was_long_enough() {
        let mut case = Case::new();
        case.ours.lost(case.at(10));
        case.ours.came(case.at(20), case.at(21), GRACE);
        case.leave(Reason::Timeout, 26);
        assert_eq!(case.ours.suspicions(), ["Timeout at 26"], "back within the grace");
        case.ours.lost(case.at(30));
        case.ours.came(case.at(44), case.at(46), GRACE);
        case.leave(Reason::Timeout, 47);
        assert!(case.ours.suspicions().is_empty(), "the grace was over at 45");
    }

    #[test]
    fn who_stands_is_not_gone_unless_the_connection_turns_out_to_be_broken() {
        let mut case = Case::new();
        case.leave(Reason::Timeout, 5);
        assert_eq!(case.ours.lost(case.at(6)), ["Timeout at 5"]);
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
