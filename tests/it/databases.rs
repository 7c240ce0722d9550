//! The main path on the databases that people have, with the logins that their providers give: none is a superuser's.
//! `script/test --databases` runs it on every major version of PostgreSQL.

use std::borrow::Cow;

use lastseen::store::schema::{Schema, migrate};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPool;
use uuid::Uuid;

use crate::harness::cluster::TestDatabase;
use crate::harness::pgbouncer::PgBouncer;
use crate::harness::process::{Finished, run};
use crate::harness::provider::{LOGIN, Provider, execute, programs};
use crate::harness::rest::{did, user};
use crate::harness::rows::{person, stored};
use crate::harness::{Client, Join, TestServer, eventually, quiet};
use crate::schema_18;

const WELL: &str = "All tests completed successfully!\n";

#[tokio::test]
async fn with_a_login_that_owns_its_database() {
    all_cases("plain").await;
}

#[tokio::test]
async fn with_the_login_of_rds() {
    all_cases("rds").await;
}

#[tokio::test]
async fn with_the_login_of_neon() {
    all_cases("neon").await;
}

#[tokio::test]
async fn with_the_login_of_supabase() {
    all_cases("supabase").await;
}

async fn all_cases(provider: &'static str) {
    for bin in programs() {
        let provider = Provider::start(provider, bin).await;
        let passed = |case: &str| println!("PostgreSQL {}, {}: {case}", provider.major, provider.name);
        from_empty(&provider).await;
        passed("from empty, and uninstalled");
        from_the_old_schema(&provider).await;
        passed("from the old schema");
        for mode in ["session", "transaction"] {
            if behind_a_pooler(&provider, mode).await {
                passed(&format!("behind a pooler of {mode}s"));
            }
        }
        provider.stop().await;
    }
}

/// A command on this database.
async fn command(name: &[&str], database: &TestDatabase) -> Finished {
    run(&[name, &["--database-url", &database.url()][..]].concat()).await
}

/// The same where it works; returns what it prints.
async fn done(name: &[&str], database: &TestDatabase) -> String {
    let finished = command(name, database).await;
    assert_eq!(finished.status.code(), Some(0), "{name:?}: {} {}", finished.stdout, finished.stderr);
    finished.stdout
}

/// The roles of the cluster with these names.
async fn roles(pool: &PgPool, condition: &'static str) -> Vec<String> {
    let query = format!("SELECT rolname::text FROM pg_roles WHERE {condition} ORDER BY 1");
    sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(pool).await.expect("roles")
}

async fn from_empty(provider: &Provider) {
    let database = provider.database().await;
    let before = roles(&database.pool, "true").await;
    done(&["migrate"], &database).await;
    assert_eq!(done(&["check"], &database).await, WELL);
    assert_eq!(
        roles(&database.pool, "rolname ~ '^lastseen_' AND (rolsuper OR rolbypassrls)").await,
        Vec::<String>::new()
    );
    serves(&database, &[]).await;
    done(&["migrate", "--redefine"], &database).await;
    assert_eq!(done(&["check"], &database).await, WELL);
    // It became a member only to hand a function over.
    let members =
        "SELECT count(*) FROM pg_auth_members WHERE roleid = 'lastseen_definer'::regrole AND member <> grantor
                     AND NOT admin_option OR roleid = 'lastseen_definer'::regrole AND member = grantor";
    let members: i64 = sqlx::query_scalar(members).fetch_one(&database.pool).await.expect("a count");
    assert_eq!(members, 0);

    let said = done(&["uninstall", "--yes"], &database).await;
    assert!(!said.contains("stays: "), "{said}");
    assert_eq!(roles(&database.pool, "true").await, before, "only the roles that were there");
}

async fn from_the_old_schema(provider: &Provider) {
    let database = provider.database().await;
    // What that version demanded of a superuser.
    execute(
        &database.pool,
        "CREATE ROLE lastseen_definer NOLOGIN NOINHERIT BYPASSRLS; CREATE ROLE lastseen_service NOLOGIN NOINHERIT;
         GRANT lastseen_definer, lastseen_service TO app WITH ADMIN OPTION;
         DO $$ BEGIN
             IF to_regnamespace('auth') IS NOT NULL THEN
                 GRANT USAGE ON SCHEMA auth TO lastseen_service, lastseen_definer;
             END IF;
         END $$",
    )
    .await;
    let people = [schema_18::id(1), schema_18::id(2)];
    for person in people {
        exists(&database.pool, person).await;
    }
    let by_login = TestDatabase::at(database.options.clone(), 1);
    schema_18::make(&by_login.pool, schema_18::LAST).await;
    by_login.pool.close().await;

    done(&["migrate"], &database).await;
    assert_eq!(done(&["check"], &database).await, WELL);
    let server = TestServer::on(database.clone(), &quiet(&[])).await;
    let mel = Client::join(server.address(), schema_18::id(10), &Join::token(&user(people[1], "Mel"))).await;
    assert_eq!(mel.id(), schema_18::id(32), "the same participant");
    assert_eq!(mel.view[&mel.id()]["state"], json!({"page": 12}));
    mel.close().await;
    server.stop().await;
    serves(&database, &[]).await;
}

