//! One connection: a single unsplit task around a single `select!`.

use std::sync::Arc;

use tokio::time::sleep_until;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Sockets;
use super::device;
use super::dialogue::{Dialogue, Owed};
use super::end::End;
use super::frame::{Decoder, Outbox};
use super::limits::Permit;
use super::line::{Line, decode};
use super::member::Member;
use crate::admission::Admission;
use crate::clock::Moment;
use crate::protocol::Refusal;
use crate::protocol::v1::{self, Session, Welcome};
use crate::room::{JoinError, Joined, Seat, Subscriber};
use crate::store::reading_sessions::ReadingSession;
use crate::user_session::{Device, Wire};

/// What a newcomer is told of itself, made before its admission is spent.
#[derive(Debug)]
struct Welcomed {
    resume: Option<String>,
    session: Session,
    until: Option<Moment>,
}

impl Welcomed {
    /// What this admission gives. Joining is being seen: the session lives from now on anew, unless
    /// the newcomer only watches.
    fn of(admission: &Admission, sockets: &Sockets) -> Self {
        let claims = admission.resume_claims();
        let resume = claims.as_ref().map(|claims| sockets.admissions.keys().resume().sign(claims));
        let now = sockets.clock.utc(sockets.clock.now());
        let mut session = admission.session.clone();
        if claims.is_some() {
            (session.last_seen_at, session.last_activity_at) = (now, now);
        }
        Self { resume, session: ReadingSession::from(&session).shown(sockets.store.idle()), until: admission.until }
    }
}

/// Tells a client why it cannot join, and ends.
pub async fn refuse(sockets: &Sockets, line: &Line, refusal: Refusal) {
    tracing::info!(code = refusal.code.as_str(), "refused a connection");
    sockets.metrics.refusals(refusal.code.as_str()).inc();
    line.farewell(&End::Refused(refusal)).await;
}

/// What a connection holds from before its upgrade to its end.
#[derive(Debug)]
#[expect(missing_docs, reason = "the types say it")]
pub struct Held {
    pub permit: Permit,
    pub token: TaskTrackerToken,
}

/// Lets somebody in by an admission and greets it.
///
/// # Errors
/// [`JoinError`] where the room changed since the admission.
pub fn enter(member: &Arc<Member>, sockets: &Sockets, admission: Admission) -> Result<Entered, JoinError> {
    let welcomed = Welcomed::of(&admission, sockets);
    let subscriber = Arc::clone(member) as Arc<dyn Subscriber>;
    let seat = member.greet(
        || admission.enter(subscriber),
        |Joined { seat, snapshot, notices }, greeting| {
            let welcome = Welcome {
                you: seat.participant(),
                connection_id: Some(seat.connection()),
                resume: welcomed.resume.as_deref(),
                session: &welcomed.session,
            };
            greeting.spliced(&sockets.frames.welcome(&welcome, snapshot, seat.shown().as_deref()));
            notices.iter().for_each(|notice| greeting.text(&v1::notice(notice)));
        },
    )?;
    Ok(Entered { seat, until: welcomed.until })
}

/// Somebody who is in the room and was told so.
#[derive(Debug)]
pub struct Entered {
    seat: Seat,
    /// When its credential expires.
    until: Option<Moment>,
}

/// Serves somebody who has entered, in a task of its own.
///
/// That task is fresh and does nothing but serve: a task is as large as the largest thing that it ever
/// does, for as long as it lives, and most of what a connection costs is that.
pub async fn start(
    sockets: Arc<Sockets>,
    member: Arc<Member>,
    decoder: Decoder,
    entered: Entered,
    device: Option<Device>,
    held: Held,
) {
    let Entered { seat, until } = entered;
    let user = seat.shown().and_then(|person| person.user_id);
    let flushed = member.line().flush(sockets.timings.write_timeout).await;
    let mut attachment = None;
    if let (Ok(()), Some((device, user))) = (&flushed, device.zip(user)) {
        match device::attach(&sockets, user, device, Wire::Socket).await {
            Ok(attached) => attachment = Some(Box::new(attached)),
            // Whom it belongs to is no reason to put somebody out of a room.
            Err(refusal) => {
                sockets.metrics.refusals(refusal.code.as_str()).inc();
                let mut told = Outbox::default();
                told.text(&v1::error(&refusal, None));
                member.say(told);
            }
        }
    }
    let dialogue = Dialogue::new(sockets, seat, attachment, until);
    let connection = Connection { member, decoder, dialogue, _held: held };
    match flushed {
        Ok(()) => drop(tokio::spawn(connection.serve())),
        Err(end) => connection.end(end).await,
    }
}

struct Connection {
    member: Arc<Member>,
    decoder: Decoder,
    dialogue: Dialogue,
    _held: Held,
}

impl Connection {
    async fn serve(mut self) {
        let end = self.run().await;
        // Needs more room than serving does, and only now.
        Box::pin(self.end(end)).await;
    }

    /// Gives the seat back, says so, and says goodbye.
    async fn end(self, end: End) {
        // Whoever waits for the place waits for the socket: what is bound first is dropped last.
        let Self { _held, member, dialogue, .. } = self;
        dialogue.end(&end);
        member.farewell(&end).await;
    }

    async fn run(&mut self) -> End {
        let Self { member, decoder, dialogue, .. } = self;
        let max = dialogue.max_message_bytes();
        let mut out = Outbox::default();
        let mut turn = decode(decoder, &mut [], max, |incoming| dialogue.hear(incoming, &mut out));
        let alarm = sleep_until(dialogue.alarm());
        tokio::pin!(alarm);
        loop {
            // What was said before something went wrong is answered too.
            if !out.is_empty() {
                member.say(std::mem::take(&mut out));
            }
            if let Some(owed) = dialogue.owed() {
                // Seldom, and needs more room than all else that a connection does; so does settling.
                Box::pin(give(member, dialogue, *owed)).await;
            }
            if let Err(end) = turn {
                return end;
            }
            turn = tokio::select! {
                () = member.line().readable() => {
                    member.line().hear(decoder, max, |incoming| dialogue.hear(incoming, &mut out))
                }
                () = member.called() => Box::pin(member.settle(dialogue.seat())).await,
                () = &mut alarm => {
                    let checked = dialogue.check(&mut out);
                    alarm.as_mut().reset(dialogue.alarm());
                    checked
                }
            };
        }
    }
}

/// Does what was asked for and takes longer than hearing it did.
async fn give(member: &Member, dialogue: &Dialogue, Owed { state, sits }: Owed) {
    for (reference, length_seconds) in sits {
        if let Err(refusal) = dialogue.start_sit(length_seconds).await {
            let mut told = Outbox::default();
            told.text(&v1::error(&refusal, reference));
            member.say(told);
        }
    }
    if state {
        member.sync();
    }
}
