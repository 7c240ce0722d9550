//! The program's commands: settings, the ways in which a start fails, `migrate`, `check`, `sweep`, `token`.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use lastseen::store::schema;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::harness::cluster::TestDatabase;
use crate::harness::process::{Finished, Process, lastseen, run};
use crate::harness::rest::{did, service};
use crate::harness::rows::{person, stored};
use crate::harness::server::SECRET;
use crate::harness::{Client, Join, TestServer, eventually, pass};

/// In every database URL here; never in the output of the program.
const PASSWORD: &str = "very-secret-word";

/// Runs `lastseen serve` where it cannot start, and gives the one line that it prints.
async fn fails_to_serve(flags: &[&str], code: i32) -> String {
    let base = ["serve", "--listen", "127.0.0.1:0", "--jwt-secret", SECRET];
    one_line(&run(&base.into_iter().chain(flags.iter().copied()).collect::<Vec<_>>()).await, code)
}

/// The one line on standard error of a command that failed.
#[track_caller]
fn one_line(finished: &Finished, code: i32) -> String {
    assert_eq!((finished.status.code(), finished.stdout.as_str()), (Some(code), ""), "{}", finished.stderr);
    assert!(!finished.stderr.contains(PASSWORD) && !finished.stderr.contains(SECRET), "{}", finished.stderr);
    finished.complaint().to_owned()
}

/// The help of each flag in `lastseen serve --help`.
async fn help() -> HashMap<String, String> {
    let help = run(&["serve", "--help"]).await;
    assert_eq!(help.status.code(), Some(0), "{}", help.stderr);
    let mut flags: HashMap<String, String> = HashMap::new();
    let mut current = None;
    for line in help.stdout.lines() {
        // Text that is wrapped stands further to the right than the flags.
        if let Some(flag) = line.strip_prefix("      --") {
            current = flag.split(['=', '[', ' ']).next().map(str::to_owned);
        }
        if let Some(name) = &current {
            let text = flags.entry(name.clone()).or_default();
            text.push_str(line.trim());
            text.push(' ');
        }
    }
    flags
}

#[tokio::test]
async fn the_help_lists_every_setting_with_its_default_and_its_variable() {
    let help = help().await;
    let with_default = [
        ("schema", "public"),
        ("listen", "127.0.0.1:8080"),
        ("data-dir", "./.lastseen"),
        ("beat-interval", "30s"),
        ("ping-interval", "25s"),
        ("dead-after", "75s"),
        ("silent-after", "15m"),
        ("grace", "15s"),
        ("diff-interval", "100ms"),
        ("diff-interval-large", "1s"),
        ("max-participants", "100"),
        ("max-message-bytes", "8192"),
        ("max-updates-per-second", "20"),
        ("max-frame-bytes", "30000"),
        ("detail-limit", "500"),
        ("idle-timeout", "1h"),
        ("sweep-interval", "15m"),
        ("flush-interval", "5s"),
        ("expiring-notice", "5m"),
        ("idle-after", "5m"),
        ("retention", "reading-sessions=30d,user-sessions=90d,check-ins=7d,sits=365d"),
        ("user-session-timeout", "1h"),
        ("sit-grace", "5m"),
        ("idle-counts", "seen"),
        ("write-timeout", "10s"),
        ("drain-timeout", "15s"),
        ("max-connections", "100000"),
        ("max-connections-per-ip", "1000"),
        ("max-handshakes-per-minute", "six times --max-connections-per-ip"),
        ("max-sessions-per-minute", "60"),
        ("max-writes-per-minute", "600"),
    ];
    // Settings whose default is another setting's, or made at the start.
    let without = [
        ("database-url", "embedded|its own"),
        ("database-direct-url", "pooler"),
        ("node", "host name"),
        ("guest-hosts", "loopback"),
        ("jwt-secret", "first start"),
        ("jwks", "file or an https URL"),
        ("jwks-allow-http", "private address"),
        ("jwt-iss", "Issuer"),
        ("jwt-aud", "Audience"),
        ("jwt-sub-claim", "sub"),
        ("jwt-name-claim", "user_metadata.full_name"),
        ("jwt-role-claim", "role"),
        ("jwt-service-claim", "rights of the service"),
        ("public-url", "from --listen"),
        ("allowed-origins", "besides its own"),
        ("trusted-proxies", "proxies"),
        ("home-url", "dead link"),
        ("dead-link-redirect", "--home-url"),
        ("dev", "window.lastseen"),
        ("demo", "an hour is a minute"),
    ];
    for (flag, default) in with_default {
        let text = help.get(flag).unwrap_or_else(|| panic!("--{flag} is not in the help"));
        assert!(text.contains(&format!("[default: {default}]")), "{flag}: {text}");
    }
    for (flag, words) in without {
        let text = help.get(flag).unwrap_or_else(|| panic!("--{flag} is not in the help"));
        assert!(words.split('|').any(|words| text.contains(words)), "{flag}: {text}");
    }
    for (flag, _) in with_default.iter().chain(&without) {
        let variable = match *flag {
            "database-url" | "database-direct-url" => flag.to_uppercase().replace('-', "_"),
            flag => format!("LASTSEEN_{}", flag.to_uppercase().replace('-', "_")),
        };
        assert!(help[*flag].contains(&format!("[env: {variable}")), "{flag}: {}", help[*flag]);
    }
}

