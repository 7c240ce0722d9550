//! From an HTTP request to a connection: handshake (`handshake`), origin, limits, admission, upgrade.
//!
//! An invalid request is refused in HTTP. A refusal of admission is sent after the upgrade, since a
//! browser cannot read the status of a failed handshake; a client that accepts problem documents gets it
//! as one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::connection::{self, Entered, Held};
use super::device::device;
use super::frame::Decoder;
use super::handshake::{self, BEARER, RESUME, by_protocol};
use super::http_stream::HttpStream;
use super::refused;
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
use crate::protocol::{Code, Refusal, name};

/// The remote address of a request's TCP connection, put there by the accept loop.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Put into a response after which its connection carries no plain HTTP any more: it holds a permit of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permitted {
    /// A WebSocket, which is taken from HTTP.
    Socket,
    /// A stream of events, which stays an answer.
    Stream,
}

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
    let (response, upgrading, admitted) = respond(&app, &mut request, &accept, admitted, &held)?;
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
        Self::checked(app, request).inspect_err(|refusal| app.refusal_log.note(refusal, request.headers()))
    }

    fn checked(app: &App, request: &Request) -> Result<Self, Refusal> {
        let accept = handshake::check(request)?;
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

/// What is decided of a client that is upgraded: a refusal comes with how long its Close waits.
type Decided<T> = Result<T, (Refusal, Duration)>;

/// The answer to a handshake, and the upgrade that follows it: also for a client that is refused, where it
/// can read a refusal only after the upgrade.
///
/// # Errors
/// The refusal, where the client can read it here, or was refused too often after the upgrade.
pub(super) fn respond<T>(
    app: &App,
    request: &mut Request,
    accept: &str,
    admitted: Result<T, Refusal>,
    held: &Held,
) -> Result<(Response, OnUpgrade, Decided<T>), Refusal> {
    let admitted = match admitted {
        Ok(admitted) => Ok(admitted),
        Err(refusal) => {
            let is_readable = refusal.code == Code::Draining || wants_problem(request.headers());
            let delay = if is_readable { Err(refusal.clone()) } else { refused::delay(app, &refusal, held) };
            let delay = delay.inspect_err(|refusal| app.refusal_log.note(refusal, request.headers()))?;
            Err((refusal, delay))
        }
    };
    let mut response = handshake::switching(accept, request.headers());
    response.extensions_mut().insert(Permitted::Socket);
    let upgrading = request.extensions_mut().remove::<OnUpgrade>().ok_or(Code::Internal)?;
    Ok((response, upgrading, admitted))
}

async fn start(app: App, Upgraded { transport, decoder }: Upgraded, admitted: Decided<Admitted>, held: Held) {
    let transport = Arc::new(transport);
    let entered = match admitted {
        // What changed since the admission is no fault of the client's.
        Ok(admitted) => admitted.join(&transport, &app).await.map_err(|refusal| (refusal, Duration::ZERO)),
        Err(refused) => Err(refused),
    };
    match entered {
        Ok((entered, device)) => connection::start(app, transport, decoder, entered, device, held).await,
        Err((refusal, delay)) => refused::refuse(app, transport, refusal, delay, held).await,
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
        // Forms and templates send an empty one where they have none.
        let name = query.name.as_deref().filter(|name| !name.is_empty());
        let credentials = Credentials {
            resume: shown_resume(headers, query.resume.as_deref()).map(str::to_owned),
            bearer: shown_bearer(headers).map(str::to_owned),
            invite: query.invite.as_deref().filter(|token| is_token(token)).map(str::to_owned),
            name: name.map(name::display_name).transpose()?,
        };
        Ok(Self { session, credentials, device })
    }
}

/// Whether this is a token, good or bad, and not what a template makes of none.
fn is_token(text: &str) -> bool {
    !matches!(text, "" | "null" | "undefined")
}

/// The resume token of a handshake: from the query, else from a subprotocol.
fn shown_resume<'a>(headers: &'a HeaderMap, query: Option<&'a str>) -> Option<&'a str> {
    let is_token = |token: &&str| is_token(token);
    query.filter(is_token).or_else(|| by_protocol(headers, RESUME).filter(is_token))
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
    let mut keys = request.uri().query().into_iter().flat_map(|query| query.split('&'));
    let is_known = shown_bearer(headers).is_some()
        || shown_resume(headers, keys.find_map(|pair| pair.strip_prefix("resume="))).is_some();
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

/// Whether the client accepts a refusal as an HTTP answer.
fn wants_problem(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains(MEDIA_TYPE))
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
