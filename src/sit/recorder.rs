//! Sits of rooms and the store: a sit is stored before it is announced, and recorded when it is over,
//! however long the database is away.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{sleep, timeout};

use super::sits::{RunningSit, Sits};
use crate::clock::Clock;
use crate::domain::ids::{ParticipantId, UserId};
use crate::protocol::{Code, Refusal};
use crate::room::{Registry, Room};
use crate::store::room_sits::OpenRoomSit;
use crate::store::{PATIENCE, Store, StoreError};
use crate::task::Tasks;

/// How long the first repetition of what could not be recorded waits, and the last.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Starts and records sits of rooms.
#[derive(Debug)]
pub struct SitRecorder {
    sits: Arc<Sits>,
    registry: Arc<Registry>,
    store: Store,
    /// One `record_all` at a time: a caller that waited for the turn finds everything recorded that was over before.
    turn: Mutex<()>,
}

impl SitRecorder {
    /// A recorder of these sits of the rooms in `registry`.
    pub fn new(sits: Arc<Sits>, registry: Arc<Registry>, store: Store) -> Self {
        Self { sits, registry, store, turn: Mutex::default() }
    }

    /// Resumes the sits that the last run of this server left running. A sit whose end has passed meanwhile is over
    /// for the participants that the last run left in the room.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn resume(&self) -> Result<(), StoreError> {
        let clock = self.registry.shared().clock;
        for open in self.store.open_room_sits().await? {
            self.sits.resume(&self.registry, open.session_id, running(&open, &clock));
        }
        Ok(())
    }

    /// Starts a sit of a room.
    ///
    /// # Errors
    /// `conflict` where there is one, `unavailable` where the store cannot be reached.
    pub async fn start(&self, room: &Arc<Room>, starter: ParticipantId, length_seconds: i32) -> Result<(), Refusal> {
        let starting = self
            .sits
            .promise(room)
            .ok_or_else(|| Refusal::new(Code::Conflict, "A sit runs in this session: wait for its end."))?;
        let start = async {
            // The store holds one open sit a room: the last one is recorded first.
            match self.record_all().await {
                // Of another room, or else the statement below finds out.
                Ok(()) | Err(StoreError::Locked) => {}
                Err(error) => return Err(error),
            }
            self.store.start_room_sit(room.id(), starter, length_seconds).await
        };
        let started = timeout(PATIENCE, start).await.map_err(|_| Code::Unavailable)??;
        let started = started.ok_or_else(|| {
            Refusal::new(Code::Conflict, "A sit of this session runs on another server, or the session is closed.")
        })?;
        starting.run(running(&started, &self.registry.shared().clock));
        Ok(())
    }

    /// Waits until what is being recorded is, and holds back the rest until what is returned is dropped.
    pub async fn pause(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Nothing more is recorded for a user who is erased.
    pub fn forget_user(&self, user: UserId) {
        self.sits.forget_user(user);
    }

    /// Starts recording as a background task.
    pub fn spawn(self: &Arc<Self>, tasks: &Tasks) {
        tasks.spawn("sits", self, Self::run);
    }

    /// Records sits as they end, for ever.
    async fn run(self: Arc<Self>) {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.record_all().await {
                Ok(()) => {
                    pause = FIRST_PAUSE;
                    self.sits.more().await;
                }
                Err(error) => {
                    let waiting = self.sits.ended().len();
                    tracing::warn!(%error, waiting, "recording a sit failed; retrying");
                    sleep(pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Records all that is over by now.
    ///
    /// # Errors
    /// [`StoreError`]; what was not recorded is kept. One that is locked by another transaction does not hold up the
    /// others.
    pub async fn record_all(&self) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        let mut recorded = Ok(());
        for ended in self.sits.ended() {
            match self.store.finish_room_sit(&ended).await {
                Ok(()) => {}
                Err(StoreError::Locked) => {
                    recorded = Err(StoreError::Locked);
                    continue;
                }
                Err(error @ (StoreError::Unavailable(_) | StoreError::ReadOnly(_))) => return Err(error),
                // A retry would be refused again, and hold up all that follow.
                Err(error) => tracing::error!(%error, sit = %ended.id, "a sit cannot be recorded and is lost"),
            }
            self.sits.recorded(ended.id);
        }
        recorded
    }
}

fn running(open: &OpenRoomSit, clock: &Clock) -> RunningSit {
    let left = Duration::try_from_secs_f64(open.seconds_left).unwrap_or_default();
    RunningSit { id: open.id, started_at: open.started_at, ends_at: open.ends_at, ends: clock.now() + left }
}
