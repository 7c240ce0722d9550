//! Server-Sent Events: the frames that an observer is sent, framed as events of an HTTP response.
//!
//! A task for each stream takes one event at a time from a short queue, encodes it and passes it on to
//! hyper. Where the queue is full the subscriber has fallen behind, and is sent a `state` instead.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use axum::response::sse;
use futures_util::{Stream, stream};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::end::End;
use crate::admission::limits::Permit;
use crate::app::App;
use crate::clock::Moment;
use crate::domain::participant::Standing;
use crate::ids::ParticipantId;
use crate::metrics::Metrics;
use crate::protocol::codec::EncodedFrame;
use crate::protocol::v1::{self, Frames, Session, Welcome};
use crate::protocol::{Code, Codec, Refusal};
use crate::room::feed::{Feed, Message};
use crate::room::{Event, Room, Subscriber, Watch, Watching};
use crate::user_session::Attachment;

/// Events that may wait for a slow reader. Presence is state and not a log, so a short queue loses
/// nothing.
const QUEUE: usize = 16;

/// Every this many keep-alive comments the store is asked whether the subscriber still belongs to the
/// session: a removal by another server publishes no event here.
const COMMENTS_A_CHECK: u32 = 4;

/// Cuts the TCP connection of a request; put there by the accept loop.
#[derive(Clone, Debug, Default)]
pub struct Cut(pub CancellationToken);

/// A subscriber by Server-Sent Events, and what it holds.
#[derive(Debug)]
#[expect(missing_docs, reason = "the types say it")]
pub struct SseSubscriber {
    pub permit: Permit,
    pub cut: Cut,
    /// The reader's row in the session; `None` for the service.
    pub participant: Option<ParticipantId>,
    /// When its credential expires.
    pub expires_at: Option<Moment>,
    /// The user session that it is counted in.
    pub attachment: Option<Attachment>,
}

/// A place in a room whose events are queued.
#[derive(Debug)]
pub struct QueuedWatch {
    watching: Watching,
    queue: Arc<EventQueue>,
}

/// The events of a room that a stream has not taken yet.
#[derive(Debug)]
struct EventQueue {
    metrics: Arc<Metrics>,
    /// Locked before the room.
    state: Mutex<QueueState>,
    /// `state` was changed.
    changed: Notify,
}

#[derive(Debug, Default)]
struct QueueState {
    feed: Feed,
    events: VecDeque<Event>,
}

impl QueuedWatch {
    /// Subscribes by `watch`, for a reader with this row in the session.
    ///
    /// # Errors
    /// Those of `watch`.
    pub fn subscribe<E>(
        metrics: Arc<Metrics>,
        participant: Option<ParticipantId>,
        watch: impl FnOnce(Arc<dyn Subscriber>) -> Result<Watching, E>,
    ) -> Result<Self, E> {
        let state = QueueState { feed: Feed::new(participant), events: VecDeque::new() };
        let queue = Arc::new(EventQueue { metrics, state: Mutex::new(state), changed: Notify::new() });
        let watching = watch(Arc::clone(&queue) as Arc<dyn Subscriber>)?;
        Ok(Self { watching, queue })
    }
}

impl Subscriber for EventQueue {
    fn receive(&self, events: &[Event]) {
        let mut state = self.state.lock();
        for event in events {
            if state.feed.receive(event).is_none() {
                continue;
            }
            if state.events.len() < QUEUE {
                state.events.push_back(event.clone());
            } else if state.feed.fall_behind() {
                self.metrics.lagged.inc();
            }
        }
        self.changed.notify_one();
    }
}

impl EventQueue {
    /// Waits for what is to be sent next. What is queued comes before a snapshot or the end.
    async fn next(&self, watch: &Watch, frames: &Frames) -> Result<Vec<sse::Event>, End> {
        loop {
            if let Some(events) = self.try_next(watch, frames)? {
                return Ok(events);
            }
            self.changed.notified().await;
        }
    }

