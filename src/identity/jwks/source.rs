//! Where a key set comes from: a file or a URL, and how it is read.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Client, StatusCode, Url, redirect};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::key_set::{KeySet, KeySetError};

/// The largest key set, in bytes.
pub(super) const MAX_BYTES: usize = 1024 * 1024;

/// Why there is no key set.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// The setting names neither a file nor an address that may be asked.
    #[error("a JWKS is a file or an https URL without a password; http is only for this machine")]
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
    /// Takes a path, or a URL: https, or http where the host is the loopback interface.
    ///
    /// # Errors
    ///
    /// [`JwksError::NotASource`] for any other URL, for one with a password, and for no text at all.
    pub fn parse(text: &str) -> Result<Self, JwksError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(JwksError::NotASource);
        }
        if !text.contains("://") {
            return Ok(Self(Place::File(text.into())));
        }
        let url: Url = text.parse().map_err(|_| JwksError::NotASource)?;
        let is_private = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
        if is_private && url.username().is_empty() && url.password().is_none() {
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

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    })
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
    if is_loopback(url) {
        client = client.no_proxy();
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

    #[test]
    fn a_source_is_a_file_or_a_private_url() {
        for text in [
            "jwks.json",
            "/etc/lastseen/jwks.json",
            "https://example.com/.well-known/jwks.json",
            "http://localhost:9999/keys",
            "http://127.0.0.1/keys",
            "http://[::1]:8080/keys",
        ] {
            assert_eq!(JwksSource::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            " ",
            "http://example.com/keys",
            "http://localhost.example.com/keys",
            "http://127.0.0.1.example.com/keys",
            "ftp://example.com/keys",
            "https://user:password@example.com/keys",
            "https://",
        ] {
            assert!(JwksSource::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_source_never_shows_its_query() {
        let source = JwksSource::parse("https://example.com/keys?apikey=hunter2").unwrap();
        assert_eq!(format!("{source:?}"), "JwksSource(https://example.com/keys)");
    }
}
