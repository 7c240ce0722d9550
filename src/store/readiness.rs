//! Whether the database answers, for all who ask: it is asked once a second at most.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

/// For how long an answer holds.
const HOLDS_FOR: Duration = Duration::from_secs(1);

/// The last answer, and when it was asked for. Locked while the database is asked: whoever comes meanwhile waits for
/// the same answer.
#[derive(Debug, Default)]
pub(super) struct Readiness(Mutex<Option<(Instant, bool)>>);

impl Readiness {
    /// The last answer where it holds, else that of `ask`.
    pub async fn get(&self, ask: impl Future<Output = bool>) -> bool {
        let mut last = self.0.lock().await;
        match *last {
            Some((at, answers)) if at.elapsed() < HOLDS_FOR => answers,
            _ => {
                let answers = ask.await;
                *last = Some((Instant::now(), answers));
                answers
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
        let ask = async |answer: bool| {
            let ask = async {
                asked.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                answer
            };
            (readiness.get(ask).await, asked.load(Ordering::Relaxed))
        };
        let (first, second) = tokio::join!(ask(true), ask(false));
        assert_eq!((first, second), ((true, 1), (true, 1)));
        readiness.age(HOLDS_FOR).await;
        assert_eq!(ask(false).await, (false, 2));
        readiness.age(HOLDS_FOR).await;
        assert_eq!(ask(true).await, (true, 3));
    }

    #[tokio::test]
    async fn whoever_gives_up_leaves_the_question_to_the_next() {
        let readiness = Readiness::default();
        tokio::select! {
            biased;
            _ = readiness.get(std::future::pending()) => unreachable!(),
            () = std::future::ready(()) => {}
        }
        assert!(readiness.get(async { true }).await);
    }
}
