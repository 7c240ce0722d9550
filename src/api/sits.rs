//! `/v1/sits`: starting and completing sits, and the history.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::extract::{Body, Filter, Ids, parse, time_zone, whole};
use super::page::{Asked, Page};
use crate::domain::ids::{PartnershipId, RoomSitId, SitId};
use crate::domain::sit::{self, Completing, Completion, SitFilter, SitStatus};
use crate::domain::subject::Subject;
use crate::identity::Caller;
use crate::protocol::problem::{MEDIA_TYPE, Problem};
use crate::protocol::v1::{LONGEST_SIT_SECONDS, Timestamp};
use crate::protocol::{Code, Refusal, name};
use crate::store::Cursor;
use crate::store::Store;

/// A timed sitting of one person.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": "0190f3c2-7b1a-7c3e-9d2f-1a2b3c4d5e71", "user_id": "6f1c2d3e-0000-4000-8000-000000000001",
    "partnership_id": null, "room_sit_id": null, "sit_length_seconds": 600, "started_at": "2026-11-21T09:30:00.123Z",
    "completed_at": "2026-11-21T09:40:01.456Z", "is_completed": true, "status": "completed",
    "created_at": "2026-11-21T09:30:00.123Z", "duration_seconds": 601
}))]
pub struct Sit {
    id: SitId,
    user_id: Subject,
    partnership_id: Option<PartnershipId>,
    /// The sit of a room that it was part of.
    room_sit_id: Option<RoomSitId>,
    #[schema(minimum = 1)]
    sit_length_seconds: i32,
    started_at: Timestamp,
    completed_at: Option<Timestamp>,
    is_completed: bool,
    status: SitStatus,
    /// When it was stored: at its start; for a sit of a room, at its end.
    created_at: Timestamp,
    /// The time that was really sat; null where it was not completed.
    #[schema(minimum = 0)]
    duration_seconds: Option<i64>,
}

impl From<sit::Sit> for Sit {
    fn from(stored: sit::Sit) -> Self {
        Self {
            id: stored.id,
            user_id: stored.user_id,
            partnership_id: stored.partnership_id,
            room_sit_id: stored.room_sit_id,
            sit_length_seconds: stored.sit_length_seconds,
            started_at: stored.started_at.into(),
            completed_at: stored.completed_at.map(Into::into),
            is_completed: stored.status == SitStatus::Completed,
            status: stored.status,
            created_at: stored.created_at.into(),
            duration_seconds: stored.duration_seconds,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"sit_length_seconds": 600}))]
pub struct StartSit {
    /// At most a day.
    #[schema(minimum = 1, maximum = 86400)]
    #[serde(deserialize_with = "whole")]
    sit_length_seconds: i32,
    /// One that the user belongs to.
    partnership_id: Option<PartnershipId>,
}

/// Starts a sit. Several may be open at once, each with its own id.
#[utoipa::path(
    post, path = "/v1/sits", tag = "sits",
    request_body = StartSit,
    responses(
        (status = CREATED, body = Sit),
        (status = NOT_FOUND, description = "`not_found`: no such partnership that the user belongs to"),
    ),
)]
pub async fn start(
    State(store): State<Store>,
    caller: Caller,
    Body(body): Body<StartSit>,
) -> Result<(StatusCode, Json<Sit>), Refusal> {
    let (user, _) = caller.user()?;
    if !(1..=LONGEST_SIT_SECONDS).contains(&body.sit_length_seconds) {
        return Err(Refusal::invalid("sit_length_seconds", format!("must be from 1 to {LONGEST_SIT_SECONDS}")));
    }
    let started = store.start_sit(user, body.sit_length_seconds, body.partnership_id).await?;
    let sit = started.ok_or(Code::PartnershipNotFound)?;
    Ok((StatusCode::CREATED, Json(sit.into())))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"early": true}))]
pub struct CompleteSit {
    /// Whether it may be completed before its length is over.
    early: Option<bool>,
    /// The end of the sit, `started_at` and `sit_length_seconds` later, within a second: it was sat to its end, and is
    /// reported late. Without it an open sit is completed now, or as of its end where its user is more than an hour
    /// late; an abandoned one as of its end.
    completed_at: Option<DateTime<Utc>>,
}