#[tokio::test]
async fn settings_that_contradict_each_other_are_one_line_and_exit_code_2() {
    for (flags, line) in [
        (&["--dead-after", "20s"][..], "dead-after (20s) must be longer than ping-interval (25s)"),
        (&["--beat-interval", "2m"], "dead-after (1m 15s) must be longer than beat-interval (2m)"),
        (&["--silent-after", "20s"], "silent-after (20s) must be longer than beat-interval (30s)"),
        (&["--idle-timeout", "8s"], "idle-timeout (8s) must be longer than twice flush-interval (10s)"),
        (&["--flush-interval", "0s"], "flush-interval must be longer than nothing"),
        (&["--dead-link-redirect", "5s"], "dead-link-redirect needs home-url"),
    ] {
        assert_eq!(fails_to_serve(flags, 2).await, line);
    }
    // What cannot be read at all is an error of the same form.
    let unreadable = [
        &["--grace", "soon"][..],
        &["--no-such-flag"],
        &["--public-url", "nowhere"],
        &["--home-url", "javascript:alert(1)"],
    ];
    for flags in unreadable {
        let finished = run(&[&["serve"], flags].concat()).await;
        assert_eq!((finished.status.code(), finished.stdout.as_str()), (Some(2), ""), "{flags:?}");
        assert!(finished.stderr.starts_with("error: "), "{}", finished.stderr);
    }
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_one_clear_line_without_its_password() {
    // A port that was just free, on which nothing listens.
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let url = format!("postgres://lastseen:{PASSWORD}@{address}/books");
    for migrate in ["--migrate=true", "--migrate=false"] {
        let line = fails_to_serve(&["--database-url", &url, migrate], 1).await;
        assert!(line.starts_with(&format!("the database at {address}/books cannot be reached: ")), "{line}");
    }
    let line = one_line(&run(&["migrate", "--database-url", &url]).await, 1);
    assert!(line.contains("cannot be reached"), "{line}");
    for command in ["sweep", "check"] {
        let line = one_line(&run(&[command, "--database-url", &url]).await, 1);
        assert!(line.contains("cannot be reached"), "{line}");
    }

    let line = fails_to_serve(&["--database-url", &format!("mysql://lastseen:{PASSWORD}@{address}/books")], 1).await;
    assert!(line.contains("postgres://"), "{line}");
}

#[tokio::test]
async fn a_server_that_is_no_postgresql_is_one_clear_line() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let answering = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    let url = format!("postgres://lastseen:{PASSWORD}@{address}/books");
    let line = fails_to_serve(&["--database-url", &url], 1).await;
    assert!(line.starts_with(&format!("the database at {address}/books cannot be reached: ")), "{line}");
    answering.abort();

    // One that takes the connection and never sends a byte.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("postgres://lastseen:{PASSWORD}@{}/books", silent.local_addr().expect("an address"));
    let options = url.parse().expect("an address");
    let (migrated, ()) = tokio::join!(schema::migrate(&options), pass(Duration::from_secs(11)));
    let line = migrated.expect_err("nothing listens there").to_string();
    assert!(line.contains("cannot be reached: no answer within"), "{line}");
}

#[tokio::test]
async fn a_schema_of_a_newer_version_is_left_alone() {
    let database = TestDatabase::new().await;
    sqlx::query(
        "INSERT INTO lastseen.migrations (file, sha256, applied_by) VALUES ('999999_from_the_future.sql', '', '99.0.0')",
    )
    .execute(&database.pool)
    .await
    .expect("a migration");
    for flags in ["--migrate=true", "--migrate=false"] {
        let line = fails_to_serve(&["--database-url", &database.url(), flags], 1).await;
        assert_eq!(
            line,
            "the database's schema is newer (migration 999999) than this lastseen: use the newer lastseen"
        );
    }
    for command in ["migrate", "sweep"] {
        let line = one_line(&run(&[command, "--database-url", &database.url()]).await, 1);
        assert!(line.contains("is newer (migration 999999)"), "{line}");
    }
}

