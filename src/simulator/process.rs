//! Simulators as children of the server: a command that gets its parameters in its environment, among them the
//! port of the loopback interface to listen on.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::{Fault, Spec, orphans};
use crate::config::SimulatorSettings;
use crate::domain::ids::SimulatorId;
use crate::open_files;

/// The stop timeout without a setting.
pub(super) const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How often readiness and end are polled.
const PAUSE: Duration = Duration::from_millis(50);

/// The timeout of one readiness request.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest line of a simulator's output in the log.
const PRINTED_BYTES: usize = 1024;

/// Runs a command for each simulator.
#[derive(Debug)]
pub struct Launcher {
    program: String,
    arguments: Vec<String>,
    ready_path: Option<String>,
    stop_timeout: Duration,
    http: reqwest::Client,
    /// Ports of live simulators: a port that its owner does not listen on yet would look free.
    ports: Arc<Mutex<HashSet<u16>>>,
}

impl Launcher {
    /// A launcher of this command line, which is split as in a shell but not run by one.
    pub(super) fn new(command: &[String], settings: &SimulatorSettings) -> anyhow::Result<Self> {
        let (program, arguments) = command.split_first().context("simulator-command names no program")?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(QUESTION_TIMEOUT)
            .build()?;
        Ok(Self {
            program: program.clone(),
            arguments: arguments.to_vec(),
            ready_path: settings.simulator_ready_path.clone(),
            stop_timeout: settings.simulator_stop_timeout,
            http,
            ports: Arc::default(),
        })
    }

    pub(super) fn stop_timeout(&self) -> Duration {
        self.stop_timeout
    }

    pub(super) fn start(&self, spec: &Spec) -> Result<Instance, Fault> {
        let port = Port::free(&self.ports).map_err(|error| Fault(format!("no free port was found: {error}")))?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_none_or(is_secret)) {
            command.env_remove(name);
        }
        command.envs(spec.environment()).env("PORT", port.number.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A process group of its own: what it starts ends with it, and Ctrl-C in the terminal does not reach it.
        command.process_group(0);
        open_files::restore_for(&mut command);
        let mut child =
            command.spawn().map_err(|error| Fault(format!("'{}' could not be started: {error}", self.program)))?;
        let group = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
        let group = group.ok_or_else(|| Fault(format!("'{}' has no process id", self.program)))?;
        trace(spec.id, child.stdout.take());
        trace(spec.id, child.stderr.take());
        Ok(Instance {
            id: spec.id,
            handle: orphans::handle(group),
            child,
            group,
            port,
            ready_path: self.ready_path.clone(),
            stop_timeout: self.stop_timeout,
            http: self.http.clone(),
        })
    }
}

/// Whether a variable of the server's environment must not be passed to simulators.
fn is_secret(name: &str) -> bool {
    let begins = ["LASTSEEN_", "PG"].iter().any(|start| name.starts_with(start));
    begins || ["DATABASE_URL", "DATABASE_DIRECT_URL"].iter().any(|word| name.contains(word))
}

/// Reads a simulator's output, so that a full pipe never blocks it, and logs it.
fn trace(id: SimulatorId, printed: Option<impl AsyncRead + Unpin + Send + 'static>) {
    let Some(mut printed) = printed else { return };
    tokio::spawn(async move {
        let mut bytes = vec![0; PRINTED_BYTES];
        while let Ok(length @ 1..) = printed.read(&mut bytes).await {
            let text = String::from_utf8_lossy(&bytes[..length]);
            tracing::debug!(simulator = %id, text = text.trim_end(), "simulator output");
        }
    });
}

/// A port of the loopback interface that was free a moment ago.
#[derive(Debug)]
struct Port {
    number: u16,
    given: Arc<Mutex<HashSet<u16>>>,
}

impl Port {
    fn free(given: &Arc<Mutex<HashSet<u16>>>) -> std::io::Result<Self> {
        // Ports tried before are held until another one is found, or the system would return them again.
        let mut passed_over = Vec::new();
        loop {
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let number = listener.local_addr()?.port();
            if given.lock().insert(number) {
                return Ok(Self { number, given: Arc::clone(given) });
            }
            passed_over.push(listener);
        }
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.given.lock().remove(&self.number);
    }
}

