//! What lastseen costs: `cargo bench --bench cost [-- memory|beats|flush]`.
//!
//! Each figure is of the real program on an embedded database: memory and CPU of the server's process
//! from `/proc`, while this process holds the other ends of the sockets. Linux only.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::future::try_join_all;
use futures_util::{SinkExt, StreamExt};
use lastseen::auth::jwt::{self, JwtRole};
use lastseen::clock::Clock;
use lastseen::config::IdleCounts;
use lastseen::ids::{ParticipantId, SessionId};
use lastseen::room::Ledger;
use lastseen::room::ledger::Mark;
use lastseen::store::embedded::{Embedded, Options};
use lastseen::store::presence::CHUNK_ROWS;
use lastseen::store::{IdleRule, Store, schema};
use serde_json::Value;
use sqlx::PgPool;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

const SECRET: &str = "a secret of the benchmarks, long enough";
const ROOM: usize = 10;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let wanted: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|argument| argument == name);
    if wants("memory") {
        memory(10_000).await?;
    }
    if wants("beats") {
        beats(5_000, 20).await?;
    }
    if wants("flush") {
        flush(100_000, 20).await?;
    }
    Ok(())
}

/// The real program, in a process of its own.
struct Server {
    child: Child,
    address: SocketAddr,
    _data: tempfile::TempDir,
}

impl Server {
    fn start() -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_lastseen"))
            .args(["serve", "--listen", "127.0.0.1:0", "--jwt-secret", SECRET, "--log", "warn"])
            .args(["--max-connections-per-ip", "100000", "--data-dir"])
            .arg(data.path().join("data"))
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("its output")?).read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening on http://").context("it did not start")?.parse()?;
        Ok(Self { child, address, _data: data })
    }

    fn resident_kib(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// CPU time of the server alone, without its database.
    fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<_> = stat.rsplit_once(')').context("stat")?.1.split_whitespace().collect();
        let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
        // Linux counts these in hundredths everywhere that Rust runs.
        Ok(ticks / 100.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT);
        let _ = self.child.wait();
    }
}

type Socket = WebSocketStream<TcpStream>;

/// Joins this many people in rooms of ten, and reads until nothing comes any more.
async fn join(server: &Server, people: usize) -> anyhow::Result<Vec<Socket>> {
    let service = jwt::issue(SECRET.as_bytes(), None, None, JwtRole::Service, None, Duration::from_secs(3600));
    let http = reqwest::Client::builder().no_proxy().build()?;
    let mut sockets = Vec::with_capacity(people);
    for _ in 0..people / ROOM {
        let url = format!("http://{}/v1/reading-sessions", server.address);
        let session: Value = http.post(url).bearer_auth(&service).send().await?.error_for_status()?.json().await?;
        let (id, invite) =
            (session["id"].as_str().context("id")?, session["invite"]["token"].as_str().context("token")?);
        let joins = (0..ROOM).map(|person| async move {
            let url =
                format!("ws://{}/v1/reading-sessions/{id}/ws?invite={invite}&name=Reader%20{person}", server.address);
            let stream = TcpStream::connect(server.address).await?;
            stream.set_nodelay(true)?;
            let config = WebSocketConfig::default().read_buffer_size(1024).write_buffer_size(0);
            let (mut socket, _) = tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await?;
            let welcome = socket.next().await.context("a welcome")??;
            anyhow::ensure!(welcome.to_text()?.contains("\"welcome\""), "not let in: {welcome}");
            anyhow::Ok(socket)
        });
        sockets.extend(try_join_all(joins).await?);
    }
    Ok(sockets)
}

async fn memory(people: usize) -> anyhow::Result<()> {
    let server = Server::start()?;
    drop(join(&server, 100).await?);
    sleep(Duration::from_secs(2)).await;
    let before = server.resident_kib()?;
    let sockets = join(&server, people).await?;
    sleep(Duration::from_secs(8)).await;
    let after = server.resident_kib()?;
    println!(
        "memory: {:.2} KiB resident per idle participant ({people} sockets in rooms of {ROOM}; {before:.0} KiB before, {after:.0} KiB after)",
        (after - before) / people as f64
    );
    drop(sockets);
    Ok(())
}

