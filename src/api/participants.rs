//! `/v1/reading-sessions/{id}/participants`: listing and removing participants, and letting them in again.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::access::Sessions;
use super::extract::{Filter, Ids, parse};
use super::page::{Asked, Page};
use crate::domain::ids::{ParticipantId, SessionId};
use crate::domain::participant::Status;
use crate::identity::Caller;
use crate::protocol::v1::{Participant, Timestamp};
use crate::protocol::{Code, Refusal};
use crate::store::Cursor;

/// The people in a session.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "seq": 41, "occupancy": 1, "next_cursor": null,
    "items": [{
        "id": "0193a1b2-0000-7000-8000-000000000003", "user_id": null, "name": "Ada", "role": "guest",
        "status": "active", "quality": "good", "connections": 2, "joined_at": "2026-11-21T09:31:00.000Z",
        "last_seen_at": "2026-11-21T09:42:00.000Z", "state": {"page": 12},
    }],
}))]
pub struct Presence<'a> {
    /// The `seq` of the last diff in this list; 0 where no connection to this server is in the session.
    seq: u64,
    occupancy: usize,
    items: Vec<Participant<'a>>,
    /// Shown as `cursor` it gives the next page; null on the last one.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Which of the people are listed.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Listing {
    /// How many on a page: all where there is neither this nor a cursor.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 200)]
    limit: Option<String>,
    /// The `next_cursor` of an earlier page.
    #[param(min_length = 1)]
    cursor: Option<String>,
}

impl<'a> Presence<'a> {
    /// The page of these people that is asked for, those who came first in front. All of them in one answer
    /// are one snapshot, which diffs continue.
    fn page(seq: u64, mut people: Vec<Participant<'a>>, listing: &Listing) -> Result<Self, Refusal> {
        let asked = match (&listing.limit, &listing.cursor) {
            (None, None) => Asked::ALL,
            (limit, cursor) => Asked::read(limit.as_deref(), cursor.as_deref())?,
        };
        let place = |person: &Participant<'_>| Cursor { at: person.joined_at.0, id: person.id.0 };
        let occupancy = people.len();
        // A cursor holds microseconds.
        let order = |cursor: Cursor| (cursor.at.timestamp_micros(), cursor.id);
        people.sort_by_key(|person| order(place(person)));
        people.retain(|person| asked.after.is_none_or(|after| order(place(person)) > order(after)));
        let Page { items, next_cursor } = asked.page(people, place, |person| person);
        Ok(Self { seq, occupancy, items, next_cursor })
    }
}

/// The people in a session: all of them, also in a room over its detail limit.
#[utoipa::path(
    get, path = "/v1/reading-sessions/{id}/participants", tag = "participants",
    params(("id" = SessionId, Path, description = "The session"), Listing),
    responses(
        (status = OK, description = "The people in the session", body = Presence<'static>),
        (status = NOT_FOUND, description = "`session_not_found`"),
    ),
)]
pub async fn list(
    State(sessions): State<Sessions>,
    caller: Caller,
    Ids(id): Ids<SessionId>,
    Filter(listing): Filter<Listing>,
) -> Result<Response, Refusal> {
    let access = sessions.access(&caller, id).await?;
    if let Some(room) = sessions.registry.find(id) {
        let (seq, people) = room.presence();
        let clock = sessions.registry.shared().clock;
        let people = people.iter().map(|person| Participant::of(person, &clock)).collect();
        return Ok(Json(Presence::page(seq, people, &listing)?).into_response());
    }
    // No connection here: participants that the store has as present are on another server, or reconnecting.
    let stored = sessions.store.present(access.viewer, id).await?;
    let people = stored
        .iter()
        .map(|person| Participant {
            id: person.id,
            user_id: person.user_id.clone(),
            name: person.name.as_deref().unwrap_or_default(),
            role: person.role,
            status: Status::Reconnecting,
            quality: None,
            connections: 0,
            joined_at: Timestamp(person.joined_at),
            last_seen_at: Timestamp(person.last_seen_at),
            state: &person.state,
        })
        .collect();
    Ok(Json(Presence::page(0, people, &listing)?).into_response())
}

/// What goes with a participant who is removed.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Removal {
    /// Whether the invite by which they came in is revoked: a guest could come back by it as somebody new. Whoever
    /// else came by it stays.
    #[param(value_type = Option<bool>)]
    revoke_invite: Option<String>,
}

/// Removes a person: their connections end with 4512, and no token admits them again. A guest may come back by an
/// invite, as somebody new. For hosts and the service.
#[utoipa::path(
    delete, path = "/v1/reading-sessions/{id}/participants/{pid}", tag = "participants",
    params(
        ("id" = SessionId, Path, description = "The session"),
        ("pid" = ParticipantId, Path, description = "The participant to remove"),
        Removal,
    ),
    responses(
        (status = NO_CONTENT, description = "Removed"),
        (status = NOT_FOUND, description = "`session_not_found`, or `not_found`: no such participant"),
        (status = GONE, description = "`session_closed`"),
    ),
)]
pub async fn remove(
    State(sessions): State<Sessions>,
    caller: Caller,
    Ids((id, participant)): Ids<(SessionId, ParticipantId)>,
    Filter(removal): Filter<Removal>,
) -> Result<StatusCode, Refusal> {
    let revoke_invite = parse("revoke_invite", removal.revoke_invite.as_deref(), "true or false")?.unwrap_or(false);
    let access = sessions.host(&caller, id).await?;
    if !access.session.is_open() {
        return Err(sessions.closed(&access.session).await);
    }
    // Before the removal, after which they may come back at once.
    if revoke_invite {
        sessions.store.revoke_invite_of(id, participant).await?;
    }
    if !sessions.store.remove_participant(id, participant).await? {
        return Err(Code::ParticipantNotFound.into());
    }
    if let Some(room) = sessions.registry.find(id) {
        room.remove(participant);
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a removal back: the user may come in again. Their resume tokens stay dead. For hosts and the service.
#[utoipa::path(
    post, path = "/v1/reading-sessions/{id}/participants/{pid}/readmit", tag = "participants",
    params(
        ("id" = SessionId, Path, description = "The session"),
        ("pid" = ParticipantId, Path, description = "The participant who was removed"),
    ),
    responses(
        (status = NO_CONTENT, description = "They may come in again"),
        (status = NOT_FOUND, description = "`session_not_found`, or `not_found`: no such participant was removed"),
        (status = GONE, description = "`session_closed`"),
    ),
)]
pub async fn readmit(
    State(sessions): State<Sessions>,
    caller: Caller,
    Ids((id, participant)): Ids<(SessionId, ParticipantId)>,
) -> Result<StatusCode, Refusal> {
    let access = sessions.host(&caller, id).await?;
    if !access.session.is_open() {
        return Err(sessions.closed(&access.session).await);
    }
    if !sessions.store.readmit_participant(id, participant).await? {
        return Err(Code::ParticipantNotFound.into());
    }
    Ok(StatusCode::NO_CONTENT)
}
