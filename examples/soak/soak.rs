//! A run: sets everything up, lets faults come, and judges.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use lastseen::identity::jwt::{self, JwtRole};
use lastseen::load::rest::Rest;
use lastseen::load::room::Invited;
use lastseen::load::target::Target;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::bystander::Bystander;
use crate::crowd::Crowd;
use crate::fault::{Deck, Fault};
use crate::ledger::Ledger;
use crate::newcomer::Newcomers;
use crate::place::Place;
use crate::postgres::Postgres;
use crate::report::{self, Outcome};
use crate::server::{DEAD_AFTER, GRACE, Holds, SECRET, Server};

/// How long the server may take after a fault until it is ready and all are back. Clients wait for up to 30 s between
/// attempts that fail.
const RECOVERY: Duration = Duration::from_secs(90);

/// How long an answer may take that no fault concerns, on a busy machine with a debug build. A wait for the end of a
/// fault is longer.
const UNDISTURBED: Duration = Duration::from_secs(5);

/// How much older than it may be a person is in the database before it is a ghost: flush, sweep and a busy machine.
const SLACK: Duration = Duration::from_secs(30);

/// How soon after a restart under another name the people of the old one must be settled.
const SETTLED: Duration = Duration::from_secs(180);

/// How much more the server may hold at the end than at the beginning: what it keeps for later, like connections to
/// the database and pages of its allocator.
const MORE: Holds = Holds { memory: 96.0, descriptors: 20, threads: 8, tasks: 20 };

/// What a run is to do.
pub struct Run {
    pub program: PathBuf,
    pub time: Duration,
    pub seed: u64,
    pub rooms: usize,
    pub only: Vec<Fault>,
    pub log: Option<PathBuf>,
}

/// Everything that runs. Fields are dropped from the top: what a guard holds ends before what it is on.
pub struct World {
    pub server: Server,
    pub crowd: Crowd,
    pub postgres: Postgres,
    pub place: Place,
    pub target: Target,
    pub rest: Rest,
    http: reqwest::Client,
    wrong: Vec<String>,
}

impl World {
    /// Notes something that must not be.
    pub fn wrong(&mut self, what: String) {
        self.wrong.push(what);
    }

    /// Opens a session for a fault.
    pub async fn open(&self, title: &str, people: usize) -> anyhow::Result<Invited> {
        self.rest.open(title, people).await
    }

    /// Whether the server takes people.
    pub async fn is_ready(&self) -> bool {
        let asked = self.http.get(self.target.http("/readyz")).timeout(Duration::from_secs(2)).send().await;
        asked.is_ok_and(|answer| answer.status().is_success())
    }

    /// Waits until the server is ready and the crowd back: how long each took.
    async fn recovered(&self) -> (Option<Duration>, Option<Duration>) {
        let (ended, mut ready, mut back) = (Instant::now(), None, None);
        while (ready.is_none() || back.is_none()) && ended.elapsed() < RECOVERY {
            if ready.is_none() && self.is_ready().await {
                ready = Some(ended.elapsed());
            }
            if back.is_none() && self.crowd.is_back() {
                back = Some(ended.elapsed());
            }
            sleep(Duration::from_millis(100)).await;
        }
        (ready, back)
    }

    /// People whom the database has as present and who were not seen for too long. Those of other servers than this
    /// one may wait until they are settled.
    async fn ghosts(&self, of_others: bool) -> anyhow::Result<i64> {
        let question = "select count(*) from session_participants p join reading_sessions s on s.id = p.session_id
             where p.is_active and s.is_active and p.last_seen_at < now() - make_interval(secs => $1)
               and ($2 or p.node = $3)";
        let old = (DEAD_AFTER + GRACE + SLACK).as_secs_f64();
        let asked = sqlx::query_scalar(question).bind(old).bind(of_others).bind(self.server.node());
        Ok(asked.fetch_one(&self.postgres.pool).await?)
    }

    /// How long ago the people of a session were seen, as the database has it.
    async fn seen_ago(&self, session: Uuid) -> anyhow::Result<Duration> {
        let question = "select coalesce(extract(epoch from now() - max(last_seen_at)), 1e6)::float8
             from session_participants where session_id = $1";
        let ago: f64 = sqlx::query_scalar(question).bind(session).fetch_one(&self.postgres.pool).await?;
        Ok(Duration::from_secs_f64(ago.max(0.0)))
    }

