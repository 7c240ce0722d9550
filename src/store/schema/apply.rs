//! Applying what a database lacks, in one transaction.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};

use super::catalog::existing;
use super::compat::{self, Compat, CompatChange};
use super::error::SchemaError;
use super::files::{File, Schema};
use super::plan::{Applied, Plan, Redefine};
use super::rename::OWN;
use super::{before, by_hand, obstacles};
use crate::store::cause::in_words;

/// Whatever the defaults of the role are: after the lock each statement sees what another server has applied.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// One server at a time. The path is empty so that no name in a file can mean an object of another schema.
pub(super) const PREPARE: &str = "
    SET LOCAL client_min_messages = warning;
    SET LOCAL search_path = '';
    SET LOCAL row_security = on;
    SELECT pg_advisory_xact_lock(hashtextextended('lastseen.migrations', 0))";

/// How long a statement waits for a lock: whoever wants a row of that table waits behind it.
const LIMIT: &str = "SET LOCAL lock_timeout = '2s'";

/// The comment on a schema that was made for the tables.
pub(super) const HOME_COMMENT: &str = "The tables, views and functions of lastseen.";

const NOTE: &str = "
    INSERT INTO lastseen.migrations (file, sha256, objects, applied_by) VALUES ($1, $2, $3, $4)
    ON CONFLICT (file) DO UPDATE
    SET sha256 = excluded.sha256, objects = excluded.objects, applied_by = excluded.applied_by, applied_at = now()";

/// Brings the database up to date with these files, or leaves it as it was. Returns of which designs it has views then.
pub(super) async fn apply(
    schema: &Schema,
    change: &CompatChange,
    redefine: Redefine,
    connection: &mut PgConnection,
) -> Result<Vec<Compat>, SchemaError> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    sqlx::raw_sql(LIMIT).execute(&mut *transaction).await?;
    sqlx::raw_sql(PREPARE).execute(&mut *transaction).await?;
    let exists = "SELECT to_regclass('lastseen.migrations') IS NOT NULL";
    let exists: bool = sqlx::query_scalar(exists).fetch_one(&mut *transaction).await?;
    let (applied, mut covered) = match exists {
        true => (Applied::read(&mut transaction).await?.unwrap_or_default(), Vec::new()),
        false => (Applied::default(), before::bring_over(schema, &mut transaction).await?),
    };
    schema.is_here(&mut transaction).await?;
    let schema = &schema.chosen(&applied, change)?;
    let mut plan = schema.plan(&applied)?;
    let lost = schema.lost(&applied, &mut transaction).await?;
    plan.define_again(schema, &lost);
    plan.tables.retain(|table| !covered.iter().any(|file| file.name == table.name));
    let by_hand = by_hand::recognised(schema, &plan, &mut transaction).await?;
    plan.tables.retain(|table| !by_hand.iter().any(|file| file.name == table.name));
    covered.extend(&by_hand);
    compat::refuse(&plan, &applied, &mut transaction).await?;
    obstacles::refuse(schema, &plan, &applied, !covered.is_empty(), &mut transaction).await?;
    // With a role went all that was granted to it, by whatever file.
    if redefine == Redefine::All || Schema::foundations().any(|object| lost.contains(&object)) {
        plan.definitions = schema.definitions.iter().collect();
        for file in schema.foundation_files().filter(|file| plan.tables.iter().all(|due| due.name != file.name)) {
            file.run(&mut transaction).await?;
        }
    }

    make_tables(schema, &plan, &mut transaction).await?;
    let defined = define(schema, &plan, &applied, &mut transaction).await?;

    for file in covered.iter().chain(&plan.tables) {
        note(schema, file, Vec::new(), &mut transaction).await?;
    }
    for file in &defined {
        note(schema, file, file.objects(), &mut transaction).await?;
    }
    sqlx::query("DELETE FROM lastseen.migrations WHERE file = ANY ($1)")
        .bind(&plan.gone)
        .execute(&mut *transaction)
        .await?;
    if change.none {
        compat::drop_schemas(&mut transaction).await?;
    }
    let (tables, definitions, by_hand) = (plan.tables.len(), defined.len(), by_hand.len());
    transaction.commit().await?;
    tracing::info!(tables, definitions, by_hand, "the schema was brought up to date");
    Ok(schema.views())
}

