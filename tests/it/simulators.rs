//! Simulators, with the toy exchange of `examples/` as the command that is run, and with commands that
//! do not do as they should.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::timeout;
use uuid::Uuid;

use crate::harness::client::id;
use crate::harness::cluster::TestDatabase;
use crate::harness::process::{Process, lastseen};
use crate::harness::rest::{Answer, Rest, did, keys, service, user};
use crate::harness::rows::execute;
use crate::harness::server::SECRET;
use crate::harness::{Client, Join, PATIENCE, TestServer, eventually};

const SIMULATOR: [&str; 11] = [
    "id",
    "session_id",
    "user_id",
    "status",
    "endpoint",
    "initial_symbols",
    "initial_cash",
    "created_at",
    "last_active",
    "stopped_at",
    "error",
];

/// The toy exchange, which `cargo test` builds.
fn exchange() -> String {
    let tests = std::env::current_exe().expect("a path");
    let built = tests.parent().and_then(Path::parent).expect("a directory").join("examples/simulator");
    assert!(built.exists(), "{} is not there: cargo build --example simulator", built.display());
    format!("'{}'", built.display())
}

/// A server that runs this command for each simulator.
async fn server_with(command: &str, flags: &[&str]) -> TestServer {
    TestServer::start(&[&["--simulator-command", command][..], flags].concat()).await
}

/// A server that runs the toy exchange.
pub async fn server() -> TestServer {
    server_with(&exchange(), &["--simulator-ready-path", "/healthz"]).await
}

/// A command of the shell's that notes its process id in a file and goes on with `rest`.
fn noted(directory: &TempDir, rest: &str) -> (String, PathBuf) {
    let file = directory.path().join("pid");
    (format!("sh -c 'echo $$ > {0}.new; mv {0}.new {0}; {rest}'", file.display()), file)
}

async fn pid(file: &Path) -> Pid {
    let read = async || std::fs::read_to_string(file).ok()?.trim().parse().ok();
    Pid::from_raw(eventually("a process id", read).await)
}

/// Waits until nothing is left of a process, but for a zombie that its parent has not waited for.
async fn gone(pid: Pid) {
    eventually(&format!("the end of process {pid}"), async || (!runs(pid)).then_some(())).await;
}

fn runs(pid: Pid) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    kill(pid, None) != Err(Errno::ESRCH) && !state.contains(") Z ")
}

/// A user, its token, and a session of it with a name.
pub struct Player {
    pub user: Uuid,
    pub token: String,
    session: String,
}

impl Player {
    pub async fn new(pool: &PgPool) -> Self {
        let user_id = Uuid::now_v7();
        let session = format!("web-{user_id}");
        sqlx::query("INSERT INTO user_sessions (user_id, session_id, platform) VALUES ($1, $2, 'web')")
            .bind(user_id)
            .bind(&session)
            .execute(pool)
            .await
            .expect("a user session");
        Self { user: user_id, token: user(user_id, "Ada"), session }
    }

    pub fn path(&self) -> String {
        format!("/v1/user-sessions/{}/simulator", self.session)
    }

    /// Asks for a simulator.
    async fn ask(&self, rest: &Rest) -> Answer {
        rest.post(&self.path(), Some(&self.token), json!({})).await
    }

    /// Asks for a simulator and gives its id.
    pub async fn make(&self, rest: &Rest) -> Uuid {
        id(&self.ask(rest).await.expect(201)["id"])
    }

    /// Asks for a simulator and waits until it runs.
    async fn run(&self, rest: &Rest) -> Value {
        let made = self.make(rest).await;
        becomes(rest, made, "RUNNING").await
    }
}

pub fn one(simulator: Uuid) -> String {
    format!("/v1/simulators/{simulator}")
}

/// Waits until a simulator has this status; one that is over has no other.
pub async fn becomes(rest: &Rest, simulator: Uuid, status: &str) -> Value {
    eventually(&format!("{simulator} {status}"), async || {
        let shown = rest.get(&one(simulator), Some(&service())).await.expect(200);
        let over = shown["status"] == "STOPPED" || shown["status"] == "ERROR";
        assert!(!over || shown["status"] == status, "{shown}");
        (shown["status"] == status).then_some(shown)
    })
    .await
}

/// `127.0.0.1:40123` of a simulator.
fn address(simulator: &Value) -> String {
    let endpoint = simulator["endpoint"].as_str().expect("an endpoint");
    endpoint.strip_prefix("http://").expect("an address").to_owned()
}

