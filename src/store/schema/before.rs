//! Databases from before the first release. Eighteen migrations made them, with the same tables as the files of
//! today; sqlx recorded them in `public._sqlx_migrations`.

use sqlx::postgres::PgConnection;

use super::error::SchemaError;
use super::files::{self, File, Schema, number};
use super::rename::WRITTEN;

/// The last of those migrations.
const LAST: i64 = 18;

/// The last commit that had them.
const COMMIT: &str = "7448f01";

/// The tables of the files up to this number are the ones that they made.
const COVERED: i64 = 12;

/// SHA-256 of their checksums, as sqlx recorded them, in order.
const CHECKSUMS: &str = "d8f0c7c3a2fff5ad1cb3517da95a86264575d627a3a70e05d9bbbce6550918d0";

/// Another program may keep a table of this name: it is ours where our schema is there too.
const THERE: &str =
    "SELECT to_regclass('public._sqlx_migrations') IS NOT NULL AND to_regnamespace('lastseen') IS NOT NULL";

const READ: &str = "
    SELECT coalesce(max(version), 0),
           coalesce(bool_and(success), false) AND count(*) = $1
             AND encode(sha256(string_agg(checksum, ''::bytea ORDER BY version)), 'hex') = $2
    FROM public._sqlx_migrations";

/// Where the database stands at the last of those migrations, changes what differs and returns the files that
/// count as applied. Runs in the caller's transaction.
pub(super) async fn bring_over<'a>(
    schema: &'a Schema,
    connection: &mut PgConnection,
) -> Result<Vec<&'a File>, SchemaError> {
    if !sqlx::query_scalar(THERE).fetch_one(&mut *connection).await? {
        return Ok(Vec::new());
    }
    if schema.home.as_str() != WRITTEN {
        return Err(SchemaError::Elsewhere { found: WRITTEN.to_owned(), asked: schema.home.to_string() });
    }
    let (newest, whole): (i64, Option<bool>) =
        sqlx::query_as(READ).bind(LAST).bind(CHECKSUMS).fetch_one(&mut *connection).await?;
    if newest < LAST {
        return Err(SchemaError::Unreleased { at: newest, last: LAST, commit: COMMIT });
    }
    if whole != Some(true) {
        let fault = "public._sqlx_migrations does not hold the 18 migrations of lastseen from before the first release";
        return Err(SchemaError::Failed(fault.to_owned()));
    }
    files::beside("from_18.sql").run(connection).await?;
    Ok(schema.tables.iter().filter(|file| number(&file.name).is_some_and(|number| number <= COVERED)).collect())
}
