//! When which room has something to do: one queue of deadlines for all rooms, instead of timers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::Moment;
use crate::domain::ids::SessionId;

/// Deadlines of rooms, earliest first. A deadline that the room does not care for any more is
/// harmless: the room finds nothing to do.
#[derive(Debug, Default)]
pub struct Schedule {
    deadlines: Mutex<BinaryHeap<Reverse<(Moment, SessionId)>>>,
    sooner: Notify,
}

impl Schedule {
    /// The room has something to do at `at`.
    pub fn add(&self, at: Moment, room: SessionId) {
        let mut deadlines = self.deadlines.lock();
        let sooner = deadlines.peek().is_none_or(|Reverse((earliest, _))| at < *earliest);
        deadlines.push(Reverse((at, room)));
        drop(deadlines);
        if sooner {
            self.sooner.notify_one();
        }
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Moment> {
        self.deadlines.lock().peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the rooms whose deadline is over.
    pub fn due(&self, now: Moment) -> Vec<SessionId> {
        let mut deadlines = self.deadlines.lock();
        let mut due = Vec::new();
        while let Some(Reverse((at, room))) = deadlines.peek().copied()
            && at <= now
        {
            deadlines.pop();
            due.push(room);
        }
        due
    }

    /// Resolves when a deadline was added that is earlier than all before it.
    pub async fn sooner(&self) {
        self.sooner.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;

    #[test]
    fn rooms_come_due_in_order_and_once() {
        let (schedule, now) = (Schedule::default(), Clock::new().now());
        let [first, second, third] = [(); 3].map(|()| SessionId::new());
        schedule.add(now + Duration::from_secs(2), second);
        schedule.add(now + Duration::from_secs(1), first);
        schedule.add(now + Duration::from_secs(9), third);
        assert_eq!(schedule.next(), Some(now + Duration::from_secs(1)));
        assert_eq!(schedule.due(now), []);
        assert_eq!(schedule.due(now + Duration::from_secs(2)), [first, second]);
        assert_eq!(schedule.due(now + Duration::from_secs(2)), []);
        assert_eq!(schedule.next(), Some(now + Duration::from_secs(9)));
    }

    #[tokio::test]
    async fn only_a_sooner_deadline_wakes_the_sleeper() {
        let (schedule, now) = (Schedule::default(), Clock::new().now());
        schedule.add(now + Duration::from_secs(5), SessionId::new());
        schedule.sooner().await;
        schedule.add(now + Duration::from_secs(6), SessionId::new());
        let woken = tokio::time::timeout(Duration::from_millis(10), schedule.sooner()).await;
        assert!(woken.is_err(), "a later deadline is no reason to wake");
        schedule.add(now + Duration::from_secs(4), SessionId::new());
        schedule.sooner().await;
    }
}
