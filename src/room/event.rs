//! What a room sends to its subscribers.

use std::sync::Arc;

use super::diff::Diff;
use super::notice::Notice;
use crate::clock::Moment;
use crate::domain::ids::ParticipantId;
use crate::domain::reading_session::{CloseReason, ReadingSession};

/// What every subscriber of a room receives. Values are shared: one allocation a room and event.
#[derive(Clone, Debug)]
pub enum Event {
    /// Presence changed.
    Diff(Arc<Diff>),
    /// Every subscriber needs a fresh snapshot: the room fell below its detail limit.
    Refresh,
    /// The session expires at that moment unless a person does something.
    Expiring(Moment),
    /// A host gave the session another title or size: the session as it is now.
    Session(Arc<ReadingSession>),
    /// A notice runs from now on, or is over.
    Notice(Arc<Notice>),
    /// A participant was removed: its connections end.
    Removed(ParticipantId),
    /// The session was closed: all connections end.
    Closed(CloseReason),
    /// The server stops: all connections end and come back.
    Draining,
}
