//! Origins of pages that the settings allow, in the form in which browsers send them.

use std::borrow::Cow;

use reqwest::Url;

/// Which pages a setting allows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AllowedOrigin {
    /// `*`: those of any origin.
    Any,
    /// `null`: those that have none, as a page in a sandbox or one from a file.
    Null,
    /// `https://app.example:444`, `capacitor://localhost`: those of this origin.
    One(String),
    /// `https://*.example.com`: those of all hosts below a domain.
    Below {
        /// `http` or `https`.
        scheme: String,
        /// With a point in front.
        domain: String,
        /// Unless it is the scheme's own.
        port: Option<u16>,
    },
    /// `moz-extension://*`: those of a scheme that is none of the web. Firefox gives an extension another host on each
    /// machine.
    Scheme(String),
}

impl AllowedOrigin {
    /// Reads an origin. International names become what browsers send (`xn--…`), and a port that is the scheme's own is
    /// left out, as they do.
    ///
    /// # Errors
    /// What is wrong with it, and how it is written.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        match text {
            "*" => return Ok(Self::Any),
            "null" => return Ok(Self::Null),
            _ => {}
        }
        let wrong = |what: &str| Err(format!("'{text}' is no origin: {what}"));
        let Some((scheme, rest)) = text.split_once("://") else {
            return wrong("it begins with a scheme, as https://app.example or capacitor://localhost do");
        };
        let (scheme, rest) = (scheme.to_ascii_lowercase(), rest.trim_end_matches('/'));
        if !is_scheme(&scheme) {
            return wrong("what is before :// is no scheme");
        }
        if rest.contains(['/', '?', '#', '@', '\\']) || rest.contains(char::is_whitespace) {
            return wrong("it has a scheme, a host and perhaps a port, and nothing else");
        }
        let parsed = match scheme.as_str() {
            "http" | "https" => match rest.strip_prefix("*.") {
                Some(domain) => Self::below(&scheme, domain),
                None if rest.contains('*') => {
                    Err("* stands alone, or for what is in front of a domain, as in https://*.example.com".to_owned())
                }
                None => web(&format!("{scheme}://{rest}")).map(|url| Self::One(url.origin().ascii_serialization())),
            },
            "ws" | "wss" => Err("an origin is that of a page: write https:// or http://".to_owned()),
            _ if rest == "*" => Ok(Self::Scheme(scheme)),
            // As it is: browsers know nothing of what a host of such a scheme is.
            _ if rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte)) => {
                Ok(Self::One(format!("{scheme}://{}", rest.to_ascii_lowercase())))
            }
            _ => Err(format!("'{rest}' is no host that a page of {scheme}:// can have")),
        };
        parsed.or_else(|what| wrong(&what))
    }

    fn below(scheme: &str, domain: &str) -> Result<Self, String> {
        let url = web(&format!("{scheme}://{domain}"))?;
        let name = url.domain().ok_or("an address has no hosts below it")?.trim_end_matches('.');
        if !name.contains('.') && name != "localhost" {
            return Err(format!("*.{name} would be everybody's: name a domain, as in https://*.example.com"));
        }
        Ok(Self::Below { scheme: scheme.to_owned(), domain: format!(".{name}"), port: url.port() })
    }

    /// Whether it is this one, which is canonical.
    pub fn allows(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Null => origin == "null",
            Self::One(one) => origin == one,
            Self::Below { scheme, domain, port } => {
                let authority = origin.strip_prefix(scheme.as_str()).and_then(|rest| rest.strip_prefix("://"));
                authority.is_some_and(|authority| {
                    let (host, of) = with_port(authority);
                    of == *port && host.len() > domain.len() && host.ends_with(domain.as_str())
                })
            }
            Self::Scheme(scheme) => origin.split_once("://").is_some_and(|(of, _)| of == scheme),
        }
    }

    /// Whether the setting says that this name of a host is one of the operator's.
    pub fn knows(&self, name: &str) -> bool {
        match self {
            Self::Any | Self::Null | Self::Scheme(_) => false,
            Self::One(origin) => {
                let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
                authority.is_some_and(|authority| with_port(authority).0 == name)
            }
            Self::Below { domain, .. } => name.len() > domain.len() && name.ends_with(domain.as_str()),
        }
    }
}

/// An origin as a client sent it, in the form in which [`AllowedOrigin`] has it: in small letters, and without a port
/// that is the scheme's own, which some clients send.
pub fn canonical(origin: &str) -> Cow<'_, str> {
    let bare = without_own_port(origin);
    if bare.bytes().any(|byte| byte.is_ascii_uppercase()) { bare.to_ascii_lowercase().into() } else { bare.into() }
}

