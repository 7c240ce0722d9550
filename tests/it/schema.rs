//! The schema in the database: what is applied, by which server, and when.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use lastseen::store::schema::{Schema, check, migrate};
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use crate::harness::catalog::{catalog, differences};
use crate::harness::cluster::TestDatabase;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The files of this version, to be edited.
struct Files(BTreeMap<String, String>);

impl Files {
    fn new() -> Self {
        let schema = Schema::embedded();
        Self(schema.files().map(|(name, sql)| (name.to_owned(), sql.to_owned())).collect())
    }

    fn replace(&mut self, file: &str, from: &str, to: &str) -> &mut Self {
        let sql = self.0.get_mut(file).unwrap_or_else(|| panic!("{file} does not exist"));
        assert!(sql.contains(from), "{file} has no {from}");
        *sql = sql.replace(from, to);
        self
    }

    fn add(&mut self, file: &str, sql: &str) -> &mut Self {
        self.0.insert(file.to_owned(), sql.to_owned());
        self
    }

    fn remove(&mut self, file: &str) -> &mut Self {
        self.0.remove(file).unwrap_or_else(|| panic!("{file} does not exist"));
        self
    }

    fn schema(&self, version: &str) -> Schema {
        Schema::new(version, self.0.iter().map(|(name, sql)| (name.clone(), Cow::Owned(sql.clone()))))
    }
}

async fn strings(pool: &PgPool, query: &'static str) -> Vec<String> {
    sqlx::query_scalar(query).fetch_all(pool).await.expect("rows")
}

/// Which files were applied, and when.
async fn applied(pool: &PgPool) -> BTreeMap<String, String> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT file, xmin::text FROM lastseen.migrations").fetch_all(pool).await.expect("rows");
    rows.into_iter().collect()
}

