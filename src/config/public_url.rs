//! The address by which people reach the server.

use std::sync::Arc;

use super::origin::web;

/// The first parts of the server's own paths. A server below one of them could not be told from itself.
const OWN_PATHS: [&str; 10] =
    ["v1", "join", "static", "admin", "docs", "lastseen.js", "openapi.json", "healthz", "readyz", "metrics"];

/// An address that invite links begin with: an origin, and perhaps the path of a host that others share.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicUrl {
    /// Without a slash at its end.
    url: Arc<str>,
    /// How much of it is the origin.
    origin: usize,
}

impl PublicUrl {
    /// Reads an address, like `https://presence.example` or `https://example.com/presence`. As in
    /// [`AllowedOrigin`](super::AllowedOrigin), it becomes what browsers send.
    ///
    /// # Errors
    /// What is wrong with it, and how it is written.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = |what: &str| {
            format!("'{text}' is no address of the form https://host, https://host:port or https://host/path: {what}")
        };
        if !text.contains("://") {
            return Err(wrong("it begins with https:// or http://"));
        }
        let url = web(text).map_err(|fault| wrong(&fault))?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(wrong("it begins with https:// or http://"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("it has no user, no query and no fragment"));
        }
        let (origin, path) = (url.origin().ascii_serialization(), url.path().trim_end_matches('/'));
        if path.contains("//") {
            return Err(wrong("its path has an empty part"));
        }
        let first = path.split('/').nth(1).unwrap_or_default();
        if OWN_PATHS.contains(&first) {
            return Err(wrong(&format!("the server has a path /{first} of its own, so it cannot be below that one")));
        }
        Ok(Self { url: format!("{origin}{path}").into(), origin: origin.len() })
    }

    /// That of an origin.
    pub fn of_origin(origin: String) -> Self {
        Self { origin: origin.len(), url: origin.into() }
    }

    /// All of it.
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// The origin of the server's own pages.
    pub fn origin(&self) -> &str {
        &self.url[..self.origin]
    }

    /// The path that everything of the server is below: empty, or with a slash at its beginning and none at its end.
    pub fn path(&self) -> &str {
        &self.url[self.origin..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_browsers_send_and_a_path() {
        for (given, url, path) in [
            ("https://presence.example", "https://presence.example", ""),
            (" https://Presence.Example:443/ ", "https://presence.example", ""),
            ("http://localhost:80", "http://localhost", ""),
            ("https://bücher.example:8443", "https://xn--bcher-kva.example:8443", ""),
            ("https://example.com/presence/", "https://example.com/presence", "/presence"),
            ("https://example.com/live/Räume", "https://example.com/live/R%C3%A4ume", "/live/R%C3%A4ume"),
        ] {
            let taken = PublicUrl::parse(given).expect(given);
            assert_eq!((taken.as_str(), taken.path()), (url, path));
            assert_eq!(format!("{}{}", taken.origin(), taken.path()), url);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_is_wrong() {
        for (given, wrong) in [
            ("", "begins with https"),
            ("presence.example", "begins with https"),
            ("localhost:8080", "begins with https"),
            ("ftp://presence.example", "begins with https"),
            ("https://", "empty host"),
            ("https://a b", "invalid"),
            ("https://presence.example:99999", "invalid port"),
            ("https://me:word@presence.example", "no user"),
            ("https://presence.example?a=1", "no query"),
            ("https://example.com/a//b", "empty part"),
            ("https://example.com/v1", "/v1 of its own"),
            ("https://example.com/admin/presence", "/admin of its own"),
        ] {
            let fault = PublicUrl::parse(given).expect_err(given);
            assert!(fault.starts_with(&format!("'{given}' is no address")) && fault.contains(wrong), "{fault}");
        }
    }
}
