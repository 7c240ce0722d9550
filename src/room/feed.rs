//! What one subscriber of a room is sent: the events that it has not received yet, and a fresh snapshot
//! where it missed some. Pure: it neither encodes nor sends.
//!
//! A feed counts the events that it receives. A snapshot says how many events it includes, so that what
//! arrives late is recognised: nothing is sent twice, out of order, or after it was taken back.

use super::diff::Diff;
use super::error::Gone;
use super::event::Event;
use super::notice::Notice;
use super::participant::Participant;
use super::snapshot::{CaughtUp, Snapshot};
use crate::clock::Moment;
use crate::domain::ids::ParticipantId;
use crate::domain::reading_session::ReadingSession;

/// What a subscriber is sent.
#[derive(Clone, Copy, Debug)]
pub enum Message<'a> {
    /// The presence as it is. It replaces the view of the subscriber.
    State {
        /// The presence.
        snapshot: &'a Snapshot,
        /// The subscriber's own participant, where it has one.
        own: Option<&'a Participant>,
    },
    /// A change of the presence.
    Diff(&'a Diff),
    /// The session has another title or size.
    Session(&'a ReadingSession),
    /// The session will be closed at that moment unless a participant does something.
    Expiring(Moment),
    /// A notice runs, or is over.
    Notice(&'a Notice),
}

impl<'a> Message<'a> {
    /// What an event is to a subscriber that misses nothing; `None` where it is no message.
    pub fn of(event: &'a Event) -> Option<Self> {
        match event {
            Event::Diff(diff) => Some(Self::Diff(diff)),
            Event::Session(session) => Some(Self::Session(session)),
            Event::Expiring(at) => Some(Self::Expiring(*at)),
            Event::Notice(notice) => Some(Self::Notice(notice)),
            Event::Refresh | Event::Removed(_) | Event::Closed(_) | Event::Draining => None,
        }
    }

    /// The number of the last diff that is included in it; `None` where it has nothing of
    /// the presence.
    pub fn seq(&self) -> Option<u64> {
        match self {
            Self::State { snapshot, .. } => Some(snapshot.seq),
            Self::Diff(diff) => Some(diff.seq),
            Self::Session(_) | Self::Expiring(_) | Self::Notice(_) => None,
        }
    }
}

/// Why a subscriber needs a snapshot. The greater includes the lesser.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
enum Missing {
    #[default]
    Nothing,
    /// The room fell to its detail limit: the list of people.
    List,
    /// It asked: the list, and the notices that run.
    Asked,
    /// It fell behind: everything that it may have missed.
    All,
}

/// What one subscriber was sent and what it misses.
#[derive(Debug, Default)]
pub struct Feed {
    /// Its removal ends the feed; `None` for an observer.
    holder: Option<ParticipantId>,
    /// How many events were received.
    received: u64,
    /// How many events, from the first one, the last snapshot includes.
    included: u64,
    missing: Missing,
    end: Option<Gone>,
    /// Nothing is sent any more.
    is_closed: bool,
}

impl Feed {
    /// The feed of this participant, or of an observer, from when it was let in. The events that follow
    /// continue the snapshot that it got then.
    pub fn new(holder: Option<ParticipantId>) -> Self {
        Self { holder, ..Self::default() }
    }

    /// Takes the next event of the room. What is to be sent of it at once; `None` where the subscriber
    /// knows it, gets it with the next snapshot, or is not concerned.
    pub fn receive<'a>(&mut self, event: &'a Event) -> Option<Message<'a>> {
        self.received += 1;
        if self.is_closed || self.end.is_some() {
            return None;
        }
        let is_known = self.received <= self.included;
        match event {
            // An end that the snapshot included would have refused it.
            Event::Removed(id) if self.holder == Some(*id) => self.end = Some(Gone::Removed),
            Event::Removed(_) => {}
            Event::Closed(reason) => self.end = Some(Gone::Closed(*reason)),
            Event::Draining => self.end = Some(Gone::Draining),
            _ if is_known => {}
            Event::Refresh => self.need(Missing::List),
            Event::Diff(_) if self.missing > Missing::Nothing => {}
            // Must not overtake the diffs that the snapshot replaces: it is sent with the snapshot.
            _ if self.missing > Missing::Nothing => self.need(Missing::All),
            event => return Message::of(event),
        }
        None
    }

    /// The subscriber asks for a snapshot.
    pub fn ask(&mut self) {
        self.need(Missing::Asked);
    }

    /// The subscriber cannot be sent what comes next. Whether that is new.
    pub fn fall_behind(&mut self) -> bool {
        let is_new = self.missing < Missing::All;
        self.need(Missing::All);
        is_new
    }

    /// Whether a snapshot is to be sent as soon as the subscriber can take it.
    pub fn needs_snapshot(&self) -> bool {
        self.missing > Missing::Nothing && !self.is_closed && self.end.is_none()
    }

    /// Whether it is the subscriber's own wish alone that [`Feed::needs_snapshot`].
    pub fn is_asked(&self) -> bool {
        self.missing == Missing::Asked
    }

    /// What the subscriber is sent instead of what it missed. The snapshot must be newer than all events
    /// that were received.
    pub fn catch_up<'a>(&mut self, now: &'a CaughtUp) -> impl Iterator<Item = Message<'a>> + use<'a> {
        self.included = now.events;
        // Events on their way are dropped on arrival; those that are no diffs would be lost.
        let missing = if now.events > self.received { Missing::All } else { self.missing };
        self.missing = Missing::Nothing;
        let all = missing == Missing::All;
        let session = now.session.as_deref().filter(|_| all).map(Message::Session);
        let expiring = now.expires_at.filter(|_| all).map(Message::Expiring);
        let is_sent = move |notice: &&Notice| all || missing == Missing::Asked && notice.is_running();
        let notices = now.notices.iter().filter(is_sent).map(Message::Notice);
        let state = Message::State { snapshot: &now.snapshot, own: now.own.as_deref() };
        [Some(state), session, expiring].into_iter().flatten().chain(notices)
    }

    /// Why the room has ended for this subscriber.
    pub fn end(&self) -> Option<Gone> {
        self.end
    }

    /// Sends nothing any more.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    fn need(&mut self, missing: Missing) {
        self.missing = self.missing.max(missing);
    }
}

#[cfg(test)]
mod tests;
