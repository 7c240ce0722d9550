//! The reverse proxies that people have, each with its configuration of `deploy/proxies`: with other addresses, without
//! certificates, and by a user who may do nothing. Linux alone: clients come from several loopback addresses.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;
use tokio::time::{Duration, Instant, sleep};

use super::eventually;
use super::rest::Rest;

const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/proxies");

/// `nobody` of every system that the tests run on.
const NOBODY: u32 = 65534;

/// Where Debian puts the modules of Apache.
const APACHE_MODULES: &str = "/usr/lib/apache2/modules";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Nginx,
    Haproxy,
    Caddy,
    Apache,
    Traefik,
    Envoy,
}

use Kind::{Apache, Caddy, Envoy, Haproxy, Nginx, Traefik};

impl Kind {
    fn program_name(self) -> &'static str {
        match self {
            Nginx => "nginx",
            Haproxy => "haproxy",
            Caddy => "caddy",
            Apache => "apache2",
            Traefik => "traefik",
            Envoy => "envoy",
        }
    }

    fn file_name(self) -> &'static str {
        match self {
            Nginx => "nginx.conf",
            Haproxy => "haproxy.cfg",
            Caddy => "Caddyfile",
            Apache => "apache.conf",
            Traefik => "traefik.yaml",
            Envoy => "envoy.yaml",
        }
    }

    /// Whether script/setup installs it. The others are run where somebody put them on the path.
    fn is_installed_by_setup(self) -> bool {
        !matches!(self, Traefik | Envoy)
    }

    /// Debian puts some where ordinary users have no path to.
    fn program(self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let places = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
        places.map(|place| place.join(self.program_name())).find(|program| program.is_file())
    }
}

/// A running one, which ends with this.
pub struct ReverseProxy {
    pub kind: Kind,
    pub address: SocketAddr,
    program: PathBuf,
    /// Where it takes commands, if it does so over TCP.
    admin: SocketAddr,
    /// The leader of a group of processes.
    child: Child,
    directory: TempDir,
}

