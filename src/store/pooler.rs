//! Whether connections have sessions of their own, or a pooler in front of the database shares sessions among its
//! clients.
//!
//! What is set for a session of a shared one (a role, a timeout, a prepared statement) is there for its next client as
//! well. Nothing that a pooler says of itself can be relied on, so it is known by what it does: PostgreSQL opens a
//! session for a connection at once, a pooler when the connection sends its first statement.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Error, Row};
use tokio::time::timeout;
use uuid::Uuid;

/// How many connections are compared to find out what a pooler shares: a pooler may consist of several processes, each
/// with sessions of its own.
const COMPARED: usize = 4;

/// How long a statement of the comparison may take. A pooler that gives each client a session may have no more of them.
const COMPARISON_PATIENCE: Duration = Duration::from_secs(1);

/// To which the settings of a session belong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sessions {
    /// To the connection: it is one to PostgreSQL itself.
    Own,
    /// Perhaps to other clients as well: a pooler is in front. What is set is set for a transaction.
    Shared,
}

/// Opens two connections and looks whether the first one has a session before it has sent a statement. Returns a
/// connection too, for what comes next. In doubt sessions are shared, which works with every database.
pub(super) async fn sessions(options: &PgConnectOptions) -> Result<(Sessions, PgConnection), Error> {
    let mark = format!("lastseen {}", Uuid::new_v4().simple());
    let mut marked = options.clone().application_name(&mark).connect().await?;
    let mut other = options.connect().await?;
    let ask = format!("SELECT pid FROM pg_stat_activity WHERE application_name = '{mark}' AND pid <> pg_backend_pid()");
    let found = sqlx::raw_sql(AssertSqlSafe(ask)).fetch_optional(&mut other).await?;
    let found = found.map(|row| row.try_get::<i32, _>(0)).transpose()?;
    let sessions = match found == Some(backend(&mut marked).await?) {
        true => Sessions::Own,
        false => Sessions::Shared,
    };
    let _ = marked.close().await;
    Ok((sessions, other))
}

/// Whether a pooler is in front that gives each transaction any session: what takes several statements outside of a
/// transaction does not work through it. One that gives each client a session for as long as it is connected is none.
pub(super) async fn shares_transactions(options: &PgConnectOptions) -> Result<bool, Error> {
    let (sessions, first) = sessions(options).await?;
    if sessions == Sessions::Own {
        let _ = first.close().await;
        return Ok(false);
    }
    let mut connections = vec![first];
    while connections.len() < COMPARED
        && let Ok(Ok(connection)) = timeout(COMPARISON_PATIENCE, options.connect()).await
    {
        connections.push(connection);
    }
    let mut known = vec![None; connections.len()];
    for _ in 0..2 {
        for (place, connection) in connections.iter_mut().enumerate() {
            let Ok(found) = timeout(COMPARISON_PATIENCE, backend(connection)).await else { return Ok(false) };
            let found = found?;
            let is_shared =
                |(other, known): (usize, &Option<i32>)| known.is_some_and(|known| (other == place) != (known == found));
            if known.iter().enumerate().any(is_shared) {
                return Ok(true);
            }
            known[place] = Some(found);
        }
    }
    Ok(false)
}

/// The process of PostgreSQL that serves a connection just now.
async fn backend(connection: &mut PgConnection) -> Result<i32, Error> {
    sqlx::raw_sql("SELECT pg_backend_pid()").fetch_one(connection).await?.try_get(0)
}
