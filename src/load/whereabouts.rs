//! Where somebody really is, known here because we play it: what others are told of it is judged by this.

use std::time::Duration;

use tokio::time::Instant;

use super::frame::Reason;

/// For how long the end of an absence may still be told as a leave: a large room gathers, a busy server lags.
const LATE_NEWS: Duration = Duration::from_secs(60);

/// A server that counts in whole milliseconds may be early by so much.
const ROUNDING: Duration = Duration::from_millis(5);

/// So much is kept before we know whose it is: people of other workers would gather without end.
const MOST_EARLY: usize = 1024;

/// One participant of ours.
#[derive(Debug, Default)]
pub struct Whereabouts {
    /// Another worker's people come and go without our knowing.
    ours: bool,
    /// When it was to come in, this time.
    due: Option<Instant>,
    /// When others were told of it, before we knew that it is in.
    early: Vec<Instant>,
    place: Place,
    /// An absence longer than the grace: when the grace was over, and when the person was back.
    overstayed: Option<(Instant, Instant)>,
    /// Leaves that were told while the connection stood.
    suspicions: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Place {
    #[default]
    Here,
    /// The line was cut then.
    Lost(Instant),
    /// It said so.
    Left,
    /// It said so, and whether that arrived is not known.
    Vanished,
}

impl Whereabouts {
    /// Welcomed, now, after it was to come at `due`. What others were told of it before is given back: how
    /// long that took.
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

    /// Another one is told of it: how long that took, where it is known when it was to come.
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

    /// We cut its line. Who was told before that it is gone was told wrongly: those are given back.
    pub fn lost(&mut self, at: Instant) -> Vec<String> {
        self.place = Place::Lost(at);
        self.due = None;
        std::mem::take(&mut self.suspicions)
    }

    /// It says that it leaves. Who was told before that it is gone was told wrongly: those are given back.
    pub fn left(&mut self) -> Vec<String> {
        self.place = Place::Left;
        self.due = None;
        std::mem::take(&mut self.suspicions)
    }

    /// It said that it leaves, and heard no answer.
    pub fn vanished(&mut self) {
        self.place = Place::Vanished;
        self.suspicions.clear();
    }

    /// Its connection ended by no doing of ours, and was last known to stand at `since`: what others were
    /// told meanwhile may be right.
    pub fn broke(&mut self, since: Instant) {
        self.place = Place::Lost(since);
        self.due = None;
        self.suspicions.clear();
    }

    /// Others are told that it is gone: whether that can be. Where its connection stands as far as we know
    /// it is suspicious, and decided when more is known.
    pub fn told_gone(&mut self, reason: Reason, at: Instant, grace: Duration, teller: impl FnOnce() -> String) {
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

    /// What was told wrongly, when nothing more will be known.
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
        /// Somebody who has just come in.
        fn new() -> Self {
            let (start, mut ours) = (Instant::now(), Whereabouts::default());
            ours.came(start, start, GRACE);
            Self { start, ours }
        }

        fn at(&self, second: u32) -> Instant {
            self.start + second * SECOND
        }

        fn told(&mut self, reason: Reason, second: u32) {
            let at = self.at(second);
            self.ours.told_gone(reason, at, GRACE, || format!("{reason:?} at {second}"));
        }
    }

    #[test]
    fn who_said_so_has_left() {
        let mut case = Case::new();
        assert_eq!(case.ours.left(), Vec::<String>::new());
        case.told(Reason::Left, 1);
        assert!(case.ours.suspicions().is_empty());
        case.told(Reason::Timeout, 20);
        assert_eq!(case.ours.suspicions(), ["Timeout at 20"]);
        case.ours.vanished();
        case.told(Reason::Timeout, 40);
        case.told(Reason::Removed, 40);
        assert_eq!(case.ours.suspicions(), ["Removed at 40"], "the line may have been gone when it said so");
    }

    #[test]
    fn who_lost_the_line_is_gone_after_the_grace_and_not_before() {
        let mut case = Case::new();
        case.ours.lost(case.at(10));
        case.told(Reason::Timeout, 24);
        case.told(Reason::Left, 26);
        assert_eq!(case.ours.suspicions(), ["Timeout at 24", "Left at 26"]);
        case.told(Reason::Timeout, 25);
        assert!(case.ours.suspicions().is_empty());
    }

    #[test]
    fn a_leave_that_is_told_after_the_return_needs_an_absence_that_was_long_enough() {
        let mut case = Case::new();
        case.ours.lost(case.at(10));
        case.ours.came(case.at(20), case.at(21), GRACE);
        case.told(Reason::Timeout, 26);
        assert_eq!(case.ours.suspicions(), ["Timeout at 26"], "back within the grace");
        case.ours.lost(case.at(30));
        case.ours.came(case.at(44), case.at(46), GRACE);
        case.told(Reason::Timeout, 47);
        assert!(case.ours.suspicions().is_empty(), "the grace was over at 45");
    }

    #[test]
    fn who_stands_is_not_gone_unless_the_connection_turns_out_to_be_broken() {
        let mut case = Case::new();
        case.told(Reason::Timeout, 5);
        assert_eq!(case.ours.lost(case.at(6)), ["Timeout at 5"]);
        let mut case = Case::new();
        case.told(Reason::Timeout, 5);
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
