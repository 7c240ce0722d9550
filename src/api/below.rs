//! A server below a path of a host that others share: `https://example.com/presence`.
//!
//! Proxies that take the path out of requests and proxies that leave it there are both served. The pages name their files
//! relative to themselves, so that only what the server says as a path of its own has to be changed.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use tower::{ServiceExt, service_fn};

/// These routes, also below this path, which is empty or of the form `/presence`.
pub fn below(path: &str, routes: Router) -> Router {
    if path.is_empty() {
        return routes;
    }
    let path: Arc<str> = path.into();
    Router::new().fallback_service(service_fn(move |mut request: Request| {
        let (path, routes) = (Arc::clone(&path), routes.clone());
        async move {
            match within(&path, request.uri()) {
                Within::Elsewhere => {}
                // Without the slash, what a page names relative to itself would be beside the path.
                Within::Itself(uri) => return Ok(Redirect::permanent(&uri).into_response()),
                Within::Below(uri) => *request.uri_mut() = uri,
            }
            let mut response = routes.oneshot(request).await?;
            lead_below(&path, &mut response);
            Ok::<_, Infallible>(response)
        }
    }))
}

/// Where an address leads, seen from a path.
#[derive(PartialEq, Eq, Debug)]
enum Within {
    /// Not below it: the proxy took it out already.
    Elsewhere,
    /// To the path itself, which is this one with a slash.
    Itself(String),
    /// Below it, to this one.
    Below(Uri),
}

fn within(path: &str, uri: &Uri) -> Within {
    let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
    match uri.path().strip_prefix(path) {
        Some("") => Within::Itself(format!("{path}/{query}")),
        Some(rest) if rest.starts_with('/') => {
            let mut parts = uri.clone().into_parts();
            match PathAndQuery::try_from(format!("{rest}{query}")) {
                Ok(rest) => parts.path_and_query = Some(rest),
                Err(_) => return Within::Elsewhere,
            }
            Uri::from_parts(parts).map_or(Within::Elsewhere, Within::Below)
        }
        _ => Within::Elsewhere,
    }
}

/// Lets an answer that leads to a path of the server lead below this one.
fn lead_below(path: &str, response: &mut Response) {
    let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
    if let Some(location) = location.filter(|location| location.starts_with('/') && !location.starts_with("//"))
        && let Ok(below) = HeaderValue::try_from(format!("{path}{location}"))
    {
        response.headers_mut().insert(header::LOCATION, below);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_a_path_is_served_as_if_it_were_not() {
        let of = |address: &str| within("/presence", &address.parse().expect("an address"));
        let below = |address: &str| Within::Below(address.parse().expect("an address"));
        assert_eq!(of("/presence/"), below("/"));
        assert_eq!(of("/presence/v1/x?a=%2Fpresence&b"), below("/v1/x?a=%2Fpresence&b"));
        assert_eq!(of("http://h.example/presence/join/x"), below("http://h.example/join/x"));
        assert_eq!(of("/presence"), Within::Itself("/presence/".to_owned()));
        assert_eq!(of("/presence?a=1"), Within::Itself("/presence/?a=1".to_owned()));
        for elsewhere in ["/", "/v1/x", "/presences/x", "/presence.js", "/a/presence/", "*"] {
            assert_eq!(of(elsewhere), Within::Elsewhere, "{elsewhere}");
        }
    }
}
