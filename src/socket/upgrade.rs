//! From an HTTP request to a connection: handshake, origin, limits, admission, upgrade.
//!
//! An invalid request is refused in HTTP. A refusal of admission is sent after the upgrade, since a
//! browser cannot read the status of a failed handshake; a client that accepts problem documents gets it
//! as one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use utoipa::IntoParams;
use uuid::Uuid;

use super::connection::{self, Entered, Held};
use super::device::device;
use super::frame::Decoder;
use super::http_stream::HttpStream;
use super::transport::Transport;
use crate::admission::rates::Arrival;
use crate::admission::{Admission, Credentials, join_refusal};
use crate::app::App;
use crate::domain::ids::SessionId;
use crate::domain::participant::Standing;
use crate::domain::reading_session::CloseReason;
use crate::domain::user_session::Device;
use crate::identity::client_address::{Network, client_address};
use crate::protocol::problem::MEDIA_TYPE;
use crate::protocol::v1::SUBPROTOCOL;
use crate::protocol::{Code, Refusal, name};

/// The remote address of a request's TCP connection, put there by the accept loop.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Put into a response after which its connection carries no plain HTTP any more: it holds a permit of its own.
#[derive(Clone, Copy, Debug)]
pub struct Permitted;

/// The query of the WebSocket's address.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WsQuery {
    /// An invite token: admits a person who is not yet in the session.
    invite: Option<String>,
    /// Display name; needed for a guest. A user's default is the JWT's `name`.
    #[param(min_length = 1, max_length = 80)]
    name: Option<String>,
    /// The resume token of an earlier `welcome`: come back as the same participant.
    resume: Option<String>,
    /// For the user session that the connection belongs to.
    platform: Option<String>,
    /// The id that the client made for its user session.
    #[param(min_length = 1, max_length = 128)]
    client_session: Option<String>,
}

/// Subprotocols that carry a credential, since a browser cannot set headers on a WebSocket.
const BEARER: &str = "lastseen.bearer.";
const RESUME: &str = "lastseen.resume.";

/// The WebSocket of a person in a reading session, `lastseen.v1`. Refusals of admission are sent after
/// the upgrade, or as a problem document to a client that sends `Accept: application/problem+json`.
///
/// # Errors
/// An invalid request; and every refusal for a client that accepts problem documents.
#[utoipa::path(
    get, path = "/v1/reading-sessions/{id}/ws", tag = "reading sessions",
    security((), ("bearer" = [])),
    params(("id" = SessionId, Path, description = "The session"), WsQuery),
    responses(
        (status = SWITCHING_PROTOCOLS, description = "Frames from here on: docs/reference/PROTOCOL.md"),
        (status = UPGRADE_REQUIRED, description = "`invalid_request`: not a WebSocket handshake"),
    ),
)]
pub async fn upgrade(
    State(app): State<App>,
    id: Result<Path<String>, PathRejection>,
    mut request: Request,
) -> Result<Response, Refusal> {
    // An id that is not UTF-8 is refused like one that does not exist.
    let id = id.map(|Path(id)| id).unwrap_or_default();
    let UpgradeRequest { accept, address, held } = UpgradeRequest::check(&app, &request)?;
    let admitted = admit(&app, AdmissionRequest::read(&id, &request, address)).await;
    let (response, upgrading) = respond(&mut request, &accept, &admitted)?;
    tokio::spawn(async move {
        if let Some(upgraded) = upgraded(upgrading).await {
            start(app, upgraded, admitted, held).await;
        }
    });
    Ok(response)
}

/// A valid handshake, within the limits of connections.
pub(super) struct UpgradeRequest {
    pub accept: String,
    pub address: IpAddr,
    pub held: Held,
}

