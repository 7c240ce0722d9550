//! The schema: the files of `migrations/`, applied, or compared with what was applied.
//!
//! Tables are in numbered files, each applied once. Functions, views, policies, grants and triggers are in
//! `functions/`, and a file of these is applied again whenever its content has changed. `lastseen.migrations`
//! has a row for each applied file.

mod apply;
mod before;
mod error;
mod files;
mod plan;

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};

pub use error::SchemaError;
use error::{OLDEST, one_line};
pub use files::Schema;
use plan::Applied;

/// How long a database may take to answer at start.
const PATIENCE: Duration = Duration::from_secs(10);

/// Brings the schema up to date with this version.
///
/// # Errors
/// [`SchemaError`], with nothing applied.
pub async fn migrate(options: &PgConnectOptions) -> Result<(), SchemaError> {
    Schema::embedded().migrate(options).await
}

/// Checks that the schema is the one of this version.
///
/// # Errors
/// [`SchemaError`] where it is not.
pub async fn check(options: &PgConnectOptions) -> Result<(), SchemaError> {
    Schema::embedded().check(options).await
}

impl Schema {
    /// Brings a database up to date with these files.
    ///
    /// # Errors
    /// [`SchemaError`], with nothing applied.
    pub async fn migrate(&self, options: &PgConnectOptions) -> Result<(), SchemaError> {
        let mut connection = connect(options).await?;
        // Most starts end here, after one query and without a lock.
        let current = match Applied::read(&mut connection).await? {
            Some(applied) => self.plan(&applied)?.is_empty(),
            None => false,
        };
        if !current {
            apply::apply(self, &mut connection).await?;
        }
        let _ = connection.close().await;
        Ok(())
    }

    /// Checks that a database has exactly these files.
    ///
    /// # Errors
    /// [`SchemaError`] where it has not.
    pub async fn check(&self, options: &PgConnectOptions) -> Result<(), SchemaError> {
        let mut connection = connect(options).await?;
        let applied = Applied::read(&mut connection).await?.unwrap_or_default();
        let _ = connection.close().await;
        match self.plan(&applied)?.first() {
            Some(missing) => Err(SchemaError::Older(missing)),
            None => Ok(()),
        }
    }
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, SchemaError> {
    let unreachable = |fault: String| SchemaError::Unreachable {
        place: format!("{}:{}/{}", options.get_host(), options.get_port(), options.get_database().unwrap_or_default()),
        fault,
    };
    let connection = tokio::time::timeout(PATIENCE, options.connect())
        .await
        .map_err(|_| unreachable(format!("no answer within {PATIENCE:?}")))?
        .map_err(|error| unreachable(one_line(&error)))?;
    match connection.server_version_num().map(|number| number / 10_000) {
        Some(major) if major < OLDEST => Err(SchemaError::OldServer(major)),
        _ => Ok(connection),
    }
}
