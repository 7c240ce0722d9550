//! Invites: `/v1/reading-sessions/{id}/invites` for hosts, `/v1/invites/{token}` for holders of a token.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::Sessions;
use super::extract::{Address, Body, Filter, Ids, whole_or_null};
use super::page::{Listing, Page};
use crate::admission::dead_invite;
use crate::admission::rates::Arrival;
use crate::app::App;
use crate::config::PublicUrl;
use crate::domain::ids::{InviteId, SessionId, UserId};
use crate::domain::invite::{Inspection, Invite, NewInvite};
use crate::domain::role::Role;
use crate::identity::Caller;
use crate::identity::client_address::Network;
use crate::identity::invite::InviteToken;
use crate::protocol::v1::Timestamp;
use crate::protocol::{Code, Refusal};
use crate::store::Cursor;

/// The longest lifetime of an invite with an end: ten years.
const LONGEST_LIFE_SECONDS: i64 = 10 * 366 * 24 * 3600;

/// An invite without its token.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": "0193a1b2-0000-7000-8000-000000000002", "role": "guest", "max_uses": 5, "uses": 1,
    "expires_at": "2026-11-22T09:30:00.123Z", "created_at": "2026-11-21T09:30:00.123Z", "revoked_at": null,
}))]
pub struct ShownInvite {
    id: InviteId,
    role: Role,
    /// Null: without a limit.
    #[schema(required, minimum = 1)]
    max_uses: Option<i32>,
    #[schema(minimum = 0)]
    uses: i32,
    /// Null: as long as its session.
    #[schema(required)]
    expires_at: Option<Timestamp>,
    created_at: Timestamp,
    #[schema(required)]
    revoked_at: Option<Timestamp>,
}

impl From<Invite> for ShownInvite {
    fn from(invite: Invite) -> Self {
        Self {
            id: invite.id,
            role: invite.role,
            max_uses: invite.max_uses,
            uses: invite.uses,
            expires_at: invite.expires_at.map(Timestamp),
            created_at: Timestamp(invite.created_at),
            revoked_at: invite.revoked_at.map(Timestamp),
        }
    }
}

/// A new invite: the only response that contains its token.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": "0193a1b2-0000-7000-8000-000000000002", "token": "lsi_0123456789abcdefghijklmnopqrstuv",
    "url": "http://127.0.0.1:8080/join/lsi_0123456789abcdefghijklmnopqrstuv",
    "max_uses": 5, "uses": 0, "expires_at": "2026-11-22T09:30:00.123Z", "role": "guest",
}))]
pub struct FreshInvite {
    id: InviteId,
    token: String,
    /// The link to send.
    #[schema(format = "uri")]
    url: String,
    #[schema(required, minimum = 1)]
    max_uses: Option<i32>,
    #[schema(minimum = 0)]
    uses: i32,
    #[schema(required)]
    expires_at: Option<Timestamp>,
    role: Role,
}

impl FreshInvite {
    /// The invite with its token and the link to send.
    pub fn new(url: &PublicUrl, token: &InviteToken, invite: Invite) -> Self {
        Self {
            id: invite.id,
            token: token.as_str().to_owned(),
            url: format!("{}/join/{}", url.as_str(), token.as_str()),
            max_uses: invite.max_uses,
            uses: invite.uses,
            expires_at: invite.expires_at.map(Timestamp),
            role: invite.role,
        }
    }
}

/// An invite without limits, with its token.
pub fn fresh(role: Role, created_by: Option<UserId>) -> (InviteToken, NewInvite) {
    let token = InviteToken::generate();
    let token_sha256 = token.sha256();
    (token, NewInvite { token_sha256, role, max_uses: None, expires_in: None, created_by })
}

/// The limits of an invite.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"max_uses": 5, "expires_in_seconds": 86400, "role": "guest"}))]
pub struct MakeInvite {
    /// How many people may join by it; without it there is no limit.
    #[schema(minimum = 1)]
    #[serde(default, deserialize_with = "whole_or_null")]
    max_uses: Option<i32>,
    /// Its lifetime; without it as long as the session's.
    #[schema(minimum = 1, maximum = 316_224_000)]
    #[serde(default, deserialize_with = "whole_or_null")]
    expires_in_seconds: Option<i64>,
    /// The role of people who join by it; `guest` by default.
    role: Option<Role>,
}

