//! Pools on which every statement runs under the server's role: set once for a connection, or, behind a pooler, for a
//! transaction around each statement.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use sqlx::postgres::{PgConnectOptions, PgPool, PgQueryResult, PgRow, PgStatement, PgTypeInfo, Postgres};
use sqlx::{Describe, Either, Error, Execute, Executor, SqlStr};
use tokio::time::timeout;

use super::cause::in_words;
use super::connections::{self, Terms};
use super::error::StoreError;
use super::faults::Faults;
use super::pooler::Sessions;
use super::transaction::Transaction;

/// How long the look for a fault may take.
const LOOK_PATIENCE: Duration = Duration::from_secs(2);

/// A pool of connections.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    inner: PgPool,
    options: Arc<PgConnectOptions>,
    terms: Terms,
    faults: Arc<Faults>,
}

impl Pool {
    /// One that opens connections as they are needed.
    pub fn new(options: PgConnectOptions, connections: u32, terms: Terms) -> Self {
        let faults = Arc::default();
        let inner = connections::pool(connections, &terms, &faults).connect_lazy_with(options.clone());
        Self { inner, options: Arc::new(options), terms, faults }
    }

    /// Begins a transaction.
    pub async fn begin(&self) -> Result<Transaction, Error> {
        Transaction::begin(self.inner.acquire().await?, self.terms.sessions, self.terms.opening()).await
    }

    /// A connection for one statement, in a transaction where its settings need one. It counts when it is committed.
    pub async fn single(&self) -> Result<Transaction, Error> {
        match self.terms.sessions {
            Sessions::Own => Ok(Transaction::of_one(self.inner.acquire().await?)),
            Sessions::Shared => self.begin().await,
        }
    }

    /// Runs something that uses a connection of this pool, for as long as a statement of it may take. A statement that is
    /// under way hangs where the database is paused, whatever the pool waits at most.
    pub async fn patiently<T>(&self, asking: impl Future<Output = Result<T, Error>>) -> Result<T, StoreError> {
        let patience = self.terms.limits.statement;
        let mut asking = pin!(asking);
        let early = patience / 3;
        let answer = match timeout(early, asking.as_mut()).await {
            Ok(answer) => Some(answer),
            Err(_) => {
                // Perhaps for want of a connection: the cause is to be known when the patience is over.
                self.look();
                timeout(patience - early, asking).await.ok()
            }
        };
        let answer = match answer {
            Some(Err(Error::PoolTimedOut)) | None => {
                let late = || format!("no answer within {patience:?}");
                return Err(StoreError::Unavailable(self.faults.recent().unwrap_or_else(late)));
            }
            Some(answer) => answer.map_err(StoreError::from),
        };
        // A session keeps the default with which it began, so only a new one can write again.
        if matches!(answer, Err(StoreError::ReadOnly(_))) {
            self.renew();
        }
        answer
    }

    /// Replaces all connections.
    pub fn renew(&self) {
        self.faults.renew();
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.inner.close().await;
    }

    /// Looks with a connection of its own why there is none.
    fn look(&self) {
        if !self.faults.is_due() {
            return;
        }
        let pool = self.clone();
        tokio::spawn(async move {
            let fault = match timeout(LOOK_PATIENCE, pool.terms.try_out(&pool.options)).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(in_words(&error)),
                Err(_) => Some(format!("no connection to the database within {LOOK_PATIENCE:?}")),
            };
            pool.faults.note(fault);
        });
    }
}

/// Statements outside of a transaction that the caller began.
impl<'p> Executor<'p> for &'p Pool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        if self.terms.sessions == Sessions::Own {
            return self.inner.fetch_many(query);
        }
        let all = async move {
            let mut transaction = self.begin().await?;
            let all: Vec<_> = transaction.fetch_many(query).try_collect().await?;
            transaction.commit().await?;
            Ok::<_, Error>(stream::iter(all.into_iter().map(Ok)))
        };
        stream::once(all).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        if self.terms.sessions == Sessions::Own {
            return self.inner.fetch_optional(query);
        }
        Box::pin(async move {
            let mut transaction = self.begin().await?;
            let row = transaction.fetch_optional(query).await?;
            transaction.commit().await?;
            Ok(row)
        })
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [PgTypeInfo]) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'p: 'e,
    {
        self.inner.prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, Error>>
    where
        'p: 'e,
    {
        self.inner.describe(sql)
    }
}
