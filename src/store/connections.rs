//! Pools of connections: how one is set up, and how one is thrown away that the database does not answer on.
//!
//! A statement that is given up leaves its connection without an answer. Where the other side is gone without a word
//! (a failover, a lost network) the answer never comes, and neither does an error before TCP gives up, which takes a
//! quarter of an hour. So each connection has to answer a ping within [`PING_PATIENCE`] when it comes back, and when it
//! rested. Once one has not answered, all that were last used before that are thrown away without being asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Error, SqlSafeStr, SqlStr};
use tokio::time::timeout;

use super::cause::in_words;
use super::faults::Faults;
use super::pooler::Sessions;
use crate::config::SchemaName;

/// How long a connection has to answer a ping.
const PING_PATIENCE: Duration = Duration::from_millis(500);

/// After this long without a word the database drops a connection of which nothing comes, and gives back its locks:
/// the server that held it is gone.
const DEAD_AFTER: Duration = Duration::from_secs(15);

/// What a pool waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// For a free connection, and for one statement.
    pub statement: Duration,
    /// For a lock.
    pub lock: Duration,
    /// A connection that was not used for this long is pinged before it is used again.
    pub rested: Duration,
}

impl Limits {
    /// For locks as long as for anything else. A ping costs a round trip, which is little beside a large statement:
    /// all connections are pinged.
    pub fn of(statement: Duration) -> Self {
        Self { statement, lock: statement, rested: Duration::ZERO }
    }
}

/// When a connection of a pool last failed to answer a ping.
#[derive(Clone, Debug, Default)]
struct Silence(Arc<Mutex<Option<Instant>>>);

impl Silence {
    /// Pings a connection.
    async fn ping(&self, connection: &mut PgConnection) -> Result<(), Error> {
        match timeout(PING_PATIENCE, connection.ping()).await {
            Ok(answer) => answer,
            Err(_) => {
                *self.0.lock() = Some(Instant::now());
                Err(Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer to a ping")))
            }
        }
    }

    /// Whether the database fell silent since this long ago.
    fn since(&self, idle_for: Duration) -> bool {
        self.0.lock().is_some_and(|silent| silent.elapsed() < idle_for)
    }
}

/// What connections are set to before a statement of the server runs on them: its role, its schema, and limits. A role or
/// a database may have settings of its own, like a `search_path` that leads to tables of others, or the claims of a user.
/// The database gives up when the request does: a statement that was reported as failed must not be carried out later.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// Whether settings last for a connection, or for a transaction alone.
    pub sessions: Sessions,
    pub limits: Limits,
    /// The schema of the tables, as SQL has it.
    search_path: Arc<str>,
    opening: SqlStr,
}

impl Terms {
    pub fn new(sessions: Sessions, limits: Limits, schema: &SchemaName) -> Self {
        let search_path = schema.quoted();
        let opening = match sessions {
            Sessions::Own => SqlStr::from_static("BEGIN"),
            Sessions::Shared => AssertSqlSafe(opening(limits, &search_path)).into_sql_str(),
        };
        Self { sessions, limits, search_path: search_path.into(), opening }
    }

    /// What begins a transaction.
    pub fn opening(&self) -> SqlStr {
        self.opening.clone()
    }

    /// Opens a connection and tries whether statements of the server can run on it.
    pub async fn try_out(&self, options: &PgConnectOptions) -> Result<(), Error> {
        let mut connection = options.connect().await?;
        self.try_on(&mut connection).await?;
        let _ = connection.close().await;
        Ok(())
    }

    /// The same on an open connection. Where its session may be shared, nothing is left in it.
    pub async fn try_on(&self, connection: &mut PgConnection) -> Result<(), Error> {
        if self.sessions == Sessions::Own {
            return self.set_up(connection).await;
        }
        // After an error as well, or the session would be kept from the pooler's other clients.
        let began = sqlx::raw_sql(self.opening()).execute(&mut *connection).await;
        let ended = sqlx::raw_sql("ROLLBACK").execute(connection).await;
        began.and(ended).map(drop)
    }

    /// Sets up a new connection. One whose sessions are shared stays as it is: each transaction begins with the settings.
    /// The database also gives up for a connection whose server is gone, or its locks would stay: sqlx has no such
    /// settings for this side of the connection, and over a unix socket they mean nothing.
    async fn set_up(&self, connection: &mut PgConnection) -> Result<(), Error> {
        if self.sessions == Sessions::Shared {
            return Ok(());
        }
        let millis = |duration: Duration| duration.as_millis().to_string();
        sqlx::query(
            "SELECT set_config('role', 'lastseen_service', false), set_config('statement_timeout', $1, false),
                    set_config('lock_timeout', $2, false), set_config('idle_in_transaction_session_timeout', $3, false),
                    set_config('tcp_user_timeout', $3, false), set_config('tcp_keepalives_idle', '5', false),
                    set_config('tcp_keepalives_interval', '5', false), set_config('tcp_keepalives_count', '2', false),
                    set_config('search_path', $4, false), set_config('row_security', 'on', false),
                    set_config('request.jwt.claims', '', false), set_config('request.jwt.claim.sub', '', false),
                    set_config('request.jwt.claim.role', '', false)",
        )
        .bind(millis(self.limits.statement))
        .bind(millis(self.limits.lock))
        .bind(millis(DEAD_AFTER))
        .bind(&*self.search_path)
        .execute(connection)
        .await
        .map(drop)
    }
}

/// What begins a transaction behind a pooler, in one message. The role comes first: where it is refused, so is every
/// statement that follows in the transaction. Another client of the pooler may have left any settings in the session.
fn opening(limits: Limits, search_path: &str) -> String {
    let (statement, lock, dead) = (limits.statement.as_millis(), limits.lock.as_millis(), DEAD_AFTER.as_millis());
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL ROLE lastseen_service; SET LOCAL search_path TO {search_path}; \
         SET LOCAL row_security TO on; SET LOCAL statement_timeout TO {statement}; SET LOCAL lock_timeout TO {lock}; \
         SET LOCAL idle_in_transaction_session_timeout TO {dead}; SET LOCAL \"request.jwt.claims\" TO ''; \
         SET LOCAL \"request.jwt.claim.sub\" TO ''; SET LOCAL \"request.jwt.claim.role\" TO ''"
    )
}

/// A pool of connections on these terms.
pub(super) fn pool(connections: u32, terms: &Terms, faults: &Arc<Faults>) -> PgPoolOptions {
    let (limits, silence) = (terms.limits, Silence::default());
    let (before, after) = ((silence.clone(), Arc::clone(faults)), silence);
    let opened = (terms.clone(), Arc::clone(faults));
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(limits.statement)
        .max_lifetime(Duration::from_mins(30))
        // Without a limit.
        .test_before_acquire(false)
        .before_acquire(move |connection, meta| {
            let (silence, faults) = before.clone();
            Box::pin(async move {
                if silence.since(meta.idle_for) || faults.is_stale(meta.age) {
                    return Ok(false);
                }
                if meta.idle_for >= limits.rested {
                    silence.ping(connection).await?;
                }
                Ok(true)
            })
        })
        // sqlx pings here too, but waits for ever.
        .after_release(move |connection, _| {
            let silence = after.clone();
            Box::pin(async move { silence.ping(connection).await.map(|()| true) })
        })
        .after_connect(move |connection, _| {
            let (terms, faults) = opened.clone();
            Box::pin(async move {
                let outcome = terms.set_up(connection).await;
                faults.note(outcome.as_ref().err().map(in_words));
                outcome
            })
        })
}
