//! `lastseen serve`: runs the server until a signal stops it.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::thread;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Settings;
use crate::log;
use crate::server::Server;

/// The exit code for settings that contradict each other, as for a command line that cannot be read.
const BAD_SETTINGS: u8 = 2;

/// The exit code of the second signal, which gives up what is still running.
const INTERRUPTED: u8 = 130;

/// Serves until SIGTERM or SIGINT, then stops in good order; a second signal stops at once.
///
/// # Errors
/// Whatever keeps the server from starting.
pub async fn run(mut settings: Settings) -> anyhow::Result<ExitCode> {
    if let Err(contradiction) = settings.validate() {
        log::complain(&contradiction);
        return Ok(ExitCode::from(BAD_SETTINGS));
    }
    if settings.sessions.demo {
        tracing::warn!("demo: an hour is a minute; for tries alone");
    }
    super::settle_data_dir(&mut settings.database)?;
    let mut signals = Signals::new()?;
    let server = tokio::select! {
        started = Server::start(&settings) => started?,
        () = signals.next() => return Ok(ExitCode::from(INTERRUPTED)),
    };
    announce(settings.network.scheme(), server.address());
    signals.next().await;
    tokio::select! {
        () = server.stop() => Ok(ExitCode::SUCCESS),
        () = signals.next() => {
            tracing::warn!("stopped at once; what was not written is lost");
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

/// Prints where the server listens, in a thread of its own: standard output may be gone, or stall for ever.
fn announce(scheme: &'static str, address: SocketAddr) {
    thread::spawn(move || {
        if let Err(error) = super::print(&format!("listening on {scheme}://{address}\n")) {
            tracing::warn!(%address, "listening; {error:#}");
        }
    });
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
