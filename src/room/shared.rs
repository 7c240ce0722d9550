//! What all rooms of a server share.

use std::sync::Arc;

use super::metrics::RoomMetrics;
use super::notice::Feature;
use super::rules::Rules;
use super::schedule::Schedule;
use super::write_behind::WriteBehind;
use crate::clock::Clock;

/// What all rooms of a server share.
#[derive(Debug)]
pub struct Shared {
    /// How they behave.
    pub rules: Rules,
    /// Their time.
    pub clock: Clock,
    /// Where they note what has to be written.
    pub write_behind: Arc<WriteBehind>,
    /// The deadlines at which rooms have to be ticked.
    pub schedule: Schedule,
    /// What puts notices into them.
    pub features: Vec<Arc<dyn Feature>>,
    /// Where they count.
    pub metrics: Arc<dyn RoomMetrics>,
}
