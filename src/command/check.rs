//! `lastseen check`: says what is wrong with a database, and what to do about it.

use std::process::ExitCode;

use clap::Args;

use crate::config::DatabaseSettings;
use crate::server::Database;
use crate::store::schema::{Finding, Schema, SchemaError, quick_check, quick_check_sql};

/// The database to check.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Print the check as SQL, to be run in an editor, instead of running it
    #[arg(long)]
    sql: bool,
    #[command(flatten)]
    database: DatabaseSettings,
}

/// Prints the findings, each with its mend. Fails where there are any.
///
/// # Errors
/// Why the database could not be checked.
pub async fn run(mut arguments: Arguments) -> anyhow::Result<ExitCode> {
    if arguments.sql {
        super::print(quick_check_sql())?;
        return Ok(ExitCode::SUCCESS);
    }
    super::settle_data_dir(&mut arguments.database)?;
    let database = Database::open_beside(&arguments.database).await?;
    let found = check(&database, &arguments.database).await;
    database.close().await;
    let found = found?;
    super::print(&text(&found))?;
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn check(database: &Database, settings: &DatabaseSettings) -> anyhow::Result<Vec<Finding>> {
    // The check is of the schema of this version. What is lost, or of another owner, is among its findings.
    match Schema::embedded().within(&settings.schema).check(&database.owner()).await {
        Ok(()) | Err(SchemaError::TableLost(_) | SchemaError::DefinitionLost(_) | SchemaError::Unreadable) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(quick_check(&database.owner()).await?)
}

fn text(found: &[Finding]) -> String {
    if found.is_empty() {
        return "All tests completed successfully!\n".to_owned();
    }
    let lines = found.iter().map(|Finding { object, fault, mend }| format!("{object}: {fault}\n    {mend}\n"));
    lines.chain([format!("{} findings\n", found.len())]).collect()
}
