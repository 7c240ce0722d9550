//! User sessions: read, list, count, sweep; `changes` has what changes one of them. What is heard over
//! their connections comes with the flush, see `heartbeats`.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;
use utoipa::ToSchema;

use super::{Cursor, Store, StoreError, Viewer};
use crate::ids::{UserId, UserSessionId};
use crate::protocol::v1::Timestamp;
use crate::room::Quality;
use crate::user_session::{EndReason, Platform, UserSessionStatus};

/// Alive: neither ended nor overdue, which it is before the sweep has come by.
macro_rules! alive {
    () => {
        "s.ended_at IS NULL AND s.expires_at > now()"
    };
}

/// Whether it is over, although the sweep has not come by.
macro_rules! overdue {
    () => {
        "(s.ended_at IS NULL AND s.expires_at <= now())"
    };
}

macro_rules! status {
    () => {
        concat!("CASE WHEN ", overdue!(), " THEN 'timeout' ELSE s.status END")
    };
}

/// The columns of [`UserSession`]: what is overdue is shown as the sweep is going to leave it.
macro_rules! columns {
    () => {
        concat!(
            "s.id, s.user_id, s.session_id, s.platform, s.started_at, s.last_activity_at, s.last_heartbeat_at,
             s.expires_at, s.activity_count, s.frontend_connections, s.sse_connections, s.last_ws_connection,
             lower(s.connection_quality) AS connection_quality, s.node, s.device_info, s.location_info, s.metadata,
             s.user_agent, s.ip_address::text AS ip_address, s.created_at, s.updated_at, ",
            status!(),
            " AS status,
             CASE WHEN ",
            overdue!(),
            " THEN s.last_heartbeat_at ELSE s.ended_at END AS ended_at,
             CASE WHEN ",
            overdue!(),
            " THEN 'timeout' ELSE s.end_reason END AS end_reason,
             CASE WHEN ",
            overdue!(),
            " THEN calculate_session_duration(s.started_at, s.last_heartbeat_at)
                  ELSE s.total_duration_seconds END AS total_duration_seconds"
        )
    };
}

mod changes;

pub use changes::{Heartbeat, Kept, Started};

/// A user session: one device of one user.
#[derive(Clone, Debug, Serialize, FromRow, ToSchema)]
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
}))]
pub struct UserSession {
    /// The server's own id; calls name `session_id`.
    pub id: UserSessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// The client's id.
    #[schema(min_length = 1, max_length = 128)]
    pub session_id: String,
    /// Where it runs.
    pub platform: Platform,
    /// As of the last heartbeat.
    pub status: UserSessionStatus,
    /// When it began.
    pub started_at: Timestamp,
    /// When the person last did something.
    pub last_activity_at: Timestamp,
    /// When it was last heard of.
    pub last_heartbeat_at: Timestamp,
    /// When it is over unless it is heard of.
    pub expires_at: Timestamp,
    /// When it ended; for a timeout when it was last heard of.
    pub ended_at: Option<Timestamp>,
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
    pub last_ws_connection: Option<Timestamp>,
    /// By the last Ping's round trip.
    pub connection_quality: Option<Quality>,
    /// The server that holds its connections, or held the last one.
    pub node: Option<String>,
    /// What the client says of its device.
    #[schema(value_type = Object)]
    pub device_info: Value,
    /// What the client says of where it is.
    #[schema(value_type = Object)]
    pub location_info: Value,
    /// What the client keeps here.
    #[schema(value_type = Object)]
    pub metadata: Value,
    /// The first 512 characters of its User-Agent.
    pub user_agent: Option<String>,
    /// The network it came from: /24 of IPv4, /48 of IPv6.
    pub ip_address: Option<String>,
    /// When the row was made.
    pub created_at: Timestamp,
    /// When it was last written.
    pub updated_at: Timestamp,
}

/// Another live session of the same user, in short.
#[derive(Clone, Debug, Serialize, FromRow, ToSchema)]
#[schema(example = json!({
    "session_id": "phone-1", "platform": "ios-external", "status": "idle",
    "started_at": "2026-11-21T08:00:00.000Z", "last_activity_at": "2026-11-21T09:10:00.000Z",
    "last_heartbeat_at": "2026-11-21T09:29:30.000Z"
}))]
#[expect(missing_docs, reason = "the fields are those of UserSession")]
pub struct OtherSession {
    pub session_id: String,
    pub platform: Platform,
    pub status: UserSessionStatus,
    pub started_at: Timestamp,
    pub last_activity_at: Timestamp,
    pub last_heartbeat_at: Timestamp,
}

