//! Row-level security, on rows that the server made: a user reads its own and changes none, and the
//! server works under a role to which the policies apply.

use std::path::Path;

use serde_json::json;
use sqlx::{AssertSqlSafe, Postgres, Row, Transaction};
use uuid::Uuid;

use crate::harness::cluster::TestDatabase;
use crate::harness::rest::{Opened, service, user};
use crate::harness::rows::as_user;
use crate::harness::{Client, Join, TestServer};

const TABLES: [&str; 3] = ["reading_sessions", "session_participants", "session_invites"];

/// The SQLSTATE for a table or column that is closed to the role.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// A session of a user with a guest in it, and the guest's connection.
async fn session_of(server: &TestServer, user_token: &str) -> (Opened, Client) {
    let session = server.open_as(Some(user_token), json!({"title": "Emma"})).await;
    let guest = Client::join(server.address(), session.id, &Join::invite(&session.invite, "Gus")).await;
    (session, guest)
}

async fn count(transaction: &mut Transaction<'static, Postgres>, query: &str) -> i64 {
    let row = sqlx::query(AssertSqlSafe(query)).fetch_one(&mut **transaction).await;
    row.unwrap_or_else(|error| panic!("{query}: {error}")).get(0)
}

/// Sees that a statement is refused, and goes on in the same transaction.
async fn is_closed(transaction: &mut Transaction<'static, Postgres>, statement: &str) {
    for step in ["SAVEPOINT here", statement, "ROLLBACK TO here"] {
        let outcome = sqlx::raw_sql(AssertSqlSafe(step)).execute(&mut **transaction).await;
        if step != statement {
            outcome.expect("a savepoint");
            continue;
        }
        let error = outcome.map(drop).expect_err(statement);
        let code =
            error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default().into_owned();
        assert_eq!(code, INSUFFICIENT_PRIVILEGE, "{statement}: {error}");
    }
}

#[tokio::test]
async fn a_user_reads_no_row_of_another_and_changes_none_at_all() {
    let server = TestServer::start(&[]).await;
    let (hana, mel) = (Uuid::now_v7(), Uuid::now_v7());
    let (of_hana, _hanas) = session_of(&server, &user(hana, "Hana")).await;
    let (of_mel, _mels) = session_of(&server, &user(mel, "Mel")).await;
    let all: i64 = sqlx::query_scalar("SELECT count(*) FROM session_participants")
        .fetch_one(&server.database.pool)
        .await
        .expect("a count");
    assert_eq!(all, 4, "two hosts and two guests are there to be seen");

    for (who, own, other) in [(hana, &of_hana, &of_mel), (mel, &of_mel, &of_hana)] {
        let mut transaction = as_user(&server.database.pool, who).await;
        for (table, key, rows) in [
            ("reading_sessions", "id", 1),
            ("session_participants", "session_id", 2),
            ("session_invites", "session_id", 1),
        ] {
            let total = count(&mut transaction, &format!("SELECT count({key}) FROM {table}")).await;
            assert_eq!(total, rows, "{table}");
            let of = |session: &Opened| format!("SELECT count(id) FROM {table} WHERE {key} = '{}'", session.id);
            assert_eq!(count(&mut transaction, &of(own)).await, rows, "its own in {table}");
            assert_eq!(count(&mut transaction, &of(other)).await, 0, "the other's in {table}");
            // Not even its own: what changes goes through the server.
            for statement in [
                format!("UPDATE {table} SET id = gen_random_uuid()"),
                format!("DELETE FROM {table}"),
                format!("INSERT INTO {table} DEFAULT VALUES"),
                format!("TRUNCATE {table} CASCADE"),
                format!("SELECT id FROM {table} FOR UPDATE"),
            ] {
                is_closed(&mut transaction, &statement).await;
            }
        }
        // What tokens are made of, and what the server does with rows.
        for statement in [
            "SELECT token_sha256 FROM session_invites".to_owned(),
            "SELECT * FROM session_invites".to_owned(),
            "SELECT count(*) FROM session_invites WHERE token_sha256 IS NOT NULL".to_owned(),
            "SELECT resume_generation FROM session_participants".to_owned(),
            format!("SELECT lastseen.close_session('{}', 'host')", own.id),
            format!("SELECT lastseen.remove_participant('{}', gen_random_uuid())", own.id),
            "SELECT cleanup_inactive_sessions('1 second')".to_owned(),
            "SELECT purge_closed_sessions('1 second')".to_owned(),
            "CREATE TABLE public.mine ()".to_owned(),
        ] {
            is_closed(&mut transaction, &statement).await;
        }
    }
}

