//! Places in a room, promised before the store is asked.

use std::sync::Arc;

use super::{Inner, Room};

/// A place promised to somebody whose admission is under way; given back when dropped unfilled.
#[derive(Debug)]
pub struct Place {
    pub(super) room: Arc<Room>,
    pub(super) filled: bool,
}

impl Place {
    /// The roster counts the place from here on.
    pub(super) fn fill(&mut self, inner: &mut Inner) {
        inner.reserved -= 1;
        self.filled = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.filled {
            let now = self.room.shared.clock.now();
            let mut inner = self.room.lock();
            inner.reserved -= 1;
            self.room.arm_if_empty(&inner, now);
        }
    }
}
