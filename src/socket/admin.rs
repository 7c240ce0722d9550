//! `GET /v1/admin/ws`: the figures of the server, live, for the service alone.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use tokio::sync::watch::Receiver;
use tokio::time::sleep_until;

use super::connection::{self, Held};
use super::dialogue::BAD_FRAMES;
use super::end::End;
use super::frame::{Decoder, Incoming, Outbox};
use super::line::{Line, decode};
use super::pace::{Pace, Verdict};
use super::pulse::Pulse;
use super::upgrade::{Knock, Upgraded, answer, knock, shown_bearer, upgraded};
use super::{Sockets, Timings};
use crate::clock::Moment;
use crate::identity::Caller;
use crate::identity::jwt;
use crate::protocol::v1::{self, ClientFrame};
use crate::protocol::{Code, Refusal};
use crate::room::{Gone, Text};

/// The figures of this server over a WebSocket: those of the last hour, then once a second.
///
/// # Errors
/// What is wrong with the request itself; and every refusal for a client that asks for problems.
#[utoipa::path(
    get, path = "/v1/admin/ws", tag = "operators",
    security((), ("bearer" = [])),
    responses(
        (status = SWITCHING_PROTOCOLS, description = "A frame `history`, then frames `stats`: docs/reference/PROTOCOL.md"),
        (status = UPGRADE_REQUIRED, description = "`invalid_request`: not a WebSocket handshake"),
    ),
)]
pub async fn figures(State(sockets): State<Arc<Sockets>>, mut request: Request) -> Result<Response, Refusal> {
    let Knock { accept, held, .. } = knock(&sockets, &request)?;
    let admitted = admit(&sockets, shown_bearer(request.headers())).await;
    let (response, upgrading) = answer(&mut request, &accept, &admitted)?;
    tokio::spawn(async move {
        if let Some(upgraded) = upgraded(upgrading).await {
            match admitted {
                Ok(until) => serve(sockets, upgraded, until, held).await,
                Err(refusal) => connection::refuse(&sockets, &upgraded.line, refusal).await,
            }
        }
    });
    Ok(response)
}

/// Until when somebody may watch.
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

async fn serve(sockets: Arc<Sockets>, upgraded: Upgraded, until: Moment, _held: Held) {
    let Upgraded { line, mut decoder } = upgraded;
    let started = sockets.clock.now();
    let (history, frames) = sockets.figures.watch();
    let mut watcher = Watcher {
        pulse: Pulse::new(&sockets.timings, Some(until), started),
        pace: Pace::new(),
        bad_frames: 0,
        sockets: Arc::clone(&sockets),
    };
    line.write({
        let mut out = Outbox::default();
        out.text(&history);
        out
    });
    let end = watcher.run(&line, &mut decoder, frames).await;
    sockets.metrics.connection_ends(end.word()).inc();
    let seconds = sockets.clock.now().since(started).as_secs_f64();
    tracing::info!(reason = end.word(), seconds, "a watcher of the figures ended");
    line.farewell(&end).await;
}

struct Watcher {
    sockets: Arc<Sockets>,
    pulse: Pulse,
    pace: Pace,
    bad_frames: u8,
}

impl Watcher {
    async fn run(&mut self, line: &Line, decoder: &mut Decoder, mut frames: Receiver<Text>) -> End {
        let sockets = Arc::clone(&self.sockets);
        let Timings { max_message_bytes, write_timeout, .. } = sockets.timings;
        let mut out = Outbox::default();
        let mut turn = decode(decoder, &mut [], max_message_bytes, |incoming| self.hear(incoming, &mut out));
        loop {
            line.write(std::mem::take(&mut out));
            if let Err(end) = line.flush(write_timeout).await.and(turn) {
                return end;
            }
            turn = tokio::select! {
                () = line.readable() => line.hear(decoder, max_message_bytes, |incoming| self.hear(incoming, &mut out)),
                news = frames.changed() => match news {
                    Ok(()) => {
                        out.text(&frames.borrow_and_update());
                        Ok(())
                    }
                    Err(_) => Err(Gone::Draining.into()),
                },
                () = sleep_until(sockets.clock.instant(self.pulse.next())) => self.beat_of_the_clock(&mut out),
                () = sockets.figures.drained() => Err(Gone::Draining.into()),
            };
        }
    }

    fn beat_of_the_clock(&mut self, out: &mut Outbox) -> Result<(), End> {
        if let Some(payload) = self.pulse.check(self.sockets.clock.now())? {
            out.ping(&payload);
        }
        Ok(())
    }

    fn hear(&mut self, incoming: Incoming<'_>, out: &mut Outbox) -> Result<(), End> {
        let now = self.sockets.clock.now();
        self.pulse.heard(now);
        match incoming {
            Incoming::Pong(payload) => {
                self.pulse.pong(payload, now);
            }
            Incoming::Text(text) => {
                if self.keeps_pace(out)? {
                    self.hear_text(&text, out)?;
                }
            }
            Incoming::Ping(payload) => {
                if self.keeps_pace(out)? {
                    out.pong(payload);
                }
            }
            Incoming::Close(code) => return Err(End::Closed(code)),
        }
        Ok(())
    }

    /// One who only watches has little to say.
    fn hear_text(&mut self, text: &str, out: &mut Outbox) -> Result<(), End> {
        match v1::decode(text) {
            Ok(ClientFrame::Beat { reference, .. }) => out.text(&self.sockets.frames.beat(reference)),
            Ok(ClientFrame::Leave) => return Err(End::Left),
            Ok(_) => {}
            Err(bad) => {
                self.bad_frames += 1;
                let refusal = Refusal::new(Code::BadFrame, format!("The frame could not be understood: {bad}."));
                self.refuse(refusal, bad.reference, self.bad_frames >= BAD_FRAMES, out)?;
            }
        }
        Ok(())
    }

    fn keeps_pace(&mut self, out: &mut Outbox) -> Result<bool, End> {
        let (wait, last) = match self.pace.frame() {
            Verdict::Fine => return Ok(true),
            Verdict::Ignore => return Ok(false),
            Verdict::Tell(wait) => (wait, false),
            Verdict::End(wait) => (wait, true),
        };
        self.refuse(Refusal::from(Code::RateLimited).retry_after(wait), None, last, out)?;
        Ok(false)
    }

    /// Says what is wrong; the last time it is how the connection ends.
    fn refuse(&mut self, refusal: Refusal, reference: Option<u64>, last: bool, out: &mut Outbox) -> Result<(), End> {
        self.sockets.metrics.refusals(refusal.code.as_str()).inc();
        if last {
            return Err(End::Refused(refusal));
        }
        out.text(&v1::error(&refusal, reference));
        Ok(())
    }
}
