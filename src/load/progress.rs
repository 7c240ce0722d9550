//! How far a run is, and the progress line of a terminal. Nothing is drawn where there is no terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use super::plan::Plan;

/// How often the line is drawn.
pub const OFTEN: Duration = Duration::from_millis(250);

/// How far a run is.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Progress {
    pub quiet: bool,
    pub open: u64,
    pub joins: u64,
    pub failures: u64,
    pub beats: u64,
    pub disagreements: u64,
    pub join_p99_ms: f64,
}

impl Progress {
    /// The progress of two processes together.
    pub fn and(self, other: Self) -> Self {
        Self {
            quiet: self.quiet && other.quiet,
            open: self.open + other.open,
            joins: self.joins + other.joins,
            failures: self.failures + other.failures,
            beats: self.beats + other.beats,
            disagreements: self.disagreements + other.disagreements,
            join_p99_ms: self.join_p99_ms.max(other.join_p99_ms),
        }
    }
}

/// The progress line.
pub struct ProgressLine {
    bar: ProgressBar,
    people: u64,
    whole: Duration,
}

impl ProgressLine {
    /// The line of a run of this plan.
    pub fn new(plan: &Plan) -> Self {
        let whole = plan.ramp_time() + plan.hold;
        let bar = ProgressBar::new(u64::try_from(whole.as_millis()).unwrap_or(u64::MAX));
        let style = ProgressStyle::with_template("{wide_bar} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        Self { bar, people: plan.people() as u64, whole }
    }

    /// Draws the line.
    pub fn draw(&self, progress: Progress) {
        let elapsed = self.bar.elapsed().min(self.whole);
        self.bar.set_position(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
        let Progress { quiet, open, failures, beats, disagreements, join_p99_ms, .. } = progress;
        let phase = if quiet { "comparing" } else { "loading" };
        self.bar.set_message(format!(
            "{phase} {}/{} s · {open} of {} in · {failures} failed · join p99 {join_p99_ms:.0} ms · {beats} beats · {disagreements} disagreements",
            elapsed.as_secs(),
            self.whole.as_secs(),
            self.people,
        ));
    }

    /// Removes the line.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
