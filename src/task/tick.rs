//! The tick: rooms whose deadline has come do what the passing of time asks for.

use std::sync::Arc;

use tokio::time::sleep_until;

use crate::room::Registry;

/// Ticks rooms for ever.
pub async fn run(registry: Arc<Registry>) {
    let shared = Arc::clone(registry.shared());
    loop {
        for room in shared.schedule.due(shared.clock.now()) {
            // In a task of its own: all who listen are told in it, and a large room must not keep the
            // small ones waiting.
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
