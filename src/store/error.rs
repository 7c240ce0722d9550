//! Why the database gave no answer.

use std::borrow::Cow;

use sqlx::error::DatabaseError;

use super::cause::in_words;
use super::read_only::{READ_ONLY_TRANSACTION, UNKNOWN};

/// SQLSTATE of a statement that waited for a lock as long as `lock_timeout` allows.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Why the database gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be asked just now: away, out of connections, too slow. Ask again later.
    #[error("the database cannot be asked just now: {0}")]
    Unavailable(String),
    /// It takes no writes just now. Ask again later.
    #[error("the database is read-only: {0}")]
    ReadOnly(&'static str),
    /// A pooler in front of it does not do what the server needs.
    #[error(
        "lastseen does not work through this pooler: {0}. It needs one that keeps a transaction together (PgBouncer 1.18 \
         or newer with pool_mode = transaction or session), or the address of the database itself"
    )]
    Pooler(String),
    /// Another transaction holds a row that the statement needs, for longer than the statement may wait.
    #[error("a row is locked by another transaction")]
    Locked,
    /// A row would belong to a user whom the database's own table of users does not hold (any more).
    #[error("there is no such user")]
    NoSuchUser,
    /// The statement was refused, or its answer could not be read: a fault of this program.
    #[error("the database refused a statement: {}", in_words(.0))]
    Refused(sqlx::Error),
    /// A function of the database answered with an unknown word: the schema is newer
    /// than the program, or one of both is wrong.
    #[error("{function} answered with the unknown word '{word}'")]
    UnknownWord {
        /// The function.
        function: &'static str,
        /// The word.
        word: String,
    },
    /// A function of the database left out what belongs to its answer.
    #[error("the answer of {0} is incomplete")]
    Incomplete(&'static str),
}

impl StoreError {
    /// Whether the values of a row were refused: the statement works without that row, and never with it.
    pub fn is_about_a_row(&self) -> bool {
        match self {
            Self::NoSuchUser => true,
            // Data exceptions, broken constraints, violated views, and what triggers raise.
            Self::Refused(error) => {
                sqlstate(error).is_some_and(|state| matches!(state.get(..2), Some("22" | "23" | "44" | "P0")))
            }
            Self::Unavailable(_)
            | Self::ReadOnly(_)
            | Self::Pooler(_)
            | Self::Locked
            | Self::UnknownWord { .. }
            | Self::Incomplete(_) => false,
        }
    }

    /// Whether nothing of the statement can have been carried out: the database has said so.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Locked | Self::ReadOnly(_) | Self::NoSuchUser | Self::Refused(sqlx::Error::Database(_)))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        if let E::Database(refusal) = &error
            && refusal.is_foreign_key_violation()
            && refusal.constraint().is_some_and(names_a_user)
        {
            return Self::NoSuchUser;
        }
        match sqlstate(&error).as_deref() {
            Some(LOCK_NOT_AVAILABLE) => return Self::Locked,
            Some(READ_ONLY_TRANSACTION) => return Self::ReadOnly(UNKNOWN),
            _ => {}
        }
        let passing = match &error {
            E::Io(_) | E::Tls(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed | E::Protocol(_) => true,
            E::Database(refusal) => refusal.code().is_some_and(|state| is_passing(&state)),
            _ => false,
        };
        if passing { Self::Unavailable(in_words(&error)) } else { Self::Refused(error) }
    }
}

/// Whether a constraint is one that `reference_auth_users()` makes.
fn names_a_user(constraint: &str) -> bool {
    ["_host_user_id_fkey", "_user_id_fkey", "_created_by_fkey"].iter().any(|end| constraint.ends_with(end))
}

/// Whether an SQLSTATE means that the same statement may work later: connection faults, a login or a database that is
/// refused (which is known before any statement is sent), deadlocks and serialization, too many connections and other
/// lacks, shutdown and start-up.
fn is_passing(sqlstate: &str) -> bool {
    matches!(sqlstate.get(..2), Some("08" | "28" | "3D" | "40" | "53" | "57" | "58"))
}

fn sqlstate(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error().and_then(DatabaseError::code)
}
