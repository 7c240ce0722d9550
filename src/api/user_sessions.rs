//! `/v1/user-sessions`: start, list, read, heartbeat, change, end; and how many there are.

mod shown;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use self::shown::{OtherSession, PlatformSummary, UserSession};
use super::extract::{Address, Body, Filter, Ids, user, whole_or_null};
use super::page::{Asked, Page};
use crate::domain::document::Document;
use crate::domain::subject::Subject;
use crate::domain::user_session::{
    self, ClientSession, Device, EndReason, Heartbeat, Kept, Platform, UserSessionStatus, Wanted,
};
use crate::identity::Caller;
use crate::identity::client_address::masked;
use crate::protocol::json::keepable;
use crate::protocol::problem::Problem;
use crate::protocol::{Code, Refusal, name};
use crate::socket::device::user_agent;
use crate::store::Cursor;
use crate::store::Store;
use crate::user_session::UserSessions;

/// The largest number of interactions in one heartbeat.
const MOST_ACTIVITY: i64 = 1_000_000;

/// A session that is to be started.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"session_id": "8c5f-1", "platform": "web", "device_info": {"browser": "Firefox"}}))]
pub struct StartSession {
    /// Made by the client; no control characters, and not `summary`.
    #[schema(min_length = 1, max_length = 128, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    session_id: String,
    platform: Platform,
    /// At most 8 KiB, like the other two.
    #[schema(value_type = Option<Object>)]
    device_info: Option<Map<String, Value>>,
    #[schema(value_type = Option<Object>)]
    location_info: Option<Map<String, Value>>,
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
}

/// A session that was started, or continued.
#[derive(Serialize, ToSchema)]
pub struct StartedSession {
    #[serde(flatten)]
    session: UserSession,
    /// The user's other live sessions, newest first, at most 50.
    other_active: Vec<OtherSession>,
}

/// Starts a session of the calling user. The same call again continues the session while it is alive, and counts
/// as a heartbeat; of the three objects those that are given replace the stored ones.
#[utoipa::path(
    post, path = "/v1/user-sessions", tag = "user sessions", request_body = StartSession,
    responses(
        (status = CREATED, body = StartedSession, description = "Started"),
        (status = OK, body = StartedSession, description = "A live session of the user, continued"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json",
         description = "`session_id_taken`: another user's, or on another platform; `session_ended`"),
    ),
)]
pub async fn start(
    State(store): State<Store>,
    State(user_sessions): State<Arc<UserSessions>>,
    caller: Caller,
    Address(address): Address,
    headers: HeaderMap,
    Body(body): Body<StartSession>,
) -> Result<(StatusCode, Json<StartedSession>), Refusal> {
    let (user, _) = caller.user()?;
    let device = Device {
        session: name::client_session("session_id", &body.session_id)?,
        platform: body.platform,
        user_agent: user_agent(&headers),
        network: masked(address),
    };
    let kept = Kept {
        device_info: object("device_info", body.device_info)?,
        location_info: object("location_info", body.location_info)?,
        metadata: object("metadata", body.metadata)?,
    };
    let started = store.start_user_session(user, &device, &kept, user_sessions.rules()).await?;
    user_sessions.seen_otherwise(user.id(), &device.session);
    let status = if started.newly_made { StatusCode::CREATED } else { StatusCode::OK };
    let other_active = started.others.into_iter().map(Into::into).collect();
    Ok((status, Json(StartedSession { session: started.session.into(), other_active })))
}

fn object(field: &str, object: Option<Map<String, Value>>) -> Result<Option<Document>, Refusal> {
    let Some(object) = object.map(Value::Object) else { return Ok(None) };
    keepable(field, &object)?;
    Ok(Some(to_raw_value(&object).expect("a value is JSON").into()))
}

#[derive(Deserialize)]
pub struct Listing {
    status: Option<String>,
    platform: Option<String>,
    user_id: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// The sessions that the caller may see, newest first: a user its own, the service all.
#[utoipa::path(
    get, path = "/v1/user-sessions", tag = "user sessions",
    params(
        ("status" = Option<UserSessionStatus>, Query),
        ("platform" = Option<Platform>, Query),
        ("user_id" = Option<Subject>, Query),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 200),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of an earlier page"),
    ),
    responses((status = OK, body = Page<UserSession>)),
)]
pub async fn list(
    State(store): State<Store>,
    caller: Caller,
    Filter(listing): Filter<Listing>,
) -> Result<Json<Page<UserSession>>, Refusal> {
    let viewer = caller.viewer()?;
    let asked = Asked::read(listing.limit.as_deref(), listing.cursor.as_deref())?;
    let wanted = Wanted {
        user_id: user(listing.user_id.as_deref())?,
        status: listing.status.as_deref().map(|word| name::word("status", word)).transpose()?,
        platform: listing.platform.as_deref().map(|word| name::word("platform", word)).transpose()?,
    };
    let place = |session: &user_session::UserSession| Cursor { at: session.started_at, id: session.id.0 };
    asked.read_page(|after, rows| store.user_sessions(viewer, wanted, after, rows), place).await
}

