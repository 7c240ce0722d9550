//! `lastseen serve`: runs the server until it is told to stop.

use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Settings;
use crate::server::Server;

/// Settings that contradict each other, like a command line that cannot be read.
const BAD_SETTINGS: u8 = 2;

/// The second signal: what was going on is given up.
const INTERRUPTED: u8 = 130;

/// Serves until SIGTERM or SIGINT, then stops in good order; a second signal stops at once.
///
/// # Errors
/// Whatever keeps the server from starting.
pub async fn run(mut settings: Settings) -> anyhow::Result<ExitCode> {
    if let Err(contradiction) = settings.validate() {
        eprintln!("lastseen: {contradiction}");
        return Ok(ExitCode::from(BAD_SETTINGS));
    }
    super::settle_data_dir(&mut settings.database)?;
    let mut signals = Signals::new()?;
    let server = tokio::select! {
        started = Server::start(&settings) => started?,
        () = signals.next() => return Ok(ExitCode::from(INTERRUPTED)),
    };
    println!("listening on http://{}", server.address());
    signals.next().await;
    tokio::select! {
        () = server.stop() => Ok(ExitCode::SUCCESS),
        () = signals.next() => {
            tracing::warn!("stopped at once, what was not written is lost");
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
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
