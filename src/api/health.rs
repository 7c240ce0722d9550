//! Liveness, readiness and metrics.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::domain::participant::Status;
use crate::protocol::{Code, Refusal};
use crate::store::DatabaseState;

/// What a server answers although it is full.
const PATHS: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Whether a path is one of those that are answered although the server is full, be it below another path.
pub fn asks_for_health(path: &str) -> bool {
    PATHS.iter().any(|health| path.ends_with(health))
}

/// The media type of the metrics.
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The state of the server.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"status": "ready"}))]
pub struct Health {
    /// `alive` or `ready`.
    #[schema(pattern = "^(alive|ready)$")]
    status: &'static str,
}

/// Whether the process is alive.
#[utoipa::path(
    get, path = "/healthz", tag = "operators", security(()),
    responses((status = OK, description = "It is", body = Health, example = json!({"status": "alive"}))),
)]
pub async fn alive() -> Json<Health> {
    Json(Health { status: "alive" })
}

/// Whether the server can take clients: it is not draining, the database answers and takes writes, and what was seen is being written.
#[utoipa::path(
    get, path = "/readyz", tag = "operators", security(()),
    responses(
        (status = OK, description = "Ready: send clients here", body = Health),
        (status = SERVICE_UNAVAILABLE, description = "`draining` or `unavailable`: send clients elsewhere"),
    ),
)]
pub async fn ready(State(app): State<App>) -> Result<Json<Health>, Refusal> {
    if app.registry.is_draining() {
        return Err(Code::Draining.into());
    }
    let unready = |message| Refusal { message, ..Code::Unavailable.into() };
    match app.store.state().await {
        DatabaseState::Writable => {}
        DatabaseState::ReadOnly => return Err(unready("The database takes no writes just now.".into())),
        DatabaseState::Away => return Err(unready("The database cannot be reached.".into())),
    }
    if app.flusher.is_behind() {
        return Err(unready("What is seen cannot be written to the database; it is kept and tried again.".into()));
    }
    Ok(Json(Health { status: "ready" }))
}

/// The figures of this server, for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "operators", security(()),
    responses(
        (
            status = OK, description = "All figures, as OpenMetrics text", body = String, content_type = METRICS,
            example = "# HELP lastseen_rooms Rooms in memory.\n# TYPE lastseen_rooms gauge\nlastseen_rooms 3\n# EOF\n",
        ),
        (status = FORBIDDEN, description = "`origin_not_allowed`: a browser, by a name that the server does not know"),
    ),
)]
pub async fn metrics(State(app): State<App>, headers: HeaderMap) -> Result<impl IntoResponse, Refusal> {
    let checked = app.origins.check_read_without_token(&headers);
    checked.inspect_err(|refusal| app.refusal_log.note(refusal, &headers))?;
    let (metrics, census) = (&app.metrics, app.registry.census());
    let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    // A stream holds a permit like a WebSocket.
    metrics.connections.set(gauge((app.limits.open() as u64).saturating_sub(census.watchers)));
    metrics.observers.set(gauge(census.observers));
    metrics.sse_connections.set(gauge(census.watchers));
    metrics.rooms.set(gauge(census.rooms));
    metrics.tasks.set(gauge(tokio::runtime::Handle::current().metrics().num_alive_tasks() as u64));
    for status in Status::ALL {
        metrics.participants(status.as_str()).set(gauge(census.participants[*status as usize]));
    }
    metrics.user_sessions.set(gauge(app.user_sessions.count() as u64));
    let backlog = app.registry.shared().write_behind.backlog() + app.user_sessions.backlog();
    metrics.compensations.set(gauge(app.store.compensations() as u64));
    metrics.flush_backlog.set(gauge(backlog as u64));
    metrics.flush_age_seconds.set(app.flusher.age().as_secs_f64());
    Ok(([(header::CONTENT_TYPE, METRICS)], metrics.encode()))
}