/// One session.
#[utoipa::path(
    get, path = "/v1/user-sessions/{session_id}", tag = "user sessions",
    params(("session_id" = String, Path)),
    responses(
        (status = OK, body = UserSession),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json", description = "`session_not_found`"),
    ),
)]
pub async fn read(
    State(store): State<Store>,
    caller: Caller,
    Ids(session): Ids<ClientSession>,
) -> Result<Json<UserSession>, Refusal> {
    let viewer = caller.viewer()?;
    let session = store.user_session(viewer, session.as_str()).await?;
    session.map(|session| Json(session.into())).ok_or_else(|| Code::UserSessionNotFound.into())
}

/// A heartbeat.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"activity_count": 3}))]
pub struct Beat {
    /// How often the person did something since the last heartbeat; by default 1 where `active` is true,
    /// else 0.
    #[schema(minimum = 0, maximum = 1_000_000)]
    #[serde(default, deserialize_with = "whole_or_null")]
    activity_count: Option<i64>,
    /// Whether the person did something since the last heartbeat; `true` by default.
    active: Option<bool>,
}

/// Keeps the session alive. Not needed while a WebSocket names the session: its beats and Pongs are heartbeats.
#[utoipa::path(
    post, path = "/v1/user-sessions/{session_id}/heartbeat", tag = "user sessions",
    params(("session_id" = String, Path)), request_body = Beat,
    responses(
        (status = OK, body = UserSession),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json", description = "`session_not_found`"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json",
         description = "`session_ended`: it has ended, or had no heartbeat for too long"),
    ),
)]
pub async fn heartbeat(
    State(store): State<Store>,
    State(user_sessions): State<Arc<UserSessions>>,
    caller: Caller,
    Ids(id): Ids<ClientSession>,
    Body(beat): Body<Beat>,
) -> Result<Json<UserSession>, Refusal> {
    let viewer = caller.viewer()?;
    let active = beat.active.unwrap_or(true);
    let activity = beat.activity_count.unwrap_or(i64::from(active));
    if !(0..=MOST_ACTIVITY).contains(&activity) {
        return Err(Refusal::invalid("activity_count", format!("must be from 0 to {MOST_ACTIVITY}")));
    }
    let beat = Heartbeat { active, activity };
    let session = store.beat_user_session(viewer, id.as_str(), beat, user_sessions.rules()).await?;
    user_sessions.seen_otherwise(session.user_id.id(), &id);
    Ok(Json(session.into()))
}

/// Changes the metadata by a JSON merge patch (RFC 7396); the result may have 8 KiB. No heartbeat.
#[utoipa::path(
    patch, path = "/v1/user-sessions/{session_id}/metadata", tag = "user sessions",
    params(("session_id" = String, Path)),
    request_body(content(
        (Object = "application/merge-patch+json", example = json!({"theme": "dark", "draft": null})),
        (Object = "application/json", example = json!({"theme": "dark", "draft": null})),
    )),
    responses(
        (status = OK, body = UserSession),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json", description = "`session_not_found`"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json", description = "`session_ended`"),
    ),
)]
pub async fn patch(
    State(store): State<Store>,
    caller: Caller,
    Ids(id): Ids<ClientSession>,
    Body(patch): Body<Map<String, Value>>,
) -> Result<Json<UserSession>, Refusal> {
    let viewer = caller.viewer()?;
    let patch = Value::Object(patch);
    let patched = store.change_user_session_metadata(viewer, id.as_str(), |metadata| {
        json_patch::merge(metadata, &patch);
        keepable("metadata", metadata)
    });
    let session = patched.await??;
    Ok(Json(session.into()))
}

/// Why a session ends.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"end_reason": "logout"}))]
pub struct EndSession {
    end_reason: EndReason,
}

/// Ends the session. Its connections stay open, and no longer count for it.
#[utoipa::path(
    post, path = "/v1/user-sessions/{session_id}/end", tag = "user sessions",
    params(("session_id" = String, Path)), request_body = EndSession,
    responses(
        (status = OK, body = UserSession),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json", description = "`session_not_found`"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json", description = "`session_ended`"),
    ),
)]
pub async fn end(
    State(store): State<Store>,
    State(user_sessions): State<Arc<UserSessions>>,
    caller: Caller,
    Ids(id): Ids<ClientSession>,
    Body(body): Body<EndSession>,
) -> Result<Json<UserSession>, Refusal> {
    let viewer = caller.viewer()?;
    let session = store.end_user_session(viewer, id.as_str(), body.end_reason).await?;
    user_sessions.forget(session.user_id.id(), &id);
    Ok(Json(session.into()))
}

/// The live sessions by platform.
#[derive(Serialize, ToSchema)]
pub struct Summary {
    /// The platforms that have any.
    items: Vec<PlatformSummary>,
}

/// Counts of live sessions by platform: of a user their own; for the service all.
#[utoipa::path(
    get, path = "/v1/user-sessions/summary", tag = "user sessions",
    responses((status = OK, body = Summary)),
)]
pub async fn summary(State(store): State<Store>, caller: Caller) -> Result<Json<Summary>, Refusal> {
    let platforms = store.user_session_summary(caller.viewer()?).await?;
    Ok(Json(Summary { items: platforms.into_iter().map(Into::into).collect() }))
}
