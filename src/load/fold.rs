//! Who is in a room, and what each frame makes of it: the fold of `static/client/presence.js`, in Rust.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::frame::{Diff, Person, Reason, Snapshot};
use crate::ids::ParticipantId;

/// What one client knows of its room.
#[derive(Clone, Debug, Default)]
pub struct View {
    you: Option<ParticipantId>,
    seq: u64,
    occupancy: usize,
    people: BTreeMap<ParticipantId, Arc<Person>>,
    /// A count came instead of names.
    counted: bool,
    /// Steps are missing, and no snapshot has come since.
    torn: bool,
}

/// What a frame changed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Folded {
    /// Who was not in the view before.
    pub came: Vec<ParticipantId>,
    /// Who is not in it any more, and why, where that was told.
    pub gone: Vec<(ParticipantId, Option<Reason>)>,
    /// The first step that is missing, where one is.
    pub missing: Option<u64>,
}

impl View {
    /// The last step that is in the view.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// How many people are here, as last told.
    pub fn occupancy(&self) -> usize {
        self.occupancy
    }

    /// Who is known to be here.
    pub fn people(&self) -> &BTreeMap<ParticipantId, Arc<Person>> {
        &self.people
    }

    /// Whether the room is told by its count alone.
    pub fn is_counted(&self) -> bool {
        self.counted
    }

    /// Whether steps are missing.
    pub fn is_torn(&self) -> bool {
        self.torn
    }

    /// A `welcome`.
    pub fn welcome(&mut self, you: Option<ParticipantId>, snapshot: &Snapshot) -> Folded {
        self.you = you;
        self.snapshot(snapshot)
    }

    /// A `state`, and what a `welcome` has of one.
    pub fn snapshot(&mut self, snapshot: &Snapshot) -> Folded {
        let mut folded = Folded::default();
        let listed = snapshot.participants.iter().map(|person| (person.id, Arc::clone(person))).collect();
        let before = std::mem::replace(&mut self.people, listed);
        folded.came.extend(self.people.keys().filter(|id| !before.contains_key(id)));
        folded.gone.extend(before.into_keys().filter(|id| !self.people.contains_key(id)).map(|id| (id, None)));
        (self.seq, self.occupancy) = (snapshot.seq, snapshot.occupancy);
        // Of a room over its limit a snapshot lists the receiver alone.
        self.counted = snapshot.occupancy > self.people.len() && self.people.keys().all(|id| Some(*id) == self.you);
        self.torn = false;
        folded
    }

    /// A `diff`. `None` where it is old.
    pub fn diff(&mut self, diff: &Diff) -> Option<Folded> {
        let mut folded = self.step(diff.seq, diff.occupancy)?;
        for person in diff.joins.iter().chain(&diff.updates) {
            if self.people.insert(person.id, Arc::clone(person)).is_none() {
                folded.came.push(person.id);
            }
        }
        for leave in &diff.leaves {
            if self.people.remove(&leave.id).is_some() {
                folded.gone.push((leave.id, Some(leave.reason)));
            }
        }
        self.counted = false;
        Some(folded)
    }

    /// An `occupancy`: too many to list. `None` where it is old.
    pub fn count(&mut self, seq: u64, occupancy: usize) -> Option<Folded> {
        let folded = self.step(seq, occupancy)?;
        let you = self.you;
        self.people.retain(|id, _| Some(*id) == you);
        self.counted = true;
        Some(folded)
    }

    fn step(&mut self, seq: u64, occupancy: usize) -> Option<Folded> {
        if seq <= self.seq {
            return None;
        }
        let missing = (seq > self.seq + 1).then_some(self.seq + 1);
        self.occupancy = occupancy;
        match missing {
            // A gap stays one until a snapshot comes.
            Some(_) => self.torn = true,
            None => self.seq = seq,
        }
        Some(Folded { missing, ..Folded::default() })
    }
}

#[cfg(test)]
mod tests;
