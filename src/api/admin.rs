//! `/v1/admin`: calls of the service alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::domain::participant::Status;
use crate::identity::Caller;
use crate::protocol::Refusal;
use crate::store::analytics::Count;
use crate::task::sweep::Sweeper;
use crate::task::sweep::Swept;

/// Sweeps now: ends what is idle or overdue, and deletes what is past its retention.
#[utoipa::path(
    post, path = "/v1/admin/sweep", tag = "operators",
    responses((status = OK, description = "What was done, by policy", body = Swept)),
)]
pub async fn sweep(State(sweeper): State<Arc<Sweeper>>, caller: Caller) -> Result<Json<Swept>, Refusal> {
    caller.service()?;
    Ok(Json(sweeper.sweep().await?))
}

/// What this server holds now.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "node": "reading-1", "connections": 40, "observers": 1, "rooms": 7,
    "participants": {"active": 30, "idle": 5, "reconnecting": 2}, "flush_backlog": 12,
    "stored": {
        "reading_sessions": {"open": 9, "idle": 120, "host": 31}, "participants_present": 38,
        "user_sessions": {"web": {"active": 35, "idle": 4, "ended": 800}, "ios-external": {"active": 2}},
        "check_ins": {"active": 12, "expired": 90, "checked_out": 44},
        "sits": {"open": 3, "completed": 210, "abandoned": 17},
        "simulators": {"RUNNING": 2, "STOPPED": 61},
    },
}))]
pub struct Stats {
    node: String,
    connections: usize,
    observers: u64,
    rooms: u64,
    participants: ByStatus,
    flush_backlog: usize,
    stored: Stored,
}

/// Rows by status.
type Counts = BTreeMap<String, i64>;

/// What the database holds, of all servers. A status without rows is not listed.
#[derive(Default, Serialize, ToSchema)]
struct Stored {
    /// The open ones, and the closed ones by reason.
    reading_sessions: Counts,
    /// In open sessions.
    participants_present: i64,
    /// By platform and status.
    user_sessions: BTreeMap<String, Counts>,
    /// `active`, `expired`, `checked_out`.
    check_ins: Counts,
    sits: Counts,
    simulators: Counts,
}

impl Stored {
    fn of(counts: Vec<Count>) -> Self {
        let mut stored = Self::default();
        for Count { system, platform, status, rows } in counts {
            let counts = match system.as_str() {
                "reading_sessions" => &mut stored.reading_sessions,
                "user_sessions" => stored.user_sessions.entry(platform.unwrap_or_default()).or_default(),
                "check_ins" => &mut stored.check_ins,
                "sits" => &mut stored.sits,
                "simulators" => &mut stored.simulators,
                _ => {
                    stored.participants_present = rows;
                    continue;
                }
            };
            counts.insert(status, rows);
        }
        stored
    }
}

/// People in the rooms of this server.
#[derive(Serialize, ToSchema)]
struct ByStatus {
    active: u64,
    idle: u64,
    reconnecting: u64,
}

/// What there is now: on this server, and in the database.
#[utoipa::path(
    get, path = "/v1/admin/stats", tag = "operators",
    responses((status = OK, description = "Counts", body = Stats)),
)]
pub async fn stats(State(app): State<App>, caller: Caller) -> Result<Json<Stats>, Refusal> {
    caller.service()?;
    let stored = Stored::of(app.store.counts_now().await?);
    let census = app.registry.census();
    let count = |status: Status| census.participants[status as usize];
    Ok(Json(Stats {
        node: app.store.node().to_owned(),
        connections: app.limits.open(),
        observers: census.observers,
        rooms: census.rooms,
        participants: ByStatus {
            active: count(Status::Active),
            idle: count(Status::Idle),
            reconnecting: count(Status::Reconnecting),
        },
        flush_backlog: app.registry.shared().write_behind.backlog(),
        stored,
    }))
}