async fn is_open(simulator: &Value) -> bool {
    TcpStream::connect(address(simulator)).await.is_ok()
}

#[tokio::test]
async fn a_simulator_is_launched_used_and_stopped() {
    let server = server().await;
    let ada = Player::new(&server.database.pool).await;
    let wanted = json!({"initial_symbols": ["AAPL", "BRK.B"], "initial_cash": 25000.5});
    let made = server.post(&ada.path(), Some(&ada.token), wanted).await.expect(201);
    assert_eq!(keys(&made), BTreeSet::from(SIMULATOR));
    assert_eq!((&made["session_id"], id(&made["user_id"])), (&json!(ada.session), ada.user));
    assert_eq!((&made["stopped_at"], &made["error"]), (&Value::Null, &Value::Null));
    let simulator = id(&made["id"]);
    let running = becomes(&server, simulator, "RUNNING").await;
    assert_eq!(keys(&running), BTreeSet::from(SIMULATOR));
    for path in [ada.path(), one(simulator)] {
        assert_eq!(server.get(&path, Some(&ada.token)).await.expect(200), running, "{path}");
    }

    // It has its environment, and sends prices.
    let url = format!("ws://{}/", address(&running));
    let stream = TcpStream::connect(address(&running)).await.expect("a connection");
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.expect("a WebSocket");
    let mut heard = async || {
        let message = timeout(PATIENCE, socket.next()).await.expect("in time").expect("a message").expect("a message");
        serde_json::from_str::<Value>(message.to_text().expect("text")).expect("JSON")
    };
    let account = heard().await;
    assert_eq!(account, json!({"type": "account", "id": simulator, "symbols": ["AAPL", "BRK.B"], "cash": 25000.5}));
    for symbol in ["AAPL", "BRK.B", "AAPL"] {
        let quote = heard().await;
        assert_eq!(quote["symbol"], symbol);
        assert!(quote["price"].as_f64().is_some_and(|price| price > 0.0), "{quote}");
    }

    let used = server.post(&format!("{}/activity", one(simulator)), Some(&ada.token), Value::Null).await.expect(200);
    let time = |value: &Value| value.as_str().expect("a time").parse::<DateTime<Utc>>().expect("a time");
    assert!(time(&used["last_active"]) > time(&running["last_active"]), "{used}");
    ada.ask(&server).await.refused(409, "simulator_exists");

    assert!(is_open(&running).await);
    let stopping = server.delete(&one(simulator), Some(&ada.token)).await.expect(202);
    assert!(["STOPPING", "STOPPED"].contains(&stopping["status"].as_str().expect("a status")), "{stopping}");
    let stopped = becomes(&server, simulator, "STOPPED").await;
    assert!(!is_open(&running).await, "the port is closed");
    assert!(stopped["stopped_at"].is_string() && stopped["error"].is_null(), "{stopped}");
    server.delete(&one(simulator), Some(&ada.token)).await.refused(409, "simulator_stopped");
    let activity = format!("{}/activity", one(simulator));
    server.post(&activity, Some(&ada.token), Value::Null).await.refused(409, "simulator_stopped");
    assert_eq!(server.get(&ada.path(), Some(&ada.token)).await.expect(200)["id"], json!(simulator));

    // Another one then, with the defaults.
    let next = ada.run(&server).await;
    assert_eq!((&next["initial_symbols"], &next["initial_cash"]), (&json!([]), &json!(100_000.0)));
    assert_eq!(server.get(&ada.path(), Some(&ada.token)).await.expect(200), next);
    for (name, value) in [
        ("lastseen_simulators{status=\"RUNNING\"}", 1.0),
        ("lastseen_simulators{status=\"STOPPING\"}", 0.0),
        ("lastseen_simulator_ends_total{status=\"STOPPED\"}", 1.0),
        ("lastseen_simulator_ends_total{status=\"ERROR\"}", 0.0),
    ] {
        eventually(name, async || (server.metric(name).await == value).then_some(())).await;
    }
}

#[tokio::test]
async fn a_server_without_a_launcher_says_so() {
    let server = TestServer::start(&[]).await;
    let ada = Player::new(&server.database.pool).await;
    ada.ask(&server).await.refused(503, "simulators_not_configured");
    server.get(&ada.path(), Some(&ada.token)).await.refused(404, "not_found");
}

