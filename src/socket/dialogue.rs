//! The dialogue of `lastseen.v1`: the frames of a client and their answers, without waiting.

use super::end::{Closed, End};
use super::frame::FrameBatch;
use super::inbound::Inbound;
use super::renewal::{Holder, Renewal};
use super::subscription::Subscription;
use super::transport::Transport;
use crate::app::App;
use crate::clock::Moment;
use crate::domain::participant::Quality;
use crate::domain::role::Role;
use crate::protocol::v1::{self, ClientFrame};
use crate::protocol::{Code, Refusal};
use crate::room::State;
use crate::user_session::Attachment;

/// The state of one client's dialogue.
#[derive(Debug)]
pub struct Dialogue {
    /// Its room.
    pub subscription: Subscription,
    /// To its user session, where the client named one. Boxed: most connections have none.
    attachment: Option<Box<Attachment>>,
    /// Requests that are not answered yet, in order. Boxed: mostly there is none.
    pending: Option<Box<Pending>>,
    beats: u64,
    started: Moment,
}

/// Requests that are answered later than they are read.
#[derive(Debug, Default)]
pub struct Pending(Vec<Request>);

/// A request that waits for the store, or until the client has read what was sent before.
#[derive(Debug)]
pub enum Request {
    /// A fresh `state`.
    State,
    /// A sit of the room.
    Sit {
        /// The `ref` of the frame.
        reference: Option<u64>,
        /// How long it is.
        length_seconds: i32,
    },
    /// A fresh JWT.
    Token(Renewal),
}

impl Dialogue {
    /// With a client that was sent its `welcome`.
    pub fn new(subscription: Subscription, attachment: Option<Box<Attachment>>, now: Moment) -> Self {
        Self { subscription, attachment, pending: None, beats: 0, started: now }
    }

    /// Something arrived from the client.
    pub fn seen(&self, now: Moment) {
        self.subscription.seat().seen(now);
        if let Some(attachment) = &self.attachment {
            attachment.seen(now);
        }
    }

    /// A frame has arrived from the client, whatever it is: more than that the connection is alive, which Pongs show.
    pub fn confirm(&self) {
        self.subscription.seat().confirm();
    }

    /// Serves a frame.
    ///
    /// # Errors
    /// How the connection ends by it.
    pub fn serve(&mut self, app: &App, frame: ClientFrame, now: Moment, out: &mut FrameBatch) -> Result<(), End> {
        match frame {
            ClientFrame::Beat { reference, active } => {
                self.beats += 1;
                app.metrics.beats.inc();
                if active {
                    self.active(now);
                }
                out.text(&app.frames.beat(reference));
            }
            ClientFrame::Update { reference, state } => self.update(reference, state, now, out),
            ClientFrame::Sit { reference, length_seconds } => self.wait(Request::Sit { reference, length_seconds }),
            ClientFrame::Token { reference, token } => self.wait(Request::Token(Renewal { reference, token })),
            ClientFrame::Sync => self.wait(Request::State),
            ClientFrame::Leave => return Err(End::Left),
            ClientFrame::Unknown => {}
        }
        Ok(())
    }

    fn update(&mut self, reference: Option<u64>, state: State, now: Moment, out: &mut FrameBatch) {
        if self.subscription.seat().participant().is_none() {
            let refusal = Refusal::new(Code::Forbidden, "An observer has no state.");
            out.text(&v1::error(&refusal, reference));
            return;
        }
        self.active(now);
        self.subscription.seat().set_state(state);
    }

    fn active(&self, now: Moment) {
        self.subscription.seat().active(now);
        if let Some(attachment) = &self.attachment {
            attachment.active(now);
        }
    }

    fn wait(&mut self, request: Request) {
        self.pending.get_or_insert_default().0.push(request);
    }

    /// The connection has another quality.
    pub fn set_quality(&self, quality: Quality) {
        self.subscription.seat().set_quality(quality);
        if let Some(attachment) = &self.attachment {
            attachment.set_quality(quality);
        }
    }

    /// The requests that are not answered yet, for [`Dialogue::answer`].
    pub fn take_pending(&mut self) -> Option<Box<Pending>> {
        self.pending.take()
    }

    /// Answers requests that have to wait, one after the other.
    pub async fn answer(&self, app: &App, transport: &Transport, inbound: &mut Inbound, pending: Pending) {
        for request in pending.0 {
            match request {
                Request::State => self.subscription.request_state(),
                Request::Sit { reference, length_seconds } => {
                    if let Err(refusal) = self.start_sit(app, length_seconds).await {
                        transport.write(FrameBatch::of(&v1::error(&refusal, reference)));
                    }
                }
                Request::Token(renewal) => {
                    transport.write(FrameBatch::of(&renewal.answer(app, self.holder(), inbound).await));
                }
            }
        }
    }

    /// Whom a JWT of this connection stands for; `None` for a guest, and for a person who is gone.
    fn holder(&self) -> Option<Holder> {
        match self.subscription.seat().participant() {
            Some(_) => self.subscription.seat().shown()?.user_id.as_ref().map(|user| Holder::User(user.id())),
            None => Some(Holder::Service),
        }
    }

    /// Starts a sit of the room. The host is sent `sit` like all others.
    async fn start_sit(&self, app: &App, length_seconds: i32) -> Result<(), Refusal> {
        let seat = self.subscription.seat();
        match seat.shown() {
            Some(person) if person.role == Role::Host => app.sits.start(seat.room(), person.id, length_seconds).await,
            _ => Err(Refusal::new(Code::Forbidden, "Only a host of the session may start a sit.")),
        }
    }

    /// Gives the seat and the attachment back, and logs how the connection ended.
    pub fn end(self, app: &App, end: &End) {
        let Self { subscription, attachment, beats, started, .. } = self;
        let seat = subscription.seat();
        app.metrics.connection_ends(end.word()).inc();
        tracing::info!(
            session = %seat.room().id(),
            participant = seat.participant().map(tracing::field::display),
            connection = %seat.connection(),
            reason = end.word(),
            close_code = end.closed().map(Closed::code),
            close_reason = end.closed().and_then(Closed::reason),
            seconds = app.clock.now().since(started).as_secs_f64(),
            beats,
            "connection ended"
        );
        subscription.end(end);
        match attachment {
            Some(attachment) if !end.comes_back() => attachment.leave(),
            attachment => drop(attachment),
        }
    }
}
