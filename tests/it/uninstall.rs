//! `lastseen uninstall`: everything that lastseen made, nothing of others, and the way back.

use std::path::Path;
use std::process::Stdio;

use sqlx::{AssertSqlSafe, PgPool};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::harness::TestServer;
use crate::harness::catalog::{catalog, differences};
use crate::harness::cluster::TestDatabase;
use crate::harness::process::{Finished, lastseen, run};
use crate::harness::programs::program;
use crate::harness::things::Things;
use crate::quick_check;

/// What an app may have beside lastseen, also in its schemas and by its functions.
const APP: &str = "
    CREATE TABLE public.books (id int PRIMARY KEY, title text);
    INSERT INTO public.books VALUES (1, 'Emma');
    CREATE VIEW public.titles AS SELECT title FROM public.books;
    CREATE FUNCTION public.is_open(book int) RETURNS boolean LANGUAGE sql RETURN book > 0;
    CREATE TABLE public.sessions (id int);
    CREATE POLICY mine ON public.books USING (id > 0);";

const TABLES: [&str; 10] = [
    "reading_sessions",
    "session_participants",
    "session_invites",
    "user_sessions",
    "check_ins",
    "partnerships",
    "partnership_members",
    "room_sits",
    "sits",
    "simulators",
];

async fn execute(pool: &PgPool, sql: &str) {
    let outcome = sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await;
    outcome.unwrap_or_else(|error| panic!("{error}: {sql}"));
}

