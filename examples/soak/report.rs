//! What is printed: a line a fault, and a table at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use lastseen::load::tally::Tally;

use crate::fault::Fault;
use crate::server::Holds;

/// How a fault went.
pub struct Outcome {
    pub fault: Fault,
    pub lasts: Duration,
    /// From its end until `/readyz` is 200.
    pub ready: Option<Duration>,
    /// From its end until the crowd is back.
    pub back: Option<Duration>,
    /// The longest wait of the bystander for the answer to a beat.
    pub beat: Duration,
    /// The longest way in of a newcomer, and how many were refused.
    pub join: Duration,
    pub refused: usize,
    pub wrong: Vec<String>,
}

fn seconds(time: Option<Duration>) -> String {
    time.map_or_else(|| "never".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()))
}

impl Outcome {
    /// Prints it.
    pub fn print(&self, since: Duration) {
        println!(
            "{:>6.0} s  {:<18} {:>3.0} s  ready {:>7}  back {:>7}  beat {:>7}  join {:>7}  {:>3} refused  {}",
            since.as_secs_f64(),
            self.fault.name(),
            self.lasts.as_secs_f64(),
            seconds(self.ready),
            seconds(self.back),
            seconds(Some(self.beat)),
            seconds(Some(self.join)),
            self.refused,
            if self.wrong.is_empty() { "good".to_owned() } else { format!("WRONG: {}", self.wrong.join("; ")) },
        );
    }
}

/// The table of all faults: the worst of each.
pub fn table(outcomes: &[Outcome]) {
    let mut by_fault: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        by_fault.entry(outcome.fault.name()).or_default().push(outcome);
    }
    println!(
        "\n{:<18} {:>5} {:>5} {:>9} {:>9} {:>9} {:>9} {:>8}",
        "fault", "times", "wrong", "ready", "back", "beat", "join", "refused"
    );
    for (name, outcomes) in by_fault {
        // None, which is never, is the worst.
        let worst = |of: fn(&Outcome) -> Option<Duration>| {
            let all: Option<Vec<_>> = outcomes.iter().map(|outcome| of(outcome)).collect();
            seconds(all.and_then(|all| all.into_iter().max()))
        };
        println!(
            "{name:<18} {:>5} {:>5} {:>9} {:>9} {:>9} {:>9} {:>8}",
            outcomes.len(),
            outcomes.iter().filter(|outcome| !outcome.wrong.is_empty()).count(),
            worst(|outcome| outcome.ready),
            worst(|outcome| outcome.back),
            worst(|outcome| Some(outcome.beat)),
            worst(|outcome| Some(outcome.join)),
            outcomes.iter().map(|outcome| outcome.refused).sum::<usize>(),
        );
    }
}

/// What the crowd did, what was accepted, and what the server held before and after.
pub fn totals(tally: &Tally, accepted: &[(&str, usize)], before: Holds, after: Holds) {
    println!(
        "\ncrowd: {} joins, {} returns, {} beats answered, {} views compared, {} disagreements",
        tally.joins,
        tally.returns,
        tally.beats_answered,
        tally.compared,
        tally.disagreements.count()
    );
    let accepted: Vec<_> = accepted.iter().map(|(what, count)| format!("{count} {what}")).collect();
    println!("accepted beside it, and looked for: {}", accepted.join(", "));
    for (when, holds) in [("before", before), ("after", after)] {
        println!(
            "the server {when}: {:.0} MiB, {} descriptors, {} threads, {} tasks",
            holds.memory, holds.descriptors, holds.threads, holds.tasks
        );
    }
}
