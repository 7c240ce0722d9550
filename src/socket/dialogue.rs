//! What a client says, and what it is answered: frames in, frames out, and no waiting.

use std::sync::Arc;

use tokio::time::Instant;

use super::Sockets;
use super::end::End;
use super::frame::{Incoming, Outbox};
use super::pace::{Pace, Verdict};
use super::pulse::Pulse;
use crate::clock::Moment;
use crate::protocol::v1::{self, ClientFrame};
use crate::protocol::{Code, Refusal};
use crate::room::{Quality, Role, Seat, State};
use crate::user_session::Attachment;

/// Frames that cannot be understood before the connection ends.
pub(super) const BAD_FRAMES: u8 = 5;

/// One side of the conversation with a client, the one that sits in a room.
pub struct Dialogue {
    sockets: Arc<Sockets>,
    seat: Seat,
    /// To its user session, where it said of which it is. Boxed: most connections have none.
    attachment: Option<Box<Attachment>>,
    pulse: Pulse,
    pace: Pace,
    bad_frames: u8,
    beats: u64,
    started: Moment,
    /// Boxed: mostly it is nothing.
    owed: Option<Box<Owed>>,
}

/// What was asked for and is not answered by hearing it.
#[derive(Default)]
pub struct Owed {
    /// A fresh `state`. Asked twice it is sent once.
    pub state: bool,
    /// Sits, in order: the `ref` of the frame, and how many seconds.
    pub sits: Vec<(Option<u64>, i32)>,
}

impl Dialogue {
    /// With somebody who was welcomed just now.
    pub fn new(sockets: Arc<Sockets>, seat: Seat, attachment: Option<Box<Attachment>>, until: Option<Moment>) -> Self {
        let now = sockets.clock.now();
        Self {
            pulse: Pulse::new(&sockets.timings, until, now),
            pace: Pace::new(),
            bad_frames: 0,
            beats: 0,
            started: now,
            owed: None,
            sockets,
            seat,
            attachment,
        }
    }

    /// The largest message that is taken.
    pub fn max_message_bytes(&self) -> usize {
        self.sockets.timings.max_message_bytes
    }

    /// When [`Dialogue::check`] has something to do next.
    pub fn alarm(&self) -> Instant {
        self.sockets.clock.instant(self.pulse.next())
    }

    /// Gives the seat back, and says in the log how it ended.
    pub fn end(self, end: &End) {
        let Self { sockets, seat, attachment, beats, started, .. } = self;
        sockets.metrics.connection_ends(end.word()).inc();
        tracing::info!(
            session = %seat.room().id(),
            participant = seat.participant().map(tracing::field::display),
            connection = %seat.connection(),
            reason = end.word(),
            seconds = sockets.clock.now().since(started).as_secs_f64(),
            beats,
            "connection ended"
        );
        if end.is_goodbye() {
            seat.leave()
        } else {
            drop(seat)
        }
        match attachment {
            Some(attachment) if !end.comes_back() => attachment.leave(),
            attachment => drop(attachment),
        }
    }

    /// Something came from the client.
    ///
    /// # Errors
    /// How the connection ends by it.
    pub fn hear(&mut self, incoming: Incoming<'_>, out: &mut Outbox) -> Result<(), End> {
        let now = self.sockets.clock.now();
        self.pulse.heard(now);
        self.seat.seen(now);
        if let Some(attachment) = &self.attachment {
            attachment.seen(now);
        }
        match incoming {
            Incoming::Text(text) => {
                if self.keeps_pace(out)? {
                    self.hear_text(&text, now, out)?;
                }
            }
            Incoming::Ping(payload) => {
                if self.keeps_pace(out)? {
                    out.pong(payload);
                }
            }
            Incoming::Pong(payload) => {
                if let Some(quality) = self.pulse.pong(payload, now) {
                    self.set_quality(quality);
                }
            }
            Incoming::Close(code) => return Err(End::Closed(code)),
        }
        Ok(())
    }

