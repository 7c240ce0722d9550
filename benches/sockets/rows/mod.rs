//! The rows of the table, one file each.

pub mod beats;
pub mod churn;
pub mod connects;
pub mod fanout;
pub mod idle;
pub mod mass_join;
pub mod memory;
pub mod storm;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::Value;

use crate::subject::Subject;

/// All rows.
pub const NAMES: [&str; 10] = [
    "memory-10k",
    "memory-18k",
    "beats",
    "fanout-1",
    "fanout-16",
    "mass-join",
    "leave-return",
    "connects",
    "storm",
    "idle",
];

/// The settings of lastseen for a row, beside those that clients of one machine need.
pub fn settings(row: &str) -> &'static [&'static str] {
    match row {
        // One room of any size, with diffs as soon as anything happens, and without Pings meanwhile.
        "fanout-1" | "fanout-16" => &[
            "--detail-limit=2000",
            "--diff-interval=1ms",
            "--diff-interval-large=1ms",
            "--ping-interval=10m",
            "--dead-after=20m",
        ],
        "mass-join" => &["--detail-limit=2000", "--diff-interval-large=100ms"],
        "storm" => &["--grace=30s"],
        _ => &[],
    }
}

/// What a row gives.
pub struct Measured {
    pub value: f64,
    pub unit: &'static str,
    pub detail: Value,
}

/// How long nothing is done, so that one thing does not pay for another.
pub const QUIET: Duration = Duration::from_secs(2);

/// The people that each person sees.
pub struct Views {
    numbers: HashMap<Vec<u8>, usize>,
    seen: Vec<HashSet<usize>>,
}

impl Views {
    /// All views are empty.
    pub fn new(people: usize) -> Self {
        Self { numbers: HashMap::new(), seen: vec![HashSet::new(); people] }
    }

    /// Applies a message to the view of its receiver.
    pub fn fold(&mut self, subject: &dyn Subject, person: usize, text: &[u8]) {
        let Self { numbers, seen } = self;
        subject.people(text, &mut |id, here| {
            let next = numbers.len();
            let number = match numbers.get(id) {
                Some(number) => *number,
                None => *numbers.entry(id.to_vec()).or_insert(next),
            };
            if here {
                seen[person].insert(number);
            } else {
                seen[person].remove(&number);
            }
        });
    }

    /// Empties the view of a person who is away.
    pub fn forget(&mut self, person: usize) {
        self.seen[person].clear();
    }

    /// Whether each person sees exactly so many.
    pub fn all_see(&self, people: usize) -> bool {
        self.seen.iter().all(|seen| seen.len() == people)
    }
}
