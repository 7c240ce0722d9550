//! The pages and the browser client, embedded in the binary.

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderValue, Uri, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use include_dir::{Dir, include_dir};
use serde_json::json;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::app::App;
use crate::app::rules::PageRules;
use crate::protocol::{Code, Refusal};

static PAGES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/static");
static CLIENT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/packages/client");

/// Where the browser client is, beside the files of the pages.
const CLIENT_PATH: &str = "client/";

/// Everything from this origin and nothing inline. No form is sent by a browser itself: its fields would stand in an URL. Names of people are inserted as text; this is the second line
/// of defence: a page that made HTML of a string would be stopped.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// Where the room's page has what it is told of the server.
const TOLD: &str = "name=\"lastseen\" content=\"{}\"";

pub fn routes(rules: &PageRules) -> Router<App> {
    let room = Html(Bytes::from(room_page(rules)));
    let header = |name, value| SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value));
    Router::new()
        .route("/", get(async || file("index.html")))
        .route("/admin", get(async || file("admin.html")))
        .route("/join/{token}", get(room))
        .route("/admin/", get(without_slash))
        .route("/join/{token}/", get(without_slash))
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

/// The room's page, with what it has to know of the server.
fn room_page(rules: &PageRules) -> String {
    let page = PAGES.get_file("join.html").and_then(|file| file.contents_utf8()).unwrap_or_default();
    page.replacen(TOLD, &format!("name=\"lastseen\" content=\"{}\"", in_attribute(&told(rules))), 1)
}

fn told(rules: &PageRules) -> String {
    let redirect = rules.dead_link_redirect.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
    json!({
        "home_url": rules.home_url,
        "dead_link_redirect_ms": redirect,
        "guest_hosts": rules.guest_hosts,
        "dev": rules.dev,
    })
    .to_string()
}

/// The text as the value of an attribute in double quotes.
fn in_attribute(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

/// Leads to the same page without the slash at the end of its path. Relative, since a proxy may have the server below a
/// path of its own; the query goes along.
async fn without_slash(uri: Uri) -> Result<Redirect, Refusal> {
    let page = uri.path().strip_suffix('/').and_then(|path| path.rsplit('/').next());
    let page = page.filter(|page| !page.is_empty()).ok_or(Code::NotFound)?;
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    Ok(Redirect::permanent(&format!("../{page}{query}")))
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_page_of_a_room_is_told_of_the_server_as_text() {
        let rules = PageRules {
            home_url: Some("https://app.example/?a=1&b=\"><script>".to_owned()),
            dead_link_redirect: Some(Duration::from_secs(5)),
            guest_hosts: true,
            dev: false,
        };
        let page = room_page(&rules);
        let (_, rest) = page.split_once("name=\"lastseen\" content=\"").expect("the place");
        let (told, _) = rest.split_once('"').expect("its end");
        assert!(!told.contains('<'), "{told}");
        let told = told.replace("&lt;", "<").replace("&quot;", "\"").replace("&amp;", "&");
        let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
        assert_eq!(told["home_url"], rules.home_url.expect("one"));
        assert_eq!(
            (&told["dead_link_redirect_ms"], &told["guest_hosts"], &told["dev"]),
            (&json!(5000), &json!(true), &json!(false))
        );
    }
}
