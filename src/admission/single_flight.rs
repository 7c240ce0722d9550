//! Single flight: of several admissions to a session that is not in memory, one asks the store and opens
//! the room; the others wait for it and then find the room open.

use std::hash::{BuildHasher, RandomState};

use tokio::sync::{Mutex, MutexGuard};

use crate::ids::SessionId;

/// How many locks there are. Sessions that share one wait for each other without need, which is rare
/// and short.
const LOCKS: u64 = 256;

/// Locks of sessions whose rooms are being opened.
#[derive(Debug)]
pub(super) struct SingleFlight {
    locks: Box<[Mutex<()>]>,
    hasher: RandomState,
}

impl Default for SingleFlight {
    fn default() -> Self {
        Self { locks: (0..LOCKS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }
}

impl SingleFlight {
    /// Waits until no other admission opens the room of this session. Look for the room again behind it.
    pub(super) async fn enter(&self, session: SessionId) -> MutexGuard<'_, ()> {
        let hash = usize::try_from(self.hasher.hash_one(session) % LOCKS).expect("fits, it is below LOCKS");
        self.locks[hash].lock().await
    }
}
