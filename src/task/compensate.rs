//! Undoes admissions for which no connection was made. Beside the flush, so that an outage which left many of them does not
//! delay what was seen.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::Tasks;
use crate::room::Registry;
use crate::store::Store;
use crate::store::admission::Compensation;

/// How often the queue is looked at, and the longest pause while the database is away.
const INTERVAL: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Undoes admissions.
#[derive(Debug)]
pub struct Compensator {
    registry: Arc<Registry>,
    store: Store,
}

impl Compensator {
    /// Of the rooms in `registry`.
    pub fn new(registry: Arc<Registry>, store: Store) -> Self {
        Self { registry, store }
    }

    /// Starts it as a background task.
    pub fn spawn(self: &Arc<Self>, tasks: &Tasks) {
        tasks.spawn("compensations", self, Self::run);
    }

    /// Runs for ever.
    async fn run(self: Arc<Self>) {
        let mut pause = INTERVAL;
        loop {
            sleep(pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
            // While rooms drain, no participant is recalled: what is not undone by then is left to the next start.
            if self.registry.is_draining() {
                continue;
            }
            pause = match self.store.run_compensations(|compensation| self.is_here(compensation)).await {
                Ok(()) => INTERVAL,
                Err(error) => {
                    tracing::warn!(%error, waiting = self.store.compensations(), "undoing admissions failed; retrying");
                    (pause * 2).min(LONGEST_PAUSE)
                }
            };
        }
    }

    fn is_here(&self, compensation: &Compensation) -> bool {
        self.registry.find(compensation.session()).is_some_and(|room| room.recall(compensation.applicant()).is_some())
    }
}
