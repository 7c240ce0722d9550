//! A million participants without sockets: `cargo bench --bench million [-- flush|million|sweep] [--json]`.
//!
//! Registry, rooms, write-behind, flush and sweep as the server has them, on a real PostgreSQL, driven by the
//! seats that connections would hold. Prints a line a figure; with `--json` each is an object. Linux only.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Parser, ValueEnum};
use lastseen::config::SchemaName;
use lastseen::domain::ids::{ParticipantId, SessionId};
use lastseen::domain::user_session;
use lastseen::protocol::v1::Frames;
use lastseen::room::{Joined, Registry, Subscriber};
use lastseen::store::embedded::{Embedded, Options};
use lastseen::store::{Store, schema};
use lastseen::task::flush::Flusher;
use lastseen::task::sweep::Sweeper;
use lastseen::user_session::UserSessions;
use rand::seq::SliceRandom;
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

/// The node of all that is here, in the database.
const NODE: &str = "bench";
/// Rows of one statement that fills the database.
const FILL_ROWS: usize = 100_000;

#[derive(Parser)]
struct Arguments {
    /// What to measure [default: all of it]
    what: Vec<What>,
    /// Print JSON, a line a figure
    #[arg(long)]
    json: bool,
    /// How many people `million` and `sweep` have, in rooms of five
    #[arg(long, default_value_t = 1_000_000)]
    people: usize,
    /// Cargo passes this to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum What {
    /// 100,000 people are written, twenty times
    Flush,
    /// Memory, beats and flushes of a million people
    Million,
    /// Sweeps over them
    Sweep,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let wants = |what| arguments.what.is_empty() || arguments.what.contains(&what);
    let report = Report { json: arguments.json };
    if wants(What::Flush) {
        flush(&report, 100_000, 20).await?;
    }
    if wants(What::Million) || wants(What::Sweep) {
        let house = House::open(arguments.people, 5).await?;
        if wants(What::Million) {
            million(&report, &house).await?;
        }
        if wants(What::Sweep) {
            sweep(&report, &house).await?;
        }
        house.close().await;
    }
    Ok(())
}

/// Where figures go.
struct Report {
    json: bool,
}

impl Report {
    fn tell(&self, row: &str, value: f64, unit: &str, detail: Value) {
        if self.json {
            println!("{}", json!({"row": row, "value": value, "unit": unit, "detail": detail}));
        } else {
            println!("{row}: {value:.6} {unit} {detail}");
        }
    }
}

/// The middle one of an odd number of figures, and all of them in order.
fn median(mut figures: Vec<f64>) -> (f64, Vec<f64>) {
    figures.sort_by(f64::total_cmp);
    (figures[figures.len() / 2], figures)
}

/// All that a server has but its sockets, with all people in their rooms.
struct House {
    database: Embedded,
    admin: PgPool,
    store: Store,
    registry: Arc<Registry>,
    flusher: Arc<Flusher>,
    sweeper: Sweeper,
    sessions: Vec<SessionId>,
    seats: Vec<Joined>,
    /// What a person costs this process, in bytes.
    bytes_a_person: f64,
    _data: tempfile::TempDir,
}

impl House {
    async fn open(people: usize, per_room: usize) -> anyhow::Result<Self> {
        let settings = common::settings();
        let data = tempfile::tempdir()?;
        let options = Options { data_dir: data.path().join("data"), bin: None, durable: true, max_connections: 20 };
        let database = Embedded::start(&options).await?;
        schema::migrate(&database.admin()).await?;
        let admin = PgPoolOptions::new().max_connections(1).connect_with(database.admin()).await?;
        let store =
            Store::open(database.app(), &SchemaName::default(), 2, settings.sessions.idle(), NODE.to_owned()).await?;

        let sessions: Vec<_> = (0..people / per_room).map(|_| SessionId::new()).collect();
        let ids: Vec<_> = (0..people).map(|_| ParticipantId::new()).collect();
        fill(&admin, &sessions, &ids).await?;

        let shared = Arc::new(common::shared(&settings));
        let clock = shared.clock;
        let registry = Arc::new(Registry::new(shared));
        let rules = user_session::Rules {
            timeout: settings.sessions.user_session_timeout,
            idle_after: settings.presence.idle_after,
        };
        let user_sessions = Arc::new(UserSessions::new(clock, rules));
        let (interval, flushed) = (Duration::from_secs(3600), store.clone());
        let flusher = Arc::new(Flusher::new(Arc::clone(&registry), user_sessions, flushed, Arc::default(), interval));
        let sweeper = Sweeper::new(
            Arc::clone(&registry),
            store.clone(),
            Arc::clone(&flusher),
            Arc::default(),
            &settings.presence,
            settings.sessions,
        );

        let before = resident_bytes()?;
        let seats = take_seats(&registry, &sessions, &ids)?;
        // A join is published and written, which needs memory only for that moment.
        registry.shared().schedule.due(clock.now() + Duration::from_secs(1)).into_iter().for_each(|room| {
            registry.tick(room, clock.now() + Duration::from_secs(1));
        });
        flusher.flush().await?;
        let bytes_a_person = (resident_bytes()? - before) / people as f64;
        sqlx::query("VACUUM ANALYZE").execute(&admin).await?;
        Ok(Self { database, admin, store, registry, flusher, sweeper, sessions, seats, bytes_a_person, _data: data })
    }

