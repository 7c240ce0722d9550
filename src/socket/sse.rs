//! Server-Sent Events: the frames that an observer is sent, framed as events of an HTTP response.
//!
//! A task for each stream takes one event at a time from a short queue, encodes it and passes it on to
//! hyper. Where the queue is full the subscriber has fallen behind, and is sent a `state` instead.

mod event;
mod queue;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::event::Event;
use self::queue::EventQueue;
pub use self::queue::QueuedWatch;
use super::end::End;
use crate::admission::limits::Permit;
use crate::app::App;
use crate::clock::Moment;
use crate::domain::ids::ParticipantId;
use crate::domain::participant::Standing;
use crate::protocol::v1::{Session, Welcome};
use crate::protocol::{Code, Refusal};
use crate::room::feed::Message;
use crate::room::{Room, Watch, Watching};
use crate::user_session::Attachment;

/// Every this many keep-alive comments the store is asked whether the subscriber still belongs to the
/// session: a removal by another server publishes no event here.
const COMMENTS_A_CHECK: u32 = 4;

/// How long a client is asked to wait before it connects again: as of a WebSocket, and never so short that a client
/// which keeps the time for good (an `EventSource` does) asks without a pause.
const SOONEST_RETRY: Duration = Duration::from_secs(1);
const LATEST_RETRY: Duration = Duration::from_secs(6);

/// Cuts the TCP connection of a request; put there by the accept loop.
#[derive(Clone, Debug, Default)]
pub struct Cut(pub CancellationToken);

/// A subscriber by Server-Sent Events, and what it holds.
#[derive(Debug)]
#[expect(missing_docs, reason = "the types say it")]
pub struct SseSubscriber {
    pub permit: Permit,
    pub cut: Cut,
    /// Its participant in the session; `None` for the service.
    pub participant: Option<ParticipantId>,
    /// When its credential expires.
    pub expires_at: Option<Moment>,
    /// The user session that it is counted in.
    pub attachment: Option<Attachment>,
}

/// Begins a stream, as the answer to a request: with `welcome` where a session is given, else with `state`. Where the user session
/// that it names cannot be had, an `error` event is sent and the stream goes on without it.
pub fn response(
    app: App,
    mut subscriber: SseSubscriber,
    attachment: Option<Result<Attachment, Refusal>>,
    QueuedWatch { watching, queue }: QueuedWatch,
    session: Option<&Session>,
) -> Response {
    let Watching { watch, snapshot, notices, expires_at } = watching;
    let frames = &app.frames;
    let beginning = match session {
        Some(session) => {
            let welcome = Welcome { you: None, connection_id: None, resume: None, token_expires_at: None, session };
            Event::of("welcome", Some(snapshot.seq), &frames.welcome(&welcome, &snapshot, None))
        }
        None => Event::framed(frames, Message::State { snapshot: &snapshot, own: None }),
    };
    // For clients that lose the stream without a word, all at the same moment.
    let mut first = vec![beginning.retrying(retry((LATEST_RETRY - SOONEST_RETRY).mul_f64(rand::random())))];
    first.extend(expires_at.map(|at| Event::framed(frames, Message::Expiring(at))));
    first.extend(notices.iter().map(|notice| Event::framed(frames, Message::Notice(notice))));
    match attachment {
        Some(Ok(attachment)) => subscriber.attachment = Some(attachment),
        Some(Err(refusal)) => {
            app.metrics.refusals(refusal.code.as_str()).inc();
            first.push(Event::refusal(&refusal));
        }
        None => {}
    }
    let (to_client, events) = mpsc::channel(1);
    let token = app.tracker.token();
    let next_comment = app.clock.now() + app.connection.ping_interval;
    let writer = Writer { app, subscriber, watch, queue, to_client, next_comment, comments: 0 };
    tokio::spawn(writer.run(first));
    // The token goes with what hyper reads from: shutdown waits until the last event was sent.
    let events = stream::unfold((events, token), async |(mut events, token)| {
        events.recv().await.map(|event: Event| (event, (events, token)))
    });
    let parts = events.flat_map(|event| stream::iter(event.into_parts().into_iter().map(Ok::<Bytes, Infallible>)));
    (headers(), Body::from_stream(parts)).into_response()
}

