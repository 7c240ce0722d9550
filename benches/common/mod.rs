//! What the benchmarks without sockets share: default settings, and people and rooms made by them.

use std::hint::black_box;
use std::sync::Arc;

use chrono::Utc;
use clap::Parser;
use lastseen::app::rules;
use lastseen::clock::Clock;
use lastseen::config::Settings;
use lastseen::domain::ids::{ParticipantId, SessionId};
use lastseen::domain::reading_session::ReadingSession;
use lastseen::domain::role::Role;
use lastseen::metrics::Metrics;
use lastseen::protocol::v1::Frames;
use lastseen::room::{Entrant, Event, Schedule, Shared, Subscriber, WriteBehind};
use serde_json::value::RawValue;

/// The defaults of `lastseen serve`.
pub fn settings() -> Settings {
    #[derive(Parser)]
    struct Serve {
        #[command(flatten)]
        settings: Settings,
    }
    Serve::parse_from(["serve"]).settings
}

/// What rooms by these settings share.
pub fn shared(settings: &Settings) -> Shared {
    Shared {
        rules: rules::of_rooms(settings),
        clock: Clock::new(),
        write_behind: Arc::new(WriteBehind::default()),
        schedule: Schedule::default(),
        features: Vec::new(),
        metrics: Arc::new(Metrics::default()),
    }
}

/// A session that was just opened.
pub fn session(id: SessionId) -> ReadingSession {
    let now = Utc::now();
    ReadingSession {
        id,
        title: None,
        host_user_id: None,
        max_participants: 100_000,
        created_at: now,
        last_seen_at: now,
        last_activity_at: now,
        closed: None,
    }
}

/// A guest who is admitted.
pub fn entrant(id: ParticipantId) -> Entrant {
    Entrant {
        id,
        user_id: None,
        name: "Reader".into(),
        role: Role::Guest,
        state: RawValue::from_string("{}".to_owned()).expect("it is JSON").into(),
        joined_at: Utc::now(),
        generation: 0,
    }
}

/// Does with the events of a room what a connection does before it writes them.
#[derive(Debug)]
pub struct Reader(pub Frames);

impl Subscriber for Reader {
    fn receive(&self, events: &[Event]) {
        for event in events {
            if let Event::Diff(diff) = event {
                black_box(self.0.diff(diff));
            }
        }
    }
}
