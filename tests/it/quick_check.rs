//! The operator's check of a live database passes on a good one, finds whatever is missing, changed or laid on top, and
//! its mends mend it.

use std::collections::BTreeSet;

use lastseen::store::schema::{Finding, quick_check, redefine};
use sqlx::AssertSqlSafe;

use crate::harness::cluster::TestDatabase;
use crate::harness::process::run;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/quick_check.sql");

/// The mend of what `migrations/functions/` makes.
const REDEFINE: &str = "lastseen migrate --redefine";

/// What can only be had from a backup.
const RESTORE: &str = "restore it from a backup";

const WELL: &str = "All tests completed successfully!\n";

/// Everything that the migrations made, by kind: its name in a finding, and the statement that drops it.
const DROPS: [(&str, &str); 10] = [
    (
        "functions",
        "SELECT 'function ' || oid::regprocedure, format('DROP FUNCTION IF EXISTS %s CASCADE', oid::regprocedure)
         FROM pg_proc WHERE pronamespace IN ('public'::regnamespace, 'lastseen'::regnamespace)",
    ),
    (
        "types",
        "SELECT 'type ' || t.oid::regtype, format('DROP TYPE IF EXISTS %s CASCADE', t.oid::regtype)
         FROM pg_type AS t LEFT JOIN pg_class AS c ON c.oid = t.typrelid
         WHERE t.typnamespace = 'lastseen'::regnamespace AND (t.typtype IN ('d', 'e') OR c.relkind = 'c')",
    ),
    (
        "views",
        "SELECT 'view ' || oid::regclass, format('DROP VIEW IF EXISTS %s CASCADE', oid::regclass)
         FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'v'",
    ),
    (
        "tables",
        "SELECT 'table ' || oid::regclass, format('DROP TABLE IF EXISTS %s CASCADE', oid::regclass)
         FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'",
    ),
    (
        "columns",
        "SELECT format('column %s.%I', c.oid::regclass, attname),
                format('ALTER TABLE %s DROP COLUMN IF EXISTS %I CASCADE', c.oid::regclass, attname)
         FROM pg_class AS c JOIN pg_attribute ON attrelid = c.oid
         WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped",
    ),
    (
        "constraints",
        "SELECT format('constraint %I on %s', conname, conrelid::regclass),
                format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I CASCADE', conrelid::regclass, conname)
         FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'",
    ),
    (
        "indexes",
        "SELECT 'index ' || indexrelid::regclass, format('DROP INDEX %s', indexrelid::regclass)
         FROM pg_index JOIN pg_class AS c ON c.oid = indexrelid
         WHERE relnamespace = 'public'::regnamespace
           AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x'))",
    ),
    (
        "policies",
        "SELECT format('policy %I on %s', polname, polrelid::regclass), format('DROP POLICY %I ON %s', polname, polrelid::regclass)
         FROM pg_policy",
    ),
    (
        "triggers",
        "SELECT format('trigger %I on %s', tgname, tgrelid::regclass), format('DROP TRIGGER %I ON %s', tgname, tgrelid::regclass)
         FROM pg_trigger WHERE NOT tgisinternal",
    ),
    (
        "row security",
        "SELECT 'table ' || oid::regclass, format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY', oid::regclass)
         FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'",
    ),
];

