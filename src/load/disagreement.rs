//! Where the server and what it said do not agree, told so that somebody can act on it.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

/// So many are kept whole; the others are counted.
const SHOWN: usize = 50;

/// What does not agree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A step of a room did not come.
    Gap,
    /// Somebody was told to be gone who was not.
    WrongLeave,
    /// A beat got no answer.
    BeatUnanswered,
    /// What a client was told is not what the server answers over HTTP.
    View,
    /// The count of a room is not the number of people who were named.
    Count,
    /// A frame that is none of the protocol's.
    Frame,
    /// The server could not be asked whether the views are right.
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

/// One thing that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Disagreement {
    /// What it is.
    pub kind: Kind,
    /// In which session.
    pub session: String,
    /// Who saw what of whom.
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

/// All of them: counted, and the first ones in full.
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

    /// One more.
    pub fn add(&mut self, disagreement: Disagreement) {
        *self.by_kind.entry(disagreement.kind).or_default() += 1;
        if self.shown.len() < SHOWN {
            self.shown.push(disagreement);
        }
    }

    /// All of another worker's.
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