    fn try_next(&self, watch: &Watch, frames: &Frames) -> Result<Option<Vec<sse::Event>>, End> {
        let mut state = self.state.lock();
        if let Some(event) = state.events.pop_front() {
            drop(state);
            return Ok(Some(Message::of(&event).map(|message| framed(frames, message)).into_iter().collect()));
        }
        if let Some(gone) = state.feed.end() {
            return Err(gone.into());
        }
        if !state.feed.needs_snapshot() {
            return Ok(None);
        }
        let now = watch.catch_up()?;
        Ok(Some(state.feed.catch_up(&now).map(|message| framed(frames, message)).collect()))
    }
}

/// Begins a stream: with `welcome` where a session is given, else with `state`. Where the user session
/// that it names cannot be had, an `error` event is sent and the stream goes on without it.
pub fn stream(
    app: App,
    mut subscriber: SseSubscriber,
    attachment: Option<Result<Attachment, Refusal>>,
    QueuedWatch { watching, queue }: QueuedWatch,
    session: Option<&Session>,
) -> impl Stream<Item = Result<sse::Event, Infallible>> + use<> {
    let Watching { watch, snapshot, notices } = watching;
    let frames = &app.frames;
    let mut first = vec![match session {
        Some(session) => {
            let welcome = Welcome { you: None, connection_id: None, resume: None, session };
            event("welcome", Some(snapshot.seq), &frames.welcome(&welcome, &snapshot, None))
        }
        None => framed(frames, Message::State { snapshot: &snapshot, own: None }),
    }];
    first.extend(notices.iter().map(|notice| framed(frames, Message::Notice(notice))));
    match attachment {
        Some(Ok(attachment)) => subscriber.attachment = Some(attachment),
        Some(Err(refusal)) => {
            app.metrics.refusals(refusal.code.as_str()).inc();
            first.push(error(&refusal));
        }
        None => {}
    }
    let (to_reader, events) = mpsc::channel(1);
    let token = app.tracker.token();
    let next_comment = app.clock.now() + app.connection.ping_interval;
    let writer = Writer { app, subscriber, watch, queue, to_reader, next_comment, comments: 0 };
    tokio::spawn(writer.run(first));
    // The token goes with what hyper reads from: shutdown waits until the last event was sent.
    stream::unfold((events, token), async |(mut events, token)| {
        events.recv().await.map(|event| (Ok(event), (events, token)))
    })
}

/// Passes events on to hyper.
struct Writer {
    app: App,
    subscriber: SseSubscriber,
    watch: Watch,
    queue: Arc<EventQueue>,
    to_reader: mpsc::Sender<sse::Event>,
    next_comment: Moment,
    comments: u32,
}

impl Writer {
    async fn run(mut self, first: Vec<sse::Event>) {
        let end = match self.send(first).await {
            Ok(()) => self.follow().await,
            Err(end) => end,
        };
        tracing::info!(session = %self.room().id(), reason = end.word(), "event stream ended");
        if let Some(attachment) = self.subscriber.attachment.take_if(|_| !end.comes_back()) {
            attachment.leave();
        }
        match end {
            // What is queued in the socket would wait for ever.
            End::Refused(refusal) if refusal.code == Code::SlowConsumer => self.subscriber.cut.0.cancel(),
            End::Refused(refusal) => {
                let last = match refusal.retry_after {
                    Some(after) => error(&refusal).retry(after),
                    None => error(&refusal),
                };
                let _ = timeout(self.app.connection.write_timeout, self.to_reader.send(last)).await;
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
                () = self.to_reader.closed() => Err(End::Lost),
                () = sleep_until(self.app.clock.instant(deadline)) => self.check().await,
            };
            if let Err(end) = turn {
                return end;
            }
        }
    }

