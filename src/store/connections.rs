//! Pools of connections: how one is set up, and how one is thrown away that the database does not answer on.
//!
//! A statement that is given up leaves its connection without an answer. Where the other side is gone without a word
//! (a failover, a lost network) the answer never comes, and neither does an error before TCP gives up, which takes a
//! quarter of an hour. So each connection has to answer a ping within [`PING_PATIENCE`] when it comes back, and when it
//! rested. Once one has not answered, all that were last used before that are thrown away without being asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sqlx::postgres::{PgConnection, PgPoolOptions};
use sqlx::{Connection, Error};
use tokio::time::timeout;

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

/// A pool of connections under the server's role, on which names without a schema are looked up in this one.
pub(super) fn pool(connections: u32, limits: Limits, schema: &SchemaName) -> PgPoolOptions {
    let search_path: Arc<str> = schema.quoted().into();
    let silence = Silence::default();
    let (before, after) = (silence.clone(), silence);
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(limits.statement)
        .max_lifetime(Duration::from_mins(30))
        // Without a limit.
        .test_before_acquire(false)
        .before_acquire(move |connection, meta| {
            let silence = before.clone();
            Box::pin(async move {
                if silence.since(meta.idle_for) {
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
            let search_path = Arc::clone(&search_path);
            Box::pin(async move { set_up(connection, limits, &search_path).await })
        })
}

/// The role, the schema, and limits. A role or a database may have a `search_path` of its own, which leads to tables of
/// others. The database gives up when the request does: a statement that was reported as failed must not
/// be carried out later. It does so for a connection whose server is gone as well, or its locks would stay: sqlx has no
/// such settings for this side of the connection, and over a unix socket they mean nothing.
async fn set_up(connection: &mut PgConnection, limits: Limits, search_path: &str) -> Result<(), Error> {
    let millis = |duration: Duration| duration.as_millis().to_string();
    sqlx::query(
        "SELECT set_config('role', 'lastseen_service', false), set_config('statement_timeout', $1, false),
                set_config('lock_timeout', $2, false), set_config('idle_in_transaction_session_timeout', $3, false),
                set_config('tcp_user_timeout', $3, false), set_config('tcp_keepalives_idle', '5', false),
                set_config('tcp_keepalives_interval', '5', false), set_config('tcp_keepalives_count', '2', false),
                set_config('search_path', $4, false)",
    )
    .bind(millis(limits.statement))
    .bind(millis(limits.lock))
    .bind(millis(DEAD_AFTER))
    .bind(search_path)
    .execute(connection)
    .await
    .map(drop)
}
