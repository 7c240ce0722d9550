//! The protocol `lastseen.v1`: JSON text frames, as docs/reference/PROTOCOL.md has them.

use std::borrow::Cow;
use std::fmt::Write;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::json::has_nul;
use super::refusal::Refusal;
use crate::clock::Clock;
use crate::config::Settings;
use crate::domain::idle::IdleRule;
use crate::ids::{ConnectionId, ParticipantId, SessionId, UserId};
use crate::room::notice::Phase;
use crate::room::{
    self, CloseReason, Codec, LeaveReason, Notice, People, Quality, Role, Snapshot, State, Status, Text,
};

/// The name of the protocol among WebSocket subprotocols.
pub const SUBPROTOCOL: &str = "lastseen.v1";

/// Its number among the codecs.
pub const CODEC: Codec = Codec::new(0);

/// The largest public state, in bytes of JSON.
pub const MAX_STATE_BYTES: usize = 2048;

/// The longest sit, in seconds: a day.
pub const LONGEST_SIT_SECONDS: i32 = 24 * 3600;

/// A time as the contract has it: RFC 3339, UTC, milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, utoipa::ToSchema)]
#[schema(example = "2026-11-21T09:30:00.123Z")]
pub struct Timestamp(pub DateTime<Utc>);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(time: DateTime<Utc>) -> Self {
        Self(time)
    }
}

/// `Participant` of the contract.
#[derive(Serialize, Debug, utoipa::ToSchema)]
#[expect(missing_docs, reason = "the fields are the contract's")]
pub struct Participant<'a> {
    pub id: ParticipantId,
    /// Null for guests.
    #[schema(required)]
    pub user_id: Option<UserId>,
    #[schema(max_length = 80)]
    pub name: &'a str,
    pub role: Role,
    pub status: Status,
    /// Null until a Ping has come back.
    #[schema(required)]
    pub quality: Option<Quality>,
    pub connections: u32,
    pub joined_at: Timestamp,
    pub last_seen_at: Timestamp,
    /// What the person shows the others.
    #[schema(value_type = Object)]
    pub state: &'a RawValue,
}

impl<'a> Participant<'a> {
    /// The person as it is now.
    pub fn of(person: &'a room::Participant, clock: &Clock) -> Self {
        Self {
            id: person.id,
            user_id: person.user_id,
            name: &person.name,
            role: person.role,
            status: person.status,
            quality: person.quality,
            connections: person.connections,
            joined_at: Timestamp(person.joined_at),
            last_seen_at: Timestamp(clock.utc(person.liveness.seen())),
            state: &person.state,
        }
    }
}

/// `Session` of the contract.
#[derive(Clone, Serialize, Debug, utoipa::ToSchema)]
#[schema(example = json!({
    "id": "0193a1b2-0000-7000-8000-000000000001", "title": "Emma, chapter one", "host_user_id": null,
    "is_active": true, "max_participants": 20, "created_at": "2026-11-21T09:30:00.123Z",
    "last_seen_at": "2026-11-21T09:42:00.000Z", "expires_at": "2026-11-21T10:42:00.000Z",
    "closed_at": null, "close_reason": null,
}))]
#[expect(missing_docs, reason = "the fields are the contract's")]
pub struct Session {
    pub id: SessionId,
    #[schema(required, min_length = 1, max_length = 200)]
    pub title: Option<String>,
    /// Null where a guest or the service opened it.
    #[schema(required)]
    pub host_user_id: Option<UserId>,
    pub is_active: bool,
    #[schema(minimum = 1, maximum = 100_000)]
    pub max_participants: i32,
    pub created_at: Timestamp,
    pub last_seen_at: Timestamp,
    pub expires_at: Timestamp,
    #[schema(required)]
    pub closed_at: Option<Timestamp>,
    #[schema(required)]
    pub close_reason: Option<CloseReason>,
}

impl Session {
    /// An open session as its room knows it.
    fn open(session: &room::Session, expires_at: DateTime<Utc>) -> Self {
        Self {
            id: session.id,
            title: session.title.clone(),
            host_user_id: session.host_user_id,
            is_active: true,
            max_participants: i32::try_from(session.max_participants).unwrap_or(i32::MAX),
            created_at: session.created_at.into(),
            last_seen_at: session.last_seen_at.into(),
            expires_at: expires_at.into(),
            closed_at: None,
            close_reason: None,
        }
    }
}

/// Frames that are alike for all connections of a server but for what is handed over.
#[derive(Clone, Debug)]
pub struct Frames {
    clock: Clock,
    beat_ms: u128,
    dead_after_ms: u128,
    grace_ms: u128,
    idle: IdleRule,
}

