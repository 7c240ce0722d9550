//! One PostgreSQL for the whole run, and a database of its own for each test.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use lastseen::store::embedded::{Embedded, Options};
use lastseen::store::schema;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tempfile::TempDir;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::proxy::Proxy;

/// The migrated database that the others are copied from.
const TEMPLATE: &str = "lastseen_template";

/// Copies that are made before a test asks for them.
const SPARE: usize = 2;

struct Cluster {
    /// A superuser on the maintenance database.
    admin: PgConnectOptions,
    /// Copies of the template, each for one test.
    copies: Mutex<mpsc::Receiver<Lease>>,
}

/// A copy of the template, which is dropped with this: a run with hundreds of them would fill the disk, and the next one
/// would be busy deleting them.
struct Lease {
    name: String,
    given_back: mpsc::UnboundedSender<String>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let _ = self.given_back.send(std::mem::take(&mut self.name));
    }
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

/// Starts the cluster, and makes and drops copies of the template, one after the other over one connection, for as long
/// as the process lives.
async fn run(started: oneshot::Sender<Cluster>) {
    let (admin, _embedded) = start().await.expect("a cluster");
    let mut connection = admin.connect().await.expect("a connection");
    prepare(&mut connection, &admin).await.expect("a template");
    let (ready, copies) = mpsc::channel(SPARE);
    let (given_back, mut over) = mpsc::unbounded_channel();
    assert!(started.send(Cluster { admin, copies: Mutex::new(copies) }).is_ok(), "somebody asked for it");
    loop {
        tokio::select! {
            biased;
            place = ready.reserve() => {
                let name = new_name();
                // Copying files is half the work of copying pages through the log.
                let copy = format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy");
                sqlx::query(AssertSqlSafe(copy)).execute(&mut connection).await.expect("a copy of the template");
                place.expect("a receiver that lives for ever").send(Lease { name, given_back: given_back.clone() });
            }
            name = over.recv() => {
                // Connections that are left belong to a test that is over.
                let drop = format!("DROP DATABASE {} WITH (FORCE)", name.expect("a sender that lives here"));
                if let Err(error) = sqlx::query(AssertSqlSafe(drop)).execute(&mut connection).await {
                    eprintln!("a database of a test stays: {error}");
                }
            }
        }
    }
}

async fn start() -> anyhow::Result<(PgConnectOptions, Option<Embedded>)> {
    if let Ok(url) = std::env::var("TEST_DATABASE_URL") {
        return Ok((url.parse()?, None));
    }
    let options = Options { data_dir: data_dir()?, bin: None, durable: false, max_connections: 400 };
    let embedded = Embedded::start(&options).await?;
    // The name of a server's connections is for servers.
    let admin = embedded.admin().database("postgres").application_name("tests");
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

/// Where clusters of tests are: in memory, where there is room for one, since each database is 300 files, and else among
/// the temporary files.
pub fn fast_dir() -> PathBuf {
    in_memory().unwrap_or_else(std::env::temp_dir)
}

#[cfg(target_os = "linux")]
fn in_memory() -> Option<PathBuf> {
    const PLACE: &str = "/dev/shm";
    const ROOM: u64 = 1 << 30;
    let place = nix::sys::statvfs::statvfs(PLACE).ok()?;
    (place.blocks_available() * place.fragment_size() >= ROOM).then(|| PLACE.into())
}

#[cfg(not(target_os = "linux"))]
fn in_memory() -> Option<PathBuf> {
    None
}

/// A directory that is named after this process; those of processes that are gone are deleted.
fn data_dir() -> anyhow::Result<PathBuf> {
    const PREFIX: &str = "lastseen-tests-";
    let parent = fast_dir();
    for entry in std::fs::read_dir(&parent)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(PREFIX).and_then(|pid| pid.parse().ok());
        if process.is_some_and(|pid| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_err()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    Ok(parent.join(format!("{PREFIX}{}", std::process::id())))
}

/// A cluster of a test's own, in a directory that goes with it.
pub async fn own_cluster(max_connections: u32) -> (Embedded, TempDir) {
    // The user that PostgreSQL runs as has to be able to enter.
    let permissions = std::fs::Permissions::from_mode(0o755);
    let directory = tempfile::Builder::new().permissions(permissions).tempdir_in(fast_dir()).expect("a directory");
    let data_dir = directory.path().join("data");
    let options = Options { data_dir, bin: None, durable: false, max_connections };
    (Embedded::start(&options).await.expect("a cluster"), directory)
}

async fn shared() -> &'static Cluster {
    tokio::task::spawn_blocking(cluster).await.expect("a cluster")
}

/// A database with the schema in place and nothing in it; and a superuser's connections to it.
#[derive(Clone)]
pub struct TestDatabase {
    pub options: PgConnectOptions,
    pub pool: PgPool,
    _lease: Option<Arc<Lease>>,
}

impl TestDatabase {
    /// A new one, with the schema.
    pub async fn new() -> Self {
        let cluster = shared().await;
        let lease = cluster.copies.lock().await.recv().await.expect("a copy of the template");
        let options = cluster.admin.clone().database(&lease.name);
        Self { _lease: Some(Arc::new(lease)), ..Self::at(options, 4) }
    }

    /// A new one, with nothing at all.
    pub async fn empty() -> Self {
        let (cluster, name) = (shared().await, new_name());
        let mut connection = cluster.admin.connect().await.expect("a connection");
        let create = format!("CREATE DATABASE {name} TEMPLATE template0");
        sqlx::query(AssertSqlSafe(create)).execute(&mut connection).await.expect("a database");
        let _ = connection.close().await;
        Self::at(cluster.admin.clone().database(&name), 4)
    }

    /// Its address for PostgreSQL's own programs: what stands behind the name of the database is for our library.
    pub fn plain_url(&self) -> String {
        self.url().split('?').next().unwrap_or_default().to_owned()
    }

    /// One that is there already, reached by up to so many connections.
    pub fn at(options: PgConnectOptions, connections: u32) -> Self {
        let pool = PgPoolOptions::new().max_connections(connections).connect_lazy_with(options.clone());
        Self { options, pool, _lease: None }
    }

    /// The same one, as a server reaches it through a proxy.
    pub fn through(&self, proxy: &Proxy) -> Self {
        let options = PgConnectOptions::new_without_pgpass()
            .host(&proxy.address.ip().to_string())
            .port(proxy.address.port())
            .username(self.options.get_username())
            .database(self.options.get_database().expect("a name"))
            .ssl_mode(PgSslMode::Disable);
        self.with(options)
    }

    /// The same one, as a server reaches it by these.
    pub fn with(&self, options: PgConnectOptions) -> Self {
        Self { options, ..self.clone() }
    }

    /// The same one, as a server reaches it with another login.
    pub fn by(&self, login: &str) -> Self {
        Self { options: self.options.clone().username(login), ..self.clone() }
    }

    /// The same one, in which the tests read the tables of another schema; a server has to be told of it by a flag.
    pub fn within(self, schema: &str) -> Self {
        let options = self.options.clone().options([("search_path", schema)]);
        Self { pool: Self::at(options, 4).pool, ..self }
    }

    /// Its address, as `DATABASE_URL` has it.
    pub fn url(&self) -> String {
        self.options.to_url_lossy().to_string()
    }
}