impl ReverseProxy {
    /// Starts one before the server at this address, and waits until it forwards. `None` where it is not installed, which
    /// is an error where `CI` is set.
    pub async fn before(kind: Kind, server: SocketAddr) -> Option<Self> {
        let Some(program) = kind.program() else {
            let needed = kind.is_installed_by_setup() && std::env::var_os("CI").is_some();
            assert!(!needed, "{kind:?} is missing: script/setup --proxies installs it");
            eprintln!("skipped: {kind:?} is not installed");
            return None;
        };
        let directory = tempfile::Builder::new().prefix("lastseen-proxy-").tempdir().expect("a directory");
        let [address, admin] = free_addresses();
        let sites = Sites { directory: directory.path(), address, admin, server };
        sites.write(kind);
        let mut command = command(kind, &program, directory.path());
        let log = fs::File::create(directory.path().join("output.log")).expect("a log");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        command.current_dir(directory.path()).process_group(0);
        for name in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
            command.env(name, directory.path());
        }
        if geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
            let entries =
                fs::read_dir(directory.path()).expect("a directory").map(|entry| entry.expect("a file").path());
            for path in entries.chain([directory.path().to_owned()]) {
                chown(&path, Some(NOBODY), Some(NOBODY)).expect("another owner");
            }
        }
        let child = command.spawn().expect("it starts");
        let mut proxy = Self { kind, address, program, admin, child, directory };
        eventually("a proxy that forwards", async || {
            let ended = proxy.child.try_wait().expect("a child");
            assert_eq!(ended, None, "{:?} ended: {}", proxy.kind, proxy.log());
            tokio::net::TcpStream::connect(address).await.ok()?;
            (Rest::new(address).get("/healthz", None).await.status == 200).then_some(())
        })
        .await;
        Some(proxy)
    }

    /// Has it read its configuration again, and waits until it works with what it read. False where it has no such thing.
    pub async fn reload(&self) -> bool {
        match self.kind {
            Nginx => self.renewed(Signal::SIGHUP).await,
            Haproxy => self.renewed(Signal::SIGUSR2).await,
            Apache => self.renewed(Signal::SIGUSR1).await,
            Caddy => {
                let mut command = tokio::process::Command::new(&self.program);
                command.args(["reload", "--force", "--adapter", "caddyfile", "--address", &self.admin.to_string()]);
                let config = self.directory.path().join(self.kind.file_name());
                let done = command.arg("--config").arg(config).output().await.expect("it starts");
                assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            }
            Traefik => {
                let file = self.directory.path().join("traefik-routes.yaml");
                let marked = "        customResponseHeaders: {X-Read: again}\n        customRequestHeaders:\n";
                let routes = fs::read_to_string(&file).expect("the routes");
                let routes = edited(&routes, &[("        customRequestHeaders:\n", marked)]);
                fs::write(file, routes).expect("the routes");
                eventually("the new routes", async || {
                    let answer = Rest::new(self.address).get("/healthz", None).await;
                    answer.headers.contains_key("x-read").then_some(())
                })
                .await;
            }
            Envoy => return false,
        }
        true
    }

    /// Signals its first process until there is a process that it has not had before: HAProxy forgets a signal that comes
    /// within a moment of its start, though it serves already.
    async fn renewed(&self, signal: Signal) {
        const TRY_AGAIN: u32 = 300;
        let before = self.workers();
        let mut looks = 0;
        eventually("a new process", async || {
            if looks % TRY_AGAIN == 0 {
                nix::sys::signal::kill(self.pid(), signal).expect("signalled");
            }
            looks += 1;
            self.workers().difference(&before).next().copied()
        })
        .await;
    }

    fn workers(&self) -> BTreeSet<u32> {
        let pid = self.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("its children");
        children.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// All that it has written into its logs.
    pub fn log(&self) -> String {
        let entries =
            fs::read_dir(self.directory.path()).expect("a directory").map(|entry| entry.expect("a file").path());
        let logs = entries.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
        logs.map(|path| String::from_utf8_lossy(&fs::read(path).expect("a log")).into_owned()).collect()
    }

    /// Ends it in good order; returns its logs.
    pub async fn stop(mut self) -> String {
        let _ = killpg(self.pid(), Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline && self.child.try_wait().expect("a child").is_none() {
            sleep(Duration::from_millis(20)).await;
        }
        self.log()
    }
}

impl Drop for ReverseProxy {
    fn drop(&mut self) {
        let _ = killpg(self.pid(), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

fn free_addresses() -> [SocketAddr; 2] {
    // Both at once, so that they differ.
    let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    free.map(|listener| listener.local_addr().expect("an address"))
}

/// Text with each of these replaced. All have to be there: the tests and the files change together.
fn edited(text: &str, edits: &[(&str, &str)]) -> String {
    edits.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "not in the file: {from}");
        text.replace(from, to)
    })
}

/// Without the lines that have one of these words.
fn without_lines(text: &str, words: &[&str]) -> String {
    let kept = text.lines().filter(|line| !words.iter().any(|word| line.contains(word)));
    kept.map(|line| format!("{line}\n")).collect()
}

/// Where things are in a test.
struct Sites<'a> {
    directory: &'a Path,
    address: SocketAddr,
    admin: SocketAddr,
    server: SocketAddr,
}