    fn beat(&self) {
        let now = self.registry.shared().clock.now();
        self.seats.iter().for_each(|joined| joined.seat.active(now));
    }

    /// Flushes the beats, and gives how long that took, in seconds.
    async fn flush(&self) -> anyhow::Result<f64> {
        let started = Instant::now();
        let written = self.flusher.flush().await?;
        let took = started.elapsed().as_secs_f64();
        anyhow::ensure!(written == self.seats.len(), "{written} of {} were written", self.seats.len());
        Ok(took)
    }

    /// CPU time of PostgreSQL, in seconds.
    fn database_cpu(&self) -> anyhow::Result<f64> {
        cpu_of_children(self.database.pid())
    }

    async fn close(self) {
        self.store.close().await;
        self.admin.close().await;
        self.database.stop().await;
    }
}

/// Inserts the rows, all people present since now.
async fn fill(admin: &PgPool, sessions: &[SessionId], people: &[ParticipantId]) -> anyhow::Result<()> {
    let per_room = people.len() / sessions.len();
    for sessions in sessions.chunks(FILL_ROWS) {
        sqlx::query("INSERT INTO reading_sessions (id) SELECT * FROM unnest($1::uuid[])")
            .bind(sessions)
            .execute(admin)
            .await?;
        sqlx::query(
            "INSERT INTO session_invites (session_id, token_sha256) SELECT id, sha256(uuid_send(id)) FROM unnest($1::uuid[]) AS s (id)",
        )
        .bind(sessions)
        .execute(admin)
        .await?;
    }
    for (some, chunk) in people.chunks(FILL_ROWS).enumerate() {
        let homes = (0..chunk.len()).map(|person| sessions[(some * FILL_ROWS + person) / per_room]);
        sqlx::query(
            "INSERT INTO session_participants (id, session_id, name, is_active, node)
             SELECT id, session_id, 'Reader', true, $3 FROM unnest($1::uuid[], $2::uuid[]) AS p (id, session_id)",
        )
        .bind(chunk)
        .bind(homes.collect::<Vec<_>>())
        .bind(NODE)
        .execute(admin)
        .await?;
    }
    sqlx::query("VACUUM ANALYZE").execute(admin).await?;
    Ok(())
}

fn take_seats(registry: &Registry, sessions: &[SessionId], people: &[ParticipantId]) -> anyhow::Result<Vec<Joined>> {
    let per_room = people.len() / sessions.len();
    let mut seats = Vec::with_capacity(people.len());
    let reader = Arc::new(common::Reader(Frames::new(registry.shared().clock, &common::settings())));
    for (id, people) in sessions.iter().zip(people.chunks(per_room)) {
        let room = registry.open(common::session(*id));
        for person in people {
            let joined = room.join(common::entrant(*person), None, Arc::clone(&reader) as Arc<dyn Subscriber>);
            seats.push(joined.map_err(|error| anyhow::anyhow!("not let in: {error:?}"))?);
        }
    }
    Ok(seats)
}

async fn flush(report: &Report, people: usize, rounds: usize) -> anyhow::Result<()> {
    let house = House::open(people, 10).await?;
    let before = Written::by_now(&house.admin).await?;
    let (cpu, mut seconds) = (house.database_cpu()?, Vec::new());
    for _ in 0..rounds {
        // A beat of the same millisecond would be nothing new.
        tokio::time::sleep(Duration::from_millis(50)).await;
        house.beat();
        seconds.push(house.flush().await?);
    }
    let cpu = house.database_cpu()? - cpu;
    let rows = (people * rounds) as f64;
    let after = loop {
        // Statistics of other backends arrive when those are idle.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let after = Written::by_now(&house.admin).await?;
        if after.updates - before.updates >= rows {
            break after;
        }
    };
    let (median, seconds) = median(seconds);
    report.tell(
        "flush",
        people as f64 / median,
        "rows/s",
        json!({"people": people, "flushes": rounds, "slowest": people as f64 / seconds[rounds - 1],
               "fastest": people as f64 / seconds[0], "rows_per_database_cpu_second": rows / cpu}),
    );
    let hot = (after.hot - before.hot) / (after.updates - before.updates) * 100.0;
    report.tell("flush in place (HOT)", hot, "%", json!({"updates": after.updates - before.updates}));
    report.tell("flush WAL", (after.wal - before.wal) / rows, "bytes/row", json!({"flushes": rounds}));
    let growth = (after.bytes / before.bytes - 1.0) * 100.0;
    report.tell("flush growth", growth, "%", json!({"before_bytes": before.bytes, "after_bytes": after.bytes}));
    house.close().await;
    Ok(())
}

