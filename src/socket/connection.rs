//! One connection: a single unsplit task around a single `select!`.

use std::sync::Arc;

use futures_util::StreamExt;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::sleep_until;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Sockets;
use super::device;
use super::end::End;
use super::limits::Permit;
use super::line::{Line, WebSocket, farewell, taken, write};
use super::pace::{Pace, Verdict};
use super::pulse::Pulse;
use crate::auth::admission::Admission;
use crate::clock::Moment;
use crate::protocol::v1::{self, ClientFrame, Session, Welcome};
use crate::protocol::{Code, Refusal};
use crate::room::{CaughtUp, Event, Gone, Joined, Quality, Role, Seat, SitNews, Snapshot, Text};
use crate::store::reading_sessions::ReadingSession;
use crate::user_session::{Device, Tie, Wire};

/// Frames that cannot be understood before the connection ends.
pub(super) const BAD_FRAMES: u8 = 5;

/// What a newcomer is told of itself, made before its admission is spent.
#[derive(Debug)]
pub struct Welcomed {
    resume: Option<String>,
    session: Session,
    until: Option<Moment>,
}

impl Welcomed {
    /// What this admission gives. Joining is being seen: the session lives from now on anew, unless
    /// the newcomer only watches.
    pub fn of(admission: &Admission, sockets: &Sockets) -> Self {
        let claims = admission.resume_claims();
        let resume = claims.as_ref().map(|claims| sockets.doorkeeper.keys().resume().sign(claims));
        let now = sockets.clock.utc(sockets.clock.now());
        let mut session = admission.session.clone();
        if claims.is_some() {
            (session.last_seen_at, session.last_activity_at) = (now, now);
        }
        Self { resume, session: ReadingSession::from(&session).shown(sockets.store.idle()), until: admission.until }
    }
}

/// Tells a client why it cannot join, and ends.
pub async fn refuse(sockets: &Sockets, line: Line, refusal: Refusal) {
    tracing::info!(code = refusal.code.as_str(), "refused a connection");
    sockets.metrics.refusals(refusal.code.as_str()).inc();
    farewell(line.open().await, &End::Refused(refusal)).await;
}

/// What a connection holds from before its upgrade to its end.
#[derive(Debug)]
#[expect(missing_docs, reason = "the types say it")]
pub struct Held {
    pub permit: Permit,
    pub token: TaskTrackerToken,
}

/// Welcomes somebody who has joined and leaves the connection to a task of its own.
///
/// That task is fresh and does nothing but serve: a task is as large as the largest thing that it ever
/// does, for as long as it lives, and most of what a connection costs is that.
pub async fn welcome(
    sockets: Arc<Sockets>,
    line: Line,
    joined: Joined,
    welcomed: Welcomed,
    device: Option<Device>,
    held: Held,
) {
    let Joined { seat, snapshot, events, sit } = joined;
    let now = sockets.clock.now();
    let shown = seat.shown();
    let text = {
        let welcome = Welcome {
            you: seat.participant(),
            connection_id: Some(seat.connection()),
            resume: welcomed.resume.as_deref(),
            session: &welcomed.session,
        };
        sockets.frames.welcome(&welcome, &snapshot, shown.as_deref())
    };
    let (mut socket, mut sent) = line.open_with(Message::Text(text), sockets.timings.write_timeout).await;
    if let (Ok(()), Some(sit)) = (&sent, sit) {
        sent = write(&mut socket, sockets.timings.write_timeout, [Message::Text(v1::sit(sit))]).await;
    }
    let mut tie = None;
    if let (Ok(()), Some(device), Some(user)) = (&sent, device, shown.and_then(|person| person.user_id)) {
        match device::tie(&sockets, user, device, Wire::Socket).await {
            Ok(tied) => tie = Some(Box::new(tied)),
            // Whom it belongs to is no reason to put somebody out of a room.
            Err(refusal) => {
                sockets.metrics.refusals(refusal.code.as_str()).inc();
                let told = [Message::Text(v1::error(&refusal, None))];
                sent = write(&mut socket, sockets.timings.write_timeout, told).await;
            }
        }
    }
    let connection = Box::new(Connection {
        socket,
        seat,
        tie,
        events,
        told: snapshot.seq,
        pulse: Pulse::new(&sockets.timings, welcomed.until, now),
        pace: Pace::new(),
        bad_frames: 0,
        beats: 0,
        started: now,
        sockets,
        _held: held,
    });
    match sent {
        Ok(()) => drop(tokio::spawn(connection.serve())),
        Err(end) => connection.end(end).await,
    }
}

struct Connection {
    sockets: Arc<Sockets>,
    socket: WebSocket,
    seat: Seat,
    /// To its user session, where it said of which it is. Boxed: most connections have none.
    tie: Option<Box<Tie>>,
    events: Receiver<Event>,
    /// The last step of the room that the client knows of.
    told: u64,
    pulse: Pulse,
    pace: Pace,
    bad_frames: u8,
    beats: u64,
    started: Moment,
    _held: Held,
}

