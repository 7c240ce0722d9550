//! What changed in a room's presence.

use std::sync::Arc;

use super::encoding::Encodings;
use super::participant::Participant;
use crate::domain::ids::ParticipantId;
use crate::domain::participant::LeaveReason;

/// What changed in a room's presence within one interval. Shared by all subscribers.
#[derive(Debug)]
pub struct Diff {
    /// Counts the diffs of the room, from 1.
    pub seq: u64,
    /// How many people are here after it.
    pub occupancy: usize,
    /// The people who changed; `None` in a room over its detail limit, where only the count is sent.
    pub changes: Option<Changes>,
    /// Its encodings.
    pub encodings: Encodings,
}

/// The people who changed since the diff before.
#[derive(Debug, Default)]
pub struct Changes {
    /// Those who came.
    pub joins: Vec<Arc<Participant>>,
    /// Those who look different.
    pub updates: Vec<Arc<Participant>>,
    /// Those who left, and why.
    pub leaves: Vec<(ParticipantId, LeaveReason)>,
}
