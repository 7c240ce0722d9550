//! User sessions in JSON.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::document::Document;
use crate::domain::ids::{SimulatorId, UserSessionId};
use crate::domain::participant::Quality;
use crate::domain::simulator::SimulatorStatus;
use crate::domain::subject::Subject;
use crate::domain::user_session::{self, EndReason, Platform, UserSessionStatus};
use crate::protocol::v1::Timestamp;

/// A user session: one device of one user.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "01939f1c-6c3a-7d31-9a55-0d5b8f1f0a11", "user_id": "6f1c2d3e-0000-4000-8000-000000000001",
    "session_id": "8c5f-1", "platform": "web", "status": "active", "started_at": "2026-11-21T09:00:00.000Z",
    "last_activity_at": "2026-11-21T09:29:41.120Z", "last_heartbeat_at": "2026-11-21T09:30:00.123Z",
    "expires_at": "2026-11-21T10:30:00.123Z", "ended_at": null, "end_reason": null, "total_duration_seconds": null,
    "activity_count": 57, "frontend_connections": 1, "sse_connections": 0,
    "last_ws_connection": "2026-11-21T09:00:01.004Z", "connection_quality": "good", "node": "presence-1",
    "device_info": {"browser": "Firefox"}, "location_info": {}, "metadata": {"theme": "dark"},
    "user_agent": "Mozilla/5.0", "ip_address": "203.0.113.0/24", "created_at": "2026-11-21T09:00:00.000Z",
    "updated_at": "2026-11-21T09:30:02.000Z",
    "simulator": {"id": "019aa5d2-7c1e-7d51-9a33-0f4b4c6f0a11", "endpoint": "http://127.0.0.1:40123", "status": "RUNNING"},
}))]
pub struct UserSession {
    /// The server's own id; calls name `session_id`.
    id: UserSessionId,
    /// Its user.
    user_id: Subject,
    /// The client's id.
    #[schema(min_length = 1, max_length = 128)]
    session_id: String,
    /// Where it runs.
    platform: Platform,
    /// As of the last heartbeat.
    status: UserSessionStatus,
    /// When it began.
    started_at: Timestamp,
    /// When the person last did something.
    last_activity_at: Timestamp,
    /// When the last heartbeat was received.
    last_heartbeat_at: Timestamp,
    /// When it ends without another heartbeat.
    expires_at: Timestamp,
    /// When it ended; for a timeout the last heartbeat.
    ended_at: Option<Timestamp>,
    /// Why it ended.
    end_reason: Option<EndReason>,
    /// From start to end, once it has ended.
    total_duration_seconds: Option<i64>,
    /// How often the person did something.
    activity_count: i64,
    /// Its WebSockets on `node`.
    frontend_connections: i32,
    /// Its event streams on `node`.
    sse_connections: i32,
    /// When the last WebSocket was opened.
    last_ws_connection: Option<Timestamp>,
    /// By the last Ping's round trip.
    connection_quality: Option<Quality>,
    /// The server that holds its connections, or held the last one.
    node: Option<String>,
    /// The device, as the client describes it.
    #[schema(value_type = Object)]
    device_info: Document,
    /// The location, as the client describes it.
    #[schema(value_type = Object)]
    location_info: Document,
    /// What the client stores with it.
    #[schema(value_type = Object)]
    metadata: Document,
    /// The first 512 characters of its User-Agent.
    user_agent: Option<String>,
    /// The network of the client: /24 of IPv4, /48 of IPv6.
    ip_address: Option<String>,
    /// When the row was made.
    created_at: Timestamp,
    /// When it was last written.
    updated_at: Timestamp,
    /// Its newest simulator, live or over; null where none was ever made for it.
    simulator: Option<SimulatorOfSession>,
}

/// The simulator of a user session, in short.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "019aa5d2-7c1e-7d51-9a33-0f4b4c6f0a11", "endpoint": "http://127.0.0.1:40123", "status": "RUNNING"
}))]
pub struct SimulatorOfSession {
    id: SimulatorId,
    /// Where it is reached; null until it runs.
    endpoint: Option<String>,
    status: SimulatorStatus,
}

impl From<user_session::SimulatorOfSession> for SimulatorOfSession {
    fn from(simulator: user_session::SimulatorOfSession) -> Self {
        Self { id: simulator.id, endpoint: simulator.endpoint, status: simulator.status }
    }
}

impl From<user_session::UserSession> for UserSession {
    fn from(session: user_session::UserSession) -> Self {
        Self {
            id: session.id,
            user_id: session.user_id,
            session_id: session.session_id,
            platform: session.platform,
            status: session.status,
            started_at: session.started_at.into(),
            last_activity_at: session.last_activity_at.into(),
            last_heartbeat_at: session.last_heartbeat_at.into(),
            expires_at: session.expires_at.into(),
            ended_at: session.ended_at.map(Into::into),
            end_reason: session.end_reason,
            total_duration_seconds: session.total_duration_seconds,
            activity_count: session.activity_count,
            frontend_connections: session.frontend_connections,
            sse_connections: session.sse_connections,
            last_ws_connection: session.last_ws_connection.map(Into::into),
            connection_quality: session.connection_quality,
            node: session.node,
            device_info: session.device_info,
            location_info: session.location_info,
            metadata: session.metadata,
            user_agent: session.user_agent,
            ip_address: session.ip_address,
            created_at: session.created_at.into(),
            updated_at: session.updated_at.into(),
            simulator: session.simulator.map(Into::into),
        }
    }
}

/// Another live session of the same user, in short.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "session_id": "phone-1", "platform": "ios-external", "status": "idle",
    "started_at": "2026-11-21T08:00:00.000Z", "last_activity_at": "2026-11-21T09:10:00.000Z",
    "last_heartbeat_at": "2026-11-21T09:29:30.000Z"
}))]
pub struct OtherSession {
    session_id: String,
    platform: Platform,
    status: UserSessionStatus,
    started_at: Timestamp,
    last_activity_at: Timestamp,
    last_heartbeat_at: Timestamp,
}

impl From<user_session::OtherSession> for OtherSession {
    fn from(session: user_session::OtherSession) -> Self {
        Self {
            session_id: session.session_id,
            platform: session.platform,
            status: session.status,
            started_at: session.started_at.into(),
            last_activity_at: session.last_activity_at.into(),
            last_heartbeat_at: session.last_heartbeat_at.into(),
        }
    }
}

/// How many live sessions there are on a platform, and how old they are.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "platform": "web", "active_count": 42, "avg_session_minutes": 31.5, "oldest_session": "2026-11-20T22:10:00.000Z",
    "latest_activity": "2026-11-21T09:29:41.120Z",
}))]
pub struct PlatformSummary {
    /// The platform.
    platform: Platform,
    /// Its live sessions.
    active_count: i64,
    /// Their average age.
    avg_session_minutes: f64,
    /// When the oldest of them began.
    oldest_session: Timestamp,
    /// When the last activity in one of them was.
    latest_activity: Timestamp,
}

impl From<user_session::PlatformSummary> for PlatformSummary {
    fn from(summary: user_session::PlatformSummary) -> Self {
        Self {
            platform: summary.platform,
            active_count: summary.active_count,
            avg_session_minutes: summary.avg_session_minutes,
            oldest_session: summary.oldest_session.into(),
            latest_activity: summary.latest_activity.into(),
        }
    }
}
