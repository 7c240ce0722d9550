//! The role for Grafana and psql: it reads everything, and writes nothing.

use std::collections::BTreeSet;

use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, FromRow};
use uuid::Uuid;

use crate::harness::TestServer;
use crate::harness::cluster::TestDatabase;
use crate::harness::process::run;
use crate::harness::things::Things;

/// What a monitor may not read: a hash of a credential is of no use to it.
const CLOSED: [&str; 1] = ["session_invites.token_sha256"];

/// What a monitor may call, each with arguments that have an answer.
const FIGURES: [&str; 10] = [
    "calculate_session_duration(now() - interval '1 hour')",
    "check_session_expiry((SELECT id FROM reading_sessions LIMIT 1))",
    "lastseen.signs_of_life(ARRAY(SELECT id FROM reading_sessions), 'seen')",
    "lastseen.stored_subject(gen_random_uuid())",
    "lastseen.subject_of((SELECT user_id FROM check_ins LIMIT 1))",
    "lastseen.subjects_of(ARRAY(SELECT user_id FROM check_ins))",
    "peak_hours()",
    "returning_users()",
    "session_analytics()",
    "sit_weeks_of((SELECT id FROM partnerships LIMIT 1))",
];

/// Our tables and views, of which a name is as the walking role has to write it.
const RELATIONS: &str = "
    SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relname AS table_name, c.relkind = 'r' AS is_table,
           array(SELECT a.attname::text FROM pg_attribute AS a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname IN ($1, 'lastseen', 'session', 'simulator') AND c.relkind IN ('r', 'p', 'v', 'm')
    ORDER BY 1";

#[derive(FromRow)]
struct Relation {
    name: String,
    table_name: String,
    is_table: bool,
    columns: Vec<String>,
}

async fn strings(pool: &PgPool, query: &str) -> Vec<String> {
    sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(pool).await.unwrap_or_else(|error| panic!("{query}: {error}"))
}

async fn count(pool: &PgPool, of: &str) -> i64 {
    let query = format!("SELECT count(*) FROM {of}");
    sqlx::query_scalar(AssertSqlSafe(query.as_str()))
        .fetch_one(pool)
        .await
        .unwrap_or_else(|error| panic!("{query}: {error}"))
}

/// With which code PostgreSQL refuses it.
async fn refusal(pool: &PgPool, statement: &str) -> String {
    let outcome = sqlx::raw_sql(AssertSqlSafe(statement)).execute(pool).await;
    let error = outcome.map(drop).expect_err(statement);
    error.as_database_error().and_then(|refusal| refusal.code()).expect("a code").into_owned()
}

#[tokio::test]
async fn a_monitor_reads_every_table_and_view_and_writes_none() {
    for schema in ["public", "presence"] {
        let server = TestServer::on(TestDatabase::empty().await.within(schema), &["--schema", schema]).await;
        let _things = [Things::of(&server, "Hana").await, Things::of(&server, "Mel").await];
        let database = server.stop().await;
        let url = database.url();
        for design in ["session-service", "sits"] {
            let migrated = run(&["migrate", "--schema", schema, "--compat", design, "--database-url", &url]).await;
            assert_eq!(migrated.status.code(), Some(0), "{}", migrated.stderr);
        }

        let login = format!("grafana_{}", Uuid::now_v7().simple());
        let make = format!("CREATE ROLE {login} LOGIN PASSWORD 'word'; GRANT lastseen_monitor TO {login}");
        sqlx::raw_sql(AssertSqlSafe(make)).execute(&database.pool).await.expect("a login");
        let options = database.options.clone().username(&login).password("word").options([("search_path", schema)]);
        let monitor = PgPoolOptions::new().max_connections(2).connect_lazy_with(options);
        reads_everything(&monitor, &database.pool, schema).await;
        answers_what_the_page_asks(&monitor).await;
        changes_nothing(&monitor, schema).await;
        monitor.close().await;
        let drop = format!("DROP ROLE {login}");
        sqlx::query(AssertSqlSafe(drop)).execute(&database.pool).await.expect("it is gone");
    }
}

/// As many rows as a superuser sees, and every column but those that are closed.
async fn reads_everything(monitor: &PgPool, superuser: &PgPool, schema: &str) {
    let relations: Vec<Relation> =
        sqlx::query_as(RELATIONS).bind(schema).fetch_all(superuser).await.expect("our tables and views");
    let (mut with_rows, mut closed) = (BTreeSet::new(), Vec::new());
    for Relation { name, table_name, is_table, columns } in relations {
        let rows = count(monitor, &name).await;
        assert_eq!(rows, count(superuser, &name).await, "{name}");
        if rows > 0 {
            with_rows.insert(table_name.clone());
        }
        for column in columns {
            let query = format!("SELECT count(\"{column}\") FROM {name}");
            if sqlx::query(AssertSqlSafe(query)).execute(monitor).await.is_err() {
                closed.push(format!("{table_name}.{column}"));
            }
        }
        if is_table {
            for statement in [
                format!("DELETE FROM {name}"),
                format!("TRUNCATE {name} CASCADE"),
                format!("INSERT INTO {name} DEFAULT VALUES"),
                format!("SELECT count(*) FROM (SELECT FROM {name} FOR UPDATE) AS locked"),
            ] {
                assert_eq!(refusal(monitor, &statement).await, "42501", "{statement}");
            }
        }
    }
    assert_eq!(closed, CLOSED);
    // The views of what is now as well: one of everything was made.
    for seen in ["reading_sessions", "simulators", "migrations", "counts_now", "session_stats", "connection_statistics"]
    {
        assert!(with_rows.contains(seen), "{seen}: {with_rows:?}");
    }
}

/// The queries of docs/how-to/monitor.md.
async fn answers_what_the_page_asks(monitor: &PgPool) {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/how-to/monitor.md")).expect("the page");
    let queries: Vec<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix('|')?.split('`').find(|part| part.starts_with("SELECT ")))
        .collect();
    assert!(queries.len() > 5, "{queries:?}");
    for query in queries {
        let outcome = sqlx::query(AssertSqlSafe(query.to_owned())).execute(monitor).await;
        outcome.unwrap_or_else(|error| panic!("{query}: {error}"));
    }
}