/// Who is welcomed.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are the contract's")]
pub struct Welcome<'a> {
    /// `None` for an observer.
    pub you: Option<ParticipantId>,
    /// `None` for somebody who only reads along.
    pub connection_id: Option<ConnectionId>,
    pub resume: Option<&'a str>,
    pub session: &'a Session,
}

/// A frame whose long middle is shared with others.
#[derive(Debug)]
#[expect(missing_docs, reason = "together they are the frame")]
pub struct Spliced {
    pub start: String,
    pub shared: Text,
    pub end: String,
}

impl Spliced {
    /// The frame as one text.
    pub fn whole(&self) -> String {
        [&self.start, &*self.shared, &self.end].concat()
    }
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
            idle: settings.sessions.idle(),
        }
    }

    /// `welcome`.
    pub fn welcome(&self, welcome: &Welcome<'_>, snapshot: &Snapshot, own: Option<&room::Participant>) -> Spliced {
        #[derive(Serialize)]
        struct Head<'a> {
            r#type: &'static str,
            seq: u64,
            you: Option<ParticipantId>,
            #[serde(skip_serializing_if = "Option::is_none")]
            connection_id: Option<ConnectionId>,
            #[serde(skip_serializing_if = "Option::is_none")]
            resume: Option<Option<&'a str>>,
            session: &'a Session,
            occupancy: usize,
            beat_ms: u128,
            dead_after_ms: u128,
            grace_ms: u128,
            server_time: Timestamp,
        }
        let head = Head {
            r#type: "welcome",
            seq: snapshot.seq,
            you: welcome.you,
            connection_id: welcome.connection_id,
            resume: welcome.connection_id.map(|_| welcome.resume),
            session: welcome.session,
            occupancy: snapshot.occupancy,
            beat_ms: self.beat_ms,
            dead_after_ms: self.dead_after_ms,
            grace_ms: self.grace_ms,
            server_time: self.server_time(),
        };
        self.with_participants(json(&head), snapshot, own)
    }

    /// `state`.
    pub fn state(&self, snapshot: &Snapshot, own: Option<&room::Participant>) -> Spliced {
        let head = format!(r#"{{"type":"state","seq":{},"occupancy":{}}}"#, snapshot.seq, snapshot.occupancy);
        self.with_participants(head, snapshot, own)
    }

    /// Puts the people into an object: a list that is encoded once for many, and who came since. In a
    /// room over its detail limit the receiver alone.
    fn with_participants(&self, mut start: String, snapshot: &Snapshot, own: Option<&room::Participant>) -> Spliced {
        start.pop();
        start.push_str(",\"participants\":[");
        let (shared, newer) = match &snapshot.people {
            Some(People { list, newer }) => {
                let shared = list.encodings.get(CODEC, || {
                    let mut people: Vec<_> = list.people.iter().collect();
                    people.sort_by_key(|person| (person.joined_at, person.id));
                    self.items(people.into_iter().map(AsRef::as_ref)).into()
                });
                (shared, self.items(newer.iter().map(AsRef::as_ref)))
            }
            None => (Text::default(), self.items(own.into_iter())),
        };
        let comma = if shared.is_empty() || newer.is_empty() { "" } else { "," };
        Spliced { start, shared, end: format!("{comma}{newer}]}}") }
    }

    /// What stands between the brackets of a list.
    fn items<'a>(&self, people: impl Iterator<Item = &'a room::Participant>) -> String {
        let mut list = json(&people.map(|person| Participant::of(person, &self.clock)).collect::<Vec<_>>());
        list.pop();
        list.remove(0);
        list
    }

    /// `diff`, or `occupancy` in a room over its detail limit. Encoded once for all connections.
    pub fn diff(&self, diff: &room::Diff) -> Text {
        diff.encodings.get(CODEC, || self.encode_diff(diff))
    }

    fn encode_diff(&self, diff: &room::Diff) -> Text {
        #[derive(Serialize)]
        struct Leave {
            id: ParticipantId,
            reason: LeaveReason,
        }
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
            return format!(r#"{{"type":"occupancy","seq":{seq},"occupancy":{occupancy}}}"#).into();
        };
        json(&Diff {
            r#type: "diff",
            seq,
            occupancy,
            joins: changes.joins.iter().map(|person| Participant::of(person, &self.clock)).collect(),
            updates: changes.updates.iter().map(|person| Participant::of(person, &self.clock)).collect(),
            leaves: changes.leaves.iter().map(|&(id, reason)| Leave { id, reason }).collect(),
        })
        .into()
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

    /// `session`.
    pub fn session(&self, session: &room::Session) -> Text {
        let expires_at = self.idle.expires_at(session.last_seen_at, session.last_activity_at);
        format!(r#"{{"type":"session","session":{}}}"#, json(&Session::open(session, expires_at))).into()
    }

    /// `expiring`.
    pub fn expiring(&self, at: crate::clock::Moment) -> Text {
        let minutes = at.since(self.clock.now()).as_secs().div_ceil(60);
        let at = self.clock.utc(at).to_rfc3339_opts(SecondsFormat::Millis, true);
        format!(r#"{{"type":"expiring","expires_at":"{at}","minutes":{minutes}}}"#).into()
    }

    fn server_time(&self) -> Timestamp {
        Timestamp(self.clock.utc(self.clock.now()))
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

/// A frame from a client.
#[derive(Clone, Debug)]
pub enum ClientFrame {
    /// Still here; `active` unless the client says that the person did nothing.
    Beat {
        /// Comes back in the answer.
        reference: Option<u64>,
        /// Whether the person did something since the last beat.
        active: bool,
    },
    /// A new public state.
    Update {
        /// Comes back where the state is refused.
        reference: Option<u64>,
        /// The whole state.
        state: State,
    },
    /// Starts a sit of the room.
    Sit {
        /// Comes back where the sit is refused.
        reference: Option<u64>,
        /// How long it is, from 1 to [`LONGEST_SIT_SECONDS`].
        length_seconds: i32,
    },
    /// Wants a fresh `state`.
    Sync,
    /// Goodbye.
    Leave,
    /// Of a type that this server does not know.
    Unknown,
}

/// Why a frame could not be understood.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct BadFrame {
    /// The frame's `ref`, where that much could be read.
    pub reference: Option<u64>,
    /// What is wrong, for the person who wrote the client.
    pub message: &'static str,
}

/// Reads a frame from a client.
///
/// # Errors
/// [`BadFrame`] where it is no JSON object, has no `type`, or a field that it knows has the wrong form.
pub fn decode(text: &str) -> Result<ClientFrame, BadFrame> {
    #[derive(Deserialize)]
    struct Raw<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
        #[serde(borrow)]
        r#ref: Option<&'a RawValue>,
        #[serde(borrow)]
        active: Option<&'a RawValue>,
        #[serde(borrow)]
        state: Option<&'a RawValue>,
        #[serde(borrow)]
        action: Option<&'a RawValue>,
        #[serde(borrow)]
        sit_length_seconds: Option<&'a RawValue>,
    }
    let bad = |reference, message| BadFrame { reference, message };
    let is_object = text.trim_start().starts_with('{');
    let raw = match serde_json::from_str::<Raw<'_>>(text) {
        Ok(raw) if is_object => raw,
        _ => return Err(bad(None, "a frame is a JSON object with a string 'type'")),
    };
    if !matches!(&*raw.r#type, "beat" | "update" | "sit" | "sync" | "leave") {
        return Ok(ClientFrame::Unknown);
    }
    let reference = field(raw.r#ref).map_err(|()| bad(None, "'ref' must be a whole number, zero or more"))?;
    match &*raw.r#type {
        "beat" => {
            let active = field(raw.active).map_err(|()| bad(reference, "'active' must be true or false"))?;
            Ok(ClientFrame::Beat { reference, active: active.unwrap_or(true) })
        }
        "update" => {
            let state = public_state(raw.state).map_err(|message| bad(reference, message))?;
            Ok(ClientFrame::Update { reference, state })
        }
        "sit" => {
            let action: Option<Cow<'_, str>> = field(raw.action).unwrap_or_default();
            if action.as_deref() != Some("start") {
                return Err(bad(reference, "'action' must be \"start\""));
            }
            match field(raw.sit_length_seconds) {
                Ok(Some(length_seconds @ 1..=LONGEST_SIT_SECONDS)) => {
                    Ok(ClientFrame::Sit { reference, length_seconds })
                }
                _ => Err(bad(reference, "'sit_length_seconds' must be a whole number from 1 to 86400")),
            }
        }
        "sync" => Ok(ClientFrame::Sync),
        _ => Ok(ClientFrame::Leave),
    }
}

/// An optional field; `null` is the same as none.
fn field<'a, T: Deserialize<'a>>(value: Option<&'a RawValue>) -> Result<Option<T>, ()> {
    value.map_or(Ok(None), |value| serde_json::from_str(value.get()).map_err(|_| ()))
}

/// A state that everybody can be shown and that the database takes: JSONB knows neither NUL nor half
/// a surrogate pair nor numbers beyond a double, so what is kept is the value and not the text.
fn public_state(value: Option<&RawValue>) -> Result<State, &'static str> {
    let text = value.ok_or("'state' is missing")?.get();
    if text.len() > MAX_STATE_BYTES {
        return Err("'state' must not be larger than 2 KiB");
    }
    let state: serde_json::Value =
        serde_json::from_str(text).map_err(|_| "'state' holds text or numbers that cannot be kept")?;
    if !state.is_object() {
        return Err("'state' must be an object");
    }
    if has_nul(&state) {
        return Err("'state' must not hold the character U+0000");
    }
    serde_json::value::to_raw_value(&state).map(State::from).map_err(|_| "'state' cannot be kept")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::Code;

    #[test]
    fn frames_of_clients_are_read() {
        assert!(matches!(decode(r#"{"type":"beat"}"#), Ok(ClientFrame::Beat { reference: None, active: true })));
        assert!(matches!(
            decode(r#"{"type":"beat","ref":7,"active":false,"later":1}"#),
            Ok(ClientFrame::Beat { reference: Some(7), active: false })
        ));
        assert!(matches!(decode(r#"{"type":"sync"}"#), Ok(ClientFrame::Sync)));
        assert!(matches!(decode(r#"{"type":"leave"}"#), Ok(ClientFrame::Leave)));
        assert!(matches!(decode(r#"{"type":"dance","ref":"x"}"#), Ok(ClientFrame::Unknown)));
        assert!(matches!(
            decode(r#"{"type":"sit","action":"start","sit_length_seconds":600,"ref":9}"#),
            Ok(ClientFrame::Sit { reference: Some(9), length_seconds: 600 })
        ));
        let Ok(ClientFrame::Update { reference: Some(8), state }) =
            decode(r#"{"type":"update","ref":8,"state":{"page": 12}}"#)
        else {
            panic!("an update")
        };
        assert_eq!(state.get(), r#"{"page":12}"#);
    }

    #[test]
    fn frames_that_cannot_be_understood_say_why_and_keep_their_ref() {
        let bad = |text: &str| decode(text).expect_err(text);
        for text in
            ["", "hello", "[]", "7", "null", "{}", r#"{"type":7}"#, r#"["beat",1,true,{}]"#, r#"{"type":"beat""#]
        {
            assert_eq!(bad(text).reference, None, "{text}");
        }
        assert_eq!(bad(r#"{"type":"beat","ref":"seven"}"#).message, "'ref' must be a whole number, zero or more");
        assert_eq!(bad(r#"{"type":"beat","ref":3,"active":"yes"}"#).reference, Some(3));
        for state in [
            "",
            r#","state":null"#,
            r#","state":[]"#,
            r#","state":"text""#,
            r#","state":{"a":"\u0000"}"#,
            r#","state":{"\u0000":1}"#,
            r#","state":{"a":"\ud800"}"#,
            r#","state":{"a":1e999}"#,
        ] {
            assert_eq!(bad(&format!(r#"{{"type":"update","ref":4{state}}}"#)).reference, Some(4), "{state}");
        }
        for sit in [
            "",
            r#","action":"start""#,
            r#","sit_length_seconds":600"#,
            r#","action":"stop","sit_length_seconds":600"#,
            r#","action":1,"sit_length_seconds":600"#,
            r#","action":"start","sit_length_seconds":0"#,
            r#","action":"start","sit_length_seconds":86401"#,
            r#","action":"start","sit_length_seconds":1.5"#,
            r#","action":"start","sit_length_seconds":"600""#,
        ] {
            assert_eq!(bad(&format!(r#"{{"type":"sit","ref":5{sit}}}"#)).reference, Some(5), "{sit}");
        }
        let large = format!(r#"{{"type":"update","state":{{"a":"{}"}}}}"#, "x".repeat(MAX_STATE_BYTES));
        assert_eq!(bad(&large).message, "'state' must not be larger than 2 KiB");
    }

    #[test]
    fn an_error_frame_holds_what_applies() {
        let refusal = Refusal::from(Code::Unavailable).retry_after(Duration::from_millis(1500));
        assert_eq!(
            error(&refusal, None).as_ref(),
            r#"{"type":"error","code":"unavailable","message":"The server cannot do this just now. Try again in a moment.","retry":true,"retry_after_ms":1500}"#
        );
        let closed: serde_json::Value =
            serde_json::from_str(&error(&Refusal::closed(CloseReason::Idle), Some(9))).expect("JSON");
        assert_eq!(closed["reason"], "idle");
        assert_eq!(closed["retry"], false);
        assert_eq!(closed["ref"], 9);
    }
}
