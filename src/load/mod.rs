//! The load generator: people who join, beat, drop and come back over the plain protocol, as a browser does, and
//! who check every frame that they receive.
//!
//! Of the server it uses what any client can use: frames, codes and calls of docs/reference/PROTOCOL.md.

pub mod chunks;
pub mod disagreement;
pub mod fold;
pub mod frame;
pub mod generator;
pub mod habits;
pub mod judge;
pub mod latency;
pub mod limits;
pub mod person;
pub mod plan;
pub mod progress;
pub mod report;
pub mod rest;
pub mod room;
pub mod run;
pub mod socket;
pub mod tally;
pub mod target;
pub mod whereabouts;
pub mod worker;

use std::time::Duration;

use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use self::generator::{AT_ONCE, Assignment, Generator, unix_millis};
use self::plan::Plan;
use self::progress::{OFTEN, Progress, ProgressLine};
use self::report::Report;
use self::rest::Rest;
use self::room::Invited;
use self::tally::Tally;
use self::target::Target;
use self::worker::Worker;

/// The time that worker processes need to start.
const HEAD_START: Duration = Duration::from_secs(1);

/// Carries out a plan, until it is over or until `stop`; both return a report.
///
/// # Errors
/// What prevented the start: a server that is not ours or not there, a plan that does not fit.
pub async fn run(plan: Plan, target: Target, token: Option<String>, stop: CancellationToken) -> anyhow::Result<Report> {
    limits::check(&plan, limits::raise_files()?)?;
    let rest = Rest::new(target.clone(), token.clone())?;
    // Before anything is created: whether the server answers.
    let before = rest.figures().await?;
    let rooms = open(&rest, &plan).await?;
    let started_at = chrono::Utc::now();
    let assignment = Assignment { plan, target, rooms, token: token.clone(), worker: 0, starts_at: unix_millis() };
    let started = Instant::now();
    let mut crew = Crew::gather(&assignment).await?;
    let line = ProgressLine::new(&assignment.plan);
    crew.load(&stop, &line).await?;
    line.clear();
    let after = rest.figures().await;
    let ended_early = stop.is_cancelled();
    let tally = crew.finish().await?;
    if token.is_some() {
        let closing = stream::iter(&assignment.rooms).for_each_concurrent(AT_ONCE, |room| async {
            // One that stays open is closed by its idle timeout.
            let _ = rest.close(room.id, None).await;
        });
        closing.await;
    }
    let took = started.elapsed();
    Ok(Report::new(assignment.plan, started_at, took, ended_early, [before, after.unwrap_or_default()], tally))
}

async fn open(rest: &Rest, plan: &Plan) -> anyhow::Result<Vec<Invited>> {
    let opening = plan
        .rooms()
        .into_iter()
        .enumerate()
        .map(|(number, people)| async move { rest.open(&format!("Load {}", number + 1), people).await });
    stream::iter(opening).buffered(AT_ONCE).try_collect().await
}

/// The processes that play a plan: this one alone, or several workers.
enum Crew {
    Alone(Box<Generator>),
    Workers(Vec<Worker>),
}

impl Crew {
    async fn gather(assignment: &Assignment) -> anyhow::Result<Self> {
        let workers = assignment.plan.workers;
        if workers == 1 {
            return Ok(Self::Alone(Box::new(Generator::new(assignment.clone())?)));
        }
        let starts_at = assignment.starts_at + u64::try_from(HEAD_START.as_millis())?;
        let parts = (0..workers).map(|worker| Assignment { worker, starts_at, ..assignment.clone() });
        let parts: Vec<_> = parts.collect();
        Ok(Self::Workers(try_join_all(parts.iter().map(Worker::start)).await?))
    }

    /// Loads, and compares views at the end.
    async fn load(&mut self, stop: &CancellationToken, line: &ProgressLine) -> anyhow::Result<()> {
        match self {
            Self::Alone(generator) => {
                let work = async {
                    generator.load(stop).await;
                    generator.check().await;
                };
                watched(work, || line.draw(generator.progress())).await;
                Ok(())
            }
            Self::Workers(workers) => {
                let progress: Vec<_> = workers.iter().map(|worker| worker.progress.clone()).collect();
                let whole = || progress.iter().map(|one| *one.borrow()).reduce(Progress::and).unwrap_or_default();
                let work = try_join_all(workers.iter_mut().map(|worker| worker.checked(stop)));
                watched(work, || line.draw(whole())).await.map(drop)
            }
        }
    }

    async fn finish(self) -> anyhow::Result<Tally> {
        match self {
            Self::Alone(generator) => Ok(generator.finish().await),
            Self::Workers(mut workers) => {
                let mut all = Tally::default();
                for tally in try_join_all(workers.iter_mut().map(Worker::tally)).await? {
                    all.add(tally);
                }
                Ok(all)
            }
        }
    }
}

/// Runs `work`, and calls `look` at short intervals meanwhile.
async fn watched<T>(work: impl Future<Output = T>, look: impl Fn()) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = sleep(OFTEN) => look(),
        }
    }
}
