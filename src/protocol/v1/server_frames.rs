//! Frames from the server: types and how they are encoded.

use std::fmt::Write;

use chrono::SecondsFormat;
use serde::Serialize;

use super::values::{Participant, Session, Timestamp};
use super::{CODEC, FRAMES_PER_MINUTE, chunks};
use crate::clock::{Clock, Moment};
use crate::config::Settings;
use crate::domain::idle::IdleRule;
use crate::domain::ids::{ConnectionId, ParticipantId};
use crate::domain::participant::LeaveReason;
use crate::domain::reading_session::ReadingSession;
use crate::protocol::Refusal;
use crate::protocol::codec::{Codec, EncodedFrame};
use crate::room::feed::Message;
use crate::room::notice::Phase;
use crate::room::{self, Notice, People, Snapshot, Text, Texts};

/// Encodes frames, with the timings of a server.
#[derive(Clone, Debug)]
pub struct Frames {
    clock: Clock,
    beat_ms: u128,
    dead_after_ms: u128,
    grace_ms: u128,
    pace: Pace,
    idle: IdleRule,
    /// No frame is longer, in bytes.
    max_frame_bytes: usize,
}

/// Who left, and why.
#[derive(Serialize)]
struct Leave {
    id: ParticipantId,
    reason: LeaveReason,
}

impl Leave {
    fn of(&(id, reason): &(ParticipantId, LeaveReason)) -> Self {
        Self { id, reason }
    }
}

/// How fast a client may send, in a `welcome`.
#[derive(Clone, Copy, Debug, Serialize)]
struct Pace {
    /// Updates that may come in a second beside half of `frames_per_minute`.
    updates_per_second: u32,
    frames_per_minute: u32,
}

/// What is in a `welcome` for one connection alone.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are the contract's")]
pub struct Welcome<'a> {
    /// `None` for an observer.
    pub you: Option<ParticipantId>,
    /// `None` for an SSE subscriber.
    pub connection_id: Option<ConnectionId>,
    pub resume: Option<&'a str>,
    /// When the JWT expires that the connection was let in by; `None` where that was something else.
    pub token_expires_at: Option<Moment>,
    pub session: &'a Session,
}

impl Frames {
    /// Frames with the timings of these settings.
    pub fn new(clock: Clock, settings: &Settings) -> Self {
        let presence = &settings.presence;
        Self {
            clock,
            beat_ms: presence.beat_interval.as_millis(),
            dead_after_ms: presence.dead_after.as_millis(),
            grace_ms: presence.grace.as_millis(),
            pace: Pace {
                updates_per_second: settings.limits.max_updates_per_second,
                frames_per_minute: FRAMES_PER_MINUTE,
            },
            idle: settings.sessions.idle(),
            max_frame_bytes: settings.limits.max_frame_bytes(),
        }
    }

