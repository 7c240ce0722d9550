//! How many rooms and people a server has at one moment.

use crate::domain::participant::Status;

/// How many there are of what, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// Rooms in memory.
    pub rooms: u64,
    /// People in them, by status (in the order of [`Status::ALL`]).
    pub participants: [u64; Status::ALL.len()],
    /// WebSockets of the service that only observe.
    pub observers: u64,
    /// Streams of Server-Sent Events.
    pub watchers: u64,
}
