//! The subscribers of a room, and the order in which events are delivered to them.
//!
//! An event is queued under the room's lock and delivered after the lock was given back, by the task that
//! held it: to one subscriber after the other, the same events in the same order to all. In a large room
//! delivery is most of the cost, so no task is woken for a subscriber and none has a queue here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use indexmap::IndexMap;

use super::event::Event;
use crate::domain::ids::ConnectionId;

/// Receives the events of a room: in order, never from two tasks at once, and never under the room's
/// lock. It must not wait: all other subscribers are served after it. It may still receive events after
/// it was taken from the room.
pub trait Subscriber: std::fmt::Debug + Send + Sync {
    /// These happened, in this order.
    fn receive(&self, events: &[Event]);
}

/// The subscribers of a room, and the events that were not delivered yet.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    subscriptions: IndexMap<ConnectionId, Subscription>,
    queued: Vec<Event>,
    /// How many events were ever taken for delivery: the number of the first queued one.
    delivered: u64,
    /// A task delivers just now, and takes along what is queued meanwhile.
    delivering: bool,
}

#[derive(Clone, Debug)]
struct Subscription {
    subscriber: Arc<dyn Subscriber>,
    /// The number of the first event that it receives: all before are in its snapshot.
    from: u64,
}

/// Events on their way to those who subscribed when they were taken from the queue.
pub(super) struct Delivery {
    subscriptions: Vec<Subscription>,
    events: Vec<Event>,
    /// The number of the first of the events.
    first: u64,
}

impl Subscribers {
    /// Subscribes to all events that are queued from now on.
    pub(super) fn add(&mut self, connection: ConnectionId, subscriber: Arc<dyn Subscriber>) {
        let from = self.delivered + self.queued.len() as u64;
        self.subscriptions.insert(connection, Subscription { subscriber, from });
    }

    /// Ends a subscription. What is being delivered may still arrive.
    pub(super) fn remove(&mut self, connection: ConnectionId) {
        self.subscriptions.swap_remove(&connection);
    }

    /// How many events were ever queued for this subscription, those that it has not received yet included.
    pub(super) fn queued_for(&self, connection: ConnectionId) -> u64 {
        let queued = self.delivered + self.queued.len() as u64;
        self.subscriptions.get(&connection).map_or(0, |subscription| queued - subscription.from)
    }

    /// Queues an event for all. Without subscribers it is dropped: a later one begins with a snapshot.
    pub(super) fn queue(&mut self, event: Event) {
        if !self.subscriptions.is_empty() {
            self.queued.push(event);
        }
    }

    /// Takes what is queued, unless a task delivers already. [`Subscribers::delivered`] has to follow.
    pub(super) fn next_delivery(&mut self) -> Option<Delivery> {
        if self.delivering || self.queued.is_empty() {
            return None;
        }
        self.delivering = true;
        let (events, first) = (std::mem::take(&mut self.queued), self.delivered);
        self.delivered += events.len() as u64;
        Some(Delivery { subscriptions: self.subscriptions.values().cloned().collect(), events, first })
    }

    /// A delivery is done.
    pub(super) fn delivered(&mut self) {
        self.delivering = false;
    }
}

impl Delivery {
    /// Delivers. To be called without the room's lock.
    pub(super) fn run(self) {
        for Subscription { subscriber, from } in self.subscriptions {
            let known = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX);
            let Some(events @ [_, ..]) = self.events.get(known..) else { continue };
            // A subscriber that panics must not keep the events from the others.
            if catch_unwind(AssertUnwindSafe(|| subscriber.receive(events))).is_err() {
                tracing::error!(?subscriber, "a subscriber failed to receive events");
            }
        }
    }
}