/// The last three keep proxies from holding events back. `no-transform` forbids to compress them, which Caddy 2.6 does
/// all the same, and then keeps them until its block is full, unless they have an encoding. nginx buffers.
fn headers() -> [(HeaderName, &'static str); 4] {
    [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache, no-transform"),
        (header::CONTENT_ENCODING, "identity"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ]
}

/// How long to wait before the next connection, for one that may be made after this time.
fn retry(after: Duration) -> Duration {
    (SOONEST_RETRY + after).min(LATEST_RETRY)
}

/// The last event of a stream that the server ends.
fn last(refusal: Refusal) -> Event {
    match refusal.retry_after.map(retry) {
        Some(after) => Event::refusal(&refusal.retry_after(after)).retrying(after),
        None => Event::refusal(&refusal),
    }
}

/// Passes events on to hyper.
struct Writer {
    app: App,
    subscriber: SseSubscriber,
    watch: Watch,
    queue: Arc<EventQueue>,
    to_client: mpsc::Sender<Event>,
    next_comment: Moment,
    comments: u32,
}

impl Writer {
    async fn run(mut self, first: Vec<Event>) {
        let end = match self.send(first).await {
            Ok(()) => self.follow().await,
            Err(end) => end,
        };
        tracing::info!(session = %self.room().id(), reason = end.word(), "event stream ended");
        if let Some(attachment) = self.subscriber.attachment.take_if(|_| !end.comes_back()) {
            attachment.leave();
        }
        match end {
            // What is buffered in the socket would wait for ever.
            End::Refused(refusal) if refusal.code == Code::SlowConsumer => self.subscriber.cut.0.cancel(),
            End::Refused(refusal) => {
                let _ = timeout(self.app.connection.write_timeout, self.to_client.send(last(refusal))).await;
            }
            _ => {}
        }
    }

    fn room(&self) -> &Room {
        self.watch.room()
    }

    async fn follow(&mut self) -> End {
        loop {
            let deadline = self.subscriber.expires_at.map_or(self.next_comment, |at| at.min(self.next_comment));
            let turn = tokio::select! {
                events = self.queue.next(&self.watch, &self.app.frames) => match events {
                    Ok(events) => self.deliver(events).await,
                    Err(end) => Err(end),
                },
                () = self.to_client.closed() => Err(End::Lost),
                () = sleep_until(self.app.clock.instant(deadline)) => self.check().await,
            };
            if let Err(end) = turn {
                return end;
            }
        }
    }

    async fn deliver(&self, events: Vec<Event>) -> Result<(), End> {
        self.app.metrics.deliveries.inc_by(events.len() as u64);
        self.send(events).await
    }

    /// A deadline has passed: that of the credential, or of the next keep-alive comment.
    async fn check(&mut self) -> Result<(), End> {
        let now = self.app.clock.now();
        if self.subscriber.expires_at.is_some_and(|at| at <= now) {
            return Err(Code::TokenExpired.into());
        }
        self.next_comment = now + self.app.connection.ping_interval;
        self.comments += 1;
        if self.comments.is_multiple_of(COMMENTS_A_CHECK) {
            self.check_standing().await?;
        }
        self.send(vec![Event::comment()]).await?;
        // The client sends nothing. That it takes a comment shows that it is there.
        if let Some(attachment) = &self.subscriber.attachment {
            attachment.seen(now);
        }
        Ok(())
    }

    /// Ends the stream where another server or SQL removed the participant or closed the session.
    async fn check_standing(&self) -> Result<(), End> {
        match self.app.store.standing(self.room().id(), self.subscriber.participant).await {
            Ok(standing) => standing_refusal(standing).map_or(Ok(()), |refusal| Err(End::Refused(refusal))),
            // A stream does not end because the database is away.
            Err(_) => Ok(()),
        }
    }

    async fn send(&self, events: Vec<Event>) -> Result<(), End> {
        for event in events {
            match timeout(self.app.connection.write_timeout, self.to_client.send(event)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(End::Lost),
                Err(_) => return Err(Code::SlowConsumer.into()),
            }
        }
        Ok(())
    }
}

/// Why a participant may not follow a session, where that is so.
pub fn standing_refusal(standing: Standing) -> Option<Refusal> {
    match standing {
        Standing::Good => None,
        Standing::Removed => Some(Code::Removed.into()),
        Standing::Closed(reason) => Some(Refusal::closed(reason)),
        Standing::Gone => Some(Code::SessionNotFound.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_asked_to_come_back_at_once_or_much_later() {
        for (after, wait) in [(0, 1000), (7, 1007), (5000, 6000), (30_000, 6000)] {
            let refusal = Refusal::from(Code::Draining).retry_after(Duration::from_millis(after));
            let text = String::from_utf8(last(refusal).into_parts().concat()).expect("text");
            assert!(text.starts_with(&format!("retry: {wait}\n")), "{text}");
            assert!(text.contains(&format!("\"retry_after_ms\":{wait}")), "{text}");
        }
    }
}
