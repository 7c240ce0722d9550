//! Default privileges, as Supabase has them, give everybody rights on whatever is made. Of lastseen's own nothing is left
//! to those for whom it is not, and an anonymous caller writes nothing.

use sqlx::{AssertSqlSafe, PgPool};

use crate::harness::catalog::differences;
use crate::harness::cluster::TestDatabase;
use crate::harness::process::run;
use crate::harness::provider::{Provider, execute};
use crate::harness::{TestServer, quiet};
use crate::quick_check;

/// More than any provider gives, in all schemas.
const GENEROUS: &str = "
    ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO PUBLIC, anon, authenticated, service_role, lastseen_service;
    ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC, anon, authenticated, service_role, lastseen_service;
    ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO PUBLIC, anon, authenticated, service_role, lastseen_service;
    ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO PUBLIC, anon, authenticated, service_role, lastseen_service;";

/// Every right that somebody other than the owner has on schemas, relations, columns and functions. What `auth` has is
/// open to callers anyway: the functions that say who asks.
const RIGHTS: &str = "
    WITH place AS (
        SELECT oid, nspname, nspowner, nspacl FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    ), acl (object, owner, item) AS (
        SELECT 'schema ' || nspname, nspowner, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) FROM place
        UNION ALL
        SELECT 'relation ' || c.oid::regclass, c.relowner,
               aclexplode(coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::\"char\", c.relowner)))
        FROM pg_class AS c JOIN place ON place.oid = c.relnamespace WHERE c.relkind IN ('r', 'v', 'm', 'p', 'S', 'f')
        UNION ALL
        SELECT format('column %s.%s', c.oid::regclass, a.attname), c.relowner, aclexplode(a.attacl)
        FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid JOIN place ON place.oid = c.relnamespace
        UNION ALL
        SELECT 'function ' || p.oid::regprocedure, p.proowner, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner)))
        FROM pg_proc AS p JOIN place ON place.oid = p.pronamespace WHERE place.nspname <> 'auth'
    )
    SELECT format('%s: %s to %s', object, (item).privilege_type, coalesce(r.rolname, 'PUBLIC'))
    FROM acl LEFT JOIN pg_roles AS r ON r.oid = (acl.item).grantee
    WHERE (item).grantee <> owner
    ORDER BY 1";

async fn rights(pool: &PgPool) -> Vec<String> {
    let mut transaction = pool.begin().await.expect("a transaction");
    // With every name in full.
    sqlx::query("SET LOCAL search_path = ''").execute(&mut *transaction).await.expect("a setting");
    sqlx::query_scalar(RIGHTS).fetch_all(&mut *transaction).await.expect("rights")
}

async fn migrated(database: &TestDatabase, flags: &[&str]) {
    let finished = run(&[&["migrate", "--database-url", &database.url()][..], flags].concat()).await;
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
}

#[tokio::test]
async fn every_right_is_one_that_was_meant() {
    for flags in [
        &["--compat", "check-ins"][..],
        &["--compat", "sits,session-service"],
        &["--compat", "sits,session-service", "--schema", "presence"],
        &["--schema", "lastseen"],
    ] {
        let (plain, generous) = (TestDatabase::empty().await, TestDatabase::empty().await);
        execute(&generous.pool, GENEROUS).await;
        let nothing = rights(&plain.pool).await;
        migrated(&plain, flags).await;
        migrated(&generous, flags).await;
        let meant = rights(&plain.pool).await;
        assert!(meant.len() > nothing.len() + 100, "rights are read: {}", meant.len());
        assert_eq!(differences(&meant, &rights(&generous.pool).await), Vec::<String>::new(), "{flags:?}");
        // Of all this an anonymous caller, who has no JWT, can use nothing.
        let of_all = |right: &&String| right.ends_with(" to anon") || right.ends_with(" to PUBLIC");
        let of_all: Vec<_> = meant.iter().filter(|right| !nothing.contains(right)).filter(of_all).collect();
        assert!(of_all.iter().all(|right| right.contains(": USAGE to anon")), "{of_all:?}");

        // Made anew, they are the same.
        migrated(&generous, &[flags, &["--redefine"][..]].concat()).await;
        assert_eq!(differences(&meant, &rights(&generous.pool).await), Vec::<String>::new(), "{flags:?}");
    }
}

