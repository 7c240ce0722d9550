//! Sits of rooms, a feature beside them: a sit is stored, announced in its room as a notice, and recorded
//! when it is over for the users who are present then.

mod recorder;
mod sits;

pub use recorder::SitRecorder;
pub use sits::{RunningSit, Sits, Starting};
