//! The WebSocket: the upgrade that lets somebody in, and the one loop that serves a connection. Beside
//! it, the stream of events for those who only read along.

pub mod admin;
pub mod connection;
pub mod device;
mod dialogue;
pub mod end;
pub mod frame;
pub mod limits;
pub mod line;
mod member;
pub mod origin;
mod pace;
mod pulse;
pub mod stats;
pub mod upgrade;
pub mod watch;

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

/// What all connections share.
#[derive(Debug)]
#[expect(missing_docs, reason = "the types say it")]
pub struct Sockets {
    pub admissions: Arc<Admissions>,
    pub frames: Frames,
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
    /// Every connection holds a token of it from before its upgrade on, and calls over HTTP run in it;
    /// shutdown waits for them.
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
