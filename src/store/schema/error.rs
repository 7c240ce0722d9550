//! Why a database cannot be used.

use crate::store::cause::in_words;

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
    /// It takes no writes.
    #[error("the database is read-only, and its schema has to be brought up to date: {0}")]
    ReadOnly(&'static str),
    /// Connections share sessions with other clients.
    #[error(
        "the schema cannot be changed through a pooler that shares connections between transactions: set \
         DATABASE_DIRECT_URL to the address of the database itself, beside DATABASE_URL, or run `lastseen migrate` with it"
    )]
    ThroughPooler,
    /// Another transaction holds what has to be changed.
    #[error("the schema cannot be changed, and nothing was: {0}")]
    Locked(String),
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
    /// Tables, views or functions of these names are there, and are not ours.
    #[error(
        "the schema {schema} already has what lastseen would make ({what}), and nothing was changed: give lastseen a \
         schema of its own with --schema NAME (LASTSEEN_SCHEMA), or move these rows to it, as docs/how-to/bring-your-tables.md \
         says, and rename what is in the way"
    )]
    InTheWay {
        /// The schema of tables, views and functions for operators.
        schema: String,
        /// What is there, with its kind.
        what: String,
    },
    /// The same in the schema that is always ours.
    #[error(
        "the schema lastseen already has what lastseen would make ({0}), and nothing was changed: what only the server \
         calls is there, with every --schema; rename what is in the way"
    )]
    OwnInTheWay(String),
    /// The same for views under the names of other designs.
    #[error(
        "the database already has what --compat would make ({0}), and nothing was changed: put it aside, as \
         docs/how-to/bring-your-tables.md says, and migrate again"
    )]
    CompatInTheWay(String),
    /// Two views would have one name.
    #[error(
        "check-ins and sits are both the view public.sessions, and nothing was changed: ask for one of them; where the \
         database has the other, `--compat none` beside it drops that"
    )]
    OneSessions,
    /// Its tables are in another schema than the one that was asked for.
    #[error(
        "the database has lastseen in the schema {found}, not in {asked}: run with --schema {found} \
         (LASTSEEN_SCHEMA={found}); one database holds one lastseen"
    )]
    Elsewhere {
        /// Where it is.
        found: String,
        /// Where it was searched for.
        asked: String,
    },
    /// A table that was made is not there any more.
    #[error(
        "the database has lost {0}, which somebody must have dropped: restore it from a dump, or, to begin without any \
         rows, run `lastseen uninstall` and then `lastseen migrate`"
    )]
    TableLost(String),
    /// A function, view, policy or trigger that was made is not there any more.
    #[error("the database has lost {0}: run `lastseen migrate`, which makes it anew")]
    DefinitionLost(String),
    /// The list of what was applied is of another role.
    #[error(
        "this login may not read the table lastseen.migrations, which belongs to another role: use that one; after a \
         restore run `lastseen check`, which names the owners and what to do"
    )]
    Unreadable,
    /// There is nothing to uninstall.
    #[error(
        "lastseen is not listed in this database (there is nothing in lastseen.migrations), and nothing was changed; \
         where it was made by hand, `lastseen migrate` makes the list"
    )]
    Absent,
    /// Servers work on what is to be dropped.
    #[error(
        "{0} connections of lastseen servers to this database are open, and nothing was changed: stop these servers first"
    )]
    InUse(i64),
    /// Something else depends on what is to be dropped.
    #[error("lastseen cannot be taken out, and nothing was changed: {0}")]
    Needed(String),
    /// The quick check did not run to its end.
    #[error("the database cannot be checked: {0}")]
    Unchecked(String),
    /// A migration did not work.
    #[error("the database's schema cannot be brought up to date: {0}")]
    Failed(String),
}

impl From<sqlx::Error> for SchemaError {
    fn from(error: sqlx::Error) -> Self {
        match is_lock_timeout(&error) {
            true => Self::Locked(in_words(&error)),
            false => Self::Failed(in_words(&error)),
        }
    }
}

/// Whether a statement gave up waiting for a lock.
pub(super) fn is_lock_timeout(error: &sqlx::Error) -> bool {
    const LOCK_NOT_AVAILABLE: &str = "55P03";
    error.as_database_error().and_then(|refusal| refusal.code()).is_some_and(|code| code == LOCK_NOT_AVAILABLE)
}