/// Migrates a database of this version to the edited files, and checks that it has the catalog of a database
/// that had nothing else.
async fn becomes(what: &str, edit: impl FnOnce(&mut Files) -> &mut Files) {
    let mut files = Files::new();
    edit(&mut files);
    let schema = files.schema(VERSION);
    let (database, fresh) = (TestDatabase::new().await, TestDatabase::empty().await);
    for database in [&database, &fresh] {
        schema.migrate(&database.options).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        schema.check(&database.options).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    let (catalog, wanted) = (catalog(&database.pool).await, catalog(&fresh.pool).await);
    assert_eq!(differences(&wanted, &catalog), Vec::<String>::new(), "{what}");
    let unedited = self::catalog(&TestDatabase::new().await.pool).await;
    assert_ne!(differences(&unedited, &catalog), Vec::<String>::new(), "{what} changes something");
}

#[tokio::test]
async fn a_changed_definition_is_what_the_database_then_has() {
    becomes("the body of a function", |files| {
        files.replace("functions/051_admission.sql", "'name_needed'", "'name_is_needed'")
    })
    .await;
    becomes("one more parameter", |files| {
        files.replace(
            "functions/042_cleanup.sql",
            "purge_closed_sessions(older_than interval default '30 days', at_most int default null)",
            "purge_closed_sessions(older_than interval default '30 days', at_most int default null, more int default null)",
        )
    })
    .await;
    becomes("the name of a parameter, of a function that policies call", |files| {
        files
            .replace("functions/020_is_participant.sql", "is_participant(session uuid)", "is_participant(reading uuid)")
            .replace("functions/020_is_participant.sql", "p.session_id = session", "p.session_id = reading")
    })
    .await;
    becomes("the type of a result", |files| {
        files.replace(
            "functions/062_ending_user_sessions.sql",
            "end_inactive_sessions(timeout_minutes int default 60) returns bigint",
            "end_inactive_sessions(timeout_minutes int default 60) returns numeric",
        )
    })
    .await;
    becomes("a column of a view", |files| {
        files.replace("functions/063_user_session_views.sql", "count(*) as active_count", "count(*) as alive")
    })
    .await;
    becomes("a type that functions take", |files| {
        files.replace("functions/010_types.sql", "('seen', 'activity')", "('seen', 'activity', 'never')")
    })
    .await;
    becomes("a policy and a trigger", |files| {
        files.replace("functions/032_access_to_check_ins.sql", "people_see_their_own", "users_see_their_own").replace(
            "functions/080_partnerships.sql",
            "after insert or update or delete",
            "after insert or delete",
        )
    })
    .await;
    becomes("something that is not defined any more", |files| files.remove("functions/063_user_session_views.sql"))
        .await;
    becomes("an index that a new file makes anew", |files| {
        files.add(
            "0900_newest.sql",
            "drop index public.sits_newest;\ncreate index sits_newest on public.sits (started_at);\n",
        )
    })
    .await;
    becomes("a new table with a definition", |files| {
        files.add("0900_shelves.sql", "create table public.shelves (id int primary key);").add(
            "functions/900_shelves.sql",
            "create or replace view public.shelf_count as select count(*) from public.shelves;\n",
        )
    })
    .await;
}

#[tokio::test]
async fn a_changed_body_is_replaced_and_nothing_else_is_touched() {
    let database = TestDatabase::new().await;
    let oids =
        || strings(&database.pool, "SELECT oid::text || proname FROM pg_proc UNION SELECT oid::text FROM pg_policy");
    let (before, oids_before) = (applied(&database.pool).await, oids().await);
    let mut files = Files::new();
    files.replace("functions/051_admission.sql", "'name_needed'", "'name_is_needed'");
    files.schema(VERSION).migrate(&database.options).await.expect("migrated");
    let after = applied(&database.pool).await;
    let changed: Vec<_> = after.iter().filter(|(file, version)| before.get(*file) != Some(version)).collect();
    assert_eq!(changed.iter().map(|(file, _)| file.as_str()).collect::<Vec<_>>(), ["functions/051_admission.sql"]);
    assert_eq!(BTreeSet::from_iter(oids_before), BTreeSet::from_iter(oids().await), "nothing was dropped");
}

#[tokio::test]
async fn an_operators_view_on_one_of_ours_is_not_dropped() {
    let database = TestDatabase::new().await;
    sqlx::query("CREATE VIEW mine AS SELECT platform FROM active_sessions_summary")
        .execute(&database.pool)
        .await
        .expect("a view");
    let before = catalog(&database.pool).await;
    let mut files = Files::new();
    files.replace("functions/063_user_session_views.sql", "count(*) as active_count", "count(*) as alive");
    let error = files.schema(VERSION).migrate(&database.options).await.expect_err("it is in the way").to_string();
    assert!(error.contains("view public.active_sessions_summary because other objects depend on it"), "{error}");
    assert_eq!(differences(&before, &catalog(&database.pool).await), Vec::<String>::new());
    migrate(&database.options).await.expect("nothing to do");
}

#[tokio::test]
async fn servers_that_start_at_once_migrate_once() {
    let database = TestDatabase::empty().await;
    let outcomes = join_all((0..4).map(|_| migrate(&database.options))).await;
    for outcome in outcomes {
        outcome.expect("migrated");
    }
    let transactions: BTreeSet<String> = applied(&database.pool).await.into_values().collect();
    assert_eq!(transactions.len(), 1, "all in one transaction");
    let wanted = catalog(&TestDatabase::new().await.pool).await;
    assert_eq!(differences(&wanted, &catalog(&database.pool).await), Vec::<String>::new());
}

#[tokio::test]
async fn what_fails_leaves_nothing_behind() {
    for (file, sql) in [
        ("0900_broken.sql", "create table public.shelves (id int); select 1 / 0;"),
        (
            "functions/900_broken.sql",
            "create or replace view public.shelves as select 1 / 0 as id; select id from public.shelves;",
        ),
    ] {
        let mut files = Files::new();
        files.add(file, sql).replace("functions/051_admission.sql", "'name_needed'", "'name_is_needed'");
        let schema = files.schema(VERSION);
        for database in [TestDatabase::empty().await, TestDatabase::new().await] {
            let before = catalog(&database.pool).await;
            let error = schema.migrate(&database.options).await.expect_err("it is broken").to_string();
            let wanted = format!("the database's schema cannot be brought up to date: {file}: ");
            assert!(error.starts_with(&wanted) && error.contains("division by zero"), "{error}");
            assert_eq!(differences(&before, &catalog(&database.pool).await), Vec::<String>::new(), "{file}");
            migrate(&database.options).await.expect("migrated");
        }
    }
}

#[tokio::test]
async fn definitions_of_a_newer_version_are_left_alone() {
    let database = TestDatabase::new().await;
    Files::new().schema("99.0.0").migrate(&database.options).await.expect("nothing to do");
    check(&database.options).await.expect("the same files");

    let mut files = Files::new();
    files.replace("functions/051_admission.sql", "'name_needed'", "'name_is_needed'");
    let newer = files.schema("99.0.0");
    assert_eq!(
        newer.check(&database.options).await.expect_err("older").to_string(),
        "the database's schema is too old (functions/051_admission.sql is missing): run `lastseen migrate` first"
    );
    newer.migrate(&database.options).await.expect("migrated");
    for outcome in [migrate(&database.options).await, check(&database.options).await] {
        assert_eq!(
            outcome.expect_err("older").to_string(),
            "the database's schema is newer (of lastseen 99.0.0) than this lastseen: use the newer lastseen"
        );
    }
    newer.check(&database.options).await.expect("it is still there");
}

#[tokio::test]
async fn a_table_file_that_was_edited_after_it_was_applied_is_noticed() {
    let database = TestDatabase::new().await;
    let mut files = Files::new();
    files.replace("0008_check_ins.sql", "char_length(name) between 1 and 80", "char_length(name) between 1 and 90");
    let error = files.schema(VERSION).migrate(&database.options).await.expect_err("it was edited").to_string();
    assert!(error.ends_with("0008_check_ins.sql was applied with another content"), "{error}");
}

#[tokio::test]
async fn only_the_service_and_monitors_read_what_was_applied_and_nobody_writes_it() {
    let database = TestDatabase::new().await;
    let privileges = strings(
        &database.pool,
        "SELECT role || ' ' || privilege FROM unnest(ARRAY['anon', 'authenticated', 'service_role', 'lastseen_service',
                'lastseen_definer', 'lastseen_monitor']) AS role,
            unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS privilege
         WHERE has_table_privilege(role, 'lastseen.migrations', privilege)",
    )
    .await;
    assert_eq!(privileges, ["lastseen_service SELECT", "lastseen_monitor SELECT"]);
    let strangers = strings(
        &database.pool,
        "SELECT relname::text FROM pg_class WHERE relname LIKE '%migrations' AND relnamespace = 'public'::regnamespace",
    )
    .await;
    assert_eq!(strangers, Vec::<String>::new());
}

