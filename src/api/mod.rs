//! The HTTP interface: one file per resource.

mod access;
mod admin;
mod analytics;
mod below;
mod check_ins;
mod events;
mod extract;
mod health;
mod invites;
mod openapi;
pub mod page;
mod pages;
mod participants;
mod partnerships;
mod reading_sessions;
mod simulators;
mod sits;
mod user_sessions;
mod users;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use self::health::asks_for_health;
use self::openapi::Interface;
use crate::app::App;
use crate::identity::origin::Origins;
use crate::metrics::Metrics;
use crate::protocol::problem::Refused;
use crate::protocol::{Code, Refusal};
use crate::socket::admin as live;
use crate::socket::upgrade;

/// The largest body of a request, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// The timeout of a request, its body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// All routes. Those registered with `routes!` are in the OpenAPI document; the pages for browsers are not.
pub fn router(app: &App) -> Router {
    below::below(app.public_url.path(), finish(routes(app).with_state(app.clone()), &app.metrics))
}

fn routes(app: &App) -> Router<App> {
    let (calls, interface) = OpenApiRouter::with_openapi(Interface::openapi())
        .routes(routes!(reading_sessions::open, reading_sessions::list))
        .routes(routes!(reading_sessions::read, reading_sessions::change))
        .routes(routes!(reading_sessions::close))
        .routes(routes!(reading_sessions::expiry))
        .routes(routes!(participants::list))
        .routes(routes!(participants::remove))
        .routes(routes!(participants::readmit))
        .routes(routes!(invites::make, invites::list))
        .routes(routes!(invites::revoke))
        .routes(routes!(invites::inspect))
        .routes(routes!(simulators::make, simulators::newest))
        .routes(routes!(simulators::list))
        .routes(routes!(simulators::read, simulators::stop))
        .routes(routes!(simulators::activity))
        .routes(routes!(user_sessions::start, user_sessions::list))
        .routes(routes!(user_sessions::summary))
        .routes(routes!(user_sessions::read))
        .routes(routes!(user_sessions::heartbeat))
        .routes(routes!(user_sessions::patch))
        .routes(routes!(user_sessions::end))
        .routes(routes!(events::follow))
        .routes(routes!(check_ins::check_in, check_ins::list))
        .routes(routes!(check_ins::check_out))
        .routes(routes!(check_ins::active))
        .routes(routes!(check_ins::stats))
        .routes(routes!(partnerships::make, partnerships::list))
        .routes(routes!(partnerships::read, partnerships::change, partnerships::end))
        .routes(routes!(sits::start, sits::list))
        .routes(routes!(sits::weeks))
        .routes(routes!(sits::read))
        .routes(routes!(sits::complete))
        .routes(routes!(users::erase))
        .routes(routes!(users::export))
        .routes(routes!(admin::sweep, admin::newest_sweep))
        .routes(routes!(admin::stats))
        .routes(routes!(analytics::analytics))
        .split_for_parts();
    let calls = calls
        // Within the layers: without their headers a browser tells a page nothing of the answer.
        .route("/v1/{*path}", any(async || Refusal::from(Code::NotFound)))
        // Not only in `finish` for all routes: set later, it would replace the answers of the layers, and a
        // browser's preflight uses a method that no route allows.
        .method_not_allowed_fallback(async || Refusal::from(Code::MethodNotAllowed))
        .layer(cors(&app.origins))
        .layer(middleware::from_fn(in_time))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(app.tracker.clone(), to_the_end));
    let (others, interface) = OpenApiRouter::with_openapi(interface)
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .routes(routes!(upgrade::upgrade))
        .routes(routes!(live::figures))
        .split_for_parts();
    others.merge(pages::routes(&app.page)).merge(openapi::pages(interface, app.public_url.path())).merge(calls)
}

/// Ends a request that takes too long, most likely because its body does not arrive.
async fn in_time(request: Request, next: Next) -> Response {
    match timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Refusal::from(Code::RequestTimeout).into_response(),
    }
}

/// The layers of every route.
fn finish(router: Router, metrics: &Arc<Metrics>) -> Router {
    router
        .fallback(async || Refusal::from(Code::NotFound))
        .method_not_allowed_fallback(async || Refusal::from(Code::MethodNotAllowed))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            Refusal::from(Code::Internal).into_response()
        }))
        .layer(middleware::from_fn_with_state(Arc::clone(metrics), count_refusals))
}

/// Runs a call to its end although its client disconnects: a change that is committed has to reach the live
/// room. A stopping server waits for it.
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

/// Pages of the allowed origins may call the API. Tokens travel in headers, never in cookies.
fn cors(origins: &Origins) -> CorsLayer {
    let origins = origins.clone();
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

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;
    use crate::protocol::problem::MEDIA_TYPE;

    #[tokio::test(start_paused = true)]
    async fn a_request_that_takes_too_long_is_refused_like_all_others() {
        let never = get(async || std::future::pending::<()>().await);
        let router: Router = Router::new().route("/", never).layer(middleware::from_fn(in_time));
        let answer = router.oneshot(Request::new(Body::empty())).await.expect("an answer");
        assert_eq!(
            (answer.status().as_u16(), answer.headers()[header::CONTENT_TYPE].as_bytes()),
            (408, MEDIA_TYPE.as_bytes())
        );
    }
}
