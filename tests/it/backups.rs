//! Dumps by the owner of the tables, whom the policies bind, and what becomes of them: in another cluster, with its roles
//! and without them, and in the hands of another owner.

use std::path::Path;
use std::process::Output;

use lastseen::store::embedded::Embedded;
use lastseen::store::schema::quick_check;
use sqlx::{AssertSqlSafe, PgPool};
use tempfile::TempDir;
use tokio::process::Command;

use crate::harness::TestServer;
use crate::harness::cluster::{TestDatabase, own_cluster};
use crate::harness::process::{Finished, run};
use crate::harness::programs::program;
use crate::harness::things::Things;
use crate::uninstall::rows;

const OPERATIONS: &str = "docs/reference/operations.md";
const OPERATE: &str = "docs/how-to/operate.md";

const WELL: &str = "All tests completed successfully!\n";

/// Rounds of mending: what comes to light in the last one has been mended in the one before.
const ROUNDS: usize = 4;

async fn execute(pool: &PgPool, sql: &str) {
    let outcome = sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await;
    outcome.unwrap_or_else(|error| panic!("{error}: {sql}"));
}

/// A PostgreSQL without a role of lastseen's, and with a login as hosted databases give one: it makes roles and databases
/// and is no superuser.
struct Cluster {
    embedded: Embedded,
    _directory: TempDir,
}

impl Cluster {
    async fn start() -> Self {
        let (embedded, directory) = own_cluster(40).await;
        let admin = TestDatabase::at(embedded.admin(), 1);
        let logins = "DROP ROLE lastseen_app; DROP ROLE lastseen_service; CREATE ROLE owner LOGIN CREATEROLE CREATEDB";
        execute(&admin.pool, logins).await;
        admin.pool.close().await;
        Self { embedded, _directory: directory }
    }

    /// A new database of that login, in which the test, a superuser, reads this schema.
    async fn database(&self, name: &str, schema: &str) -> TestDatabase {
        let admin = self.embedded.admin().application_name("tests");
        let database = TestDatabase::at(admin.clone(), 1);
        execute(&database.pool, &format!("CREATE DATABASE {name} OWNER owner TEMPLATE template0")).await;
        database.pool.close().await;
        TestDatabase::at(admin.database(name), 4).within(schema).by("owner")
    }
}

/// Where PostgreSQL's own programs are, before everything else of the path.
fn path() -> Option<String> {
    let programs = [program("pg_dump")?, program("pg_restore")?];
    let folder = programs[0].parent().expect("a folder").display().to_string();
    Some(format!("{folder}:{}", std::env::var("PATH").unwrap_or_default()))
}

/// Runs a line in this folder, as an operator does.
async fn shell(line: &str, database: &TestDatabase, folder: &Path, path: &str) -> Output {
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(folder).env("PATH", path).env("DATABASE_URL", database.plain_url());
    command.output().await.expect("it runs")
}

/// The line of a page that begins so.
fn documented(page: &str, begins: &str) -> String {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).expect("the page");
    let line = text.lines().find(|line| line.starts_with(begins));
    line.unwrap_or_else(|| panic!("{page} has no line `{begins}…`")).to_owned()
}

