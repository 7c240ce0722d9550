//! `/v1/check-ins`: present for the next hour.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::{Body, Filter, Ids, time, user};
use super::page::{Asked, Listing, Page};
use crate::domain::check_in::{self, CheckInFilter, CheckInStatus, CheckOut};
use crate::domain::ids::CheckInId;
use crate::domain::subject::Subject;
use crate::identity::Caller;
use crate::protocol::v1::Timestamp;
use crate::protocol::{Code, Refusal};
use crate::store::Cursor;
use crate::store::Store;

/// A check-in of a user.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": "0190f3c2-7b1a-7c3e-9d2f-1a2b3c4d5e6f", "user_id": "6f1c2d3e-0000-4000-8000-000000000001", "name": "Ada",
    "checked_in_at": "2026-11-21T09:30:00.123Z", "expires_at": "2026-11-21T11:05:42.000Z",
    "checked_out_at": null, "status": "active", "extended_at": "2026-11-21T10:05:42.000Z", "extension_count": 1
}))]
pub struct CheckIn {
    id: CheckInId,
    user_id: Subject,
    /// The name of the JWT, where it has one.
    #[schema(min_length = 1, max_length = 80)]
    name: Option<String>,
    checked_in_at: Timestamp,
    expires_at: Timestamp,
    /// Never after `expires_at`.
    checked_out_at: Option<Timestamp>,
    /// Active until checked out; it runs while it is active and `expires_at` is in the future.
    status: CheckInStatus,
    /// When the user checked in again while it ran, the last time.
    extended_at: Option<Timestamp>,
    /// How often the user checked in again while it ran.
    #[schema(minimum = 0)]
    extension_count: i32,
}

impl From<check_in::CheckIn> for CheckIn {
    fn from(stored: check_in::CheckIn) -> Self {
        Self {
            id: stored.id,
            user_id: stored.user_id,
            name: stored.name,
            checked_in_at: stored.checked_in_at.into(),
            expires_at: stored.expires_at.into(),
            checked_out_at: stored.checked_out_at.map(Into::into),
            status: stored.status,
            extended_at: stored.extended_at.map(Into::into),
            extension_count: stored.extension_count,
        }
    }
}

/// An empty body: the JWT identifies the user.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// Checks in for the next hour. While a check-in runs it is extended to an hour from now.
#[utoipa::path(
    post, path = "/v1/check-ins", tag = "check-ins",
    responses(
        (status = CREATED, body = CheckIn, description = "A new check-in"),
        (status = OK, body = CheckIn, description = "The one that runs, extended to an hour from now"),
    ),
)]
pub async fn check_in(
    State(store): State<Store>,
    caller: Caller,
    Body(Nothing {}): Body<Nothing>,
) -> Result<(StatusCode, Json<CheckIn>), Refusal> {
    let (user, name) = caller.user()?;
    let (check_in, is_new) = store.check_in(user, name).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(check_in.into())))
}

/// Checks out. Once the hour is over, `checked_out_at` is when it was.
#[utoipa::path(
    post, path = "/v1/check-ins/{id}/check-out", tag = "check-ins",
    params(("id" = CheckInId, Path)),
    responses(
        (status = OK, body = CheckIn, description = "Checked out"),
        (status = NOT_FOUND, description = "`not_found`"),
        (status = CONFLICT, description = "`already_checked_out`"),
    ),
)]
pub async fn check_out(
    State(store): State<Store>,
    caller: Caller,
    Ids(id): Ids<CheckInId>,
    Body(Nothing {}): Body<Nothing>,
) -> Result<Json<CheckIn>, Refusal> {
    match store.check_out(caller.viewer()?, id).await? {
        CheckOut::Done(check_in) => Ok(Json(check_in.into())),
        CheckOut::Already => Err(Code::AlreadyCheckedOut.into()),
        CheckOut::Unknown => Err(Code::CheckInNotFound.into()),
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct History {
    /// Those of this user.
    #[param(value_type = Option<Subject>)]
    user_id: Option<String>,
    /// Those with this `checked_in_at` or a later one, as in RFC 3339.
    #[param(value_type = Option<Timestamp>, example = "2026-11-21T00:00:00Z")]
    from: Option<String>,
    /// Those with an earlier `checked_in_at`, as in RFC 3339.
    #[param(value_type = Option<Timestamp>, example = "2026-11-28T00:00:00Z")]
    to: Option<String>,
    /// Items per page; 50 by default.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 200)]
    limit: Option<String>,
    /// The `next_cursor` of an earlier page.
    #[param(min_length = 1)]
    cursor: Option<String>,
}

/// The check-ins that are kept, running or over, the newest first: for a user their own; for the service all. Of
/// another user a user sees none.
#[utoipa::path(
    get, path = "/v1/check-ins", tag = "check-ins",
    params(History),
    responses((status = OK, body = Page<CheckIn>)),
)]
pub async fn list(
    State(store): State<Store>,
    caller: Caller,
    Filter(history): Filter<History>,
) -> Result<Json<Page<CheckIn>>, Refusal> {
    let viewer = caller.viewer()?;
    let filter = CheckInFilter {
        user: user(history.user_id.as_deref())?,
        from: time("from", history.from.as_deref())?,
        to: time("to", history.to.as_deref())?,
    };
    if let (Some(from), Some(to)) = (filter.from, filter.to)
        && from > to
    {
        return Err(Refusal::invalid("to", "must not be before from"));
    }
    let asked = Asked::read(history.limit.as_deref(), history.cursor.as_deref())?;
    let check_ins = store.check_ins(viewer, filter, asked.after, asked.rows()).await?;
    let place = |check_in: &check_in::CheckIn| Cursor { at: check_in.checked_in_at, id: check_in.id.0 };
    Ok(Json(asked.page(check_ins, place, Into::into)))
}