/// A child that runs or has ended.
#[derive(Debug)]
pub struct Instance {
    id: SimulatorId,
    child: Child,
    /// Its process id is also the id of its group.
    group: Pid,
    handle: Value,
    port: Port,
    ready_path: Option<String>,
    stop_timeout: Duration,
    http: reqwest::Client,
}

impl Instance {
    pub(super) fn handle(&self) -> Value {
        self.handle.clone()
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.port.address())
    }

    pub(super) async fn ready(&mut self) -> Result<(), Fault> {
        loop {
            tokio::select! {
                // The end of the child is checked first: what answers on the port after it is another program.
                biased;
                fault = self.child.wait() => return Err(how_it_ended(fault)),
                ready = is_ready(&self.http, self.port.address(), self.ready_path.as_deref()) => {
                    if ready {
                        return Ok(());
                    }
                }
            }
            sleep(PAUSE).await;
        }
    }

    pub(super) async fn ended(&mut self) -> Fault {
        how_it_ended(self.child.wait().await)
    }

    pub(super) async fn stop(&mut self) {
        let deadline = Instant::now() + self.stop_timeout;
        self.signal(Signal::SIGTERM);
        // The child first, since it stays a member of the group until it is waited for.
        let _ = timeout(self.stop_timeout, self.child.wait()).await;
        while self.is_there() && Instant::now() < deadline {
            sleep(PAUSE).await;
        }
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait().await;
        // A process in a session of its own (`setsid`) is in another group.
        orphans::stop(self.id, None, deadline.saturating_duration_since(Instant::now())).await;
    }

    /// Signals the child and its group.
    fn signal(&self, signal: Signal) {
        let _ = signal::killpg(self.group, signal);
    }

    fn is_there(&self) -> bool {
        signal::killpg(self.group, None) != Err(Errno::ESRCH)
    }
}

impl Drop for Instance {
    /// For a child that was not stopped, as when the server itself is killed.
    fn drop(&mut self) {
        if self.child.id().is_some() {
            self.signal(Signal::SIGKILL);
        }
    }
}

async fn is_ready(http: &reqwest::Client, address: SocketAddr, path: Option<&str>) -> bool {
    match path {
        Some(path) => {
            let answer = http.get(format!("http://{address}{path}")).send().await;
            answer.is_ok_and(|answer| answer.status() == reqwest::StatusCode::OK)
        }
        None => match timeout(QUESTION_TIMEOUT, TcpStream::connect(address)).await {
            // A connection from the very port that it connects to has reached itself.
            Ok(Ok(stream)) => stream.local_addr().is_ok_and(|own| own != address),
            _ => false,
        },
    }
}

fn how_it_ended(status: std::io::Result<ExitStatus>) -> Fault {
    Fault(match status {
        // "exit status: 1", "signal: 9 (SIGKILL)"
        Ok(status) => format!("the process ended by itself ({status})"),
        Err(error) => format!("the process cannot be watched: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulator_inherits_no_secret() {
        for name in ["LASTSEEN_JWT_SECRET", "DATABASE_URL", "DATABASE_DIRECT_URL", "TEST_DATABASE_URL", "PGPASSWORD"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["PATH", "HOME", "LANG"] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn a_port_is_given_once_while_it_is_held() {
        let given = Arc::default();
        let ports: Vec<_> = (0..50).map(|_| Port::free(&given).expect("a port")).collect();
        let numbers: HashSet<_> = ports.iter().map(|port| port.number).collect();
        assert_eq!((numbers.len(), given.lock().len()), (50, 50));
        drop(ports);
        assert_eq!(given.lock().len(), 0);
    }

    #[tokio::test]
    async fn a_port_that_nobody_listens_on_is_not_ready() {
        let port = Port::free(&Arc::default()).expect("a port");
        let http = reqwest::Client::new();
        assert!(!is_ready(&http, port.address(), None).await);
        assert!(!is_ready(&http, port.address(), Some("/healthz")).await);
        let listener = tokio::net::TcpListener::bind(port.address()).await.expect("a listener");
        assert!(is_ready(&http, port.address(), None).await);
        drop(listener);
    }
}
