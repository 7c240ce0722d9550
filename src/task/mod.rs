//! Background tasks: the tick of the rooms, the flush, the sweep, the undoing of admissions.

pub mod audit;
pub mod compensate;
pub mod figures;
pub mod flush;
pub mod policy;
pub mod skew;
pub mod sweep;
pub mod tick;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Between a panic and the restart of the task.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// The background tasks of a server. Each is spawned where it is built; they are stopped together.
#[derive(Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Runs a task of `subject` until all are stopped. A task that panics is restarted, so that a fault in one
    /// round does not end all later ones.
    pub fn spawn<T, F>(&self, name: &'static str, subject: &Arc<T>, task: impl Fn(Arc<T>) -> F + Send + 'static)
    where
        T: Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, subject) = (self.stop.clone(), Arc::clone(subject));
        self.tracker.spawn(async move {
            while !stop.is_cancelled() {
                let mut running = tokio::spawn(task(Arc::clone(&subject)));
                tokio::select! {
                    ended = &mut running => {
                        if let Err(fault) = ended {
                            // What restarts the task must outlive its own log line.
                            let _ = catch_unwind(AssertUnwindSafe(|| {
                                tracing::error!(task = name, %fault, "background task panicked and is restarted");
                            }));
                            sleep(RESTART_PAUSE).await;
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

    /// Stops all tasks and waits for them.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;

    /// A log in which every line panics.
    struct Panicking;

    impl Subscriber for Panicking {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, _: &Event<'_>) {
            panic!("the log cannot be written");
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[tokio::test]
    async fn a_task_is_restarted_although_the_line_about_its_panic_panics() {
        let _log = tracing::subscriber::set_default(Panicking);
        let (tasks, runs) = (Tasks::default(), Arc::new(AtomicU32::new(0)));
        let second = CancellationToken::new();
        let reached = second.clone();
        tasks.spawn("test", &runs, move |runs| {
            let reached = reached.clone();
            async move {
                if runs.fetch_add(1, Ordering::SeqCst) == 0 {
                    tracing::info!("this ends the first round");
                }
                reached.cancel();
                std::future::pending().await
            }
        });
        second.cancelled().await;
        tasks.stop().await;
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_task_that_panics_is_restarted_and_stops_when_asked() {
        let (tasks, runs) = (Tasks::default(), Arc::new(AtomicU32::new(0)));
        let third = CancellationToken::new();
        let reached = third.clone();
        tasks.spawn("test", &runs, move |runs| {
            let reached = reached.clone();
            async move {
                assert!(runs.fetch_add(1, Ordering::SeqCst) >= 2, "the first two rounds fail");
                reached.cancel();
                std::future::pending().await
            }
        });
        third.cancelled().await;
        tasks.stop().await;
        assert_eq!(runs.load(Ordering::SeqCst), 3);
    }
}
