//! The HTTP interface: one file per resource.

mod access;
mod admin;
mod check_ins;
mod events;
mod extract;
mod health;
mod invites;
mod openapi;
mod page;
mod pages;
mod participants;
mod partnerships;
mod reading_sessions;
mod simulators;
mod sits;
mod user_sessions;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use governor::DefaultKeyedRateLimiter;
use ipnet::IpNet;
use tokio_util::task::TaskTracker;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::timeout::TimeoutLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::openapi::Interface;
use crate::auth::Keys;
use crate::metrics::Metrics;
use crate::protocol::problem::Refused;
use crate::protocol::{Code, Refusal};
use crate::room::Registry;
use crate::simulator::supervisor::Supervisor;
use crate::socket::Sockets;
use crate::socket::origin::Origins;
use crate::store::Store;
use crate::task::sweep::Sweeper;
use crate::user_session::UserSessions;

/// The largest body of a request, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// How long a request may take, its body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// What all requests share.
#[derive(Debug)]
#[expect(missing_docs, reason = "the types say it")]
pub struct Api {
    pub keys: Arc<Keys>,
    pub store: Store,
    pub registry: Arc<Registry>,
    pub user_sessions: Arc<UserSessions>,
    pub sweeper: Arc<Sweeper>,
    pub supervisor: Arc<Supervisor>,
    pub metrics: Arc<Metrics>,
    pub origins: Origins,
    pub trusted_proxies: Vec<IpNet>,
    /// How people reach the server: the beginning of invite links.
    pub public_url: String,
    /// Whether anybody may open a session.
    pub guest_hosts: bool,
    /// People in a session that does not say otherwise.
    pub max_participants: i32,
    /// Sessions that one address may open in a minute.
    pub session_rate: DefaultKeyedRateLimiter<IpAddr>,
    pub sockets: Arc<Sockets>,
}

/// All routes but the WebSocket's.
pub fn routes(api: Arc<Api>) -> Router {
    let (calls, interface) = OpenApiRouter::with_openapi(Interface::openapi())
        .route("/v1/reading-sessions", post(reading_sessions::open).get(reading_sessions::list))
        .route("/v1/reading-sessions/{id}", get(reading_sessions::read).patch(reading_sessions::change))
        .route("/v1/reading-sessions/{id}/close", post(reading_sessions::close))
        .routes(routes!(reading_sessions::expiry))
        .route("/v1/reading-sessions/{id}/participants", get(participants::list))
        .route("/v1/reading-sessions/{id}/participants/{pid}", delete(participants::remove))
        .route("/v1/reading-sessions/{id}/invites", post(invites::make).get(invites::list))
        .route("/v1/reading-sessions/{id}/invites/{invite_id}", delete(invites::revoke))
        .route("/v1/invites/{token}", get(invites::inspect))
        .routes(routes!(simulators::make, simulators::newest))
        .routes(routes!(simulators::read, simulators::stop))
        .routes(routes!(simulators::activity))
        .routes(routes!(user_sessions::start, user_sessions::list))
        .routes(routes!(user_sessions::summary))
        .routes(routes!(user_sessions::read))
        .routes(routes!(user_sessions::heartbeat))
        .routes(routes!(user_sessions::patch))
        .routes(routes!(user_sessions::end))
        .routes(routes!(events::follow))
        .routes(routes!(check_ins::check_in))
        .routes(routes!(check_ins::check_out))
        .routes(routes!(check_ins::active))
        .routes(routes!(check_ins::stats))
        .routes(routes!(partnerships::make, partnerships::list))
        .routes(routes!(sits::start, sits::list))
        .routes(routes!(sits::complete))
        .routes(routes!(sits::weeks))
        .route("/v1/admin/sweep", post(admin::sweep))
        .route("/v1/admin/stats", get(admin::stats))
        .split_for_parts();
    let calls = calls
        // Here and not only for all routes in `finish`: set later it would take the place of what the
        // layers answer, and a browser's preflight is a method that no route allows.
        .method_not_allowed_fallback(async || Refusal::from(Code::MethodNotAllowed))
        .layer(cors(&api))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, REQUEST_TIMEOUT))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(api.sockets.tracker.clone(), to_the_end));
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .merge(pages::routes())
        .merge(openapi::pages(interface))
        .merge(calls)
        .with_state(api)
}

/// What applies to every route, the WebSocket's included.
pub fn finish(router: Router, metrics: Arc<Metrics>) -> Router {
    router
        .fallback(async || Refusal::from(Code::NotFound))
        .method_not_allowed_fallback(async || Refusal::from(Code::MethodNotAllowed))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            Refusal::from(Code::Internal).into_response()
        }))
        .layer(middleware::from_fn_with_state(metrics, count_refusals))
}

/// A call is carried to its end although its client hangs up: what is committed has to reach the live
/// room. A server that stops waits for it.
async fn to_the_end(State(tracker): State<TaskTracker>, request: Request, next: Next) -> Response {
    match tracker.spawn(next.run(request)).await {
        Ok(response) => response,
        Err(fault) => match fault.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Refusal::from(Code::Draining).into_response(),
        },
    }
}

async fn count_refusals(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if let Some(Refused(code)) = response.extensions().get() {
        metrics.refusals(code.as_str()).inc();
    }
    response
}

/// Pages of the allowed origins may call the API; tokens travel in headers, never in cookies.
fn cors(api: &Api) -> CorsLayer {
    let origins = api.origins.clone();
    let allowed = AllowOrigin::predicate(move |origin, _| origin.to_str().is_ok_and(|origin| origins.lists(origin)));
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::ACCEPT,
            HeaderName::from_static("last-event-id"),
        ])
        .expose_headers([header::RETRY_AFTER, HeaderName::from_static("location")])
        .max_age(Duration::from_hours(1))
}
