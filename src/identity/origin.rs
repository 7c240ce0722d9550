//! The origins whose pages may open a WebSocket or call the API. Without this check any page could act in
//! the name of the person who looks at it.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::{HeaderMap, HeaderName, header};

use crate::config::{AllowedOrigin, NetworkSettings, canonical_origin};
use crate::protocol::{Code, Refusal};

/// How near a page is to the server, as its browser sees it.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The origins whose pages are allowed, besides the server's own.
#[derive(Clone, Debug)]
pub struct Origins {
    allowed: Vec<AllowedOrigin>,
    any: bool,
}

impl Origins {
    /// Those of the settings, and that of `public-url`.
    pub fn new(settings: &NetworkSettings) -> Self {
        let own = settings.public_url.iter().map(|url| AllowedOrigin::One(url.origin().to_owned()));
        Self::of(settings.allowed_origins.iter().cloned().chain(own).collect())
    }

    fn of(allowed: Vec<AllowedOrigin>) -> Self {
        Self { any: allowed.contains(&AllowedOrigin::Any), allowed }
    }

    /// Whether the settings allow pages of this origin.
    pub fn lists(&self, origin: &str) -> bool {
        let origin = canonical_origin(origin);
        self.any || self.allowed.iter().any(|allowed| allowed.allows(&origin))
    }

    /// Whether a request may go on: it comes from no page, from one of this server's own (whatever the scheme of a
    /// proxy in front of it), or from one that the settings allow.
    pub fn allow(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else { return true };
        let Ok(origin) = origin.to_str() else { return false };
        is_own(origin, headers) || self.lists(origin)
    }

    /// Checks a request that changes something and shows no token. A browser sends it for any page, also to a server
    /// that only this person's machine can reach; and by a name of its own that leads to the server a page has the
    /// server's origin, and could read the answer. So the page has to be allowed, and the server known by that name.
    ///
    /// # Errors
    /// `origin_not_allowed`.
    pub fn check_without_token(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let site = headers.get(FETCH_SITE).map(|site| site.as_bytes());
        let has_origin = headers.contains_key(header::ORIGIN);
        if self.any || (site.is_none() && !has_origin) {
            return Ok(());
        }
        let is_near = has_origin || matches!(site, Some(b"same-origin" | b"none"));
        if !is_near || !self.allow(headers) {
            return Err(Code::OriginNotAllowed.into());
        }
        self.check_name(headers)
    }

    /// Checks a request that reads something and shows no token. By a name of its own that leads to the server, a page
    /// could read the answer as its own. What is no browser may use any name.
    ///
    /// # Errors
    /// `origin_not_allowed`.
    pub fn check_read_without_token(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        // A page can leave none of them out of all its requests: where it reads from its own origin there is no Origin,
        // and over plain HTTP no Sec-Fetch-Site.
        let is_browser =
            [header::ACCEPT_LANGUAGE, header::ORIGIN, FETCH_SITE].iter().any(|it| headers.contains_key(it));
        if self.any || !is_browser { Ok(()) } else { self.check_name(headers) }
    }

    fn check_name(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match headers.get(header::HOST).and_then(|host| host.to_str().ok()) {
            Some(host) if !self.knows(host_name(host)) => Err(Refusal::new(
                Code::OriginNotAllowed,
                "The server does not know itself by the name in this address: start it with --public-url or --allowed-origins.",
            )),
            _ => Ok(()),
        }
    }

    /// Whether this name leads to this server for certain. Nobody can give an address or `localhost` another meaning.
    fn knows(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let is_local = name == "localhost" || name.ends_with(".localhost");
        let is_address = name.parse::<IpAddr>().is_ok() || bare(&name).parse::<Ipv6Addr>().is_ok();
        is_local || is_address || self.allowed.iter().any(|allowed| allowed.knows(&name))
    }
}

/// Whether a page of this origin came from where the request goes. A proxy may send the port that a browser leaves out.
fn is_own(origin: &str, headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let origin = canonical_origin(origin);
    ["https", "http"].into_iter().any(|scheme| canonical_origin(&format!("{scheme}://{host}")) == origin)
}

