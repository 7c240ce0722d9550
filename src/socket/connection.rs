//! One connection: a single unsplit task around a single `select!`.
//!
//! The connection owns what every WebSocket has (transport, liveness and pace, the end of its credential).
//! What is spoken on it is the dialogue's, which holds the subscription to a room.

use std::convert::Infallible;
use std::sync::Arc;

use tokio::time::sleep_until;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::device;
use super::dialogue::Dialogue;
use super::end::End;
use super::frame::{Decoder, FrameBatch, Incoming};
use super::inbound::{Inbound, Received};
use super::subscription::Subscription;
use super::transport::{Transport, Written, decode};
use crate::admission::Admission;
use crate::admission::limits::Permit;
use crate::app::App;
use crate::clock::Moment;
use crate::domain::user_session::Device;
use crate::identity::jwt;
use crate::protocol::v1::{self, Session, Welcome};
use crate::room::{JoinError, Joined};
use crate::user_session::Wire;

/// What a connection holds from before its upgrade to its end.
#[derive(Debug)]
#[expect(missing_docs, reason = "the types say it")]
pub struct Held {
    pub permit: Permit,
    pub token: TaskTrackerToken,
}

/// The parts of a `welcome` that are made before the admission is spent.
#[derive(Debug)]
struct Prepared {
    resume: Option<String>,
    session: Session,
    expires_at: Option<Moment>,
}

impl Prepared {
    /// By this admission. Joining counts as seen: the session expires by the time of now, unless the
    /// newcomer is an observer.
    fn new(admission: &Admission, app: &App) -> Self {
        let claims = admission.resume_claims();
        let resume = claims.as_ref().map(|claims| app.admissions.keys().resume().sign(claims));
        let now = app.clock.utc(app.clock.now());
        let mut session = admission.session.clone();
        if claims.is_some() {
            (session.last_seen_at, session.last_activity_at) = (now, now);
        }
        let session = Session::of(&session, app.store.idle());
        Self { resume, session, expires_at: admission.until }
    }
}

/// Sends the last frames, where there is a client to read them, and closes.
pub(super) async fn close(transport: &Transport, end: &End) {
    if let Some(frames) = end.last_frames() {
        transport.close(frames).await;
    }
}

/// Joins by an admission and sends `welcome`.
///
/// # Errors
/// [`JoinError`] where the room changed since the admission.
pub fn join(transport: &Arc<Transport>, app: &App, admission: Admission) -> Result<Entered, JoinError> {
    let prepared = Prepared::new(&admission, app);
    let subscription = Subscription::join(
        Arc::clone(transport),
        app,
        |subscriber| admission.enter(subscriber),
        |Joined { seat, snapshot, notices, expires_at }, greeting| {
            let welcome = Welcome {
                you: seat.participant(),
                connection_id: Some(seat.connection()),
                resume: prepared.resume.as_deref(),
                token_expires_at: prepared.expires_at.map(jwt::expiry),
                session: &prepared.session,
            };
            let frames = app.frames.welcome(&welcome, snapshot, seat.shown().as_deref());
            frames.iter().for_each(|frame| greeting.encoded(frame));
            expires_at.iter().for_each(|at| greeting.text(&app.frames.expiring(*at)));
            notices.iter().for_each(|notice| greeting.text(&v1::notice(notice)));
        },
    )?;
    Ok(Entered { subscription, expires_at: prepared.expires_at })
}

/// A subscription whose `welcome` was sent.
#[derive(Debug)]
pub struct Entered {
    subscription: Subscription,
    /// When the credential expires.
    expires_at: Option<Moment>,
}

/// Serves a client that has joined, in a task of its own.
///
/// That task is a new one that does nothing but serve: a task is as large as the largest future that it
/// ever holds, for as long as it lives, and most of what a connection costs is that.
pub async fn start(
    app: App,
    transport: Arc<Transport>,
    decoder: Decoder,
    Entered { subscription, expires_at }: Entered,
    device: Option<Device>,
    held: Held,
) {
    let user = subscription.seat().shown().and_then(|person| Some(person.user_id.as_ref()?.id()));
    let flushed = transport.flush(app.connection.write_timeout).await;
    let mut attachment = None;
    if let (Ok(()), Some((device, user))) = (&flushed, device.zip(user)) {
        match device::attach(&app, user, device, Wire::Socket).await {
            Ok(attached) => attachment = Some(Box::new(attached)),
            // The connection goes on without its user session.
            Err(refusal) => {
                app.metrics.refusals(refusal.code.as_str()).inc();
                transport.write(FrameBatch::of(&v1::error(&refusal, None)));
            }
        }
    }
    let now = app.clock.now();
    let is_person = subscription.seat().participant().is_some();
    let inbound = Inbound::new(&app, expires_at, is_person, now);
    let dialogue = Dialogue::new(subscription, attachment, now);
    let connection = Connection { app, transport, decoder, inbound, dialogue, _held: held };
    match flushed {
        Ok(()) => drop(tokio::spawn(connection.serve())),
        Err(end) => connection.end(end).await,
    }
}

struct Connection {
    app: App,
    transport: Arc<Transport>,
    decoder: Decoder,
    inbound: Inbound,
    dialogue: Dialogue,
    _held: Held,
}

