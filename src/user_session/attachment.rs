//! What attaches a connection to its user session, for as long as the connection is there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::tracked::Tracked;
use super::wire::Wire;
use super::write_behind::UserSessions;
use crate::clock::Moment;
use crate::domain::ids::UserId;
use crate::domain::participant::Quality;
use crate::domain::user_session::{ClientSession, Device};

/// A connection's hold on its user session. Dropping it is losing the connection; [`Attachment::leave`] is
/// leaving. Where the session turns out to have ended, all this does nothing any more.
#[derive(Debug)]
pub struct Attachment {
    sessions: Arc<UserSessions>,
    tracked: Arc<Tracked>,
    wire: Wire,
    left: bool,
}

impl UserSessions {
    /// Attaches a connection to its user session. Nothing of it is written until [`Attachment::opened`] or
    /// [`Attachment::unanswered`] has the answer of the database.
    pub fn attach(self: &Arc<Self>, user: UserId, device: Device, wire: Wire) -> Attachment {
        let tracked = self.connect(user, device, wire);
        Attachment { sessions: Arc::clone(self), tracked, wire, left: false }
    }
}

impl Attachment {
    /// The user.
    pub fn user(&self) -> UserId {
        self.tracked.key.1
    }

    /// The session's id.
    pub fn session(&self) -> &ClientSession {
        &self.tracked.key.0
    }

    /// The device, as the first of the connections described it.
    pub fn device(&self) -> &Device {
        &self.tracked.device
    }

    /// Something was received on the connection. One store and one place in a queue: no lock, no allocation.
    pub fn seen(&self, now: Moment) {
        self.tracked.seen.note(now);
        self.sessions.enqueue(&self.tracked);
    }

    /// The person did something. As cheap.
    pub fn active(&self, now: Moment) {
        self.tracked.activate(now);
        self.sessions.enqueue(&self.tracked);
    }

    /// A new class of the connection's quality. Of several connections the newest counts.
    pub fn set_quality(&self, quality: Quality) {
        self.tracked.set_quality(quality);
        self.sessions.enqueue(&self.tracked);
    }

    /// The database has the row.
    pub fn opened(&self) {
        self.tracked.opened.store(true, Ordering::Release);
        self.sessions.enqueue(&self.tracked);
    }

    /// The database did not answer: the flush opens the row.
    pub fn unanswered(&self) {
        self.sessions.enqueue(&self.tracked);
    }

    /// The database found that this cannot be the user's session any more.
    pub fn forget(&self) {
        self.sessions.void(&self.tracked);
    }

    /// Leaves: the session does not wait for this connection to come back.
    pub fn leave(mut self) {
        self.left = true;
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.sessions.disconnect(&self.tracked, self.wire, !self.left);
    }
}