/// The host of an authority, without its port.
fn host_name(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// An IPv6 address without its brackets.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn origins(allowed: &[&str]) -> Origins {
        Origins::of(allowed.iter().map(|origin| AllowedOrigin::parse(origin).expect(origin)).collect())
    }

    fn allowed(list: &[&str], origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("presence.example:8080"))]);
        headers.extend(origin.map(|origin| (header::ORIGIN, HeaderValue::from_str(origin).expect("a header value"))));
        origins(list).allow(&headers)
    }

    fn allowed_without_token(list: &[&str], host: &str, origin: Option<&str>, site: Option<&str>) -> bool {
        let headers = [(header::HOST, Some(host)), (header::ORIGIN, origin), (FETCH_SITE, site)];
        let headers = headers
            .into_iter()
            .filter_map(|(name, value)| Some((name, HeaderValue::from_str(value?).expect("a header value"))));
        origins(list).check_without_token(&headers.collect()).is_ok()
    }

    #[test]
    fn without_a_token_a_page_must_be_near_and_the_name_of_the_server_known() {
        let near = |host: &str| allowed_without_token(&[], host, Some(&format!("http://{host}")), Some("same-origin"));
        for host in
            ["127.0.0.1:8080", "localhost:8080", "LocalHost", "app.localhost", "192.0.2.7", "[::1]:8080", "[::1]"]
        {
            assert!(near(host), "{host}");
        }
        // Names that may have been pointed at this address a moment ago.
        for host in ["evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "presence"] {
            assert!(!near(host), "{host}");
        }
        let public = &["https://presence.example", "https://app.example:444"][..];
        assert!(allowed_without_token(public, "presence.example", Some("https://presence.example"), None));
        assert!(allowed_without_token(public, "presence.example:8080", Some("https://app.example:444"), None));
        assert!(!allowed_without_token(public, "evil.example", Some("https://evil.example"), None));

        let local = "127.0.0.1:8080";
        assert!(!allowed_without_token(&[], local, Some("https://evil.example"), Some("cross-site")));
        assert!(!allowed_without_token(&[], local, Some("http://127.0.0.1:3000"), Some("same-site")));
        assert!(!allowed_without_token(&[], local, Some("null"), None));
        for (site, is_allowed) in [("cross-site", false), ("same-site", false), ("same-origin", true), ("none", true)] {
            assert_eq!(allowed_without_token(&[], local, None, Some(site)), is_allowed, "{site}");
        }
        assert!(allowed_without_token(&["*"], "evil.example", Some("https://evil.example"), Some("cross-site")));
        assert!(allowed_without_token(&[], "presence:8080", None, None), "no browser");
    }

    #[test]
    fn a_browser_reads_without_a_token_only_by_a_known_name() {
        let may_read = |list: &[&str], host: &str, more: &[(HeaderName, &str)]| {
            let headers = [&[(header::HOST, host)][..], more].concat();
            let headers = headers
                .into_iter()
                .map(|(name, value)| (name, HeaderValue::from_str(value).expect("a header value")))
                .collect();
            origins(list).check_read_without_token(&headers).is_ok()
        };
        let browser = &[(header::ACCEPT_LANGUAGE, "")][..];
        for more in [browser, &[(header::ORIGIN, "http://evil.example")], &[(FETCH_SITE, "none")]] {
            assert!(!may_read(&[], "evil.example:8080", more), "{more:?}");
        }
        assert!(may_read(&[], "presence:8080", &[]), "no browser");
        assert!(may_read(&[], "127.0.0.1:8080", browser) && may_read(&[], "localhost", browser));
        assert!(may_read(&["https://presence.example"], "presence.example", browser));
        assert!(may_read(&["*"], "evil.example", browser));
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
        // An app in a frame of the system has a scheme of its own, and is no page of a server of that name.
        assert!(!allowed(&[], Some("capacitor://presence.example:8080")));
        assert!(allowed(&["null"], Some("null")) && allowed(&["capacitor://localhost"], Some("capacitor://localhost")));
    }

    #[test]
    fn a_port_that_browsers_leave_out_makes_no_difference() {
        let own = |host: &str, origin: &str| {
            let value = |text: &str| HeaderValue::from_str(text).expect("a header value");
            let headers = [(header::HOST, value(host)), (header::ORIGIN, value(origin))];
            origins(&[]).allow(&HeaderMap::from_iter(headers))
        };
        assert!(own("presence.example:443", "https://presence.example"));
        assert!(own("presence.example", "https://presence.example:443"));
        assert!(own("Presence.example:80", "http://presence.example"));
        assert!(!own("presence.example:80", "https://presence.example"));
        assert!(!own("presence.example:8443", "https://presence.example"));
    }
}
