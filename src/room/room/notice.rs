//! The notice that a session expires for want of activity, and its withdrawal.

use super::{Inner, Room};
use crate::clock::Moment;
use crate::ids::ParticipantId;
use crate::room::event::Event;
use crate::room::roster::Change;
use crate::room::terms::Shared;

/// Where the notice that a session expires stands. Only used where idle counts activity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Notice {
    Unused,
    /// Look again at that moment.
    Due(Moment),
    /// It was given: the session expires at that moment.
    Given(Moment),
}

impl Room {
    /// Tells everybody that the session expires, where that is near.
    pub(super) fn give_notice(&self, inner: &mut Inner, now: Moment) {
        let Notice::Due(at) = inner.notice else { return };
        if at > now {
            return;
        }
        for person in inner.roster.iter() {
            person.mark.watch_activity(true);
        }
        let last = inner.last_activity();
        let due = self.shared.notice_at(last);
        if due > now {
            inner.notice = Notice::Due(due);
        } else {
            let expires_at = last + self.shared.rules.idle_timeout;
            inner.notice = Notice::Given(expires_at);
            inner.audience.note(Event::Expiring(expires_at));
        }
    }

    /// Any activity takes the notice back; everybody sees whose it was.
    pub(super) fn withdraw_notice(&self, inner: &mut Inner, by: ParticipantId, now: Moment) {
        if let Notice::Given(_) = inner.notice {
            inner.notice = Notice::Due(self.shared.notice_at(now));
            self.note(inner, Change::Updated(by), now);
        }
    }
}

impl Inner {
    fn last_activity(&self) -> Moment {
        self.roster.iter().map(|person| person.mark.active()).fold(self.past_activity, Moment::max)
    }
}

impl Shared {
    pub(super) fn notice_at(&self, last_activity: Moment) -> Moment {
        last_activity + self.rules.idle_timeout.saturating_sub(self.rules.expiring_notice)
    }
}