impl UpgradeRequest {
    /// Checks what every WebSocket of the server must have before its credentials are looked at.
    ///
    /// # Errors
    /// What is wrong with the handshake, its origin, or the number of connections and how fast they come.
    pub(super) fn check(app: &App, request: &Request) -> Result<Self, Refusal> {
        let accept = handshake(request)?;
        if !app.origins.allow(request.headers()) {
            return Err(Code::OriginNotAllowed.into());
        }
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip()).ok_or(Code::Internal)?;
        let address = client_address(peer, request.headers(), &app.trusted_proxies);
        let network = Network::of(address);
        app.rates.arrive(network, arrival(request))?;
        let held = Held { permit: app.limits.take(network)?, token: app.tracker.token() };
        Ok(Self { accept, address, held })
    }
}

/// The answer to a handshake, and the upgrade that follows it: also for a client that is refused, where it
/// can read a refusal only after the upgrade.
///
/// # Errors
/// The refusal, where the client can read it here.
pub(super) fn respond<T>(
    request: &mut Request,
    accept: &str,
    admitted: &Result<T, Refusal>,
) -> Result<(Response, OnUpgrade), Refusal> {
    if let Err(refusal) = admitted
        && (refusal.code == Code::Draining || wants_problem(request.headers()))
    {
        return Err(refusal.clone());
    }
    let response = switching(accept, offered(request.headers()).any(|protocol| protocol == SUBPROTOCOL));
    let upgrading = request.extensions_mut().remove::<OnUpgrade>().ok_or(Code::Internal)?;
    Ok((response, upgrading))
}

async fn start(app: App, Upgraded { transport, decoder }: Upgraded, admitted: Result<Admitted, Refusal>, held: Held) {
    let transport = Arc::new(transport);
    let entered = match admitted {
        Ok(admitted) => admitted.join(&transport, &app).await,
        Err(refusal) => Err(refusal),
    };
    match entered {
        Ok((entered, device)) => connection::start(app, transport, decoder, entered, device, held).await,
        Err(refusal) => connection::refuse(&app, &transport, refusal).await,
    }
}

/// What a client shows to be admitted to a session.
struct AdmissionRequest {
    session: SessionId,
    credentials: Credentials,
    /// The user session that it belongs to.
    device: Option<Device>,
}

impl AdmissionRequest {
    fn read(id: &str, request: &Request, address: IpAddr) -> Result<Self, Refusal> {
        let session = Uuid::parse_str(id).map(SessionId).map_err(|_| Code::SessionNotFound)?;
        let headers = request.headers();
        let Query(query) = Query::<WsQuery>::try_from_uri(request.uri())
            .map_err(|_| Refusal::invalid("query", "must hold each key at most once"))?;
        let device = device(query.platform.as_deref(), query.client_session.as_deref(), headers, address)?;
        let credentials = Credentials {
            resume: query.resume.or_else(|| by_protocol(headers, RESUME).map(str::to_owned)),
            bearer: shown_bearer(headers).map(str::to_owned),
            invite: query.invite,
            name: query.name.as_deref().map(name::display_name).transpose()?,
        };
        Ok(Self { session, credentials, device })
    }
}

/// An admission, with its request: it is made again where the room is closed before the upgrade is done.
struct Admitted {
    admission: Admission,
    request: AdmissionRequest,
}

impl Admitted {
    /// Joins. Where the room changed since the admission, it asks for another one, once.
    async fn join(self, transport: &Arc<Transport>, app: &App) -> Result<(Entered, Option<Device>), Refusal> {
        let Self { admission, request: AdmissionRequest { session, credentials, device } } = self;
        let is_observer = admission.is_observer();
        let entered = match connection::join(transport, app, admission) {
            Ok(entered) => entered,
            Err(_) => {
                let admission = app.admissions.admit(session, &credentials).await?;
                connection::join(transport, app, admission).map_err(join_refusal)?
            }
        };
        if is_observer {
            close_if_over(app, session).await;
        }
        Ok((entered, device))
    }
}

