//! A user session: one device of one user.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use ipnet::IpNet;

use super::document::Document;
use super::ids::{SimulatorId, UserId, UserSessionId};
use super::participant::Quality;
use super::simulator::SimulatorStatus;
use super::subject::Subject;
use super::words::words;

words! {
    /// Where a user session runs.
    Platform {
        /// A browser.
        Web = "web",
        /// An app on iOS, as it is sold.
        IosExternal = "ios-external",
        /// An app on iOS, for its developers.
        IosInternal = "ios-internal",
        /// A widget on iOS.
        IosWidget = "ios-widget",
        /// An app on macOS, for its developers.
        MacosInternal = "macos-internal",
    }
}

words! {
    /// The status of a user session.
    UserSessionStatus {
        /// Alive, with activity lately.
        Active = "active",
        /// Alive, without activity for `idle-after`.
        Idle = "idle",
        /// The last connection was lost; it may come back until the session expires.
        Reconnecting = "reconnecting",
        /// It was ended.
        Ended = "ended",
        /// It had no heartbeat for the timeout.
        Timeout = "timeout",
    }
}

words! {
    /// Why a user session ended.
    EndReason {
        /// The person logged out.
        Logout = "logout",
        /// It had no heartbeat for the timeout.
        Timeout = "timeout",
        /// It was ended by a call.
        Manual = "manual",
        /// The app was closed.
        AppClose = "app_close",
        /// The app crashed.
        Crash = "crash",
    }
}

words! {
    /// The result of opening a session.
    OpenVerdict {
        /// It was made.
        Opened = "opened",
        /// It was there, alive, and goes on.
        Continued = "continued",
        /// It is another user's, or on another platform.
        Taken = "session_id_taken",
        /// It has ended.
        Ended = "session_ended",
    }
}

/// The longest id that a client makes, in characters.
pub const MAX_ID_CHARS: usize = 128;

/// What is kept of a User-Agent header, in characters.
pub const MAX_USER_AGENT_CHARS: usize = 512;

/// The rules of user sessions; see `config` for each.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// It has ended after this long without a heartbeat.
    pub timeout: Duration,
    /// It is idle after this long without activity.
    pub idle_after: Duration,
}

/// A user session's id, as its client made it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClientSession(Arc<str>);

impl ClientSession {
    /// Checks that the text can be an id.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.chars().count() > MAX_ID_CHARS {
            return Err(format!("must have 1 to {MAX_ID_CHARS} characters"));
        }
        if text.chars().any(char::is_control) {
            return Err("must not hold control characters".to_owned());
        }
        // `/v1/user-sessions/summary` is another call.
        if text == "summary" {
            return Err("must not be 'summary'".to_owned());
        }
        Ok(Self(text.into()))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The device at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Device {
    /// The session it belongs to.
    pub session: ClientSession,
    /// Where it runs.
    pub platform: Platform,
    /// Its User-Agent, cut.
    pub user_agent: Option<String>,
    /// Its network, instead of its full address.
    pub network: IpNet,
}

/// A user session: one device of one user.
#[derive(Clone, Debug)]
pub struct UserSession {
    /// The server's own id; calls name `session_id`.
    pub id: UserSessionId,
    /// Its user.
    pub user_id: Subject,
    /// The client's id.
    pub session_id: String,
    /// Where it runs.
    pub platform: Platform,
    /// As of the last heartbeat.
    pub status: UserSessionStatus,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When the person last did something.
    pub last_activity_at: DateTime<Utc>,
    /// When the last heartbeat was received.
    pub last_heartbeat_at: DateTime<Utc>,
    /// When it ends without another heartbeat.
    pub expires_at: DateTime<Utc>,
    /// When it ended; for a timeout the last heartbeat.
    pub ended_at: Option<DateTime<Utc>>,
    /// Why it ended.
    pub end_reason: Option<EndReason>,
    /// From start to end, once it has ended.
    pub total_duration_seconds: Option<i64>,
    /// How often the person did something.
    pub activity_count: i64,
    /// Its WebSockets on `node`.
    pub frontend_connections: i32,
    /// Its event streams on `node`.
    pub sse_connections: i32,
    /// When the last WebSocket was opened.
    pub last_ws_connection: Option<DateTime<Utc>>,
    /// By the last Ping's round trip.
    pub connection_quality: Option<Quality>,
    /// The server that holds its connections, or held the last one.
    pub node: Option<String>,
    /// The device, as the client describes it.
    pub device_info: Document,
    /// The location, as the client describes it.
    pub location_info: Document,
    /// What the client stores with it.
    pub metadata: Document,
    /// The first 512 characters of its User-Agent.
    pub user_agent: Option<String>,
    /// The network of the client: /24 of IPv4, /48 of IPv6.
    pub ip_address: Option<String>,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When it was last written.
    pub updated_at: DateTime<Utc>,
    /// Its newest simulator, live or over.
    pub simulator: Option<SimulatorOfSession>,
}

/// The simulator of a user session, in short.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the fields are those of Simulator")]
pub struct SimulatorOfSession {
    pub id: SimulatorId,
    pub endpoint: Option<String>,
    pub status: SimulatorStatus,
}

/// Another live session of the same user, in short.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are those of UserSession")]
pub struct OtherSession {
    pub session_id: String,
    pub platform: Platform,
    pub status: UserSessionStatus,
    pub started_at: DateTime<Utc>,
    pub last_activity_at: DateTime<Utc>,
    pub last_heartbeat_at: DateTime<Utc>,
}

/// How many live sessions there are on a platform, and how old they are.
#[derive(Clone, Debug)]
pub struct PlatformSummary {
    /// The platform.
    pub platform: Platform,
    /// Its live sessions.
    pub active_count: i64,
    /// Their average age.
    pub avg_session_minutes: f64,
    /// When the oldest of them began.
    pub oldest_session: DateTime<Utc>,
    /// When the last activity in one of them was.
    pub latest_activity: DateTime<Utc>,
}

/// The filter of a list of sessions.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the fields are the table's, see migrations")]
pub struct Wanted {
    pub user_id: Option<UserId>,
    pub status: Option<UserSessionStatus>,
    pub platform: Option<Platform>,
}

/// What a client stores with its session; `None` where it sent nothing.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the fields are the table's, see migrations")]
pub struct Kept {
    pub device_info: Option<Document>,
    pub location_info: Option<Document>,
    pub metadata: Option<Document>,
}

/// A heartbeat over HTTP.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    /// Whether the person did something.
    pub active: bool,
    /// How often.
    pub activity: i64,
}

/// A session that was started, or continued.
#[derive(Debug)]
#[expect(missing_docs, reason = "the types say it")]
pub struct Started {
    pub session: UserSession,
    pub newly_made: bool,
    pub others: Vec<OtherSession>,
}
