//! The live side of a reading session. Pure: no HTTP, no SQL, no wire format; time is passed in or
//! comes from the server's clock.
//!
//! Locks are taken in the order registry shard → room → ledger, schedule or sits, held for microseconds,
//! and never across an await.

pub mod encoding;
pub mod event;
pub mod ledger;
pub mod participant;
pub mod registry;
#[expect(clippy::module_inception, reason = "the room is what this module is about")]
pub mod room;
pub mod roster;
pub mod schedule;
pub mod seat;
pub mod sits;
pub mod terms;
pub mod watch;

pub use encoding::{Codec, Encodings, Text};
pub use event::{Changes, Diff, Event, Listener, People, Snapshot};
pub use ledger::Ledger;
pub use participant::{CloseReason, LeaveReason, Participant, Quality, Role, State, Status};
pub use registry::Registry;
pub use room::{Place, Room, Starting};
pub use roster::{Entrant, Timings};
pub use seat::{Joined, Seat};
pub use sits::{EndedSit, RoomSit, SitNews};
pub use terms::{CaughtUp, Gone, JoinError, Rules, Session, Shared, Who};
pub use watch::{Watch, Watching};
