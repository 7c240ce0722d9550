//! A database of before the first release, at the last of its 18 migrations, goes on working.

use std::path::{Path, PathBuf};

use lastseen::store::schema::{check, migrate};
use serde_json::{Value, json};
use sha2::{Digest, Sha384};
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use crate::harness::catalog::{catalog, differences};
use crate::harness::cluster::TestDatabase;
use crate::harness::rest::{service, user};
use crate::harness::{Client, Join, TestServer, eventually, quiet};

/// A table of users, as on Supabase, with the users that the rows name.
const USERS: &str = "
    CREATE SCHEMA auth;
    CREATE TABLE auth.users (id uuid PRIMARY KEY);
    INSERT INTO auth.users SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid FROM generate_series(1, 2) AS n";

/// As sqlx made it.
const RECORD: &str = "
    CREATE TABLE _sqlx_migrations (
        version BIGINT PRIMARY KEY,
        description TEXT NOT NULL,
        installed_on TIMESTAMPTZ NOT NULL DEFAULT now(),
        success BOOLEAN NOT NULL,
        checksum BYTEA NOT NULL,
        execution_time BIGINT NOT NULL
    )";

/// How many migrations there were.
pub const LAST: usize = 18;

const TABLES: [&str; 11] = [
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
    "_sqlx_migrations",
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

pub fn id(number: u32) -> Uuid {
    format!("00000000-0000-7000-8000-{number:012}").parse().expect("a UUID")
}

async fn run(pool: &PgPool, sql: &str) {
    let outcome = sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await;
    outcome.unwrap_or_else(|error| panic!("{error}: {sql}"));
}

/// A database as its version left it, after so many of the migrations.
async fn database_of_before(last: usize, users: bool) -> TestDatabase {
    let database = TestDatabase::empty().await;
    // As that version demanded. It is a role of the whole cluster, and needs it no more.
    run(&database.pool, "ALTER ROLE lastseen_definer BYPASSRLS").await;
    if users {
        run(&database.pool, USERS).await;
    }
    make(&database.pool, last).await;
    database
}

/// Runs so many of the migrations, as they were run then; after the last one also with rows.
pub async fn make(pool: &PgPool, last: usize) {
    let mut files: Vec<_> = std::fs::read_dir(fixtures().join("schema_18"))
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name"))
        .collect();
    files.sort();
    assert_eq!(files.len(), LAST);
    run(pool, RECORD).await;
    for file in &files[..last] {
        let sql = std::fs::read_to_string(fixtures().join("schema_18").join(file)).expect("a migration");
        run(pool, &sql).await;
        let (version, description) = file.trim_end_matches(".sql").split_once('_').expect("a version");
        sqlx::query("INSERT INTO _sqlx_migrations VALUES ($1, $2, now(), true, $3, 1)")
            .bind(version.parse::<i64>().expect("a number"))
            .bind(description.replace('_', " "))
            .bind(&Sha384::digest(&sql)[..])
            .execute(pool)
            .await
            .expect("a record");
    }
    if last == files.len() {
        run(pool, "GRANT SELECT ON _sqlx_migrations TO lastseen_service").await;
        let rows = std::fs::read_to_string(fixtures().join("schema_18_rows.sql")).expect("rows");
        run(pool, &format!("SET ROLE lastseen_service; {rows}; RESET ROLE")).await;
    }
}

/// All rows of a table, as JSON.
async fn rows(pool: &PgPool, table: &str) -> Vec<Value> {
    let query = format!("SELECT to_jsonb(t) FROM public.{table} AS t ORDER BY t::text");
    sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(pool).await.expect("rows")
}

#[tokio::test]
async fn it_keeps_its_rows_and_has_the_catalog_of_a_new_database() {
    for users in [false, true] {
        let (database, fresh) = (database_of_before(18, users).await, TestDatabase::empty().await);
        let mut before = Vec::new();
        for table in TABLES {
            before.push(rows(&database.pool, table).await);
        }
        assert!(before.iter().all(|rows| !rows.is_empty()), "{before:?}");
        migrate(&database.options).await.expect("migrated");
        check(&database.options).await.expect("it is current");
        for (table, before) in TABLES.iter().zip(before) {
            if *table != "_sqlx_migrations" {
                let mut kept = rows(&database.pool, table).await;
                for (row, before) in kept.iter_mut().zip(&before) {
                    // A column that came later has its default in rows of before.
                    let row = row.as_object_mut().expect("a row");
                    row.retain(|column, _| before.get(column).is_some());
                }
                assert_eq!(kept, before, "{table}");
            }
        }

        if users {
            run(&fresh.pool, USERS).await;
        }
        migrate(&fresh.options).await.expect("migrated");
        let (wanted, found) = (catalog(&fresh.pool).await, catalog(&database.pool).await);
        assert!(wanted.len() > 300, "the catalog is read: {}", wanted.len());
        assert_eq!(differences(&wanted, &found), Vec::<String>::new());
        let files = "SELECT format('%s %s %s', file, sha256, objects) FROM lastseen.migrations ORDER BY file";
        let files = async |pool| sqlx::query_scalar::<_, String>(files).fetch_all(pool).await.expect("files");
        assert_eq!(files(&database.pool).await, files(&fresh.pool).await);
    }
}

#[tokio::test]
async fn its_sessions_go_on_under_the_new_server() {
    let database = database_of_before(18, false).await;
    // In large letters, as the table had the word then.
    run(&database.pool, "UPDATE user_sessions SET connection_quality = 'DEGRADED' WHERE session_id = 'hana-phone'")
        .await;
    let server = TestServer::on(database, &quiet(&[])).await;
    let (hana, mel) = (user(id(1), "Hana"), user(id(2), "Mel"));
    let session = id(10);

    let mut mel_client = Client::join(server.address(), session, &Join::token(&mel)).await;
    assert_eq!(mel_client.id(), id(32), "the same participant");
    assert_eq!(mel_client.view[&id(32)]["state"], json!({"page": 12}));
    assert_eq!(mel_client.view[&id(33)]["name"], "Gus", "present when the server of before ended");
    let guest = Client::join(server.address(), session, &Join::invite("an invite of before", "Ida")).await;
    assert_eq!(guest.view[&id(31)]["name"], "Hana");
    // A try that a busy machine did not answer in time gives its use back after it.
    eventually("three uses", async || {
        let uses: i32 = server.sql("SELECT uses FROM session_invites WHERE session_id = $1", session).await;
        (uses == 3).then_some(())
    })
    .await;

    let get = async |path: &str, token: &str| server.get(path, Some(token)).await.expect(200);
    assert_eq!(get(&format!("/v1/reading-sessions/{session}"), &hana).await["title"], "Middlemarch");
    let closed = get(&format!("/v1/reading-sessions/{}", id(11)), &service()).await;
    assert_eq!(closed["close_reason"], "host");
    let phone = get("/v1/user-sessions/hana-phone", &hana).await;
    assert_eq!((&phone["device_info"], &phone["connection_quality"]), (&json!({"model": "phone"}), &json!("degraded")));
    assert_eq!(phone["simulator"]["id"], json!(id(70)));
    let sit = get(&format!("/v1/sits/{}", id(61)), &hana).await;
    assert_eq!((&sit["created_at"], &sit["duration_seconds"]), (&sit["started_at"], &json!(600)));
    assert_eq!(get(&format!("/v1/simulators/{}", id(70)), &hana).await["initial_symbols"], json!(["AAPL"]));
    let weeks = get(&format!("/v1/sits/weeks?partnership_id={}", id(60)), &mel).await;
    assert!(weeks.to_string().contains(&id(1).to_string()), "{weeks}");
    server.sweep().await;
    server.close(session).await.expect(200);
    mel_client.ended().await;
}

#[tokio::test]
async fn what_is_not_whole_is_left_alone_with_one_line() {
    for (last, tampering, wanted) in [
        (
            17,
            "SELECT",
            "the database's schema is from before the first release, at migration 17 of 18: \
             run `lastseen migrate` of commit 7448f01 first",
        ),
        (
            18,
            "UPDATE _sqlx_migrations SET checksum = '' WHERE version = 3",
            "the database's schema cannot be brought up to date: public._sqlx_migrations does not hold the 18 \
             migrations of lastseen from before the first release",
        ),
    ] {
        let database = database_of_before(last, false).await;
        run(&database.pool, tampering).await;
        let before = catalog(&database.pool).await;
        assert_eq!(migrate(&database.options).await.expect_err("it is left alone").to_string(), wanted);
        assert_eq!(differences(&before, &catalog(&database.pool).await), Vec::<String>::new());
        assert_eq!(
            check(&database.options).await.expect_err("it was not migrated").to_string(),
            "the database's schema is too old (migration 1 is missing): run `lastseen migrate` first"
        );
    }
}

#[tokio::test]
async fn what_fails_on_the_way_changes_nothing() {
    let database = database_of_before(18, false).await;
    // A view of an operator's on one that has to be made anew.
    run(&database.pool, "CREATE VIEW mine AS SELECT id FROM active_check_ins").await;
    let (before, records) = (catalog(&database.pool).await, rows(&database.pool, "_sqlx_migrations").await);
    let error = migrate(&database.options).await.expect_err("it is in the way").to_string();
    assert!(error.contains("because other objects depend on it"), "{error}");
    assert_eq!(differences(&before, &catalog(&database.pool).await), Vec::<String>::new());
    assert_eq!(rows(&database.pool, "_sqlx_migrations").await, records);
    run(&database.pool, "DROP VIEW mine").await;
    migrate(&database.options).await.expect("migrated");
}

#[tokio::test]
async fn a_record_of_another_program_is_not_ours() {
    let database = TestDatabase::empty().await;
    run(&database.pool, RECORD).await;
    run(&database.pool, "INSERT INTO _sqlx_migrations VALUES (1, 'theirs', now(), true, '', 1)").await;
    migrate(&database.options).await.expect("migrated");
    assert_eq!(rows(&database.pool, "_sqlx_migrations").await.len(), 1);
}
