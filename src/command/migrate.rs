//! `lastseen migrate`: brings the schema up to date, for servers that are run with `--migrate=false`.

use std::process::ExitCode;

use clap::Args;

use crate::config::DatabaseSettings;
use crate::server::Database;
use crate::store::schema::Schema;

/// The database to migrate.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    database: DatabaseSettings,
}

/// Migrates.
///
/// # Errors
/// Why the schema could not be brought up to date.
pub async fn run(mut arguments: Arguments) -> anyhow::Result<ExitCode> {
    super::settle_data_dir(&mut arguments.database)?;
    let database = Database::open(&arguments.database).await?;
    let schema = Schema::embedded().within(&arguments.database.schema);
    let migrated = schema.migrate(&database.owner()).await;
    database.close().await;
    migrated?;
    super::print("the schema is up to date\n")?;
    Ok(ExitCode::SUCCESS)
}
