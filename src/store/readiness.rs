//! What the database can do, for all who ask: it is asked once a second at most.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

/// For how long an answer holds.
const HOLDS_FOR: Duration = Duration::from_secs(1);

/// What the database can do just now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DatabaseState {
    /// It answers and takes writes.
    Writable,
    /// It answers, and takes no writes: a standby, or it was set so.
    ReadOnly,
    /// It does not answer.
    Away,
}

/// The last answer, and when it was asked for. Locked while the database is asked: whoever comes meanwhile waits for
/// the same answer.
#[derive(Debug, Default)]
pub(super) struct Readiness(Mutex<Option<(Instant, DatabaseState)>>);

impl Readiness {
    /// The last answer where it holds, else that of `ask`.
    pub async fn get(&self, ask: impl Future<Output = DatabaseState>) -> DatabaseState {
        let mut last = self.0.lock().await;
        match *last {
            Some((at, state)) if at.elapsed() < HOLDS_FOR => state,
            _ => {
                let state = ask.await;
                *last = Some((Instant::now(), state));
                state
            }
        }
    }

    #[cfg(test)]
    async fn age(&self, time: Duration) {
        if let Some((at, _)) = &mut *self.0.lock().await {
            *at = at.checked_sub(time).expect("a time that has been");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn all_who_ask_within_a_second_get_one_answer() {
        let (readiness, asked) = (Readiness::default(), AtomicU32::new(0));
        let ask = async |answer: DatabaseState| {
            let ask = async {
                asked.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                answer
            };
            (readiness.get(ask).await, asked.load(Ordering::Relaxed))
        };
        let (first, second) = tokio::join!(ask(DatabaseState::Writable), ask(DatabaseState::Away));
        assert_eq!((first, second), ((DatabaseState::Writable, 1), (DatabaseState::Writable, 1)));
        readiness.age(HOLDS_FOR).await;
        assert_eq!(ask(DatabaseState::Away).await, (DatabaseState::Away, 2));
        readiness.age(HOLDS_FOR).await;
        assert_eq!(ask(DatabaseState::Writable).await, (DatabaseState::Writable, 3));
    }

    #[tokio::test]
    async fn whoever_gives_up_leaves_the_question_to_the_next() {
        let readiness = Readiness::default();
        tokio::select! {
            biased;
            _ = readiness.get(std::future::pending()) => unreachable!(),
            () = std::future::ready(()) => {}
        }
        assert_eq!(readiness.get(async { DatabaseState::Writable }).await, DatabaseState::Writable);
    }
}
