//! The user session that a connection belongs to, by its request.

use std::net::IpAddr;

use axum::http::{HeaderMap, header};

use crate::app::App;
use crate::domain::ids::UserId;
use crate::domain::user_session::{Device, MAX_USER_AGENT_CHARS};
use crate::identity::client_address::masked;
use crate::protocol::{Refusal, name};
use crate::store::StoreError;
use crate::store::user_sessions::UserSessionError;
use crate::user_session::{Attachment, Wire};

/// The device that a request describes: it needs both a platform and a session.
///
/// # Errors
/// `invalid_request` where one of them is invalid.
pub fn device(
    platform: Option<&str>,
    client_session: Option<&str>,
    headers: &HeaderMap,
    address: IpAddr,
) -> Result<Option<Device>, Refusal> {
    let platform = platform.map(|word| name::word("platform", word)).transpose()?;
    let session = client_session.map(|id| name::client_session("client_session", id)).transpose()?;
    Ok(platform.zip(session).map(|(platform, session)| Device {
        session,
        platform,
        user_agent: user_agent(headers),
        network: masked(address),
    }))
}

/// What is kept of the User-Agent.
pub fn user_agent(headers: &HeaderMap) -> Option<String> {
    let agent = String::from_utf8_lossy(headers.get(header::USER_AGENT)?.as_bytes()).into_owned();
    Some(agent.chars().take(MAX_USER_AGENT_CHARS).collect())
}

/// Attaches a connection to the user session that it belongs to. Where the database cannot be asked the
/// session is opened by a flush.
///
/// # Errors
/// `session_id_taken`, `session_ended` or `rate_limited`: the connection is attached to nothing.
pub async fn attach(app: &App, user: UserId, device: Device, wire: Wire) -> Result<Attachment, Refusal> {
    app.rates.write_by(user)?;
    let attachment = app.user_sessions.attach(user, device, wire);
    // While the flush fails this would fail as well, and keep the connection waiting.
    if app.write_behind.is_failing() {
        attachment.unanswered();
        return Ok(attachment);
    }
    match app.store.open_user_session(user, attachment.device(), app.user_sessions.rules()).await {
        Ok(()) => {
            attachment.opened();
            Ok(attachment)
        }
        Err(UserSessionError::Store(error)) => {
            if let StoreError::Refused(_) = error {
                tracing::error!(?error, "a user session was not opened");
            }
            attachment.unanswered();
            Ok(attachment)
        }
        Err(refused) => {
            attachment.forget();
            Err(refused.into())
        }
    }
}