/// What was changed or laid on top: the statements, the object of a finding, and a part of its fault.
const CHANGES: &[(&str, &str, &str)] = &[
    (
        "CREATE POLICY everybody ON sits FOR SELECT USING (true)",
        "policy everybody on public.sits",
        "not of lastseen: for select to public using (true)",
    ),
    (
        "CREATE POLICY \"nobody at all\" ON user_sessions AS RESTRICTIVE FOR ALL TO authenticated USING (false)",
        "policy \"nobody at all\" on public.user_sessions",
        "not of lastseen: as restrictive",
    ),
    (
        "ALTER POLICY people_see_their_own ON check_ins USING (true)",
        "policy people_see_their_own on public.check_ins",
        "using (true) instead of",
    ),
    (
        "ALTER POLICY users_see_their_simulators ON simulators TO anon",
        "policy users_see_their_simulators on public.simulators",
        "to anon using",
    ),
    ("GRANT SELECT ON sits TO anon", "grant table public.sits to anon", "not of lastseen: select"),
    (
        "GRANT SELECT ON session_invites TO authenticated",
        "grant table public.session_invites to authenticated",
        "select, select (id, session_id",
    ),
    (
        "GRANT UPDATE (user_id) ON check_ins TO authenticated; REVOKE INSERT (name) ON check_ins FROM authenticated",
        "grant table public.check_ins to authenticated",
        "instead of insert (id, user_id, name",
    ),
    (
        "GRANT INSERT ON lastseen.migrations TO service_role",
        "grant table lastseen.migrations to service_role",
        "not of lastseen: insert",
    ),
    (
        "REVOKE SELECT ON lastseen.migrations FROM lastseen_service",
        "grant table lastseen.migrations to lastseen_service",
        "missing",
    ),
    (
        "REVOKE EXECUTE ON FUNCTION lastseen.close_sessions FROM lastseen_service",
        "grant function lastseen.close_sessions(uuid[],text) to lastseen_service",
        "missing",
    ),
    (
        "GRANT EXECUTE ON FUNCTION lastseen.close_session TO PUBLIC",
        "grant function lastseen.close_session(uuid,text) to public",
        "not of lastseen: execute",
    ),
    (
        "REVOKE USAGE ON SCHEMA lastseen FROM authenticated; GRANT CREATE ON SCHEMA lastseen TO anon",
        "grant schema lastseen to anon",
        "not of lastseen: create",
    ),
    ("REVOKE USAGE ON SCHEMA public FROM lastseen_definer", "grant schema public to lastseen_definer", "missing"),
    (
        "CREATE OR REPLACE FUNCTION purge_closed_sessions(older_than interval DEFAULT '30 days', at_most int DEFAULT NULL)
            RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint'",
        "function public.purge_closed_sessions(interval,integer)",
        "changed",
    ),
    (
        "CREATE OR REPLACE FUNCTION is_participant(session uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
        "function public.is_participant(uuid)",
        "changed",
    ),
    ("ALTER FUNCTION is_participant SECURITY INVOKER", "function public.is_participant(uuid)", "changed"),
    (
        "ALTER FUNCTION lastseen.admit RESET ALL",
        "function lastseen.admit(uuid,uuid,integer,uuid,bytea,text,interval,text,text,uuid)",
        "changed",
    ),
    (
        "DROP FUNCTION session_analytics; CREATE FUNCTION session_analytics(days int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "function public.session_analytics(integer)",
        "changed",
    ),
    (
        "CREATE FUNCTION session_analytics(days int, more text) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "function public.session_analytics(integer,text)",
        "not of lastseen",
    ),
    ("ALTER VIEW sit_weeks SET (security_invoker = false)", "view public.sit_weeks", "changed"),
    (
        "CREATE OR REPLACE VIEW session_stats WITH (security_invoker = true) AS
            SELECT id, is_active, close_reason, created_at, last_seen_at, 0::bigint AS length_seconds, 0::bigint AS participants
            FROM reading_sessions",
        "view public.session_stats",
        "changed",
    ),
    (
        "ALTER TABLE partnership_members DISABLE TRIGGER note_partnership_members",
        "trigger note_partnership_members on public.partnership_members",
        "disabled",
    ),
    (
        "DROP INDEX reading_sessions_closed; CREATE INDEX reading_sessions_closed ON reading_sessions (closed_at)",
        "index public.reading_sessions_closed",
        "instead of CREATE INDEX reading_sessions_closed ON public.reading_sessions USING btree (closed_at) WHERE",
    ),
    (
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'sits_newest'::regclass",
        "index public.sits_newest",
        "invalid",
    ),
    (
        "ALTER TABLE check_ins ALTER COLUMN user_id DROP NOT NULL, ALTER COLUMN checked_in_at SET DEFAULT now() - interval '1 day'",
        "column public.check_ins.user_id",
        "uuid instead of uuid not null",
    ),
    (
        "ALTER TABLE session_participants ALTER COLUMN node TYPE varchar(100)",
        "column public.session_participants.node",
        "character varying(100) instead of text",
    ),
    (
        "ALTER TABLE sits DROP CONSTRAINT completed_is_a_status, ADD CONSTRAINT completed_is_a_status CHECK (true)",
        "constraint completed_is_a_status on public.sits",
        "CHECK (true) instead of",
    ),
    ("CREATE TABLE auth.users (id uuid PRIMARY KEY)", "column public.sits.user_id", "does not refer to auth.users"),
];