async fn beats(people: usize, rounds: usize) -> anyhow::Result<()> {
    let server = Server::start()?;
    let mut sockets = join(&server, people).await?;
    sleep(Duration::from_secs(3)).await;
    let (cpu, started) = (server.cpu_seconds()?, Instant::now());
    for round in 0..rounds {
        let beat = format!(r#"{{"type":"beat","ref":{round},"active":true}}"#);
        // Some at a time, as they come in life: neither one by one nor all in one instant.
        for some in sockets.chunks_mut(100) {
            for socket in &mut *some {
                socket.send(Message::text(beat.clone())).await?;
            }
            for socket in some {
                while !socket.next().await.context("an answer")??.to_text()?.contains("\"beat\"") {}
            }
        }
    }
    let (cpu, beats) = (server.cpu_seconds()? - cpu, (people * rounds) as f64);
    println!(
        "beats: {:.2} CPU seconds of the server per 100,000 beats with answer ({people} sockets, {beats} beats in {:.1} s)",
        cpu / beats * 100_000.0,
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

async fn flush(people: usize, rounds: usize) -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    let options = Options { data_dir: data.path().join("data"), bin: None, durable: true, max_connections: 20 };
    let database = Embedded::start(&options).await?;
    schema::migrate(&database.admin()).await?;
    let admin = PgPool::connect_with(database.admin()).await?;
    let idle = IdleRule { timeout: Duration::from_secs(3600), counts: IdleCounts::Seen };
    let store = Store::open(database.app(), 2, idle, "bench".to_owned()).await?;

    let sessions: Vec<_> = (0..people / ROOM).map(|_| SessionId::new()).collect();
    let ids: Vec<_> = (0..people).map(|_| ParticipantId::new()).collect();
    sqlx::query("INSERT INTO reading_sessions (id) SELECT * FROM unnest($1::uuid[])")
        .bind(&sessions)
        .execute(&admin)
        .await?;
    sqlx::query(
        "INSERT INTO session_participants (id, session_id, name, is_active, node)
         SELECT id, session_id, 'Reader', true, 'bench' FROM unnest($1::uuid[], $2::uuid[]) AS p (id, session_id)",
    )
    .bind(&ids)
    .bind((0..people).map(|person| sessions[person / ROOM]).collect::<Vec<_>>())
    .execute(&admin)
    .await?;
    sqlx::query("VACUUM ANALYZE").execute(&admin).await?;

    let (ledger, clock) = (Arc::new(Ledger::default()), Clock::new());
    let marks: Vec<_> = ids
        .iter()
        .enumerate()
        .map(|(person, id)| Mark::new(*id, sessions[person / ROOM], clock.now(), clock.now()))
        .collect();
    let wal = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8";
    let before: f64 = sqlx::query_scalar(wal).fetch_one(&admin).await?;
    let mut rates = Vec::new();
    for _ in 0..rounds {
        sleep(Duration::from_millis(50)).await;
        for mark in &marks {
            ledger.active(mark, clock.now());
        }
        let started = Instant::now();
        for chunk in ledger.take(CHUNK_ROWS) {
            let stale = store.write_presence(chunk.rows(), clock.now()).await?;
            anyhow::ensure!(stale.is_empty(), "{} rows were not taken", stale.len());
            chunk.written();
        }
        rates.push(people as f64 / started.elapsed().as_secs_f64());
    }
    let after: f64 = sqlx::query_scalar(wal).fetch_one(&admin).await?;
    // Statistics of other backends arrive when those are idle.
    store.close().await;
    sleep(Duration::from_secs(2)).await;
    let (updates, hot, bytes): (i64, i64, i64) = sqlx::query_as(
        "SELECT n_tup_upd, n_tup_hot_upd, pg_table_size(relid) FROM pg_stat_user_tables WHERE relname = 'session_participants'",
    )
    .fetch_one(&admin)
    .await?;
    rates.sort_by(f64::total_cmp);
    println!(
        "flush: {:.0} rows/s (median of {rounds} flushes of {people}; {:.0} to {:.0}), {:.0}% HOT, {:.0} bytes of WAL a row, the table has {:.0} MB",
        rates[rates.len() / 2],
        rates[0],
        rates[rates.len() - 1],
        hot as f64 / updates as f64 * 100.0,
        (after - before) / (people * rounds) as f64,
        bytes as f64 / 1e6
    );
    admin.close().await;
    database.stop().await;
    Ok(())
}
