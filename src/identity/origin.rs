//! The origins whose pages may open a WebSocket or call the API. Without this check any page could act in
//! the name of the person who looks at it.

use axum::http::{HeaderMap, header};

use crate::config::NetworkSettings;

/// The origins whose pages are allowed, besides the server's own.
#[derive(Clone, Debug)]
pub struct Origins {
    allowed: Vec<String>,
    any: bool,
}

impl Origins {
    /// Those of the settings, and that of `public-url`.
    pub fn new(settings: &NetworkSettings) -> Self {
        let mut allowed = settings.allowed_origins.clone();
        allowed.extend(settings.public_url.clone());
        Self { any: allowed.iter().any(|origin| origin == "*"), allowed }
    }

    /// Whether the settings allow pages of this origin.
    pub fn lists(&self, origin: &str) -> bool {
        self.any || self.allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
    }

    /// Whether a request may go on: it comes from no page, from one of this server's own (whatever the scheme of a
    /// proxy in front of it), or from one that the settings allow.
    pub fn allow(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else { return true };
        let Ok(origin) = origin.to_str() else { return false };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let own = origin
            .split_once("://")
            .is_some_and(|(_, authority)| host.is_some_and(|host| host.eq_ignore_ascii_case(authority)));
        own || self.lists(origin)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn allowed(origins: &[&str], origin: Option<&str>) -> bool {
        let allowed: Vec<String> = origins.iter().map(|&origin| origin.to_owned()).collect();
        let origins = Origins { any: allowed.iter().any(|origin| origin == "*"), allowed };
        let mut headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("presence.example:8080"))]);
        headers.extend(origin.map(|origin| (header::ORIGIN, HeaderValue::from_str(origin).expect("a header value"))));
        origins.allow(&headers)
    }

    #[test]
    fn a_page_must_be_the_servers_own_or_listed() {
        assert!(allowed(&[], None), "no browser, no origin");
        assert!(allowed(&[], Some("https://presence.example:8080")));
        assert!(!allowed(&[], Some("https://presence.example")));
        assert!(!allowed(&[], Some("https://evil.example")));
        assert!(!allowed(&[], Some("null")));
        assert!(allowed(&["https://app.example"], Some("https://App.example")));
        assert!(!allowed(&["https://app.example"], Some("http://app.example")));
        assert!(allowed(&["*"], Some("https://anything.example")));
    }
}
