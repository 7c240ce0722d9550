//! The protocol `lastseen.v1`: JSON text frames, as docs/reference/PROTOCOL.md has them.

mod client_frame;
mod server_frames;
mod values;

pub use client_frame::{BadFrame, ClientFrame, LONGEST_SIT_SECONDS, MAX_STATE_BYTES, Secret, decode};
pub use server_frames::{Frames, Welcome, error, frame_type, notice};
pub use values::{Participant, Session, Timestamp};

use crate::room::CodecId;

/// The name of the protocol among WebSocket subprotocols.
pub const SUBPROTOCOL: &str = "lastseen.v1";

/// Its number among the codecs.
pub const CODEC: CodecId = CodecId::new(0);
