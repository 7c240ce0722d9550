//! The result of a run: as JSON, as text (`text`) and as a page with charts (`html`).

mod html;
mod text;

use std::time::Duration;

use serde::Serialize;

use super::disagreement::{Disagreement, Kind};
use super::latency::Quantiles;
use super::plan::Plan;
use super::rest::Figures;
use super::tally::{Counts, Second, Tally};

/// Everything that is reported. The keys of the JSON must not change: programs read them.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "docs/reference/load.md says what each is")]
pub struct Report {
    pub version: u32,
    pub started_at: String,
    pub seconds: f64,
    pub ended_early: bool,
    pub plan: ReportedPlan,
    pub joins: Joins,
    pub latency: Latencies,
    pub beats: Beats,
    pub frames: Counts,
    pub per_participant: PerParticipant,
    pub connections_lost: Counts,
    pub errors: Counts,
    pub all_back_ms: Option<f64>,
    pub disagreements: Disagreed,
    pub server: Server,
    pub timeline: Vec<Moment>,
}

#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "docs/reference/load.md says what each is")]
pub struct ReportedPlan {
    pub url: String,
    pub profile: &'static str,
    pub sessions: usize,
    pub people: usize,
    pub ramp_per_second: f64,
    pub duration_seconds: f64,
    pub beat_interval_seconds: Option<f64>,
    pub churn_per_minute: f64,
    pub slow: f64,
    pub workers: usize,
    pub source_addresses: usize,
    pub seed: u64,
}

#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "docs/reference/load.md says what each is")]
pub struct Joins {
    pub joined: u64,
    pub came_back: u64,
    pub per_second: f64,
    pub most_in_a_second: u64,
    pub failures: Counts,
    pub outside_at_end: u64,
}

#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "docs/reference/load.md says what each is")]
pub struct Latencies {
    pub join: Option<Quantiles>,
    pub back: Option<Quantiles>,
    pub seen_by_others: Option<Quantiles>,
    pub beat: Option<Quantiles>,
    pub generator_late: Option<Quantiles>,
}

#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "docs/reference/load.md says what each is")]
pub struct Beats {
    pub sent: u64,
    pub answered: u64,
    pub lost_with_their_line: u64,
}

#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "docs/reference/load.md says what each is")]
pub struct PerParticipant {
    pub diffs: f64,
    pub bytes: f64,
}

#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "docs/reference/load.md says what each is")]
pub struct Disagreed {
    pub count: u64,
    pub views_compared: u64,
    pub by_kind: Counts,
    pub shown: Vec<Disagreement>,
}

#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "docs/reference/load.md says what each is")]
pub struct Server {
    pub before: Figures,
    pub after: Figures,
}

/// One second of the run.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "docs/reference/load.md says what each is")]
pub struct Moment {
    pub second: usize,
    pub open: u64,
    pub joins: u64,
    pub returns: u64,
    pub failures: u64,
    pub beats: u64,
    pub frames: u64,
    pub bytes: u64,
    pub join: Option<Quantiles>,
    pub beat: Option<Quantiles>,
}

impl Report {
    /// The report of a plan and its counts.
    pub fn new(
        plan: Plan,
        started_at: chrono::DateTime<chrono::Utc>,
        took: Duration,
        ended_early: bool,
        [before, after]: [Figures; 2],
        tally: Tally,
    ) -> Self {
        let people = plan.people();
        let each = |count: u64| count as f64 / people.max(1) as f64;
        let by_kind = tally.disagreements.by_kind().iter().map(|(kind, count)| (kind.as_str().to_owned(), *count));
        Self {
            version: 1,
            started_at: started_at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            seconds: took.as_secs_f64(),
            ended_early,
            joins: joins(people as u64, &tally),
            latency: Latencies {
                join: tally.join.quantiles(),
                back: tally.back.quantiles(),
                seen_by_others: tally.seen.quantiles(),
                beat: tally.beat.quantiles(),
                generator_late: tally.late.quantiles(),
            },
            beats: Beats {
                sent: tally.beats_sent,
                answered: tally.beats_answered,
                lost_with_their_line: tally.beats_gone,
            },
            per_participant: PerParticipant {
                diffs: each(tally.frames.get("diff").copied().unwrap_or_default()),
                bytes: each(tally.bytes),
            },
            all_back_ms: tally.all_back.map(|took| took.as_secs_f64() * 1000.0),
            disagreements: Disagreed {
                count: tally.disagreements.count(),
                views_compared: tally.compared,
                by_kind: by_kind.collect(),
                shown: tally.disagreements.shown().to_vec(),
            },
            server: Server { before, after },
            timeline: tally.seconds.iter().enumerate().map(|(number, second)| moment(number + 1, second)).collect(),
            frames: tally.frames,
            connections_lost: tally.ends,
            errors: tally.errors,
            plan: reported(plan),
        }
    }