/// What PostgreSQL wrote of participants by now.
#[derive(sqlx::FromRow)]
struct Written {
    updates: f64,
    hot: f64,
    /// Of the table.
    bytes: f64,
    wal: f64,
}

impl Written {
    async fn by_now(admin: &PgPool) -> anyhow::Result<Self> {
        let written = sqlx::query_as(
            "SELECT n_tup_upd::float8 AS updates, n_tup_hot_upd::float8 AS hot, pg_table_size(relid)::float8 AS bytes,
                    pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8 AS wal
             FROM pg_stat_user_tables WHERE relname = 'session_participants'",
        );
        Ok(written.fetch_one(admin).await?)
    }
}

async fn million(report: &Report, house: &House) -> anyhow::Result<()> {
    let (people, rooms) = (house.seats.len(), house.sessions.len());
    report.tell("million memory", house.bytes_a_person, "bytes/participant", json!({"people": people, "rooms": rooms}));
    let (mut beats, mut flushes) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let started = Instant::now();
        house.beat();
        beats.push(people as f64 / started.elapsed().as_secs_f64());
        flushes.push(house.flush().await?);
    }
    let (beats, all_beats) = median(beats);
    report.tell("million beats", beats, "beats/s", json!({"threads": 1, "all": all_beats}));
    let (flush, all_flushes) = median(flushes);
    report.tell("million flush", flush, "s", json!({"rows_per_second": people as f64 / flush, "all": all_flushes}));
    Ok(())
}

async fn sweep(report: &Report, house: &House) -> anyhow::Result<()> {
    let (people, rooms) = (house.seats.len(), house.sessions.len());
    let mut open = house.sessions.clone();
    open.shuffle(&mut rand::rng());
    for (idle, runs) in [(0, 5), (1_000, 3), (20_000, 3)] {
        let idle = idle.min(rooms / 10);
        let (mut seconds, mut cpu) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            make_idle(&house.admin, &open.split_off(open.len() - idle)).await?;
            let (started, cpu_before) = (Instant::now(), house.database_cpu()?);
            let swept = json!(house.sweeper.sweep(&house.sweeper.begin()).await?);
            seconds.push(started.elapsed().as_secs_f64());
            cpu.push(house.database_cpu()? - cpu_before);
            anyhow::ensure!(swept["closed"] == idle, "{swept} instead of {idle} closed");
        }
        let (median_cpu, _) = median(cpu);
        let (median, all) = median(seconds);
        report.tell(
            &format!("sweep of {idle} idle rooms"),
            median,
            "s",
            json!({"people": people, "rooms": rooms, "all": all, "database_cpu_seconds": median_cpu}),
        );
    }
    Ok(())
}

/// Makes these sessions look as if no person was seen in them for two hours, after a checkpoint: no page is dirty.
async fn make_idle(admin: &PgPool, sessions: &[SessionId]) -> anyhow::Result<()> {
    for (table, key) in [("reading_sessions", "id"), ("session_participants", "session_id")] {
        let statement = format!(
            "UPDATE {table} SET last_seen_at = now() - interval '2 hours', last_activity_at = now() - interval '2 hours'
             WHERE {key} = ANY ($1)"
        );
        sqlx::query(sqlx::AssertSqlSafe(statement)).bind(sessions).execute(admin).await?;
    }
    sqlx::query("VACUUM ANALYZE").execute(admin).await?;
    sqlx::query("CHECKPOINT").execute(admin).await?;
    Ok(())
}

fn resident_bytes() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
}

/// CPU time of the children of a process that live, in seconds.
fn cpu_of_children(parent: u32) -> anyhow::Result<f64> {
    let mut ticks = 0.0;
    for entry in std::fs::read_dir("/proc")? {
        // What is no process, or has ended meanwhile, is skipped.
        let Ok(stat) = std::fs::read_to_string(entry?.path().join("stat")) else { continue };
        let fields: Vec<_> = stat.rsplit_once(')').context("stat")?.1.split_whitespace().collect();
        if fields[1].parse() == Ok(parent) {
            ticks += fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
        }
    }
    // Linux counts these in hundredths everywhere that Rust runs.
    Ok(ticks / 100.0)
}
