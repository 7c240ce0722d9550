//! The handshake of a WebSocket (RFC 6455, section 4.2): what a request must have, the subprotocols, and the answer.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::protocol::v1::SUBPROTOCOL;
use crate::protocol::{Code, Refusal};

/// Subprotocols that carry a credential, since a browser cannot set headers on a WebSocket.
pub(super) const BEARER: &str = "lastseen.bearer.";
pub(super) const RESUME: &str = "lastseen.resume.";

/// Checks a handshake, and gives `Sec-WebSocket-Accept`.
///
/// # Errors
/// `invalid_request`, which says what is missing.
pub(super) fn check(request: &Request) -> Result<String, Refusal> {
    let headers = request.headers();
    let has = |name, word: &str| {
        headers
            .get_all(name)
            .into_iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|item| item.trim().eq_ignore_ascii_case(word))
    };
    let is_upgrade = has(header::UPGRADE, "websocket") && has(header::CONNECTION, "upgrade");
    let lines = [
        ("Upgrade: websocket", has(header::UPGRADE, "websocket")),
        ("Connection: Upgrade", has(header::CONNECTION, "upgrade")),
        ("Sec-WebSocket-Version", headers.contains_key(header::SEC_WEBSOCKET_VERSION)),
        ("Sec-WebSocket-Key", headers.contains_key(header::SEC_WEBSOCKET_KEY)),
    ];
    let missing: Vec<&str> = lines.iter().filter(|(_, is_there)| !is_there).map(|(line, _)| *line).collect();
    if missing.len() == lines.len() {
        return Err(Code::UpgradeRequired.into());
    }
    if !missing.is_empty() {
        let code = if is_upgrade { Code::BadRequest } else { Code::UpgradeRequired };
        return Err(Refusal::new(code, eaten(&missing, request.version())));
    }
    if request.version() < Version::HTTP_11 {
        return Err(Refusal::new(Code::BadRequest, "HTTP/1.0 has no upgrades: use HTTP/1.1."));
    }
    if !has(header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(Refusal::new(Code::BadRequest, "Only version 13 of the WebSocket protocol is spoken here."));
    }
    subprotocols(headers)?;
    match headers.get(header::SEC_WEBSOCKET_KEY) {
        Some(key) if key.len() == 24 => Ok(derive_accept_key(key.as_bytes())),
        _ => Err(Refusal::new(Code::BadRequest, "Sec-WebSocket-Key has the wrong length: it is 16 bytes in base64.")),
    }
}

/// Says which lines a handshake lacks. A client sends all of them, so a proxy took them out.
fn eaten(missing: &[&str], version: Version) -> String {
    let (lines, version) = (missing.join(", "), if version < Version::HTTP_11 { ", and came as HTTP/1.0" } else { "" });
    format!(
        "The handshake lacks {lines}{version}. A proxy in front of the server has to speak HTTP/1.1 to it and to pass these headers on."
    )
}

/// Checks that a client which offers a credential offers the protocol too: a server has to choose from what is offered,
/// and browsers end a connection on which nothing was chosen.
fn subprotocols(headers: &HeaderMap) -> Result<(), Refusal> {
    let is_credential = |offer: &str| offer.starts_with(BEARER) || offer.starts_with(RESUME);
    match offered(headers).any(is_credential) && !offered(headers).any(|offer| offer == SUBPROTOCOL) {
        true => Err(Refusal::new(Code::BadRequest, "Offer the subprotocol lastseen.v1 beside the one with the token.")),
        false => Ok(()),
    }
}

/// The answer: the protocol is switched.
pub(super) fn switching(accept: &str, request: &HeaderMap) -> Response {
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(accept).expect("base64 is a header value"));
    if offered(request).any(|protocol| protocol == SUBPROTOCOL) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    response
}

/// What follows this prefix among the subprotocols.
pub(super) fn by_protocol<'a>(headers: &'a HeaderMap, prefix: &str) -> Option<&'a str> {
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
