//! The people of `lastseen load`, for as long as a run lasts, and what they and the database say of each other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use lastseen::load::generator::{AT_ONCE, Assignment, Generator, unix_millis};
use lastseen::load::plan::{Plan, Profile};
use lastseen::load::rest::Rest;
use lastseen::load::room::Invited;
use lastseen::load::tally::Tally;
use lastseen::load::target::Target;
use serde_json::Value;
use sqlx::PgPool;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::server::BEAT;

/// How long the database may take to have what the server has, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A crowd that is there.
pub struct Crowd {
    generator: Arc<Generator>,
    load: JoinHandle<()>,
    stop: CancellationToken,
    rest: Rest,
    /// Its rooms.
    pub rooms: Vec<Invited>,
    /// How many people it has.
    pub people: usize,
}

impl Crowd {
    /// Opens rooms and lets people come.
    pub async fn come(target: &Target, token: &str, rooms: usize, seed: u64) -> anyhow::Result<Self> {
        let plan = Plan {
            url: target.http(""),
            profile: Profile::Tarot,
            sessions: rooms,
            per_session: 4,
            ramp: 50.0,
            // Until we say so.
            hold: Duration::from_secs(7 * 24 * 3600),
            beat: Some(BEAT),
            churn: 0.0,
            slow: 0.03,
            workers: 1,
            sources: Vec::new(),
            patience: Duration::from_secs(60),
            seed,
        };
        let people = plan.people();
        let rest = Rest::new(target.clone(), Some(token.to_owned()))?;
        let opening = plan.rooms().into_iter().map(|people| rest.open("Soak", people));
        let rooms: Vec<_> = stream::iter(opening.collect::<Vec<_>>()).buffered(AT_ONCE).try_collect().await?;
        let generator = Arc::new(Generator::new(Assignment {
            plan,
            target: target.clone(),
            rooms: rooms.clone(),
            token: Some(token.to_owned()),
            worker: 0,
            starts_at: unix_millis(),
        })?);
        let stop = CancellationToken::new();
        let load = tokio::spawn({
            let (generator, stop) = (Arc::clone(&generator), stop.clone());
            async move { generator.load(&stop).await }
        });
        Ok(Self { generator, load, stop, rest, rooms, people })
    }

    /// Whether nearly all are connected: a few are always away for a moment.
    pub fn is_back(&self) -> bool {
        self.generator.progress().open as usize * 100 >= self.people * 85
    }

    /// How many are connected.
    pub fn open(&self) -> u64 {
        self.generator.progress().open
    }

    /// Disagreements so far.
    pub fn disagreements(&self) -> u64 {
        self.generator.progress().disagreements
    }

    /// Lets nobody act any more, compares what each sees with the server's answer and that with the database, and
    /// lets everybody go.
    pub async fn end(self, database: &PgPool) -> anyhow::Result<(Tally, Vec<String>)> {
        self.stop.cancel();
        self.load.await?;
        self.generator.check().await;
        let compared = stream::iter(&self.rooms).map(|room| compare(&self.rest, database, room)).buffered(AT_ONCE);
        let wrong: Vec<_> =
            compared.filter_map(|one| async { one.err().map(|error| format!("{error:#}")) }).collect().await;
        let generator = Arc::try_unwrap(self.generator).map_err(drop).ok().context("the load goes on")?;
        let tally = generator.finish().await;
        for room in &self.rooms {
            // One that stays open is closed by its idle timeout.
            let _ = self.rest.close(room.id, None).await;
        }
        Ok((tally, wrong))
    }
}

/// Waits until the server and the database list the same people with the same state.
async fn compare(rest: &Rest, database: &PgPool, room: &Invited) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let listed = rest.participants(room.id, None).await?;
        let listed: BTreeMap<Uuid, Value> =
            listed.participants.iter().map(|person| (person.id.0, person.state.clone())).collect();
        let rows: BTreeMap<Uuid, Value> =
            sqlx::query_as("select id, state from session_participants where session_id = $1 and is_active")
                .bind(room.id.0)
                .fetch_all(database)
                .await?
                .into_iter()
                .collect();
        if listed == rows {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let differ = |one: &BTreeMap<Uuid, Value>, other: &BTreeMap<Uuid, Value>| {
                let differing = one.iter().filter(|(id, state)| other.get(id) != Some(state));
                differing.map(|(id, state)| format!("{id} {state}")).collect::<Vec<_>>().join(", ")
            };
            let (server, database) = (differ(&listed, &rows), differ(&rows, &listed));
            anyhow::bail!("session {}: the server has [{server}], the database [{database}]", room.id);
        }
        sleep(Duration::from_millis(500)).await;
    }
}