/// A check-in that runs now.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": "0190f3c2-7b1a-7c3e-9d2f-1a2b3c4d5e6f", "user_id": "6f1c2d3e-0000-4000-8000-000000000001", "name": "Ada",
    "checked_in_at": "2026-11-21T09:30:00.123Z", "expires_at": "2026-11-21T10:30:00.123Z",
    "status": "active", "minutes_remaining": 42, "extended_at": null, "extension_count": 0
}))]
pub struct ActiveCheckIn {
    id: CheckInId,
    user_id: Subject,
    /// The name of the JWT, where it has one.
    #[schema(min_length = 1, max_length = 80)]
    name: Option<String>,
    checked_in_at: Timestamp,
    expires_at: Timestamp,
    status: CheckInStatus,
    /// Rounded up.
    #[schema(minimum = 0)]
    minutes_remaining: i32,
    /// When the user checked in again while it ran, the last time.
    extended_at: Option<Timestamp>,
    /// How often the user checked in again while it ran.
    #[schema(minimum = 0)]
    extension_count: i32,
}

impl From<check_in::ActiveCheckIn> for ActiveCheckIn {
    fn from(stored: check_in::ActiveCheckIn) -> Self {
        Self {
            id: stored.id,
            user_id: stored.user_id,
            name: stored.name,
            checked_in_at: stored.checked_in_at.into(),
            expires_at: stored.expires_at.into(),
            status: CheckInStatus::Active,
            minutes_remaining: stored.minutes_remaining,
            extended_at: stored.extended_at.map(Into::into),
            extension_count: stored.extension_count,
        }
    }
}

/// The check-ins that run now, the newest first: for a user their own; for the service all.
#[utoipa::path(
    get, path = "/v1/check-ins/active", tag = "check-ins",
    params(Listing),
    responses((status = OK, body = Page<ActiveCheckIn>)),
)]
pub async fn active(
    State(store): State<Store>,
    caller: Caller,
    Filter(listing): Filter<Listing>,
) -> Result<Json<Page<ActiveCheckIn>>, Refusal> {
    let viewer = caller.viewer()?;
    let place = |check_in: &check_in::ActiveCheckIn| Cursor { at: check_in.checked_in_at, id: check_in.id.0 };
    listing.asked()?.read_page(|after, rows| store.active_check_ins(viewer, after, rows), place).await
}

/// The check-ins that are kept, counted.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "active": 3, "expired_but_marked_active": 1, "checked_out": 8, "total": 12, "avg_duration_minutes": 34.5
}))]
pub struct CheckInStats {
    #[schema(minimum = 0)]
    active: i64,
    /// Expired without a check-out.
    #[schema(minimum = 0)]
    expired_but_marked_active: i64,
    #[schema(minimum = 0)]
    checked_out: i64,
    #[schema(minimum = 0)]
    total: i64,
    /// Of check-ins that were checked out; null where there are none.
    avg_duration_minutes: Option<f64>,
}

/// Counts of check-ins by kind. For the service.
#[utoipa::path(
    get, path = "/v1/check-ins/stats", tag = "check-ins",
    responses((status = OK, body = CheckInStats)),
)]
pub async fn stats(State(store): State<Store>, caller: Caller) -> Result<Json<CheckInStats>, Refusal> {
    caller.service()?;
    let stats = store.check_in_stats().await?;
    Ok(Json(CheckInStats {
        active: stats.active,
        expired_but_marked_active: stats.expired_but_marked_active,
        checked_out: stats.checked_out,
        total: stats.total,
        avg_duration_minutes: stats.avg_duration_minutes,
    }))
}
