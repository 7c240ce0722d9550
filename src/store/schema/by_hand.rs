//! Files of tables that were run by hand, with psql or in an editor of SQL: the list of what was applied knows nothing
//! of them, and they cannot be run again.

use std::collections::BTreeSet;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};

use super::catalog::{existing, missing};
use super::error::SchemaError;
use super::files::{File, Schema};
use super::plan::Plan;
use super::rename::OWN;

/// The table that the first file of tables makes.
const FIRST: &str = "reading_sessions";

/// Schemas that are made for the comparison, and rolled back.
const TRIAL: &str = "lastseen_trial";
const TRIAL_OWN: &str = "lastseen_trial_own";

/// What the tables of a schema are, as lines: columns, constraints, indexes and row security. The path is that schema, so
/// that no line has its name. A constraint may have been validated since.
const SHAPE: &str = "
    WITH relation AS (
        SELECT c.* FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = $1 AND c.relkind = 'r'
    )
    SELECT format('table %s %s %s', relname, relrowsecurity, relforcerowsecurity) FROM relation
    UNION ALL
    SELECT format('column %s.%s %s %s %s', relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                  pg_get_expr(d.adbin, d.adrelid))
    FROM relation JOIN pg_attribute AS a ON a.attrelid = relation.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    UNION ALL
    SELECT format('constraint %s.%s %s', relname, k.conname,
                  regexp_replace(pg_get_constraintdef(k.oid, true), ' NOT VALID$', ''))
    FROM relation JOIN pg_constraint AS k ON k.conrelid = relation.oid
    UNION ALL
    SELECT format('index %s', pg_get_indexdef(i.indexrelid, 0, true))
    FROM relation JOIN pg_index AS i ON i.indrelid = relation.oid";

type Shape = BTreeSet<String>;

/// The files of the plan that were run by hand: those up to the last one whose result is there. The files are run anew,
/// one after the other, in a schema of their own, and after each the tables are compared; all of it is rolled back.
pub(super) async fn recognised<'a>(
    schema: &'a Schema,
    plan: &Plan<'a>,
    connection: &mut PgConnection,
) -> Result<Vec<&'a File>, SchemaError> {
    let first = [format!("table {}", schema.table(FIRST))];
    if plan.tables.is_empty() || existing(&first, connection).await?.is_empty() {
        return Ok(Vec::new());
    }
    let mut trial = connection.begin().await?;
    let found = shape(schema.home.as_str(), &mut trial).await?;
    let last = last_applied(schema, &found, &mut trial).await;
    trial.rollback().await?;
    let Some(last) = last else { return Ok(Vec::new()) };

    let mut covered = Vec::new();
    for (place, file) in schema.tables.iter().enumerate() {
        let mut objects = file.objects();
        objects.retain(|object| object.starts_with("schema ") || object.starts_with("table "));
        // The schema `lastseen` is not compared: it may be there or not, whatever the tables are.
        let only_own = !objects.is_empty() && objects.iter().all(|object| object.contains(&format!(" {OWN}")));
        let is_due = plan.tables.iter().any(|due| due.name == file.name);
        if is_due && (place <= last || only_own) && missing(&objects, connection).await?.is_empty() {
            covered.push(file);
        }
    }
    Ok(covered)
}

/// The place of the last file whose result is in these tables: all that is there after it, and nothing that it or
/// another one took away. A file that changes nothing of the tables is never the last. What cannot be run here, for
/// want of a right as well, ends the series.
async fn last_applied(schema: &Schema, found: &Shape, connection: &mut PgConnection) -> Option<usize> {
    let (mut before, mut ever, mut last) = (Shape::new(), Shape::new(), None);
    for (place, file) in schema.tables.iter().enumerate() {
        let after = match after(place, file, connection).await {
            Ok(after) => after,
            Err(fault) => {
                tracing::debug!(%fault, "whether tables were made by hand cannot be seen further");
                break;
            }
        };
        ever.extend(after.iter().cloned());
        let gone_again = ever.difference(&after).any(|line| found.contains(line));
        if after != before && after.is_subset(found) && !gone_again {
            last = Some(place);
        }
        before = after;
    }
    last
}

/// The shape that the tables of the trial have after this file.
async fn after(place: usize, file: &File, connection: &mut PgConnection) -> Result<Shape, SchemaError> {
    if place == 0 {
        let make = format!("CREATE SCHEMA {TRIAL}");
        sqlx::query(AssertSqlSafe(make)).execute(&mut *connection).await?;
    }
    file.elsewhere(TRIAL, TRIAL_OWN).run(connection).await?;
    shape(TRIAL, connection).await
}

async fn shape(schema: &str, connection: &mut PgConnection) -> Result<Shape, SchemaError> {
    const SET_PATH: &str = "SELECT set_config('search_path', $1, true)";
    sqlx::query(SET_PATH).bind(format!("\"{schema}\"")).execute(&mut *connection).await?;
    let lines: Vec<String> = sqlx::query_scalar(SHAPE).bind(schema).fetch_all(&mut *connection).await?;
    sqlx::query(SET_PATH).bind("").execute(connection).await?;
    Ok(lines.into_iter().collect())
}