/// No privilege but to read, and no function but those for figures, none of which is volatile.
async fn changes_nothing(monitor: &PgPool, schema: &str) {
    let places = format!(
        "('{schema}'::regnamespace, 'lastseen'::regnamespace, 'session'::regnamespace, 'simulator'::regnamespace)"
    );
    let privileges = format!(
        "SELECT format('%s on %s', privilege, c.oid::regclass)
         FROM pg_class AS c, unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS privilege
         WHERE c.relnamespace IN {places} AND c.relkind IN ('r', 'p', 'v', 'm')
           AND (has_table_privilege(c.oid, privilege)
                OR privilege IN ('INSERT', 'UPDATE', 'REFERENCES') AND has_any_column_privilege(c.oid, privilege))
         UNION ALL
         SELECT format('create in %s', nspname) FROM pg_namespace
         WHERE oid IN {places} AND has_schema_privilege(oid, 'CREATE')"
    );
    assert_eq!(strings(monitor, &privileges).await, Vec::<String>::new());

    let open = format!(
        "SELECT format('%s %s', CASE p.provolatile WHEN 'v' THEN 'volatile' ELSE 'stable' END, p.proname)
         FROM pg_proc AS p WHERE p.pronamespace IN {places} AND has_function_privilege(p.oid, 'EXECUTE')"
    );
    let name =
        |call: &str| call.split('(').next().and_then(|name| name.split('.').next_back()).unwrap_or_default().to_owned();
    let figures = FIGURES.iter().map(|call| format!("stable {}", name(call)));
    assert_eq!(BTreeSet::from_iter(strings(monitor, &open).await), figures.collect::<BTreeSet<_>>());
    for call in FIGURES {
        let asked = format!("SELECT count(*) FROM {call}");
        sqlx::query(AssertSqlSafe(asked)).execute(monitor).await.unwrap_or_else(|error| panic!("{call}: {error}"));
    }
}
