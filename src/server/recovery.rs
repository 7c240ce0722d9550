//! Recovery at start: takes over what the last run of this node left in the database.

use crate::app::App;
use crate::config::PresenceSettings;
use crate::room::Registry;
use crate::store::{BATCH_ROWS, Store};
use crate::task::audit;

/// Restores participants and sits, and marks orphaned simulators. To be called before the first connection.
///
/// # Errors
/// Where the database does not answer.
pub(super) async fn recover(app: &App, presence: &PresenceSettings) -> anyhow::Result<()> {
    restore(&app.registry, &app.store, presence).await?;
    app.sits.resume().await?;
    app.supervisor.mark_orphans().await?;
    Ok(())
}

/// Restores the participants that the last run of this node left present as reconnecting, so that a restart
/// shows no leaves. Participants of other nodes are left alone unless they were not seen for long: what a chunk does not
/// hold of those is left to the audit. Connections of user sessions that this node held are marked as lost.
async fn restore(registry: &Registry, store: &Store, presence: &PresenceSettings) -> anyhow::Result<()> {
    let other_nodes = store.settle_strangers(audit::unseen_for(presence), BATCH_ROWS).await?;
    let people = store.left_present().await?;
    store.settle_user_sessions().await?;
    if other_nodes > 0 || !people.is_empty() {
        tracing::info!(reconnecting = people.len(), other_nodes, "restored participants of the last run");
    }
    let clock = registry.shared().clock;
    for (session, entrant, last_seen_at) in people {
        registry.open(session).restore(entrant, clock.moment(last_seen_at));
    }
    Ok(())
}
