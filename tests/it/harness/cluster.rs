//! One PostgreSQL for the whole run, and a database of its own for each test.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use lastseen::store::embedded::{Embedded, Options};
use lastseen::store::schema;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tokio::sync::{Mutex, mpsc, oneshot};

/// The migrated database that the others are copied from.
const TEMPLATE: &str = "lastseen_template";

/// Copies that are made before a test asks for them.
const SPARE: usize = 2;

struct Cluster {
    /// A superuser on the maintenance database.
    admin: PgConnectOptions,
    /// The names of copies of the template, each for one test.
    copies: Mutex<mpsc::Receiver<String>>,
}

static CLUSTER: OnceLock<Cluster> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

fn cluster() -> &'static Cluster {
    CLUSTER.get_or_init(|| {
        let (started, cluster) = oneshot::channel();
        // In a runtime of its own, that lives as long as the process: that of the first test ends with the first test.
        std::thread::spawn(|| tokio::runtime::Runtime::new().expect("a runtime").block_on(run(started)));
        cluster.blocking_recv().expect("a cluster for the tests")
    })
}

/// Starts the cluster and makes copies of the template, one after the other over one connection, for as long as tests
/// ask for them.
async fn run(started: oneshot::Sender<Cluster>) {
    let (admin, _embedded) = start().await.expect("a cluster");
    let mut connection = admin.connect().await.expect("a connection");
    prepare(&mut connection, &admin).await.expect("a template");
    let (ready, copies) = mpsc::channel(SPARE);
    assert!(started.send(Cluster { admin, copies: Mutex::new(copies) }).is_ok(), "somebody asked for it");
    loop {
        let name = new_name();
        // Copying files is half the work of copying pages through the log.
        let copy = format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy");
        sqlx::query(AssertSqlSafe(copy)).execute(&mut connection).await.expect("a copy of the template");
        if ready.send(name).await.is_err() {
            return;
        }
    }
}

async fn start() -> anyhow::Result<(PgConnectOptions, Option<Embedded>)> {
    if let Ok(url) = std::env::var("TEST_DATABASE_URL") {
        return Ok((url.parse()?, None));
    }
    let options = Options { data_dir: data_dir()?, bin: None, durable: false, max_connections: 400 };
    let embedded = Embedded::start(&options).await?;
    let admin = embedded.admin().database("postgres");
    let mut connection = admin.connect().await?;
    // Databases that live for a second need no vacuum.
    for statement in ["ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()"] {
        sqlx::query(statement).execute(&mut connection).await?;
    }
    connection.close().await?;
    Ok((admin, Some(embedded)))
}

async fn prepare(connection: &mut PgConnection, admin: &PgConnectOptions) -> anyhow::Result<()> {
    sqlx::query(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {TEMPLATE}"))).execute(&mut *connection).await?;
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {TEMPLATE}"))).execute(connection).await?;
    Ok(schema::migrate(&admin.clone().database(TEMPLATE)).await?)
}

fn new_name() -> String {
    format!("test_{}_{}", std::process::id(), DATABASES.fetch_add(1, Ordering::Relaxed))
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

async fn shared() -> &'static Cluster {
    tokio::task::spawn_blocking(cluster).await.expect("a cluster")
}

/// A database with the schema in place and nothing in it; and a superuser's connections to it.
pub struct TestDatabase {
    pub options: PgConnectOptions,
    pub pool: PgPool,
}

impl TestDatabase {
    /// A new one, with the schema.
    pub async fn new() -> Self {
        let cluster = shared().await;
        let name = cluster.copies.lock().await.recv().await.expect("a copy of the template");
        Self::named(&name, cluster)
    }

    /// A new one, with nothing at all.
    pub async fn empty() -> Self {
        let (cluster, name) = (shared().await, new_name());
        let mut connection = cluster.admin.connect().await.expect("a connection");
        let create = format!("CREATE DATABASE {name} TEMPLATE template0");
        sqlx::query(AssertSqlSafe(create)).execute(&mut connection).await.expect("a database");
        let _ = connection.close().await;
        Self::named(&name, cluster)
    }

    fn named(name: &str, cluster: &Cluster) -> Self {
        let options = cluster.admin.clone().database(name);
        let pool = PgPoolOptions::new().max_connections(4).connect_lazy_with(options.clone());
        Self { options, pool }
    }

    /// Its address, as `DATABASE_URL` has it.
    pub fn url(&self) -> String {
        self.options.to_url_lossy().to_string()
    }
}
