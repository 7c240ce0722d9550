//! The live side of a reading session. Pure: no HTTP, no SQL, no wire format; time is passed in or
//! comes from the server's clock.
//!
//! Locks are taken in the order registry shard → room → write-behind, schedule or feature, held for
//! microseconds, and never across an await.

mod announce;
pub mod census;
pub mod diff;
pub mod encoding;
pub mod error;
pub mod event;
mod expiry;
pub mod feed;
pub mod liveness;
pub mod metrics;
pub mod notice;
pub mod participant;
mod publisher;
pub mod registry;
pub mod reservation;
#[expect(clippy::module_inception, reason = "the room is what this module is about")]
pub mod room;
pub mod roster;
pub mod rules;
pub mod schedule;
pub mod seat;
pub mod shared;
pub mod snapshot;
pub mod state;
pub mod subscribers;
#[cfg(test)]
mod tests;
pub mod watch;
pub mod write_behind;

pub use census::Census;
pub use diff::{Changes, Diff};
pub use encoding::{CodecId, Encodings, Text, Texts};
pub use error::{Gone, JoinError};
pub use event::Event;
pub use liveness::Liveness;
pub use metrics::RoomMetrics;
pub use notice::{Feature, Notice};
pub use participant::Participant;
pub use registry::Registry;
pub use reservation::{Applicant, Reservation};
pub use room::Room;
pub use roster::Entrant;
pub use rules::{Rules, Timings};
pub use schedule::Schedule;
pub use seat::{Joined, Seat};
pub use shared::Shared;
pub use snapshot::{CaughtUp, List, People, Snapshot};
pub use state::State;
pub use subscribers::Subscriber;
pub use watch::{Watch, Watching};
pub use write_behind::WriteBehind;
