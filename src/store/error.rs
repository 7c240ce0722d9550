//! Why the database gave no answer, and the refusal that it becomes.

use crate::protocol::{Code, Refusal};

/// Why the database gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be asked just now: away, out of connections, too slow. Ask again later.
    #[error("the database cannot be asked just now: {0}")]
    Unavailable(String),
    /// A row would belong to a user whom the database's own table of users does not hold (any more).
    #[error("there is no such user")]
    NoSuchUser,
    /// The statement was refused, or its answer could not be read: a fault of this program.
    #[error("the database refused a statement: {0}")]
    Refused(#[source] sqlx::Error),
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

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        if let E::Database(refusal) = &error
            && refusal.is_foreign_key_violation()
            && refusal.constraint().is_some_and(names_a_user)
        {
            return Self::NoSuchUser;
        }
        let passing = match &error {
            E::Io(_) | E::Tls(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed | E::Protocol(_) => true,
            E::Database(refusal) => refusal.code().is_some_and(|state| is_passing(&state)),
            _ => false,
        };
        if passing { Self::Unavailable(error.to_string()) } else { Self::Refused(error) }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => {
                tracing::warn!(%error, "refused a request");
                Code::Unavailable.into()
            }
            StoreError::NoSuchUser => {
                Refusal::new(Code::Unauthenticated, "The user of this token does not exist (any more).")
            }
            StoreError::Refused(_) | StoreError::UnknownWord { .. } | StoreError::Incomplete(_) => {
                tracing::error!(error = ?error, "failed a request");
                Code::Internal.into()
            }
        }
    }
}

/// Whether a constraint is one that `reference_auth_users()` makes.
fn names_a_user(constraint: &str) -> bool {
    ["_host_user_id_fkey", "_user_id_fkey", "_created_by_fkey"].iter().any(|end| constraint.ends_with(end))
}

/// Whether an SQLSTATE means that the same statement may work later: connection faults, deadlocks and
/// serialization, too many connections and other lacks, shutdown and start-up.
fn is_passing(sqlstate: &str) -> bool {
    matches!(sqlstate.get(..2), Some("08" | "40" | "53" | "57" | "58")) || sqlstate == "55P03"
}