#[tokio::test]
async fn a_start_that_has_nothing_to_do_needs_no_right_to_change_anything() {
    let database = TestDatabase::new().await;
    let role = format!("lastseen_{}", Uuid::now_v7().simple());
    let make = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'word' IN ROLE lastseen_service;
         ALTER ROLE {role} SET default_transaction_read_only = on"
    );
    sqlx::raw_sql(AssertSqlSafe(make)).execute(&database.pool).await.expect("a role");
    let reader = database.options.clone().username(&role).password("word");
    migrate(&reader).await.expect("nothing to do");
    check(&reader).await.expect("it is current");
    sqlx::query(AssertSqlSafe(format!("DROP ROLE {role}"))).execute(&database.pool).await.expect("it is gone");
}

/// What cannot be dropped by the list of definitions would be in the way of a new definition.
#[tokio::test]
async fn the_list_of_definitions_is_what_the_catalog_has() {
    let database = TestDatabase::new().await;
    let found = strings(
        &database.pool,
        "WITH ours AS (SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'lastseen'))
         SELECT format('function %s.%s', pronamespace::regnamespace, proname) FROM pg_proc WHERE pronamespace IN (SELECT oid FROM ours)
         UNION
         SELECT format('%s %s.%s', CASE typtype WHEN 'd' THEN 'domain' ELSE 'type' END, typnamespace::regnamespace, typname)
         FROM pg_type LEFT JOIN pg_class AS c ON c.oid = typrelid
         WHERE typnamespace IN (SELECT oid FROM ours) AND (typtype IN ('d', 'e', 'r') OR c.relkind = 'c')
         UNION
         SELECT format('view %s.%s', relnamespace::regnamespace, relname) FROM pg_class
         WHERE relnamespace IN (SELECT oid FROM ours) AND relkind IN ('v', 'm')
         UNION
         SELECT format('policy %s on %s.%s', polname, relnamespace::regnamespace, relname)
         FROM pg_policy JOIN pg_class AS c ON c.oid = polrelid
         UNION
         SELECT format('trigger %s on %s.%s', tgname, relnamespace::regnamespace, relname)
         FROM pg_trigger JOIN pg_class AS c ON c.oid = tgrelid WHERE NOT tgisinternal",
    )
    .await;
    let listed: BTreeSet<String> = Schema::embedded().objects().collect();
    assert!(listed.len() > 60, "{}", listed.len());
    assert_eq!(listed, BTreeSet::from_iter(found));
    let recorded = strings(&database.pool, "SELECT unnest(objects) FROM lastseen.migrations").await;
    assert_eq!(listed, BTreeSet::from_iter(recorded));
    // Where a signature has changed, the comment finds two functions of the name, and all are made anew.
    let uncommented = strings(
        &database.pool,
        "SELECT oid::regprocedure::text FROM pg_proc
         WHERE pronamespace IN ('public'::regnamespace, 'lastseen'::regnamespace) AND obj_description(oid, 'pg_proc') IS NULL",
    )
    .await;
    assert_eq!(uncommented, Vec::<String>::new());
}

