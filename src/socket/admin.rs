//! `GET /v1/admin/ws`: the figures of the server, live, for the service alone.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::StreamExt;
use tokio::sync::watch::Receiver;
use tokio::time::sleep_until;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

use super::Sockets;
use super::connection::{self, BAD_FRAMES, Held};
use super::end::End;
use super::line::{Line, WebSocket, farewell, taken, write};
use super::pace::{Pace, Verdict};
use super::pulse::Pulse;
use super::upgrade::{Knock, answer, knock, shown_bearer, upgraded};
use crate::auth::Caller;
use crate::auth::admission::refused_at;
use crate::clock::Moment;
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
        (status = SWITCHING_PROTOCOLS, description = "A frame `history`, then frames `stats`: docs/PROTOCOL.md"),
        (status = UPGRADE_REQUIRED, description = "`invalid_request`: not a WebSocket handshake"),
    ),
)]
pub async fn figures(State(sockets): State<Arc<Sockets>>, mut request: Request) -> Result<Response, Refusal> {
    let Knock { accept, held, .. } = knock(&sockets, &request)?;
    let admitted = admit(&sockets, shown_bearer(request.headers())).await;
    let (response, upgrading) = answer(&mut request, &accept, &admitted)?;
    tokio::spawn(async move {
        if let Some(line) = upgraded(upgrading).await {
            match admitted {
                Ok(until) => serve(sockets, line, until, held).await,
                Err(refusal) => connection::refuse(&sockets, line, refusal).await,
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
    match sockets.doorkeeper.keys().caller(bearer).await? {
        Caller::Service { expires_at } => Ok(refused_at(expires_at, &sockets.clock)),
        Caller::Anonymous => Err(Code::Unauthenticated.into()),
        Caller::User { .. } | Caller::Guest(_) => {
            Err(Refusal::new(Code::Forbidden, "Only the service role may watch the server."))
        }
    }
}

async fn serve(sockets: Arc<Sockets>, line: Line, until: Moment, _held: Held) {
    let started = sockets.clock.now();
    let (history, frames) = sockets.figures.watch();
    let mut watcher = Watcher {
        socket: line.open().await,
        frames,
        pulse: Pulse::new(&sockets.timings, Some(until), started),
        pace: Pace::new(),
        bad_frames: 0,
        sockets: Arc::clone(&sockets),
    };
    let end = match watcher.send([Message::Text(history)]).await {
        Ok(()) => watcher.run().await,
        Err(end) => end,
    };
    sockets.metrics.connection_ends(end.word()).inc();
    let seconds = sockets.clock.now().since(started).as_secs_f64();
    tracing::info!(reason = end.word(), seconds, "a watcher of the figures ended");
    farewell(watcher.socket, &end).await;
}

struct Watcher {
    sockets: Arc<Sockets>,
    socket: WebSocket,
    frames: Receiver<Text>,
    pulse: Pulse,
    pace: Pace,
    bad_frames: u8,
}

impl Watcher {
    async fn run(&mut self) -> End {
        let sockets = Arc::clone(&self.sockets);
        loop {
            let turn = tokio::select! {
                message = self.socket.next() => self.hear(message).await,
                news = self.frames.changed() => match news {
                    Ok(()) => self.tell().await,
                    Err(_) => Err(Gone::Draining.into()),
                },
                () = sleep_until(sockets.clock.instant(self.pulse.next())) => self.beat_of_the_clock().await,
                () = sockets.figures.drained() => Err(Gone::Draining.into()),
            };
            if let Err(end) = turn {
                return end;
            }
        }
    }

    async fn tell(&mut self) -> Result<(), End> {
        let frame = self.frames.borrow_and_update().clone();
        self.send([Message::Text(frame)]).await
    }

    async fn beat_of_the_clock(&mut self) -> Result<(), End> {
        match self.pulse.check(self.sockets.clock.now())? {
            Some(payload) => self.send([Message::Ping(Bytes::copy_from_slice(&payload))]).await,
            None => Ok(()),
        }
    }

    async fn hear(&mut self, message: Option<Result<Message, Error>>) -> Result<(), End> {
        let message = message.ok_or(End::Lost)?.map_err(|error| End::from(&error))?;
        let now = self.sockets.clock.now();
        self.pulse.heard(now);
        match taken(message, self.sockets.timings.max_message_bytes)? {
            Message::Pong(payload) => {
                self.pulse.pong(&payload, now);
                Ok(())
            }
            Message::Text(text) if self.keeps_pace().await? => self.hear_text(&text).await,
            // Answered by the library; what it queued must leave.
            Message::Ping(_) if self.keeps_pace().await? => self.send([]).await,
            _ => Ok(()),
        }
    }

    /// One who only watches has little to say.
    async fn hear_text(&mut self, text: &str) -> Result<(), End> {
        match v1::decode(text) {
            Ok(ClientFrame::Beat { reference, .. }) => {
                self.send([Message::Text(self.sockets.frames.beat(reference))]).await
            }
            Ok(ClientFrame::Leave) => Err(End::Left),
            Ok(_) => Ok(()),
            Err(bad) => {
                self.bad_frames += 1;
                let refusal = Refusal::new(Code::BadFrame, format!("The frame could not be understood: {bad}."));
                self.refuse(refusal, bad.reference, self.bad_frames >= BAD_FRAMES).await
            }
        }
    }

    async fn keeps_pace(&mut self) -> Result<bool, End> {
        let (wait, last) = match self.pace.frame() {
            Verdict::Fine => return Ok(true),
            Verdict::Ignore => return Ok(false),
            Verdict::Tell(wait) => (wait, false),
            Verdict::End(wait) => (wait, true),
        };
        self.refuse(Refusal::from(Code::RateLimited).retry_after(wait), None, last).await?;
        Ok(false)
    }

    /// Says what is wrong; the last time it is how the connection ends.
    async fn refuse(&mut self, refusal: Refusal, reference: Option<u64>, last: bool) -> Result<(), End> {
        self.sockets.metrics.refusals(refusal.code.as_str()).inc();
        match last {
            true => Err(End::Refused(refusal)),
            false => self.send([Message::Text(v1::error(&refusal, reference))]).await,
        }
    }

    async fn send(&mut self, messages: impl IntoIterator<Item = Message>) -> Result<(), End> {
        write(&mut self.socket, self.sockets.timings.write_timeout, messages).await
    }
}
