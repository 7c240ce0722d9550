//! `/v1/partnerships`: people who sit together.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::{Body, Filter};
use super::page::{Listing, Page};
use crate::domain::ids::{PartnershipId, UserId};
use crate::domain::partnership;
use crate::identity::Caller;
use crate::protocol::Refusal;
use crate::protocol::v1::Timestamp;
use crate::store::Cursor;
use crate::store::Store;

/// The most members.
const MOST_MEMBERS: usize = 50;

/// People who sit together, and read each other's sits.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": "0190f3c2-7b1a-7c3e-9d2f-1a2b3c4d5e70",
    "user_ids": ["6f1c2d3e-0000-4000-8000-000000000001", "6f1c2d3e-0000-4000-8000-000000000002"],
    "created_at": "2026-11-21T09:30:00.123Z"
}))]
pub struct Partnership {
    id: PartnershipId,
    user_ids: Vec<UserId>,
    created_at: Timestamp,
}

impl From<partnership::Partnership> for Partnership {
    fn from(stored: partnership::Partnership) -> Self {
        Self { id: stored.id, user_ids: stored.user_ids, created_at: stored.created_at.into() }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "user_ids": ["6f1c2d3e-0000-4000-8000-000000000001", "6f1c2d3e-0000-4000-8000-000000000002"]
}))]
pub struct MakePartnership {
    /// Each once.
    #[schema(value_type = BTreeSet<UserId>, min_items = 2, max_items = 50)]
    user_ids: Vec<UserId>,
}

/// Makes a partnership; for the service.
#[utoipa::path(
    post, path = "/v1/partnerships", tag = "partnerships",
    request_body = MakePartnership,
    responses((status = CREATED, body = Partnership)),
)]
pub async fn make(
    State(store): State<Store>,
    caller: Caller,
    Body(body): Body<MakePartnership>,
) -> Result<(StatusCode, Json<Partnership>), Refusal> {
    caller.service()?;
    let users: BTreeSet<_> = body.user_ids.iter().copied().collect();
    if users.len() != body.user_ids.len() || !(2..=MOST_MEMBERS).contains(&users.len()) {
        return Err(Refusal::invalid("user_ids", format!("must be from 2 to {MOST_MEMBERS} different users")));
    }
    let made = store.make_partnership(&users).await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}

/// A user's partnerships, the newest first; for the service all.
#[utoipa::path(
    get, path = "/v1/partnerships", tag = "partnerships",
    params(Listing),
    responses((status = OK, body = Page<Partnership>)),
)]
pub async fn list(
    State(store): State<Store>,
    caller: Caller,
    Filter(listing): Filter<Listing>,
) -> Result<Json<Page<Partnership>>, Refusal> {
    let viewer = caller.viewer()?;
    let asked = listing.asked()?;
    let partnerships = store.partnerships(viewer, asked.after, asked.rows()).await?;
    let place = |partnership: &partnership::Partnership| Cursor { at: partnership.created_at, id: partnership.id.0 };
    Ok(Json(asked.page(partnerships, place, Into::into)))
}
