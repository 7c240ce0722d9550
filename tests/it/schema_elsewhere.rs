//! A database that is not empty: what stands in the way, and lastseen's tables in a schema of their own.

use std::path::Path;

use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::process::Command;
use uuid::Uuid;

use crate::harness::catalog::{catalog, differences};
use crate::harness::cluster::TestDatabase;
use crate::harness::process::{Finished, lastseen, run};
use crate::harness::programs::program;
use crate::harness::rest::{did, service, user};
use crate::harness::rows::{person, stored};
use crate::harness::server::SECRET;
use crate::harness::things::Things;
use crate::harness::{Client, Join, TestServer, eventually};
use crate::quick_check;

/// Tables as an app may have them, with a row in each.
const TABLES_OF_AN_APP: &str = "
    CREATE TABLE user_sessions (session_id text PRIMARY KEY, platform text, status text, end_reason text);
    INSERT INTO user_sessions VALUES ('phone', 'ios', 'ACTIVE', NULL);
    CREATE TABLE reading_sessions (id bigint PRIMARY KEY, title text);
    INSERT INTO reading_sessions VALUES (7, 'Middlemarch');
    CREATE TABLE session_participants (session_id bigint REFERENCES reading_sessions, name text);
    INSERT INTO session_participants VALUES (7, 'Hana');
    CREATE TABLE sessions (id int, user_id uuid);
    INSERT INTO sessions VALUES (1, gen_random_uuid());
    CREATE VIEW sit_weeks AS SELECT 1 AS week;
    CREATE FUNCTION is_participant(who text) RETURNS boolean LANGUAGE sql RETURN who = 'Hana';";

/// All of the app's rows.
const ROWS_OF_AN_APP: &str = "
    SELECT concat_ws(' ', (SELECT string_agg(u::text, ',') FROM public.user_sessions AS u),
                     (SELECT string_agg(r::text, ',') FROM public.reading_sessions AS r),
                     (SELECT string_agg(p::text, ',') FROM public.session_participants AS p),
                     (SELECT string_agg(s::text, ',') FROM public.sessions AS s),
                     (SELECT week FROM public.sit_weeks), public.is_participant('Hana'))";

const MADE_IN_PUBLIC: &str = "
    SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'S')";

async fn execute(pool: &PgPool, sql: &str) {
    let outcome = sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await;
    outcome.unwrap_or_else(|error| panic!("{error}: {sql}"));
}

async fn text(pool: &PgPool, query: &str) -> String {
    sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(pool).await.unwrap_or_else(|error| panic!("{error}: {query}"))
}

/// The one line of a command that ends with exit code 1.
#[track_caller]
fn line(finished: &Finished) -> &str {
    assert_eq!((finished.status.code(), finished.stdout.as_str()), (Some(1), ""), "{}", finished.stderr);
    finished.complaint()
}

async fn serve(url: &str, flags: &[&str]) -> Finished {
    let base = ["serve", "--listen", "127.0.0.1:0", "--jwt-secret", SECRET, "--database-url", url];
    run(&base.into_iter().chain(flags.iter().copied()).collect::<Vec<_>>()).await
}

#[tokio::test]
async fn tables_of_others_stop_migrate_and_serve_before_anything_is_made() {
    let database = TestDatabase::empty().await;
    execute(&database.pool, TABLES_OF_AN_APP).await;
    let before = (catalog(&database.pool).await, text(&database.pool, ROWS_OF_AN_APP).await);
    let url = database.url();
    for finished in [run(&["migrate", "--database-url", &url]).await, serve(&url, &[]).await] {
        let line = line(&finished);
        for named in [
            "the schema public already has",
            "table reading_sessions",
            "table session_participants",
            "table user_sessions",
            "view sit_weeks",
            "function is_participant",
            "--schema NAME (LASTSEEN_SCHEMA)",
            "docs/how-to/bring-your-tables.md",
        ] {
            assert!(line.contains(named), "{named}: {line}");
        }
        assert!(!line.contains("table sessions"), "nothing of this name is made: {line}");
    }
    assert_eq!(before, (catalog(&database.pool).await, text(&database.pool, ROWS_OF_AN_APP).await));
}

