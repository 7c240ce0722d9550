//! `/v1/partnerships`: people who sit together.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::{Body, Filter, Ids};
use super::page::{Listing, Page};
use crate::domain::ids::PartnershipId;
use crate::domain::partnership;
use crate::domain::subject::Subject;
use crate::identity::Caller;
use crate::protocol::problem::{MEDIA_TYPE, Problem};
use crate::protocol::v1::Timestamp;
use crate::protocol::{Code, Refusal};
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
    user_ids: Vec<Subject>,
    created_at: Timestamp,
}

impl From<partnership::Partnership> for Partnership {
    fn from(stored: partnership::Partnership) -> Self {
        Self { id: stored.id, user_ids: stored.user_ids, created_at: stored.created_at.into() }
    }
}

/// The members of a partnership.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "user_ids": ["6f1c2d3e-0000-4000-8000-000000000001", "6f1c2d3e-0000-4000-8000-000000000002"]
}))]
pub struct Members {
    /// Each once.
    #[schema(value_type = BTreeSet<Subject>, min_items = 2, max_items = 50)]
    user_ids: Vec<Subject>,
}

impl Members {
    fn users(self) -> Result<BTreeSet<Subject>, Refusal> {
        let named = self.user_ids.len();
        let users: BTreeSet<_> = self.user_ids.into_iter().collect();
        if users.len() != named || !(2..=MOST_MEMBERS).contains(&users.len()) {
            return Err(Refusal::invalid("user_ids", format!("must be from 2 to {MOST_MEMBERS} different users")));
        }
        Ok(users)
    }
}

/// Makes a partnership; for the service.
#[utoipa::path(
    post, path = "/v1/partnerships", tag = "partnerships",
    request_body = Members,
    responses((status = CREATED, body = Partnership)),
)]
pub async fn make(
    State(store): State<Store>,
    caller: Caller,
    Body(members): Body<Members>,
) -> Result<(StatusCode, Json<Partnership>), Refusal> {
    caller.service()?;
    let made = store.make_partnership(&members.users()?).await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}

/// One partnership of the caller's; for the service any.
#[utoipa::path(
    get, path = "/v1/partnerships/{id}", tag = "partnerships",
    params(("id" = PartnershipId, Path)),
    responses(
        (status = OK, body = Partnership),
        (status = NOT_FOUND, description = "`not_found`", body = Problem, content_type = MEDIA_TYPE),
    ),
)]
pub async fn read(
    State(store): State<Store>,
    caller: Caller,
    Ids(id): Ids<PartnershipId>,
) -> Result<Json<Partnership>, Refusal> {
    shown(store.partnership(caller.viewer()?, id).await?)
}

/// Gives a partnership these members and no others; for the service. The history stays: whoever comes reads what was
/// sat before, what was sat by somebody who goes is still read by the others, and by themselves.
#[utoipa::path(
    patch, path = "/v1/partnerships/{id}", tag = "partnerships",
    params(("id" = PartnershipId, Path)),
    request_body = Members,
    responses(
        (status = OK, body = Partnership),
        (status = NOT_FOUND, description = "`not_found`: there is none, or it was ended", body = Problem, content_type = MEDIA_TYPE),
    ),
)]
pub async fn change(
    State(store): State<Store>,
    caller: Caller,
    Ids(id): Ids<PartnershipId>,
    Body(members): Body<Members>,
) -> Result<Json<Partnership>, Refusal> {
    caller.service()?;
    shown(store.change_members(id, &members.users()?).await?)
}

/// Ends a partnership: all members go; for the service. The history stays: each reads its own sits in it, the service
/// all.
#[utoipa::path(
    delete, path = "/v1/partnerships/{id}", tag = "partnerships",
    params(("id" = PartnershipId, Path)),
    responses(
        (status = NO_CONTENT, description = "It is ended"),
        (status = NOT_FOUND, description = "`not_found`: there is none, or it was ended before", body = Problem, content_type = MEDIA_TYPE),
    ),
)]
pub async fn end(
    State(store): State<Store>,
    caller: Caller,
    Ids(id): Ids<PartnershipId>,
) -> Result<StatusCode, Refusal> {
    caller.service()?;
    store.change_members(id, &BTreeSet::new()).await?.ok_or(Code::PartnershipNotFound)?;
    Ok(StatusCode::NO_CONTENT)
}

fn shown(found: Option<partnership::Partnership>) -> Result<Json<Partnership>, Refusal> {
    found.map(|partnership| Json(partnership.into())).ok_or_else(|| Code::PartnershipNotFound.into())
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
    let place = |partnership: &partnership::Partnership| Cursor { at: partnership.created_at, id: partnership.id.0 };
    listing.asked()?.read_page(|after, rows| store.partnerships(viewer, after, rows), place).await
}
