//! The quick check: whether a database has all that this version makes, unchanged and with nothing laid on top, and
//! whether it works. All of it is SQL, which runs in any editor as well.

use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{Connection, Row};

use super::error::SchemaError;
use super::files::embedded;
use crate::store::cause::in_words;

/// The check as SQL. It finds the schema of the tables by itself.
#[must_use]
pub fn quick_check_sql() -> &'static str {
    embedded("quick_check.sql")
}

/// Something that is wrong with a database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What it is about: `index public.sits_newest`.
    pub object: String,
    /// What is wrong with it.
    pub fault: String,
    /// What to do: statements in SQL, or a command.
    pub mend: String,
}

/// What is wrong with a database, in the order in which it is to be mended; nothing where all is well. For the role that
/// migrates.
///
/// # Errors
/// [`SchemaError`] where the check cannot be run.
pub async fn quick_check(options: &PgConnectOptions) -> Result<Vec<Finding>, SchemaError> {
    let unchecked = |error: sqlx::Error| SchemaError::Unchecked(in_words(&error));
    let mut connection = super::connect(options).await?;
    let rows = sqlx::raw_sql(quick_check_sql()).fetch_all(&mut connection).await.map_err(unchecked)?;
    let _ = connection.close().await;
    rows.iter().filter_map(|row| finding(row).transpose()).collect::<Result<_, _>>().map_err(unchecked)
}

/// The row that says that all is well is no finding.
fn finding(row: &PgRow) -> Result<Option<Finding>, sqlx::Error> {
    let Some(fault) = row.try_get("fault")? else { return Ok(None) };
    Ok(Some(Finding { object: row.try_get("object")?, fault, mend: row.try_get("mend")? }))
}
