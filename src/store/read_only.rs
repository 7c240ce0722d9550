//! Whether a database takes no writes just now.

use sqlx::Error;
use sqlx::postgres::PgConnection;

/// SQLSTATE of a statement that would write where nothing may be written.
pub(super) const READ_ONLY_TRANSACTION: &str = "25006";

/// Why, where only the error of a statement is known.
pub(super) const UNKNOWN: &str = "it is a standby, or default_transaction_read_only is on";

const STANDBY: &str = "it is a standby (pg_is_in_recovery); lastseen needs the primary";
const SETTING: &str = "default_transaction_read_only is on";

/// Why nothing can be written; `None` where it can.
pub(super) async fn why(connection: &mut PgConnection) -> Result<Option<&'static str>, Error> {
    // Without a prepared statement, which may not be there for the next message behind a pooler.
    let ask = "SELECT CASE WHEN pg_is_in_recovery() THEN 2 WHEN current_setting('transaction_read_only')::bool THEN 1 ELSE 0 END";
    let row = sqlx::raw_sql(ask).fetch_one(connection).await?;
    Ok(match sqlx::Row::try_get::<i32, _>(&row, 0)? {
        2 => Some(STANDBY),
        1 => Some(SETTING),
        _ => None,
    })
}