#[tokio::test]
async fn what_a_simulator_cannot_start_with_is_refused() {
    let server = server().await;
    let ada = Player::new(&server.database.pool).await;
    let many = |count: usize| (0..count).map(|number| format!("S{number}")).collect::<Vec<_>>();
    for (body, field) in [
        (json!({"initial_symbols": many(51)}), "initial_symbols"),
        (json!({"initial_symbols": ["AAPL", "aapl"]}), "initial_symbols[1]"),
        (json!({"initial_symbols": [""]}), "initial_symbols[0]"),
        (json!({"initial_symbols": ["ABCDEFGHIJKLMNOPQ"]}), "initial_symbols[0]"),
        (json!({"initial_symbols": ["A,B"]}), "initial_symbols[0]"),
        (json!({"initial_symbols": "AAPL"}), "initial_symbols"),
        (json!({"initial_cash": -0.01}), "initial_cash"),
        (json!({"initial_cash": "much"}), "initial_cash"),
        (json!({"cash": 1}), "cash"),
    ] {
        let answer = server.post(&ada.path(), Some(&ada.token), body.clone()).await;
        assert_eq!(answer.body["errors"][0]["field"], field, "{body}: {}", answer.body);
        answer.refused(422, "invalid_request");
    }
    let infinite = r#"{"initial_cash": 1e999}"#;
    let bearer = format!("Bearer {}", ada.token);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    server.raw(Method::POST, &ada.path(), &headers, infinite).await.refused(422, "invalid_request");

    let most = json!({"initial_symbols": many(50), "initial_cash": 0});
    let made = server.post(&ada.path(), Some(&ada.token), most).await.expect(201);
    assert_eq!((&made["initial_symbols"][49], &made["initial_cash"]), (&json!("S49"), &json!(0.0)));
}

#[tokio::test]
async fn a_simulator_is_its_users_and_the_services() {
    let server = server().await;
    let pool = &server.database.pool;
    let (ada, bob, eve) = (Player::new(pool).await, Player::new(pool).await, Player::new(pool).await);
    let simulator = ada.make(&server).await;
    let session = server.open().await;
    let guest = Client::join(server.address(), session.id, &Join::invite(&session.invite, "Gus")).await;
    let calls = [
        (Method::POST, ada.path()),
        (Method::GET, ada.path()),
        (Method::GET, one(simulator)),
        (Method::POST, format!("{}/activity", one(simulator))),
        (Method::DELETE, one(simulator)),
    ];
    for (method, path) in &calls {
        let call = async |token: Option<&str>| server.call(method.clone(), path, token, Value::Null).await;
        call(None).await.refused(401, "unauthenticated");
        call(Some(&guest.resume_token())).await.refused(403, "forbidden");
        let code = if *path == ada.path() && method == Method::POST { "session_not_found" } else { "not_found" };
        call(Some(&eve.token)).await.refused(404, code);
    }
    for (method, path, code) in [
        (Method::POST, "/v1/user-sessions/nobodys/simulator", "session_not_found"),
        (Method::GET, "/v1/user-sessions/nobodys/simulator", "not_found"),
        (Method::POST, "/v1/user-sessions/no%00body/simulator", "session_not_found"),
        (Method::GET, "/v1/simulators/nonsense", "not_found"),
        (Method::DELETE, "/v1/simulators/019aa5d2-7c1e-7d51-9a33-0f4b4c6f0a11", "not_found"),
    ] {
        server.call(method, path, Some(&service()), Value::Null).await.refused(404, code);
    }
    // Nothing of that touched it.
    let shown = server.get(&one(simulator), Some(&ada.token)).await.expect(200);
    assert_eq!(shown["created_at"], shown["last_active"]);

    for path in [ada.path(), one(simulator)] {
        server.get(&path, Some(&service())).await.expect(200);
    }
    server.post(&format!("{}/activity", one(simulator)), Some(&service()), Value::Null).await.expect(200);
    server.delete(&one(simulator), Some(&service())).await.expect(202);
    let made = server.post(&bob.path(), Some(&service()), json!({})).await.expect(201);
    assert_eq!(id(&made["user_id"]), bob.user);
}

