//! The operator's check of a live database passes on a good one, and fails when any one thing is gone.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use sqlx::{AssertSqlSafe, PgConnection};
use tokio::process::Command;

use crate::harness::cluster::TestDatabase;
use crate::harness::programs::program;

const FILE: &str = "tests/sql/quick_check.sql";

/// The SQLSTATE of an assertion that does not hold.
const ASSERT_FAILURE: &str = "P0004";

/// Everything that the migrations made, each with the statement that drops it: functions, views, types,
/// tables, columns, indexes (or the constraint whose index it is), policies, triggers, row security.
const DROPS: &str = "
    WITH ours AS (
        SELECT oid, relname, relkind FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'i')
    )
    SELECT format('DROP FUNCTION %s CASCADE', oid::regprocedure) FROM pg_proc
    WHERE pronamespace IN ('public'::regnamespace, 'lastseen'::regnamespace)
    UNION ALL
    SELECT format('DROP TYPE %s CASCADE', t.oid::regtype) FROM pg_type AS t
    LEFT JOIN pg_class AS c ON c.oid = t.typrelid
    WHERE t.typnamespace = 'lastseen'::regnamespace AND (t.typtype IN ('d', 'e') OR c.relkind = 'c')
    UNION ALL
    SELECT format('DROP %s %I CASCADE', CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, relname)
    FROM ours WHERE relkind IN ('r', 'v')
    UNION ALL
    SELECT format('ALTER TABLE %I DROP COLUMN %I CASCADE', relname, attname)
    FROM ours JOIN pg_attribute ON attrelid = ours.oid WHERE relkind = 'r' AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT coalesce(
        (SELECT format('ALTER TABLE %s DROP CONSTRAINT %I CASCADE', conrelid::regclass, conname)
         FROM pg_constraint WHERE conindid = ours.oid AND contype IN ('p', 'u', 'x')),
        format('DROP INDEX %I', relname))
    FROM ours WHERE relkind = 'i'
    UNION ALL
    SELECT format('DROP POLICY %I ON %s', polname, polrelid::regclass) FROM pg_policy
    UNION ALL
    SELECT format('DROP TRIGGER %I ON %s', tgname, tgrelid::regclass) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT format('ALTER TABLE %s DISABLE TRIGGER %I', tgrelid::regclass, tgname) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT format('ALTER TABLE %I %s ROW LEVEL SECURITY', relname, what)
    FROM ours, unnest(ARRAY['DISABLE', 'NO FORCE']) AS what WHERE relkind = 'r'
    UNION ALL
    SELECT 'DROP TABLE lastseen.migrations'";

/// What is there and does not do what it should.
const SABOTAGE: [&str; 11] = [
    "ALTER POLICY people_see_their_own ON check_ins USING (true)",
    "ALTER POLICY people_see_their_sessions ON reading_sessions USING (true)",
    "ALTER POLICY users_see_their_simulators ON simulators USING (true)",
    "GRANT SELECT ON session_invites TO authenticated",
    "GRANT SELECT ON sits TO anon",
    "CREATE OR REPLACE FUNCTION purge_closed_sessions(older_than interval DEFAULT '30 days', at_most int DEFAULT NULL)
        RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint'",
    "CREATE OR REPLACE FUNCTION is_participant(session uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    "ALTER FUNCTION lastseen.admit RESET ALL",
    "REVOKE EXECUTE ON FUNCTION lastseen.close_sessions FROM lastseen_service",
    "REVOKE SELECT ON lastseen.migrations FROM lastseen_service",
    "GRANT INSERT ON lastseen.migrations TO service_role",
];

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE)
}

/// The file without what is psql's, and without its transaction, so that one goes around it.
fn body() -> String {
    let text = std::fs::read_to_string(file()).expect(FILE);
    let lines: Vec<_> =
        text.lines().filter(|line| !line.starts_with('\\') && !["begin;", "rollback;"].contains(line)).collect();
    lines.join("\n")
}

/// Runs the file as an operator does; its output and whether it was well.
async fn by_psql(program: &Path, database: &TestDatabase) -> (bool, String) {
    let output = Command::new(program)
        .args(["-X", "-f", FILE])
        .arg(database.plain_url())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .output()
        .await
        .expect("psql runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.success(), text(output.stdout) + &text(output.stderr))
}

/// The error of the check after this statement, which is rolled back; `None` where all is well.
async fn after(connection: &mut PgConnection, statement: &str, check: &str) -> Option<sqlx::Error> {
    let run = async |connection: &mut PgConnection, text: &str| {
        sqlx::raw_sql(AssertSqlSafe(text)).execute(connection).await.map(drop)
    };
    run(connection, "BEGIN; SET LOCAL client_min_messages = warning").await.expect("a transaction");
    run(connection, statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    let told = run(connection, check).await.err();
    run(connection, "ROLLBACK; RESET ALL").await.expect("the end");
    told
}

/// The error of the check, or `None` where all is well.
pub async fn fault(database: &TestDatabase) -> Option<sqlx::Error> {
    let mut connection = database.pool.acquire().await.expect("a connection");
    after(&mut connection, "SELECT", &body()).await
}

#[tokio::test]
async fn an_operator_is_told_in_one_line_that_all_is_well() {
    let Some(psql) = program("psql") else {
        println!("skipped: there is no psql here");
        return;
    };
    let database = TestDatabase::new().await;
    let (well, said) = by_psql(&psql, &database).await;
    assert!(well, "{said}");
    assert_eq!(said, "All tests completed successfully!\n");
    let rows: i64 =
        sqlx::query_scalar("SELECT (SELECT count(*) FROM reading_sessions) + (SELECT count(*) FROM user_sessions)")
            .fetch_one(&database.pool)
            .await
            .expect("a count");
    assert_eq!(rows, 0, "nothing stays");

    sqlx::query("DROP INDEX reading_sessions_newest").execute(&database.pool).await.expect("it is gone");
    let (well, said) = by_psql(&psql, &database).await;
    assert!(!well && !said.contains("successfully"), "{said}");
}

#[tokio::test]
async fn whatever_is_missing_is_found() {
    let database = TestDatabase::new().await;
    let check = body();
    let mut connection = database.pool.acquire().await.expect("a connection");
    let drops: Vec<String> = sqlx::query_scalar(DROPS).fetch_all(&mut *connection).await.expect("what there is");
    assert!(drops.len() > 150, "the catalog is read: {}", drops.len());
    let mut missed = Vec::new();
    for drop in &drops {
        match after(&mut connection, drop, &check).await {
            Some(sqlx::Error::Database(error)) if error.code().as_deref() == Some(ASSERT_FAILURE) => {}
            told => missed.push(format!("{drop}: {told:?}")),
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
    let told = after(&mut connection, "SELECT", &check).await;
    assert!(told.is_none(), "{told:?}");
}

#[tokio::test]
async fn whatever_does_not_work_is_found() {
    let database = TestDatabase::new().await;
    let check = body();
    let mut connection = database.pool.acquire().await.expect("a connection");
    for sabotage in SABOTAGE {
        assert!(after(&mut connection, sabotage, &check).await.is_some(), "{sabotage}");
    }
}
