//! `lastseen sweep`: one sweep, for cron. A server sweeps by itself; this is for a database without a running
//! server.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::config::{DatabaseSettings, PresenceSettings, SessionSettings};
use crate::server::Database;
use crate::store::embedded::EmbeddedError;
use crate::store::schema::Schema;
use crate::task::audit::unseen_for;
use crate::task::policy::{Effect, Policy};
use crate::task::sweep::Swept;

/// A server that has seen nobody for less than this is never taken for gone: it may have other settings than this
/// command was given.
const SILENT_FOR: Duration = Duration::from_mins(10);

/// The database, and the rules of the sweep.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    database: DatabaseSettings,
    #[command(flatten)]
    sessions: SessionSettings,
    /// By which a server that is gone is known from one that is slow.
    #[command(flatten)]
    presence: PresenceSettings,
}

/// Closes what is idle and deletes what is over. Running servers notice at their next flush.
///
/// # Errors
/// Why nothing could be done.
pub async fn run(mut arguments: Arguments) -> anyhow::Result<ExitCode> {
    super::settle_data_dir(&mut arguments.database)?;
    let database = Database::open(&arguments.database).await.map_err(name_the_call)?;
    let swept = sweep(&database, &arguments).await;
    database.close().await;
    let swept = swept?;
    super::print(&format!("{}\n", serde_json::json!(swept)))?;
    Ok(if swept.failed().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Beside a server with the embedded database there is nothing to open: that server sweeps.
fn name_the_call(error: anyhow::Error) -> anyhow::Error {
    let Some(EmbeddedError::InUse(directory)) = error.downcast_ref() else {
        return error;
    };
    let directory = directory.display();
    anyhow::anyhow!(
        "a server is running on the data directory {directory} and sweeps by itself. To have it sweep now, call \
         POST /v1/admin/sweep where it listens: curl -X POST -H \"Authorization: Bearer $(lastseen token \
         --role service_role --data-dir '{directory}')\" http://127.0.0.1:8080/v1/admin/sweep"
    )
}

async fn sweep(database: &Database, arguments: &Arguments) -> anyhow::Result<Swept> {
    Schema::embedded().within(&arguments.database.schema).check(&database.owner()).await?;
    let store = database.store(&arguments.database, &arguments.sessions, "sweep".to_owned()).await?;
    let silent_for = unseen_for(&arguments.presence).max(SILENT_FOR);
    let mut swept = Swept::default();
    for policy in Policy::ALL {
        let done = |effect: Effect| {
            swept.add(policy, effect.count);
            true
        };
        if let Err(error) = policy.apply(&store, &arguments.sessions, silent_for, done).await {
            tracing::error!(policy = policy.as_str(), %error, "sweep policy failed");
            swept.fail(policy);
        }
    }
    store.close().await;
    Ok(swept)
}