/// Migrations go around the pooler. False where there is none on this machine.
async fn behind_a_pooler(provider: &Provider, mode: &str) -> bool {
    let database = provider.database().await;
    // In session mode each connection of the server keeps one of these.
    let size = ["default_pool_size = 30"];
    let Some(pooler) = PgBouncer::before(&database, mode, &[LOGIN], &size).await else { return false };
    let (through, direct) = (pooler.through(&database), database.url());
    serves(&through, &["--database-direct-url", &direct]).await;
    assert_eq!(done(&["check", "--database-direct-url", &direct], &through).await, WELL);
    // It is current: the pooler is enough.
    serves(&through, &[]).await;
    true
}

/// Where there is a table of users, this is one.
async fn exists(pool: &PgPool, user: Uuid) {
    let statement = format!(
        "DO $$ BEGIN
             IF to_regclass('auth.users') IS NOT NULL THEN INSERT INTO auth.users (id) VALUES ('{user}'); END IF;
         END $$"
    );
    execute(pool, &statement).await;
}

/// The main path: a session is opened, joined by WebSocket, seen, written, read by its users and swept.
async fn serves(database: &TestDatabase, flags: &[&str]) {
    let flags = [&["--sweep-interval", "1h"][..], flags].concat();
    let server = TestServer::on(database.clone(), &quiet(&flags)).await;
    let pool = &database.pool;
    let ids = [Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7()];
    for id in ids {
        exists(pool, id).await;
    }
    let [ada, bea, eve] = [(ids[0], "Ada"), (ids[1], "Bea"), (ids[2], "Eve")].map(|(id, name)| user(id, name));

    let session = server.open_as(Some(&ada), json!({"title": "Middlemarch"})).await;
    let mut host = Client::join(server.address(), session.id, &Join::token(&ada)).await;
    let join = Join { invite: Some(session.invite.clone()), ..Join::token(&bea) };
    let reader = Client::join(server.address(), session.id, &join).await;
    let mut guest = server.guest(&session, "Gus").await;
    host.sees(&[host.id(), reader.id(), guest.id()]).await;

    let guest_id = guest.id();
    guest.send(json!({"type": "update", "state": {"page": 7}})).await;
    host.until("the guest's page", |host| host.view[&guest_id]["state"] == json!({"page": 7})).await;
    eventually("the flush", async || (person(pool, guest_id).await.state == json!({"page": 7})).then_some(())).await;
    let before = person(pool, guest_id).await.last_activity_at;
    eventually("the flush of a beat", async || {
        guest.send(json!({"type": "beat"})).await;
        guest.frame("beat").await;
        (person(pool, guest_id).await.last_activity_at > before).then_some(())
    })
    .await;

    // As the users, by the policies.
    let path = format!("/v1/reading-sessions/{}", session.id);
    for user in [&ada, &bea] {
        assert_eq!(server.get(&path, Some(user)).await.expect(200)["title"], "Middlemarch");
        let listed = server.get("/v1/reading-sessions", Some(user)).await.expect(200);
        assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed}");
    }
    server.get(&path, Some(&eve)).await.refused(404, "session_not_found");
    server.post("/v1/check-ins", Some(&eve), json!({})).await.made();
    let device = json!({"session_id": Uuid::now_v7(), "platform": "web"});
    server.post("/v1/user-sessions", Some(&eve), device).await.made();

    for client in [host, reader, guest] {
        client.leave().await;
    }
    // What was seen of them is written; then it was long ago.
    assert_eq!(did(&server.sweep().await)["failed"], Value::Null);
    server.age(session.id, 7200.0).await;
    server.sweep().await;
    let swept = stored(pool, session.id).await;
    assert_eq!((swept.is_active, swept.close_reason.as_deref()), (false, Some("idle")));
    server.stop().await;
}

