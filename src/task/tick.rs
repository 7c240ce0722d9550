//! The tick: does what is due in rooms whose deadline has come.

use std::sync::Arc;

use tokio::time::sleep_until;

use super::Tasks;
use crate::room::Registry;

/// Starts the tick of the rooms in `registry`.
pub fn spawn(tasks: &Tasks, registry: &Arc<Registry>) {
    tasks.spawn("tick", registry, run);
}

async fn run(registry: Arc<Registry>) {
    let shared = Arc::clone(registry.shared());
    loop {
        for room in shared.schedule.due(shared.clock.now()) {
            // In a task of its own: it writes to all subscribers, and a large room must not delay the small
            // ones.
            let registry = Arc::clone(&registry);
            tokio::spawn(async move { registry.tick(room, registry.shared().clock.now()) });
        }
        match shared.schedule.next() {
            Some(at) => tokio::select! {
                () = sleep_until(shared.clock.instant(at)) => {}
                () = shared.schedule.sooner() => {}
            },
            None => shared.schedule.sooner().await,
        }
    }
}
