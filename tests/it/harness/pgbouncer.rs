//! PgBouncer in front of the tests' PostgreSQL, where it is installed.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use super::cluster::TestDatabase;
use super::eventually;

/// Debian puts it where ordinary users have no path to.
const PLACES: [&str; 3] = ["/usr/sbin/pgbouncer", "/usr/local/sbin/pgbouncer", "/opt/homebrew/bin/pgbouncer"];

/// A running one, which ends with this.
pub struct PgBouncer {
    child: Child,
    directory: PathBuf,
    port: u16,
}

/// The program: `LASTSEEN_PGBOUNCER`, or where packages put it.
pub fn program() -> Option<PathBuf> {
    let given = std::env::var_os("LASTSEEN_PGBOUNCER").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|place| place.join("pgbouncer"));
    given.into_iter().chain(on_path).chain(PLACES.map(PathBuf::from)).find(|program| program.is_file())
}

impl PgBouncer {
    /// Starts one in this mode (`transaction`, `session`, `statement`) with few sessions, for these users. `None` where it
    /// is not installed, which is an error where `CI` is set.
    pub async fn before(database: &TestDatabase, mode: &str, users: &[&str], settings: &[&str]) -> Option<Self> {
        let Some(program) = program() else {
            assert!(std::env::var_os("CI").is_none(), "pgbouncer is missing: script/setup installs it");
            eprintln!("skipped: pgbouncer is not installed");
            return None;
        };
        let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let directory = std::env::temp_dir().join(format!("lastseen-pgbouncer-{}", Uuid::new_v4().simple()));
        fs::create_dir(&directory).expect("a directory");
        let users: String = users.iter().map(|user| format!("\"{user}\" \"\"\n")).collect();
        fs::write(directory.join("users.txt"), users).expect("a list of users");
        let configuration = configuration(&database.options, &directory, port, mode, settings);
        fs::write(directory.join("pgbouncer.ini"), configuration).expect("a configuration");
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).expect("a directory for all");

        let mut command = Command::new(program);
        if let Some(user) = other_user(&database.options) {
            command.args(["--user", &user]);
        }
        command.arg(directory.join("pgbouncer.ini")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("it starts");
        let mut pooler = Self { child, directory, port };
        eventually("a pooler that listens", async || {
            assert_eq!(pooler.child.try_wait().expect("a child"), None, "it ended");
            TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
        Some(pooler)
    }

    /// The same database, as a server reaches it through this.
    pub fn through(&self, database: &TestDatabase) -> TestDatabase {
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username(database.options.get_username())
            .database(database.options.get_database().expect("a name"))
            .ssl_mode(PgSslMode::Disable);
        database.with(options)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn configuration(
    options: &PgConnectOptions,
    directory: &std::path::Path,
    port: u16,
    mode: &str,
    settings: &[&str],
) -> String {
    let host = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => options.get_host().to_owned(),
    };
    let directory = directory.display();
    let mut text = format!(
        "[databases]\n* = host={host} port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
         unix_socket_dir =\nauth_type = trust\nauth_file = {directory}/users.txt\npool_mode = {mode}\n\
         default_pool_size = 3\nmax_client_conn = 200\n",
        options.get_port(),
    );
    for setting in settings {
        writeln!(text, "{setting}").expect("text");
    }
    text
}

/// PgBouncer does not run as root: the user of the database's directory, which may enter it.
fn other_user(options: &PgConnectOptions) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let owner = options.get_socket().and_then(|directory| fs::metadata(directory).ok()).map(|found| found.uid());
    let owner = owner.filter(|uid| *uid != 0).and_then(|uid| nix::unistd::User::from_uid(uid.into()).ok().flatten());
    Some(owner.map_or_else(|| "nobody".to_owned(), |user| user.name))
}
