//! What rooms count, as a trait of the layer that keeps the figures.

use crate::domain::participant::LeaveReason;

/// Takes what rooms count. Called under a room's lock: it must not wait.
pub trait RoomMetrics: std::fmt::Debug + Send + Sync {
    /// A person came in.
    fn joined(&self);

    /// So many people left.
    fn left(&self, reason: LeaveReason, people: usize);

    /// A diff was published.
    fn diff_published(&self);
}
