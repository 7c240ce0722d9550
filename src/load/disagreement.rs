//! Disagreements: where frames and answers of the server contradict each other, each with what is needed to look
//! into it.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

/// How many are kept in full; the others are only counted.
const SHOWN: usize = 50;

/// The kind of a disagreement.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A diff of a room is missing.
    Gap,
    /// A leave was announced for a participant who was connected.
    WrongLeave,
    /// A beat got no answer.
    BeatUnanswered,
    /// The view that frames gave to a client is not the server's answer over HTTP.
    View,
    /// The occupancy of a room is not the number of participants listed.
    Count,
    /// A frame that the protocol does not have.
    Frame,
    /// The server's answer could not be had, so that views were not compared.
    NotCompared,
}

impl Kind {
    /// The word in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::WrongLeave => "wrong_leave",
            Self::BeatUnanswered => "beat_unanswered",
            Self::View => "view",
            Self::Count => "count",
            Self::Frame => "frame",
            Self::NotCompared => "not_compared",
        }
    }
}

/// One disagreement.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Disagreement {
    /// Its kind.
    pub kind: Kind,
    /// The session in which it occurred.
    pub session: String,
    /// Which client received what about which participant.
    pub detail: String,
}

impl Disagreement {
    /// A disagreement in this session.
    pub fn new(kind: Kind, session: impl Display, detail: impl Into<String>) -> Self {
        Self { kind, session: session.to_string(), detail: detail.into() }
    }
}

impl Display for Disagreement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} in session {}: {}", self.kind.as_str(), self.session, self.detail)
    }
}

/// All disagreements: counted by kind, and the first ones in full.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Disagreements {
    by_kind: BTreeMap<Kind, u64>,
    shown: Vec<Disagreement>,
}

impl Disagreements {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.by_kind.values().sum()
    }

    /// How many there are of each kind.
    pub fn by_kind(&self) -> &BTreeMap<Kind, u64> {
        &self.by_kind
    }

    /// The first ones.
    pub fn shown(&self) -> &[Disagreement] {
        &self.shown
    }

    /// Adds one.
    pub fn add(&mut self, disagreement: Disagreement) {
        *self.by_kind.entry(disagreement.kind).or_default() += 1;
        if self.shown.len() < SHOWN {
            self.shown.push(disagreement);
        }
    }

    /// Adds those of another worker.
    pub fn join(&mut self, other: Self) {
        for (kind, count) in other.by_kind {
            *self.by_kind.entry(kind).or_default() += count;
        }
        let room = SHOWN - self.shown.len();
        self.shown.extend(other.shown.into_iter().take(room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_the_first_ones_kept() {
        let some = |count: usize| {
            let mut all = Disagreements::default();
            for n in 0..count {
                all.add(Disagreement::new(Kind::View, "s", format!("number {n}")));
            }
            all
        };
        let mut all = some(40);
        all.join(some(30));
        assert_eq!((all.count(), all.shown().len()), (70, SHOWN));
        assert_eq!(all.shown()[0].to_string(), "view in session s: number 0");
    }
}