/// Where the frames of a client are.
enum Source {
    /// They came with the handshake.
    Handshake,
    /// In the socket, which is readable.
    Readable,
    /// In the socket, where there are any.
    Socket,
}

impl Connection {
    /// Serves the client to the end. What lives across a wait is held by each connection for as long as it is there.
    #[expect(clippy::manual_async_fn, reason = "an `async fn` would hold `self` twice, as its argument and as its own")]
    fn serve(mut self) -> impl Future<Output = ()> + Send {
        async move {
            let Err(end) = self.run().await;
            // Boxed: it is larger than serving, and needed once.
            Box::pin(self.end(end)).await;
        }
    }

    /// Answers what came before the end, gives the seat back, sends the last frames and closes.
    async fn end(self, end: End) {
        // Dropped last: a client that waits for the permit waits for the socket, too.
        let Self { _held, app, transport, mut dialogue, mut inbound, .. } = self;
        if let Some(pending) = dialogue.take_pending() {
            dialogue.answer(&app, &transport, &mut inbound, *pending).await;
        }
        dialogue.end(&app, &end);
        close(&transport, &end).await;
    }

    async fn run(&mut self) -> Result<Infallible, End> {
        self.receive(Source::Handshake)?;
        let alarm = sleep_until(self.inbound.deadline(&self.app));
        tokio::pin!(alarm);
        let mut is_due = false;
        loop {
            if let Some(pending) = self.dialogue.take_pending() {
                // Boxed, as settling is: seldom needed, and larger than all else that a connection does.
                Box::pin(self.dialogue.answer(&self.app, &self.transport, &mut self.inbound, *pending)).await;
                alarm.as_mut().reset(self.inbound.deadline(&self.app));
            }
            // After the answers: a fresh JWT may have come in time.
            if std::mem::take(&mut is_due) {
                self.check()?;
                alarm.as_mut().reset(self.inbound.deadline(&self.app));
            }
            tokio::select! {
                () = self.transport.readable() => self.receive(Source::Readable)?,
                () = self.transport.woken() => {
                    Box::pin(settle(&self.app, &self.transport, &self.dialogue.subscription)).await?;
                }
                () = &mut alarm => {
                    // After a stall of the process, the frames of a client wait in the socket.
                    self.receive(Source::Socket)?;
                    is_due = true;
                }
            }
        }
    }

    /// Takes what has arrived and writes the answers, also those to frames before the one that ends the connection.
    fn receive(&mut self, source: Source) -> Result<(), End> {
        let Self { app, transport, decoder, inbound, dialogue, .. } = self;
        let (max, mut out) = (inbound.max_message_bytes(app), FrameBatch::default());
        let take = |incoming: Incoming<'_>| receive(app, inbound, dialogue, incoming, &mut out);
        let received = match source {
            Source::Handshake => decode(decoder, &mut [], max, take),
            Source::Readable => transport.receive(decoder, max, take),
            Source::Socket => transport.receive_now(decoder, max, take),
        };
        send(transport, out);
        received
    }

    /// Does what is due by the time, once everything that has arrived was received and answered.
    fn check(&mut self) -> Result<(), End> {
        let mut out = FrameBatch::default();
        let checked = self.inbound.check(&self.app, &mut out);
        send(&self.transport, out);
        if let Some(quality) = checked? {
            self.dialogue.set_quality(quality);
        }
        Ok(())
    }
}

fn send(transport: &Transport, out: FrameBatch) {
    if !out.is_empty() {
        transport.write(out);
    }
}

/// Takes one message of the client.
fn receive(
    app: &App,
    inbound: &mut Inbound,
    dialogue: &mut Dialogue,
    incoming: Incoming<'_>,
    out: &mut FrameBatch,
) -> Result<(), End> {
    let now = app.clock.now();
    dialogue.seen(now);
    if matches!(incoming, Incoming::Text(_)) {
        dialogue.confirm();
    }
    match inbound.receive(app, incoming, now, out)? {
        Received::Frame(frame) => dialogue.serve(app, frame, now, out)?,
        Received::Quality(quality) => dialogue.set_quality(quality),
        Received::Nothing => {}
    }
    Ok(())
}

/// Does some of what a delivery could not do at once: waits for a slow client, then sends what it missed.
/// Wakes the task again where more is left, so that a connection that is slow for long is still read.
async fn settle(app: &App, transport: &Transport, subscription: &Subscription) -> Result<(), End> {
    subscription.check()?;
    let stalled = app.clock.stalled();
    match transport.flush_some(app.connection.write_timeout).await {
        Ok(Written::All) => subscription.catch_up()?,
        Ok(Written::Waiting(_)) => transport.wake(),
        // The client had no time either.
        Err(_) if app.clock.stalled() > stalled => transport.wake(),
        Err(end) => return Err(end),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the task of a connection may hold, in bytes. With what tokio adds (its header, scheduler and trailer, in
    /// whole cache lines) it fills 640 bytes, which is a size of the allocator; the next is 768.
    const MOST_BYTES: usize = 536;

    fn bytes_of_output<I, O>(_: impl Fn(I) -> O) -> usize {
        size_of::<O>()
    }

    #[test]
    fn a_connection_is_small() {
        let bytes = bytes_of_output(Connection::serve);
        assert!(bytes <= MOST_BYTES, "{bytes} bytes: what lives across a wait, and need not?");
    }
}