#[tokio::test]
async fn each_kind_of_thing_that_is_in_the_way_is_named() {
    for (made, named) in [
        ("CREATE VIEW sits AS SELECT 1 AS id", "table sits"),
        ("CREATE SEQUENCE check_ins", "table check_ins"),
        ("CREATE TYPE sit_weeks AS ENUM ('one')", "view sit_weeks"),
        ("CREATE TABLE mine (id int); CREATE INDEX sits_newest ON mine (id)", "index sits_newest"),
        ("CREATE FUNCTION peak_hours() RETURNS int LANGUAGE sql RETURN 1", "function peak_hours"),
        (
            "CREATE SCHEMA lastseen; CREATE TYPE lastseen.admission AS (code text)",
            "the schema lastseen already has what lastseen would make (type admission)",
        ),
        (
            "CREATE SCHEMA lastseen; CREATE TABLE lastseen.migrations (version int)",
            "the schema lastseen already has what lastseen would make (table migrations)",
        ),
    ] {
        let database = TestDatabase::empty().await;
        execute(&database.pool, made).await;
        let before = catalog(&database.pool).await;
        let finished = run(&["migrate", "--database-url", &database.url()]).await;
        assert!(line(&finished).contains(named), "{named}: {}", finished.stderr);
        assert_eq!(differences(&before, &catalog(&database.pool).await), Vec::<String>::new(), "{made}");
    }
    // What was made beforehand for lastseen is in nobody's way.
    let database = TestDatabase::empty().await;
    execute(&database.pool, "CREATE SCHEMA lastseen; CREATE SCHEMA books; CREATE TABLE books.shelves (id int)").await;
    let finished = run(&["migrate", "--schema", "books", "--database-url", &database.url()]).await;
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    assert!(quick_check::fault(&database).await.is_none());
}

/// One life of everything through a server; gives what a later server has to find.
async fn live(server: &TestServer) -> (Things, Things) {
    let (hana, mel) = (Things::of(server, "Hana").await, Things::of(server, "Mel").await);
    let mut guest = Client::join(server.address(), hana.session.id, &Join::invite(&hana.session.invite, "Ida")).await;
    guest.send(json!({"type": "update", "state": {"page": 12}})).await;
    guest.send(json!({"type": "beat"})).await;
    eventually("the state in the database", async || {
        let row = person(&server.database.pool, guest.id()).await;
        (row.is_active && row.state == json!({"page": 12})).then_some(())
    })
    .await;
    guest.leave().await;

    let complete = format!("/v1/sits/{}/complete", hana.sit);
    server.post(&complete, Some(&hana.token), json!({"early": true})).await.expect(200);
    let sits = server.get("/v1/sits", Some(&mel.token)).await.expect(200);
    assert!(!sits.to_string().contains(&hana.sit.to_string()), "the sits of others are not shown: {sits}");
    let session = format!("/v1/reading-sessions/{}", hana.session.id);
    assert_eq!(server.get(&session, Some(&hana.token)).await.expect(200)["title"], "Hana's book");
    server.get(&session, Some(&mel.token)).await.refused(404, "session_not_found");
    for path in ["/v1/admin/stats", "/v1/admin/analytics?days=7"] {
        server.get(path, Some(&service())).await.expect(200);
    }
    let check_ins = server.get("/v1/check-ins/active", Some(&service())).await.expect(200);
    assert!(check_ins.to_string().contains(&mel.check_in.to_string()), "{check_ins}");

    let idle = server.open().await;
    server.age(idle.id, 7200.0).await;
    assert_eq!(did(&server.sweep().await)["closed"], 1);
    assert_eq!(stored(&server.database.pool, idle.id).await.close_reason.as_deref(), Some("idle"));
    (hana, mel)
}

/// What a user sees by SQL, as the policies have it.
async fn seen_by(database: &TestDatabase, user: Uuid) -> String {
    let mut transaction = database.pool.begin().await.expect("a transaction");
    sqlx::query("SELECT set_config('role', 'authenticated', true), set_config('request.jwt.claims', $1, true)")
        .bind(json!({"sub": user, "role": "authenticated"}).to_string())
        .execute(&mut *transaction)
        .await
        .expect("a role");
    let query = "SELECT concat_ws(' ', (SELECT count(*) FROM reading_sessions), (SELECT count(*) FROM user_sessions),
                                  (SELECT count(*) FROM check_ins), (SELECT count(*) FROM sits))";
    sqlx::query_scalar(query).fetch_one(&mut *transaction).await.expect("counts")
}

#[tokio::test]
async fn everything_works_in_a_schema_of_its_own_beside_tables_of_others() {
    for schema in ["presence", "lastseen", "user"] {
        let database = TestDatabase::empty().await;
        execute(&database.pool, TABLES_OF_AN_APP).await;
        let rows = text(&database.pool, ROWS_OF_AN_APP).await;
        // A path that leads to the tables of the app, as a role or a database may have one.
        let name = database.options.get_database().expect("a name").to_owned();
        execute(&database.pool, &format!("ALTER DATABASE {name} SET search_path = public, pg_catalog")).await;
        let database = database.within(&format!("\"{schema}\""));

        let server = TestServer::on(database, &["--schema", schema]).await;
        let (hana, _mel) = live(&server).await;
        let made = text(&server.database.pool, MADE_IN_PUBLIC).await;
        assert_eq!(made, "reading_sessions session_participants sessions sit_weeks user_sessions", "and nothing else");
        assert_eq!(seen_by(&server.database, hana.user).await, "1 1 1 1");
        assert_eq!(seen_by(&server.database, Uuid::now_v7()).await, "0 0 0 0");
        let database = server.stop().await;
        let url = database.url();
        for command in ["migrate", "sweep"] {
            let finished = run(&[command, "--schema", schema, "--database-url", &url]).await;
            assert_eq!(finished.status.code(), Some(0), "{schema}: {}", finished.stderr);
        }
        let fault = quick_check::fault(&database).await;
        assert!(fault.is_none(), "{schema}: {fault:?}");
        assert_eq!(text(&database.pool, ROWS_OF_AN_APP).await, rows, "the app's rows are as they were");

        let server = TestServer::on(database, &["--schema", schema, "--migrate=false"]).await;
        let path = format!("/v1/reading-sessions/{}", hana.session.id);
        assert_eq!(server.get(&path, Some(&hana.token)).await.expect(200)["title"], "Hana's book");
        let back = Client::join(server.address(), hana.session.id, &Join::token(&user(hana.user, "Hana"))).await;
        assert_eq!(back.view[&back.id()]["name"], "Hana");
    }
}