impl Connection {
    async fn serve(mut self: Box<Self>) {
        let end = self.run().await;
        // Needs more room than serving does, and only now.
        Box::pin(self.end(end)).await;
    }

    /// Gives the seat back, says so, and says goodbye.
    async fn end(self: Box<Self>, end: End) {
        let Self { sockets, socket, seat, tie, beats, started, _held, .. } = *self;
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
        match end {
            End::Left | End::ClosedNormally => seat.leave(),
            _ => drop(seat),
        }
        match tie {
            Some(tie) if !end.comes_back() => tie.leave(),
            tie => drop(tie),
        }
        farewell(socket, &end).await;
    }

    async fn run(&mut self) -> End {
        let alarm = sleep_until(self.sockets.clock.instant(self.pulse.next()));
        tokio::pin!(alarm);
        loop {
            let turn = tokio::select! {
                message = self.socket.next() => self.hear(message).await,
                event = self.events.recv() => self.tell(event).await,
                () = &mut alarm => {
                    let turn = self.beat_of_the_clock().await;
                    alarm.as_mut().reset(self.sockets.clock.instant(self.pulse.next()));
                    turn
                }
            };
            if let Err(end) = turn {
                return end;
            }
        }
    }

    /// Something came from the client.
    async fn hear(&mut self, message: Option<Result<Message, Error>>) -> Result<(), End> {
        let message = match message {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(End::from(&error)),
            None => return Err(End::Lost),
        };
        let now = self.sockets.clock.now();
        self.pulse.heard(now);
        self.seat.heard(now);
        if let Some(tie) = &self.tie {
            tie.heard(now);
        }
        match taken(message, self.sockets.timings.max_message_bytes)? {
            Message::Text(text) => self.hear_text(&text, now).await,
            // Answered by the library; what it queued must leave.
            Message::Ping(_) => {
                self.keeps_pace().await?;
                self.send([]).await
            }
            Message::Pong(payload) => {
                if let Some(quality) = self.pulse.pong(&payload, now) {
                    self.set_quality(quality);
                }
                Ok(())
            }
            Message::Binary(_) | Message::Close(_) | Message::Frame(_) => Ok(()),
        }
    }

    async fn hear_text(&mut self, text: &str, now: Moment) -> Result<(), End> {
        if !self.keeps_pace().await? {
            return Ok(());
        }
        match v1::decode(text) {
            Ok(ClientFrame::Beat { reference, active }) => {
                self.beats += 1;
                self.sockets.metrics.beats.inc();
                if active {
                    self.active(now);
                }
                self.send([Message::Text(self.sockets.frames.beat(reference))]).await
            }
            Ok(ClientFrame::Update { reference, state }) => self.update(reference, state, now).await,
            // Seldom, and needs more room than all else that a connection does.
            Ok(ClientFrame::Sit { reference, length_seconds }) => {
                Box::pin(self.start_sit(reference, length_seconds)).await
            }
            Ok(ClientFrame::Sync) => self.send_state().await,
            Ok(ClientFrame::Leave) => Err(End::Left),
            Ok(ClientFrame::Unknown) => Ok(()),
            Err(bad) => self.bad_frame(&bad).await,
        }
    }

    async fn update(&mut self, reference: Option<u64>, state: crate::room::State, now: Moment) -> Result<(), End> {
        if self.seat.participant().is_none() {
            let refusal = Refusal::new(Code::Forbidden, "An observer has no state.");
            return self.send([Message::Text(v1::error(&refusal, reference))]).await;
        }
        self.active(now);
        self.seat.set_state(state);
        Ok(())
    }

    fn active(&self, now: Moment) {
        self.seat.active(now);
        if let Some(tie) = &self.tie {
            tie.active(now);
        }
    }

    fn set_quality(&self, quality: Quality) {
        self.seat.set_quality(quality);
        if let Some(tie) = &self.tie {
            tie.set_quality(quality);
        }
    }

    async fn start_sit(&mut self, reference: Option<u64>, length_seconds: i32) -> Result<(), End> {
        let started = match self.seat.shown() {
            Some(person) if person.role == Role::Host => {
                self.sockets.sits.start(self.seat.room(), person.id, length_seconds).await
            }
            _ => Err(Refusal::new(Code::Forbidden, "Only a host of the session may start a sit.")),
        };
        match started {
            // The host hears of it like everybody else.
            Ok(()) => Ok(()),
            Err(refusal) => self.send([Message::Text(v1::error(&refusal, reference))]).await,
        }
    }

