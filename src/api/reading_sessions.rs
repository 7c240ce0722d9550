//! `/v1/reading-sessions`: open, list, read, change, close.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use chrono::Utc;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::openapi::Object;
use utoipa::{IntoParams, ToSchema};

use super::access::Sessions;
use super::extract::{Address, Body, Filter, Ids, parse, whole_or_null};
use super::invites::{FreshInvite, fresh};
use super::openapi;
use super::page::{self, Asked, Page};
use crate::app::App;
use crate::domain::ids::SessionId;
use crate::domain::reading_session::{NewSession, ReadingSession, SessionChange};
use crate::domain::role::Role;
use crate::identity::Caller;
use crate::identity::client_address::Network;
use crate::protocol::v1::{Session, Timestamp};
use crate::protocol::{Code, Refusal, name};
use crate::store::Cursor;

/// The longest title, in characters.
const MAX_TITLE_CHARS: usize = 200;

/// The most people that a session can be made for.
const MOST_PARTICIPANTS: i32 = 100_000;

/// What a session is opened with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"title": "Emma, chapter one", "max_participants": 20}))]
pub struct OpenSession {
    #[schema(schema_with = title_schema)]
    title: Option<String>,
    /// How many people it takes; by default the setting `max-participants`.
    #[schema(minimum = 1, maximum = 100_000)]
    #[serde(default, deserialize_with = "whole_or_null")]
    max_participants: Option<i32>,
}

/// A session that was just opened, with its invites.
#[derive(Serialize, ToSchema)]
pub struct OpenedSession {
    #[serde(flatten)]
    session: Session,
    invite: FreshInvite,
    /// For a person who opens a session without an account: the invite to join as its host.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    host_invite: Option<FreshInvite>,
}

/// Opens a reading session. A user who opens one is its host; without a JWT, where the server
/// allows that (`guest-hosts`), `host_invite` is the invite to join as its host.
#[utoipa::path(
    post, path = "/v1/reading-sessions", tag = "reading sessions",
    security((), ("bearer" = [])),
    request_body = OpenSession,
    responses(
        (status = CREATED, description = "The session and its invites", body = OpenedSession, example = json!({
            "id": "0193a1b2-0000-7000-8000-000000000001", "title": "Emma, chapter one", "host_user_id": null,
            "is_active": true, "max_participants": 20, "created_at": "2026-11-21T09:30:00.123Z",
            "last_seen_at": "2026-11-21T09:30:00.123Z", "expires_at": "2026-11-21T10:30:00.123Z",
            "closed_at": null, "close_reason": null,
            "invite": {
                "id": "0193a1b2-0000-7000-8000-000000000002", "token": "lsi_0123456789abcdefghijklmnopqrstuv",
                "url": "http://127.0.0.1:8080/join/lsi_0123456789abcdefghijklmnopqrstuv",
                "max_uses": null, "uses": 0, "expires_at": null, "role": "guest",
            },
        })),
        (status = FORBIDDEN, description = "`origin_not_allowed`: a page of another site, without a token"),
        (status = TOO_MANY_REQUESTS, description = "`rate_limited`"),
    ),
)]
pub async fn open(
    State(app): State<App>,
    caller: Caller,
    Address(address): Address,
    headers: HeaderMap,
    Body(body): Body<OpenSession>,
) -> Result<(StatusCode, Json<OpenedSession>), Refusal> {
    let by_service = matches!(caller, Caller::Service { .. });
    let host = match caller {
        Caller::User { subject, name, .. } => Some((subject, name)),
        Caller::Service { .. } => None,
        Caller::Guest(_) if app.guest_hosts => None,
        Caller::Anonymous if app.guest_hosts => {
            let checked = app.origins.check_without_token(&headers);
            checked.inspect_err(|refusal| app.refusal_log.note(refusal, &headers))?;
            None
        }
        Caller::Anonymous | Caller::Guest(_) => {
            return Err(Refusal::new(Code::Unauthenticated, "A JWT is needed to open a session on this server."));
        }
    };
    let title = body.title.as_deref().map(title).transpose()?;
    let max_participants = capacity(body.max_participants)?.unwrap_or(app.max_participants);
    if !by_service {
        app.rates.open_session(Network::of(address))?;
    }
    let id = SessionId::new();
    let created_by = host.as_ref().map(|(user, _)| user.id());
    let mut ways = vec![fresh(Role::Guest, created_by)];
    if host.is_none() && !by_service {
        ways.push(fresh(Role::Host, None));
    }
    let (tokens, invites): (Vec<_>, Vec<_>) = ways.into_iter().unzip();
    let (session, made) = app.store.open_session(&NewSession { id, title, max_participants, host, invites }).await?;
    let mut invites =
        tokens.into_iter().zip(made).map(|(token, invite)| FreshInvite::new(&app.public_url, &token, invite));
    let invite = invites.next().ok_or(Code::Internal)?;
    let opened =
        OpenedSession { session: Session::of(&session, app.store.idle()), invite, host_invite: invites.next() };
    Ok((StatusCode::CREATED, Json(opened)))
}

