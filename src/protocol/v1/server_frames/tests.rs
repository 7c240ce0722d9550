use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Parser;
use serde_json::Value;
use serde_json::value::RawValue;

use super::*;
use crate::domain::ids::SessionId;
use crate::domain::participant::Status;
use crate::domain::reading_session::CloseReason;
use crate::domain::role::Role;
use crate::domain::subject::Subject;
use crate::protocol::Code;
use crate::protocol::v1::{MAX_STATE_BYTES, MORE};
use crate::room::{Changes, Encodings, List, Liveness, State};

/// The least that may be set: the bounds have to hold there.
const LEAST: usize = 8192;

fn frames(max_frame_bytes: usize) -> Frames {
    #[derive(Parser)]
    struct Serve {
        #[command(flatten)]
        settings: Settings,
    }
    let limit = max_frame_bytes.to_string();
    Frames::new(Clock::new(), &Serve::parse_from(["serve", "--max-frame-bytes", &limit]).settings)
}

/// A person with a state of so many bytes.
fn person(frames: &Frames, name: &str, subject: Option<&str>, state_bytes: usize) -> Arc<room::Participant> {
    let (id, now) = (ParticipantId::new(), frames.clock.now());
    let state = format!(r#"{{"a":"{}"}}"#, "x".repeat(state_bytes.saturating_sub(8)));
    Arc::new(room::Participant {
        id,
        user_id: subject.map(|subject| subject.parse::<Subject>().expect("a subject")),
        name: name.into(),
        role: Role::Participant,
        status: Status::Reconnecting,
        quality: None,
        connections: 1,
        joined_at: DateTime::UNIX_EPOCH,
        state: State::from(RawValue::from_string(state).expect("JSON")),
        liveness: Liveness::new(id, SessionId::new(), now, now),
    })
}

/// The longest that a person can be: every character of the name and of the subject is escaped.
fn longest(frames: &Frames) -> Arc<room::Participant> {
    person(frames, &"\u{1}".repeat(80), Some(&"\u{1}".repeat(255)), MAX_STATE_BYTES)
}

fn short(frames: &Frames) -> Arc<room::Participant> {
    person(frames, "Ada", None, 2)
}

fn snapshot(listed: Vec<Arc<room::Participant>>, newer: Vec<Arc<room::Participant>>) -> Snapshot {
    let occupancy = listed.len() + newer.len();
    let list = Arc::new(List { people: listed, encodings: Encodings::default() });
    Snapshot { seq: 41, occupancy, people: Some(People { list, newer }) }
}

fn session() -> Session {
    let now = Utc::now();
    let session = ReadingSession {
        id: SessionId::new(),
        title: Some("\u{1}".repeat(200)),
        host_user_id: Some("\u{1}".repeat(255).parse().expect("a subject")),
        max_participants: 100_000,
        created_at: now,
        last_seen_at: now,
        last_activity_at: now,
        closed: None,
    };
    Session::of(&session, IdleRule { timeout: Duration::from_secs(1), counts: crate::domain::idle::IdleCounts::Seen })
}

fn read(frame: &EncodedFrame) -> (usize, Value) {
    let text = format!("{}{}{}", frame.start, frame.shared, frame.end);
    (text.len(), serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

/// Checks the numbers and the lengths of the frames of one message, and gives the ids in this list of them.
fn ids(frames: &[EncodedFrame], kind: &str, list: &str, max_frame_bytes: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for (place, frame) in frames.iter().enumerate() {
        let (bytes, frame) = read(frame);
        assert!(bytes <= max_frame_bytes, "{bytes} bytes");
        assert_eq!(frame["type"], if place == 0 { kind } else { MORE });
        assert_eq!(frame["seq"], 41);
        let number = (frames.len() > 1).then_some((place + 1, frames.len()));
        assert_eq!(frame["chunk"].as_u64().zip(frame["chunks"].as_u64()), number.map(|(a, b)| (a as u64, b as u64)));
        let people = frame[list].as_array().expect("a list");
        ids.extend(people.iter().map(|person| person["id"].as_str().expect("an id").to_owned()));
    }
    ids
}

fn of(people: &[Arc<room::Participant>]) -> Vec<String> {
    people.iter().map(|person| person.id.to_string()).collect()
}

#[test]
fn no_frame_of_a_snapshot_is_too_long_and_all_people_are_in_it() {
    for limit in [LEAST, 30_000] {
        let frames = frames(limit);
        for (listed, newer) in [(0, 0), (1, 0), (0, 32), (10, 3), (300, 32)] {
            for make in [longest, short] {
                let some = |count| (0..count).map(|_| make(&frames)).collect::<Vec<_>>();
                let (mut listed, newer) = (some(listed), some(newer));
                listed.sort_by_key(|person| person.id);
                let everybody = [of(&listed), of(&newer)].concat();
                let snapshot = snapshot(listed, newer);
                let session = session();
                let welcome = Welcome {
                    you: Some(ParticipantId::new()),
                    connection_id: Some(ConnectionId::new()),
                    resume: Some(&"r".repeat(150)),
                    token_expires_at: Some(frames.clock.now()),
                    session: &session,
                };
                let welcome = frames.welcome(&welcome, &snapshot, None);
                assert_eq!(ids(&welcome, "welcome", "participants", limit), everybody);
                let state = frames.state(&snapshot, None);
                assert_eq!(ids(&state, "state", "participants", limit), everybody);
                assert_eq!(read(&state[0]).1["occupancy"], everybody.len());
            }
        }
    }
}

#[test]
fn a_welcome_has_the_first_people_and_a_small_room_is_one_frame() {
    let frames = frames(30_000);
    let session = session();
    let welcome = Welcome { you: None, connection_id: None, resume: None, token_expires_at: None, session: &session };
    let of_room = |people, bytes| {
        let people = (0..people).map(|_| person(&frames, "Ada", None, bytes)).collect();
        frames.welcome(&welcome, &snapshot(people, Vec::new()), None)
    };
    assert_eq!(of_room(40, 2).len(), 1);
    let large = of_room(300, 2048);
    let (bytes, first) = read(&large[0]);
    assert!(first["participants"].as_array().is_some_and(|people| people.len() >= 5), "{bytes} bytes");
    assert!(large.len() < 30, "{} frames", large.len());
}

#[test]
fn the_pieces_of_a_list_are_encoded_once_for_all_who_come() {
    let frames = frames(30_000);
    let some = |count| (0..count).map(|_| person(&frames, "Ada", None, 2048)).collect::<Vec<_>>();
    let mut snapshot = snapshot(some(100), Vec::new());
    let first = frames.state(&snapshot, None);
    snapshot.people.as_mut().expect("people").newer = some(20);
    let second = frames.state(&snapshot, None);
    assert!(second.len() > first.len() && first.len() > 5);
    for (first, second) in first.iter().zip(&second) {
        assert!(first.shared.len() > 2048 && Arc::ptr_eq(&first.shared, &second.shared));
    }
}

#[test]
fn no_frame_of_a_diff_is_too_long_and_all_changes_are_in_it() {
    for limit in [LEAST, 30_000] {
        let frames = frames(limit);
        let some = |count| (0..count).map(|_| longest(&frames)).collect::<Vec<_>>();
        for (joins, updates, leaves) in [(0, 0, 0), (1, 0, 0), (1, 1, 1), (20, 0, 0), (30, 40, 500), (0, 0, 2000)] {
            let (joins, updates) = (some(joins), some(updates));
            let leaves: Vec<_> = (0..leaves).map(|_| (ParticipantId::new(), LeaveReason::Timeout)).collect();
            let expected = [of(&joins), of(&updates), leaves.iter().map(|(id, _)| id.to_string()).collect()];
            let diff = room::Diff {
                seq: 41,
                occupancy: 7,
                changes: Some(Changes { joins, updates, leaves }),
                encodings: Encodings::default(),
            };
            let texts = frames.diff(&diff);
            let encoded: Vec<_> = texts.iter().map(|text| EncodedFrame::from(Text::clone(text))).collect();
            for (list, expected) in ["joins", "updates", "leaves"].into_iter().zip(&expected) {
                assert_eq!(&ids(&encoded, "diff", list, limit), expected);
            }
            assert_eq!(read(&encoded[0]).1["occupancy"], 7);
            assert!(Arc::ptr_eq(&texts, &frames.diff(&diff)), "encoded once");
        }
    }
}

#[test]
fn a_count_is_one_frame() {
    let frames = frames(LEAST);
    let diff = room::Diff { seq: 41, occupancy: 812, changes: None, encodings: Encodings::default() };
    let [text] = &frames.diff(&diff)[..] else { panic!("one frame") };
    assert_eq!(&**text, r#"{"type":"occupancy","seq":41,"occupancy":812}"#);
}

#[test]
fn an_error_frame_holds_what_applies() {
    let refusal = Refusal::from(Code::Unavailable).retry_after(Duration::from_millis(1500));
    assert_eq!(
        error(&refusal, None).as_ref(),
        r#"{"type":"error","code":"unavailable","message":"The server cannot do this just now. Try again in a moment.","retry":true,"retry_after_ms":1500}"#
    );
    let closed: Value = serde_json::from_str(&error(&Refusal::closed(CloseReason::Idle), Some(9))).expect("JSON");
    assert_eq!(closed["reason"], "idle");
    assert_eq!(closed["retry"], false);
    assert_eq!(closed["ref"], 9);
}
