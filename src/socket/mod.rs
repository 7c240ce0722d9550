//! WebSockets and event streams: the upgrade, the loop that serves a connection, and Server-Sent Events.

pub mod admin;
pub mod connection;
pub mod device;
mod dialogue;
pub mod end;
pub mod frame;
mod inbound;
pub mod limits;
pub mod origin;
mod pace;
mod pulse;
pub mod sse;
pub mod stats;
mod subscription;
pub mod transport;
pub mod upgrade;

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio_util::task::TaskTracker;

use crate::admission::Admissions;
use crate::clock::Clock;
use crate::config::Settings;
use crate::metrics::Metrics;
use crate::protocol::v1::Frames;
use crate::room::WriteBehind;
use crate::sit::SitRecorder;
use crate::store::Store;
use crate::user_session::UserSessions;
use limits::Limits;
use origin::Origins;
use stats::Figures;

/// What all connections of a server share.
#[derive(Debug)]
#[expect(missing_docs, reason = "the types say it")]
pub struct Sockets {
    pub admissions: Arc<Admissions>,
    pub frames: Arc<Frames>,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    pub limits: Arc<Limits>,
    pub origins: Origins,
    pub trusted_proxies: Vec<IpNet>,
    pub timings: Timings,
    pub store: Store,
    pub write_behind: Arc<WriteBehind>,
    pub user_sessions: Arc<UserSessions>,
    pub sits: Arc<SitRecorder>,
    pub figures: Arc<Figures>,
    /// Every connection holds a token of it from before its upgrade, and calls over HTTP run in it.
    /// Shutdown waits for them.
    pub tracker: TaskTracker,
}

/// The timings and bounds of a connection; see `config` for each.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "each is the setting of the same name")]
pub struct Timings {
    pub ping_interval: Duration,
    pub dead_after: Duration,
    pub write_timeout: Duration,
    pub max_message_bytes: usize,
}

impl From<&Settings> for Timings {
    fn from(settings: &Settings) -> Self {
        Self {
            ping_interval: settings.ping_interval(),
            dead_after: settings.presence.dead_after,
            write_timeout: settings.limits.write_timeout,
            max_message_bytes: usize::try_from(settings.limits.max_message_bytes).unwrap_or(usize::MAX),
        }
    }
}
