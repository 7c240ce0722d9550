//! The database: connections, roles and errors. The SQL is in one file per concern.

#[macro_use]
mod codec;

pub mod admission;
pub mod analytics;
pub mod check_ins;
mod connections;
pub mod embedded;
mod error;
pub mod heartbeats;
pub mod invites;
pub mod participants;
pub mod partnerships;
pub mod presence;
mod readiness;
pub mod reading_sessions;
pub mod room_sits;
pub mod schema;
pub mod simulators;
pub mod sits;
pub mod user_sessions;
pub mod users;

use std::collections::HashSet;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use crossbeam_queue::SegQueue;
use parking_lot::Mutex;
use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::{Postgres, Transaction};
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use self::connections::{Limits, pool};
pub use self::error::StoreError;
use self::readiness::Readiness;
use crate::config::SchemaName;
use crate::domain::idle::IdleRule;
use crate::domain::ids::UserId;

/// How long a request waits for the database before it is refused as `unavailable`: a join is answered within 2 s
/// whatever the database does.
pub const PATIENCE: Duration = Duration::from_millis(1500);

/// How long an operator waits for an answer about the past.
const REPORT_PATIENCE: Duration = Duration::from_secs(8);

/// How many connections to the database the looks at invites, which anyone may take, use at a time.
const INSPECTIONS: usize = 2;

/// A connection for requests that was used since is taken without a ping.
const RESTED: Duration = Duration::from_secs(1);

/// How long a flush waits for one statement.
const FLUSH_PATIENCE: Duration = Duration::from_secs(10);

/// How long a statement of a flush waits for a row that another transaction has locked. It holds the rows of many
/// people meanwhile.
const FLUSH_LOCK_PATIENCE: Duration = Duration::from_millis(500);

/// How long a sweep waits for one statement.
const BATCH_PATIENCE: Duration = Duration::from_secs(30);

/// Rows of one statement that changes rows of any number: they are locked for a moment only, and what was done stays
/// done.
pub const BATCH_ROWS: i32 = 10_000;

/// Where a page of a list goes on: behind the row that was made then and has this id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor {
    /// When the last row of the page before was made.
    pub at: DateTime<Utc>,
    /// Its id.
    pub id: Uuid,
}

impl Cursor {
    /// Before the first page: no row is as late.
    const START: Self = Self { at: DateTime::<Utc>::MAX_UTC, id: Uuid::max() };
}

/// The viewer as which a request reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Viewer {
    /// Everything.
    Service,
    /// What the row-level policies show this user.
    User(UserId),
}

impl Viewer {
    /// The user, where it is one.
    pub fn user(self) -> Option<UserId> {
        match self {
            Self::Service => None,
            Self::User(user) => Some(user),
        }
    }
}

/// The database, as this server uses it: always under the role `lastseen_service` or, for what a user
/// asks, `authenticated`; never as owner or superuser, so that the policies hold.
#[derive(Clone, Debug)]
pub struct Store {
    requests: PgPool,
    /// Of its own, so that stuck requests and long sweeps cannot starve the flush.
    flushes: PgPool,
    /// For the sweep and other tasks.
    batches: PgPool,
    /// For what takes longer than a request may wait; an operator looks at one after the other.
    reports: PgPool,
    batcher: Arc<admission::Batcher>,
    /// The right to look at an invite.
    inspections: Arc<Semaphore>,
    /// Admissions to be undone.
    compensations: Arc<SegQueue<admission::Compensation>>,
    /// Since when the database answers, as far as known; looked at while there is something to undo.
    answers_since: Arc<Mutex<Option<Instant>>>,
    /// The names of all time zones, once somebody asked about one: PostgreSQL reads hundreds of files for them.
    time_zones: Arc<OnceCell<HashSet<String>>>,
    readiness: Arc<Readiness>,
    /// Statements that no request waits for; [`Store::close`] does.
    background: TaskTracker,
    idle: IdleRule,
    node: String,
}

