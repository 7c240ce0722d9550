//! Where a key set comes from: a file or a URL, and how it is read.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Client, StatusCode, Url, redirect};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::key_set::{KeySet, KeySetError};

/// The largest key set, in bytes.
pub(super) const MAX_BYTES: usize = 1024 * 1024;

/// Why there is no key set.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// The setting names neither a file nor an address that may be asked.
    #[error(
        "a JWKS is a file or an https URL without a password; http is only for this machine, and with jwks-allow-http for private addresses"
    )]
    NotASource,
    /// The file or the address gave no keys.
    #[error("cannot load the JWKS from {source_name}: {fault}")]
    Load {
        /// The path, or the URL without its query.
        source_name: String,
        /// What went wrong.
        fault: LoadFault,
    },
}

/// What can go wrong when a key set is read.
#[derive(Debug, thiserror::Error)]
pub enum LoadFault {
    /// The file cannot be read.
    #[error("{0}")]
    File(#[from] io::Error),
    /// The request failed; the text says at which step.
    #[error("{0}")]
    Request(String),
    /// The host of an http URL has no private address.
    #[error("{0} has no private address, and http is for these alone: use https")]
    NotPrivate(String),
    /// The server answered with another status than a success. Redirects are not followed.
    #[error("the answer was {0}")]
    Status(StatusCode),
    /// It took longer than five seconds.
    #[error("it took too long")]
    TimedOut,
    /// It is larger than 1 MiB.
    #[error("it is larger than {MAX_BYTES} bytes")]
    TooLarge,
    /// It was read and holds no keys that can be used.
    #[error("{0}")]
    Keys(#[from] KeySetError),
}

impl From<reqwest::Error> for LoadFault {
    fn from(error: reqwest::Error) -> Self {
        // reqwest leaves the actual reason to the sources. `JwksError` has the URL, without its query: some
        // services want their API key there.
        let error = error.without_url();
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Self::Request(text)
    }
}

/// Where a key set comes from.
#[derive(Clone, PartialEq, Eq)]
pub struct JwksSource(Place);

#[derive(Clone, PartialEq, Eq)]
enum Place {
    File(PathBuf),
    Url(Url),
}

impl JwksSource {
    /// Takes a path, or a URL: https, or http where the host is the loopback interface. With `allow_http` any host may
    /// have an http URL; it is read from private addresses alone.
    ///
    /// # Errors
    ///
    /// [`JwksError::NotASource`] for any other URL, for one with a password, and for no text at all.
    pub fn parse(text: &str, allow_http: bool) -> Result<Self, JwksError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(JwksError::NotASource);
        }
        if !text.contains("://") {
            return Ok(Self(Place::File(text.into())));
        }
        let url: Url = text.parse().map_err(|_| JwksError::NotASource)?;
        let is_allowed = match url.scheme() {
            "https" => true,
            "http" => allow_http || is_loopback(&url),
            _ => false,
        };
        if is_allowed && url.username().is_empty() && url.password().is_none() {
            Ok(Self(Place::Url(url)))
        } else {
            Err(JwksError::NotASource)
        }
    }

    pub(super) async fn load(&self, limit: Duration) -> Result<KeySet, LoadFault> {
        let read = async {
            match &self.0 {
                Place::File(path) => read_file(path).await,
                Place::Url(url) => fetch(url).await,
            }
        };
        let json = timeout(limit, read).await.map_err(|_| LoadFault::TimedOut)??;
        Ok(KeySet::parse(&json)?)
    }

    pub(super) fn error(&self, fault: LoadFault) -> JwksError {
        JwksError::Load { source_name: self.to_string(), fault }
    }
}

impl fmt::Display for JwksSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::File(path) => path.display().fmt(f),
            // Without the query, in which some services want their API key.
            Place::Url(url) => write!(f, "{}{}", url.origin().ascii_serialization(), url.path()),
        }
    }
}

impl fmt::Debug for JwksSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JwksSource({self})")
    }
}

/// The host as it is looked up: an address of IPv6 without its brackets.
fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

fn is_loopback(url: &Url) -> bool {
    host(url) == "localhost" || host(url).parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Whether an address is of this machine or of a network of one's own, where a stranger does not sit in between.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    }
}

