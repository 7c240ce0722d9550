//! The server under load: its addresses, and whether it may be loaded.

use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};
use reqwest::Url;
use serde::{Deserialize, Serialize};

/// A server with the addresses that its name had when they were checked. No other address is asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Target {
    /// `http://host:port`.
    base: String,
    host: String,
    addresses: Vec<SocketAddr>,
}

impl Target {
    /// Resolves the address of the server.
    ///
    /// # Errors
    /// Where it is no address, or not one of this machine and the operator did not allow it.
    pub async fn resolve(url: &str, is_mine: bool) -> anyhow::Result<Self> {
        let base = Url::parse(url).with_context(|| format!("--url {url} cannot be read"))?;
        let plain = base.path() == "/" && base.query().is_none() && base.username().is_empty();
        ensure!(
            base.scheme() == "http" && base.has_host() && plain,
            "--url must be of the form http://host:port: no TLS is spoken here, so load the server behind its proxy, or one without tls-cert"
        );
        let host = base.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = base.port_or_known_default().unwrap_or(80);
        let addresses: Vec<_> =
            tokio::net::lookup_host((host, port)).await.with_context(|| format!("{host} cannot be found"))?.collect();
        ensure!(!addresses.is_empty(), "{host} has no address");
        if let Some(away) = addresses.iter().find(|address| !address.ip().to_canonical().is_loopback())
            && !is_mine
        {
            bail!(
                "{host} is {}, which is not this machine: load only servers that are yours, and say so with --i-own-this-server",
                away.ip()
            );
        }
        let base_text = base.as_str().trim_end_matches('/').to_owned();
        Ok(Self { base: base_text, host: base.host_str().unwrap_or_default().to_owned(), addresses })
    }

    /// The URL of a call.
    pub fn http(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The URL of a WebSocket.
    pub fn websocket(&self, path: &str) -> String {
        self.http(path).replacen("http", "ws", 1)
    }

    /// The address for a connection: each in turn.
    pub fn address(&self, turn: usize) -> SocketAddr {
        self.addresses[turn % self.addresses.len()]
    }

    /// A client that connects to the checked addresses only, whatever the name resolves to by now, and that
    /// follows no redirect.
    ///
    /// # Errors
    /// Where the TLS library cannot be set up.
    pub fn client(&self) -> reqwest::Result<reqwest::Client> {
        reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .resolve_to_addrs(&self.host, &self.addresses)
            .build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_this_machine_is_loaded_unless_somebody_owns_the_other_one() {
        for url in ["http://127.0.0.1:8080", "http://127.0.0.9:8080/", "http://[::1]:8080", "http://localhost:8080"] {
            Target::resolve(url, false).await.unwrap_or_else(|error| panic!("{url}: {error}"));
        }
        // Addresses for documentation; nothing is sent to them.
        for url in ["http://192.0.2.1:8080", "http://[2001:db8::1]"] {
            let refused = Target::resolve(url, false).await.expect_err(url).to_string();
            assert!(refused.contains("--i-own-this-server"), "{refused}");
            Target::resolve(url, true).await.unwrap_or_else(|error| panic!("{url}: {error}"));
        }
    }

    #[tokio::test]
    async fn what_is_no_address_of_a_server_is_refused() {
        for url in ["127.0.0.1:8080", "ws://127.0.0.1", "https://127.0.0.1", "http://127.0.0.1/join/x", "http://"] {
            assert!(Target::resolve(url, true).await.is_err(), "{url}");
        }
    }

    #[tokio::test]
    async fn addresses_are_put_together() {
        let target = Target::resolve("http://127.0.0.1:8080/", false).await.expect("a target");
        assert_eq!(target.http("/metrics"), "http://127.0.0.1:8080/metrics");
        assert_eq!(target.websocket("/v1/x"), "ws://127.0.0.1:8080/v1/x");
    }
}
