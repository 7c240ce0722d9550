//! The database: connections, roles and errors. The SQL is in one file per concern.

#[macro_use]
mod codec;

pub mod admission;
pub mod analytics;
mod cause;
pub mod check_ins;
mod clock;
mod connections;
pub mod embedded;
mod error;
mod faults;
pub mod heartbeats;
pub mod invites;
pub mod participants;
pub mod partnerships;
mod pool;
mod pooler;
pub mod presence;
mod read_only;
mod readiness;
pub mod reading_sessions;
pub mod room_sits;
pub mod schema;
pub mod simulators;
pub mod sits;
mod subjects;
mod transaction;
mod url;
pub mod user_sessions;
pub mod users;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use crossbeam_queue::SegQueue;
use parking_lot::Mutex;
use sqlx::Connection;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use self::connections::{Limits, Terms};
pub use self::error::StoreError;
use self::pool::Pool;
use self::pooler::Sessions;
pub use self::readiness::DatabaseState;
use self::readiness::Readiness;
use self::transaction::Transaction;
pub use self::url::connect_options;
use crate::config::SchemaName;
use crate::domain::idle::IdleRule;
use crate::domain::ids::UserId;
use crate::domain::subject::Subject;

/// How long a request waits for the database before it is refused as `unavailable`: a join is answered within 2 s
/// whatever the database does.
pub const PATIENCE: Duration = Duration::from_millis(1500);

/// How long a start waits for its first connections.
const FIRST_PATIENCE: Duration = Duration::from_secs(10);

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
    requests: Pool,
    /// Of its own, so that stuck requests and long sweeps cannot starve the flush.
    flushes: Pool,
    /// For the sweep and other tasks.
    batches: Pool,
    /// For what takes longer than a request may wait; an operator looks at one after the other.
    reports: Pool,
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
    /// Opens the pools on the tables in this schema, which must be in place, see [`mod@schema`]. Where connections lead to
    /// a pooler that shares sessions among its clients, nothing is set for a session.
    ///
    /// # Errors
    /// Where no connection can be had under the server's role, or the database takes no writes.
    pub async fn open(
        options: PgConnectOptions,
        schema: &SchemaName,
        connections: u32,
        idle: IdleRule,
        node: String,
    ) -> Result<Self, StoreError> {
        // A pooler refuses what sqlx would send of itself; PostgreSQL has written numbers in full since 12.
        let options = options.application_name("lastseen").extra_float_digits(None);
        let sessions = first_connection(&options, schema).await?;
        if sessions == Sessions::Shared {
            tracing::info!("a pooler is in front of the database: what the server sets, it sets for each transaction");
        }
        let pool = |connections, limits| Pool::new(options.clone(), connections, Terms::new(sessions, limits, schema));
        let requests = pool(connections, Limits { rested: RESTED, ..Limits::of(PATIENCE) });
        let flushes = pool(2, Limits { lock: FLUSH_LOCK_PATIENCE, ..Limits::of(FLUSH_PATIENCE) });
        let batches = pool(2, Limits::of(BATCH_PATIENCE));
        let reports = pool(1, Limits::of(REPORT_PATIENCE));
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

    /// What the database can do just now, or could within the last second.
    pub async fn state(&self) -> DatabaseState {
        let ask = async {
            match self.ping().await {
                Ok(()) => DatabaseState::Writable,
                Err(StoreError::ReadOnly(_)) => DatabaseState::ReadOnly,
                Err(_) => DatabaseState::Away,
            }
        };
        self.readiness.get(ask).await
    }

    /// Whether the database answers now, and takes writes.
    ///
    /// # Errors
    /// [`StoreError`] where it does not.
    async fn ping(&self) -> Result<(), StoreError> {
        let ask = "SELECT current_setting('transaction_read_only')::bool";
        match self.ask(sqlx::query_scalar(ask).fetch_one(&self.requests)).await? {
            false => Ok(()),
            true => {
                // As after a statement that was refused: perhaps none was sent.
                self.requests.renew();
                Err(StoreError::ReadOnly(read_only::UNKNOWN))
            }
        }
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
        self.requests.patiently(asking).await
    }

    /// Runs something about the past that an operator waits for.
    async fn report<T>(&self, asking: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
        self.reports.patiently(asking).await
    }

    /// Runs something that the flush waits for.
    async fn flush<T>(&self, asking: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
        self.flushes.patiently(asking).await
    }

    /// Runs something that a task waits for.
    async fn batch<T>(&self, asking: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
        self.batches.patiently(asking).await
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

    /// A transaction in which the policies apply to `viewer`. The claims end with the transaction. They are set in both
    /// forms that `auth.uid()` may read: the older one wins where a role or a database has it as a setting.
    async fn begin_as(&self, viewer: Viewer) -> Result<Transaction, sqlx::Error> {
        self.begin(viewer, None).await
    }

    /// The same for a user who is going to write rows, and may be new: the user's subject is noted.
    async fn begin_writing(&self, user: &Subject) -> Result<Transaction, sqlx::Error> {
        self.begin(Viewer::User(user.id()), user.name()).await
    }

    async fn begin(&self, viewer: Viewer, noted: Option<&str>) -> Result<Transaction, sqlx::Error> {
        let mut transaction = self.requests.begin().await?;
        if let Viewer::User(user) = viewer {
            // From the left: the role that may note a subject is the one of before.
            sqlx::query(
                "SELECT CASE WHEN $3::text IS NOT NULL THEN lastseen.note_subjects(ARRAY[$2::uuid], ARRAY[$3]) END,
                        set_config('role', 'authenticated', true), set_config('request.jwt.claims', $1, true),
                        set_config('request.jwt.claim.sub', $2::uuid::text, true),
                        set_config('request.jwt.claim.role', 'authenticated', true)",
            )
            .bind(serde_json::json!({ "sub": user, "role": "authenticated" }).to_string())
            .bind(user)
            .bind(noted)
            .execute(&mut *transaction)
            .await?;
        }
        Ok(transaction)
    }
}

/// Finds out how connections are to be set up, and tries one: its error says more than that of a pool which waited for
/// such connections in vain.
async fn first_connection(options: &PgConnectOptions, schema: &SchemaName) -> Result<Sessions, StoreError> {
    let sessions = tokio::time::timeout(FIRST_PATIENCE, pooler::sessions(options)).await;
    let late = |_| StoreError::Unavailable(format!("no connection within {FIRST_PATIENCE:?}"));
    let (sessions, mut connection) = sessions.map_err(late)??;
    let trial = Terms::new(sessions, Limits::of(PATIENCE), schema).try_on(&mut connection).await;
    match (trial, sessions) {
        (Err(error), Sessions::Shared) => return Err(StoreError::Pooler(cause::in_words(&error))),
        (trial, _) => trial?,
    }
    let read_only = read_only::why(&mut connection).await?;
    let _ = connection.close().await;
    read_only.map_or(Ok(sessions), |why| Err(StoreError::ReadOnly(why)))
}