#[tokio::test]
async fn a_database_that_was_not_migrated_is_named_so_and_left_alone() {
    let database = TestDatabase::empty().await;
    let line = fails_to_serve(&["--database-url", &database.url(), "--migrate=false"], 1).await;
    assert!(line.ends_with("is missing): run `lastseen migrate` first"), "{line}");
    let line = one_line(&run(&["sweep", "--database-url", &database.url()]).await, 1);
    assert!(line.ends_with("run `lastseen migrate` first"), "{line}");
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        .fetch_one(&database.pool)
        .await
        .expect("a count");
    assert_eq!(tables, 0);
}

#[tokio::test]
async fn a_migrated_database_serves_under_a_role_that_is_a_member_of_the_service_and_nothing_else() {
    let database = TestDatabase::empty().await;
    for _ in 0..2 {
        let migrated = run(&["migrate", "--database-url", &database.url()]).await;
        assert_eq!(
            (migrated.status.code(), migrated.stdout.as_str()),
            (Some(0), "the schema is up to date\n"),
            "{}",
            migrated.stderr
        );
    }
    // Roles belong to the cluster, so it has a name of its own.
    let role = format!("lastseen_{}", Uuid::now_v7().simple());
    sqlx::query(AssertSqlSafe(format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}' IN ROLE lastseen_service")))
        .execute(&database.pool)
        .await
        .expect("a role");
    let member = TestDatabase::at(database.options.clone().username(&role).password(PASSWORD), 1);
    let flags =
        ["--database-url", &member.url(), "--migrate=false", "--jwt-secret", SECRET, "--flush-interval", "100ms"];
    let server = Process::serve(&flags).await;
    let session = server.rest.open().await;
    let mut ada = Client::join(server.address, session.id, &Join::invite(&session.invite, "Ada")).await;
    ada.send(json!({"type": "update", "state": {"page": 1}})).await;
    eventually("the state in the database", async || {
        let row = person(&database.pool, ada.id()).await;
        (row.state == json!({"page": 1})).then_some(())
    })
    .await;
    assert_eq!(did(&server.rest.sweep().await), json!({}));
    server.signal(Signal::SIGTERM);
    let finished = server.finished().await;
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    assert!(!finished.stderr.contains(PASSWORD), "{}", finished.stderr);

    // It may not migrate, and ends with an error where a migration is due.
    sqlx::query("DELETE FROM lastseen.migrations WHERE file LIKE '%admission.sql'")
        .execute(&database.pool)
        .await
        .expect("a migration that is missing");
    let line = one_line(&run(&["migrate", "--database-url", &member.url()]).await, 1);
    assert!(line.starts_with("the database's schema cannot be brought up to date: "), "{line}");
    sqlx::query(AssertSqlSafe(format!("DROP ROLE {role}"))).execute(&database.pool).await.expect("it is gone");
}

#[tokio::test]
async fn a_sweep_from_cron_closes_what_is_idle_once_and_says_what_it_did() {
    let server = TestServer::start(&["--sweep-interval", "1h", "--ping-interval", "10m", "--dead-after", "20m"]).await;
    let (idle, inhabited, old) = (server.open().await, server.open().await, server.open().await);
    let mut ada = Client::join(server.address(), idle.id, &Join::invite(&idle.invite, "Ada")).await;
    server.sweep().await;
    server.age(idle.id, 120.0).await;
    server.close(old.id).await.expect(200);
    sqlx::query("UPDATE reading_sessions SET closed_at = now() - interval '2 minutes' WHERE id = $1")
        .bind(old.id)
        .execute(&server.database.pool)
        .await
        .expect("an update");

    let url = server.database.url();
    let sweep = async |flags: &[&str]| {
        let swept = run(&[&["sweep", "--database-url", &url], flags].concat()).await;
        assert_eq!(swept.status.code(), Some(0), "{}", swept.stderr);
        did(&serde_json::from_str(&swept.stdout).expect("JSON"))
    };
    assert_eq!(sweep(&[]).await, json!({}), "by the default rules nothing is idle");
    let strict = ["--idle-timeout", "1m", "--retention", "reading-sessions=1m"];
    // The other one is as young as this test, which may be slow.
    server.age(inhabited.id, -3600.0).await;
    assert_eq!(sweep(&strict).await, json!({"closed": 1, "purged": 1}));
    assert_eq!(sweep(&strict).await, json!({}));
    assert_eq!(stored(&server.database.pool, idle.id).await.close_reason.as_deref(), Some("idle"));
    assert!(stored(&server.database.pool, inhabited.id).await.is_active);
    server.get(&format!("/v1/reading-sessions/{}", old.id), Some(&service())).await.refused(404, "session_not_found");

    // The server finds out with the next beat of that room.
    ada.send(json!({"type": "beat"})).await;
    let ended = ada.ended().await;
    assert_eq!((ended.code, &ended.error["reason"]), (4511, &json!("idle")));
}

#[tokio::test]
async fn beside_a_server_with_its_own_database_a_check_works_and_a_sweep_names_the_call() {
    // The user that PostgreSQL runs as has to be able to enter.
    use std::os::unix::fs::PermissionsExt;
    let directory =
        tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o755)).tempdir().expect("a directory");
    let data_dir = directory.path().join("data").to_str().expect("a path").to_owned();
    let of_it = ["--data-dir", &data_dir, "--durable=false"];
    let server = Process::serve(&of_it).await;

    for (command, said) in [("check", "All tests completed successfully!\n"), ("migrate", "the schema is up to date\n")]
    {
        let finished = run(&[&[command], &of_it[..]].concat()).await;
        assert_eq!((finished.status.code(), finished.stdout.as_str()), (Some(0), said), "{}", finished.stderr);
    }
    let line = one_line(&run(&[&["sweep"], &of_it[..]].concat()).await, 1);
    assert!(line.contains("sweeps by itself") && line.contains("POST /v1/admin/sweep"), "{line}");
    // The token that the line says is one that this server takes.
    let flags = line.split("$(lastseen ").nth(1).and_then(|rest| rest.split(')').next()).expect("a command");
    let flags: Vec<_> = flags.split(' ').map(|flag| flag.trim_matches('\'')).collect();
    let token = run(&flags).await.stdout;
    server.rest.post("/v1/admin/sweep", Some(token.trim()), Value::Null).await.expect(200);

    server.signal(Signal::SIGTERM);
    assert_eq!(server.finished().await.status.code(), Some(0));
    // And where none is running.
    let checked = run(&[&["check"], &of_it[..]].concat()).await;
    assert_eq!(checked.status.code(), Some(0), "{}", checked.stderr);
}

