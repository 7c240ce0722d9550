//! The pages and the browser client, embedded in the binary.

use axum::Router;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use include_dir::{Dir, include_dir};
use tower_http::set_header::SetResponseHeaderLayer;

use crate::app::App;
use crate::protocol::{Code, Refusal};

static PAGES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/static");
static CLIENT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/packages/client");

/// Where the browser client is, beside the files of the pages.
const CLIENT_PATH: &str = "client/";

/// Everything from this origin and nothing inline. Names of people are inserted as text; this is the second line
/// of defence: a page that made HTML of a string would be stopped.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

pub fn routes() -> Router<App> {
    let header = |name, value| SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value));
    Router::new()
        .route("/", get(async || file("index.html")))
        .route("/admin", get(async || file("admin.html")))
        .route("/join/{token}", get(async || file("join.html")))
        .route("/static/{*path}", get(served))
        // The module imports its neighbours by relative URLs, so clients are redirected to its folder.
        .route("/lastseen.js", get(async || Redirect::permanent("/static/client/lastseen.js")))
        .layer(header(header::CONTENT_SECURITY_POLICY, POLICY))
        .layer(header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        // The URL of a page contains an invite token.
        .layer(header(header::REFERRER_POLICY, "no-referrer"))
        // Pages of other origins import the client; none of these files contains a secret.
        .layer(header(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"))
        .layer(header(header::CACHE_CONTROL, "no-cache"))
}

async fn served(path: Result<Path<String>, PathRejection>) -> Result<Response, Refusal> {
    // A path that is not valid UTF-8 names no file.
    file(&path.map_err(|_| Code::NotFound)?)
}

fn file(path: &str) -> Result<Response, Refusal> {
    let file = match path.strip_prefix(CLIENT_PATH) {
        Some(path) => CLIENT.get_file(path),
        None => PAGES.get_file(path),
    };
    let file = file.ok_or(Code::NotFound)?;
    let kind = mime_guess::from_path(path).first_or_octet_stream();
    Ok(([(header::CONTENT_TYPE, kind.as_ref())], file.contents()).into_response())
}