#[tokio::test]
async fn an_anonymous_caller_cannot_keep_the_server_from_starting() {
    let provider = Provider::start("supabase", None).await;
    let database = provider.database().await;
    migrated(&database, &["--compat", "sits,session-service"]).await;
    let before = rights(&database.pool).await;
    for statement in [
        "INSERT INTO lastseen.migrations VALUES ('0999_theirs.sql', '', '{}', '99.0.0')",
        "DELETE FROM lastseen.migrations",
        "UPDATE lastseen.migrations SET sha256 = ''",
        "TRUNCATE reading_sessions CASCADE",
        "CREATE TABLE public._sqlx_migrations (version int)",
        "CREATE TABLE lastseen.theirs (id int)",
        "CREATE FUNCTION public.theirs() RETURNS int LANGUAGE sql RETURN 1",
        "CREATE SCHEMA theirs",
        "INSERT INTO sessions (userid, sitlength) VALUES (gen_random_uuid(), 60)",
        "SELECT session.cleanup_expired_sessions()",
        "SELECT lastseen.reference_auth_users()",
        "SELECT public.cleanup_old_sessions(0)",
    ] {
        for role in ["anon", "authenticated"] {
            // Users may insert what is theirs; this is not.
            let mut transaction = database.pool.begin().await.expect("a transaction");
            let as_role = format!("SET LOCAL ROLE {role}");
            sqlx::raw_sql(AssertSqlSafe(as_role)).execute(&mut *transaction).await.expect("a role");
            let outcome = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *transaction).await;
            let error = outcome.map(drop).expect_err(statement);
            let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
            assert_eq!(code, "42501", "{role}: {statement}: {error}");
        }
    }
    let writable: Vec<String> = sqlx::query_scalar(
        "SELECT format('%s %s', c.oid::regclass, what)
         FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace,
         unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER', 'SELECT']) AS what
         WHERE n.nspname IN ('public', 'lastseen', 'session', 'simulator') AND c.relkind IN ('r', 'v')
           AND has_table_privilege('anon', c.oid, what)",
    )
    .fetch_all(&database.pool)
    .await
    .expect("rights");
    assert_eq!(writable, Vec::<String>::new());
    TestServer::on(database.clone(), &quiet(&[])).await.stop().await;
    assert_eq!(rights(&database.pool).await, before);
    provider.stop().await;
}

#[tokio::test]
async fn the_check_finds_rights_that_came_later() {
    let database = TestDatabase::empty().await;
    migrated(&database, &["--compat", "sits,session-service"]).await;
    assert_eq!(quick_check::fault(&database).await, None);
    for (given, object, fault) in [
        ("GRANT ALL ON sessions TO anon", "grant table public.sessions to anon", "delete, insert, "),
        ("GRANT DELETE ON sessions TO authenticated", "grant table public.sessions to authenticated", "delete"),
        ("GRANT SELECT ON simulator.instances TO PUBLIC", "grant table simulator.instances to public", "select"),
        (
            "GRANT EXECUTE ON FUNCTION session.cleanup_expired_sessions TO PUBLIC",
            "grant function session.cleanup_expired_sessions() to public",
            "execute",
        ),
        ("GRANT CREATE ON SCHEMA public TO PUBLIC", "grant schema public to public", "create"),
        ("GRANT CREATE ON SCHEMA session TO authenticated", "grant schema session to authenticated", "create"),
        ("GRANT ALL ON lastseen.migrations TO anon", "grant table lastseen.migrations to anon", "delete, insert, "),
    ] {
        execute(&database.pool, given).await;
        let found = quick_check::findings(&database).await;
        let [finding] = &found[..] else { panic!("{given}: {found:?}") };
        assert_eq!(finding.object, object);
        let begins = format!("not of lastseen: {fault}");
        assert!(finding.fault.starts_with(&begins), "{given}: {}", finding.fault);
        execute(&database.pool, &finding.mend).await;
        assert_eq!(quick_check::fault(&database).await, None, "{}", finding.mend);
    }
}
