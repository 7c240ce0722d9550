//! What ties a connection to its user session, for as long as the connection is there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::ledger::UserSessions;
use super::mark::Mark;
use super::{ClientSession, Device};
use crate::clock::Moment;
use crate::ids::UserId;
use crate::room::Quality;

/// Kinds of connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wire {
    /// A WebSocket.
    Socket,
    /// An event stream, over which somebody reads along.
    Stream,
}

/// A connection's hold on its user session. Dropping it is losing the connection; [`Tie::leave`] is
/// leaving. Where the session turns out to have ended, all this does nothing any more.
#[derive(Debug)]
pub struct Tie {
    sessions: Arc<UserSessions>,
    mark: Arc<Mark>,
    wire: Wire,
    left: bool,
}

impl Tie {
    pub(super) fn new(sessions: Arc<UserSessions>, mark: Arc<Mark>, wire: Wire) -> Self {
        Self { sessions, mark, wire, left: false }
    }

    /// The user.
    pub fn user(&self) -> UserId {
        self.mark.key.1
    }

    /// The session's id.
    pub fn session(&self) -> &ClientSession {
        &self.mark.key.0
    }

    /// The device, as the first of the connections described it.
    pub fn device(&self) -> &Device {
        &self.mark.device
    }

    /// Something came from the connection. One store and one mark: no lock, no allocation.
    pub fn heard(&self, now: Moment) {
        self.mark.heard.note(now);
        self.sessions.enqueue(&self.mark);
    }

    /// The person did something. As cheap.
    pub fn active(&self, now: Moment) {
        self.mark.activate(now);
        self.sessions.enqueue(&self.mark);
    }

    /// A new class of the connection's quality. Of several connections the last word counts.
    pub fn set_quality(&self, quality: Quality) {
        self.mark.set_quality(quality);
        self.sessions.enqueue(&self.mark);
    }

    /// The database has the row.
    pub fn opened(&self) {
        self.mark.opened.store(true, Ordering::Release);
    }

    /// The database says that this cannot be the user's session any more.
    pub fn forget(&self) {
        self.sessions.void(&self.mark);
    }

    /// Says goodbye: the session does not wait for this connection to come back.
    pub fn leave(mut self) {
        self.left = true;
    }
}

impl Drop for Tie {
    fn drop(&mut self) {
        self.sessions.untie(&self.mark, self.wire, !self.left);
    }
}
