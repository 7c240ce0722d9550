//! What every message of a client passes first: liveness, pace, and the count of bad frames. The same for
//! every WebSocket of the server.

use std::time::Duration;

use tokio::time::Instant;

use super::end::End;
use super::frame::{FrameBatch, Incoming, Violation};
use super::pace::{PER_FRAME, Pace, Verdict, per_update};
use super::pulse::{Pong, Pulse};
use crate::app::App;
use crate::clock::Moment;
use crate::domain::participant::Quality;
use crate::protocol::v1::{self, BadFrame, ClientFrame};
use crate::protocol::{Code, Refusal};

/// The longest JWT on a connection, in bytes: with the names of two hundred groups in it one has some ten thousand.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Frames that cannot be understood before the connection ends.
const MAX_BAD_FRAMES: u8 = 5;

/// The inbound side of one connection.
#[derive(Debug)]
pub struct Inbound {
    pulse: Pulse,
    pace: Pace,
    bad_frames: u8,
}

/// What is left of a message.
#[derive(Debug)]
pub enum Received {
    /// A frame to be served.
    Frame(ClientFrame),
    /// A Pong has measured the connection.
    Quality(Quality),
    /// Nothing to do.
    Nothing,
}

impl Inbound {
    /// A connection that was opened just now, by a credential that expires then. A person's, which it holds present,
    /// ends where no frame comes for long.
    pub fn new(app: &App, expires_at: Option<Moment>, is_person: bool, now: Moment) -> Self {
        let stalled = app.clock.stalled();
        let pulse = Pulse::new(&app.connection, expires_at, is_person, stalled, now);
        Self { pulse, pace: Pace::new(stalled, now), bad_frames: 0 }
    }

    /// The longest message that is read, in bytes. Where the connection was let in by a JWT it may be a fresh one,
    /// which has a size of its own.
    pub fn max_message_bytes(&self, app: &App) -> usize {
        app.connection.max_message_bytes + self.expires_at().map_or(0, |_| MAX_TOKEN_BYTES)
    }

    /// When the JWT expires that the connection was let in by, or last renewed with; `None` where it has none.
    pub fn expires_at(&self) -> Option<Moment> {
        self.pulse.expires_at()
    }

    /// A fresh JWT expires then.
    pub fn renew(&mut self, expires_at: Moment) {
        self.pulse.renew(expires_at);
    }

    /// When [`Inbound::check`] is due.
    pub fn deadline(&self, app: &App) -> Instant {
        app.clock.instant(self.pulse.next(&app.connection))
    }

    /// Takes a message: Pings are answered, Pongs measured, texts read and passed on where the client keeps its
    /// pace.
    ///
    /// # Errors
    /// How the connection ends by it.
    pub fn receive(
        &mut self,
        app: &App,
        incoming: Incoming<'_>,
        now: Moment,
        out: &mut FrameBatch,
    ) -> Result<Received, End> {
        self.pulse.seen(now);
        match incoming {
            Incoming::Text(text) => {
                self.pulse.heard();
                self.frame(app, &text, now, out)
            }
            Incoming::Ping(payload) => {
                if self.keeps_pace(app, PER_FRAME, now, out)? {
                    out.pong(payload);
                }
                Ok(Received::Nothing)
            }
            Incoming::EmptyFragment => self.keeps_pace(app, PER_FRAME, now, out).map(|_| Received::Nothing),
            Incoming::Pong(payload) => match self.pulse.pong(payload, now) {
                Pong::Answer(quality) => Ok(Received::Quality(quality)),
                Pong::Late => Ok(Received::Nothing),
                Pong::Unasked => self.keeps_pace(app, PER_FRAME, now, out).map(|_| Received::Nothing),
            },
            Incoming::Close(close) => Err(End::Closed(close.into())),
        }
    }

    /// Reads a text. It is read before it is counted: an update counts less.
    fn frame(&mut self, app: &App, text: &str, now: Moment, out: &mut FrameBatch) -> Result<Received, End> {
        let frame = decode(app, text)?;
        let counts = match &frame {
            Ok(ClientFrame::Update { .. }) => per_update(app.connection.max_updates_per_second),
            _ => PER_FRAME,
        };
        if !self.keeps_pace(app, counts, now, out)? {
            return Ok(Received::Nothing);
        }
        match frame {
            Ok(frame) => Ok(Received::Frame(frame)),
            Err(bad) => self.bad_frame(app, &bad, out).map(|()| Received::Nothing),
        }
    }

    /// Whether a frame is to be served that counts this much. Pings, Pongs that answer nothing and empty fragments
    /// count too, or they would be a way around the limit.
    fn keeps_pace(&mut self, app: &App, counts: Duration, now: Moment, out: &mut FrameBatch) -> Result<bool, End> {
        let (wait, is_last) = match self.pace.frame(counts, now, || app.clock.stalled()) {
            Verdict::Serve => return Ok(true),
            Verdict::Ignore => return Ok(false),
            Verdict::Refuse(wait) => (wait, false),
            Verdict::End(wait) => (wait, true),
        };
        refuse(app, Refusal::from(Code::RateLimited).retry_after(wait), None, is_last, out)?;
        Ok(false)
    }

    /// Refuses a frame that could not be understood.
    ///
    /// # Errors
    /// That it was one too many.
    fn bad_frame(&mut self, app: &App, bad: &BadFrame, out: &mut FrameBatch) -> Result<(), End> {
        self.bad_frames += 1;
        let refusal = Refusal::new(Code::BadFrame, format!("The frame could not be understood: {bad}."));
        refuse(app, refusal, bad.reference, self.bad_frames >= MAX_BAD_FRAMES, out)
    }

    /// Does what is due, after everything that has arrived was received: sends a Ping. The quality by the Pongs that are missing, where some are.
    ///
    /// # Errors
    /// That a deadline of the connection has passed.
    pub fn check(&mut self, app: &App, out: &mut FrameBatch) -> Result<Option<Quality>, End> {
        let now = app.clock.now();
        // Up to the present and not to `now`: the process may have stood still in between.
        self.pulse.give(app.clock.stalled(), app.clock.now());
        if let Some(payload) = self.pulse.check(&app.connection, now)? {
            out.ping(&payload);
        }
        Ok(self.pulse.missed_pongs())
    }
}

/// Reads a frame. One with a token may be longer than `max-message-bytes`, see [`Inbound::max_message_bytes`]; any
/// other may not.
///
/// # Errors
/// That the message is too large.
fn decode(app: &App, text: &str) -> Result<Result<ClientFrame, BadFrame>, End> {
    let frame = v1::decode(text);
    if text.len() > app.connection.max_message_bytes && !matches!(frame, Ok(ClientFrame::Token { .. })) {
        return Err(Violation::TooLarge(app.connection.max_message_bytes).into());
    }
    Ok(frame)
}

/// Sends an `error`; the last one is how the connection ends.
fn refuse(app: &App, refusal: Refusal, reference: Option<u64>, is_last: bool, out: &mut FrameBatch) -> Result<(), End> {
    app.metrics.refusals(refusal.code.as_str()).inc();
    if is_last {
        return Err(End::Refused(refusal));
    }
    out.text(&v1::error(&refusal, reference));
    Ok(())
}
