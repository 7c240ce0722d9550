//! Why a database cannot be used.

use sqlx::postgres::PgDatabaseError;

/// The oldest PostgreSQL that works.
pub(super) const OLDEST: u32 = 15;

/// Why a database cannot be used. Each is one line with what to do.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// No connection.
    #[error("the database at {place} cannot be reached: {fault}")]
    Unreachable {
        /// Host and database, without any secret.
        place: String,
        /// The error of the attempt.
        fault: String,
    },
    /// Too old a server.
    #[error("PostgreSQL {0} is too old: lastseen needs {OLDEST} or newer")]
    OldServer(u32),
    /// Migrated by a newer lastseen.
    #[error("the database's schema is newer ({0}) than this lastseen: use the newer lastseen")]
    Newer(String),
    /// Not migrated yet.
    #[error("the database's schema is too old ({0} is missing): run `lastseen migrate` first")]
    Older(String),
    /// From before the first release, and not at the last migration of that time.
    #[error(
        "the database's schema is from before the first release, at migration {at} of {last}: \
         run `lastseen migrate` of commit {commit} first"
    )]
    Unreleased {
        /// Its newest migration.
        at: i64,
        /// The last one of that time.
        last: i64,
        /// The last commit that had them.
        commit: &'static str,
    },
    /// A migration did not work.
    #[error("the database's schema cannot be brought up to date: {0}")]
    Failed(String),
}

impl From<sqlx::Error> for SchemaError {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(one_line(&error))
    }
}

/// The error and, where PostgreSQL gives one, the hint, in one line.
pub(super) fn one_line(error: &sqlx::Error) -> String {
    let hint = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>()?.hint());
    let text = hint.map_or(error.to_string(), |hint| format!("{error}. {hint}"));
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