#[tokio::test]
async fn whoever_takes_part_reads_the_session_and_whoever_was_removed_does_not() {
    let server = TestServer::start(&[]).await;
    let (hana, mel) = (Uuid::now_v7(), Uuid::now_v7());
    let (session, _guest) = session_of(&server, &user(hana, "Hana")).await;
    let sees = async || {
        let mut transaction = as_user(&server.database.pool, mel).await;
        let mut rows = Vec::new();
        for table in TABLES {
            rows.push(count(&mut transaction, &format!("SELECT count(id) FROM {table}")).await);
        }
        rows
    };
    assert_eq!(sees().await, [0, 0, 0]);
    let join = Join { invite: Some(session.invite.clone()), ..Join::token(&user(mel, "Mel")) };
    let client = Client::join(server.address(), session.id, &join).await;
    assert_eq!(sees().await, [1, 3, 1]);
    let person = client.id();
    client.close().await;
    assert_eq!(sees().await, [1, 3, 1], "also after leaving");
    let remove = format!("/v1/reading-sessions/{}/participants/{person}", session.id);
    server.delete(&remove, Some(&service())).await.expect(204);
    assert_eq!(sees().await, [0, 0, 0]);
}

#[tokio::test]
async fn somebody_without_a_jwt_reads_nothing() {
    let server = TestServer::start(&[]).await;
    let (_session, _guest) = session_of(&server, &user(Uuid::now_v7(), "Hana")).await;
    let mut transaction = server.database.pool.begin().await.expect("a transaction");
    sqlx::query("SET LOCAL ROLE anon").execute(&mut *transaction).await.expect("a role");
    for table in TABLES {
        is_closed(&mut transaction, &format!("SELECT id FROM {table}")).await;
        is_closed(&mut transaction, &format!("DELETE FROM {table}")).await;
    }
    transaction.rollback().await.expect("the end");
    // Neither does a user whose claims were lost on the way.
    let mut transaction = server.database.pool.begin().await.expect("a transaction");
    sqlx::query("SET LOCAL ROLE authenticated").execute(&mut *transaction).await.expect("a role");
    for table in TABLES {
        assert_eq!(count(&mut transaction, &format!("SELECT count(id) FROM {table}")).await, 0, "{table}");
    }
}

#[tokio::test]
async fn the_policies_bind_everybody_and_the_servers_role_most_of_all() {
    let database = TestDatabase::new().await;
    let unbound: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class
         WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
           AND NOT (relrowsecurity AND relforcerowsecurity)",
    )
    .fetch_all(&database.pool)
    .await
    .expect("tables");
    assert_eq!(unbound, Vec::<String>::new(), "row security is enabled and forced on every table");
    let role = sqlx::query(
        "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication, rolcanlogin, rolinherit,
                EXISTS (SELECT FROM pg_shdepend WHERE refobjid = r.oid AND deptype = 'o') AS owns,
                EXISTS (SELECT FROM pg_class WHERE relowner = r.oid) AS owns_here
         FROM pg_roles AS r WHERE rolname = 'lastseen_service'",
    )
    .fetch_one(&database.pool)
    .await
    .expect("the role");
    for column in 0..role.columns().len() {
        assert!(!role.get::<bool, _>(column), "{}", sqlx::Column::name(role.column(column)));
    }
}

/// Records the role with which each statement of the server reads (a policy that runs for every row)
/// and writes (a trigger, which also sees a superuser).
const WITNESS: &str = "
    CREATE SCHEMA witness;
    GRANT USAGE ON SCHEMA witness TO PUBLIC;
    CREATE TABLE witness.seen (what text, who text, claims text);
    GRANT INSERT ON witness.seen TO PUBLIC;
    CREATE FUNCTION witness.reads() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
    BEGIN
        INSERT INTO witness.seen VALUES ('read', current_user, current_setting('request.jwt.claims', true));
        RETURN true;
    END $$;
    CREATE FUNCTION witness.writes() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO witness.seen VALUES ('write', current_user, current_setting('request.jwt.claims', true));
        RETURN NULL;
    END $$;
    CREATE POLICY witness ON reading_sessions AS RESTRICTIVE FOR SELECT USING (witness.reads());
    CREATE TRIGGER witness AFTER INSERT OR UPDATE OR DELETE ON reading_sessions EXECUTE FUNCTION witness.writes();
    CREATE TRIGGER witness AFTER INSERT OR UPDATE OR DELETE ON session_participants EXECUTE FUNCTION witness.writes();
    CREATE TRIGGER witness AFTER INSERT OR UPDATE OR DELETE ON session_invites EXECUTE FUNCTION witness.writes();";