fn title(text: &str) -> Result<String, Refusal> {
    name::short_text("title", text, MAX_TITLE_CHARS)
}

fn title_schema() -> Object {
    openapi::short_text(MAX_TITLE_CHARS).description(Some("Trimmed; null for none.")).build()
}

fn capacity(number: Option<i32>) -> Result<Option<i32>, Refusal> {
    match number {
        Some(number) if !(1..=MOST_PARTICIPANTS).contains(&number) => {
            Err(Refusal::invalid("max_participants", format!("must be from 1 to {MOST_PARTICIPANTS}")))
        }
        number => Ok(number),
    }
}

/// Which sessions are listed.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Listing {
    /// Only open ones, or only closed ones.
    #[param(value_type = Option<bool>)]
    active: Option<String>,
    #[param(ignore)]
    limit: Option<String>,
    #[param(ignore)]
    cursor: Option<String>,
}

/// Reading sessions, newest first: a user's own and joined ones; for the service all.
#[utoipa::path(
    get, path = "/v1/reading-sessions", tag = "reading sessions",
    params(Listing, page::Listing),
    responses((status = OK, description = "A page of sessions", body = Page<SessionNow>, example = json!({
        "items": [{
            "id": "0193a1b2-0000-7000-8000-000000000001", "title": "Emma, chapter one", "host_user_id": null,
            "is_active": true, "max_participants": 20, "created_at": "2026-11-21T09:30:00.123Z",
            "last_seen_at": "2026-11-21T09:30:00.123Z", "expires_at": "2026-11-21T10:30:00.123Z",
            "closed_at": null, "close_reason": null, "occupancy": 3,
        }],
        "next_cursor": null,
    }))),
)]
pub async fn list(
    State(sessions): State<Sessions>,
    caller: Caller,
    Filter(listing): Filter<Listing>,
) -> Result<Json<Page<SessionNow>>, Refusal> {
    let viewer = caller.viewer()?;
    let active = parse("active", listing.active.as_deref(), "true or false")?;
    let asked = Asked::read(listing.limit.as_deref(), listing.cursor.as_deref())?;
    let stored = sessions.store.sessions(viewer, active, asked.after, asked.rows()).await?;
    // For sessions without a room here; most pages have no open one of them.
    let elsewhere = |session: &&ReadingSession| session.is_open() && sessions.registry.find(session.id).is_none();
    let elsewhere: Vec<_> = stored.iter().filter(elsewhere).map(|session| session.id).collect();
    let present = match elsewhere.is_empty() {
        true => HashMap::new(),
        false => sessions.store.occupancies(viewer, &elsewhere).await?,
    };
    let occupancy = |id| match sessions.registry.find(id) {
        Some(room) => room.occupancy(),
        None => present.get(&id).map_or(0, |count| usize::try_from(*count).unwrap_or_default()),
    };
    let idle = sessions.store.idle();
    let place = |session: &ReadingSession| Cursor { at: session.created_at, id: session.id.0 };
    let shown = |session: ReadingSession| SessionNow {
        occupancy: occupancy(session.id),
        session: Session::of(&sessions.with_live_signs(session), idle),
    };
    Ok(Json(asked.page(stored, place, shown)))
}

/// A session, and how many people are in it.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": "0193a1b2-0000-7000-8000-000000000001", "title": "Emma, chapter one", "host_user_id": null,
    "is_active": true, "max_participants": 20, "created_at": "2026-11-21T09:30:00.123Z",
    "last_seen_at": "2026-11-21T09:42:00.000Z", "expires_at": "2026-11-21T10:42:00.000Z",
    "closed_at": null, "close_reason": null, "occupancy": 3,
}))]
pub struct SessionNow {
    #[serde(flatten)]
    session: Session,
    occupancy: usize,
}

/// One reading session, for the people in it and the service.
#[utoipa::path(
    get, path = "/v1/reading-sessions/{id}", tag = "reading sessions",
    params(("id" = SessionId, Path, description = "The session")),
    responses(
        (status = OK, description = "The session", body = SessionNow),
        (status = NOT_FOUND, description = "`session_not_found`"),
    ),
)]
pub async fn read(
    State(sessions): State<Sessions>,
    caller: Caller,
    Ids(id): Ids<SessionId>,
) -> Result<Json<SessionNow>, Refusal> {
    let access = sessions.access(&caller, id).await?;
    let occupancy = match sessions.registry.find(id) {
        Some(room) => room.occupancy(),
        None => sessions.store.present(access.viewer, id).await?.len(),
    };
    Ok(Json(SessionNow { session: Session::of(&access.session, sessions.store.idle()), occupancy }))
}

