//! What the database holds of people and sessions, asked as a superuser.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, FromRow, PgPool, Postgres, Transaction};
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

/// Whether a statement waits for a lock.
pub async fn waits_for_lock(pool: &PgPool) -> bool {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')",
    )
    .fetch_one(pool)
    .await
    .expect("an answer")
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

/// A row of `user_sessions`.
#[derive(Clone, PartialEq, Debug, FromRow)]
pub struct UserSession {
    pub id: Uuid,
    pub user_id: Uuid,
    pub platform: String,
    pub status: String,
    pub started_at: DateTime<Utc>,
    pub last_activity_at: DateTime<Utc>,
    pub last_heartbeat_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    pub end_reason: Option<String>,
    pub total_duration_seconds: Option<i64>,
    pub activity_count: i64,
    pub frontend_connections: i32,
    pub sse_connections: i32,
    pub last_ws_connection: Option<DateTime<Utc>>,
    pub connection_quality: Option<String>,
    pub node: Option<String>,
    pub metadata: Value,
    pub user_agent: Option<String>,
    pub network: Option<String>,
    /// Another one after every write, also after one that changed nothing.
    pub version: String,
}

/// The row of a user session, where there is one.
pub async fn user_session(pool: &PgPool, session: &str) -> Option<UserSession> {
    sqlx::query_as(
        "SELECT *, ip_address::text AS network, xmin::text || ctid::text AS version
         FROM user_sessions WHERE session_id = $1",
    )
    .bind(session)
    .fetch_optional(pool)
    .await
    .expect("an answer")
}

/// Runs a statement about one user session.
pub async fn change_user_session(pool: &PgPool, statement: &'static str, session: &str) {
    let done = sqlx::query(statement).bind(session).execute(pool).await.expect(statement);
    assert_eq!(done.rows_affected(), 1, "{statement}");
}

/// Runs a statement about one session or person.
pub async fn execute(pool: &PgPool, statement: &'static str, id: Uuid) {
    sqlx::query(statement).bind(id).execute(pool).await.expect(statement);
}

/// What the database's clock shows.
pub async fn now(pool: &PgPool) -> DateTime<Utc> {
    sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(pool).await.expect("a time")
}

/// A transaction of a user's, as PostgREST makes one and the server for a user's request.
pub async fn as_user(pool: &PgPool, user: Uuid) -> Transaction<'static, Postgres> {
    let claims = json!({"sub": user, "role": "authenticated"}).to_string();
    let mut transaction = pool.begin().await.expect("a transaction");
    sqlx::query("SELECT set_config('role', 'authenticated', true), set_config('request.jwt.claims', $1, true)")
        .bind(claims)
        .execute(&mut *transaction)
        .await
        .expect("a role");
    transaction
}

/// Runs a user's statement: how many rows it touched, or the code with which PostgreSQL refuses it.
pub async fn write_as(pool: &PgPool, user: Uuid, statement: &str) -> Result<u64, String> {
    let mut transaction = as_user(pool, user).await;
    match sqlx::query(AssertSqlSafe(statement)).execute(&mut *transaction).await {
        Ok(done) => {
            transaction.commit().await.expect("done");
            Ok(done.rows_affected())
        }
        Err(error) => Err(error.as_database_error().and_then(|refusal| refusal.code()).expect("a code").into_owned()),
    }
}
