//! WebSockets and event streams: the upgrade, the loop that serves a connection, and Server-Sent Events.

pub mod admin;
pub mod connection;
pub mod device;
mod dialogue;
pub mod end;
pub mod frame;
mod handshake;
pub mod http_stream;
mod inbound;
mod pace;
mod pulse;
mod refused;
mod renewal;
pub mod sse;
pub mod stream;
mod subscription;
pub mod transport;
mod unsent;
pub mod upgrade;
mod wire;
