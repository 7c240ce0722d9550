//! Background tasks: the tick of the rooms, the flush, the sweep, the sits of rooms.

pub mod flush;
pub mod policy;
pub mod sits;
pub mod sweep;
pub mod tick;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Runs a task until `stop`. A task that panics is restarted, so that a fault in one round does not end all
/// later ones.
pub fn keep_running<F>(
    tracker: &TaskTracker,
    stop: &CancellationToken,
    name: &'static str,
    mut task: impl FnMut() -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let stop = stop.clone();
    tracker.spawn(async move {
        while !stop.is_cancelled() {
            let mut running = tokio::spawn(task());
            tokio::select! {
                ended = &mut running => {
                    if let Err(fault) = ended {
                        tracing::error!(task = name, %fault, "background task panicked and is restarted");
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    }
                }
                () = stop.cancelled() => {
                    running.abort();
                    let _ = running.await;
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_started_again_and_stops_when_asked() {
        let (tracker, stop, runs) = (TaskTracker::new(), CancellationToken::new(), Arc::new(AtomicU32::new(0)));
        let counted = Arc::clone(&runs);
        let finished = stop.clone();
        keep_running(&tracker, &stop, "test", move || {
            let (run, finished) = (counted.fetch_add(1, Ordering::SeqCst), finished.clone());
            async move {
                assert!(run >= 2, "the first two rounds fail");
                finished.cancel();
                std::future::pending().await
            }
        });
        tracker.close();
        tracker.wait().await;
        assert_eq!(runs.load(Ordering::SeqCst), 3);
    }
}
