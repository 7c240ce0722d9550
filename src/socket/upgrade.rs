//! From an HTTP request to a connection: limits, origin, admission, upgrade.
//!
//! What is wrong with the request itself is answered in HTTP. What admission says is told after the
//! upgrade, since a browser cannot read the status of a failed handshake; a client that asks for
//! problems gets the same refusal as one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use utoipa::IntoParams;
use uuid::Uuid;

use super::Sockets;
use super::connection::{self, Entered, Held};
use super::device::device;
use super::frame::Decoder;
use super::line::Line;
use super::member::Member;
use crate::admission::{Admission, Credentials, join_refusal};
use crate::identity::client_address::client_address;
use crate::ids::SessionId;
use crate::protocol::problem::MEDIA_TYPE;
use crate::protocol::v1::SUBPROTOCOL;
use crate::protocol::{Code, Refusal, name};
use crate::user_session::Device;

/// The address at the other end of a request's TCP connection, put there by the accept loop.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// The query of the WebSocket's address.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WsQuery {
    /// An invite token: opens the session to whoever is not yet in it.
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

/// The WebSocket of a person in a reading session, `lastseen.v1`. Refusals of admission are told after
/// the upgrade, or as a problem to whoever sends `Accept: application/problem+json`.
///
/// # Errors
/// What is wrong with the request itself; and every refusal for a client that asks for problems.
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
    State(sockets): State<Arc<Sockets>>,
    id: Result<Path<String>, PathRejection>,
    mut request: Request,
) -> Result<Response, Refusal> {
    // What is no text is no id either, and is refused as one that nobody has.
    let id = id.map(|Path(id)| id).unwrap_or_default();
    let Knock { accept, address, held } = knock(&sockets, &request)?;
    let shown = shown(&request, address);
    let admitted = admit(&sockets, &id, shown).await;
    let (response, upgrading) = answer(&mut request, &accept, &admitted)?;
    tokio::spawn(async move {
        if let Some(upgraded) = upgraded(upgrading).await {
            start(sockets, upgraded, admitted, held).await;
        }
    });
    Ok(response)
}

/// A handshake in good order, from somebody who may have one connection more.
pub(super) struct Knock {
    pub accept: String,
    pub address: IpAddr,
    pub held: Held,
}

/// What every WebSocket of the server asks before it looks at who comes.
///
/// # Errors
/// What is wrong with the request itself, its origin, or the number of connections.
pub(super) fn knock(sockets: &Sockets, request: &Request) -> Result<Knock, Refusal> {
    let accept = handshake(request)?;
    if !sockets.origins.allow(request.headers()) {
        return Err(Code::OriginNotAllowed.into());
    }
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip()).ok_or(Code::Internal)?;
    let address = client_address(peer, request.headers(), &sockets.trusted_proxies);
    let held = Held { permit: sockets.limits.take(address)?, token: sockets.tracker.token() };
    Ok(Knock { accept, address, held })
}

/// The answer to a handshake, and what becomes the line by it: also for somebody who is refused, since a
/// browser can only be told after the upgrade.
///
/// # Errors
/// The refusal, for those who can read it here.
pub(super) fn answer<T>(
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

async fn start(
    sockets: Arc<Sockets>,
    Upgraded { line, decoder }: Upgraded,
    admitted: Result<Admittance, Refusal>,
    held: Held,
) {
    let member = Arc::new(Member::new(line, Arc::clone(&sockets)));
    let entered = match admitted {
        Ok(admittance) => admittance.enter(&member, &sockets).await,
        Err(refusal) => Err(refusal),
    };
    match entered {
        Ok((entered, device)) => connection::start(sockets, member, decoder, entered, device, held).await,
        Err(refusal) => connection::refuse(&sockets, member.line(), refusal).await,
    }
}

/// An admission, and what to show again where the room is closed before the upgrade is done.
struct Admittance {
    admission: Admission,
    session: SessionId,
    credentials: Credentials,
    device: Option<Device>,
}

impl Admittance {
    /// Joins; a room that was closed in between sends us back to admission, once.
    async fn enter(self, member: &Arc<Member>, sockets: &Sockets) -> Result<(Entered, Option<Device>), Refusal> {
        let mut admission = self.admission;
        for last_try in [false, true] {
            match connection::enter(member, sockets, admission) {
                Ok(entered) => return Ok((entered, self.device)),
                Err(error) if last_try => return Err(join_refusal(error)),
                Err(_) => admission = sockets.admissions.admit(self.session, &self.credentials).await?,
            }
        }
        Err(Code::Internal.into())
    }
}

async fn admit(sockets: &Sockets, id: &str, shown: Result<Shown, Refusal>) -> Result<Admittance, Refusal> {
    let started = tokio::time::Instant::now();
    let session = Uuid::parse_str(id).map(SessionId).map_err(|_| Code::SessionNotFound)?;
    let (credentials, device) = shown?;
    let admission = sockets.admissions.admit(session, &credentials).await;
    sockets.metrics.admission_seconds.observe(started.elapsed().as_secs_f64());
    Ok(Admittance { admission: admission?, session, credentials, device })
}

/// What a request shows: a way in, and which user session it belongs to.
type Shown = (Credentials, Option<Device>);

fn shown(request: &Request, address: IpAddr) -> Result<Shown, Refusal> {
    let Query(query) = Query::<WsQuery>::try_from_uri(request.uri())
        .map_err(|_| Refusal::invalid("query", "must hold each key at most once"))?;
    let device = device(query.platform.as_deref(), query.client_session.as_deref(), request.headers(), address)?;
    let resume = || by_protocol(request.headers(), RESUME).map(str::to_owned);
    let credentials = Credentials {
        resume: query.resume.or_else(resume),
        bearer: shown_bearer(request.headers()).map(str::to_owned),
        invite: query.invite,
        name: query.name.as_deref().map(name::display_name).transpose()?,
    };
    Ok((credentials, device))
}

/// The Bearer token of a request.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The Bearer token of a handshake: of the header, else of a subprotocol.
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

/// Whether the client would rather read a refusal as an HTTP answer.
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
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(accept).expect("base64 is a header value"));
    if speaks_v1 {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    response
}

/// The bare TCP stream, taken back from hyper, and what the client sent ahead of our answer.
pub(super) async fn upgraded(on_upgrade: OnUpgrade) -> Option<Upgraded> {
    let parts = on_upgrade.await.ok()?.downcast::<TokioIo<TcpStream>>().ok()?;
    let decoder = Decoder::after(parts.read_buf.to_vec());
    Some(Upgraded { line: Line::new(parts.io.into_inner()), decoder })
}

/// A stream that is a WebSocket from here on.
pub(super) struct Upgraded {
    pub line: Line,
    /// Holds what was read too early.
    pub decoder: Decoder,
}
