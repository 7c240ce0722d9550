//! `lastseen uninstall`: takes out of a database what lastseen made there.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::config::DatabaseSettings;
use crate::server::Database;
use crate::store::schema::Schema;
use crate::store::schema::uninstall::Inventory;

/// The answer that goes on.
const YES: &str = "yes";

/// The database, and whether to ask.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    database: DatabaseSettings,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Says what will be dropped and how to dump it, asks, and drops it.
///
/// # Errors
/// Why nothing was dropped.
pub async fn run(mut arguments: Arguments) -> anyhow::Result<ExitCode> {
    super::settle_data_dir(&mut arguments.database)?;
    let settings = &arguments.database;
    anyhow::ensure!(
        settings.database_url.is_some(),
        "the embedded database holds nothing but lastseen: stop the server and delete {}",
        settings.data_dir.display()
    );
    let database = Database::open(settings).await?;
    let schema = Schema::embedded().within(&settings.schema);
    let inventory = schema.inventory(&database.owner()).await?;
    super::print(&in_words(&inventory)?)?;
    if !arguments.yes && !confirmed()? {
        super::print("nothing was changed\n")?;
        return Ok(ExitCode::FAILURE);
    }
    for left in schema.uninstall(&database.owner()).await? {
        super::print(&format!("stays: {left}\n"))?;
    }
    super::print("lastseen is not in this database any more\n")?;
    Ok(ExitCode::SUCCESS)
}

fn in_words(inventory: &Inventory) -> anyhow::Result<String> {
    let mut text = "This drops everything that lastseen made in this database, and nothing else:\n".to_owned();
    for (table, rows) in &inventory.tables {
        writeln!(text, "  table {table} with {rows} rows")?;
    }
    let others: Vec<String> = inventory.definitions.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
    writeln!(text, "  {}", others.join(", "))?;
    writeln!(text, "Keep the rows first; docs/how-to/operate.md says how they come back:\n  {}", inventory.dump)?;
    Ok(text)
}

fn confirmed() -> anyhow::Result<bool> {
    super::print(&format!("Write {YES} to go on: "))?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("standard input cannot be read; --yes does not ask")?;
    Ok(answer.trim() == YES)
}
