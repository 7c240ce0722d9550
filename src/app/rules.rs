//! The rules of rooms, user sessions and connections, from the settings.

use std::time::Duration;

use crate::config::Settings;
use crate::domain::user_session;
use crate::room::{Rules, Timings};

/// The timings and bounds of a connection; see `config` for each.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "each is the setting of the same name")]
pub struct ConnectionRules {
    pub ping_interval: Duration,
    pub dead_after: Duration,
    pub silent_after: Duration,
    pub write_timeout: Duration,
    pub max_message_bytes: usize,
    pub max_updates_per_second: u32,
}

/// What the room's page is told of the server.
#[derive(Clone, Debug, Default)]
pub struct PageRules {
    /// Where a dead link leads.
    pub home_url: Option<String>,
    /// After this long by itself.
    pub dead_link_redirect: Option<Duration>,
    /// Whether callers without a JWT may open a session.
    pub guest_hosts: bool,
    /// Whether tests get a hold on the page.
    pub dev: bool,
}

/// The rules of the room's page.
pub fn of_page(settings: &Settings) -> PageRules {
    PageRules {
        home_url: settings.network.home_url.as_ref().map(ToString::to_string),
        dead_link_redirect: settings.network.dead_link_redirect,
        guest_hosts: settings.guest_hosts(),
        dev: settings.dev(),
    }
}

/// The rules of connections.
pub fn of_connections(settings: &Settings) -> ConnectionRules {
    ConnectionRules {
        ping_interval: settings.ping_interval(),
        dead_after: settings.presence.dead_after,
        silent_after: settings.presence.silent_after,
        write_timeout: settings.limits.write_timeout,
        max_message_bytes: usize::try_from(settings.limits.max_message_bytes).unwrap_or(usize::MAX),
        max_updates_per_second: settings.limits.max_updates_per_second,
    }
}

/// The rules of rooms.
pub fn of_rooms(settings: &Settings) -> Rules {
    let presence = &settings.presence;
    Rules {
        timings: Timings { grace: presence.grace, idle_after: presence.idle_after },
        diff_interval: presence.diff_interval,
        diff_interval_large: presence.diff_interval_large,
        detail_limit: presence.detail_limit,
        idle: settings.sessions.idle(),
        expiring_notice: presence.expiring_notice,
    }
}

/// The rules of user sessions.
pub fn of_user_sessions(settings: &Settings) -> user_session::Rules {
    user_session::Rules { timeout: settings.sessions.user_session_timeout, idle_after: settings.presence.idle_after }
}