#[tokio::test]
async fn rows_from_before_that_are_out_of_bounds_come_to_the_nearest_bound() {
    let (database, mut before) = (TestDatabase::empty().await, Files::new());
    before.remove("0014_bounds.sql").schema(VERSION).migrate(&database.options).await.expect("a schema of before");
    for statement in [
        "INSERT INTO user_sessions (user_id, session_id, platform, started_at, last_heartbeat_at, expires_at, activity_count)
         VALUES (gen_random_uuid(), 'odd', 'web', '-infinity', 'infinity', '290000-01-01 00:00+00', 9223372036854775807),
                (gen_random_uuid(), 'even', 'web', now(), now(), now(), 7)",
        "INSERT INTO check_ins (user_id, expires_at) VALUES (gen_random_uuid(), 'infinity')",
        "INSERT INTO sits (user_id, sit_length_seconds, status, is_completed, completed_at)
         VALUES (gen_random_uuid(), 60, 'completed', true, '-infinity')",
    ] {
        sqlx::query(statement).execute(&database.pool).await.expect(statement);
    }
    migrate(&database.options).await.expect("migrated");
    let years = "
        SELECT concat_ws(' ', extract(year FROM started_at AT TIME ZONE 'UTC'),
            extract(year FROM last_heartbeat_at AT TIME ZONE 'UTC'), extract(year FROM expires_at AT TIME ZONE 'UTC'),
            activity_count, total_duration_seconds, ended_at)
        FROM user_sessions WHERE session_id = 'odd'
        UNION ALL SELECT activity_count::text FROM user_sessions WHERE session_id = 'even'
        UNION ALL SELECT extract(year FROM expires_at AT TIME ZONE 'UTC')::text FROM check_ins
        UNION ALL SELECT extract(year FROM completed_at AT TIME ZONE 'UTC')::text FROM sits";
    assert_eq!(strings(&database.pool, years).await, ["1 9999 9999 1000000000000000", "7", "9999", "1"]);
}