#[track_caller]
fn done(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn lastseen(database: &TestDatabase, arguments: &[&str]) -> Finished {
    run(&[arguments, &["--database-url", &database.url()]].concat()).await
}

/// The same where it works; returns what it prints.
async fn works(database: &TestDatabase, arguments: &[&str]) -> String {
    let finished = lastseen(database, arguments).await;
    assert_eq!(finished.status.code(), Some(0), "{arguments:?}: {}{}", finished.stdout, finished.stderr);
    finished.stdout
}

/// A database of the owner's that has one of everything, twice; and the people of it.
async fn lived_in(cluster: &Cluster, name: &str, schema: &str) -> (TestDatabase, [Things; 2]) {
    let server = TestServer::on(cluster.database(name, schema).await, &["--schema", schema]).await;
    let things = [Things::of(&server, "Hana").await, Things::of(&server, "Mel").await];
    (server.stop().await, things)
}

/// A server starts on it, and has what was there.
async fn goes_on(database: TestDatabase, schema: &str, things: &[Things]) {
    let server = TestServer::on(database, &["--schema", schema]).await;
    for of_user in things {
        let path = format!("/v1/reading-sessions/{}", of_user.session.id);
        server.get(&path, Some(&of_user.token)).await.expect(200);
    }
    server.guest(&things[0].session, "Ulf").await;
    server.stop().await;
}

#[tokio::test]
async fn the_owner_dumps_all_rows_and_another_cluster_goes_on_with_them() {
    let Some(path) = path() else {
        println!("skipped: there is no pg_dump here");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (here, there) = (Cluster::start().await, Cluster::start().await);
    for schema in ["public", "presence"] {
        let name = format!("of_{schema}");
        let (database, things) = lived_in(&here, &name, schema).await;
        let before = rows(&database.pool).await;
        let plainly = "pg_dump --format=custom --file=lastseen.dump \"$DATABASE_URL\"";
        let refused = shell(plainly, &database, folder.path(), &path).await;
        let why = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && why.contains("row-level security policy"), "{why}");
        done(&shell(&documented(OPERATIONS, "pg_dump "), &database, folder.path(), &path).await);

        let restored = there.database(&name, schema).await;
        assert_eq!(works(&restored, &["migrate", "--roles"]).await, "the roles are there\n");
        done(&shell(&documented(OPERATIONS, "pg_restore "), &restored, folder.path(), &path).await);
        works(&restored, &["migrate", "--redefine", "--schema", schema]).await;
        assert_eq!(works(&restored, &["check", "--schema", schema]).await, WELL);
        assert_eq!(rows(&restored.pool).await, before, "{schema}");
        goes_on(restored, schema, &things).await;
    }
    here.embedded.stop().await;
    there.embedded.stop().await;
}

#[tokio::test]
async fn the_owner_takes_the_rows_out_and_brings_them_back() {
    let Some(path) = path() else {
        println!("skipped: there is no pg_dump here");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::start().await;
    let (database, things) = lived_in(&cluster, "app", "public").await;
    let before = rows(&database.pool).await;
    let asked = lastseen(&database, &["uninstall"]).await;
    let dump = asked.stdout.lines().map(str::trim).find(|line| line.starts_with("pg_dump ")).expect("the command");
    done(&shell(dump, &database, folder.path(), &path).await);
    works(&database, &["uninstall", "--yes"]).await;
    works(&database, &["migrate"]).await;
    done(&shell(&documented(OPERATE, "pg_restore "), &database, folder.path(), &path).await);
    assert_eq!(rows(&database.pool).await, before);
    assert_eq!(works(&database, &["check"]).await, WELL);
    goes_on(database, "public", &things).await;
    cluster.embedded.stop().await;
}

#[tokio::test]
async fn what_a_restore_has_left_out_is_named_and_mended() {
    let Some(path) = path() else {
        println!("skipped: there is no pg_dump here");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (here, there) = (Cluster::start().await, Cluster::start().await);
    let (database, things) = lived_in(&here, "app", "public").await;
    let before = rows(&database.pool).await;
    done(&shell(&documented(OPERATIONS, "pg_dump "), &database, folder.path(), &path).await);
    here.embedded.stop().await;
    let restore = "pg_restore --no-owner --dbname=\"$DATABASE_URL\" lastseen.dump";

    // Without the roles: what names them is left out, and what was closed stays open to everybody.
    let bare = there.database("bare", "public").await;
    let output = shell(restore, &bare, folder.path(), &path).await;
    assert!(!output.status.success());
    let checked = lastseen(&bare, &["check"]).await;
    assert_eq!(checked.status.code(), Some(1), "{}", checked.stderr);
    for finding in [
        "role lastseen_service: missing\n    lastseen migrate --redefine\n",
        "role lastseen_monitor: missing\n",
        "policy service_does_all on public.sits: missing\n",
        "grant function lastseen.close_session(uuid,text) to public: not of lastseen: execute\n",
    ] {
        assert!(checked.stdout.contains(finding), "{finding}: {}", checked.stdout);
    }
    let serve = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--jwt-secret",
        "a secret that is long enough for a test",
        "--migrate=false",
    ];
    let refused = lastseen(&bare, &serve).await;
    assert!(refused.complaint().contains("run `lastseen migrate`"), "{}", refused.stderr);
    works(&bare, &["migrate"]).await;
    assert_eq!(works(&bare, &["check"]).await, WELL);
    assert_eq!(rows(&bare.pool).await, before);

    // By an administrator, to whom everything belongs then.
    let other = there.database("other", "public").await;
    done(&shell(restore, &other.by("postgres"), folder.path(), &path).await);
    let checked = lastseen(&other, &["check"]).await;
    let owner = "table public.sits: belongs to postgres, whose rights owner does not have\n    \
                 alter table public.sits owner to owner -- as postgres\n";
    assert!(checked.status.code() == Some(1) && checked.stdout.contains(owner), "{}{}", checked.stdout, checked.stderr);
    mend(&other).await;
    assert_eq!(rows(&other.pool).await, before);

    // Roles that are more than they should be, or belong where they should not.
    execute(
        &other.pool,
        "ALTER ROLE lastseen_monitor BYPASSRLS; GRANT service_role TO authenticated; REVOKE anon FROM lastseen_service GRANTED BY owner",
    )
    .await;
    let checked = lastseen(&other, &["check"]).await;
    for finding in [
        "role lastseen_monitor: nosuperuser bypassrls instead of nosuperuser nobypassrls\n",
        "membership authenticated in service_role: not of lastseen: set role\n    revoke service_role from authenticated\n",
        "membership lastseen_service in anon: missing\n",
    ] {
        assert!(checked.stdout.contains(finding), "{finding}: {}", checked.stdout);
    }
    mend(&other).await;
    goes_on(other, "public", &things).await;
    there.embedded.stop().await;
}

/// Does what the check says, statements as an administrator and commands as the owner, until it finds nothing.
async fn mend(database: &TestDatabase) {
    for _round in 0..ROUNDS {
        let found = quick_check(&database.options).await.expect("it can be checked");
        if found.is_empty() {
            return;
        }
        for finding in found {
            match finding.mend.strip_prefix("lastseen ") {
                Some(command) => {
                    works(database, &command.split(' ').collect::<Vec<_>>()).await;
                }
                // What does not work is expected to be mended by what stands above it.
                None if finding.mend.contains("check again") => {}
                None => execute(&database.pool, &finding.mend).await,
            }
        }
    }
    panic!("{:#?}", quick_check(&database.options).await);
}
