//! Simulators: `/v1/user-sessions/{session_id}/simulator` and `/v1/simulators`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::{Body, Filter, Ids, user};
use super::page::{Asked, Page};
use crate::domain::ids::SimulatorId;
use crate::domain::simulator::{Made, NewSimulator, Simulator, SimulatorFilter, SimulatorStatus};
use crate::domain::subject::Subject;
use crate::domain::user_session::ClientSession;
use crate::identity::Caller;
use crate::protocol::problem::{MEDIA_TYPE, Problem};
use crate::protocol::v1::Timestamp;
use crate::protocol::{Code, Refusal, name};
use crate::simulator::supervisor::Supervisor;
use crate::store::{Cursor, Store, Viewer};

/// The most symbols that a simulator starts with.
const MOST_SYMBOLS: usize = 50;

/// The longest symbol.
const LONGEST_SYMBOL: usize = 16;

/// The cash of a simulator that is requested without any.
const INITIAL_CASH: f64 = 100_000.0;

fn no_such_simulator() -> Refusal {
    Refusal::new(Code::NotFound, "There is no such simulator.")
}

/// What a simulator starts with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"initial_symbols": ["AAPL", "BRK.B"], "initial_cash": 25000.0}))]
pub struct MakeSimulator {
    /// What it trades; nothing by default.
    #[schema(max_items = 50)]
    initial_symbols: Option<Vec<Symbol>>,
    /// What it has to spend; 100000 by default.
    #[schema(minimum = 0)]
    initial_cash: Option<f64>,
}

/// The name of something that is traded.
#[derive(Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, pattern = "^[A-Z0-9.-]{1,16}$", min_length = 1, max_length = 16, example = "AAPL")]
struct Symbol(String);

impl TryFrom<String> for Symbol {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
        if (1..=LONGEST_SYMBOL).contains(&text.len()) && text.bytes().all(allowed) {
            return Ok(Self(text));
        }
        Err(format!("must be 1 to {LONGEST_SYMBOL} of A-Z, 0-9, '.' and '-'"))
    }
}

/// A companion instance of a user session.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": "019aa5d2-7c1e-7d51-9a33-0f4b4c6f0a11",
    "session_id": "web-4711",
    "user_id": "6f1c2d3e-0000-4000-8000-000000000001",
    "status": "RUNNING",
    "endpoint": "http://127.0.0.1:40123",
    "initial_symbols": ["AAPL", "BRK.B"],
    "initial_cash": 25000.0,
    "created_at": "2026-11-21T09:30:00.123Z",
    "last_active": "2026-11-21T09:31:00.123Z",
    "stopped_at": null,
    "error": null
}))]
pub struct ShownSimulator {
    id: SimulatorId,
    /// The name that the client gave the user session.
    session_id: String,
    user_id: Subject,
    status: SimulatorStatus,
    /// Where it is reached; null until it runs.
    endpoint: Option<String>,
    initial_symbols: Vec<String>,
    initial_cash: f64,
    created_at: Timestamp,
    /// When it was last reported as used by `…/activity`.
    last_active: Timestamp,
    stopped_at: Option<Timestamp>,
    /// Why it failed, with the status `ERROR`.
    error: Option<String>,
}

impl From<Simulator> for ShownSimulator {
    fn from(simulator: Simulator) -> Self {
        Self {
            id: simulator.id,
            session_id: simulator.session_id,
            user_id: simulator.user_id,
            status: simulator.status,
            endpoint: simulator.endpoint,
            initial_symbols: simulator.initial_symbols,
            initial_cash: simulator.initial_cash,
            created_at: simulator.created_at.into(),
            last_active: simulator.last_active.into(),
            stopped_at: simulator.stopped_at.map(Into::into),
            error: simulator.error,
        }
    }
}