/// The files of this version, but those that demanded BYPASSRLS for `lastseen_definer`.
fn schema_that_demands_bypassrls() -> Schema {
    let earlier = [
        ("0001_roles.sql", include_str!("../fixtures/definer_bypasses/0001_roles.sql")),
        ("0002_auth.sql", include_str!("../fixtures/definer_bypasses/0002_auth.sql")),
        ("functions/020_is_participant.sql", include_str!("../fixtures/definer_bypasses/020_is_participant.sql")),
    ];
    // What needs a function that was not in the earlier files.
    let later = ["0022_subjects.sql", "functions/021_subjects.sql", "functions/120_erasing.sql"];
    let now = Schema::embedded();
    let files = now.files().filter(|(name, _)| !later.contains(name)).map(|(name, sql)| {
        let was = earlier.iter().find(|(file, _)| *file == name).map(|(_, sql)| *sql);
        (name.to_owned(), Cow::Owned(was.unwrap_or(sql).to_owned()))
    });
    Schema::new(env!("CARGO_PKG_VERSION"), files)
}

#[tokio::test]
async fn a_database_whose_definer_bypasses_row_security_goes_on_and_needs_it_no_more() {
    let provider = Provider::start("plain", None).await;
    let database = provider.database().await;
    execute(
        &database.pool,
        "CREATE ROLE lastseen_definer NOLOGIN NOINHERIT BYPASSRLS; GRANT lastseen_definer TO app WITH ADMIN OPTION",
    )
    .await;
    schema_that_demands_bypassrls().migrate(&database.options).await.expect("a schema of before");
    migrate(&database.options).await.expect("migrated");
    assert_eq!(done(&["check"], &database).await, WELL);
    serves(&database, &[]).await;
    // It is the operator's to take away: another database of the cluster may not have been migrated yet.
    execute(&database.pool, "ALTER ROLE lastseen_definer NOBYPASSRLS").await;
    assert_eq!(done(&["check"], &database).await, WELL);
    serves(&database, &[]).await;
    provider.stop().await;
}

#[tokio::test]
async fn a_login_that_does_not_inherit_migrates_a_schema_of_its_own() {
    let provider = Provider::start("plain", None).await;
    let database = provider.database().await;
    execute(&database.pool, &format!("ALTER ROLE {LOGIN} NOINHERIT")).await;
    let flags = ["--schema", "presence"];
    for command in ["migrate", "check"] {
        done(&[&[command][..], &flags].concat(), &database).await;
    }
    done(&[&["uninstall", "--yes"][..], &flags].concat(), &database).await;
    provider.stop().await;
}

#[tokio::test]
async fn a_right_that_is_missing_on_the_schema_of_users_is_named_where_it_stops_something() {
    let provider = Provider::start("supabase", None).await;
    // Without the schema there are no policies.
    let database = provider.database().await;
    execute(&database.pool, "REVOKE USAGE ON SCHEMA auth FROM app, anon, authenticated, service_role").await;
    let refused = command(&["migrate"], &database).await;
    for said in
        ["0002_auth.sql", "app may not use the schema auth", "GRANT USAGE ON SCHEMA auth TO app; and migrate again"]
    {
        assert!(refused.complaint().contains(said), "{}", refused.stderr);
    }
    execute(&database.pool, "GRANT USAGE ON SCHEMA auth TO app").await;

    // Without the table rows stay when their user goes, which the check says.
    execute(&database.pool, "REVOKE ALL ON auth.users FROM app").await;
    done(&["migrate"], &database).await;
    let checked = command(&["check"], &database).await;
    assert_eq!(checked.status.code(), Some(1), "{}", checked.stderr);
    let found = "column public.sits.user_id: does not refer to auth.users\n    have its owner run: grant references on \
                 auth.users to app; then: select lastseen.reference_auth_users()\n";
    assert!(checked.stdout.contains(found), "{}", checked.stdout);
    serves(&database, &[]).await;
    execute(&database.pool, "GRANT REFERENCES ON auth.users TO app").await;
    execute(&TestDatabase::at(database.options.clone(), 1).pool, "SELECT lastseen.reference_auth_users()").await;

    // The check itself makes users for a moment.
    let checked = command(&["check"], &database).await;
    assert_eq!(
        checked.stdout,
        "what it does: does not work: rows of users refer to auth.users, where app may make no users to try with\n    \
         have its owner run: grant insert on auth.users to app\n1 findings\n"
    );
    execute(&database.pool, "GRANT INSERT ON auth.users TO app").await;
    assert_eq!(done(&["check"], &database).await, WELL);
    serves(&database, &[]).await;
    provider.stop().await;
}
