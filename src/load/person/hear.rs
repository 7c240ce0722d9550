//! What somebody hears: folded, and judged by what we know of the others.

use std::time::Duration;

use tokio::time::Instant;

use super::{Out, Person, Stay};
use crate::ids::ParticipantId;
use crate::load::disagreement::Kind;
use crate::load::fold::Folded;
use crate::load::frame::{Diff, Frame};
use crate::load::socket;

/// Who reads slowly takes a frame this often.
const SLOW_READER: Duration = Duration::from_millis(500);

impl Person {
    /// A frame came.
    pub(super) async fn hear(&mut self, stay: &mut Stay, text: &str) -> Result<(), Out> {
        stay.heard = Instant::now();
        if self.post.slow && self.loads() {
            stay.rests = Some(stay.heard + SLOW_READER);
        }
        let frame = match self.room.read(text) {
            Ok(frame) => frame,
            Err(error) => {
                self.disagree(Kind::Frame, format!("{error}: {text}"));
                return Ok(());
            }
        };
        self.run.tally.lock().heard(kind_of(&frame), text.len());
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
            Frame::Other => None,
        };
        match folded {
            Some(folded) => self.folded(stay, &frame, folded).await,
            None => Ok(()),
        }
    }

    fn answered(&self, stay: &Stay, reference: Option<u64>) {
        match reference.and_then(|reference| stay.seat.answered(reference, stay.heard)) {
            Some(took) => self.run.tally.lock().answered((!self.post.slow).then_some(took)),
            None => {
                let detail = format!("{} got an answer to a beat {reference:?} that it did not send", stay.seat.person);
                self.disagree(Kind::Frame, detail);
            }
        }
    }

    /// The view changed: whether it may have, and how long it took.
    async fn folded(&mut self, stay: &mut Stay, frame: &Frame, folded: Folded) -> Result<(), Out> {
        let me = stay.seat.person;
        if let Some(missing) = folded.missing
            && !stay.syncing
        {
            self.disagree(Kind::Gap, format!("{me} was not told step {missing}"));
            stay.syncing = true;
            socket::send(&mut stay.socket, r#"{"type":"sync"}"#.to_owned()).await.map_err(Out::Broke)?;
        }
        let Frame::Diff(diff) = frame else { return Ok(()) };
        let (named, torn) = {
            let view = stay.seat.view.lock();
            (view.people().len(), view.is_torn())
        };
        if named != diff.occupancy && !torn {
            let detail = format!("with step {} {me} sees {named} people, and is told {}", diff.seq, diff.occupancy);
            self.disagree(Kind::Count, detail);
        }
        // What somebody who reads slowly hears is old.
        if !self.post.slow {
            self.look_at(me, stay.heard, diff, &folded);
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
            let tell = || format!("{me} was told in step {} that {id} is gone ({reason:?}), who was not", diff.seq);
            self.room.whereabouts(id).lock().told_gone(reason, now, self.run.grace(), tell);
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
        Frame::Other => "other",
    }
}
