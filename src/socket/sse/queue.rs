//! The events of a room that an event stream has not taken yet.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::event::Event as Sent;
use crate::domain::ids::ParticipantId;
use crate::metrics::Metrics;
use crate::protocol::v1::Frames;
use crate::room::feed::{Feed, Message};
use crate::room::{Event, Subscriber, Watch, Watching};
use crate::socket::end::End;

/// Events that may wait for a slow client. Presence is state and not a log, so a short queue loses
/// nothing.
const QUEUE: usize = 16;

/// A place in a room whose events are queued.
#[derive(Debug)]
pub struct QueuedWatch {
    pub(super) watching: Watching,
    pub(super) queue: Arc<EventQueue>,
}

/// The events of a room that a stream has not taken yet.
#[derive(Debug)]
pub(super) struct EventQueue {
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
    /// Subscribes by `watch`, for a participant of the session or the service (`None`).
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
    /// Waits for what is to be sent next. Queued events are before a snapshot or the end.
    pub(super) async fn next(&self, watch: &Watch, frames: &Frames) -> Result<Vec<Sent>, End> {
        loop {
            if let Some(events) = self.try_next(watch, frames)? {
                return Ok(events);
            }
            self.changed.notified().await;
        }
    }

    fn try_next(&self, watch: &Watch, frames: &Frames) -> Result<Option<Vec<Sent>>, End> {
        let mut state = self.state.lock();
        if let Some(event) = state.events.pop_front() {
            drop(state);
            return Ok(Some(Message::of(&event).map(|message| Sent::framed(frames, message)).into_iter().collect()));
        }
        if let Some(gone) = state.feed.end() {
            return Err(gone.into());
        }
        if !state.feed.needs_snapshot() {
            return Ok(None);
        }
        let now = watch.catch_up()?;
        Ok(Some(state.feed.catch_up(&now).map(|message| Sent::framed(frames, message)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::Utc;
    use clap::Parser;

    use super::*;
    use crate::clock::Clock;
    use crate::config::Settings;
    use crate::domain::ids::SessionId;
    use crate::domain::reading_session::ReadingSession;
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
        let participant = ParticipantId::new();
        let watch =
            QueuedWatch::subscribe(Arc::clone(&metrics), Some(participant), |subscriber| room.watch(subscriber));
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
        room.remove(participant);
        let (types, end) = taken(&watch, &frames);
        assert_eq!((types.len(), end.map(|end| end.word())), (QUEUE, Some("removed")));
    }
}