/// Prints a token and gives it, with its claims.
async fn token(flags: &[&str]) -> (String, Value) {
    let printed = run(&[&["token", "--jwt-secret", SECRET], flags].concat()).await;
    assert_eq!(printed.status.code(), Some(0), "{}", printed.stderr);
    let token = printed.stdout.strip_suffix('\n').expect("one line").to_owned();
    let claims = token.split('.').nth(1).expect("claims");
    let claims = URL_SAFE_NO_PAD.decode(claims).expect("base64");
    (token, serde_json::from_slice(&claims).expect("JSON"))
}

#[tokio::test]
async fn a_printed_token_is_one_that_the_server_takes() {
    let server = TestServer::start(&[]).await;
    let ada = Uuid::now_v7();
    let (for_ada, claims) = token(&["--sub", &ada.to_string(), "--name", "Ada", "--ttl", "2h"]).await;
    assert_eq!(
        (&claims["sub"], &claims["name"], &claims["role"]),
        (&json!(ada), &json!("Ada"), &json!("authenticated"))
    );
    let left = claims["exp"].as_i64().expect("a time") - chrono::Utc::now().timestamp();
    assert!((3600..=7200).contains(&left), "{left} s are left of two hours");
    let session = server.open_as(Some(&for_ada), json!({"title": "Middlemarch"})).await;
    assert_eq!(session.body["host_user_id"], json!(ada));
    let host = Client::join(server.address(), session.id, &Join::token(&for_ada)).await;
    assert_eq!(host.view[&host.id()]["name"], "Ada");

    let (for_service, claims) = token(&["--role", "service_role"]).await;
    assert_eq!(claims["role"], "service_role");
    server.post("/v1/admin/sweep", Some(&for_service), Value::Null).await.expect(200);
    server.post("/v1/admin/sweep", Some(&for_ada), Value::Null).await.refused(403, "forbidden");

    // Another server's secret is another secret.
    let other =
        run(&["token", "--role", "service_role", "--jwt-secret", "another secret that is long enough to be one"])
            .await
            .stdout;
    server.post("/v1/admin/sweep", Some(other.trim()), Value::Null).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_token_for_nobody_or_without_a_secret_is_an_error() {
    let line = one_line(&run(&["token", "--role", "authenticated", "--jwt-secret", SECRET]).await, 1);
    assert_eq!(line, "--sub is needed for a user's token");
    let sub = Uuid::now_v7().to_string();
    let line = one_line(&run(&["token", "--sub", &sub, "--jwks", "keys.json"]).await, 1);
    assert!(line.contains("--jwks"), "{line}");
    for flags in [&["token"][..], &["token", "--sub", ""], &["token", "--sub", &sub, "--role", "king"]] {
        let finished = run(&[flags, &["--jwt-secret", SECRET]].concat()).await;
        assert_ne!(finished.status.code(), Some(0), "{flags:?}");
        assert_eq!(finished.stdout, "", "{flags:?}");
        assert!(!finished.stderr.is_empty() && !finished.stderr.contains(SECRET), "{}", finished.stderr);
    }
}

#[tokio::test]
async fn for_tries_the_times_of_the_server_are_short_and_those_set_by_hand_are_as_set() {
    let database = TestDatabase::new().await;
    let mut command = lastseen(&["serve", "--listen", "127.0.0.1:0", "--jwt-secret", SECRET, "--grace", "15s"]);
    let by_hand = [("DATABASE_URL", database.url()), ("LASTSEEN_DEMO", "true".to_owned())];
    command.envs(by_hand).env("LASTSEEN_BEAT_INTERVAL", "2s");
    let server = Process::start(command).await;
    let session = server.rest.open().await;
    let ada = Client::join(server.address, session.id, &Join::invite(&session.invite, "Ada")).await;
    let told = ["beat_ms", "dead_after_ms", "grace_ms"].map(|key| ada.welcome[key].clone());
    assert_eq!(told, [json!(2000), json!(5000), json!(15_000)]);
    let time =
        |key: &str| ada.welcome["session"][key].as_str().expect("a time").parse::<DateTime<Utc>>().expect("a time");
    assert_eq!((time("expires_at") - time("last_seen_at")).num_seconds(), 60, "an hour is a minute");
    server.signal(Signal::SIGTERM);
    let finished = server.finished().await;
    assert!(finished.stderr.contains("demo: an hour is a minute"), "{}", finished.stderr);
}

#[tokio::test]
async fn settings_come_from_the_environment_and_flags_win() {
    let database = TestDatabase::new().await;
    let mut command = lastseen(&["serve", "--beat-interval", "9s"]);
    command.envs([
        ("DATABASE_URL", database.url().as_str()),
        ("LASTSEEN_LISTEN", "127.0.0.1:0"),
        ("LASTSEEN_JWT_SECRET", SECRET),
        ("LASTSEEN_BEAT_INTERVAL", "7s"),
        ("LASTSEEN_GRACE", "8s"),
        ("LASTSEEN_IDLE_TIMEOUT", "30m"),
        ("LASTSEEN_MAX_PARTICIPANTS", "3"),
        ("LASTSEEN_NODE", "from-the-environment"),
        ("LASTSEEN_PUBLIC_URL", "https://read.example.org"),
        ("LASTSEEN_GUEST_HOSTS", "true"),
    ]);
    let server = Process::start(command).await;
    let session = server.rest.open().await;
    assert_eq!(session.body["max_participants"], 3);
    let url = session.body["invite"]["url"].as_str().expect("a link");
    assert!(url.starts_with("https://read.example.org/join/"), "{url}");
    let ada = Client::join(server.address, session.id, &Join::invite(&session.invite, "Ada")).await;
    assert_eq!((&ada.welcome["beat_ms"], &ada.welcome["grace_ms"]), (&json!(9000), &json!(8000)));
    let row = person(&database.pool, ada.id()).await;
    assert_eq!(row.node.as_deref(), Some("from-the-environment"));
    assert_eq!(did(&server.rest.sweep().await), json!({}), "it knows the secret");

    // A contradiction is reported as for flags.
    let mut command = lastseen(&["serve", "--flush-interval", "10s"]);
    let output = command.env("LASTSEEN_IDLE_TIMEOUT", "20s").output().await.expect("it ends");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "lastseen: idle-timeout (20s) must be longer than twice flush-interval (20s)\n"
    );
}
