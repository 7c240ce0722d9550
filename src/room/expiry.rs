//! The notice that a session expires for lack of activity, and its withdrawal.
//!
//! Only used where activity keeps a session open: where presence does, a session with people in it never
//! expires.

use super::roster::Roster;
use super::rules::Rules;
use crate::clock::Moment;
use crate::domain::idle::IdleCounts;

/// When a room has to announce that its session expires.
#[derive(Debug)]
pub(super) struct Expiry {
    notice: Notice,
    /// The newest activity of people who are not here any more, or were here before the room was opened.
    past_activity: Moment,
}

/// Where the notice stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Notice {
    Unused,
    /// Look again at that moment.
    Due(Moment),
    /// It was given: the session expires at that moment.
    Given(Moment),
}

impl Expiry {
    /// Of a session that was last active at that moment.
    pub(super) fn new(rules: &Rules, past_activity: Moment) -> Self {
        let notice = match rules.idle.counts {
            IdleCounts::Seen => Notice::Unused,
            IdleCounts::Activity => Notice::Due(notice_at(rules, past_activity)),
        };
        Self { notice, past_activity }
    }

    /// A person left who was last active at that moment.
    pub(super) fn note_past_activity(&mut self, active: Moment) {
        self.past_activity = self.past_activity.max(active);
    }

    /// When [`Expiry::check`] has something to do.
    pub(super) fn next_check(&self) -> Option<Moment> {
        match self.notice {
            Notice::Due(at) => Some(at),
            Notice::Unused | Notice::Given(_) => None,
        }
    }

    /// When the session expires, where that was announced.
    pub(super) fn announced(&self) -> Option<Moment> {
        match self.notice {
            Notice::Given(expires_at) => Some(expires_at),
            Notice::Unused | Notice::Due(_) => None,
        }
    }

    /// Checks whether the session expires soon; returns when, where that has to be announced now.
    pub(super) fn check(&mut self, roster: &Roster, rules: &Rules, now: Moment) -> Option<Moment> {
        if self.next_check().is_none_or(|at| at > now) {
            return None;
        }
        // Before the stamps are read: activity from here on is passed to the room.
        for person in roster.iter() {
            person.liveness.watch_activity(true);
        }
        let last = roster.iter().map(|person| person.liveness.active()).fold(self.past_activity, Moment::max);
        let due = notice_at(rules, last);
        if due > now {
            self.notice = Notice::Due(due);
            return None;
        }
        self.notice = Notice::Given(last + rules.idle.timeout);
        self.announced()
    }

    /// A person is active: takes the notice back. Whether it was given.
    pub(super) fn withdraw(&mut self, rules: &Rules, now: Moment) -> bool {
        let is_given = self.announced().is_some();
        if is_given {
            self.notice = Notice::Due(notice_at(rules, now));
        }
        is_given
    }
}

fn notice_at(rules: &Rules, last_activity: Moment) -> Moment {
    last_activity + rules.idle.timeout.saturating_sub(rules.expiring_notice)
}