    async fn bad_frame(&mut self, bad: &v1::BadFrame) -> Result<(), End> {
        self.bad_frames += 1;
        self.sockets.metrics.refusals(Code::BadFrame.as_str()).inc();
        let refusal = Refusal::new(Code::BadFrame, format!("The frame could not be understood: {bad}."));
        if self.bad_frames >= BAD_FRAMES {
            return Err(End::Refused(refusal));
        }
        self.send([Message::Text(v1::error(&refusal, bad.reference))]).await
    }

    /// Whether a frame is to be served. A Ping of the client's counts as one, or it would be the free
    /// way to keep the server busy.
    async fn keeps_pace(&mut self) -> Result<bool, End> {
        match self.pace.frame() {
            Verdict::Fine => Ok(true),
            Verdict::Tell(wait) => {
                let refusal = Refusal::from(Code::RateLimited).retry_after(wait);
                self.sockets.metrics.refusals(refusal.code.as_str()).inc();
                self.send([Message::Text(v1::error(&refusal, None))]).await?;
                Ok(false)
            }
            Verdict::Ignore => Ok(false),
            Verdict::End(wait) => Err(End::Refused(Refusal::from(Code::RateLimited).retry_after(wait))),
        }
    }

    /// Something happened in the room: tells it, with all that happened since, in one write.
    async fn tell(&mut self, first: Result<Event, RecvError>) -> Result<(), End> {
        let mut frames = Vec::new();
        let mut next = Some(first.map_err(|error| match error {
            RecvError::Lagged(_) => TryRecvError::Lagged(0),
            RecvError::Closed => TryRecvError::Closed,
        }));
        while let Some(event) = next {
            match event {
                Ok(event) => frames.extend(self.frame_of(event)?),
                Err(TryRecvError::Lagged(_)) => {
                    self.sockets.metrics.lagged.inc();
                    frames.extend(self.catch_up()?);
                }
                Err(TryRecvError::Closed | TryRecvError::Empty) => {}
            }
            next = match self.events.try_recv() {
                Err(TryRecvError::Empty | TryRecvError::Closed) => None,
                event => Some(event),
            };
        }
        self.sockets.metrics.deliveries.inc_by(frames.len() as u64);
        self.send(frames.into_iter().map(Message::Text)).await
    }

    fn frame_of(&mut self, event: Event) -> Result<Option<Text>, End> {
        Ok(match event {
            // A snapshot that was sent meanwhile includes it.
            Event::Changed(changed) if changed.seq <= self.told => None,
            Event::Changed(changed) => {
                self.told = changed.seq;
                Some(changed.text.get(|| self.sockets.frames.changed(&changed)))
            }
            Event::Refresh => {
                let CaughtUp { snapshot, .. } = self.seat.catch_up()?;
                self.told = snapshot.seq;
                Some(self.state(&snapshot))
            }
            Event::Expiring(at) => Some(self.sockets.frames.expiring(at)),
            Event::Session(frame) => Some(frame.as_ref().clone()),
            Event::Sit(news) => Some(v1::sit(*news)),
            Event::Removed(id) if self.seat.participant() == Some(id) => return Err(Gone::Removed.into()),
            Event::Removed(_) => None,
            Event::Closed(reason) => return Err(Gone::Closed(reason).into()),
            Event::Draining => return Err(Gone::Draining.into()),
        })
    }

    /// What a connection is sent instead of all that it missed.
    fn catch_up(&mut self) -> Result<impl Iterator<Item = Text> + use<>, End> {
        let CaughtUp { snapshot, session, expires_at, sit } = self.seat.catch_up()?;
        self.told = snapshot.seq;
        let expiring = expires_at.map(|at| self.sockets.frames.expiring(at));
        let session = session.map(|frame| frame.as_ref().clone());
        Ok([self.state(&snapshot)].into_iter().chain(session).chain(expiring).chain(sit.map(v1::sit)))
    }

    async fn send_state(&mut self) -> Result<(), End> {
        let CaughtUp { snapshot, sit, .. } = self.seat.catch_up()?;
        self.told = snapshot.seq;
        let running = sit.filter(|news| matches!(news, SitNews::Runs(_))).map(v1::sit);
        let frames = [self.state(&snapshot)].into_iter().chain(running);
        self.send(frames.map(Message::Text)).await
    }

    fn state(&self, snapshot: &Snapshot) -> Text {
        self.sockets.frames.state(snapshot, self.seat.shown().as_deref())
    }

    /// A deadline has come.
    async fn beat_of_the_clock(&mut self) -> Result<(), End> {
        let now = self.sockets.clock.now();
        let ping = self.pulse.check(now)?;
        if let Some(quality) = self.pulse.missed_pongs() {
            self.set_quality(quality);
        }
        match ping {
            Some(payload) => self.send([Message::Ping(Bytes::copy_from_slice(&payload))]).await,
            None => Ok(()),
        }
    }

    async fn send(&mut self, messages: impl IntoIterator<Item = Message>) -> Result<(), End> {
        write(&mut self.socket, self.sockets.timings.write_timeout, messages).await
    }
}
