//! What the database holds of people and sessions, asked as a superuser.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

/// A row of `session_participants`.
#[derive(Clone, PartialEq, Debug, FromRow)]
pub struct Person {
    pub is_active: bool,
    pub node: Option<String>,
    pub state: Value,
    pub joined_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    pub last_activity_at: DateTime<Utc>,
    pub left_at: Option<DateTime<Utc>>,
    pub leave_reason: Option<String>,
    /// Another one after every write, also after one that changed nothing.
    pub version: String,
}

/// A row of `reading_sessions`.
#[derive(Clone, PartialEq, Debug, FromRow)]
pub struct Stored {
    pub is_active: bool,
    pub last_seen_at: DateTime<Utc>,
    pub last_activity_at: DateTime<Utc>,
    pub closed_at: Option<DateTime<Utc>>,
    pub close_reason: Option<String>,
    /// Another one after every write, also after one that changed nothing.
    pub version: String,
}

/// The row of a person.
pub async fn person(pool: &PgPool, id: Uuid) -> Person {
    sqlx::query_as("SELECT *, xmin::text || ctid::text AS version FROM session_participants WHERE id = $1")
        .bind(id)
        .fetch_one(pool)
        .await
        .expect("a participant")
}

/// The row of a session.
pub async fn stored(pool: &PgPool, id: Uuid) -> Stored {
    sqlx::query_as("SELECT *, xmin::text || ctid::text AS version FROM reading_sessions WHERE id = $1")
        .bind(id)
        .fetch_one(pool)
        .await
        .expect("a session")
}

/// Runs a statement about one session or person.
pub async fn execute(pool: &PgPool, statement: &'static str, id: Uuid) {
    sqlx::query(statement).bind(id).execute(pool).await.expect(statement);
}

/// What the database's clock shows.
pub async fn now(pool: &PgPool) -> DateTime<Utc> {
    sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(pool).await.expect("a time")
}
