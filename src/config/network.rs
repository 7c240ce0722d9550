//! Settings of the server's address and its surroundings.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ipnet::IpNet;
use reqwest::Url;

use super::{AllowedOrigin, PublicUrl, duration};

/// Where the server is, as seen from outside.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Network")]
pub struct NetworkSettings {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, env = "LASTSEEN_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Certificate of the server as PEM, with those of its issuers after it: TLS without a proxy. It is read again when the file changes
    #[arg(long, env = "LASTSEEN_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of that certificate as PEM, without a passphrase
    #[arg(long, env = "LASTSEEN_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// How people reach the server, for invite links, like `https://presence.example` or `https://example.com/presence`; from --listen without it
    #[arg(long, env = "LASTSEEN_PUBLIC_URL", value_name = "URL", value_parser = PublicUrl::parse)]
    pub public_url: Option<PublicUrl>,
    /// Origins of pages that may use this server from a browser, besides its own, like `https://app.example`, `https://*.example.com`, `capacitor://localhost`; null for pages without one, * for all
    #[arg(long, env = "LASTSEEN_ALLOWED_ORIGINS", value_delimiter = ',', value_name = "ORIGIN,…", value_parser = AllowedOrigin::parse)]
    pub allowed_origins: Vec<AllowedOrigin>,
    /// Networks of proxies whose X-Forwarded-For and Forwarded headers are trusted
    #[arg(long, env = "LASTSEEN_TRUSTED_PROXIES", value_delimiter = ',', value_name = "CIDR,…", value_parser = network)]
    pub trusted_proxies: Vec<IpNet>,
    /// Let people without an account open a session; on where the server listens on loopback and neither --public-url nor --trusted-proxies is set
    #[arg(long, env = "LASTSEEN_GUEST_HOSTS", num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub guest_hosts: Option<bool>,
    /// Address of the app that people come from: where the page leads whoever has a dead link
    #[arg(long, env = "LASTSEEN_HOME_URL", value_name = "URL", value_parser = home_url)]
    pub home_url: Option<Url>,
    /// Take whoever has a dead link to --home-url after this long, which the page counts down [default: only where the button is pressed]
    #[arg(long, env = "LASTSEEN_DEAD_LINK_REDIRECT", value_name = "TIME", value_parser = duration)]
    pub dead_link_redirect: Option<Duration>,
    /// Give tests of the page a hold on it, window.lastseen; on where the server listens on loopback and neither --public-url nor --trusted-proxies is set
    #[arg(long, env = "LASTSEEN_DEV", num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub dev: Option<bool>,
    /// Name of this server in the database; two servers on one database need two names [default: the host name]
    #[arg(long, env = "LASTSEEN_NODE", default_value_t = host_name(), hide_default_value = true, value_name = "NAME")]
    pub node: String,
}

impl NetworkSettings {
    /// The scheme of the server's own addresses.
    pub fn scheme(&self) -> &'static str {
        if self.tls_cert.is_some() { "https" } else { "http" }
    }

    /// Whether nobody but this machine is served, as far as the settings say.
    pub(super) fn is_private(&self) -> bool {
        self.listen.ip().is_loopback() && self.public_url.is_none() && self.trusted_proxies.is_empty()
    }

    /// Whether these settings agree with each other.
    ///
    /// # Errors
    /// One line that names the settings which contradict each other.
    pub(super) fn validate(&self) -> Result<(), String> {
        if self.node.trim().is_empty() {
            return Err("node must not be empty".to_owned());
        }
        match self.dead_link_redirect {
            Some(_) if self.home_url.is_none() => Err("dead-link-redirect needs home-url".to_owned()),
            Some(Duration::ZERO) => Err("dead-link-redirect must be longer than nothing".to_owned()),
            _ => Ok(()),
        }
    }
}

fn host_name() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}

fn home_url(text: &str) -> Result<Url, String> {
    let refused = || format!("'{text}' is not an address of the form https://app.example or https://app.example/rooms");
    let url = Url::parse(text.trim()).map_err(|_| refused())?;
    // Anybody can read it; and no other scheme is a page.
    let is_page = matches!(url.scheme(), "https" | "http") && url.username().is_empty() && url.password().is_none();
    if is_page { Ok(url) } else { Err(refused()) }
}

fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
        .map_err(|_| format!("'{text}' is neither an address nor a network like 10.0.0.0/8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_is_the_address_of_a_page() {
        for (given, taken) in [
            ("https://app.example", "https://app.example/"),
            (" http://localhost:3000/rooms?from=link#top ", "http://localhost:3000/rooms?from=link#top"),
        ] {
            assert_eq!(home_url(given).map(String::from), Ok(taken.to_owned()));
        }
        for refused in [
            "",
            "app.example",
            "/rooms",
            "ftp://app.example",
            "javascript:alert(1)",
            "https://me:word@app.example",
            "https://",
        ] {
            let fault = home_url(refused).expect_err(refused);
            assert!(fault.starts_with(&format!("'{refused}' is not an address of the form https://")), "{fault}");
        }
    }
}
