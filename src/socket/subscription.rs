//! A connection's subscription to a room: its seat, what it was sent, and in which codec.
//!
//! A room delivers on the thread that changed it, straight into the socket and without waking the
//! connection's task: in a large room that is most of the work of a server. The task is woken where there
//! is more to do than writing.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::end::End;
use super::frame::FrameBatch;
use super::transport::{Transport, Written};
use crate::app::App;
use crate::metrics::Metrics;
use crate::protocol::Codec;
use crate::room::feed::Feed;
use crate::room::{Event, Gone, Joined, Seat, Subscriber};

/// How much may be buffered for a client, beside the last snapshot, before it is sent a fresh `state`
/// instead of what it missed.
const BEHIND_BYTES: usize = 32 * 1024;

/// One subscription of a connection. A connection of `lastseen.v1` has exactly one.
#[derive(Debug)]
pub struct Subscription {
    seat: Seat,
    subscriber: Arc<SocketSubscriber>,
}

impl Subscription {
    /// Joins by `enter` and sends the `greeting`. The events that follow the snapshot are sent after it.
    ///
    /// # Errors
    /// Those of `enter`.
    pub fn join<E>(
        transport: Arc<Transport>,
        app: &App,
        enter: impl FnOnce(Arc<dyn Subscriber>) -> Result<Joined, E>,
        greeting: impl FnOnce(&Joined, &mut FrameBatch),
    ) -> Result<Self, E> {
        let codec = Arc::clone(&app.frames) as Arc<dyn Codec>;
        let metrics = Arc::clone(&app.metrics);
        let subscriber = Arc::new(SocketSubscriber { transport, codec, metrics, progress: Mutex::default() });
        // Until the greeting is written, deliveries wait for this lock.
        let mut progress = subscriber.progress.lock();
        let joined = enter(Arc::clone(&subscriber) as Arc<dyn Subscriber>)?;
        progress.feed = Feed::new(joined.seat.participant());
        let mut out = FrameBatch::default();
        greeting(&joined, &mut out);
        subscriber.send_snapshot(&mut progress, out);
        drop(progress);
        Ok(Self { seat: joined.seat, subscriber })
    }

    /// The seat in the room.
    pub fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Asks for a fresh `state`. It is large, and sent when nothing is buffered any more.
    pub fn request_state(&self) {
        self.subscriber.progress.lock().feed.ask();
        self.subscriber.transport.wake();
    }

    /// Sends what was missed, where something was. For when nothing is buffered.
    ///
    /// # Errors
    /// Why the room has ended for this subscription.
    pub fn catch_up(&self) -> Result<(), Gone> {
        let subscriber = &self.subscriber;
        let mut progress = subscriber.progress.lock();
        if !progress.feed.needs_snapshot() {
            return Ok(());
        }
        let is_answer = progress.feed.is_asked();
        let now = self.seat.catch_up()?;
        let (mut out, mut messages) = (FrameBatch::default(), 0);
        for message in progress.feed.catch_up(&now) {
            messages += 1;
            subscriber.codec.encode(message, &mut |frame| out.encoded(&frame));
        }
        if !is_answer {
            subscriber.metrics.deliveries.inc_by(messages);
        }
        subscriber.send_snapshot(&mut progress, out);
        Ok(())
    }

    /// Whether the room goes on for this subscription.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), Gone> {
        self.subscriber.progress.lock().feed.end().map_or(Ok(()), Err)
    }

    /// Gives the seat back, as the connection has ended. Nothing is sent any more.
    pub fn end(self, end: &End) {
        self.subscriber.progress.lock().feed.close();
        if end.is_goodbye() {
            self.seat.leave();
        } else if end.is_failure() {
            self.seat.fail();
        }
    }
}

/// Writes the events of a room to the transport of a connection.
struct SocketSubscriber {
    transport: Arc<Transport>,
    codec: Arc<dyn Codec>,
    metrics: Arc<Metrics>,
    /// Locked before the room and the transport.
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    feed: Feed,
    /// The client has fallen behind when more than this is buffered, in bytes.
    limit: usize,
}

impl fmt::Debug for SocketSubscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketSubscriber").field("transport", &self.transport).finish_non_exhaustive()
    }
}

impl SocketSubscriber {
    /// Sends a snapshot. It may be larger than the limit.
    fn send_snapshot(&self, progress: &mut Progress, out: FrameBatch) {
        progress.limit = BEHIND_BYTES;
        if let Written::Waiting(bytes) = self.transport.write(out) {
            progress.limit += bytes;
        }
    }
}

impl Subscriber for SocketSubscriber {
    fn receive(&self, events: &[Event]) {
        let mut progress = self.progress.lock();
        let (mut out, mut messages) = (FrameBatch::default(), 0);
        for event in events {
            if let Some(message) = progress.feed.receive(event) {
                messages += 1;
                self.codec.encode(message, &mut |frame| out.encoded(&frame));
            }
        }
        if !out.is_empty() {
            self.metrics.deliveries.inc_by(messages);
            if let Written::Waiting(bytes) = self.transport.write(out)
                && bytes > progress.limit
                && progress.feed.fall_behind()
            {
                self.metrics.lagged.inc();
            }
        }
        if progress.feed.needs_snapshot() || progress.feed.end().is_some() {
            self.transport.wake();
        }
    }
}