/// Launches a simulator for a user session. The answer does not wait for the launch.
#[utoipa::path(
    post, path = "/v1/user-sessions/{session_id}/simulator", tag = "simulators",
    params(("session_id" = String, Path, description = "The name that the client gave its user session")),
    request_body = MakeSimulator,
    responses(
        (status = CREATED, description = "It is being launched", body = ShownSimulator),
        (status = NOT_FOUND, description = "`session_not_found`: no such user session", body = Problem, content_type = MEDIA_TYPE),
        (status = CONFLICT, description = "`simulator_exists` or `session_ended`", body = Problem, content_type = MEDIA_TYPE),
        (status = SERVICE_UNAVAILABLE, description = "`simulators_not_configured`, or `at_capacity` with Retry-After", body = Problem, content_type = MEDIA_TYPE),
    ),
)]
pub async fn make(
    State(store): State<Store>,
    State(supervisor): State<Arc<Supervisor>>,
    caller: Caller,
    Ids(session): Ids<ClientSession>,
    Body(body): Body<MakeSimulator>,
) -> Result<(StatusCode, Json<ShownSimulator>), Refusal> {
    let viewer = caller.viewer()?;
    let symbols = body.initial_symbols.unwrap_or_default();
    if symbols.len() > MOST_SYMBOLS {
        return Err(Refusal::invalid("initial_symbols", format!("must be at most {MOST_SYMBOLS}")));
    }
    let cash = body.initial_cash.unwrap_or(INITIAL_CASH);
    if !(cash.is_finite() && cash >= 0.0) {
        return Err(Refusal::invalid("initial_cash", "must be at least 0"));
    }
    let launcher = supervisor.launcher().ok_or(Code::SimulatorsNotConfigured)?;
    let user_session = store.session_of_simulator(viewer, session.as_str()).await?.ok_or(Code::UserSessionNotFound)?;
    let new = NewSimulator {
        id: SimulatorId::new(),
        user_session,
        symbols: symbols.into_iter().map(|Symbol(symbol)| symbol).collect(),
        // Without the sign of a negative zero.
        cash: cash.abs(),
        launcher,
        capacity: supervisor.capacity(),
    };
    match store.make_simulator(&new).await? {
        Made::Made => {}
        Made::Exists => return Err(Code::SimulatorExists.into()),
        Made::SessionEnded => return Err(Code::SessionEnded.into()),
        Made::AtCapacity => {
            let full = Refusal {
                message: "This server holds as many simulators as it may. Try again later.".into(),
                ..Code::AtCapacity.into()
            };
            return Err(full);
        }
    }
    supervisor.wake();
    Ok((StatusCode::CREATED, shown(&store, viewer, new.id).await?))
}

/// The newest simulator of a user session: the live one where there is one.
#[utoipa::path(
    get, path = "/v1/user-sessions/{session_id}/simulator", tag = "simulators",
    params(("session_id" = String, Path, description = "The name that the client gave its user session")),
    responses(
        (status = OK, body = ShownSimulator),
        (status = NOT_FOUND, description = "`not_found`: no such user session, or none was ever made for it", body = Problem, content_type = MEDIA_TYPE),
    ),
)]
pub async fn newest(
    State(store): State<Store>,
    caller: Caller,
    Ids(session): Ids<ClientSession>,
) -> Result<Json<ShownSimulator>, Refusal> {
    let found = store.newest_simulator(caller.viewer()?, session.as_str()).await?;
    Ok(Json(found.ok_or_else(no_such_simulator)?.into()))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Listing {
    /// Only those of this user's sessions.
    #[param(value_type = Option<Subject>)]
    user_id: Option<String>,
    /// Only those of this status.
    #[param(value_type = Option<SimulatorStatus>)]
    status: Option<String>,
    /// Items per page; 50 by default.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 200)]
    limit: Option<String>,
    /// The `next_cursor` of an earlier page.
    cursor: Option<String>,
}

/// Simulators, live or over, the newest first: of the caller's own user sessions; for the service all.
#[utoipa::path(
    get, path = "/v1/simulators", tag = "simulators",
    params(Listing),
    responses((status = OK, body = Page<ShownSimulator>)),
)]
pub async fn list(
    State(store): State<Store>,
    caller: Caller,
    Filter(listing): Filter<Listing>,
) -> Result<Json<Page<ShownSimulator>>, Refusal> {
    let viewer = caller.viewer()?;
    let filter = SimulatorFilter {
        user_id: user(listing.user_id.as_deref())?,
        status: listing.status.as_deref().map(|word| name::word("status", word)).transpose()?,
    };
    let asked = Asked::read(listing.limit.as_deref(), listing.cursor.as_deref())?;
    let simulators = store.simulators(viewer, filter, asked.after, asked.rows()).await?;
    let place = |simulator: &Simulator| Cursor { at: simulator.created_at, id: simulator.id.0 };
    Ok(Json(asked.page(simulators, place, Into::into)))
}