    /// `welcome`.
    pub fn welcome(
        &self,
        welcome: &Welcome<'_>,
        snapshot: &Snapshot,
        own: Option<&room::Participant>,
    ) -> Vec<EncodedFrame> {
        #[derive(Serialize)]
        struct Head<'a> {
            r#type: &'static str,
            seq: u64,
            you: Option<ParticipantId>,
            #[serde(skip_serializing_if = "Option::is_none")]
            connection_id: Option<ConnectionId>,
            #[serde(skip_serializing_if = "Option::is_none")]
            resume: Option<Option<&'a str>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            token_expires_at: Option<Option<Timestamp>>,
            session: &'a Session,
            occupancy: usize,
            beat_ms: u128,
            dead_after_ms: u128,
            grace_ms: u128,
            #[serde(skip_serializing_if = "Option::is_none")]
            pace: Option<Pace>,
            server_time: Timestamp,
        }
        let head = Head {
            r#type: "welcome",
            seq: snapshot.seq,
            you: welcome.you,
            connection_id: welcome.connection_id,
            resume: welcome.connection_id.map(|_| welcome.resume),
            token_expires_at: welcome.connection_id.map(|_| welcome.token_expires_at.map(|at| self.timestamp(at))),
            session: welcome.session,
            occupancy: snapshot.occupancy,
            beat_ms: self.beat_ms,
            dead_after_ms: self.dead_after_ms,
            grace_ms: self.grace_ms,
            pace: welcome.connection_id.map(|_| self.pace),
            server_time: self.server_time(),
        };
        self.with_participants(json(&head), snapshot, own)
    }

    /// `state`.
    pub fn state(&self, snapshot: &Snapshot, own: Option<&room::Participant>) -> Vec<EncodedFrame> {
        let head = format!(r#"{{"type":"state","seq":{},"occupancy":{}}}"#, snapshot.seq, snapshot.occupancy);
        self.with_participants(head, snapshot, own)
    }

    /// Adds `participants` to an object: the list that is encoded once for many frames, and behind it the
    /// participants who joined since. In a room over its detail limit the receiver alone. What one frame cannot hold
    /// follows in frames of its own.
    fn with_participants(
        &self,
        mut head: String,
        snapshot: &Snapshot,
        own: Option<&room::Participant>,
    ) -> Vec<EncodedFrame> {
        head.pop();
        let (pieces, newer, own) = match &snapshot.people {
            Some(People { list, newer }) => {
                let pieces = list.encodings.get(CODEC, || {
                    let mut people: Vec<_> = list.people.iter().collect();
                    people.sort_by_key(|person| (person.joined_at, person.id));
                    chunks::pieces(people.into_iter().map(|person| self.participant(person)), self.max_frame_bytes)
                });
                (pieces, &newer[..], None)
            }
            None => (Texts::default(), &[][..], own),
        };
        let others = newer.iter().map(|person| &**person).chain(own).map(|person| self.participant(person));
        let dealt = chunks::deal(head.len(), &pieces, others, self.max_frame_bytes);
        let of = dealt.len();
        let frame = |(chunks::Chunk { shared, own }, chunk)| {
            let mut start = chunks::head(&head, Some(snapshot.seq), chunk, of);
            start.push_str(r#","participants":["#);
            EncodedFrame { start, shared, end: own + "]}" }
        };
        dealt.into_iter().zip(1..).map(frame).collect()
    }

    /// A participant, as JSON.
    fn participant(&self, person: &room::Participant) -> String {
        json(&Participant::of(person, &self.clock))
    }

    /// `diff`, or `occupancy` in a room over its detail limit, with what follows it. Encoded once for all connections.
    pub fn diff(&self, diff: &room::Diff) -> Texts {
        diff.encodings.get(CODEC, || self.encode_diff(diff))
    }

    fn encode_diff(&self, diff: &room::Diff) -> Texts {
        #[derive(Serialize)]
        struct Diff<'a> {
            r#type: &'static str,
            seq: u64,
            occupancy: usize,
            joins: Vec<Participant<'a>>,
            updates: Vec<Participant<'a>>,
            leaves: Vec<Leave>,
        }
        let (seq, occupancy) = (diff.seq, diff.occupancy);
        let Some(changes) = &diff.changes else {
            return [format!(r#"{{"type":"occupancy","seq":{seq},"occupancy":{occupancy}}}"#).into()].into();
        };
        let frame = json(&Diff {
            r#type: "diff",
            seq,
            occupancy,
            joins: changes.joins.iter().map(|person| Participant::of(person, &self.clock)).collect(),
            updates: changes.updates.iter().map(|person| Participant::of(person, &self.clock)).collect(),
            leaves: changes.leaves.iter().map(Leave::of).collect(),
        });
        if frame.len() <= self.max_frame_bytes {
            return [frame.into()].into();
        }
        self.encode_long_diff(seq, occupancy, changes)
    }

    /// The frames of a diff that is too long for one.
    fn encode_long_diff(&self, seq: u64, occupancy: usize, changes: &room::Changes) -> Texts {
        let joins = changes.joins.iter().map(|person| (0, self.participant(person)));
        let updates = changes.updates.iter().map(|person| (1, self.participant(person)));
        let leaves = changes.leaves.iter().map(|leave| (2, json(&Leave::of(leave))));
        let dealt = chunks::deal_lists(joins.chain(updates).chain(leaves), self.max_frame_bytes);
        let of = dealt.len();
        let head = format!(r#"{{"type":"diff","seq":{seq},"occupancy":{occupancy}"#);
        let frame = |([joins, updates, leaves], chunk): ([String; 3], usize)| {
            let mut frame = chunks::head(&head, Some(seq), chunk, of);
            let _ = write!(frame, r#","joins":[{joins}],"updates":[{updates}],"leaves":[{leaves}]}}"#);
            frame.into()
        };
        dealt.into_iter().zip(1..).map(frame).collect()
    }

    /// The answer to a `beat`.
    pub fn beat(&self, reference: Option<u64>) -> Text {
        let time = self.server_time().0.to_rfc3339_opts(SecondsFormat::Millis, true);
        match reference {
            Some(reference) => format!(r#"{{"type":"beat","ref":{reference},"server_time":"{time}"}}"#),
            None => format!(r#"{{"type":"beat","server_time":"{time}"}}"#),
        }
        .into()
    }

    /// The answer to a `token`, which expires then.
    pub fn token(&self, reference: Option<u64>, expires_at: Moment) -> Text {
        #[derive(Serialize)]
        struct Token {
            r#type: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            r#ref: Option<u64>,
            expires_at: Timestamp,
            server_time: Timestamp,
        }
        let (expires_at, server_time) = (self.timestamp(expires_at), self.server_time());
        json(&Token { r#type: "token", r#ref: reference, expires_at, server_time }).into()
    }

    /// `session`.
    pub fn session(&self, session: &ReadingSession) -> Text {
        format!(r#"{{"type":"session","session":{}}}"#, json(&Session::of(session, self.idle))).into()
    }

    /// `expiring`.
    pub fn expiring(&self, at: Moment) -> Text {
        let minutes = at.since(self.clock.now()).as_secs().div_ceil(60);
        let at = self.clock.utc(at).to_rfc3339_opts(SecondsFormat::Millis, true);
        format!(r#"{{"type":"expiring","expires_at":"{at}","minutes":{minutes}}}"#).into()
    }

    fn server_time(&self) -> Timestamp {
        self.timestamp(self.clock.now())
    }

    fn timestamp(&self, moment: Moment) -> Timestamp {
        Timestamp(self.clock.utc(moment))
    }
}

impl Codec for Frames {
    fn encode(&self, message: Message<'_>, send: &mut dyn FnMut(EncodedFrame)) {
        match message {
            Message::State { snapshot, own } => self.state(snapshot, own).into_iter().for_each(send),
            Message::Diff(diff) => self.diff(diff).iter().for_each(|text| send(Text::clone(text).into())),
            Message::Session(session) => send(self.session(session).into()),
            Message::Expiring(at) => send(self.expiring(at).into()),
            Message::Notice(it) => send(notice(it).into()),
        }
    }
}

/// The `type` of the frame of a message.
pub fn frame_type(message: &Message<'_>) -> &'static str {
    match message {
        Message::State { .. } => "state",
        Message::Diff(diff) if diff.changes.is_some() => "diff",
        Message::Diff(_) => "occupancy",
        Message::Session(_) => "session",
        Message::Expiring(_) => "expiring",
        Message::Notice(notice) => notice.kind,
    }
}

/// A notice, in a frame of its kind: `sit`.
pub fn notice(notice: &Notice) -> Text {
    let Notice { kind, id, phase } = notice;
    match phase {
        Phase::Running { started_at, ends_at } => {
            let [started_at, ends_at] =
                [started_at, ends_at].map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true));
            format!(r#"{{"type":"{kind}","id":"{id}","started_at":"{started_at}","ends_at":"{ends_at}"}}"#)
        }
        Phase::Over => format!(r#"{{"type":"{kind}","id":"{id}","completed":true}}"#),
    }
    .into()
}

/// `history`: frames `stats`, this far apart, in as many frames as they need.
pub fn history(interval_ms: u128, stats: &[&str], max_frame_bytes: usize) -> Vec<Text> {
    let pieces = chunks::pieces(stats, max_frame_bytes);
    let dealt = chunks::deal(0, &pieces, std::iter::empty(), max_frame_bytes);
    let (first, of) = (format!(r#"{{"type":"history","interval_ms":{interval_ms}"#), dealt.len());
    let frame = |(chunk, number): (chunks::Chunk, usize)| {
        format!(r#"{},"frames":[{}]}}"#, chunks::head(&first, None, number, of), chunk.shared).into()
    };
    dealt.into_iter().zip(1..).map(frame).collect()
}

/// `error`.
pub fn error(refusal: &Refusal, reference: Option<u64>) -> Text {
    let mut frame =
        format!(r#"{{"type":"error","code":"{}","message":{}"#, refusal.code.as_str(), json(&refusal.message));
    let retry = refusal.code.retry();
    let _ = write!(frame, r#","retry":{retry}"#);
    if let (true, Some(after)) = (retry, refusal.retry_after) {
        let _ = write!(frame, r#","retry_after_ms":{}"#, after.as_millis());
    }
    if let Some(reason) = refusal.reason {
        let _ = write!(frame, r#","reason":"{}""#, reason.as_str());
    }
    if let Some(reference) = reference {
        let _ = write!(frame, r#","ref":{reference}"#);
    }
    frame.push('}');
    frame.into()
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("frames hold nothing that JSON cannot")
}

#[cfg(test)]
mod tests;