    async fn no_ghosts_within(&self, patience: Duration, of_others: bool) -> anyhow::Result<i64> {
        let began = Instant::now();
        loop {
            let ghosts = self.ghosts(of_others).await?;
            if ghosts == 0 || began.elapsed() >= patience {
                return Ok(ghosts);
            }
            sleep(Duration::from_millis(500)).await;
        }
    }
}

/// Runs, prints, and says whether all was good.
pub async fn run(run: Run, stop: CancellationToken) -> anyhow::Result<bool> {
    println!("soak: {} minutes, seed {}", run.time.as_secs() / 60, run.seed);
    let place = Place::new()?;
    let postgres = Postgres::start(place.path()).await?;
    let server = Server::start(&run.program, place.path(), postgres.url(), run.log.as_deref()).await?;
    let target = Target::resolve(&format!("http://{}", server.address), false).await?;
    let token = jwt::issue(SECRET.as_bytes(), None, None, JwtRole::Service, None, Duration::from_secs(7 * 24 * 3600));
    let rest = Rest::new(target.clone(), Some(token.clone()))?;
    let before = server.holds(&rest.figures().await?)?;
    let crowd = Crowd::come(&target, &token, run.rooms, run.seed).await?;
    let http = target.client()?;
    let mut world = World { server, crowd, postgres, place, target, rest, http, wrong: Vec::new() };

    let quiet = CancellationToken::new();
    let _quiet = quiet.clone().drop_guard();
    let ledger = Arc::new(Ledger::default());
    ledger.fill(world.target.clone(), world.rest.clone(), quiet.clone())?;
    let room = world.open("Bystander", 4).await?;
    let session = room.id.0;
    let bystander = Bystander::join(world.target.clone(), room, quiet.clone());
    let corridor = world.open("Newcomers", 1000).await?;
    let newcomers = Newcomers::come(world.target.clone(), corridor, Arc::clone(&ledger), quiet.clone());
    anyhow::ensure!(world.recovered().await.1.is_some(), "the crowd does not come in: {} are", world.crowd.open());
    let watch = Watch { session, bystander, newcomers };

    let began = Instant::now();
    let mut deck = Deck::new(possible(&run, &world), run.seed);
    let mut outcomes = Vec::new();
    while let Some((fault, lasts)) = deck.next() {
        if began.elapsed() + lasts >= run.time {
            break;
        }
        let one = one(fault, lasts, &mut world, &watch);
        let Some(outcome) = stop.run_until_cancelled(one).await else { break };
        outcome.print(began.elapsed());
        outcomes.push(outcome);
        if let Some(status) = world.server.has_ended() {
            world.wrong(format!("the server ended by itself: {status}"));
            break;
        }
    }
    let by_hand = stop.is_cancelled();
    if by_hand {
        println!("ended by hand");
    }
    end(world, quiet, &ledger, before, &outcomes, by_hand).await
}

/// What of the faults can happen here.
fn possible(run: &Run, world: &World) -> Vec<Fault> {
    let asked = if run.only.is_empty() { Fault::value_variants() } else { &run.only };
    let mut possible = Vec::new();
    for fault in asked {
        match fault.is_impossible(world) {
            None => possible.push(*fault),
            Some(why) => println!("left out: {}, since {why}", fault.name()),
        }
    }
    possible
}

/// Those who watch.
struct Watch {
    /// The bystander's session.
    session: Uuid,
    bystander: Bystander,
    newcomers: Newcomers,
}

