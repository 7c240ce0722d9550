//! What a person receives: folded into its view, and checked against what is known of the others.

use std::time::Duration;

use tokio::time::Instant;

use super::{Out, Person, Stay};
use crate::domain::ids::ParticipantId;
use crate::load::disagreement::Kind;
use crate::load::fold::Folded;
use crate::load::frame::{Diff, Frame};
use crate::load::socket::{self, End};

/// How often a slow reader takes a frame.
const SLOW_READER: Duration = Duration::from_millis(500);

impl Person {
    /// Handles a frame.
    pub(super) async fn receive(&mut self, stay: &mut Stay, text: &str) -> Result<(), Out> {
        stay.last_frame = Instant::now();
        if self.post.slow && self.loads() {
            stay.rests = Some(stay.last_frame + SLOW_READER);
        }
        let taken = self.room.read(text).map_err(|error| error.to_string()).and_then(|received| {
            // The frames of one message count as one.
            let kind = (received.chunk == 1).then(|| kind_of(&received.frame));
            self.run.tally.lock().received(kind, text.len());
            stay.assembler.take(received)
        });
        let frame = match taken {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(()),
            Err(error) => {
                self.disagree(Kind::Frame, format!("{error}: {text}"));
                return Ok(());
            }
        };
        let folded = match &frame {
            Frame::Beat { reference } => {
                self.answered(stay, *reference);
                None
            }
            Frame::Error(fault) => {
                *self.run.tally.lock().errors.entry(fault.code.clone()).or_default() += 1;
                None
            }
            Frame::Welcome(..) => {
                self.disagree(Kind::Frame, format!("{} was welcomed a second time", stay.seat.person));
                None
            }
            Frame::State(snapshot) => {
                stay.syncing = false;
                Some(stay.seat.view.lock().snapshot(snapshot))
            }
            Frame::Diff(diff) => stay.seat.view.lock().diff(diff),
            Frame::Occupancy { seq, occupancy } => stay.seat.view.lock().count(*seq, *occupancy),
            Frame::More(_) | Frame::Other => None,
        };
        match folded {
            Some(folded) => self.folded(stay, &frame, folded).await,
            None => Ok(()),
        }
    }

    /// Handles what has arrived by now; how the connection ended, where it did.
    pub(super) async fn receive_the_rest(&mut self, stay: &mut Stay) -> Option<End> {
        while let Some(arrived) = socket::arrived(&mut stay.socket).await {
            match arrived {
                Ok(text) => {
                    if let Err(Out::Broke(end)) = self.receive(stay, &text).await {
                        return Some(end);
                    }
                }
                Err(end) => return Some(end),
            }
        }
        None
    }

    fn answered(&self, stay: &mut Stay, reference: Option<u64>) {
        match reference.and_then(|reference| stay.seat.answered(reference, stay.last_frame)) {
            Some(took) => {
                stay.stood = stay.stood.max(stay.last_frame - took);
                self.run.tally.lock().answered((!self.post.slow).then_some(took));
            }
            None => {
                let detail = format!("{} got an answer to a beat {reference:?} that it did not send", stay.seat.person);
                self.disagree(Kind::Frame, detail);
            }
        }
    }

    /// Checks a change of the view, and records how long it took to arrive.
    async fn folded(&mut self, stay: &mut Stay, frame: &Frame, folded: Folded) -> Result<(), Out> {
        let me = stay.seat.person;
        if let Some(missing) = folded.missing
            && !stay.syncing
        {
            self.disagree(Kind::Gap, format!("{me} did not receive diff {missing}"));
            stay.syncing = true;
            socket::send(&mut stay.socket, r#"{"type":"sync"}"#.to_owned()).await.map_err(Out::Broke)?;
        }
        let Frame::Diff(diff) = frame else { return Ok(()) };
        let (named, torn) = {
            let view = stay.seat.view.lock();
            (view.people().len(), view.is_torn())
        };
        if named != diff.occupancy && !torn {
            let detail =
                format!("after diff {} {me} sees {named} people, and the diff says {}", diff.seq, diff.occupancy);
            self.disagree(Kind::Count, detail);
        }
        // What a slow reader receives is old.
        if !self.post.slow {
            self.look_at(me, stay.last_frame, diff, &folded);
        }
        Ok(())
    }

    fn look_at(&self, me: ParticipantId, now: Instant, diff: &Diff, folded: &Folded) {
        let joined = diff.joins.iter().map(|person| person.id).filter(|id| *id != me && folded.came.contains(id));
        let took: Vec<_> = joined.filter_map(|id| self.room.whereabouts(id).lock().seen(now)).collect();
        if !took.is_empty() {
            let mut tally = self.run.tally.lock();
            took.into_iter().for_each(|took| tally.seen.record(took));
        }
        for (id, reason) in folded.gone.iter().filter_map(|(id, reason)| Some((*id, (*reason)?))) {
            let detail = || format!("{me} received in diff {} that {id} left ({reason:?}), which it had not", diff.seq);
            let whereabouts = self.room.whereabouts(id);
            let (grace, crashes) = (self.run.grace(), self.run.crashes.lock());
            let wrong = whereabouts.lock().leave_received(reason, now, grace, &crashes, detail);
            drop(crashes);
            if let Some(wrong) = wrong {
                self.disagree(Kind::WrongLeave, wrong);
            }
        }
    }
}

fn kind_of(frame: &Frame) -> &'static str {
    match frame {
        Frame::Welcome(..) => "welcome",
        Frame::State(_) => "state",
        Frame::Diff(_) => "diff",
        Frame::Occupancy { .. } => "occupancy",
        Frame::Beat { .. } => "beat",
        Frame::Error(_) => "error",
        Frame::More(_) => "more",
        Frame::Other => "other",
    }
}