/// Closes the room of a session that is over. Observers are admitted by what they read, without a lock: the session may
/// have been closed before their room was there. Whatever closes it from now on finds the room.
async fn close_if_over(app: &App, session: SessionId) {
    let reason = match app.store.standing(session, None).await {
        Ok(Standing::Closed(reason)) => reason,
        Ok(Standing::Gone) => CloseReason::Admin,
        // The audit looks again, where the database is away.
        Ok(Standing::Good | Standing::Removed) | Err(_) => return,
    };
    app.registry.close(session, reason);
}

async fn admit(app: &App, request: Result<AdmissionRequest, Refusal>) -> Result<Admitted, Refusal> {
    let request = request?;
    let started = tokio::time::Instant::now();
    let admission = app.admissions.admit(request.session, &request.credentials).await;
    app.metrics.admission_seconds.observe(started.elapsed().as_secs_f64());
    Ok(Admitted { admission: admission?, request })
}

/// What a handshake costs, by what it shows. A credential that is no good is refused without a question to the
/// database, also where an invite comes along.
fn arrival(request: &Request) -> Arrival {
    let headers = request.headers();
    let keys = request.uri().query().into_iter().flat_map(|query| query.split('&'));
    let is_known = shown_bearer(headers).is_some()
        || by_protocol(headers, RESUME).is_some()
        || keys.into_iter().any(|pair| pair.starts_with("resume="));
    if is_known { Arrival::Known } else { Arrival::Stranger }
}

/// The Bearer token of a request.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The Bearer token of a handshake: from the header, else from a subprotocol.
pub(super) fn shown_bearer(headers: &HeaderMap) -> Option<&str> {
    bearer(headers).or_else(|| by_protocol(headers, BEARER))
}

/// What follows this prefix among the subprotocols.
fn by_protocol<'a>(headers: &'a HeaderMap, prefix: &str) -> Option<&'a str> {
    offered(headers).find_map(|protocol| protocol.strip_prefix(prefix))
}

/// The subprotocols that the client offers.
fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// Whether the client accepts a refusal as an HTTP answer.
fn wants_problem(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains(MEDIA_TYPE))
}

/// Checks the handshake of RFC 6455, section 4.2.1, and gives `Sec-WebSocket-Accept`.
fn handshake(request: &Request) -> Result<String, Refusal> {
    let headers = request.headers();
    let has = |name, word: &str| {
        headers
            .get_all(name)
            .into_iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|item| item.trim().eq_ignore_ascii_case(word))
    };
    if !has(header::UPGRADE, "websocket") || !has(header::CONNECTION, "upgrade") {
        return Err(Code::UpgradeRequired.into());
    }
    if request.version() < Version::HTTP_11 {
        return Err(Refusal::new(Code::BadRequest, "HTTP/1.0 has no upgrades: use HTTP/1.1."));
    }
    if !has(header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(Refusal::new(Code::BadRequest, "Only version 13 of the WebSocket protocol is spoken here."));
    }
    match headers.get(header::SEC_WEBSOCKET_KEY) {
        Some(key) if key.len() == 24 => Ok(derive_accept_key(key.as_bytes())),
        _ => Err(Refusal::new(Code::BadRequest, "Sec-WebSocket-Key is missing or has the wrong length.")),
    }
}

fn switching(accept: &str, speaks_v1: bool) -> Response {
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    response.extensions_mut().insert(Permitted);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(accept).expect("base64 is a header value"));
    if speaks_v1 {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    response
}

/// The bare TCP stream, taken back from hyper, and what the client sent before the answer.
pub(super) async fn upgraded(on_upgrade: OnUpgrade) -> Option<Upgraded> {
    let parts = on_upgrade.await.ok()?.downcast::<TokioIo<HttpStream>>().ok()?;
    let decoder = Decoder::after(parts.read_buf.to_vec());
    Some(Upgraded { transport: Transport::new(parts.io.into_inner().into_inner()), decoder })
}

/// A stream that is a WebSocket from here on.
pub(super) struct Upgraded {
    pub transport: Transport,
    /// Holds what hyper has read after the handshake.
    pub decoder: Decoder,
}
