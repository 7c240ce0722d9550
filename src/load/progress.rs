//! The line that moves while a run goes on. On a terminal only: nothing is drawn elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::plan::Plan;
use super::run::Progress;

/// How often it is drawn.
pub const OFTEN: Duration = Duration::from_millis(250);

/// The line.
pub struct Line {
    bar: ProgressBar,
    people: u64,
    whole: Duration,
}

impl Line {
    /// A line for this plan.
    pub fn new(plan: &Plan) -> Self {
        let whole = plan.ramp_time() + plan.hold;
        let bar = ProgressBar::new(u64::try_from(whole.as_millis()).unwrap_or(u64::MAX));
        let style = ProgressStyle::with_template("{wide_bar} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        Self { bar, people: plan.people() as u64, whole }
    }

    /// Draws where the run is.
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

    /// Takes it away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
