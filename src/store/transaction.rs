//! Transactions of a pool, and statements in them.
//!
//! A pooler in front of the database may serve the next transaction of a connection by another session, which has none
//! of the statements that were prepared before: there a statement has no name, and is gone when the next one is sent.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo, Postgres};
use sqlx::{Describe, Either, Error, Execute, Executor, SqlStr};
use tokio::time::timeout;

use super::pooler::Sessions;

/// How long a connection has to end a transaction that was given up.
const ROLLBACK_PATIENCE: Duration = Duration::from_millis(500);

/// A transaction. Dropped, it is rolled back, however far its begin or its last statement came, before its connection is
/// used again: sqlx's own leaves a transaction open whose begin was not waited for.
#[derive(Debug)]
pub struct Transaction {
    statements: Statements,
    is_over: bool,
}

/// A connection that sends statements in the way that its sessions bear.
#[derive(Debug)]
pub struct Statements {
    /// Absent once the transaction is dropped.
    connection: Option<PoolConnection<Postgres>>,
    sessions: Sessions,
}

impl Transaction {
    /// Begins one. `opening` is what opens it: `BEGIN`, and what is set for it.
    pub(super) async fn begin(
        connection: PoolConnection<Postgres>,
        sessions: Sessions,
        opening: SqlStr,
    ) -> Result<Self, Error> {
        let statements = Statements { connection: Some(connection), sessions };
        let mut transaction = Self { statements, is_over: false };
        transaction.statements.connection()?.execute(opening).await?;
        Ok(transaction)
    }

    /// Takes a connection for one statement, which is a transaction by itself: its own settings are those of the session.
    pub(super) fn of_one(connection: PoolConnection<Postgres>) -> Self {
        Self { statements: Statements { connection: Some(connection), sessions: Sessions::Own }, is_over: true }
    }

    /// Commits it.
    ///
    /// # Errors
    /// Where that is not known to have been done.
    pub async fn commit(mut self) -> Result<(), Error> {
        if self.is_over {
            return Ok(());
        }
        self.statements.connection()?.execute("COMMIT").await?;
        self.is_over = true;
        Ok(())
    }
}

impl Deref for Transaction {
    type Target = Statements;

    fn deref(&self) -> &Statements {
        &self.statements
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Statements {
        &mut self.statements
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let Some(mut connection) = self.statements.connection.take().filter(|_| !self.is_over) else { return };
        // Outside of a runtime there is nobody to wait for: the connection is closed, and PostgreSQL rolls back.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if !matches!(timeout(ROLLBACK_PATIENCE, connection.execute("ROLLBACK")).await, Ok(Ok(_))) {
                connection.close_on_drop();
            }
        });
    }
}

impl Statements {
    fn connection(&mut self) -> Result<&mut PoolConnection<Postgres>, Error> {
        self.connection.as_mut().ok_or(Error::PoolClosed)
    }
}

/// A statement without a name.
struct Unnamed<E>(E);

impl<'q, E: Execute<'q, Postgres>> Execute<'q, Postgres> for Unnamed<E> {
    fn sql(self) -> SqlStr {
        self.0.sql()
    }

    fn statement(&self) -> Option<&PgStatement> {
        self.0.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<<Postgres as sqlx::Database>::Arguments>, sqlx::error::BoxDynError> {
        self.0.take_arguments()
    }

    fn persistent(&self) -> bool {
        false
    }
}

impl<'c> Executor<'c> for &'c mut Statements {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let sessions = self.sessions;
        match (self.connection(), sessions) {
            (Ok(connection), Sessions::Own) => connection.fetch_many(query),
            (Ok(connection), Sessions::Shared) => connection.fetch_many(Unnamed(query)),
            (Err(error), _) => Box::pin(futures_util::stream::once(async move { Err(error) })),
        }
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let sessions = self.sessions;
        match (self.connection(), sessions) {
            (Ok(connection), Sessions::Own) => connection.fetch_optional(query),
            (Ok(connection), Sessions::Shared) => connection.fetch_optional(Unnamed(query)),
            (Err(error), _) => Box::pin(async move { Err(error) }),
        }
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [PgTypeInfo]) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'c: 'e,
    {
        match self.connection() {
            Ok(connection) => connection.prepare_with(sql, parameters),
            Err(error) => Box::pin(async move { Err(error) }),
        }
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, Error>>
    where
        'c: 'e,
    {
        match self.connection() {
            Ok(connection) => connection.describe(sql),
            Err(error) => Box::pin(async move { Err(error) }),
        }
    }
}
