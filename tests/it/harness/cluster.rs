//! One PostgreSQL for the whole run, and a database of its own for each test.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use lastseen::store::embedded::{Embedded, Options};
use lastseen::store::schema;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

/// The migrated database that the others are copied from.
const TEMPLATE: &str = "lastseen_template";

struct Cluster {
    /// A superuser on the maintenance database.
    admin: PgConnectOptions,
    /// Ends with the process.
    _embedded: Option<Embedded>,
}

static CLUSTER: OnceLock<Cluster> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

fn cluster() -> &'static Cluster {
    CLUSTER.get_or_init(|| {
        // In a runtime of its own: that of the first test ends with the first test.
        let starting = std::thread::spawn(|| {
            tokio::runtime::Runtime::new().expect("a runtime").block_on(start()).expect("a cluster for the tests")
        });
        starting.join().expect("the cluster's thread")
    })
}

async fn start() -> anyhow::Result<Cluster> {
    let (admin, embedded) = match std::env::var("TEST_DATABASE_URL") {
        Ok(url) => (url.parse()?, None),
        Err(_) => {
            let options = Options { data_dir: data_dir()?, bin: None, durable: false, max_connections: 400 };
            let embedded = Embedded::start(&options).await?;
            (embedded.admin().database("postgres"), Some(embedded))
        }
    };
    let mut connection = admin.connect().await?;
    sqlx::query(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {TEMPLATE}"))).execute(&mut connection).await?;
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {TEMPLATE}"))).execute(&mut connection).await?;
    connection.close().await?;
    schema::migrate(&admin.clone().database(TEMPLATE)).await?;
    Ok(Cluster { admin, _embedded: embedded })
}

/// A directory that is named after this process; those of processes that are gone are deleted.
fn data_dir() -> anyhow::Result<PathBuf> {
    const PREFIX: &str = "lastseen-tests-";
    for entry in std::fs::read_dir(std::env::temp_dir())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(PREFIX).and_then(|pid| pid.parse().ok());
        if process.is_some_and(|pid| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_err()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    Ok(std::env::temp_dir().join(format!("{PREFIX}{}", std::process::id())))
}

/// A database with the schema in place and nothing in it; and a superuser's connections to it.
pub struct TestDatabase {
    pub options: PgConnectOptions,
    pub pool: PgPool,
}

impl TestDatabase {
    /// A new one, with the schema.
    pub async fn new() -> Self {
        Self::from(TEMPLATE).await
    }

    /// A new one, with nothing at all.
    pub async fn empty() -> Self {
        Self::from("template0").await
    }

    async fn from(template: &str) -> Self {
        let admin = tokio::task::spawn_blocking(cluster).await.expect("a cluster").admin.clone();
        let name = format!("test_{}_{}", std::process::id(), DATABASES.fetch_add(1, Ordering::Relaxed));
        // PostgreSQL copies a template for one at a time, and says so with an error to the others.
        super::eventually("a copy of the template", async || {
            let mut connection = admin.connect().await.ok()?;
            let made = sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {template}")))
                .execute(&mut connection)
                .await;
            let _ = connection.close().await;
            made.ok()
        })
        .await;
        let options = admin.clone().database(&name);
        let pool = PgPoolOptions::new().max_connections(4).connect_lazy_with(options.clone());
        Self { options, pool }
    }

    /// Its address, as `DATABASE_URL` has it.
    pub fn url(&self) -> String {
        self.options.to_url_lossy().to_string()
    }
}