#[tokio::test]
async fn a_user_session_shows_its_newest_simulator() {
    let server = server().await;
    let ada = Player::new(&server.database.pool).await;
    let session = format!("/v1/user-sessions/{}", ada.session);
    let shown = async || server.get(&session, Some(&ada.token)).await.expect(200)["simulator"].take();
    assert_eq!(shown().await, Value::Null);
    let running = ada.run(&server).await;
    let wanted = json!({"id": running["id"], "endpoint": running["endpoint"], "status": "RUNNING"});
    assert_eq!(shown().await, wanted);
    let body = json!({"session_id": ada.session, "platform": "web"});
    for answer in [
        server.post("/v1/user-sessions", Some(&ada.token), body).await,
        server.post(&format!("{session}/heartbeat"), Some(&ada.token), json!({})).await,
        server.patch(&format!("{session}/metadata"), Some(&ada.token), json!({"theme": "dark"})).await,
    ] {
        assert_eq!(answer.expect(200)["simulator"], wanted);
    }
    for query in ["", "?platform=web", "?status=active"] {
        let list = format!("/v1/user-sessions{query}");
        for token in [&ada.token, &service()] {
            let page = server.get(&list, Some(token)).await.expect(200);
            assert_eq!(page["items"][0]["simulator"], wanted, "{list}");
        }
    }

    // It is over, and still the newest one.
    let stopped = id(&running["id"]);
    server.delete(&one(stopped), Some(&ada.token)).await.expect(202);
    let stopped = becomes(&server, stopped, "STOPPED").await;
    assert_eq!(shown().await, json!({"id": stopped["id"], "endpoint": stopped["endpoint"], "status": "STOPPED"}));
    let next = ada.run(&server).await;
    assert_eq!(shown().await["id"], next["id"]);
    let ended = server.post(&format!("{session}/end"), Some(&ada.token), json!({"end_reason": "logout"})).await;
    assert_eq!(ended.expect(200)["simulator"]["id"], next["id"]);
}