/// Makes an invite. Its token is shown this one time. For hosts and the service.
#[utoipa::path(
    post, path = "/v1/reading-sessions/{id}/invites", tag = "invites",
    params(("id" = SessionId, Path, description = "The session")),
    request_body = MakeInvite,
    responses(
        (status = CREATED, description = "The invite with its token", body = FreshInvite),
        (status = NOT_FOUND, description = "`session_not_found`"),
        (status = GONE, description = "`session_closed`"),
    ),
)]
pub async fn make(
    State(sessions): State<Sessions>,
    State(url): State<PublicUrl>,
    caller: Caller,
    Ids(id): Ids<SessionId>,
    Body(body): Body<MakeInvite>,
) -> Result<(StatusCode, Json<FreshInvite>), Refusal> {
    let access = sessions.host(&caller, id).await?;
    let (token, mut new) = fresh(body.role.unwrap_or(Role::Guest), access.user());
    if body.max_uses.is_some_and(|uses| uses < 1) {
        return Err(Refusal::invalid("max_uses", "must be at least 1"));
    }
    new.max_uses = body.max_uses;
    new.expires_in = match body.expires_in_seconds {
        Some(seconds) if !(1..=LONGEST_LIFE_SECONDS).contains(&seconds) => {
            return Err(Refusal::invalid("expires_in_seconds", format!("must be from 1 to {LONGEST_LIFE_SECONDS}")));
        }
        seconds => seconds.map(|seconds| Duration::from_secs(seconds.unsigned_abs())),
    };
    match sessions.store.invite(id, &new).await? {
        Some(invite) => Ok((StatusCode::CREATED, Json(FreshInvite::new(&url, &token, invite)))),
        None => Err(sessions.closed(&access.session).await),
    }
}

/// The invites of a session, the newest first, without their tokens. For hosts and the service.
#[utoipa::path(
    get, path = "/v1/reading-sessions/{id}/invites", tag = "invites",
    params(("id" = SessionId, Path, description = "The session"), Listing),
    responses(
        (status = OK, description = "A page of the invites, also revoked ones", body = Page<ShownInvite>),
        (status = NOT_FOUND, description = "`session_not_found`"),
    ),
)]
pub async fn list(
    State(sessions): State<Sessions>,
    caller: Caller,
    Ids(id): Ids<SessionId>,
    Filter(listing): Filter<Listing>,
) -> Result<Json<Page<ShownInvite>>, Refusal> {
    let access = sessions.host(&caller, id).await?;
    let place = |invite: &Invite| Cursor { at: invite.created_at, id: invite.id.0 };
    let read = |after, rows| sessions.store.invites(access.viewer, id, after, rows);
    listing.asked()?.read_page(read, place).await
}

/// Revokes an invite: it admits no more people; participants who joined by it stay. For hosts and the service.
#[utoipa::path(
    delete, path = "/v1/reading-sessions/{id}/invites/{invite_id}", tag = "invites",
    params(
        ("id" = SessionId, Path, description = "The session"),
        ("invite_id" = InviteId, Path, description = "The invite"),
    ),
    responses(
        (status = NO_CONTENT, description = "Revoked"),
        (status = NOT_FOUND, description = "`session_not_found`; `invite_not_found`, also for one that was revoked before"),
    ),
)]
pub async fn revoke(
    State(sessions): State<Sessions>,
    caller: Caller,
    Ids((id, invite)): Ids<(SessionId, InviteId)>,
) -> Result<StatusCode, Refusal> {
    sessions.host(&caller, id).await?;
    match sessions.store.revoke_invite(id, invite).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Refusal::new(Code::InviteNotFound, "There is no such invite to revoke in this session.")),
    }
}

/// What the holder of an invite sees of its session.
#[derive(Serialize, ToSchema)]
pub struct InvitedSession {
    id: SessionId,
    #[schema(required)]
    title: Option<String>,
    occupancy: usize,
}

/// What a link opens.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "session": {"id": "0193a1b2-0000-7000-8000-000000000001", "title": "Emma, chapter one", "occupancy": 3},
    "expires_at": "2026-11-21T10:42:00.000Z",
}))]
pub struct Inspected {
    session: InvitedSession,
    /// When the link expires: the invite's own end, or the session's where that is sooner.
    expires_at: Timestamp,
}

/// What an invite opens, or why it is dead; for a person who holds the link and has not joined yet.
#[utoipa::path(
    get, path = "/v1/invites/{token}", tag = "invites",
    security(()),
    params(("token" = String, Path, description = "The token of the link", min_length = 1,
        example = "lsi_0123456789abcdefghijklmnopqrstuv")),
    responses(
        (status = OK, description = "The session that it opens", body = Inspected),
        (status = NOT_FOUND, description = "`invite_not_found`"),
        (status = GONE, description = "`invite_expired`: past its end, used up, revoked, or its session is over"),
        (status = TOO_MANY_REQUESTS, description = "`rate_limited`"),
    ),
)]
pub async fn inspect(
    State(app): State<App>,
    State(sessions): State<Sessions>,
    Address(address): Address,
    token: Result<Path<String>, PathRejection>,
) -> Result<Json<Inspected>, Refusal> {
    // A text that is not valid UTF-8 is no token, and is refused like an unknown one.
    let token = token.map(|Path(token)| token).unwrap_or_default();
    app.rates.arrive(Network::of(address), Arrival::Known)?;
    let found = sessions.store.inspect_invite(&InviteToken::presented(token).sha256()).await?;
    match found {
        Inspection::Open { session: id, title, expires_at } => {
            let occupancy = sessions.registry.find(id).map_or(0, |room| room.occupancy());
            let session = InvitedSession { id, title, occupancy };
            Ok(Json(Inspected { session, expires_at: Timestamp(expires_at) }))
        }
        Inspection::Dead(fault) => Err(dead_invite(fault, sessions.store.idle())),
        Inspection::Unknown => Err(Code::InviteNotFound.into()),
    }
}