fn without_own_port(origin: &str) -> &str {
    let is = |scheme: &str| origin.get(..scheme.len()).is_some_and(|of| of.eq_ignore_ascii_case(scheme));
    match () {
        () if is("https://") => origin.strip_suffix(":443").unwrap_or(origin),
        () if is("http://") => origin.strip_suffix(":80").unwrap_or(origin),
        () => origin,
    }
}

/// An address of the web, with a host. The message of an error is that of the library.
pub(super) fn web(text: &str) -> Result<Url, String> {
    Url::parse(text).map_err(|error| error.to_string())
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// The host of an authority, and its port where it has one.
fn with_port(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':').map(|(host, port)| (host, port.parse())) {
        Some((host, Ok(port))) => (host, Some(port)),
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(setting: &str, origin: &str) -> bool {
        AllowedOrigin::parse(setting).unwrap_or_else(|fault| panic!("{fault}")).allows(&canonical(origin))
    }

    #[test]
    fn what_is_allowed_is_what_browsers_send() {
        for (setting, origin) in [
            ("https://app.example", "https://app.example"),
            ("HTTPS://App.Example/", "https://app.example"),
            ("https://app.example:443", "https://app.example"),
            ("http://app.example:80", "http://app.example"),
            ("https://app.example", "https://app.example:443"),
            ("https://app.example:8443", "https://App.example:8443"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("https://BÜCHER.example:443", "https://xn--bcher-kva.example"),
            ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
            ("http://[2001:DB8:0::1]:3000", "http://[2001:db8::1]:3000"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("ionic://localhost", "ionic://localhost"),
            ("tauri://localhost", "tauri://localhost"),
            ("app://obsidian.md", "app://obsidian.md"),
            ("file://", "file://"),
            (
                "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
                "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
            ),
            ("moz-extension://*", "moz-extension://5bd1a1c8-6a5e-4b6e-9f5c-0b6d3d9a7f10"),
            ("https://*.example.com", "https://a.example.com"),
            ("https://*.example.com", "https://a.b.example.com"),
            ("https://*.example.com:443", "https://a.example.com"),
            ("https://*.example.com:8443", "https://a.example.com:8443"),
            ("https://*.bücher.example", "https://a.xn--bcher-kva.example"),
            ("http://*.localhost:3000", "http://app.localhost:3000"),
            ("null", "null"),
            ("*", "null"),
            ("*", "https://anything.example"),
        ] {
            assert!(allows(setting, origin), "{setting} {origin}");
        }
    }

    #[test]
    fn and_nothing_else() {
        for (setting, origin) in [
            ("https://app.example", "http://app.example"),
            ("https://app.example", "https://app.example:80"),
            ("https://app.example", "https://app.example.evil"),
            ("https://*.example.com", "https://example.com"),
            ("https://*.example.com", "https://.example.com"),
            ("https://*.example.com", "https://evilexample.com"),
            ("https://*.example.com", "https://a.example.com.evil"),
            ("https://*.example.com", "http://a.example.com"),
            ("https://*.example.com", "https://a.example.com:8443"),
            ("capacitor://localhost", "ionic://localhost"),
            ("capacitor://localhost", "http://localhost"),
            ("moz-extension://*", "chrome-extension://a"),
            ("https://app.example", "null"),
            ("null", "https://app.example"),
        ] {
            assert!(!allows(setting, origin), "{setting} {origin}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused_with_what_is_wrong() {
        for (setting, wrong) in [
            ("app.example", "it begins with a scheme"),
            ("localhost:3000", "it begins with a scheme"),
            ("", "it begins with a scheme"),
            ("1http://app.example", "no scheme"),
            ("https://app.example/rooms", "and nothing else"),
            ("https://me@app.example", "and nothing else"),
            ("https://", "empty host"),
            ("https://app.example:99999", "invalid port"),
            ("https://a.*.example", "in front of a domain"),
            ("https://*", "in front of a domain"),
            ("https://*.com", "everybody's"),
            ("https://*.192.0.2.1", "an address has no hosts below it"),
            ("wss://app.example", "write https://"),
            ("capacitor://bücher", "is no host"),
        ] {
            let fault = AllowedOrigin::parse(setting).expect_err(setting);
            assert!(fault.starts_with(&format!("'{setting}' is no origin: ")) && fault.contains(wrong), "{fault}");
        }
    }

    #[test]
    fn names_of_hosts_are_known_by_the_web_alone() {
        let knows = |setting: &str, name: &str| AllowedOrigin::parse(setting).expect(setting).knows(name);
        assert!(knows("https://app.example:444", "app.example") && knows("https://*.example.com", "a.example.com"));
        for (setting, name) in [
            ("*", "app.example"),
            ("null", "null"),
            ("capacitor://evil.example", "evil.example"),
            ("app://*", "evil.example"),
            ("https://*.example.com", "example.com"),
        ] {
            assert!(!knows(setting, name), "{setting} {name}");
        }
    }
}