#[tokio::test]
async fn simulators_are_listed_by_user_and_status_in_pages() {
    let server = TestServer::start(&[]).await;
    let pool = &server.database.pool;
    let (ada, bob) = (Player::new(pool).await, Player::new(pool).await);
    let mut of_ada = Vec::new();
    for (player, status) in [
        (&ada, "STOPPED"),
        (&ada, "ERROR"),
        (&bob, "STOPPED"),
        (&ada, "STOPPED"),
        (&ada, "CREATING"),
        (&bob, "CREATING"),
    ] {
        let made: Uuid = sqlx::query_scalar(
            "INSERT INTO simulators (user_session_id, user_id, status, stopped_at, error, node, launcher)
             SELECT id, user_id, $2, CASE WHEN $2 <> 'CREATING' THEN now() END, CASE WHEN $2 = 'ERROR' THEN 'it broke' END,
                    'elsewhere', 'process'
             FROM user_sessions WHERE session_id = $1 RETURNING id",
        )
        .bind(&player.session)
        .bind(status)
        .fetch_one(pool)
        .await
        .expect("a simulator");
        if player.user == ada.user {
            of_ada.insert(0, made);
        }
    }
    let list = async |token: &str, query: &str| {
        let page = server.get(&format!("/v1/simulators?{query}"), Some(token)).await.expect(200);
        page["items"].as_array().expect("a list").iter().map(|one| id(&one["id"])).collect::<Vec<_>>()
    };
    assert_eq!(list(&ada.token, "").await, of_ada, "the newest first");
    let by_user = format!("user_id={}", ada.user);
    assert_eq!(list(&service(), &by_user).await, of_ada);
    assert_eq!(list(&bob.token, &by_user).await, Vec::<Uuid>::new());
    assert_eq!(list(&service(), "").await.len(), 6);
    assert_eq!(list(&service(), "status=STOPPED").await.len(), 3);
    assert_eq!(list(&service(), &format!("{by_user}&status=STOPPED")).await, [of_ada[1], of_ada[3]]);
    assert_eq!(list(&ada.token, "status=ERROR").await, [of_ada[2]]);
    assert_eq!(list(&ada.token, "status=RUNNING").await, Vec::<Uuid>::new());

    let first = server.get("/v1/simulators?limit=3", Some(&ada.token)).await.expect(200);
    assert_eq!(keys(&first["items"][0]), BTreeSet::from(SIMULATOR));
    let cursor = first["next_cursor"].as_str().expect("a second page");
    assert_eq!(list(&ada.token, &format!("limit=3&cursor={cursor}")).await, of_ada[3..]);
    for (field, query) in
        [("status", "status=stopped"), ("user_id", "user_id="), ("limit", "limit=0"), ("cursor", "cursor=x")]
    {
        let answer = server.get(&format!("/v1/simulators?{query}"), Some(&ada.token)).await;
        assert_eq!(answer.body["errors"][0]["field"], field);
        answer.refused(422, "invalid_request");
    }
    server.get("/v1/simulators", None).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_simulator_ends_with_its_user_session_however_that_ends() {
    let server = server().await;
    let pool = &server.database.pool;
    for end in [
        "UPDATE user_sessions SET status = 'ended', ended_at = now(), end_reason = 'logout', total_duration_seconds = 0 WHERE user_id = $1",
        "UPDATE user_sessions SET status = 'timeout', ended_at = now(), end_reason = 'timeout', total_duration_seconds = 0 WHERE user_id = $1",
        "UPDATE user_sessions SET expires_at = now() WHERE user_id = $1",
    ] {
        let ada = Player::new(pool).await;
        let running = ada.run(&server).await;
        execute(pool, end, ada.user).await;
        becomes(&server, id(&running["id"]), "STOPPED").await;
        assert!(!is_open(&running).await, "{end}");
        ada.ask(&server).await.refused(409, "session_ended");
    }
    // As an app ends it.
    let ada = Player::new(pool).await;
    let running = ada.run(&server).await;
    let end = format!("/v1/user-sessions/{}/end", ada.session);
    server.post(&end, Some(&ada.token), json!({"end_reason": "logout"})).await.expect(200);
    becomes(&server, id(&running["id"]), "STOPPED").await;
    // And where the session is deleted with all that belongs to it.
    let ada = Player::new(pool).await;
    let running = ada.run(&server).await;
    execute(pool, "DELETE FROM user_sessions WHERE user_id = $1", ada.user).await;
    server.get(&one(id(&running["id"])), Some(&service())).await.refused(404, "not_found");
    eventually("a closed port", async || (!is_open(&running).await).then_some(())).await;
}

#[tokio::test]
async fn an_idle_simulator_is_stopped_by_the_sweep_unless_its_session_is_active() {
    let server = server_with(&exchange(), &["--sweep-interval", "1h"]).await;
    let pool = &server.database.pool;
    let (idle, used, beating) = (Player::new(pool).await, Player::new(pool).await, Player::new(pool).await);
    for player in [&idle, &used, &beating] {
        player.run(&server).await;
        execute(pool, "UPDATE simulators SET last_active = now() - interval '2 hours' WHERE user_id = $1", player.user)
            .await;
        let silent = "UPDATE user_sessions SET last_activity_at = now() - interval '2 hours' WHERE user_id = $1";
        execute(pool, silent, player.user).await;
    }
    let of = async |player: &Player| server.get(&player.path(), Some(&player.token)).await.expect(200);
    let activity = format!("{}/activity", one(id(&of(&used).await["id"])));
    server.post(&activity, Some(&used.token), Value::Null).await.expect(200);
    execute(pool, "UPDATE user_sessions SET last_activity_at = now() WHERE user_id = $1", beating.user).await;

    assert_eq!(did(&server.sweep().await), json!({"simulators_stopped": 1}));
    assert_eq!(did(&server.sweep().await), json!({}), "once");
    becomes(&server, id(&of(&idle).await["id"]), "STOPPED").await;
    assert_eq!(of(&used).await["status"], "RUNNING");
    assert_eq!(of(&beating).await["status"], "RUNNING");
    assert_eq!(server.metric("lastseen_swept_total{policy=\"simulators_stopped\"}").await, 1.0);
}

#[tokio::test]
async fn one_that_cannot_start_or_dies_is_an_error_with_its_reason() {
    for (command, flags, reason) in [
        ("/nonexistent/simulator", &[][..], "'/nonexistent/simulator' could not be started: "),
        ("sh -c 'exit 7'", &[], "exit status: 7"),
        ("sleep 600", &["--simulator-start-timeout", "200ms"], "it was not ready within 200ms"),
    ] {
        let server = server_with(command, flags).await;
        let ada = Player::new(&server.database.pool).await;
        let simulator = ada.make(&server).await;
        let failed = becomes(&server, simulator, "ERROR").await;
        assert!(failed["error"].as_str().is_some_and(|error| error.contains(reason)), "{failed}");
        assert!(failed["stopped_at"].is_string() && failed["endpoint"].is_null(), "{failed}");
        server.delete(&one(simulator), Some(&ada.token)).await.refused(409, "simulator_stopped");
        // A failed one does not keep another from being made.
        ada.make(&server).await;
    }
    let directory = TempDir::new().expect("a directory");
    let (command, file) = noted(&directory, &format!("exec {}", exchange().replace('\'', "\"")));
    let server = server_with(&command, &[]).await;
    let ada = Player::new(&server.database.pool).await;
    let running = ada.run(&server).await;
    kill(pid(&file).await, Signal::SIGKILL).expect("killed");
    let failed = becomes(&server, id(&running["id"]), "ERROR").await;
    assert!(failed["error"].as_str().is_some_and(|error| error.contains("signal: 9")), "{failed}");
    let name = "lastseen_simulator_ends_total{status=\"ERROR\"}";
    eventually(name, async || (server.metric(name).await == 1.0).then_some(())).await;
}

#[tokio::test]
async fn one_that_is_not_well_by_its_path_is_not_ready() {
    let flags = ["--simulator-ready-path", "/elsewhere", "--simulator-start-timeout", "1s"];
    let server = server_with(&exchange(), &flags).await;
    let ada = Player::new(&server.database.pool).await;
    let simulator = ada.make(&server).await;
    becomes(&server, simulator, "ERROR").await;
}

#[tokio::test]
async fn one_that_ignores_its_end_is_killed_with_all_that_it_started() {
    let directory = TempDir::new().expect("a directory");
    let child = directory.path().join("child");
    let stubborn = format!(
        "trap \"\" TERM; sh -c \"trap \\\"\\\" TERM; while :; do sleep 600; done\" & echo $! > {}; while :; do sleep 600; done",
        child.display()
    );
    let (command, file) = noted(&directory, &stubborn);
    let server = server_with(&command, &["--simulator-stop-timeout", "300ms"]).await;
    let ada = Player::new(&server.database.pool).await;
    let simulator = ada.make(&server).await;
    let (leader, child) = (pid(&file).await, pid(&child).await);
    server.delete(&one(simulator), Some(&ada.token)).await.expect(202);
    becomes(&server, simulator, "STOPPED").await;
    gone(leader).await;
    gone(child).await;
}

#[tokio::test]
async fn what_has_left_for_a_session_of_its_own_is_stopped_too() {
    let directory = TempDir::new().expect("a directory");
    let child = directory.path().join("child");
    let leaving = format!(
        "setsid sh -c \"echo \\$\\$ > {0}.new; mv {0}.new {0}; exec sleep 600\" & exec sleep 600",
        child.display()
    );
    let (command, file) = noted(&directory, &leaving);
    let server = server_with(&command, &[]).await;
    let ada = Player::new(&server.database.pool).await;
    let simulator = ada.make(&server).await;
    let (leader, child) = (pid(&file).await, pid(&child).await);
    let group = |pid| nix::unistd::getpgid(Some(pid)).expect("it runs");
    assert_eq!((group(leader), group(child)), (leader, child), "each has a group of its own");
    server.delete(&one(simulator), Some(&ada.token)).await.expect(202);
    becomes(&server, simulator, "STOPPED").await;
    // Nothing of it is left when the row says so.
    assert!(!runs(leader) && !runs(child));
}

#[tokio::test]
async fn one_that_is_stopped_while_it_starts_never_runs() {
    let directory = TempDir::new().expect("a directory");
    // It is ready only once this test lets it.
    let gate = directory.path().join("gate");
    let late = format!("until [ -e {} ]; do sleep 0.02; done; exec {}", gate.display(), exchange().replace('\'', "\""));
    let (command, file) = noted(&directory, &late);
    let server = server_with(&command, &[]).await;
    let pool = &server.database.pool;
    let ada = Player::new(pool).await;
    let simulator = ada.make(&server).await;
    let process = pid(&file).await;
    becomes(&server, simulator, "STARTING").await;
    // Not by the server, which would notify its supervisor: so the move to RUNNING may be first.
    execute(pool, "UPDATE simulators SET status = 'STOPPING' WHERE id = $1", simulator).await;
    std::fs::write(&gate, "").expect("a file");
    let stopped = becomes(&server, simulator, "STOPPED").await;
    assert!(stopped["endpoint"].is_null(), "it never ran: {stopped}");
    gone(process).await;

    // What is over by its row is over: its process ends, and the row stays as it is.
    std::fs::remove_file(&file).expect("a file");
    let simulator = id(&ada.run(&server).await["id"]);
    let process = pid(&file).await;
    let over = "UPDATE simulators SET status = 'ERROR', error = 'by hand', stopped_at = now() WHERE id = $1";
    execute(pool, over, simulator).await;
    gone(process).await;
    assert_eq!(becomes(&server, simulator, "ERROR").await["error"], "by hand");
}

#[tokio::test]
async fn a_session_gets_one_simulator_and_a_server_holds_so_many() {
    let server = server_with(&exchange(), &["--max-simulators", "2"]).await;
    let pool = &server.database.pool;
    let ada = Player::new(pool).await;
    // All at once: the index decides, not a look before.
    let asked = (0..8).map(|_| ada.ask(&server));
    let mut statuses: Vec<_> =
        futures_util::future::join_all(asked).await.iter().map(|answer| answer.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409]);

    let mut others = Vec::new();
    for _ in 0..4 {
        others.push(Player::new(pool).await);
    }
    let asked = others.iter().map(|player| player.ask(&server));
    let (made, refused): (Vec<_>, Vec<_>) =
        futures_util::future::join_all(asked).await.into_iter().partition(|answer| answer.status == 201);
    assert_eq!((made.len(), refused.len()), (1, 3), "{refused:?}");
    for answer in refused {
        assert!(answer.headers.contains_key("retry-after"));
        answer.refused(503, "at_capacity");
    }
    // `simulator_exists` comes before `at_capacity`, also on a full server.
    ada.ask(&server).await.refused(409, "simulator_exists");

    // Another server has places of its own; and there is room again when one is over.
    let beside = server.beside("beside", &["--simulator-command", &exchange()]).await;
    let waiting: Vec<_> = {
        let mut waiting = Vec::new();
        for player in &others {
            if server.get(&player.path(), Some(&service())).await.status == 404 {
                waiting.push(player);
            }
        }
        waiting
    };
    let there = waiting[0].run(&beside).await;
    let simulator = id(&server.get(&ada.path(), Some(&ada.token)).await.expect(200)["id"]);
    server.delete(&one(simulator), Some(&ada.token)).await.expect(202);
    becomes(&server, simulator, "STOPPED").await;
    waiting[1].run(&server).await;

    // Each server stops its own, whichever server gets the call.
    server.delete(&one(id(&there["id"])), Some(&service())).await.expect(202);
    becomes(&server, id(&there["id"]), "STOPPED").await;
    assert!(!is_open(&there).await);
}

