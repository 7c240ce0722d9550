//! Values that frames and answers over HTTP share: times, participants, sessions.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::clock::Clock;
use crate::domain::idle::IdleRule;
use crate::domain::ids::{ParticipantId, SessionId};
use crate::domain::participant::{Quality, Status};
use crate::domain::reading_session::{CloseReason, ReadingSession};
use crate::domain::role::Role;
use crate::domain::subject::Subject;
use crate::room;

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
    pub user_id: Option<Subject>,
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
    /// The public state.
    #[schema(value_type = Object)]
    pub state: &'a RawValue,
}

impl<'a> Participant<'a> {
    /// A participant of a room, with when it was last seen as of now.
    pub fn of(person: &'a room::Participant, clock: &Clock) -> Self {
        Self {
            id: person.id,
            user_id: person.user_id.clone(),
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
    pub host_user_id: Option<Subject>,
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
    /// The session as clients see it.
    pub fn of(session: &ReadingSession, idle: IdleRule) -> Self {
        Self {
            id: session.id,
            title: session.title.clone(),
            host_user_id: session.host_user_id.clone(),
            is_active: session.is_open(),
            max_participants: i32::try_from(session.max_participants).unwrap_or(i32::MAX),
            created_at: session.created_at.into(),
            last_seen_at: session.last_seen_at.into(),
            expires_at: idle.expires_at(session.last_seen_at, session.last_activity_at).into(),
            closed_at: session.closed.map(|closed| closed.at.into()),
            close_reason: session.close_reason(),
        }
    }
}
