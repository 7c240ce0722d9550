//! `GET /v1/admin/analytics`: figures of the past for operators.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::{Filter, parse, time_zone};
use crate::identity::Caller;
use crate::protocol::Refusal;
use crate::store::Store;

/// The number of days: the default, and the most.
const DAYS: i32 = 7;
const MOST_DAYS: i32 = 366;

/// Which days, by which calendar.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// How many days back.
    #[param(value_type = Option<i32>, minimum = 1, maximum = 366, default = 7)]
    days: Option<String>,
    /// The time zone of hours and days, by its name: `Europe/Vienna`.
    #[param(default = "UTC", example = "Europe/Vienna", min_length = 1, max_length = 64)]
    time_zone: Option<String>,
}

/// The last days.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "days": 7, "time_zone": "Europe/Vienna",
    "sessions": {"count": 412, "average_seconds": 2760, "median_seconds": 2580, "average_participants": 3.41},
    "peak_hours": [2, 0, 0, 0, 0, 1, 3, 9, 14, 18, 21, 20, 17, 15, 16, 19, 24, 31, 44, 58, 49, 31, 15, 5],
    "returning_users": {
        "users": 640, "next_day": 212, "within_seven_days": 388,
        "next_day_rate": 0.3313, "within_seven_days_rate": 0.6063,
    },
}))]
pub struct Analytics {
    days: i32,
    time_zone: String,
    sessions: Lengths,
    /// How many reading sessions were opened in each hour of the day, from midnight.
    #[schema(min_items = 24, max_items = 24)]
    peak_hours: Vec<i64>,
    returning_users: Returning,
}

/// The reading sessions that were opened in these days.
#[derive(Serialize, ToSchema)]
struct Lengths {
    count: i64,
    /// From the opening until the last beat of a participant.
    average_seconds: i64,
    median_seconds: i64,
    /// Participants of a session.
    average_participants: f64,
}

/// The users who joined in these days.
#[derive(Serialize, ToSchema)]
struct Returning {
    users: i64,
    /// Joined again on the next day.
    next_day: i64,
    /// Joined again within seven days.
    within_seven_days: i64,
    /// `next_day` as a part of `users`, to four digits; null where nobody came.
    #[schema(minimum = 0, maximum = 1)]
    next_day_rate: Option<f64>,
    /// `within_seven_days` as a part of `users`, to four digits; null where nobody came.
    #[schema(minimum = 0, maximum = 1)]
    within_seven_days_rate: Option<f64>,
}

/// The last days: how long sessions last and with how many people, at which hours they begin, and how many
/// people return.
#[utoipa::path(
    get, path = "/v1/admin/analytics", tag = "operators",
    params(Asked),
    responses((status = OK, description = "The figures", body = Analytics)),
)]
pub async fn analytics(
    State(store): State<Store>,
    caller: Caller,
    Filter(asked): Filter<Asked>,
) -> Result<Json<Analytics>, Refusal> {
    caller.service()?;
    let days = parse("days", asked.days.as_deref(), "a number")?.unwrap_or(DAYS);
    if !(1..=MOST_DAYS).contains(&days) {
        return Err(Refusal::invalid("days", format!("must be from 1 to {MOST_DAYS}")));
    }
    let time_zone = time_zone(&store, asked.time_zone).await?;
    let sessions = store.session_analytics(days).await?;
    let peak_hours = store.peak_hours(days, &time_zone).await?;
    let returning = store.returning_users(days, &time_zone).await?;
    #[expect(clippy::cast_possible_truncation, reason = "no session is older than the universe")]
    let whole = |seconds: f64| seconds.round() as i64;
    Ok(Json(Analytics {
        days,
        time_zone,
        sessions: Lengths {
            count: sessions.sessions,
            average_seconds: whole(sessions.average_seconds),
            median_seconds: whole(sessions.median_seconds),
            average_participants: (sessions.average_participants * 100.0).round() / 100.0,
        },
        peak_hours,
        returning_users: Returning {
            users: returning.users,
            next_day: returning.next_day,
            within_seven_days: returning.within_seven_days,
            next_day_rate: returning.next_day_rate,
            within_seven_days_rate: returning.within_seven_days_rate,
        },
    }))
}
