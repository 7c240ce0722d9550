//! The protocol `lastseen.v1`: JSON text frames, as docs/reference/PROTOCOL.md has them.

mod chunks;
mod client_frame;
mod server_frames;
mod values;

pub use chunks::MORE;
pub use client_frame::{BadFrame, ClientFrame, LONGEST_SIT_SECONDS, MAX_STATE_BYTES, Secret, decode};
pub use server_frames::{Frames, Welcome, error, frame_type, history, notice};
pub use values::{Participant, Session, Timestamp};

use crate::room::CodecId;

/// The name of the protocol among WebSocket subprotocols.
pub const SUBPROTOCOL: &str = "lastseen.v1";

/// Frames that a client may send in a minute, beyond a burst. An `update` counts less, by `max-updates-per-second`.
pub const FRAMES_PER_MINUTE: u32 = 100;

/// Its number among the codecs.
pub const CODEC: CodecId = CodecId::new(0);
