//! `/v1/reading-sessions/{id}/events`: the frames of a session as Server-Sent Events.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{FromRef, State};
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::access::{Access, Sessions};
use super::extract::{Address, Ids, StreamQuery};
use crate::admission::join_refusal;
use crate::admission::rates::Arrival;
use crate::app::App;
use crate::domain::ids::{ParticipantId, SessionId};
use crate::identity::client_address::Network;
use crate::identity::{Caller, jwt};
use crate::protocol::Refusal;
use crate::protocol::v1::Session;
use crate::room::JoinError;
use crate::socket::device::{attach, device};
use crate::socket::sse::{self, Cut, QueuedWatch, SseSubscriber};
use crate::socket::upgrade::Permitted;
use crate::user_session::Wire;

/// Sent by a client that reconnects: the id of the last event that it received.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Tracked {
    /// For user-session tracking: `web`, `ios-external`, `ios-internal`, `ios-widget` or `macos-internal`.
    platform: Option<String>,
    /// A client-made id of the user session.
    #[param(min_length = 1, max_length = 128)]
    client_session: Option<String>,
}

/// The events of a session, as Server-Sent Events: the frames that an observer receives on a WebSocket, under
/// the name of their type (a refusal as `refusal`), with `seq` as their id. The subscriber is not shown as present.
#[utoipa::path(
    get, path = "/v1/reading-sessions/{id}/events", tag = "reading sessions",
    params(
        ("id" = SessionId, Path),
        ("Last-Event-ID" = Option<String>, Header, description = "Begins with `state` instead of `welcome`"),
        Tracked,
    ),
    responses(
        (status = OK, content_type = "text/event-stream", body = String, description = "A stream without end",
         example = "event: occupancy\nid: 58\ndata: {\"type\":\"occupancy\",\"seq\":58,\"occupancy\":812}\n\n"),
        (status = FORBIDDEN, description = "`removed`, `forbidden`"),
        (status = NOT_FOUND, description = "`session_not_found`"),
        (status = GONE, description = "`session_closed`"),
    ),
)]
pub async fn follow(
    State(app): State<App>,
    caller: Caller,
    Address(address): Address,
    Extension(cut): Extension<Cut>,
    Ids(id): Ids<SessionId>,
    StreamQuery(query): StreamQuery<Tracked>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let device = device(query.platform.as_deref(), query.client_session.as_deref(), &headers, address)?;
    let network = Network::of(address);
    app.rates.arrive(network, Arrival::Known)?;
    let permit = app.limits.take(network)?;
    let access = Sessions::from_ref(&app).access(&caller, id).await?;
    let participant = participant(&app, &caller, id).await?;
    let watch = subscribe(&app, &access, participant)?;
    // Checked after subscribing: a removal from now on is an event.
    let standing = app.store.standing(id, participant).await?;
    if let Some(refusal) = sse::standing_refusal(standing) {
        return Err(refusal);
    }
    let expires_at = match caller {
        Caller::User { expires_at, .. } | Caller::Service { expires_at } => Some(jwt::deadline(expires_at, &app.clock)),
        Caller::Guest(_) | Caller::Anonymous => None,
    };
    let attachment = match (&caller, device) {
        (Caller::User { subject, .. }, Some(device)) => Some(attach(&app, subject.id(), device, Wire::Stream).await),
        _ => None,
    };
    let subscriber = SseSubscriber { permit, cut, participant, expires_at, attachment: None };
    let session = (!headers.contains_key(LAST_EVENT_ID)).then(|| Session::of(&access.session, app.store.idle()));
    let events = sse::response(app.clone(), subscriber, attachment, watch, session.as_ref());
    // A stream is the last answer of its connection, which does not count as plain HTTP from here on.
    Ok((Extension(Permitted::Stream), [(header::CONNECTION, "close")], events).into_response())
}

/// Subscribes to the room, which is opened where it is not in memory.
fn subscribe(app: &App, access: &Access, participant: Option<ParticipantId>) -> Result<QueuedWatch, Refusal> {
    if let Some(reason) = access.session.close_reason() {
        return Err(Refusal::closed(reason));
    }
    let subscribe = || {
        QueuedWatch::subscribe(Arc::clone(&app.metrics), participant, |subscriber| {
            app.registry.open(access.session.clone()).watch(subscriber)
        })
    };
    // A room that left memory in this moment is opened again.
    subscribe()
        .or_else(|error| if error == JoinError::Retired { subscribe() } else { Err(error) })
        .map_err(join_refusal)
}

/// The participant whose removal ends the stream.
async fn participant(app: &App, caller: &Caller, session: SessionId) -> Result<Option<ParticipantId>, Refusal> {
    match caller {
        Caller::Guest(claims) => Ok(Some(ParticipantId(claims.participant))),
        Caller::User { subject, .. } => Ok(app.store.participant_of(session, subject.id()).await?),
        Caller::Service { .. } | Caller::Anonymous => Ok(None),
    }
}