    /// Whether the run was good: views were compared, and nothing disagreed.
    pub fn is_good(&self) -> bool {
        self.disagreements.count == 0 && self.disagreements.views_compared > 0
    }

    /// What an operator can do about failures.
    pub fn hints(&self) -> Vec<&'static str> {
        let failed = |why: &str| self.joins.failures.contains_key(why);
        let disagreed = |kind: Kind| self.disagreements.by_kind.contains_key(kind.as_str());
        let late = self.latency.generator_late.is_some_and(|late| late.p99_ms > 100.0);
        [
            (
                failed("rate_limited"),
                "rate_limited: the server takes so many connections of one address (its --max-connections-per-ip, --max-handshakes-per-minute). Raise these, or come from several with --source-addresses 127.0.0.2-20.",
            ),
            (
                failed("at_capacity"),
                "at_capacity: the server holds as many connections as its --max-connections lets it.",
            ),
            (
                failed("unavailable"),
                "unavailable: the server or its database had more to do than it could. A slower --ramp shows how much it takes.",
            ),
            (failed("no_free_port"), "no_free_port: this address has no more ports. Use more --source-addresses."),
            (
                late,
                "The generator itself was late: this machine is too busy to measure with. Use more --workers, or load less.",
            ),
            (
                disagreed(Kind::NotCompared),
                "not_compared: the list of participants is open to the service and to participants alone: give the load a token with --token or --jwt-secret.",
            ),
        ]
        .into_iter()
        .filter_map(|(applies, hint)| applies.then_some(hint))
        .collect()
    }

    /// The report as text.
    pub fn text(&self) -> String {
        text::of(self)
    }

    /// The page with charts. It asks no other host.
    ///
    /// # Errors
    /// Where a figure cannot be written as JSON.
    pub fn html(&self) -> serde_json::Result<String> {
        html::of(self)
    }
}

fn joins(people: u64, tally: &Tally) -> Joins {
    // The time in which as many joined as were planned; replacements join later.
    let mut came = 0;
    let all_came = tally.seconds.iter().position(|second| {
        came += second.joins;
        came >= people
    });
    let took = all_came.map_or(tally.seconds.len(), |last| last + 1).max(1);
    let most = tally.seconds.iter().map(|second| second.joins + second.returns).max();
    Joins {
        joined: tally.joins,
        came_back: tally.returns,
        per_second: tally.joins.min(people) as f64 / took as f64,
        most_in_a_second: most.unwrap_or_default(),
        failures: tally.failures.clone(),
        outside_at_end: tally.outside,
    }
}

fn reported(plan: Plan) -> ReportedPlan {
    ReportedPlan {
        profile: plan.profile.as_str(),
        sessions: plan.rooms().len(),
        people: plan.people(),
        ramp_per_second: plan.ramp,
        duration_seconds: plan.hold.as_secs_f64(),
        beat_interval_seconds: plan.beat.map(|beat| beat.as_secs_f64()),
        churn_per_minute: plan.churn,
        slow: plan.slow,
        workers: plan.workers,
        source_addresses: plan.sources.len().max(1),
        seed: plan.seed,
        url: plan.url,
    }
}

fn moment(number: usize, second: &Second) -> Moment {
    let &Second { open, joins, returns, failures, beats, frames, bytes, ref join, ref beat } = second;
    Moment {
        second: number,
        open,
        joins,
        returns,
        failures,
        beats,
        frames,
        bytes,
        join: join.quantiles(),
        beat: beat.quantiles(),
    }
}
