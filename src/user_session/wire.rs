//! Kinds of connections.

/// Kinds of connections that a user session can have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wire {
    /// A WebSocket.
    Socket,
    /// A stream of Server-Sent Events.
    Stream,
}
