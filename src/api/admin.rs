//! `/v1/admin`: calls of the service alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::app::App;
use crate::domain::participant::Status;
use crate::identity::Caller;
use crate::protocol::v1::Timestamp;
use crate::protocol::{Code, Refusal};
use crate::store::analytics::Count;
use crate::task::sweep::{Sweeper, Swept, Totals};

/// How long a call waits for the end of the sweep that it began.
const SWEEP_PATIENCE: Duration = Duration::from_secs(5);

/// Where the sweep can be looked at that began last.
const SWEEP: &str = "/v1/admin/sweep";

/// Sweeps now: ends what is idle or overdue, and deletes what is past its retention.
///
/// A sweep that takes longer than 5 seconds goes on after the answer.
#[utoipa::path(
    post, path = "/v1/admin/sweep", tag = "operators",
    responses(
        (status = OK, description = "What was done, by policy", body = Swept),
        (
            status = ACCEPTED, description = "What was done so far; the sweep goes on", body = Swept,
            headers(("location" = String, description = "Where to look how far it is")),
        ),
    ),
)]
pub async fn sweep(State(app): State<App>, caller: Caller) -> Result<Response, Refusal> {
    caller.service()?;
    let run = app.sweeper.begin();
    let sweep = app.tracker.spawn({
        let (sweeper, run) = (Arc::clone(&app.sweeper), Arc::clone(&run));
        async move { sweeper.sweep(&run).await }
    });
    match timeout(SWEEP_PATIENCE, sweep).await {
        Ok(ended) => Ok(Json(ended.map_err(|_| Code::Internal)??).into_response()),
        Err(_) => Ok((StatusCode::ACCEPTED, [(header::LOCATION, SWEEP)], Json(run.swept())).into_response()),
    }
}

/// The sweep of this server that began last.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"started_at": "2026-03-14T12:00:00.000Z", "running": false, "swept": Swept::default()}))]
pub struct NewestSweep {
    /// When it began; null before the first.
    started_at: Option<Timestamp>,
    /// Whether it goes on.
    running: bool,
    /// What it did so far.
    swept: Swept,
}

/// How far the sweep is that began last, by itself or by a call.
#[utoipa::path(
    get, path = "/v1/admin/sweep", tag = "operators",
    responses((status = OK, description = "The sweep", body = NewestSweep)),
)]
pub async fn newest_sweep(State(sweeper): State<Arc<Sweeper>>, caller: Caller) -> Result<Json<NewestSweep>, Refusal> {
    caller.service()?;
    let run = sweeper.newest();
    Ok(Json(NewestSweep {
        started_at: run.as_ref().map(|run| run.started_at().into()),
        running: run.as_ref().is_some_and(|run| run.is_running()),
        swept: run.map(|run| run.swept()).unwrap_or_default(),
    }))
}

/// What this server holds now.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "node": "reading-1", "connections": 40, "observers": 1, "rooms": 7,
    "participants": {"active": 30, "idle": 5, "reconnecting": 2}, "flush_backlog": 12,
    "sweeps": {
        "last": {"started_at": "2026-03-14T12:00:00.000Z", "ended_at": "2026-03-14T12:00:00.140Z", "swept": Swept::default()},
        "since_start": {"sweeps": 96, "swept": {"closed": 31, "purged": 4}, "failed": {"purged": 1}},
        "next_at": "2026-03-14T12:15:00.000Z",
    },
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
    sweeps: Sweeps,
    stored: Stored,
}

/// The sweeps of this server, by themselves and by call.
#[derive(Serialize, ToSchema)]
struct Sweeps {
    /// The one that ended last; null before the first.
    last: Option<EndedSweep>,
    since_start: SweepTotals,
    /// When the server sweeps next by itself; null while it does.
    next_at: Option<Timestamp>,
}

/// A sweep that has ended.
#[derive(Serialize, ToSchema)]
struct EndedSweep {
    started_at: Timestamp,
    ended_at: Timestamp,
    swept: Swept,
}

/// All sweeps since the server started.
#[derive(Serialize, ToSchema)]
struct SweepTotals {
    sweeps: u64,
    /// The rows that each policy has ended or deleted, of `orphans_settled` also those of the audit between sweeps.
    #[schema(value_type = BTreeMap<String, u64>)]
    swept: BTreeMap<&'static str, u64>,
    /// How often each policy has failed.
    #[schema(value_type = BTreeMap<String, u64>)]
    failed: BTreeMap<&'static str, u64>,
}

impl Sweeps {
    fn of(sweeper: &Sweeper) -> Self {
        let last = sweeper.last().map(|last| EndedSweep {
            started_at: last.started_at.into(),
            ended_at: last.ended_at.into(),
            swept: last.swept,
        });
        let Totals { sweeps, swept, failed } = sweeper.totals();
        Self { last, since_start: SweepTotals { sweeps, swept, failed }, next_at: sweeper.next_at().map(Into::into) }
    }
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

/// What there is now: on this server, and in the database; and how its sweeps are.
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
        sweeps: Sweeps::of(&app.sweeper),
        stored,
    }))
}