/// What is to change.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"title": "Emma, chapter two"}))]
pub struct ChangeSession {
    /// `null` removes the title; without the key it stays.
    #[schema(schema_with = title_schema)]
    #[serde(default, deserialize_with = "named")]
    title: Option<Option<String>>,
    #[schema(minimum = 1, maximum = 100_000)]
    #[serde(default, deserialize_with = "whole_or_null")]
    max_participants: Option<i32>,
}

fn named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Renames a session or changes how many people it takes; for its hosts and the service.
#[utoipa::path(
    patch, path = "/v1/reading-sessions/{id}", tag = "reading sessions",
    params(("id" = SessionId, Path, description = "The session")),
    request_body = ChangeSession,
    responses(
        (status = OK, description = "The session as it is now", body = Session),
        (status = NOT_FOUND, description = "`session_not_found`"),
        (status = GONE, description = "`session_closed`"),
    ),
)]
pub async fn change(
    State(sessions): State<Sessions>,
    caller: Caller,
    Ids(id): Ids<SessionId>,
    Body(body): Body<ChangeSession>,
) -> Result<Json<Session>, Refusal> {
    let access = sessions.host(&caller, id).await?;
    let title = match body.title {
        Some(Some(text)) => Some(Some(title(&text)?)),
        named => named,
    };
    let change = SessionChange { title, max_participants: capacity(body.max_participants)? };
    let Some(session) = sessions.store.change_session(id, &change).await? else {
        return Err(sessions.closed(&access.session).await);
    };
    let session = sessions.with_live_signs(session);
    if let Some(room) = sessions.registry.find(id) {
        room.revise(session.clone());
    }
    Ok(Json(Session::of(&session, sessions.store.idle())))
}

/// Closes a session: its connections end, and its invites are dead. For its hosts and the service.
#[utoipa::path(
    post, path = "/v1/reading-sessions/{id}/close", tag = "reading sessions",
    params(("id" = SessionId, Path, description = "The session")),
    responses(
        (status = OK, description = "The session as it is now", body = Session),
        (status = NOT_FOUND, description = "`session_not_found`"),
        (status = GONE, description = "`session_closed`: it was closed before"),
    ),
)]
pub async fn close(
    State(sessions): State<Sessions>,
    caller: Caller,
    Ids(id): Ids<SessionId>,
) -> Result<Json<Session>, Refusal> {
    let access = sessions.host(&caller, id).await?;
    let reason = access.close_reason();
    let Some(mut session) = sessions.store.close_session(id, reason).await? else {
        return Err(sessions.closed(&access.session).await);
    };
    // The times in the row may be older than those of its participants.
    session.last_seen_at = session.last_seen_at.max(access.session.last_seen_at);
    session.last_activity_at = session.last_activity_at.max(access.session.last_activity_at);
    sessions.registry.close(id, reason);
    Ok(Json(Session::of(&session, sessions.store.idle())))
}

/// When a reading session expires.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "expired": false, "last_seen_at": "2026-11-21T09:42:00.000Z", "expires_at": "2026-11-21T10:42:00.000Z",
    "minutes_until_expiry": 48,
}))]
pub struct ExpiryNow {
    expired: bool,
    last_seen_at: Timestamp,
    expires_at: Timestamp,
    /// Rounded up: 0 exactly when it has expired.
    #[schema(minimum = 0)]
    minutes_until_expiry: i32,
}

/// When a reading session expires, by the database's clock and the state of the live room.
#[utoipa::path(
    get, path = "/v1/reading-sessions/{id}/expiry", tag = "reading sessions",
    params(("id" = SessionId, Path, description = "The session")),
    responses(
        (status = OK, description = "When it expires, or expired", body = ExpiryNow),
        (status = NOT_FOUND, description = "`session_not_found`"),
    ),
)]
pub async fn expiry(
    State(sessions): State<Sessions>,
    caller: Caller,
    Ids(id): Ids<SessionId>,
) -> Result<Json<ExpiryNow>, Refusal> {
    let access = sessions.access(&caller, id).await?;
    let stored = sessions.store.expiry(id).await?.ok_or(Code::SessionNotFound)?;
    let mut now = ExpiryNow {
        expired: stored.expired,
        last_seen_at: stored.last_seen_at.into(),
        expires_at: stored.expires_at.into(),
        minutes_until_expiry: stored.minutes_until_expiry,
    };
    // A participant of the live room may have been seen since the last flush.
    let live = sessions.store.idle().expires_at(access.session.last_seen_at, access.session.last_activity_at);
    if access.session.is_open() && live > stored.expires_at {
        let left = (live - Utc::now()).num_seconds().max(0);
        now.expired = left == 0;
        now.last_seen_at = access.session.last_seen_at.into();
        now.expires_at = live.into();
        now.minutes_until_expiry = i32::try_from((left + 59) / 60).unwrap_or(i32::MAX);
    }
    Ok(Json(now))
}
