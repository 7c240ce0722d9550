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
    pub write_timeout: Duration,
    pub max_message_bytes: usize,
}

/// The rules of connections.
pub fn of_connections(settings: &Settings) -> ConnectionRules {
    ConnectionRules {
        ping_interval: settings.ping_interval(),
        dead_after: settings.presence.dead_after,
        write_timeout: settings.limits.write_timeout,
        max_message_bytes: usize::try_from(settings.limits.max_message_bytes).unwrap_or(usize::MAX),
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