    async fn deliver(&self, events: Vec<sse::Event>) -> Result<(), End> {
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
        self.send(vec![sse::Event::default().comment("")]).await?;
        // A reader sends nothing. That it takes a comment shows that it is there.
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

    async fn send(&self, events: Vec<sse::Event>) -> Result<(), End> {
        for event in events {
            match timeout(self.app.connection.write_timeout, self.to_reader.send(event)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(End::Lost),
                Err(_) => return Err(Code::SlowConsumer.into()),
            }
        }
        Ok(())
    }
}

/// Why a reader may not follow a session, where that is so.
pub fn standing_refusal(standing: Standing) -> Option<Refusal> {
    match standing {
        Standing::Good => None,
        Standing::Removed => Some(Code::Removed.into()),
        Standing::Closed(reason) => Some(Refusal::closed(reason)),
        Standing::Gone => Some(Code::SessionNotFound.into()),
    }
}

/// A message as its frame, named after the frame's type.
fn framed(frames: &Frames, message: Message<'_>) -> sse::Event {
    event(v1::frame_type(&message), message.seq(), &frames.encode(message))
}

fn event(frame_type: &str, seq: Option<u64>, frame: &EncodedFrame) -> sse::Event {
    let event = sse::Event::default().event(frame_type).data(frame.text());
    match seq {
        Some(seq) => event.id(seq.to_string()),
        None => event,
    }
}

fn error(refusal: &Refusal) -> sse::Event {
    sse::Event::default().event("error").data(v1::error(refusal, None))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::Utc;
    use clap::Parser;

    use super::*;
    use crate::clock::Clock;
    use crate::config::Settings;
    use crate::domain::reading_session::ReadingSession;
    use crate::ids::SessionId;
    use crate::room::{Registry, RoomMetrics, Rules, Schedule, Shared, Timings};

    #[derive(Parser)]
    struct Serve {
        #[command(flatten)]
        settings: Settings,
    }

    fn session(title: &str) -> ReadingSession {
        let now = Utc::now();
        ReadingSession {
            id: SessionId::new(),
            title: Some(title.to_owned()),
            host_user_id: None,
            max_participants: 20,
            created_at: now,
            last_seen_at: now,
            last_activity_at: now,
            closed: None,
        }
    }

    /// The types of the events that are to be sent now, until nothing is left.
    fn taken(watch: &QueuedWatch, frames: &Frames) -> (Vec<String>, Option<End>) {
        let mut types = Vec::new();
        loop {
            match watch.queue.try_next(&watch.watching.watch, frames) {
                Ok(Some(events)) => types.extend(events.iter().map(|event| {
                    let text = format!("{event:?}");
                    ["session", "state"]
                        .into_iter()
                        .find(|it| text.contains(&format!("event: {it}")))
                        .expect(&text)
                        .to_owned()
                })),
                Ok(None) => return (types, None),
                Err(end) => return (types, Some(end)),
            }
        }
    }

    #[tokio::test]
    async fn what_the_queue_has_no_place_for_is_in_the_state_and_an_end_is_not_lost() {
        let settings = Serve::parse_from(["serve"]).settings;
        let (clock, metrics) = (Clock::new(), Arc::new(Metrics::default()));
        let frames = Frames::new(clock, &settings);
        let second = Duration::from_secs(1);
        let shared = Shared {
            rules: Rules {
                timings: Timings { grace: second, idle_after: second },
                diff_interval: second,
                diff_interval_large: second,
                detail_limit: 500,
                idle: settings.sessions.idle(),
                expiring_notice: second,
            },
            clock,
            write_behind: Arc::default(),
            schedule: Schedule::default(),
            features: Vec::new(),
            metrics: Arc::clone(&metrics) as Arc<dyn RoomMetrics>,
        };
        let room = Registry::new(Arc::new(shared)).open(session("0"));
        let reader = ParticipantId::new();
        let watch = QueuedWatch::subscribe(Arc::clone(&metrics), Some(reader), |listener| room.watch(listener));
        let watch = watch.expect("an open room");
        for title in 0..QUEUE {
            room.revise(session(&title.to_string()));
        }
        assert_eq!(taken(&watch, &frames).0, ["session"; QUEUE]);
        assert_eq!(metrics.lagged.get(), 0);

        for title in 0..QUEUE + 5 {
            room.revise(session(&title.to_string()));
        }
        let (types, end) = taken(&watch, &frames);
        assert_eq!(types[..QUEUE], ["session"; QUEUE]);
        assert_eq!(
            (&types[QUEUE..], end.is_none(), metrics.lagged.get()),
            (&["state".into(), "session".into()][..], true, 1)
        );

        for title in 0..QUEUE + 5 {
            room.revise(session(&title.to_string()));
        }
        room.remove(reader);
        let (types, end) = taken(&watch, &frames);
        assert_eq!((types.len(), end.map(|end| end.word())), (QUEUE, Some("removed")));
    }
}
