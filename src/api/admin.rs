//! `/v1/admin`: for the service alone.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::Api;
use crate::auth::Caller;
use crate::protocol::Refusal;
use crate::room::Status;
use crate::task::sweep::Swept;

pub async fn sweep(State(api): State<Arc<Api>>, caller: Caller) -> Result<Json<Swept>, Refusal> {
    caller.service()?;
    Ok(Json(api.sweeper.sweep().await?))
}

#[derive(Serialize)]
pub struct Stats {
    node: String,
    connections: usize,
    observers: u64,
    rooms: u64,
    participants: ByStatus,
    flush_backlog: usize,
}

#[derive(Serialize)]
struct ByStatus {
    active: u64,
    idle: u64,
    reconnecting: u64,
}

/// What this server holds now.
pub async fn stats(State(api): State<Arc<Api>>, caller: Caller) -> Result<Json<Stats>, Refusal> {
    caller.service()?;
    let census = api.registry.census();
    let count = |status: Status| census.participants[status as usize];
    Ok(Json(Stats {
        node: api.store.node().to_owned(),
        connections: api.sockets.limits.open(),
        observers: census.observers,
        rooms: census.rooms,
        participants: ByStatus {
            active: count(Status::Active),
            idle: count(Status::Idle),
            reconnecting: count(Status::Reconnecting),
        },
        flush_backlog: api.registry.shared().ledger.backlog(),
    }))
}