/// Completes a sit: on time, before its end with `early`, or as of its end where that is reported late.
#[utoipa::path(
    post, path = "/v1/sits/{id}/complete", tag = "sits",
    params(("id" = SitId, Path)),
    request_body = CompleteSit,
    responses(
        (status = OK, body = Sit),
        (status = NOT_FOUND, description = "`sit_not_found`"),
        (status = CONFLICT, description = "`already_completed`, `too_early`, or `conflict` where `completed_at` is not its end, or it was abandoned and `early` is given"),
    ),
)]
pub async fn complete(
    State(store): State<Store>,
    caller: Caller,
    Ids(id): Ids<SitId>,
    Body(body): Body<CompleteSit>,
) -> Result<Json<Sit>, Refusal> {
    if body.completed_at.is_some_and(|at| !(1..=9999).contains(&at.year())) {
        return Err(Refusal::invalid("completed_at", "must be in the years 1 to 9999"));
    }
    let how = Completing { early: body.early.unwrap_or(false), at: body.completed_at };
    match store.complete_sit(caller.viewer()?, id, how).await? {
        Completion::Done(sit) => Ok(Json(sit.into())),
        Completion::Over(SitStatus::Abandoned) => Err(Refusal::new(
            Code::Conflict,
            "This sit was abandoned. One that was sat to its end is completed without `early`.",
        )),
        Completion::Over(_) => Err(Code::AlreadyCompleted.into()),
        Completion::NotItsEnd(end) => {
            let end = end.to_rfc3339_opts(SecondsFormat::Millis, true);
            Err(Refusal::new(Code::Conflict, format!("completed_at must be the end of this sit, {end}.")))
        }
        Completion::TooEarly => Err(Code::TooEarly.into()),
        Completion::Unknown => Err(Code::SitNotFound.into()),
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct History {
    /// Sits of all members of this partnership.
    #[param(value_type = Option<PartnershipId>)]
    partnership_id: Option<String>,
    /// Only completed sits, or only others: open and abandoned ones.
    #[param(value_type = Option<bool>)]
    completed: Option<String>,
    /// Only sits of this status.
    #[param(value_type = Option<SitStatus>)]
    status: Option<String>,
    /// Items per page; 50 by default.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 200)]
    limit: Option<String>,
    /// The `next_cursor` of an earlier page.
    cursor: Option<String>,
}

/// Sits, the newest first: a user's own, or those of all members of a partnership in it; for the service
/// all.
#[utoipa::path(
    get, path = "/v1/sits", tag = "sits",
    params(History),
    responses((status = OK, body = Page<Sit>)),
)]
pub async fn list(
    State(store): State<Store>,
    caller: Caller,
    Filter(history): Filter<History>,
) -> Result<Json<Page<Sit>>, Refusal> {
    let viewer = caller.viewer()?;
    let filter = SitFilter {
        partnership: partnership(history.partnership_id.as_deref())?,
        completed: parse("completed", history.completed.as_deref(), "true or false")?,
        status: history.status.as_deref().map(|word| name::word("status", word)).transpose()?,
    };
    let asked = Asked::read(history.limit.as_deref(), history.cursor.as_deref())?;
    let place = |sit: &sit::Sit| Cursor { at: sit.started_at, id: sit.id.0 };
    asked.read_page(|after, rows| store.sits(viewer, filter, after, rows), place).await
}

/// One sit: the caller's own, or one of a partner in their partnership; for the service any.
#[utoipa::path(
    get, path = "/v1/sits/{id}", tag = "sits",
    params(("id" = SitId, Path)),
    responses(
        (status = OK, body = Sit),
        (status = NOT_FOUND, description = "`sit_not_found`", body = Problem, content_type = MEDIA_TYPE),
    ),
)]
pub async fn read(State(store): State<Store>, caller: Caller, Ids(id): Ids<SitId>) -> Result<Json<Sit>, Refusal> {
    let sit = store.sit(caller.viewer()?, id).await?;
    sit.map(|sit| Json(sit.into())).ok_or_else(|| Code::SitNotFound.into())
}

/// The sits of one member of a partnership in one week.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "user_id": "6f1c2d3e-0000-4000-8000-000000000001", "iso_week": "2026-W47", "week_starts_on": "2026-11-16",
    "sits_completed": 5, "seconds": 3012
}))]
pub struct SitWeek {
    user_id: Subject,
    /// The week of ISO 8601, by the calendar of the time zone, in which the sits were completed.
    iso_week: String,
    /// Its Monday.
    week_starts_on: NaiveDate,
    #[schema(minimum = 1)]
    sits_completed: i64,
    /// The time that was really sat: the sum of `duration_seconds` of these sits.
    #[schema(minimum = 0)]
    seconds: i64,
}

impl From<sit::SitWeek> for SitWeek {
    fn from(stored: sit::SitWeek) -> Self {
        Self {
            user_id: stored.user_id,
            iso_week: stored.iso_week,
            week_starts_on: stored.week_starts_on,
            sits_completed: stored.sits_completed,
            seconds: stored.seconds,
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Weeks {
    #[param(value_type = PartnershipId)]
    partnership_id: Option<String>,
    /// The time zone of the weeks, by its name: `Europe/Vienna`.
    #[param(default = "UTC", example = "Europe/Vienna", min_length = 1, max_length = 64)]
    time_zone: Option<String>,
    /// Items per page; 50 by default.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 200)]
    limit: Option<String>,
    /// The `next_cursor` of an earlier page.
    cursor: Option<String>,
}

/// The sits of the members of a partnership, summed by week, the newest first.
#[utoipa::path(
    get, path = "/v1/sits/weeks", tag = "sits",
    params(Weeks),
    responses((status = OK, body = Page<SitWeek>)),
)]
pub async fn weeks(
    State(store): State<Store>,
    caller: Caller,
    Filter(weeks): Filter<Weeks>,
) -> Result<Json<Page<SitWeek>>, Refusal> {
    let viewer = caller.viewer()?;
    let partnership = partnership(weeks.partnership_id.as_deref())?;
    let partnership = partnership.ok_or_else(|| Refusal::invalid("partnership_id", "is needed"))?;
    let asked = Asked::read(weeks.limit.as_deref(), weeks.cursor.as_deref())?;
    let time_zone = time_zone(&store, weeks.time_zone).await?;
    let place = |week: &sit::SitWeek| Cursor {
        at: week.week_starts_on.and_time(NaiveTime::MIN).and_utc(),
        id: week.user_id.id().0,
    };
    asked.read_page(|after, rows| store.sit_weeks(viewer, partnership, &time_zone, after, rows), place).await
}

fn partnership(text: Option<&str>) -> Result<Option<PartnershipId>, Refusal> {
    Ok(parse::<Uuid>("partnership_id", text, "the id of a partnership")?.map(PartnershipId))
}
