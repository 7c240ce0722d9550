//! Steps: changes are gathered, told as one, and continue every snapshot.

use std::sync::Arc;

use indexmap::IndexMap;

use super::{Inner, Room};
use crate::clock::Moment;
use crate::ids::ParticipantId;
use crate::room::encoding::Encodings;
use crate::room::event::{Changes, Diff, Event, List, People, Snapshot};
use crate::room::participant::LeaveReason;
use crate::room::roster::Change;

/// Rooms with more people than this gather changes for the longer interval.
pub(super) const LARGE: usize = 100;

/// How many may come in before the list of people is made anew. Each of them is encoded for everybody
/// who comes after it, and a new list encodes the whole room once: for a thousand people that is least
/// between 32 and 64.
pub(super) const NEWER: usize = 32;

/// Somebody who changed since the last step.
#[derive(Debug)]
pub(super) struct Pending {
    /// Whether those who know that step know the person.
    known: bool,
    left: Option<LeaveReason>,
}

impl Room {
    /// Notes a change for the next step, and what of it the store has to know.
    pub(super) fn note(&self, inner: &mut Inner, change: Change, now: Moment) {
        inner.note_people(&change);
        let (id, known, left) = match change {
            Change::Joined(id) => (id, false, None),
            Change::Updated(id) => (id, true, None),
            Change::Left(mark, reason) => {
                self.shared.metrics.leaves(reason.as_str()).inc();
                inner.past_activity = inner.past_activity.max(mark.active());
                if matches!(reason, LeaveReason::Left | LeaveReason::Timeout) {
                    self.shared.ledger.left(&mark, reason);
                }
                (mark.participant(), true, Some(reason))
            }
        };
        inner.pending.entry(id).or_insert(Pending { known, left }).left = left;
        self.publish_later(inner, now);
    }

    fn publish_later(&self, inner: &mut Inner, now: Moment) {
        if inner.publish_at.is_none() {
            let large = inner.roster.occupancy() > LARGE;
            let rules = &self.shared.rules;
            let at = now + if large { rules.diff_interval_large } else { rules.diff_interval };
            inner.publish_at = Some(at);
            self.shared.schedule.add(at, self.id);
        }
    }

    /// Tells everybody what changed since the last step.
    pub(super) fn publish(&self, inner: &mut Inner) {
        inner.publish_at = None;
        inner.people = None;
        let pending = std::mem::take(&mut inner.pending);
        if pending.is_empty() {
            return;
        }
        let limit = self.shared.rules.detail_limit;
        let occupancy = inner.roster.occupancy();
        let told = std::mem::replace(&mut inner.told, (occupancy, occupancy));
        let changes = match (told.1 > limit, occupancy > limit) {
            // Also where only a snapshot since the last step went without the list.
            (true, false) => return inner.audience.note(Event::Refresh),
            (_, true) if told == (occupancy, occupancy) => return,
            (_, true) => None,
            (false, false) => Some(inner.changes(pending)),
        };
        inner.seq += 1;
        self.shared.metrics.diffs.inc();
        let diff = Diff { seq: inner.seq, occupancy, changes, encodings: Encodings::default() };
        inner.audience.note(Event::Diff(Arc::new(diff)));
    }

    pub(super) fn snapshot_of(&self, inner: &mut Inner) -> Snapshot {
        let occupancy = inner.roster.occupancy();
        inner.told = (inner.told.0.min(occupancy), inner.told.1.max(occupancy));
        let people = (occupancy <= self.shared.rules.detail_limit).then(|| {
            // Also where nothing is to be told: the list is given up then.
            self.publish_later(inner, self.shared.clock.now());
            inner.people()
        });
        Snapshot { seq: inner.seq, occupancy, people }
    }
}

impl Inner {
    /// Who comes in is put behind the list; after any other change it is not true any more.
    fn note_people(&mut self, change: &Change) {
        match (change, &mut self.people) {
            (Change::Joined(id), Some(people)) if people.newer.len() < NEWER => {
                people.newer.extend(self.roster.get(*id).cloned());
            }
            _ => self.people = None,
        }
    }

    fn people(&mut self) -> People {
        let roster = &self.roster;
        let made = || List { people: roster.iter().cloned().collect(), encodings: Encodings::default() };
        self.people.get_or_insert_with(|| People { list: Arc::new(made()), newer: Vec::new() }).clone()
    }

    /// Whoever changed several times appears as what it ends as.
    fn changes(&self, pending: IndexMap<ParticipantId, Pending>) -> Changes {
        let mut changes = Changes::default();
        for (id, Pending { known, left }) in pending {
            match (self.roster.get(id), known, left) {
                (Some(person), true, _) => changes.updates.push(Arc::clone(person)),
                (Some(person), false, _) => changes.joins.push(Arc::clone(person)),
                // Also for somebody who came since the last step: a snapshot taken meanwhile has it.
                (None, _, left) => changes.leaves.push((id, left.unwrap_or(LeaveReason::Left))),
            }
        }
        changes
    }
}
