//! The live side of user sessions: which of them have connections to this server, and what was heard
//! of those since the last flush. Pure, like the rooms: no HTTP, no SQL, no wire format.

mod ledger;
mod mark;
mod tie;

pub use crate::domain::user_session::{
    ClientSession, Device, EndReason, MAX_ID_CHARS, MAX_USER_AGENT_CHARS, Platform, Rules, UserSessionStatus,
};

pub use ledger::{Chunk, Row, UserSessions};
pub use tie::{Tie, Wire};