/// One fault, and what became of it.
async fn one(fault: Fault, lasts: Duration, world: &mut World, watch: &Watch) -> Outcome {
    let disagreed = world.crowd.disagreements();
    let (_, _) = (watch.bystander.look(), watch.newcomers.look());
    if let Err(error) = fault.happen(world, lasts).await {
        world.wrong(format!("{error:#}"));
    }
    let (during, met) = (watch.bystander.look(), watch.newcomers.look());
    let written = world.seen_ago(watch.session).await;
    let (ready, back) = world.recovered().await;
    let after = watch.bystander.look();
    let beat = during.longest.max(after.longest);
    let mut wrong = std::mem::take(&mut world.wrong);
    let mut expect = |good: bool, what: String| {
        if !good {
            wrong.push(what);
        }
    };
    expect(ready.is_some(), format!("not ready within {RECOVERY:?}"));
    expect(back.is_some(), format!("{} of {} are back", world.crowd.open(), world.crowd.people));
    if !fault.ends_connections() {
        let ends = [during.ends, after.ends].concat();
        expect(ends.is_empty(), format!("the bystander was cut off: {}", ends.join(", ")));
        let most = UNDISTURBED + fault.stands_still(lasts);
        expect(beat <= most, format!("the bystander waited {beat:.1?} for the answer to a beat"));
    }
    if fault.leaves_others_alone() {
        expect(
            met.refused.is_empty(),
            format!("{} newcomers were refused: {}", met.refused.len(), words(&met.refused)),
        );
        expect(met.welcomed > 0, "no newcomer came in".to_owned());
        expect(met.longest <= UNDISTURBED, format!("a newcomer waited {:.1?}", met.longest));
        // One wait of the flush, and what a busy machine takes.
        expect(written.as_ref().is_ok_and(|ago| *ago <= UNDISTURBED), format!("the flush is behind: {written:?}"));
    }
    let disagreed = world.crowd.disagreements() - disagreed;
    expect(disagreed == 0, format!("{disagreed} disagreements"));
    match timeout(RECOVERY, world.no_ghosts_within(SLACK, false)).await {
        Ok(Ok(ghosts)) => expect(ghosts == 0, format!("{ghosts} ghosts in the database")),
        Ok(Err(error)) => expect(false, format!("the database cannot be asked: {error:#}")),
        Err(_) => expect(false, "the database does not answer".to_owned()),
    }
    Outcome { fault, lasts, ready, back, beat, join: met.longest, refused: met.refused.len(), wrong }
}

/// The words, each once with its count.
fn words(all: &[String]) -> String {
    let mut counts = std::collections::BTreeMap::<_, usize>::new();
    for word in all {
        *counts.entry(word.as_str()).or_default() += 1;
    }
    counts.iter().map(|(word, count)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

/// The last judgement, and the end of everything.
async fn end(
    world: World,
    quiet: CancellationToken,
    ledger: &Ledger,
    before: Holds,
    outcomes: &[Outcome],
    by_hand: bool,
) -> anyhow::Result<bool> {
    let mut wrong: Vec<String> = world.wrong.clone();
    quiet.cancel();
    if !by_hand {
        let ghosts = world.no_ghosts_within(SETTLED, true).await?;
        if ghosts > 0 {
            wrong.push(format!("{ghosts} ghosts in the database after {SETTLED:?}"));
        }
    }
    let World { mut server, crowd, postgres, place, rest, .. } = world;
    let (tally, differing) = crowd.end(&postgres.pool).await?;
    wrong.extend(differing);
    wrong.extend(tally.disagreements.shown().iter().take(10).map(ToString::to_string));
    if tally.outside > 0 {
        wrong.push(format!("{} people gave up: {:?}", tally.outside, tally.failures));
    }
    let after = calmed(&server, &rest, before).await?;
    if !after.is_at_most(before, MORE) {
        wrong.push(format!("the server holds more than before: {before:?}, then {after:?}"));
    }
    match server.stop().await {
        Ok((status, _)) if status.success() => {}
        Ok((status, took)) => wrong.push(format!("at the end the server ended with {status} after {took:.1?}")),
        Err(error) => wrong.push(format!("{error:#}")),
    }
    let accepted = ledger.counts();
    // The last of it may have waited for a flush until now.
    wrong.extend(ledger.lost(&postgres.pool).await?);
    postgres.stop().await;
    drop(place);

    report::table(outcomes);
    report::totals(&tally, &accepted, before, after);
    for what in &wrong {
        println!("WRONG: {what}");
    }
    let bad = outcomes.iter().filter(|outcome| !outcome.wrong.is_empty()).count();
    let good = wrong.is_empty() && bad == 0 && !outcomes.is_empty();
    println!("{}", if good { "all good".to_owned() } else { format!("{bad} of {} faults went wrong", outcomes.len()) });
    Ok(good)
}

/// What the server holds once it has given back what it held for the crowd.
async fn calmed(server: &Server, rest: &Rest, before: Holds) -> anyhow::Result<Holds> {
    let began = Instant::now();
    loop {
        let figures = rest.figures().await?;
        let after = server.holds(&figures)?;
        let calm = figures.get("connections") == Some(&0.0) && after.is_at_most(before, MORE);
        if calm || began.elapsed() >= Duration::from_secs(60) {
            return Ok(after);
        }
        sleep(Duration::from_millis(500)).await;
    }
}
