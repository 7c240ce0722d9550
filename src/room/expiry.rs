//! The notice that a session expires for lack of a sign of a person, and its withdrawal.
//!
//! A sign is what keeps the session open: activity, or being seen. Where being seen does, a session with people in
//! it never expires: the room then checks only while it is empty, and announces to those who follow it.

use super::liveness::Liveness;
use super::roster::Roster;
use super::rules::Rules;
use crate::clock::Moment;

/// When a room has to announce that its session expires.
#[derive(Debug)]
pub(super) struct Expiry {
    notice: Notice,
    /// The newest sign of people who are not here any more, or were here before the room was opened.
    past: Moment,
}

/// Where the notice stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Notice {
    /// Look again at that moment.
    Due(Moment),
    /// It was given: the session expires at that moment.
    Given(Moment),
}

impl Expiry {
    /// Of a session whose last sign was at that moment.
    pub(super) fn new(rules: &Rules, past: Moment) -> Self {
        Self { notice: Notice::Due(notice_at(rules, past)), past }
    }

    /// A person left.
    pub(super) fn note_departure(&mut self, rules: &Rules, liveness: &Liveness) {
        self.past = self.past.max(last_sign(rules, liveness));
    }

    /// When [`Expiry::check`] has something to do.
    pub(super) fn next_check(&self) -> Option<Moment> {
        match self.notice {
            Notice::Due(at) => Some(at),
            Notice::Given(_) => None,
        }
    }

    /// When the session expires, where that was announced.
    pub(super) fn announced(&self) -> Option<Moment> {
        match self.notice {
            Notice::Given(expires_at) => Some(expires_at),
            Notice::Due(_) => None,
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
        let last = roster.iter().map(|person| last_sign(rules, &person.liveness)).fold(self.past, Moment::max);
        let due = notice_at(rules, last);
        if due > now {
            self.notice = Notice::Due(due);
            return None;
        }
        self.notice = Notice::Given(last + rules.idle.timeout);
        self.announced()
    }

    /// A person came, or is active: takes the notice back. Whether it was given.
    pub(super) fn withdraw(&mut self, rules: &Rules, now: Moment) -> bool {
        let is_given = self.announced().is_some();
        if is_given {
            self.notice = Notice::Due(notice_at(rules, now));
        }
        is_given
    }
}

fn last_sign(rules: &Rules, liveness: &Liveness) -> Moment {
    rules.idle.counts.of(liveness.seen(), liveness.active())
}

fn notice_at(rules: &Rules, last: Moment) -> Moment {
    last + rules.idle.timeout.saturating_sub(rules.expiring_notice)
}
