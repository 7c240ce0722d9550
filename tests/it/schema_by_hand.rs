//! Migrations that were run by hand, and what somebody has dropped since.

use lastseen::store::schema::{Schema, check, migrate};
use sqlx::{AssertSqlSafe, PgPool};

use crate::harness::TestServer;
use crate::harness::catalog::{catalog, differences};
use crate::harness::cluster::TestDatabase;
use crate::harness::process::{Finished, run};
use crate::harness::server::SECRET;
use crate::quick_check;

async fn execute(pool: &PgPool, sql: &str) {
    let outcome = sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await;
    outcome.unwrap_or_else(|error| panic!("{error}: {sql}"));
}

/// Runs the files whose names are before this one, as psql does it with the option -1.
async fn by_hand(pool: &PgPool, before: &str) {
    for (name, sql) in Schema::embedded().files().filter(|(name, _)| *name < before) {
        let mut transaction = pool.begin().await.expect("a transaction");
        let outcome = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *transaction).await;
        outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        transaction.commit().await.expect("committed");
    }
}

/// What differs between this database and one that the program has migrated from nothing.
async fn differs(database: &TestDatabase) -> Vec<String> {
    let fresh = TestDatabase::new().await;
    let mut found = differences(&catalog(&fresh.pool).await, &catalog(&database.pool).await);
    let files = "SELECT format('%s %s %s', file, sha256, objects) FROM lastseen.migrations ORDER BY file";
    let files = async |pool| sqlx::query_scalar::<_, String>(files).fetch_all(pool).await.expect("files");
    found.extend(differences(&files(&fresh.pool).await, &files(&database.pool).await));
    found
}

async fn serve(database: &TestDatabase, migrate: &str) -> Finished {
    let url = database.url();
    run(&["serve", "--listen", "127.0.0.1:0", "--jwt-secret", SECRET, "--database-url", &url, migrate]).await
}

#[tokio::test]
async fn files_that_were_run_by_hand_are_recognised_and_listed() {
    // All of them; the tables and no function; the first tables.
    for before in ["zzz", "functions/", "0009", "0014"] {
        let database = TestDatabase::empty().await;
        by_hand(&database.pool, before).await;
        execute(&database.pool, "INSERT INTO check_ins (user_id, name) VALUES (gen_random_uuid(), 'Ada')").await;
        if before == "zzz" {
            let line = check(&database.options).await.expect_err("there is no list").to_string();
            assert!(line.ends_with("run `lastseen migrate` first"), "{line}");
        }
        let migrated = run(&["migrate", "--database-url", &database.url()]).await;
        assert_eq!(migrated.status.code(), Some(0), "{before}: {}", migrated.stderr);
        assert_eq!(differs(&database).await, Vec::<String>::new(), "{before}");
        let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM check_ins WHERE name = 'Ada'")
            .fetch_one(&database.pool)
            .await
            .expect("a count");
        assert_eq!(kept, 1, "{before}");
        check(&database.options).await.expect("it is current");
        assert!(quick_check::fault(&database).await.is_none());
    }
    let database = TestDatabase::empty().await;
    by_hand(&database.pool, "zzz").await;
    TestServer::on(database, &[]).await.open().await;
}

#[tokio::test]
async fn files_of_a_newer_version_that_were_run_by_hand_are_recognised_as_well() {
    let database = TestDatabase::new().await;
    execute(&database.pool, "DELETE FROM lastseen.migrations WHERE file >= '0014' AND file < 'a'").await;
    migrate(&database.options).await.expect("migrated");
    assert_eq!(differs(&database).await, Vec::<String>::new());
    // The list is gone, the tables are there; and without the schema that it was in.
    for statement in ["TRUNCATE lastseen.migrations", "DROP TABLE lastseen.migrations", "DROP SCHEMA lastseen CASCADE"]
    {
        execute(&database.pool, statement).await;
        migrate(&database.options).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        assert_eq!(differs(&database).await, Vec::<String>::new(), "{statement}");
    }
}

#[tokio::test]
async fn tables_that_differ_from_ours_are_not_taken_for_ours() {
    for change in [
        "ALTER TABLE check_ins DROP COLUMN name",
        "ALTER TABLE sits ALTER COLUMN sit_length_seconds TYPE bigint",
        "DROP INDEX reading_sessions_closed",
        "ALTER TABLE user_sessions DISABLE ROW LEVEL SECURITY",
    ] {
        let database = TestDatabase::empty().await;
        by_hand(&database.pool, "functions/").await;
        execute(&database.pool, change).await;
        let before = catalog(&database.pool).await;
        let line = migrate(&database.options).await.expect_err(change).to_string();
        assert!(line.contains("already has what lastseen would make"), "{change}: {line}");
        assert_eq!(differences(&before, &catalog(&database.pool).await), Vec::<String>::new(), "{change}");
    }
    // More than ours is no difference.
    let database = TestDatabase::empty().await;
    by_hand(&database.pool, "functions/").await;
    execute(&database.pool, "ALTER TABLE check_ins ADD COLUMN place text; CREATE INDEX mine ON sits (status)").await;
    migrate(&database.options).await.expect("migrated");
}

#[tokio::test]
async fn a_table_that_was_dropped_is_one_line_in_every_command() {
    let database = TestDatabase::new().await;
    execute(&database.pool, "DROP TABLE check_ins CASCADE").await;
    let url = database.url();
    for finished in [
        run(&["migrate", "--database-url", &url]).await,
        run(&["sweep", "--database-url", &url]).await,
        serve(&database, "--migrate=true").await,
        serve(&database, "--migrate=false").await,
    ] {
        assert_eq!((finished.status.code(), finished.stdout.as_str()), (Some(1), ""), "{}", finished.stderr);
        assert_eq!(
            finished.complaint(),
            "the database has lost the table public.check_ins, which somebody must have dropped: restore it from \
             a dump, or, to begin without any rows, run `lastseen uninstall` and then `lastseen migrate`"
        );
    }
    // What the line says to do.
    for command in [&["uninstall", "--yes"][..], &["migrate"]] {
        let finished = run(&[command, &["--database-url", &url]].concat()).await;
        assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    }
    assert_eq!(differs(&database).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_definition_that_was_dropped_is_made_anew() {
    let database = TestDatabase::new().await;
    for dropped in [
        "DROP FUNCTION is_participant CASCADE",
        "DROP VIEW sit_weeks",
        "DROP POLICY people_see_their_own ON check_ins",
        "DROP TRIGGER note_partnership_members ON partnership_members",
        "DROP TYPE lastseen.admission CASCADE",
    ] {
        execute(&database.pool, dropped).await;
        let line = check(&database.options).await.expect_err(dropped).to_string();
        assert!(line.starts_with("the database has lost "), "{line}");
        assert!(line.ends_with(": run `lastseen migrate`, which makes it anew"), "{line}");
        migrate(&database.options).await.unwrap_or_else(|error| panic!("{dropped}: {error}"));
        assert_eq!(differs(&database).await, Vec::<String>::new(), "{dropped}");
    }
}
