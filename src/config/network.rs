//! Settings of the server's address and its surroundings.

use std::net::SocketAddr;

use clap::Args;
use ipnet::IpNet;

/// Where the server is, as seen from outside.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Network")]
pub struct NetworkSettings {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, env = "LASTSEEN_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// How people reach the server, for invite links; from --listen without it
    #[arg(long, env = "LASTSEEN_PUBLIC_URL", value_name = "URL", value_parser = public_url)]
    pub public_url: Option<String>,
    /// Origins of pages that may use this server from a browser, besides its own; * for all
    #[arg(long, env = "LASTSEEN_ALLOWED_ORIGINS", value_delimiter = ',', value_name = "ORIGIN,…", value_parser = origin)]
    pub allowed_origins: Vec<String>,
    /// Networks of proxies whose X-Forwarded-For and Forwarded headers are trusted
    #[arg(long, env = "LASTSEEN_TRUSTED_PROXIES", value_delimiter = ',', value_name = "CIDR,…", value_parser = network)]
    pub trusted_proxies: Vec<IpNet>,
    /// Let people without an account open a session; on where the server listens on loopback and neither --public-url nor --trusted-proxies is set
    #[arg(long, env = "LASTSEEN_GUEST_HOSTS", num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub guest_hosts: Option<bool>,
    /// Name of this server in the database; two servers on one database need two names [default: the host name]
    #[arg(long, env = "LASTSEEN_NODE", default_value_t = host_name(), hide_default_value = true, value_name = "NAME")]
    pub node: String,
}

fn host_name() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}

fn public_url(text: &str) -> Result<String, String> {
    match origin(text) {
        Ok(origin) if origin != "*" => Ok(origin),
        _ => Err(format!("'{text}' is not of the form https://host or https://host:port")),
    }
}

fn origin(text: &str) -> Result<String, String> {
    let trimmed = text.trim().trim_end_matches('/');
    let host = trimmed.strip_prefix("https://").or_else(|| trimmed.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']) => Ok(trimmed.to_ascii_lowercase()),
        None if trimmed == "*" => Ok(trimmed.to_owned()),
        _ => Err(format!("'{text}' is not an origin of the form https://host or https://host:port")),
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
        .map_err(|_| format!("'{text}' is neither an address nor a network like 10.0.0.0/8"))
}