/// One simulator, live or over.
#[utoipa::path(
    get, path = "/v1/simulators/{id}", tag = "simulators",
    params(("id" = SimulatorId, Path)),
    responses(
        (status = OK, body = ShownSimulator),
        (status = NOT_FOUND, description = "`not_found`", body = Problem, content_type = MEDIA_TYPE),
    ),
)]
pub async fn read(
    State(store): State<Store>,
    caller: Caller,
    Ids(id): Ids<SimulatorId>,
) -> Result<Json<ShownSimulator>, Refusal> {
    shown(&store, caller.viewer()?, id).await
}

/// Reports that a simulator is being used, so that it is not stopped as idle.
#[utoipa::path(
    post, path = "/v1/simulators/{id}/activity", tag = "simulators",
    params(("id" = SimulatorId, Path)),
    responses(
        (status = OK, body = ShownSimulator),
        (status = NOT_FOUND, description = "`not_found`", body = Problem, content_type = MEDIA_TYPE),
        (status = CONFLICT, description = "`simulator_stopped`: over, or being stopped", body = Problem, content_type = MEDIA_TYPE),
    ),
)]
pub async fn activity(
    State(store): State<Store>,
    caller: Caller,
    Ids(id): Ids<SimulatorId>,
) -> Result<Json<ShownSimulator>, Refusal> {
    let viewer = caller.viewer()?;
    store.simulator(viewer, id).await?.ok_or_else(no_such_simulator)?;
    if !store.use_simulator(id).await? {
        return Err(Code::SimulatorStopped.into());
    }
    shown(&store, viewer, id).await
}

/// Stops a simulator. The answer does not wait for the end; the status is `STOPPED` when nothing of it runs any more.
#[utoipa::path(
    delete, path = "/v1/simulators/{id}", tag = "simulators",
    params(("id" = SimulatorId, Path)),
    responses(
        (status = ACCEPTED, description = "It is being stopped, by this call or an earlier one", body = ShownSimulator),
        (status = NOT_FOUND, description = "`not_found`", body = Problem, content_type = MEDIA_TYPE),
        (status = CONFLICT, description = "`simulator_stopped`: over already", body = Problem, content_type = MEDIA_TYPE),
    ),
)]
pub async fn stop(
    State(store): State<Store>,
    State(supervisor): State<Arc<Supervisor>>,
    caller: Caller,
    Ids(id): Ids<SimulatorId>,
) -> Result<(StatusCode, Json<ShownSimulator>), Refusal> {
    let viewer = caller.viewer()?;
    let before = store.simulator(viewer, id).await?.ok_or_else(no_such_simulator)?;
    if !store.stop_simulator(id).await? && before.status != SimulatorStatus::Stopping {
        return Err(Code::SimulatorStopped.into());
    }
    supervisor.wake();
    Ok((StatusCode::ACCEPTED, shown(&store, viewer, id).await?))
}

async fn shown(store: &Store, viewer: Viewer, id: SimulatorId) -> Result<Json<ShownSimulator>, Refusal> {
    Ok(Json(store.simulator(viewer, id).await?.ok_or_else(no_such_simulator)?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_short_and_plain() {
        for symbol in ["A", "BRK.B", "X-1", "ABCDEFGHIJ123456"] {
            assert!(Symbol::try_from(symbol.to_owned()).is_ok(), "{symbol}");
        }
        for symbol in ["", "aapl", "A B", "A,B", "É", "ABCDEFGHIJ1234567", "A\0"] {
            assert!(Symbol::try_from(symbol.to_owned()).is_err(), "{symbol}");
        }
    }
}
