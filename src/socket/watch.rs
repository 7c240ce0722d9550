//! Reading along without a WebSocket: the events of a room as Server-Sent Events.
//!
//! A task follows the room and hands over one event at a time. What the reader has not taken waits in
//! the room's own bounded queue, and becomes one `state` where that is too much.

use std::convert::Infallible;
use std::sync::Arc;

use axum::response::sse::Event as Sent;
use futures_util::{Stream, stream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Sockets;
use super::end::End;
use super::limits::Permit;
use crate::clock::Moment;
use crate::domain::participant::Standing;
use crate::ids::ParticipantId;
use crate::protocol::v1::{self, Session, Welcome};
use crate::protocol::{Code, Refusal};
use crate::room::{CaughtUp, Event, Gone, Notice, Snapshot, Watch, Watching};
use crate::user_session::Attachment;

/// So many comments that keep a stream alive, and the store is asked whether the reader still belongs to
/// the session: nobody whom it hears of a removal from by another server beats here.
const COMMENTS_A_CHECK: u32 = 4;

/// Cuts the TCP connection that a request came by; put there by the accept loop.
#[derive(Clone, Debug, Default)]
pub struct Cut(pub CancellationToken);

/// Who reads along, and what it holds.
#[derive(Debug)]
#[expect(missing_docs, reason = "the types say it")]
pub struct Reader {
    pub permit: Permit,
    pub cut: Cut,
    /// Its row in the session; `None` for the service.
    pub participant: Option<ParticipantId>,
    /// When its credential expires.
    pub until: Option<Moment>,
    /// The user session that it is counted in.
    pub attachment: Option<Attachment>,
}

/// Begins a stream: with `welcome` where a session is to be shown, else with `state`. Where the user
/// session cannot be had that it wants to be counted in, it is told so and goes on without.
pub fn stream(
    sockets: Arc<Sockets>,
    mut reader: Reader,
    attachment: Option<Result<Attachment, Refusal>>,
    watching: Watching,
    session: Option<&Session>,
) -> impl Stream<Item = Result<Sent, Infallible>> + use<> {
    let Watching { watch, snapshot, notices, events } = watching;
    let (to_reader, from_room) = mpsc::channel(1);
    let token = sockets.tracker.token();
    let now = sockets.clock.now();
    let mut first = vec![match session {
        Some(session) => {
            let welcome = Welcome { you: None, connection_id: None, resume: None, session };
            sent("welcome", Some(snapshot.seq), &sockets.frames.welcome(&welcome, &snapshot, None).whole())
        }
        None => state(&sockets, &snapshot),
    }];
    first.extend(notices.iter().map(notice_event));
    match attachment {
        Some(Ok(attachment)) => reader.attachment = Some(attachment),
        Some(Err(refusal)) => {
            sockets.metrics.refusals(refusal.code.as_str()).inc();
            first.push(Sent::default().event("error").data(v1::error(&refusal, None)));
        }
        None => {}
    }
    let following = Following {
        told: snapshot.seq,
        next_comment: now + sockets.timings.ping_interval,
        comments: 0,
        to_reader,
        events,
        watch,
        reader,
        sockets,
    };
    tokio::spawn(following.run(first));
    // The token goes with what hyper reads from: a server that stops waits until the last event has left.
    stream::unfold((from_room, token), async |(mut from_room, token)| {
        from_room.recv().await.map(|event| (Ok(event), (from_room, token)))
    })
}

struct Following {
    sockets: Arc<Sockets>,
    reader: Reader,
    watch: Watch,
    events: broadcast::Receiver<Event>,
    to_reader: mpsc::Sender<Sent>,
    /// The last step of the room that the reader knows of.
    told: u64,
    next_comment: Moment,
    comments: u32,
}

impl Following {
    async fn run(mut self, first: Vec<Sent>) {
        let end = match self.send(first).await {
            Ok(()) => self.follow().await,
            Err(end) => end,
        };
        tracing::info!(session = %self.watch.room().id(), reason = end.word(), "reader ended");
        if let Some(attachment) = self.reader.attachment.take_if(|_| !end.comes_back()) {
            attachment.leave();
        }
        match end {
            // A stuck reader cannot be told; what is queued for it would wait for ever.
            End::Refused(refusal) if refusal.code == Code::SlowConsumer => self.reader.cut.0.cancel(),
            End::Refused(refusal) => {
                let goodbye = Sent::default().event("error").data(v1::error(&refusal, None));
                let goodbye = match refusal.retry_after {
                    Some(after) => goodbye.retry(after),
                    None => goodbye,
                };
                let _ = timeout(self.sockets.timings.write_timeout, self.to_reader.send(goodbye)).await;
            }
            _ => {}
        }
    }

    async fn follow(&mut self) -> End {
        loop {
            let until = self.reader.until.map_or(self.next_comment, |until| until.min(self.next_comment));
            let turn = tokio::select! {
                event = self.events.recv() => self.tell(event).await,
                () = self.to_reader.closed() => Err(End::Lost),
                () = sleep_until(self.sockets.clock.instant(until)) => self.beat_of_the_clock().await,
            };
            if let Err(end) = turn {
                return end;
            }
        }
    }

    async fn tell(&mut self, event: Result<Event, RecvError>) -> Result<(), End> {
        let told = match event {
            Ok(event) => self.told_of(event)?,
            Err(RecvError::Lagged(_)) => {
                self.sockets.metrics.lagged.inc();
                self.catch_up()?
            }
            Err(RecvError::Closed) => return Err(End::Lost),
        };
        self.sockets.metrics.deliveries.inc_by(told.len() as u64);
        self.send(told).await
    }

    fn told_of(&mut self, event: Event) -> Result<Vec<Sent>, End> {
        Ok(match event {
            // A snapshot that was sent meanwhile includes it.
            Event::Diff(diff) if diff.seq <= self.told => vec![],
            Event::Diff(diff) => {
                self.told = diff.seq;
                let kind = if diff.changes.is_some() { "diff" } else { "occupancy" };
                vec![sent(kind, Some(diff.seq), &self.sockets.frames.diff(&diff))]
            }
            Event::Refresh => {
                let CaughtUp { snapshot, .. } = self.watch.catch_up()?;
                self.told = snapshot.seq;
                vec![state(&self.sockets, &snapshot)]
            }
            Event::Expiring(at) => vec![sent("expiring", None, &self.sockets.frames.expiring(at))],
            Event::Session(session) => vec![sent("session", None, &self.sockets.frames.session(&session))],
            Event::Notice(notice) => vec![notice_event(&notice)],
            Event::Removed(id) if self.reader.participant == Some(id) => return Err(Gone::Removed.into()),
            Event::Removed(_) => vec![],
            Event::Closed(reason) => return Err(Gone::Closed(reason).into()),
            Event::Draining => return Err(Gone::Draining.into()),
        })
    }

    fn catch_up(&mut self) -> Result<Vec<Sent>, End> {
        let CaughtUp { snapshot, session, expires_at, notices } = self.watch.catch_up()?;
        self.told = snapshot.seq;
        let expiring = expires_at.map(|at| sent("expiring", None, &self.sockets.frames.expiring(at)));
        let session = session.map(|session| sent("session", None, &self.sockets.frames.session(&session)));
        let first = [state(&self.sockets, &snapshot)].into_iter();
        Ok(first.chain(session).chain(expiring).chain(notices.iter().map(notice_event)).collect())
    }

    /// A deadline has come: that of the credential, or the next sign that the stream is alive.
    async fn beat_of_the_clock(&mut self) -> Result<(), End> {
        let now = self.sockets.clock.now();
        if self.reader.until.is_some_and(|until| until <= now) {
            return Err(Code::TokenExpired.into());
        }
        self.next_comment = now + self.sockets.timings.ping_interval;
        self.comments += 1;
        if self.comments.is_multiple_of(COMMENTS_A_CHECK) {
            self.check_standing().await?;
        }
        self.send(vec![Sent::default().comment("")]).await?;
        // Nothing comes from a reader; what it takes shows that it is there.
        if let Some(attachment) = &self.reader.attachment {
            attachment.seen(now);
        }
        Ok(())
    }

    /// Ends the stream of somebody who was removed, or whose session was closed, behind our back.
    async fn check_standing(&self) -> Result<(), End> {
        match self.sockets.store.standing(self.watch.room().id(), self.reader.participant).await {
            Ok(standing) => standing_refusal(standing).map_or(Ok(()), |refusal| Err(End::Refused(refusal))),
            // Nobody is put out because the database is away.
            Err(_) => Ok(()),
        }
    }

    async fn send(&self, events: Vec<Sent>) -> Result<(), End> {
        for event in events {
            match timeout(self.sockets.timings.write_timeout, self.to_reader.send(event)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(End::Lost),
                Err(_) => return Err(Code::SlowConsumer.into()),
            }
        }
        Ok(())
    }
}

/// Why somebody may not read along, where that is so.
pub fn standing_refusal(standing: Standing) -> Option<Refusal> {
    match standing {
        Standing::Good => None,
        Standing::Removed => Some(Code::Removed.into()),
        Standing::Closed(reason) => Some(Refusal::closed(reason)),
        Standing::Gone => Some(Code::SessionNotFound.into()),
    }
}

fn state(sockets: &Sockets, snapshot: &Snapshot) -> Sent {
    sent("state", Some(snapshot.seq), &sockets.frames.state(snapshot, None).whole())
}

fn notice_event(notice: &Notice) -> Sent {
    sent(notice.kind, None, &v1::notice(notice))
}

fn sent(kind: &str, seq: Option<u64>, text: &str) -> Sent {
    let event = Sent::default().event(kind).data(text);
    match seq {
        Some(seq) => event.id(seq.to_string()),
        None => event,
    }
}
