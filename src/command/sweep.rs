//! `lastseen sweep`: one sweep, for cron. A server sweeps by itself; this is for databases whose
//! servers are asleep.

use std::process::ExitCode;

use clap::Args;

use crate::config::{DatabaseSettings, SessionSettings};
use crate::server::Database;
use crate::store::schema;

/// What to sweep, and by which rules.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    database: DatabaseSettings,
    #[command(flatten)]
    sessions: SessionSettings,
}

/// Closes what is idle and deletes what is over. Servers that run find out with their next flush.
///
/// # Errors
/// Whatever kept it from being done.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let database = Database::open(&arguments.database).await?;
    let swept = sweep(&database, &arguments).await;
    database.close().await;
    let (closed, purged) = swept?;
    println!("closed {closed}, purged {purged}");
    Ok(ExitCode::SUCCESS)
}

async fn sweep(database: &Database, arguments: &Arguments) -> anyhow::Result<(usize, i64)> {
    schema::check(&database.owner()).await?;
    let store = database.store(&arguments.database, &arguments.sessions, "sweep".to_owned()).await?;
    let closed = store.close_idle_sessions().await?.len();
    let purged = store.purge_closed_sessions(arguments.sessions.retention.reading_sessions).await?;
    store.close().await;
    Ok((closed, purged))
}
