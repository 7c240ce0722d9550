//! A directory that the account of PostgreSQL cannot enter.

use std::path::PathBuf;

/// A directory that PostgreSQL's account cannot enter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The outermost directory that is closed.
    pub directory: PathBuf,
    /// The account's name.
    pub user: String,
}