#[tokio::test]
async fn the_server_reads_for_a_user_as_that_user_and_does_everything_else_as_its_own_role() {
    let database = TestDatabase::new().await;
    sqlx::raw_sql(WITNESS).execute(&database.pool).await.expect("a witness");
    let server = TestServer::on(database, &[]).await;
    let seen = async || {
        let seen: Vec<(String, String, Option<String>)> = sqlx::query_as(
            "WITH told AS (DELETE FROM witness.seen RETURNING *) SELECT DISTINCT * FROM told ORDER BY 1, 2, 3",
        )
        .fetch_all(&server.database.pool)
        .await
        .expect("what was seen");
        seen
    };
    let hana = Uuid::now_v7();
    let token = user(hana, "Hana");
    let (session, guest) = session_of(&server, &token).await;
    let one = format!("/v1/reading-sessions/{}", session.id);
    server.patch(&one, Some(&service()), json!({"title": "Persuasion"})).await.expect(200);
    server.age(session.id, 600.0).await;
    guest.close().await;
    server.sweep().await;
    let mut roles: Vec<_> = seen().await.into_iter().map(|(what, who, _)| (what, who)).collect();
    roles.dedup();
    // The tests age rows as a superuser; that is the one other writer here.
    let superuser: String =
        sqlx::query_scalar("SELECT current_user::text").fetch_one(&server.database.pool).await.expect("a name");
    roles.retain(|(what, who)| (what.as_str(), who) != ("write", &superuser));
    let service_does = |what: &str| (what.to_owned(), "lastseen_service".to_owned());
    assert_eq!(roles, [service_does("read"), service_does("write")]);

    let other = user(Uuid::now_v7(), "Oz");
    server.get(&one, Some(&token)).await.expect(200);
    server.get("/v1/reading-sessions", Some(&token)).await.expect(200);
    server.get(&one, Some(&other)).await.refused(404, "session_not_found");
    let read: Vec<_> = seen().await.into_iter().filter(|(_, who, _)| who == "authenticated").collect();
    // The query of the other user was shown no row: a permissive policy runs first, so the witness did not run.
    let claims: Vec<_> = read.iter().filter_map(|(_, _, claims)| claims.as_deref()).collect();
    assert!(claims.iter().any(|claims| claims.contains(&hana.to_string())), "{read:?}");
    assert!(read.iter().all(|(what, _, claims)| what == "read" && claims.is_some()), "{read:?}");

    // The claims end with the transaction: the same connections go on as the service, without any.
    server.get(&one, Some(&service())).await.expect(200);
    let after = seen().await;
    assert!(!after.is_empty());
    for (_, who, claims) in after {
        assert_eq!((who.as_str(), claims.unwrap_or_default().as_str()), ("lastseen_service", ""));
    }
}

/// The SQL's own tests, which `psql` runs as well: each is one transaction that is rolled back.
#[tokio::test]
async fn the_tests_that_are_written_in_sql_pass() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sql");
    let read =
        |name: &str| std::fs::read_to_string(directory.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let database = TestDatabase::new().await;
    let mut names: Vec<String> = std::fs::read_dir(&directory)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name"))
        .filter(|name| name.ends_with(".sql") && name != "fixture.sql")
        .collect();
    names.sort();
    assert!(names.len() >= 3, "{names:?}");
    for name in names {
        // The one command in them that is psql's and not SQL.
        let text = read(&name).replace("\\ir fixture.sql", &read("fixture.sql"));
        assert!(!text.lines().any(|line| line.starts_with('\\')), "{name} needs psql");
        let mut connection = database.pool.acquire().await.expect("a connection");
        let outcome = sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut *connection).await;
        outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