async fn execute(database: &TestDatabase, statements: &str) {
    let outcome = sqlx::raw_sql(AssertSqlSafe(statements)).execute(&database.pool).await;
    outcome.unwrap_or_else(|error| panic!("{statements}: {error}"));
}

/// What is wrong.
pub async fn findings(database: &TestDatabase) -> Vec<Finding> {
    quick_check(&database.options).await.expect("it can be checked")
}

/// What is wrong, in words; `None` where all is well.
pub async fn fault(database: &TestDatabase) -> Option<String> {
    let found = findings(database).await;
    (!found.is_empty()).then(|| format!("{found:#?}"))
}

/// Does what the findings say, from the top, until a check finds nothing.
async fn mend(what: &str, database: &TestDatabase) {
    for _round in 0..3 {
        let found = findings(database).await;
        if found.is_empty() {
            return;
        }
        for Finding { mend, .. } in found {
            if mend == REDEFINE {
                redefine(&database.options).await.unwrap_or_else(|error| panic!("{what}: {error}"));
                // The next findings may be mended by this as well.
                break;
            }
            // What does not work is expected to be mended by what stands above it.
            if !mend.contains("check again") {
                execute(database, &mend).await;
            }
        }
    }
    panic!("{what}: {:#?}", findings(database).await);
}

#[tokio::test]
async fn an_operator_is_told_in_one_line_that_all_is_well() {
    let database = TestDatabase::new().await;
    let url = database.url();
    let check = async || run(&["check", "--database-url", &url]).await;
    let checked = check().await;
    assert_eq!((checked.status.code(), checked.stdout.as_str()), (Some(0), WELL), "{}", checked.stderr);
    let left: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM reading_sessions) + (SELECT count(*) FROM user_sessions)
            + (SELECT count(*) FROM pg_namespace WHERE nspname = 'quick_check')",
    )
    .fetch_one(&database.pool)
    .await
    .expect("a count");
    assert_eq!(left, 0, "nothing stays");

    execute(&database, "DROP INDEX reading_sessions_newest; GRANT SELECT ON sits TO anon").await;
    let checked = check().await;
    assert_eq!(checked.status.code(), Some(1), "{}", checked.stderr);
    let lines: Vec<_> = checked.stdout.lines().collect();
    assert_eq!(
        lines[..4],
        [
            "index public.reading_sessions_newest: missing",
            "    CREATE INDEX reading_sessions_newest ON public.reading_sessions USING btree (created_at DESC, id DESC)",
            "grant table public.sits to anon: not of lastseen: select",
            "    revoke all on table public.sits from anon",
        ]
    );
    assert!(lines.last().is_some_and(|line| line.ends_with(" findings")), "{lines:?}");
    execute(&database, lines[1]).await;
    execute(&database, lines[3]).await;
    assert_eq!(check().await.status.code(), Some(0));
}

#[tokio::test]
async fn the_check_is_sql_for_any_editor() {
    let file = std::fs::read_to_string(FILE).expect("the file");
    let printed = run(&["check", "--sql"]).await;
    assert_eq!((printed.status.code(), printed.stdout.as_str()), (Some(0), file.as_str()), "{}", printed.stderr);
    let lines = || file.lines().map(str::trim_start);
    assert!(!lines().any(|line| line.starts_with('\\')), "commands of psql");
    // An editor may send it as one transaction, or show the last result only.
    assert!(!lines().any(|line| ["begin;", "commit;", "rollback;"].contains(&line)), "transactions");
    let last = file.trim_end().rsplit("\n\n").next().expect("a statement");
    assert!(last.starts_with("with findings as"), "the last statement gives the rows: {last}");
}

#[tokio::test]
async fn a_database_of_another_version_is_not_checked_but_named() {
    let database = TestDatabase::new().await;
    execute(&database, "DELETE FROM lastseen.migrations WHERE file = 'functions/051_admission.sql'").await;
    let checked = run(&["check", "--database-url", &database.url()]).await;
    assert_eq!((checked.status.code(), checked.stdout.as_str()), (Some(1), ""));
    assert!(checked.stderr.contains("too old (functions/051_admission.sql is missing): run `lastseen migrate` first"));
}

