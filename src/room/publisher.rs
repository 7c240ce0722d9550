//! Gathers the changes of a room and makes diffs and snapshots of them that continue each other.
//!
//! Pure state, under the room's lock: between a snapshot and the diffs after it there is never a hole.

use std::sync::Arc;

use indexmap::IndexMap;

use super::diff::{Changes, Diff};
use super::encoding::Encodings;
use super::roster::{Change, Roster};
use super::rules::Rules;
use super::snapshot::{List, People, Snapshot};
use crate::clock::Moment;
use crate::domain::ids::ParticipantId;
use crate::domain::participant::LeaveReason;

/// Rooms with more people than this gather changes for the longer interval.
pub(super) const LARGE: usize = 100;

/// How many may come in before the list of people is made anew. Each of them is encoded for each person
/// who comes after it, and a new list encodes the whole room once: for a thousand people that is least
/// between 32 and 64.
pub(super) const NEWER: usize = 32;

/// What a room has published, and the changes that it has not.
#[derive(Debug, Default)]
pub(super) struct Publisher {
    /// The number of the last diff.
    seq: u64,
    /// The fewest and the most people in any count that was sent, by that diff or a snapshot since.
    sent_occupancy: (usize, usize),
    /// Whether counts are sent instead of people.
    counts: bool,
    /// The people who changed since that diff.
    pending: IndexMap<ParticipantId, Pending>,
    /// When the next diff is due.
    due: Option<Moment>,
    /// The people of the room, for the next snapshots. Given up when the next diff is due, so that an idle
    /// room holds no list.
    people: Option<People>,
}

/// A person who changed since the last diff.
#[derive(Debug)]
struct Pending {
    /// Whether the person is in the view of subscribers that have that diff.
    known: bool,
    left: Option<LeaveReason>,
}

/// What has to be sent when a diff is due.
#[derive(Debug)]
pub(super) enum Publication {
    /// Nothing changed that is sent.
    Nothing,
    /// Every subscriber needs a snapshot.
    Refresh,
    /// A diff.
    Diff(Diff),
}

impl Publisher {
    /// The number of the last diff.
    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    /// A change that the roster has made.
    pub(super) fn note(&mut self, change: &Change, roster: &Roster) {
        // A newcomer is put behind the list; after any other change the list is not true any more.
        match (change, &mut self.people) {
            (Change::Joined(id), Some(people)) if people.newer.len() < NEWER => {
                people.newer.extend(roster.get(*id).cloned());
            }
            _ => self.people = None,
        }
        let (id, known, left) = match change {
            Change::Joined(id) => (*id, false, None),
            Change::Updated(id) => (*id, true, None),
            Change::Left(person, reason) => (person.id, true, Some(*reason)),
        };
        self.pending.entry(id).or_insert(Pending { known, left }).left = left;
    }

    /// Plans the next diff; returns when it is due, where none was planned.
    pub(super) fn plan(&mut self, roster: &Roster, rules: &Rules, now: Moment) -> Option<Moment> {
        if self.due.is_some() {
            return None;
        }
        let is_large = roster.occupancy() > LARGE;
        self.due = Some(now + if is_large { rules.diff_interval_large } else { rules.diff_interval });
        self.due
    }

    /// Whether the next diff is due.
    pub(super) fn is_due(&self, now: Moment) -> bool {
        self.due.is_some_and(|at| at <= now)
    }

    /// Publishes what changed since the last diff. Once over the limit, the room has to fall some way below it until
    /// people are sent again: everybody is sent a list then, which must not happen each time that one person comes
    /// and goes.
    pub(super) fn publish(&mut self, roster: &Roster, detail_limit: usize) -> Publication {
        self.due = None;
        self.people = None;
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            return Publication::Nothing;
        }
        let occupancy = roster.occupancy();
        let sent = std::mem::replace(&mut self.sent_occupancy, (occupancy, occupancy));
        let most = if self.counts { back_to_people(detail_limit) } else { detail_limit };
        let changes = match (std::mem::replace(&mut self.counts, occupancy > most), occupancy > most) {
            // Also where only a snapshot since the last diff went without the list.
            (true, false) => return Publication::Refresh,
            // Where people were sent until now no such count was sent.
            (_, true) if sent == (occupancy, occupancy) => return Publication::Nothing,
            (_, true) => None,
            (false, false) => Some(changes(pending, roster)),
        };
        self.seq += 1;
        Publication::Diff(Diff { seq: self.seq, occupancy, changes, encodings: Encodings::default() })
    }

    /// The presence as it is now. Where it has people in it, the next diff has to be planned: the list is
    /// given up then.
    pub(super) fn snapshot(&mut self, roster: &Roster, detail_limit: usize) -> Snapshot {
        let occupancy = roster.occupancy();
        let (fewest, most) = self.sent_occupancy;
        self.sent_occupancy = (fewest.min(occupancy), most.max(occupancy));
        self.counts |= occupancy > detail_limit;
        let people = (!self.counts).then(|| self.people.get_or_insert_with(|| list(roster)).clone());
        Snapshot { seq: self.seq, occupancy, people }
    }

    #[cfg(test)]
    pub(super) fn sends_counts(&self) -> bool {
        self.counts
    }

    #[cfg(test)]
    pub(super) fn has_list(&self) -> bool {
        self.people.is_some()
    }

    #[cfg(test)]
    pub(super) fn is_planned(&self) -> bool {
        self.due.is_some()
    }

    /// The room is over: its people need no list any more.
    pub(super) fn clear_people(&mut self) {
        self.people = None;
    }
}

/// How many people a room that sent counts may have when it sends people again: a tenth less than the limit, and at
/// least one less, unless nobody would be left.
pub(super) fn back_to_people(detail_limit: usize) -> usize {
    detail_limit - detail_limit.div_ceil(10).min(detail_limit - 1)
}

fn list(roster: &Roster) -> People {
    let list = List { people: roster.iter().cloned().collect(), encodings: Encodings::default() };
    People { list: Arc::new(list), newer: Vec::new() }
}

/// A person who changed several times appears as what it ends as.
fn changes(pending: IndexMap<ParticipantId, Pending>, roster: &Roster) -> Changes {
    let mut changes = Changes::default();
    for (id, Pending { known, left }) in pending {
        match (roster.get(id), known, left) {
            (Some(person), true, _) => changes.updates.push(Arc::clone(person)),
            (Some(person), false, _) => changes.joins.push(Arc::clone(person)),
            // Also for a person who came since the last diff: a snapshot taken meanwhile has it.
            (None, _, left) => changes.leaves.push((id, left.unwrap_or(LeaveReason::Left))),
        }
    }
    changes
}