/// How many live sessions there are on a platform, and how old they are.
#[derive(Clone, Debug, Serialize, FromRow, ToSchema)]
#[schema(example = json!({
    "platform": "web", "active_count": 42, "avg_session_minutes": 31.5, "oldest_session": "2026-11-20T22:10:00.000Z",
    "latest_activity": "2026-11-21T09:29:41.120Z",
}))]
pub struct PlatformSummary {
    /// The platform.
    pub platform: Platform,
    /// Its live sessions.
    pub active_count: i64,
    /// How long they have been open by now, on average.
    pub avg_session_minutes: f64,
    /// When the oldest of them began.
    pub oldest_session: Timestamp,
    /// When somebody last did something in one of them.
    pub latest_activity: Timestamp,
}

/// Which sessions a list is asked for.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the fields are the table's, see migrations")]
pub struct Wanted {
    pub user_id: Option<UserId>,
    pub status: Option<UserSessionStatus>,
    pub platform: Option<Platform>,
}

impl Store {
    /// One session, where `viewer` may see it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn user_session(&self, viewer: Viewer, session: &str) -> Result<Option<UserSession>, StoreError> {
        self.ask(async {
            let mut transaction = self.begin_as(viewer).await?;
            let session =
                sqlx::query_as(concat!("SELECT ", columns!(), " FROM user_sessions s WHERE s.session_id = $1"))
                    .bind(session)
                    .fetch_optional(&mut *transaction)
                    .await?;
            transaction.commit().await?;
            Ok(session)
        })
        .await
    }

    /// A page of the sessions that `viewer` may see, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn user_sessions(
        &self,
        viewer: Viewer,
        wanted: Wanted,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<UserSession>, StoreError> {
        self.ask(async {
            let mut transaction = self.begin_as(viewer).await?;
            let page = sqlx::query_as(concat!(
                "SELECT ",
                columns!(),
                " FROM user_sessions s
                 WHERE ($1::uuid IS NULL OR s.user_id = $1)
                   AND ($2::uuid IS NULL OR s.user_id = $2)
                   AND ($3::text IS NULL OR ",
                status!(),
                " = $3)
                   AND ($4::text IS NULL OR s.platform = $4)
                   AND ($5::timestamptz IS NULL OR (s.started_at, s.id) < ($5, $6))
                 ORDER BY s.started_at DESC, s.id DESC LIMIT $7"
            ))
            .bind(viewer.user())
            .bind(wanted.user_id)
            .bind(wanted.status)
            .bind(wanted.platform)
            .bind(after.map(|cursor| cursor.at))
            .bind(after.map(|cursor| cursor.id))
            .bind(limit)
            .fetch_all(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok(page)
        })
        .await
    }

    /// How many live sessions there are, by platform.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn user_session_summary(&self) -> Result<Vec<PlatformSummary>, StoreError> {
        self.ask(
            sqlx::query_as(
                "SELECT platform, active_count, avg_session_minutes::float8, oldest_session, latest_activity
                 FROM active_sessions_summary ORDER BY platform",
            )
            .fetch_all(&self.requests),
        )
        .await
    }

    /// Ends sessions that nothing was heard of any more, and says how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn expire_user_sessions(&self) -> Result<i64, StoreError> {
        self.batch(sqlx::query_scalar("SELECT expire_user_sessions()").fetch_one(&self.batches)).await
    }

    /// Deletes sessions that ended longer ago than this, and says how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn purge_user_sessions(&self, older_than: Duration) -> Result<i64, StoreError> {
        self.batch(
            sqlx::query_scalar("SELECT lastseen.purge_user_sessions(make_interval(secs => $1))")
                .bind(older_than.as_secs_f64())
                .fetch_one(&self.batches),
        )
        .await
    }

    /// Takes the connections for lost that this server had when it ended without saying so, and says of
    /// how many sessions.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn settle_user_sessions(&self) -> Result<i64, StoreError> {
        self.batch(
            sqlx::query_scalar("SELECT lastseen.settle_user_sessions($1)").bind(&self.node).fetch_one(&self.batches),
        )
        .await
    }
}