/// The private addresses of a URL's host.
async fn private_addresses(url: &Url) -> Result<Vec<SocketAddr>, LoadFault> {
    let port = url.port_or_known_default().unwrap_or_default();
    let addresses = lookup_host((host(url), port)).await.map_err(|error| LoadFault::Request(error.to_string()))?;
    let private: Vec<_> = addresses.filter(|address| is_private(address.ip())).collect();
    if private.is_empty() { Err(LoadFault::NotPrivate(host(url).to_owned())) } else { Ok(private) }
}

async fn read_file(path: &PathBuf) -> Result<Vec<u8>, LoadFault> {
    let mut json = Vec::new();
    File::open(path).await?.take(MAX_BYTES as u64 + 1).read_to_end(&mut json).await?;
    if json.len() > MAX_BYTES { Err(LoadFault::TooLarge) } else { Ok(json) }
}

/// Fetches with a client of its own: one request in ten minutes needs no pooled connection, and a new
/// client reads the root certificates of this machine again.
async fn fetch(url: &Url) -> Result<Vec<u8>, LoadFault> {
    // A redirect could lead to a URL that `parse` refuses.
    let mut client = Client::builder().redirect(redirect::Policy::none());
    if url.scheme() == "http" {
        // A name could lead elsewhere when it is looked up once more, be it by a proxy.
        client = client.no_proxy().resolve_to_addrs(host(url), &private_addresses(url).await?);
    }
    let mut response = client.build()?.get(url.clone()).send().await?;
    if !response.status().is_success() {
        return Err(LoadFault::Status(response.status()));
    }
    let mut json = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if json.len() + chunk.len() > MAX_BYTES {
            return Err(LoadFault::TooLarge);
        }
        json.extend_from_slice(&chunk);
    }
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAFE: [&str; 6] = [
        "jwks.json",
        "/etc/lastseen/jwks.json",
        "https://example.com/.well-known/jwks.json",
        "http://localhost:9999/keys",
        "http://127.0.0.1/keys",
        "http://[::1]:8080/keys",
    ];

    const PLAIN: [&str; 4] = [
        "http://example.com/keys",
        "http://localhost.example.com/keys",
        "http://127.0.0.1.example.com/keys",
        "http://keycloak:8080/realms/app/protocol/openid-connect/certs",
    ];

    const NONE: [&str; 6] = [
        "",
        " ",
        "ftp://example.com/keys",
        "https://user:password@example.com/keys",
        "http://user:password@localhost/keys",
        "https://",
    ];

    #[test]
    fn a_source_is_a_file_or_a_private_url() {
        for text in SAFE {
            assert_eq!(JwksSource::parse(text, false).unwrap().to_string(), text);
        }
        for text in PLAIN.iter().chain(&NONE) {
            assert!(JwksSource::parse(text, false).is_err(), "{text:?}");
        }
    }

    #[test]
    fn any_host_may_have_an_http_url_where_that_is_allowed() {
        for text in SAFE.iter().chain(&PLAIN) {
            assert_eq!(JwksSource::parse(text, true).unwrap().to_string(), *text);
        }
        for text in NONE {
            assert!(JwksSource::parse(text, true).is_err(), "{text:?}");
        }
    }

    #[test]
    fn private_addresses_are_those_of_a_network_of_ones_own() {
        for address in ["127.0.0.1", "10.1.2.3", "172.18.0.2", "192.168.1.1", "::1", "fd00::1", "::ffff:10.0.0.1"] {
            assert!(is_private(address.parse().unwrap()), "{address}");
        }
        for address in
            ["8.8.8.8", "172.32.0.1", "169.254.169.254", "0.0.0.0", "2001:db8::1", "fe80::1", "::ffff:8.8.8.8"]
        {
            assert!(!is_private(address.parse().unwrap()), "{address}");
        }
    }

    #[tokio::test]
    async fn an_http_url_is_not_read_from_a_public_address() {
        // No packet is sent there.
        for url in ["http://203.0.113.7/keys", "http://[2001:db8::7]:8080/keys"] {
            let source = JwksSource::parse(url, true).unwrap();
            let fault = source.load(Duration::from_secs(60)).await.unwrap_err();
            assert!(matches!(fault, LoadFault::NotPrivate(_)), "{fault}");
        }
    }

    #[test]
    fn a_source_never_shows_its_query() {
        let source = JwksSource::parse("https://example.com/keys?apikey=hunter2", false).unwrap();
        assert_eq!(format!("{source:?}"), "JwksSource(https://example.com/keys)");
    }
}
