//! The schema: the migrations of this version, applied or at least looked for.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};

static MIGRATIONS: Migrator = sqlx::migrate!();

/// The oldest PostgreSQL that works.
const OLDEST: i32 = 15;

/// How long a database may take to answer at start.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a database cannot be used. Each is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// No connection.
    #[error("the database at {place} cannot be reached: {fault}")]
    Unreachable {
        /// Host and database, without any secret.
        place: String,
        /// What the attempt said.
        fault: String,
    },
    /// Too old a server.
    #[error("PostgreSQL {found} is too old: lastseen needs {OLDEST} or newer")]
    OldServer {
        /// Its version.
        found: String,
    },
    /// Migrated by a newer lastseen.
    #[error("the database's schema is newer (migration {0}) than this lastseen: use the newer lastseen")]
    Newer(i64),
    /// Not migrated yet.
    #[error("the database's schema is too old (migration {0} is missing): run `lastseen migrate` first")]
    Older(i64),
    /// A migration did not work.
    #[error("the database's schema cannot be brought up to date: {0}")]
    Failed(String),
}

/// Brings the schema up to date.
///
/// # Errors
/// [`SchemaError`], with nothing applied by halves.
pub async fn migrate(options: &PgConnectOptions) -> Result<(), SchemaError> {
    let mut connection = connect(options).await?;
    // That what is there already is skipped is no news for the log.
    sqlx::query("SET client_min_messages = warning")
        .execute(&mut connection)
        .await
        .map_err(|error| SchemaError::Failed(one_line(&error)))?;
    match MIGRATIONS.run(&mut connection).await {
        Ok(()) => {}
        Err(MigrateError::VersionMissing(version)) => return Err(SchemaError::Newer(version)),
        Err(error) => return Err(SchemaError::Failed(one_line(&error))),
    }
    // Servers that do not migrate look here whether they fit.
    sqlx::query("GRANT SELECT ON _sqlx_migrations TO lastseen_service")
        .execute(&mut connection)
        .await
        .map_err(|error| SchemaError::Failed(one_line(&error)))?;
    let _ = connection.close().await;
    Ok(())
}

/// Sees whether the schema is the one that this version works with.
///
/// # Errors
/// [`SchemaError`] where it is not.
pub async fn check(options: &PgConnectOptions) -> Result<(), SchemaError> {
    let mut connection = connect(options).await?;
    let first = MIGRATIONS.iter().map(|migration| migration.version).min().unwrap_or_default();
    let applied: Option<Vec<i64>> = sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
        .fetch_all(&mut connection)
        .await
        .map(Some)
        .or_else(|error| match error.as_database_error().and_then(|refusal| refusal.code()) {
            Some(undefined_table) if undefined_table == "42P01" => Ok(None),
            _ => Err(SchemaError::Failed(one_line(&error))),
        })?;
    let _ = connection.close().await;
    let applied: BTreeSet<i64> = applied.ok_or(SchemaError::Older(first))?.into_iter().collect();
    let known: BTreeSet<i64> = MIGRATIONS.iter().map(|migration| migration.version).collect();
    if let Some(&version) = applied.difference(&known).next() {
        return Err(SchemaError::Newer(version));
    }
    match known.difference(&applied).next() {
        Some(&version) => Err(SchemaError::Older(version)),
        None => Ok(()),
    }
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, SchemaError> {
    let unreachable = |fault: String| SchemaError::Unreachable {
        place: format!("{}:{}/{}", options.get_host(), options.get_port(), options.get_database().unwrap_or_default()),
        fault,
    };
    let mut connection = tokio::time::timeout(PATIENCE, options.connect())
        .await
        .map_err(|_| unreachable(format!("no answer within {PATIENCE:?}")))?
        .map_err(|error| unreachable(one_line(&error)))?;
    let (number, version): (i32, String) =
        sqlx::query_as("SELECT current_setting('server_version_num')::int, current_setting('server_version')")
            .fetch_one(&mut connection)
            .await
            .map_err(|error| unreachable(one_line(&error)))?;
    if number / 10_000 < OLDEST {
        return Err(SchemaError::OldServer { found: version });
    }
    Ok(connection)
}

fn one_line(error: &dyn std::error::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
