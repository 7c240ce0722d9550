//! Counts and measurements of one worker, added up over all of them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::disagreement::{Disagreement, Disagreements};
use super::latency::Latency;

/// Counts by word.
pub type Counts = BTreeMap<String, u64>;

/// The counts of a run.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// People who joined for the first time.
    pub joins: u64,
    /// People who came back.
    pub returns: u64,
    /// Failed attempts to join, by reason.
    pub failures: Counts,
    /// Connections that the server or the network ended, by reason.
    pub ends: Counts,
    /// Refusals on connections that went on, by code.
    pub errors: Counts,
    /// People who were not connected at the end.
    pub outside: u64,
    #[expect(missing_docs, reason = "the name says it")]
    pub beats_sent: u64,
    #[expect(missing_docs, reason = "the name says it")]
    pub beats_answered: u64,
    /// Beats whose connection ended before the answer.
    pub beats_gone: u64,
    /// Frames, by type.
    pub frames: Counts,
    /// The payload of all frames received, without the overhead of WebSocket and TCP.
    pub bytes: u64,
    /// From when a person was due for the first time until the welcome.
    pub join: Latency,
    /// From when a person was due to come back until the welcome.
    pub back: Latency,
    /// From when a person was due until another client received the join.
    pub seen: Latency,
    /// From when a beat was due until its answer.
    pub beat: Latency,
    /// How late the generator itself was.
    pub late: Latency,
    /// How long it took until everybody was back after the cut of all connections, in the profile that has one.
    pub all_back: Option<Duration>,
    /// Contradictions in what the server sent.
    pub disagreements: Disagreements,
    /// How many views were compared with the server's answer.
    pub compared: u64,
    /// One sample for each second of the run.
    pub seconds: Vec<Second>,
    #[serde(skip)]
    now: Second,
}

/// One second of the run.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Second {
    /// Connections that were open at its end.
    pub open: u64,
    pub joins: u64,
    pub returns: u64,
    pub failures: u64,
    pub beats: u64,
    pub frames: u64,
    pub bytes: u64,
    pub join: Latency,
    pub beat: Latency,
}

impl Tally {
    /// A person joined, for the first time or again.
    pub fn came(&mut self, again: bool, took: Duration) {
        if again {
            self.returns += 1;
            self.now.returns += 1;
            self.back.record(took);
        } else {
            self.joins += 1;
            self.now.joins += 1;
            self.join.record(took);
        }
        self.now.join.record(took);
    }

    /// An attempt to join failed.
    pub fn failed(&mut self, why: &str) {
        *self.failures.entry(why.to_owned()).or_default() += 1;
        self.now.failures += 1;
    }

    /// A frame of this type arrived; without a type one that goes on with the frame before it, and counts with that.
    pub fn received(&mut self, kind: Option<&'static str>, bytes: usize) {
        self.bytes += bytes as u64;
        self.now.bytes += bytes as u64;
        let Some(kind) = kind else { return };
        self.now.frames += 1;
        // Looked up first, since it is nearly always there.
        match self.frames.get_mut(kind) {
            Some(count) => *count += 1,
            None => drop(self.frames.insert(kind.to_owned(), 1)),
        }
    }

    /// A beat was answered; without a latency for slow readers.
    pub fn answered(&mut self, took: Option<Duration>) {
        self.beats_answered += 1;
        self.now.beats += 1;
        if let Some(took) = took {
            self.beat.record(took);
            self.now.beat.record(took);
        }
    }

    /// Something disagrees.
    pub fn disagree(&mut self, disagreement: Disagreement) {
        self.disagreements.add(disagreement);
    }

    /// A second is over.
    pub fn turn(&mut self, open: u64) {
        let mut second = std::mem::take(&mut self.now);
        second.open = open;
        self.seconds.push(second);
    }

    /// Adds the counts of another worker.
    pub fn add(&mut self, other: Self) {
        self.joins += other.joins;
        self.returns += other.returns;
        self.outside += other.outside;
        self.beats_sent += other.beats_sent;
        self.beats_answered += other.beats_answered;
        self.beats_gone += other.beats_gone;
        self.bytes += other.bytes;
        self.compared += other.compared;
        for (mine, others) in [
            (&mut self.failures, other.failures),
            (&mut self.ends, other.ends),
            (&mut self.errors, other.errors),
            (&mut self.frames, other.frames),
        ] {
            for (word, count) in others {
                *mine.entry(word).or_default() += count;
            }
        }
        for (mine, others) in [
            (&mut self.join, &other.join),
            (&mut self.back, &other.back),
            (&mut self.seen, &other.seen),
            (&mut self.beat, &other.beat),
            (&mut self.late, &other.late),
        ] {
            mine.add(others);
        }
        self.all_back = self.all_back.max(other.all_back);
        self.disagreements.join(other.disagreements);
        self.seconds.resize_with(self.seconds.len().max(other.seconds.len()), Second::default);
        for (mine, others) in self.seconds.iter_mut().zip(&other.seconds) {
            mine.add(others);
        }
    }
}

impl Second {
    fn add(&mut self, other: &Self) {
        self.open += other.open;
        self.joins += other.joins;
        self.returns += other.returns;
        self.failures += other.failures;
        self.beats += other.beats;
        self.frames += other.frames;
        self.bytes += other.bytes;
        self.join.add(&other.join);
        self.beat.add(&other.beat);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::disagreement::Kind;

    fn some() -> Tally {
        let mut tally = Tally::default();
        tally.came(false, Duration::from_millis(5));
        tally.came(true, Duration::from_millis(7));
        tally.failed("rate_limited");
        tally.received(Some("diff"), 60);
        tally.received(None, 40);
        tally.answered(Some(Duration::from_millis(1)));
        tally.disagree(Disagreement::new(Kind::Gap, "x", "step 3 is missing"));
        tally.turn(1);
        tally.came(false, Duration::from_millis(9));
        tally.turn(2);
        tally
    }

    #[test]
    fn workers_add_up_also_over_a_wire() {
        let text = serde_json::to_string(&some()).expect("JSON");
        let mut sum: Tally = serde_json::from_str(&text).expect("a tally");
        sum.add(some());
        assert_eq!((sum.joins, sum.returns, sum.beats_answered, sum.bytes), (4, 2, 2, 200));
        assert_eq!((sum.failures["rate_limited"], sum.frames["diff"]), (2, 2));
        assert_eq!((sum.join.count(), sum.back.count()), (4, 2));
        assert_eq!(sum.disagreements.count(), 2);
        let seconds: Vec<_> = sum.seconds.iter().map(|second| (second.open, second.joins)).collect();
        assert_eq!(seconds, [(2, 2), (4, 2)]);
    }

    #[test]
    fn a_worker_that_saw_more_seconds_keeps_them() {
        let mut sum = Tally::default();
        sum.add(some());
        assert_eq!(sum.seconds.len(), 2);
    }
}