impl Store {
    /// Opens the pools on the tables in this schema, which must be in place, see [`mod@schema`].
    ///
    /// # Errors
    /// Where no connection can be had under the server's role.
    pub async fn open(
        options: PgConnectOptions,
        schema: &SchemaName,
        connections: u32,
        idle: IdleRule,
        node: String,
    ) -> Result<Self, StoreError> {
        let options = options.application_name("lastseen");
        let requests = pool(connections, Limits { rested: RESTED, ..Limits::of(PATIENCE) }, schema);
        let requests = requests.connect_with(options.clone()).await?;
        let limits = Limits { lock: FLUSH_LOCK_PATIENCE, ..Limits::of(FLUSH_PATIENCE) };
        let flushes = pool(2, limits, schema).connect_lazy_with(options.clone());
        let batches = pool(2, Limits::of(BATCH_PATIENCE), schema).connect_lazy_with(options.clone());
        let reports = pool(1, Limits::of(REPORT_PATIENCE), schema).connect_lazy_with(options);
        let batcher = Arc::new(admission::Batcher::start(requests.clone(), idle, &node));
        let (compensations, answers_since, background) = (Arc::default(), Arc::default(), TaskTracker::new());
        let inspections = Arc::new(Semaphore::new(INSPECTIONS));
        Ok(Self {
            requests,
            flushes,
            batches,
            reports,
            batcher,
            inspections,
            compensations,
            answers_since,
            time_zones: Arc::default(),
            readiness: Arc::default(),
            background,
            idle,
            node,
        })
    }

    /// The name of this server in the database.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// What keeps sessions open.
    pub fn idle(&self) -> IdleRule {
        self.idle
    }

    /// Whether the database answers, or did within the last second.
    pub async fn answers(&self) -> bool {
        self.readiness.get(async { self.ping().await.is_ok() }).await
    }

    /// Whether the database answers now.
    ///
    /// # Errors
    /// [`StoreError`] where it does not.
    async fn ping(&self) -> Result<(), StoreError> {
        patiently(PATIENCE, async { sqlx::query("SELECT 1").execute(&self.requests).await.map(drop) }).await
    }

    /// Ends what is under way, and gives the connections back.
    pub async fn close(&self) {
        self.background.close();
        self.background.wait().await;
        self.flushes.close().await;
        self.batches.close().await;
        self.reports.close().await;
        self.requests.close().await;
    }

    /// Runs something that a request waits for.
    async fn ask<T>(&self, asking: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
        patiently(PATIENCE, asking).await
    }

    /// Runs something about the past that an operator waits for.
    async fn report<T>(&self, asking: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
        patiently(REPORT_PATIENCE, asking).await
    }

    /// Runs something that the flush waits for.
    async fn flush<T>(&self, asking: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
        patiently(FLUSH_PATIENCE, asking).await
    }

    /// Runs something that a task waits for.
    async fn batch<T>(&self, asking: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
        patiently(BATCH_PATIENCE, asking).await
    }

    /// Repeats a call of a function that takes this node and the most rows to change, and says how many those were,
    /// until it finds no more: each call is a transaction of its own. Returns how many there were in all.
    async fn by_chunks(&self, call: &'static str) -> Result<i64, StoreError> {
        let mut all = 0;
        loop {
            let call = sqlx::query_scalar(call).bind(&self.node).bind(BATCH_ROWS);
            let done: i64 = self.batch(call.fetch_one(&self.batches)).await?;
            all += done;
            if done < i64::from(BATCH_ROWS) {
                return Ok(all);
            }
        }
    }

    /// A transaction in which the policies apply to `viewer`. The claims end with the transaction.
    async fn begin_as(&self, viewer: Viewer) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        let mut transaction = self.requests.begin().await?;
        if let Viewer::User(user) = viewer {
            sqlx::query("SELECT set_config('role', 'authenticated', true), set_config('request.jwt.claims', $1, true)")
                .bind(serde_json::json!({ "sub": user, "role": "authenticated" }).to_string())
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction)
    }
}

/// A statement that is under way hangs where the database is paused, whatever the pool waits at most.
async fn patiently<T>(
    patience: Duration,
    asking: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(patience, asking).await {
        Ok(answer) => answer.map_err(StoreError::from),
        Err(_) => Err(StoreError::Unavailable(format!("no answer within {patience:?}"))),
    }
}

/// Reads `DATABASE_URL`.
///
/// # Errors
/// What is wrong, without the URL, which holds a password.
pub fn connect_options(url: &str) -> Result<PgConnectOptions, String> {
    // sqlx takes any scheme, and would ask the port of another database.
    let is_postgres = ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
    PgConnectOptions::from_str(url)
        .ok()
        .filter(|_| is_postgres)
        .ok_or_else(|| "DATABASE_URL is not of the form postgres://user:password@host:port/database".to_owned())
}
