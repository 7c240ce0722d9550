//! `GET /v1/admin/ws`: the figures of the server, live, for the service role alone.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use tokio::sync::watch::Receiver;
use tokio::time::sleep_until;

use super::connection::{self, Held};
use super::end::End;
use super::frame::{Decoder, FrameBatch, Incoming};
use super::inbound::{Inbound, Received};
use super::transport::{Transport, decode};
use super::upgrade::{UpgradeRequest, Upgraded, respond, shown_bearer, upgraded};
use super::{Sockets, Timings};
use crate::clock::Moment;
use crate::identity::{Caller, jwt};
use crate::protocol::v1::{self, ClientFrame};
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
pub async fn figures(State(sockets): State<Arc<Sockets>>, mut request: Request) -> Result<Response, Refusal> {
    let UpgradeRequest { accept, held, .. } = UpgradeRequest::check(&sockets, &request)?;
    let admitted = admit(&sockets, shown_bearer(request.headers())).await;
    let (response, upgrading) = respond(&mut request, &accept, &admitted)?;
    tokio::spawn(async move {
        if let Some(upgraded) = upgraded(upgrading).await {
            match admitted {
                Ok(expires_at) => serve(sockets, upgraded, expires_at, held).await,
                Err(refusal) => connection::refuse(&sockets, &upgraded.transport, refusal).await,
            }
        }
    });
    Ok(response)
}

/// When the credential expires, where it is good for this.
async fn admit(sockets: &Sockets, bearer: Option<&str>) -> Result<Moment, Refusal> {
    if sockets.figures.is_draining() {
        return Err(Code::Draining.into());
    }
    match sockets.admissions.keys().caller(bearer).await? {
        Caller::Service { expires_at } => Ok(jwt::deadline(expires_at, &sockets.clock)),
        Caller::Anonymous => Err(Code::Unauthenticated.into()),
        Caller::User { .. } | Caller::Guest(_) => {
            Err(Refusal::new(Code::Forbidden, "Only the service role may watch the server."))
        }
    }
}

async fn serve(sockets: Arc<Sockets>, upgraded: Upgraded, expires_at: Moment, _held: Held) {
    let Upgraded { transport, mut decoder } = upgraded;
    let started = sockets.clock.now();
    let (history, frames) = sockets.figures.watch();
    transport.write(FrameBatch::of(&history));
    let mut inbound = Inbound::new(&sockets, Some(expires_at), started);
    let end = run(&sockets, &transport, &mut decoder, &mut inbound, frames).await;
    sockets.metrics.connection_ends(end.word()).inc();
    let seconds = sockets.clock.now().since(started).as_secs_f64();
    tracing::info!(reason = end.word(), seconds, "a connection to the figures ended");
    connection::close(&transport, &end).await;
}

async fn run(
    sockets: &Sockets,
    transport: &Transport,
    decoder: &mut Decoder,
    inbound: &mut Inbound,
    mut frames: Receiver<Text>,
) -> End {
    let Timings { max_message_bytes: max, write_timeout, .. } = sockets.timings;
    let mut out = FrameBatch::default();
    let mut turn = decode(decoder, &mut [], max, |incoming| receive(sockets, inbound, incoming, &mut out));
    loop {
        transport.write(std::mem::take(&mut out));
        if let Err(end) = transport.flush(write_timeout).await.and(turn) {
            return end;
        }
        turn = tokio::select! {
            () = transport.readable() => {
                transport.receive(decoder, max, |incoming| receive(sockets, inbound, incoming, &mut out))
            }
            changed = frames.changed() => match changed {
                Ok(()) => {
                    out.text(&frames.borrow_and_update());
                    Ok(())
                }
                Err(_) => Err(Gone::Draining.into()),
            },
            () = sleep_until(inbound.deadline(sockets)) => inbound.check(sockets.clock.now(), &mut out).map(drop),
            () = sockets.figures.drained() => Err(Gone::Draining.into()),
        };
    }
}

/// Takes one message of the client. It may send `beat` and `leave`.
fn receive(sockets: &Sockets, inbound: &mut Inbound, incoming: Incoming<'_>, out: &mut FrameBatch) -> Result<(), End> {
    let Received::Text(text) = inbound.receive(sockets, incoming, sockets.clock.now(), out)? else {
        return Ok(());
    };
    match v1::decode(&text) {
        Ok(ClientFrame::Beat { reference, .. }) => out.text(&sockets.frames.beat(reference)),
        Ok(ClientFrame::Leave) => return Err(End::Left),
        Ok(_) => {}
        Err(bad) => inbound.bad_frame(sockets, &bad, out)?,
    }
    Ok(())
}