#[tokio::test]
async fn what_the_database_could_not_be_told_is_told_later() {
    let directory = TempDir::new().expect("a directory");
    let (command, file) = noted(&directory, &format!("exec {}", exchange().replace('\'', "\"")));
    let server = server_with(&command, &[]).await;
    let pool = server.database.pool.clone();
    let refuse = async || {
        sqlx::raw_sql(
            "CREATE OR REPLACE FUNCTION out_of_space() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = '53100'; END $$;
             CREATE TRIGGER out_of_space BEFORE UPDATE ON simulators EXECUTE FUNCTION out_of_space()",
        )
        .execute(&pool)
        .await
        .expect("a trigger");
    };
    let allow = async || {
        sqlx::query("DROP TRIGGER out_of_space ON simulators").execute(&pool).await.expect("it is gone");
    };
    let ada = Player::new(&pool).await;

    // That one died.
    let running = ada.run(&server).await;
    refuse().await;
    let process = pid(&file).await;
    kill(process, Signal::SIGKILL).expect("killed");
    gone(process).await;
    assert_eq!(server.get(&ada.path(), Some(&ada.token)).await.expect(200)["status"], "RUNNING");
    allow().await;
    becomes(&server, id(&running["id"]), "ERROR").await;

    // That they ended with their server: it does not wait for that.
    let running = ada.run(&server).await;
    refuse().await;
    let database = server.stop().await;
    assert!(!is_open(&running).await);
    allow().await;
    let server = TestServer::on(database, &["--simulator-command", &command]).await;
    becomes(&server, id(&running["id"]), "STOPPED").await;
}

