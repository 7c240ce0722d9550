//! A client's view of its room, and what each frame changes in it: the fold of the browser client, in Rust.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::frame::{Diff, Person, Reason, Snapshot};
use crate::domain::ids::ParticipantId;

/// What one client knows of its room.
#[derive(Clone, Debug, Default)]
pub struct View {
    you: Option<ParticipantId>,
    seq: u64,
    occupancy: usize,
    people: BTreeMap<ParticipantId, Arc<Person>>,
    /// The last frame had a count instead of a list.
    counted: bool,
    /// Diffs are missing, and no snapshot has arrived since.
    torn: bool,
}

/// What a frame changed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Folded {
    /// Participants who were not in the view before.
    pub came: Vec<ParticipantId>,
    /// Participants who are not in it any more, with the reason where the frame has one.
    pub gone: Vec<(ParticipantId, Option<Reason>)>,
    /// The first missing `seq`, if any.
    pub missing: Option<u64>,
}

impl View {
    /// The `seq` of the last diff or snapshot in the view.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The last occupancy received.
    pub fn occupancy(&self) -> usize {
        self.occupancy
    }

    /// The participants in the view.
    pub fn people(&self) -> &BTreeMap<ParticipantId, Arc<Person>> {
        &self.people
    }

    /// Whether the room sends its occupancy alone.
    pub fn is_counted(&self) -> bool {
        self.counted
    }

    /// Whether diffs are missing.
    pub fn is_torn(&self) -> bool {
        self.torn
    }

    /// Applies a `welcome`.
    pub fn welcome(&mut self, you: Option<ParticipantId>, snapshot: &Snapshot) -> Folded {
        self.you = you;
        self.snapshot(snapshot)
    }

    /// Applies a `state`, or the snapshot in a `welcome`.
    pub fn snapshot(&mut self, snapshot: &Snapshot) -> Folded {
        let mut folded = Folded::default();
        let listed = snapshot.participants.iter().map(|person| (person.id, Arc::clone(person))).collect();
        let before = std::mem::replace(&mut self.people, listed);
        folded.came.extend(self.people.keys().filter(|id| !before.contains_key(id)));
        folded.gone.extend(before.into_keys().filter(|id| !self.people.contains_key(id)).map(|id| (id, None)));
        (self.seq, self.occupancy) = (snapshot.seq, snapshot.occupancy);
        // For a room over its detail limit a snapshot lists the receiver alone.
        self.counted = snapshot.occupancy > self.people.len() && self.people.keys().all(|id| Some(*id) == self.you);
        self.torn = false;
        folded
    }

    /// Applies a `diff`; `None` where it is older than the view.
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

    /// Applies an `occupancy`; `None` where it is older than the view.
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
            // The view stays incomplete until a snapshot arrives.
            Some(_) => self.torn = true,
            None => self.seq = seq,
        }
        Some(Folded { missing, ..Folded::default() })
    }
}

#[cfg(test)]
mod tests;
