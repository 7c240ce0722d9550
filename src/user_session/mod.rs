//! The live side of user sessions: which of them have connections to this server, and what was seen of
//! those since the last flush. Pure, like the rooms: no HTTP, no SQL, no wire format.

mod attachment;
mod tracked;
mod wire;
mod write_behind;

pub use crate::domain::user_session::{
    ClientSession, Device, EndReason, MAX_ID_CHARS, MAX_USER_AGENT_CHARS, Platform, Rules, UserSessionStatus,
};
pub use attachment::Attachment;
pub use wire::Wire;
pub use write_behind::{Chunk, Row, UserSessions};