/// Makes the roles that the cluster lacks.
pub(super) async fn make_roles(schema: &Schema, connection: &mut PgConnection) -> Result<(), SchemaError> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    sqlx::raw_sql(PREPARE).execute(&mut *transaction).await?;
    for file in schema.role_files() {
        file.run(&mut transaction).await?;
    }
    Ok(transaction.commit().await?)
}

/// Makes the schema where it is not there, and the tables that are missing.
async fn make_tables(schema: &Schema, plan: &Plan<'_>, connection: &mut PgConnection) -> Result<(), SchemaError> {
    let has = async |name: &str, connection: &mut PgConnection| {
        existing(&[format!("schema {name}")], connection).await.map(|found| !found.is_empty())
    };
    let home = schema.home.as_str();
    if !plan.tables.is_empty() && !has(home, &mut *connection).await? {
        let quoted = schema.home.quoted();
        let make = format!("CREATE SCHEMA {quoted}; COMMENT ON SCHEMA {quoted} IS '{HOME_COMMENT}'");
        let outcome = sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut *connection).await;
        outcome
            .map_err(|error| SchemaError::Failed(format!("the schema {home} cannot be made: {}", in_words(&error))))?;
    }
    for file in &plan.tables {
        match has(OWN, &mut *connection).await? {
            true => file.without_own_schema().run(connection).await?,
            false => file.run(connection).await?,
        }
    }
    Ok(())
}

/// Applies the definitions that have changed; returns the files that were applied.
///
/// Replacing them takes no lock on a table but for policies and triggers, and running servers do not notice.
/// What is not defined any more is dropped. It is not possible where a signature, the type of a result or a column of a
/// view has changed, or something depends on what is dropped: then everything is dropped, the last first, and made anew.
async fn define<'a>(
    schema: &'a Schema,
    plan: &Plan<'a>,
    applied: &Applied,
    connection: &mut PgConnection,
) -> Result<Vec<&'a File>, SchemaError> {
    if plan.redefines_nothing() {
        return Ok(Vec::new());
    }
    let defined: Vec<String> = schema.objects().collect();
    let mut attempt = connection.begin().await?;
    match replace(&applied.left_over(plan, &defined), &plan.definitions, &mut attempt).await {
        Ok(()) => {
            attempt.commit().await?;
            return Ok(plan.definitions.clone());
        }
        Err(fault @ SchemaError::Locked(_)) => return Err(fault),
        Err(fault) => {
            attempt.rollback().await?;
            tracing::debug!(%fault, "the definitions cannot be replaced and are made anew");
        }
    }
    let mut drops: Vec<&String> = applied.objects().collect();
    if drops.is_empty() {
        // A database of before, which has no list of what was defined.
        drops = defined.iter().rev().collect();
    }
    let all: Vec<_> = schema.definitions.iter().collect();
    replace(&drops, &all, connection).await?;
    Ok(all)
}

/// Drops these objects and applies these files.
async fn replace(drops: &[&String], files: &[&File], connection: &mut PgConnection) -> Result<(), SchemaError> {
    for object in drops {
        drop_object(connection, object).await?;
    }
    for file in files {
        file.run(connection).await?;
    }
    Ok(())
}

/// Drops `function lastseen.admit`, but nothing that depends on it and is not ours.
async fn drop_object(connection: &mut PgConnection, object: &str) -> Result<(), SchemaError> {
    let (kind, name) = object.split_once(' ').unwrap_or((object, ""));
    sqlx::raw_sql(AssertSqlSafe(format!("DROP {kind} IF EXISTS {name}"))).execute(connection).await?;
    Ok(())
}

async fn note(
    schema: &Schema,
    file: &File,
    objects: Vec<String>,
    connection: &mut PgConnection,
) -> Result<(), SchemaError> {
    sqlx::query(NOTE)
        .bind(&file.name)
        .bind(&file.sha256()[..])
        .bind(objects)
        .bind(&schema.version)
        .execute(connection)
        .await?;
    Ok(())
}