/// The lines of the list in the file.
fn wanted(file: &str) -> BTreeSet<&str> {
    let list = file.split("return $facts$\n").nth(1).and_then(|rest| rest.split("\n$facts$").next());
    list.expect("the list of facts").lines().collect()
}

/// With `LASTSEEN_WRITE_FACTS` the list is written, to what a fresh database has.
#[tokio::test]
async fn the_facts_are_those_of_a_fresh_database() {
    let database = TestDatabase::new().await;
    let file = std::fs::read_to_string(FILE).expect("the file");
    let mut connection = database.pool.acquire().await.expect("a connection");
    sqlx::raw_sql(AssertSqlSafe(file.as_str())).execute(&mut *connection).await.expect("its functions are made");
    let facts: Vec<String> = sqlx::query_scalar(
        "SELECT line FROM (SELECT concat_ws(' | ', kind, name, definition) FROM pg_temp.lastseen_facts('public')) AS facts (line)
         ORDER BY line COLLATE \"C\"",
    )
    .fetch_all(&mut *connection)
    .await
    .expect("facts");
    if std::env::var_os("LASTSEEN_WRITE_FACTS").is_some() {
        let (head, rest) = file.split_once("return $facts$\n").expect("the list of facts");
        let (_, tail) = rest.split_once("\n$facts$").expect("its end");
        std::fs::write(FILE, format!("{head}return $facts$\n{}\n$facts$", facts.join("\n")) + tail).expect("written");
        return;
    }
    // How a view is written out depends on the version of PostgreSQL; the check sees to that.
    let but_views = |line: &str| {
        let view = line.starts_with("view ").then(|| line.split(" as ").next().unwrap_or_default().to_owned());
        view.unwrap_or_else(|| line.to_owned())
    };
    let facts: BTreeSet<_> = facts.iter().map(|line| but_views(line)).collect();
    let wanted: BTreeSet<_> = wanted(&file).into_iter().map(but_views).collect();
    let differences: Vec<_> = facts.symmetric_difference(&wanted).collect();
    assert!(differences.is_empty(), "run with LASTSEEN_WRITE_FACTS=1 to write the list anew: {differences:#?}");
    assert!(facts.len() > 400, "the catalog is read: {}", facts.len());
}

#[tokio::test]
async fn whatever_is_missing_is_found_and_mended() {
    for (kind, list) in DROPS {
        let database = TestDatabase::new().await;
        let mut connection = database.pool.acquire().await.expect("a connection");
        sqlx::query("SET search_path = ''").execute(&mut *connection).await.expect("every name in full");
        let drops: Vec<(String, String)> = sqlx::query_as(list).fetch_all(&mut *connection).await.expect(kind);
        assert!(!drops.is_empty(), "{kind}");
        let statements: Vec<_> = drops.iter().map(|(_, statement)| statement.as_str()).collect();
        let quietly = format!("SET client_min_messages = warning; {}", statements.join("; "));
        sqlx::raw_sql(AssertSqlSafe(quietly)).execute(&mut *connection).await.expect(kind);
        drop(connection);

        let found = findings(&database).await;
        let objects: BTreeSet<_> = found.iter().map(|finding| finding.object.as_str()).collect();
        let missed: Vec<_> = drops.iter().filter(|(object, _)| !objects.contains(object.as_str())).collect();
        assert!(missed.is_empty(), "{kind}: {missed:#?}");
        match kind {
            "tables" | "columns" => {
                let of_backup = found.iter().filter(|finding| finding.mend.starts_with(RESTORE)).count();
                assert_eq!(of_backup, drops.len(), "{kind}");
            }
            _ => mend(kind, &database).await,
        }
    }
}

#[tokio::test]
async fn whatever_was_changed_or_laid_on_top_is_found_and_mended() {
    for (change, object, fault) in CHANGES {
        let database = TestDatabase::new().await;
        execute(&database, change).await;
        let found = findings(&database).await;
        let told = found.iter().find(|finding| finding.object == *object);
        assert!(told.is_some_and(|finding| finding.fault.contains(fault)), "{change}: {found:#?}");
        mend(change, &database).await;
    }
}

