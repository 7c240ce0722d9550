//! Clusters with the login that a provider of databases gives: `tests/databases/logins` has a file for each.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use lastseen::store::embedded::{Embedded, Options};
use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tempfile::TempDir;

use super::cluster::{TestDatabase, fast_dir};

/// The login. It is no superuser with any of them.
pub const LOGIN: &str = "app";

const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/databases/logins");

/// The directories of PostgreSQL's programs with which the tests of databases run, as `script/test --databases` sets
/// them; without it those of the machine.
pub fn programs() -> Vec<Option<PathBuf>> {
    match std::env::var_os("LASTSEEN_TEST_POSTGRES") {
        Some(places) => std::env::split_paths(&places).map(Some).collect(),
        None => vec![None],
    }
}

/// A running cluster of its own, which ends with [`Provider::stop`].
pub struct Provider {
    pub name: &'static str,
    /// The major version of PostgreSQL.
    pub major: u32,
    superuser: PgConnectOptions,
    databases: AtomicU32,
    embedded: Embedded,
    _directory: TempDir,
}

impl Provider {
    /// Starts a cluster with these programs, and makes the login of this provider.
    pub async fn start(name: &'static str, bin: Option<PathBuf>) -> Self {
        // The user that PostgreSQL runs as has to be able to enter.
        let open = Permissions::from_mode(0o755);
        let mut directory = tempfile::Builder::new();
        let directory = directory.prefix("lastseen-provider-").permissions(open).tempdir_in(fast_dir());
        let directory = directory.expect("a directory");
        let options = Options { data_dir: directory.path().join("data"), bin, durable: false, max_connections: 100 };
        let embedded = Embedded::start(&options).await.expect("a cluster");
        let superuser = embedded.admin().database("postgres").application_name("tests");

        let mut connection = superuser.connect().await.expect("a connection");
        // What our own database brings along. A provider's knows nothing of lastseen.
        for statement in ["DROP DATABASE lastseen", "DROP ROLE lastseen_app", "DROP ROLE lastseen_service"] {
            run(&mut connection, statement).await;
        }
        run(&mut connection, &read(&format!("{name}.sql")).expect("the provider's file")).await;
        let major = connection.server_version_num().expect("a version") / 10_000;
        let _ = connection.close().await;
        Self { name, major, superuser, databases: AtomicU32::new(0), embedded, _directory: directory }
    }

    /// A new database of the login; its pool is a superuser's.
    pub async fn database(&self) -> TestDatabase {
        let name = format!("app_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut connection = self.superuser.connect().await.expect("a connection");
        run(&mut connection, &format!("CREATE DATABASE {name} OWNER {LOGIN}")).await;
        let _ = connection.close().await;
        let mut database = TestDatabase::at(self.superuser.clone().database(&name), 4);
        if let Some(sql) = read(&format!("{}.database.sql", self.name)) {
            execute(&database.pool, &sql).await;
        }
        database.options = database.options.clone().username(LOGIN);
        database
    }

    pub async fn stop(self) {
        self.embedded.stop().await;
    }
}

/// Runs statements as superuser.
pub async fn execute(pool: &PgPool, statements: &str) {
    let outcome = sqlx::raw_sql(AssertSqlSafe(statements)).execute(pool).await;
    outcome.unwrap_or_else(|error| panic!("{error}: {statements}"));
}

async fn run(connection: &mut PgConnection, statements: &str) {
    let outcome = sqlx::raw_sql(AssertSqlSafe(statements)).execute(connection).await;
    outcome.unwrap_or_else(|error| panic!("{error}: {statements}"));
}

fn read(file: &str) -> Option<String> {
    fs::read_to_string(Path::new(FILES).join(file)).ok()
}