/// Runs it with this on standard input.
async fn answered(answer: &str, arguments: &[&str]) -> Finished {
    let mut child = lastseen(arguments).stdin(Stdio::piped()).spawn().expect("it starts");
    let mut input = child.stdin.take().expect("its input");
    // It may have ended before it asked.
    let _ = input.write_all(answer.as_bytes()).await;
    drop(input);
    let output = child.wait_with_output().await.expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Finished { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// All rows of our tables, as JSON, in the schema that the pool reads.
pub async fn rows(pool: &PgPool) -> Vec<String> {
    let mut found = Vec::new();
    for table in TABLES {
        let query = format!("SELECT '{table} ' || to_jsonb(t)::text FROM {table} AS t ORDER BY 1");
        let of_table: Vec<String> = sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(pool).await.expect("rows");
        assert!(!of_table.is_empty(), "{table} has rows");
        found.extend(of_table);
    }
    found
}

#[tokio::test]
async fn it_asks_and_removes_all_that_lastseen_made_and_nothing_else() {
    for schema in ["public", "presence"] {
        let database = TestDatabase::empty().await;
        execute(&database.pool, APP).await;
        let before = catalog(&database.pool).await;
        let url = database.url();
        let flags = ["--schema", schema, "--database-url", &url];
        let migrated = run(&[&["migrate"], &flags[..]].concat()).await;
        assert_eq!(migrated.status.code(), Some(0), "{}", migrated.stderr);
        let installed = catalog(&database.pool).await;
        assert_ne!(differences(&before, &installed), Vec::<String>::new());

        let uninstall = [&["uninstall"], &flags[..]].concat();
        for answer in ["", "no\n", "y\n", "YES\n"] {
            let finished = answered(answer, &uninstall).await;
            assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
            assert!(finished.stdout.contains("user_sessions with 0 rows"), "{}", finished.stdout);
            assert!(finished.stdout.contains("\n  pg_dump --data-only "), "{}", finished.stdout);
            assert!(finished.stdout.ends_with("Write yes to go on: nothing was changed\n"), "{}", finished.stdout);
            assert_eq!(differences(&installed, &catalog(&database.pool).await), Vec::<String>::new());
        }
        let finished = answered("yes\n", &uninstall).await;
        assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
        assert!(finished.stdout.ends_with("lastseen is not in this database any more\n"), "{}", finished.stdout);
        assert_eq!(differences(&before, &catalog(&database.pool).await), Vec::<String>::new(), "{schema}");
        let schemas: Vec<String> =
            sqlx::query_scalar("SELECT nspname::text FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1")
                .fetch_all(&database.pool)
                .await
                .expect("schemas");
        assert_eq!(schemas, ["information_schema", "public"]);
        // Roles belong to the cluster, and other databases of it use these.
        let roles: i64 =
            sqlx::query_scalar("SELECT count(*) FROM pg_roles WHERE rolname ~ '^lastseen_(service|definer)$'")
                .fetch_one(&database.pool)
                .await
                .expect("a count");
        assert_eq!(roles, 2);
        assert!(finished.stdout.contains("stays: the role lastseen_service: "), "{}", finished.stdout);

        // Once more there is nothing to do, and a new one begins.
        let finished = run(&[&["uninstall", "--yes"], &flags[..]].concat()).await;
        assert_eq!(finished.status.code(), Some(1), "{}", finished.stdout);
        assert!(finished.stderr.contains("lastseen is not listed in this database"), "{}", finished.stderr);
        let migrated = run(&[&["migrate"], &flags[..]].concat()).await;
        assert_eq!(migrated.status.code(), Some(0), "{}", migrated.stderr);
        assert_eq!(differences(&installed, &catalog(&database.pool).await), Vec::<String>::new());
    }
}

/// The command on the line that begins with it.
fn dump_command(stdout: &str) -> &str {
    stdout.lines().map(str::trim).find(|line| line.starts_with("pg_dump ")).expect("the command")
}

#[tokio::test]
async fn the_dump_that_it_names_brings_everything_back() {
    let (Some(pg_dump), Some(pg_restore)) = (program("pg_dump"), program("pg_restore")) else {
        println!("skipped: there is no pg_dump here");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path =
        format!("{}:{}", pg_dump.parent().expect("a folder").display(), std::env::var("PATH").unwrap_or_default());
    for schema in ["public", "presence"] {
        let database = TestDatabase::empty().await.within(schema);
        let server = TestServer::on(database, &["--schema", schema]).await;
        for name in ["Hana", "Mel"] {
            Things::of(&server, name).await;
        }
        let database = server.stop().await;
        let (before, url) = (rows(&database.pool).await, database.url());
        let flags = ["--schema", schema, "--database-url", &url];
        let asked = run(&[&["uninstall"], &flags[..]].concat()).await;
        let dump = dump_command(&asked.stdout);
        let dumped = Command::new("sh").args(["-c", dump]).current_dir(folder.path()).env("PATH", &path).output().await;
        let dumped = dumped.expect("it runs");
        assert!(dumped.status.success(), "{dump}: {}", String::from_utf8_lossy(&dumped.stderr));

        for command in [&["uninstall", "--yes"][..], &["migrate"]] {
            let finished = run(&[command, &flags[..]].concat()).await;
            assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
        }
        restore(&pg_restore, &folder.path().join("lastseen.dump"), &database.plain_url()).await;
        assert_eq!(rows(&database.pool).await, before, "{schema}");
        assert!(quick_check::fault(&database).await.is_none());
    }
}

/// As docs/how-to/operate.md has it.
async fn restore(pg_restore: &Path, dump: &Path, url: &str) {
    let restored = Command::new(pg_restore)
        .args([
            "--data-only",
            "--single-transaction",
            "--role=lastseen_service",
            "--enable-row-security",
            "--dbname",
            url,
        ])
        .arg(dump)
        .output()
        .await
        .expect("it runs");
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
}

#[tokio::test]
async fn what_depends_on_ours_is_named_and_nothing_is_dropped() {
    for (made, named) in [
        ("CREATE VIEW mine AS SELECT platform FROM user_sessions", "view mine depends on table user_sessions"),
        ("CREATE TABLE mine (s uuid REFERENCES reading_sessions)", "constraint mine_s_fkey on table mine depends on"),
        (
            "CREATE TABLE mine (s uuid); CREATE POLICY p ON mine USING (is_participant(s))",
            "policy p on table mine depends on",
        ),
    ] {
        let database = TestDatabase::new().await;
        execute(&database.pool, made).await;
        let before = catalog(&database.pool).await;
        let finished = run(&["uninstall", "--yes", "--database-url", &database.url()]).await;
        assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
        assert!(
            finished.stderr.contains("lastseen cannot be taken out, and nothing was changed: "),
            "{}",
            finished.stderr
        );
        let unqualified = finished.stderr.replace("public.", "");
        assert!(unqualified.contains(named), "{}", finished.stderr);
        assert_eq!(differences(&before, &catalog(&database.pool).await), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_server_that_runs_has_to_be_stopped_first() {
    let server = TestServer::start(&[]).await;
    let url = server.database.url();
    let finished = run(&["uninstall", "--yes", "--database-url", &url]).await;
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
    assert!(
        finished.stderr.contains("connections of lastseen servers to this database are open"),
        "{}",
        finished.stderr
    );
    server.open().await;
    let _database = server.stop().await;
    let finished = run(&["uninstall", "--yes", "--database-url", &url]).await;
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
}

#[tokio::test]
async fn tables_of_others_with_our_names_are_not_ours() {
    let database = TestDatabase::empty().await;
    execute(
        &database.pool,
        "CREATE TABLE user_sessions (id int); CREATE SCHEMA lastseen; CREATE TABLE lastseen.notes (id int)",
    )
    .await;
    let before = catalog(&database.pool).await;
    let finished = run(&["uninstall", "--yes", "--database-url", &database.url()]).await;
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stdout);
    assert!(finished.stderr.contains("lastseen is not listed in this database"), "{}", finished.stderr);
    assert_eq!(differences(&before, &catalog(&database.pool).await), Vec::<String>::new());
}

#[tokio::test]
async fn what_others_keep_in_our_schema_stays_with_it() {
    let database = TestDatabase::new().await;
    execute(
        &database.pool,
        "CREATE TABLE lastseen.notes (id int); CREATE FUNCTION auth.email() RETURNS text LANGUAGE sql RETURN 'x'",
    )
    .await;
    let finished = run(&["uninstall", "--yes", "--database-url", &database.url()]).await;
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    assert!(finished.stdout.contains("stays: the schema lastseen: "), "{}", finished.stdout);
    assert!(finished.stdout.contains("stays: the schema auth: "), "{}", finished.stdout);
    execute(&database.pool, "SELECT auth.email(); SELECT * FROM lastseen.notes").await;
}

#[tokio::test]
async fn the_embedded_database_is_a_folder_to_be_deleted() {
    let finished = run(&["uninstall", "--yes", "--data-dir", "/nonexistent"]).await;
    assert_eq!(
        (finished.status.code(), finished.complaint()),
        (Some(1), "the embedded database holds nothing but lastseen: stop the server and delete /nonexistent")
    );
}