/// Starts the program on this database, for simulators that outlive it.
async fn serve(database: &TestDatabase, command: &str) -> Process {
    let url = database.url();
    let flags = ["--database-connections", "4", "--node", "one", "--simulator-command", command];
    let arguments: Vec<_> = ["serve", "--listen", "127.0.0.1:0"].into_iter().chain(flags).collect();
    let mut lastseen = lastseen(&arguments);
    // Secrets as operators give them: by the environment.
    lastseen.env("DATABASE_URL", url).env("LASTSEEN_JWT_SECRET", SECRET).env("PGPASSWORD", "secret");
    lastseen.env("GREETING", "hello");
    Process::start(lastseen).await
}

#[tokio::test]
async fn simulators_end_with_their_server() {
    let database = TestDatabase::new().await;
    let server = serve(&database, &exchange()).await;
    let ada = Player::new(&database.pool).await;
    let running = ada.run(&server.rest).await;
    server.signal(Signal::SIGTERM);
    let finished = server.finished().await;
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    assert!(!is_open(&running).await);
    let status: String =
        sqlx::query_scalar("SELECT status FROM simulators").fetch_one(&database.pool).await.expect("one");
    assert_eq!(status, "STOPPED");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_a_crash_leaves_behind_is_stopped_at_the_next_start() {
    let database = TestDatabase::new().await;
    let server = serve(&database, &exchange()).await;
    // One that was noted, one of which nothing was written before the crash, and one that is dead.
    let mut players = Vec::new();
    for _ in 0..3 {
        let player = Player::new(&database.pool).await;
        let running = player.run(&server.rest).await;
        players.push((player, running));
    }
    let lost = id(&players[1].1["id"]);
    server.signal(Signal::SIGKILL);
    server.finished().await;
    let forgotten = "UPDATE simulators SET status = 'CREATING', endpoint = NULL, handle = NULL WHERE id = $1";
    execute(&database.pool, forgotten, lost).await;
    let dead = id(&players[2].1["id"]);
    // The process that has its id now is another one: this test.
    let recycled = "UPDATE simulators SET handle = jsonb_set(handle, '{pid}', to_jsonb($2::int)) WHERE id = $1 RETURNING (handle->>'pid')::int";
    let before: i32 = sqlx::query_scalar("SELECT (handle->>'pid')::int FROM simulators WHERE id = $1")
        .bind(dead)
        .fetch_one(&database.pool)
        .await
        .expect("a process id");
    kill(Pid::from_raw(before), Signal::SIGKILL).expect("killed");
    let own: i32 = sqlx::query_scalar(recycled)
        .bind(dead)
        .bind(std::process::id().cast_signed())
        .fetch_one(&database.pool)
        .await
        .expect("a row");
    assert_eq!(own, std::process::id().cast_signed());
    for (_, running) in &players[..2] {
        assert!(is_open(running).await, "the crash left it");
    }

    let server = serve(&database, &exchange()).await;
    for (player, running) in &players {
        becomes(&server.rest, id(&running["id"]), "STOPPED").await;
        assert!(!is_open(running).await);
        player.run(&server.rest).await;
    }
    server.signal(Signal::SIGTERM);
    server.finished().await;
}

#[tokio::test]
async fn a_simulator_is_told_what_it_is_and_no_secret() {
    let database = TestDatabase::new().await;
    let directory = TempDir::new().expect("a directory");
    let told = directory.path().join("told");
    let command = format!("sh -c 'env > {0}.new; mv {0}.new {0}; exec sleep 600' ignored", told.display());
    let server = serve(&database, &command).await;
    let ada = Player::new(&database.pool).await;
    let wanted = json!({"initial_symbols": ["AAPL", "X-1"], "initial_cash": 0.5});
    let made = server.rest.post(&ada.path(), Some(&ada.token), wanted).await.expect(201);
    let text = eventually("its environment", async || std::fs::read_to_string(&told).ok()).await;
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    assert_eq!(value("SIMULATOR_ID"), made["id"].as_str());
    assert_eq!(value("SIMULATOR_USER_ID"), made["user_id"].as_str());
    assert_eq!(value("SIMULATOR_SYMBOLS"), Some("AAPL,X-1"));
    assert_eq!(value("SIMULATOR_CASH"), Some("0.5"));
    assert!(value("PORT").is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0)));
    assert_eq!(value("GREETING"), Some("hello"), "what is no secret is inherited");
    for secret in ["LASTSEEN_", "DATABASE_URL", "PGPASSWORD", SECRET] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    server.signal(Signal::SIGTERM);
    server.finished().await;
}
