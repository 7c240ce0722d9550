//! `GET /v1/admin/ws`: the figures of the server, live, for the service role alone.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use tokio::sync::watch::Receiver;
use tokio::time::sleep_until;

use super::connection::{self, Held};
use super::end::{Closed, End};
use super::frame::{Decoder, FrameBatch, Incoming};
use super::inbound::{Inbound, Received};
use super::refused;
use super::renewal::{Holder, Renewal};
use super::transport::{Transport, decode};
use super::upgrade::{UpgradeRequest, Upgraded, respond, shown_bearer, upgraded};
use crate::app::App;
use crate::clock::Moment;
use crate::identity::{Caller, jwt};
use crate::protocol::v1::ClientFrame;
use crate::protocol::{Code, Refusal};
use crate::room::{Gone, Text};

/// The figures of this server over a WebSocket: those of the last hour, then once a second.
///
/// # Errors
/// An invalid request; and every refusal for a client that accepts problem documents.
#[utoipa::path(
    get, path = "/v1/admin/ws", tag = "operators",
    security((), ("bearer" = [])),
    responses(
        (status = SWITCHING_PROTOCOLS, description = "A frame `history`, then frames `stats`: docs/reference/PROTOCOL.md"),
        (status = UPGRADE_REQUIRED, description = "`invalid_request`: not a WebSocket handshake"),
    ),
)]
pub async fn figures(State(app): State<App>, mut request: Request) -> Result<Response, Refusal> {
    let UpgradeRequest { accept, held, .. } = UpgradeRequest::check(&app, &request)?;
    let admitted = admit(&app, shown_bearer(request.headers())).await;
    let (response, upgrading, admitted) = respond(&app, &mut request, &accept, admitted, &held)?;
    tokio::spawn(async move {
        if let Some(upgraded) = upgraded(upgrading).await {
            match admitted {
                Ok(expires_at) => serve(app, upgraded, expires_at, held).await,
                Err((refusal, delay)) => refused::refuse(app, Arc::new(upgraded.transport), refusal, delay, held).await,
            }
        }
    });
    Ok(response)
}

/// When the credential expires, where it is good for this.
async fn admit(app: &App, bearer: Option<&str>) -> Result<Moment, Refusal> {
    if app.figures.is_draining() {
        return Err(Code::Draining.into());
    }
    match app.admissions.keys().caller(bearer).await? {
        Caller::Service { expires_at } => Ok(jwt::deadline(expires_at, &app.clock)),
        Caller::Anonymous => Err(Code::Unauthenticated.into()),
        Caller::User { .. } | Caller::Guest(_) => {
            Err(Refusal::new(Code::Forbidden, "Only the service role may watch the server."))
        }
    }
}

async fn serve(app: App, upgraded: Upgraded, expires_at: Moment, _held: Held) {
    let Upgraded { transport, mut decoder } = upgraded;
    let started = app.clock.now();
    let (history, frames) = app.figures.watch();
    let mut greeting = FrameBatch::default();
    history.iter().for_each(|frame| greeting.text(frame));
    transport.write(greeting);
    let mut inbound = Inbound::new(&app, Some(expires_at), false, started);
    let end = run(&app, &transport, &mut decoder, &mut inbound, frames).await;
    app.metrics.connection_ends(end.word()).inc();
    let seconds = app.clock.now().since(started).as_secs_f64();
    let (close_code, close_reason) = (end.closed().map(Closed::code), end.closed().and_then(Closed::reason));
    tracing::info!(reason = end.word(), close_code, close_reason, seconds, "a connection to the figures ended");
    connection::close(&transport, &end).await;
}

async fn run(
    app: &App,
    transport: &Transport,
    decoder: &mut Decoder,
    inbound: &mut Inbound,
    mut frames: Receiver<Text>,
) -> End {
    let (mut out, mut renewals, mut is_due) = (FrameBatch::default(), Vec::new(), false);
    let max = inbound.max_message_bytes(app);
    let mut turn = decode(decoder, &mut [], max, |incoming| receive(app, inbound, incoming, &mut renewals, &mut out));
    loop {
        for renewal in renewals.drain(..) {
            out.text(&renewal.answer(app, Some(Holder::Service), inbound).await);
        }
        // After the answers: a fresh JWT may have come in time.
        if turn.is_ok() && std::mem::take(&mut is_due) {
            turn = inbound.check(app, &mut out).map(drop);
        }
        transport.write(std::mem::take(&mut out));
        if let Err(end) = transport.flush(app.connection.write_timeout).await.and(turn) {
            return end;
        }
        turn = tokio::select! {
            () = transport.readable() => {
                transport.receive(decoder, max, |incoming| receive(app, inbound, incoming, &mut renewals, &mut out))
            }
            changed = frames.changed() => match changed {
                Ok(()) => {
                    out.text(&frames.borrow_and_update());
                    Ok(())
                }
                Err(_) => Err(Gone::Draining.into()),
            },
            () = sleep_until(inbound.deadline(app)) => {
                is_due = true;
                transport.receive_now(decoder, max, |incoming| receive(app, inbound, incoming, &mut renewals, &mut out))
            }
            () = app.figures.drained() => Err(Gone::Draining.into()),
        };
    }
}

/// Takes one message of the client. It may send `beat`, `token` and `leave`.
fn receive(
    app: &App,
    inbound: &mut Inbound,
    incoming: Incoming<'_>,
    renewals: &mut Vec<Renewal>,
    out: &mut FrameBatch,
) -> Result<(), End> {
    let Received::Frame(frame) = inbound.receive(app, incoming, app.clock.now(), out)? else {
        return Ok(());
    };
    match frame {
        ClientFrame::Beat { reference, .. } => out.text(&app.frames.beat(reference)),
        ClientFrame::Token { reference, token } => renewals.push(Renewal { reference, token }),
        ClientFrame::Leave => return Err(End::Left),
        _ => {}
    }
    Ok(())
}