#[tokio::test]
async fn what_belongs_to_others_is_no_finding() {
    let database = TestDatabase::new().await;
    execute(
        &database,
        "CREATE ROLE quick_check_reader; GRANT SELECT ON sits TO quick_check_reader;
         CREATE TABLE books (id int PRIMARY KEY); GRANT ALL ON books TO anon; CREATE POLICY all_of_them ON books USING (true);
         CREATE VIEW shelves AS SELECT id FROM books; CREATE FUNCTION read_a_book() RETURNS int LANGUAGE sql AS 'SELECT 1';
         ALTER TABLE user_sessions ADD COLUMN tenant text; CREATE INDEX sessions_of_tenant ON user_sessions (tenant);
         ALTER TABLE user_sessions VALIDATE CONSTRAINT objects_are_bounded;
         ALTER TABLE sits SET (autovacuum_vacuum_scale_factor = 0.01)",
    )
    .await;
    let found = findings(&database).await;
    execute(&database, "DROP OWNED BY quick_check_reader; DROP ROLE quick_check_reader").await;
    assert_eq!(found, []);
}

#[tokio::test]
async fn what_does_not_work_is_found_although_the_catalog_is_as_it_should_be() {
    let database = TestDatabase::new().await;
    execute(
        &database,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ begin raise exception 'no sits today'; end $$;
         CREATE TRIGGER refuse BEFORE INSERT ON sits FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    .await;
    let found = findings(&database).await;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].object, "sits");
    assert!(found[0].fault.starts_with("does not work: no sits today"), "{found:#?}");
}

/// A backup has expressions as PostgreSQL writes them, and reading them may write them in another way.
#[tokio::test]
async fn what_was_restored_from_a_backup_is_as_good_as_what_was_made() {
    let database = TestDatabase::new().await;
    execute(
        &database,
        "DO $$
         declare c record;
         begin
           for c in select conrelid::regclass as on_table, conname, pg_get_constraintdef(oid) as def from pg_constraint
                    where contype = 'c' and connamespace = 'public'::regnamespace and conrelid <> 0 loop
             execute format('alter table %1$s drop constraint %2$I, add constraint %2$I %3$s', c.on_table, c.conname, c.def);
           end loop;
           for c in select oid::regclass as view, pg_get_viewdef(oid) as def from pg_class
                    where relkind = 'v' and relnamespace = 'public'::regnamespace loop
             execute format('create or replace view %s with (security_invoker = true) as %s', c.view, c.def);
           end loop;
         end $$",
    )
    .await;
    assert_eq!(findings(&database).await, []);
}

#[tokio::test]
async fn a_schema_of_its_own_is_found_checked_and_mended() {
    let database = TestDatabase::empty().await;
    let url = database.url();
    let command = async |flags: &[&str]| run(&[flags, &["--database-url", &url]].concat()).await;
    let migrated = command(&["migrate", "--schema", "presence"]).await;
    assert_eq!(migrated.status.code(), Some(0), "{}", migrated.stderr);
    let check = async || command(&["check", "--schema", "presence"]).await;
    let checked = check().await;
    assert_eq!((checked.status.code(), checked.stdout.as_str()), (Some(0), WELL), "{}", checked.stderr);

    execute(
        &database,
        "DROP INDEX presence.sits_newest; CREATE POLICY everybody ON presence.sits USING (true);
         DROP FUNCTION presence.purge_sits; REVOKE USAGE ON SCHEMA presence FROM anon",
    )
    .await;
    let checked = check().await;
    assert_eq!(checked.status.code(), Some(1), "{}", checked.stderr);
    let lines: Vec<_> = checked.stdout.lines().collect();
    for (finding, mend) in [
        ("index presence.sits_newest: missing", "CREATE INDEX sits_newest ON presence.sits"),
        ("function presence.purge_sits(interval,integer): missing", "lastseen migrate --redefine --schema presence"),
        ("policy everybody on presence.sits: not of lastseen", "drop policy everybody on presence.sits"),
        ("grant schema presence to anon: missing", "grant usage on schema presence to anon"),
    ] {
        let at =
            lines.iter().position(|line| line.starts_with(finding)).unwrap_or_else(|| panic!("{finding}: {lines:#?}"));
        assert!(lines[at + 1].trim().starts_with(mend), "{}", lines[at + 1]);
        match mend.strip_prefix("lastseen ") {
            Some(flags) => {
                let mended = command(&flags.split(' ').collect::<Vec<_>>()).await;
                assert_eq!(mended.status.code(), Some(0), "{}", mended.stderr);
            }
            None => execute(&database, lines[at + 1]).await,
        }
    }
    assert_eq!(check().await.stdout, WELL);
}
