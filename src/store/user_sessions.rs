//! User sessions: read, count, sweep; `lists` has the lists, `changes` what changes one of them. Heartbeats over
//! connections are written with the flush, see `heartbeats`.

use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::{Store, StoreError, Viewer};
use crate::domain::user_session::{OtherSession, PlatformSummary, SimulatorOfSession, UserSession};

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

/// Selects [`UserSession`] from this, which has the name `s`: what is overdue is shown as the sweep is going to leave
/// it, and beside each session is its newest simulator.
macro_rules! sessions {
    ($($from:tt)+) => {
        concat!(
            "SELECT s.id, lastseen.subject_of(s.user_id) AS user_id, s.session_id, s.platform, s.started_at,
             s.last_activity_at, s.last_heartbeat_at, s.expires_at, s.activity_count, s.frontend_connections, s.sse_connections, s.last_ws_connection,
             s.connection_quality, s.node, s.device_info, s.location_info, s.metadata,
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
                  ELSE s.total_duration_seconds END AS total_duration_seconds,
             m.id AS simulator_id, m.endpoint AS simulator_endpoint, m.status AS simulator_status
             FROM ",
            $($from)+,
            " LEFT JOIN LATERAL (
                SELECT m.id, m.endpoint, m.status FROM simulators AS m
                WHERE m.user_session_id = s.id ORDER BY m.created_at DESC, m.id DESC LIMIT 1
             ) AS m ON true "
        )
    };
}

mod changes;
mod lists;

pub use self::changes::UserSessionError;

from_row! {
    UserSession {
        id, user_id, session_id, platform, status, started_at, last_activity_at, last_heartbeat_at,
        expires_at, ended_at, end_reason, total_duration_seconds, activity_count, frontend_connections,
        sse_connections, last_ws_connection, connection_quality, node, device_info, location_info, metadata,
        user_agent, ip_address, created_at, updated_at, simulator by simulator,
    }
}
from_row! {
    OtherSession {
        session_id, platform, status, started_at, last_activity_at, last_heartbeat_at,
    }
}
from_row! {
    PlatformSummary {
        platform, active_count, avg_session_minutes, oldest_session, latest_activity,
    }
}

fn simulator(row: &PgRow) -> Result<Option<SimulatorOfSession>, sqlx::Error> {
    let Some(id) = row.try_get("simulator_id")? else { return Ok(None) };
    let (endpoint, status) = (row.try_get("simulator_endpoint")?, row.try_get("simulator_status")?);
    Ok(Some(SimulatorOfSession { id, endpoint, status }))
}

impl Store {
    /// One session, where `viewer` may see it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn user_session(&self, viewer: Viewer, session: &str) -> Result<Option<UserSession>, StoreError> {
        self.ask(async {
            let mut transaction = self.begin_as(viewer).await?;
            let session = sqlx::query_as(concat!(sessions!("user_sessions AS s"), "WHERE s.session_id = $1"))
                .bind(session)
                .fetch_optional(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(session)
        })
        .await
    }

    /// How many live sessions there are that `viewer` may see, by platform.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn user_session_summary(&self, viewer: Viewer) -> Result<Vec<PlatformSummary>, StoreError> {
        self.ask(async {
            let mut transaction = self.begin_as(viewer).await?;
            let platforms = sqlx::query_as(
                "SELECT platform, active_count, avg_session_minutes::float8, oldest_session, latest_activity
                 FROM active_sessions_summary ORDER BY platform",
            )
            .fetch_all(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok(platforms)
        })
        .await
    }

    /// Ends at most so many of the sessions that are past their end without a heartbeat, and returns how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn expire_user_sessions(&self, at_most: i32) -> Result<i64, StoreError> {
        self.batch(sqlx::query_scalar("SELECT expire_user_sessions($1)").bind(at_most).fetch_one(&self.batches)).await
    }

    /// Deletes at most so many of the sessions that ended longer ago than this, and returns how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn purge_user_sessions(&self, older_than: Duration, at_most: i32) -> Result<i64, StoreError> {
        self.batch(
            sqlx::query_scalar("SELECT lastseen.purge_user_sessions(make_interval(secs => $1), $2)")
                .bind(older_than.as_secs_f64())
                .bind(at_most)
                .fetch_one(&self.batches),
        )
        .await
    }

    /// Marks the connections as lost that this server held when it crashed, and returns of how many sessions.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn settle_user_sessions(&self) -> Result<i64, StoreError> {
        self.by_chunks("SELECT lastseen.settle_user_sessions($1, $2)").await
    }
}
