//! The live side of user sessions: which of them have connections to this server, and what was seen of
//! those since the last flush. Pure, like the rooms: no HTTP, no SQL, no wire format.

mod attachment;
mod tracked;
mod wire;
mod write_behind;

pub use attachment::Attachment;
pub use wire::Wire;
pub use write_behind::{Chunk, Row, UserSessions};