    fn hear_text(&mut self, text: &str, now: Moment, out: &mut Outbox) -> Result<(), End> {
        match v1::decode(text) {
            Ok(ClientFrame::Beat { reference, active }) => {
                self.beats += 1;
                self.sockets.metrics.beats.inc();
                if active {
                    self.active(now);
                }
                out.text(&self.sockets.frames.beat(reference));
            }
            Ok(ClientFrame::Update { reference, state }) => self.update(reference, state, now, out),
            Ok(ClientFrame::Sit { reference, length_seconds }) => {
                self.owed.get_or_insert_default().sits.push((reference, length_seconds));
            }
            Ok(ClientFrame::Sync) => self.owed.get_or_insert_default().state = true,
            Ok(ClientFrame::Leave) => return Err(End::Left),
            Ok(ClientFrame::Unknown) => {}
            Err(bad) => return self.bad_frame(&bad, out),
        }
        Ok(())
    }

    fn update(&mut self, reference: Option<u64>, state: State, now: Moment, out: &mut Outbox) {
        if self.seat.participant().is_none() {
            let refusal = Refusal::new(Code::Forbidden, "An observer has no state.");
            out.text(&v1::error(&refusal, reference));
            return;
        }
        self.active(now);
        self.seat.set_state(state);
    }

    fn active(&self, now: Moment) {
        self.seat.active(now);
        if let Some(attachment) = &self.attachment {
            attachment.active(now);
        }
    }

    fn set_quality(&self, quality: Quality) {
        self.seat.set_quality(quality);
        if let Some(attachment) = &self.attachment {
            attachment.set_quality(quality);
        }
    }

    /// The place in the room.
    pub fn seat(&self) -> &Seat {
        &self.seat
    }

    /// What was asked for and takes longer than hearing it did.
    pub fn owed(&mut self) -> Option<Box<Owed>> {
        self.owed.take()
    }

    /// Starts a sit for the room. The host hears of it like everybody else.
    ///
    /// # Errors
    /// Why it does not start.
    pub async fn start_sit(&self, length_seconds: i32) -> Result<(), Refusal> {
        match self.seat.shown() {
            Some(person) if person.role == Role::Host => {
                self.sockets.sits.start(self.seat.room(), person.id, length_seconds).await
            }
            _ => Err(Refusal::new(Code::Forbidden, "Only a host of the session may start a sit.")),
        }
    }

    fn bad_frame(&mut self, bad: &v1::BadFrame, out: &mut Outbox) -> Result<(), End> {
        self.bad_frames += 1;
        self.sockets.metrics.refusals(Code::BadFrame.as_str()).inc();
        let refusal = Refusal::new(Code::BadFrame, format!("The frame could not be understood: {bad}."));
        if self.bad_frames >= BAD_FRAMES {
            return Err(End::Refused(refusal));
        }
        out.text(&v1::error(&refusal, bad.reference));
        Ok(())
    }

    /// Whether a frame is to be served. A Ping of the client's counts as one, or it would be the free
    /// way to keep the server busy.
    fn keeps_pace(&mut self, out: &mut Outbox) -> Result<bool, End> {
        match self.pace.frame() {
            Verdict::Fine => Ok(true),
            Verdict::Tell(wait) => {
                let refusal = Refusal::from(Code::RateLimited).retry_after(wait);
                self.sockets.metrics.refusals(refusal.code.as_str()).inc();
                out.text(&v1::error(&refusal, None));
                Ok(false)
            }
            Verdict::Ignore => Ok(false),
            Verdict::End(wait) => Err(End::Refused(Refusal::from(Code::RateLimited).retry_after(wait))),
        }
    }

    /// A deadline has come.
    ///
    /// # Errors
    /// That it was the last one.
    pub fn check(&mut self, out: &mut Outbox) -> Result<(), End> {
        let ping = self.pulse.check(self.sockets.clock.now())?;
        if let Some(quality) = self.pulse.missed_pongs() {
            self.set_quality(quality);
        }
        if let Some(payload) = ping {
            out.ping(&payload);
        }
        Ok(())
    }
}