#[tokio::test]
async fn a_dump_of_another_schema_is_restored() {
    let (Some(pg_dump), Some(pg_restore)) = (program("pg_dump"), program("pg_restore")) else {
        println!("skipped: there is no pg_dump here");
        return;
    };
    let database = TestDatabase::empty().await;
    execute(&database.pool, TABLES_OF_AN_APP).await;
    let rows = text(&database.pool, ROWS_OF_AN_APP).await;
    let server = TestServer::on(database.within("presence"), &["--schema", "presence"]).await;
    let (hana, _mel) = live(&server).await;
    let database = server.stop().await;

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("dump");
    let restored = TestDatabase::empty().await;
    let run = async |program: &Path, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().await.expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let dump = file.to_str().expect("a plain path");
    run(&pg_dump, &["--format=custom", "--file", dump, &database.plain_url()]).await;
    run(&pg_restore, &["--exit-on-error", "--dbname", &restored.plain_url(), dump]).await;

    let restored = restored.within("presence");
    let refused = lastseen(&["migrate", "--database-url", &restored.url()]).output().await.expect("it ends");
    assert_eq!(refused.status.code(), Some(1), "the schema is remembered");
    let server = TestServer::on(restored, &["--schema", "presence"]).await;
    let path = format!("/v1/reading-sessions/{}", hana.session.id);
    assert_eq!(server.get(&path, Some(&hana.token)).await.expect(200)["title"], "Hana's book");
    server.guest(&hana.session, "Ulf").await;
    let fault = quick_check::fault(&server.database).await;
    assert!(fault.is_none(), "{fault:?}");
    assert_eq!(text(&server.database.pool, ROWS_OF_AN_APP).await, rows);
}

#[tokio::test]
async fn one_database_holds_one_lastseen() {
    let (public, elsewhere) = (TestDatabase::new().await, TestDatabase::empty().await);
    let migrated = run(&["migrate", "--schema", "presence", "--database-url", &elsewhere.url()]).await;
    assert_eq!(migrated.status.code(), Some(0), "{}", migrated.stderr);
    for (database, found, asked) in [(public, "public", "presence"), (elsewhere, "presence", "public")] {
        let (before, url) = (catalog(&database.pool).await, database.url());
        let flags = ["--schema", asked];
        for finished in [
            run(&["migrate", "--database-url", &url, "--schema", asked]).await,
            run(&["sweep", "--database-url", &url, "--schema", asked]).await,
            run(&["uninstall", "--yes", "--database-url", &url, "--schema", asked]).await,
            serve(&url, &flags).await,
            serve(&url, &[&flags[..], &["--migrate=false"]].concat()).await,
        ] {
            let wanted =
                format!("the database has lastseen in the schema {found}, not in {asked}: run with --schema {found}");
            assert!(line(&finished).starts_with(&wanted), "{}", finished.stderr);
        }
        assert_eq!(differences(&before, &catalog(&database.pool).await), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_search_path_of_the_database_does_not_lead_the_server_to_tables_of_others() {
    let database = TestDatabase::new().await;
    let name = database.options.get_database().expect("a name").to_owned();
    execute(
        &database.pool,
        &format!(
            "CREATE SCHEMA app; CREATE TABLE app.reading_sessions (id int); CREATE TABLE app.session_participants (id int);
             ALTER DATABASE {name} SET search_path = app, public"
        ),
    )
    .await;
    let server = TestServer::on(database.within("public"), &[]).await;
    let session = server.open().await;
    server.guest(&session, "Ida").await;
    assert!(stored(&server.database.pool, session.id).await.is_active);
}

#[tokio::test]
async fn a_name_that_is_no_plain_one_is_refused() {
    for name in ["My", "a-b", "pg_books", "auth", "a\"; drop schema public; --", ""] {
        let finished = run(&["migrate", "--database-url", "postgres://nowhere/x", "--schema", name]).await;
        assert_eq!(finished.status.code(), Some(2), "{name}: {}", finished.stderr);
        assert!(finished.stderr.starts_with("error: "), "{}", finished.stderr);
    }
}
