//! Why a room admits no person, and why a seat is void.

use crate::domain::reading_session::CloseReason;

/// Why an admission that was granted does not lead into the room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JoinError {
    /// The session was closed since.
    Closed(CloseReason),
    /// All people had left and the room has left memory: open it again.
    Retired,
    /// All places are taken by people who are here.
    Full,
    /// The places that are left are promised to people on the way, some of whom may not come.
    Promised,
    /// The server stops.
    Draining,
}

/// Why a seat is void.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gone {
    /// A host or the service removed the participant.
    Removed,
    /// The session is closed.
    Closed(CloseReason),
    /// The server stops.
    Draining,
}
