//! The generator of one process: starts people as planned, holds the load, and compares every view with
//! the server's answer once nothing changes any more.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::disagreement::{Disagreement, Kind};
use super::plan::{Plan, Profile};
use super::progress::Progress;
use super::rest::Rest;
use super::room::{Invited, Room};
use super::run::{Phase, Run};
use super::tally::Tally;
use super::target::Target;
use super::{judge, person};

/// How often views are compared while they still differ.
const LOOK: Duration = Duration::from_millis(200);

/// How many rooms are asked for at the same time.
pub const AT_ONCE: usize = 8;

/// The part of a plan that one process plays.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the types say it")]
pub struct Assignment {
    pub plan: Plan,
    pub target: Target,
    pub rooms: Vec<Invited>,
    pub token: Option<String>,
    /// Which of the plan's workers this is.
    pub worker: usize,
    /// When the first person is due, in milliseconds of Unix time; the same for all workers.
    pub starts_at: u64,
}

/// Plays an assignment.
pub struct Generator {
    run: Arc<Run>,
    rest: Rest,
    rooms: Vec<Arc<Room>>,
    worker: usize,
    start: Instant,
    players: TaskTracker,
}

impl Generator {
    /// A generator that has not begun yet.
    ///
    /// # Errors
    /// Where the HTTP client cannot be set up.
    pub fn new(assignment: Assignment) -> anyhow::Result<Self> {
        let Assignment { plan, target, rooms, token, worker, starts_at } = assignment;
        let rest = Rest::new(target.clone(), token)?;
        let run = Arc::new(Run::new(plan, target));
        let rooms = rooms.into_iter().map(|way| Arc::new(Room::new(way))).collect();
        let start = Instant::now() + Duration::from_millis(starts_at.saturating_sub(unix_millis()));
        Ok(Self { run, rest, rooms, worker, start, players: TaskTracker::new() })
    }

    /// How far the run is.
    pub fn progress(&self) -> Progress {
        let tally = self.run.tally.lock();
        Progress {
            quiet: *self.run.phase.borrow() == Phase::Quiet,
            open: self.run.open.load(Ordering::Relaxed),
            joins: tally.joins,
            failures: tally.failures.values().sum(),
            beats: tally.beats_answered,
            disagreements: tally.disagreements.count(),
            join_p99_ms: tally.join.quantile_ms(0.99),
        }
    }

    /// Loads until the plan is over or `stop` is cancelled.
    pub async fn load(&self, stop: &CancellationToken) {
        tokio::spawn(count_seconds(Arc::clone(&self.run), self.start));
        tokio::select! {
            () = self.play() => {}
            () = stop.cancelled() => {}
        }
        self.run.phase.send_replace(Phase::Quiet);
    }

    async fn play(&self) {
        let plan = &self.run.plan;
        for post in plan.posts().into_iter().filter(|post| post.worker == self.worker) {
            let due = self.start + post.due;
            sleep_until(due).await;
            let room = Arc::clone(&self.rooms[post.room]);
            self.players.spawn(person::live(Arc::clone(&self.run), room, post, due));
        }
        let all_due = self.start + plan.ramp_time();
        if plan.profile == Profile::Storm {
            sleep_until(all_due + plan.hold / 2).await;
            self.cut().await;
        }
        sleep_until(all_due + plan.hold).await;
    }

    /// Cuts all connections at once, and records how long it takes until everybody is back.
    async fn cut(&self) {
        let (at, before) = (Instant::now(), self.run.open.load(Ordering::Relaxed));
        self.run.phase.send_replace(Phase::Cut);
        let returns = self.run.tally.lock().returns;
        let run = Arc::clone(&self.run);
        self.players.spawn(async move {
            // Connections that drop by themselves meanwhile also count as returns: those that were cut are back
            // at the latest when as many returned as were cut and nobody is outside.
            loop {
                let back = run.tally.lock().returns - returns >= before && run.outside() == 0;
                if back {
                    run.tally.lock().all_back = Some(at.elapsed());
                }
                if back || *run.phase.borrow() == Phase::Over {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        });
    }

    /// Waits until every view is what the server answers. Differences that remain when the plan's patience is
    /// over are recorded.
    pub async fn check(&self) {
        let deadline = Instant::now() + self.run.plan.patience + self.run.grace() * 2;
        while self.run.outside() > 0 && Instant::now() < deadline {
            sleep(LOOK).await;
        }
        stream::iter(&self.rooms).for_each_concurrent(AT_ONCE, |room| self.check_room(room, deadline)).await;
        let mut tally = self.run.tally.lock();
        tally.outside += self.run.outside();
    }

    async fn check_room(&self, room: &Room, deadline: Instant) {
        let seats = room.seats().len() as u64;
        if seats == 0 {
            return;
        }
        loop {
            let key = room.key().map(|(token, _)| token);
            let found = match self.rest.participants(room.way.id, key.as_deref()).await {
                Ok(truth) => judge::disagreements(room, &truth),
                Err(error) => vec![Disagreement::new(Kind::NotCompared, room.way.id, format!("{error:#}"))],
            };
            if found.is_empty() || Instant::now() >= deadline {
                let mut tally = self.run.tally.lock();
                tally.compared += seats;
                found.into_iter().for_each(|one| tally.disagree(one));
                return;
            }
            sleep(LOOK).await;
        }
    }

    /// Lets everybody leave, closes the rooms, and returns what was counted.
    pub async fn finish(self) -> Tally {
        self.run.phase.send_replace(Phase::Over);
        self.players.close();
        self.players.wait().await;
        for room in &self.rooms {
            for (_, whereabouts) in room.all_whereabouts() {
                for who in whereabouts.lock().suspicions() {
                    self.run.tally.lock().disagree(Disagreement::new(Kind::WrongLeave, room.way.id, who));
                }
            }
        }
        self.close_rooms().await;
        std::mem::take(&mut *self.run.tally.lock())
    }

    /// Closes the rooms whose host is ours. The others are closed by the process that opened them as the
    /// service, or when they are idle.
    async fn close_rooms(&self) {
        stream::iter(&self.rooms)
            .for_each_concurrent(AT_ONCE, |room| async move {
                if let Some((token, true)) = room.key() {
                    // One that stays open is closed by its idle timeout.
                    let _ = self.rest.close(room.way.id, Some(&token)).await;
                }
            })
            .await;
    }
}

/// Records one sample for each second of the run.
async fn count_seconds(run: Arc<Run>, start: Instant) {
    for second in 1.. {
        sleep_until(start + Duration::from_secs(second)).await;
        if *run.phase.borrow() == Phase::Over {
            return;
        }
        run.tally.lock().turn(run.open.load(Ordering::Relaxed));
    }
}

/// The present in milliseconds of Unix time, on which all processes agree.
pub fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