impl Sites<'_> {
    fn write(&self, kind: Kind) {
        let text = fs::read_to_string(Path::new(FILES).join(kind.file_name())).expect("the file");
        let text = match kind {
            Nginx => self.nginx(&text),
            Haproxy => self.haproxy(&text),
            Caddy => self.caddy(&text),
            Apache => self.apache(&text),
            Traefik => self.traefik(&text),
            Envoy => self.envoy(&text),
        };
        self.save(kind.file_name(), &text);
    }

    fn save(&self, name: &str, text: &str) {
        fs::write(self.directory.join(name), text).expect("a configuration");
    }

    fn nginx(&self, text: &str) -> String {
        let text = without_lines(text, &["ssl_certificate", "listen [::]", "worker_rlimit_nofile", "user www-data;"]);
        let directory = self.directory.display();
        let places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let places: String = places.map(|place| format!("{place}_temp_path {directory}/{place};\n")).concat();
        edited(
            &text,
            &[
                ("pid /run/", &format!("pid {directory}/")),
                ("worker_processes auto;", "worker_processes 1;"),
                ("worker_connections 30000;", "worker_connections 300;"),
                ("/var/log/nginx/", &format!("{directory}/")),
                ("http {\n", &format!("http {{\n{places}")),
                ("listen 443 ssl http2;", &format!("listen {};", self.address)),
                ("127.0.0.1:8080", &self.server.to_string()),
            ],
        )
    }

    fn haproxy(&self, text: &str) -> String {
        edited(
            text,
            &[
                ("log /dev/log local0", "log stdout format raw local0"),
                ("    user haproxy\n    group haproxy\n", ""),
                ("maxconn 30000", "maxconn 300"),
                (
                    "bind :443 ssl crt /etc/haproxy/presence.example.pem alpn h2,http/1.1",
                    &format!("bind {}", self.address),
                ),
                ("127.0.0.1:8080", &self.server.to_string()),
            ],
        )
    }

    fn caddy(&self, text: &str) -> String {
        edited(
            text,
            &[
                ("{\n\t# An error", &format!("{{\n\tadmin {}\n\t# An error", self.admin)),
                ("\npresence.example {\n", &format!("\nhttp://:{} {{\n\tbind 127.0.0.1\n", self.address.port())),
                ("/var/log/caddy/", &format!("{}/", self.directory.display())),
                ("127.0.0.1:8080", &self.server.to_string()),
            ],
        )
    }

    fn apache(&self, text: &str) -> String {
        let directory = self.directory.display();
        let modules = ["mpm_event", "authz_core", "setenvif", "headers", "filter", "deflate", "proxy", "proxy_http"];
        let modules = modules.map(|name| format!("LoadModule {name}_module {APACHE_MODULES}/mod_{name}.so\n")).concat();
        // What Debian has in apache2.conf.
        let base = format!(
            "{modules}ServerRoot {directory}\nServerName localhost\nPidFile {directory}/pid\nListen {}\n\
             Define APACHE_LOG_DIR {directory}\nErrorLog {directory}/error.log\nInclude {directory}/{}\n",
            self.address,
            Apache.file_name()
        );
        self.save("apache2.conf", &base);
        let text = without_lines(text, &["SSLEngine", "SSLCertificate", "Protocols"]);
        edited(&text, &[("*:443", &self.address.to_string()), ("127.0.0.1:8080", &self.server.to_string())])
    }

    fn traefik(&self, text: &str) -> String {
        let routes = fs::read_to_string(Path::new(FILES).join("traefik-routes.yaml")).expect("the file");
        let routes = edited(
            &routes,
            &[
                ("Host(`presence.example`) && ", ""),
                ("      tls: {}\n", ""),
                ("127.0.0.1:8080", &self.server.to_string()),
            ],
        );
        let (routes, _certificates) = routes.split_once("\ntls:\n").expect("certificates");
        self.save("traefik-routes.yaml", routes);
        let directory = self.directory.display();
        edited(text, &[("\":443\"", &format!("\"{}\"", self.address)), ("/etc/traefik/", &format!("{directory}/"))])
    }

    fn envoy(&self, text: &str) -> String {
        let (before, rest) = text.split_once("        - transport_socket:\n").expect("certificates");
        let (_certificates, after) = rest.split_once("          filters:\n").expect("filters");
        let port = |address: SocketAddr| format!("address: 127.0.0.1, port_value: {}", address.port());
        edited(
            &format!("{before}        - filters:\n{after}"),
            &[
                ("address: 127.0.0.1, port_value: 8080", &port(self.server)),
                ("address: 0.0.0.0, port_value: 443", &port(self.address)),
            ],
        )
    }
}

fn command(kind: Kind, program: &Path, directory: &Path) -> Command {
    let file = directory.join(kind.file_name());
    let mut command = Command::new(program);
    match kind {
        Nginx => command.arg("-e").arg(directory.join("error.log")).args(["-g", "daemon off;"]).arg("-c").arg(file),
        Haproxy => command.args(["-W", "-db", "-f"]).arg(file),
        Caddy => command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file),
        Apache => command.args(["-D", "FOREGROUND", "-f"]).arg(directory.join("apache2.conf")),
        Traefik => command.arg("--configFile").arg(file),
        Envoy => command.args(["--use-dynamic-base-id", "-l", "error", "-c"]).arg(file),
    };
    command
}
