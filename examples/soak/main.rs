//! Runs the server under load while things go wrong around it, and says whether it kept its word; `script/soak` runs it.
//!
//! A crowd of `lastseen load` comes and goes all the time. Faults come one after the other, in an order that a seed
//! decides. After each the server must be ready and everybody back; people whom a fault does not concern must not
//! notice it. At the end what clients saw, what the server answers and what the database has must be the same, and
//! the server must hold no more than before. Linux only.

mod bystander;
mod crowd;
mod fault;
mod ledger;
mod newcomer;
mod place;
mod postgres;
mod report;
mod server;
mod soak;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use tokio_util::sync::CancellationToken;

/// Runs the server under load and faults. The exit code is 0 where it kept its word, 1 where it did not.
#[derive(Parser)]
struct Options {
    /// How long faults come
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    minutes: u64,
    /// Makes the same choices as an earlier run
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Rooms of the crowd, of 2 to 5 people each
    #[arg(long, default_value_t = 25, value_name = "N")]
    rooms: usize,
    /// Only these faults, by name
    #[arg(long, value_delimiter = ',', value_name = "FAULT,…")]
    only: Vec<fault::Fault>,
    /// The server [default: the lastseen that was built beside this program]
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
    /// Keeps the server's log here
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let program = match options.server {
        Some(program) => program,
        None => std::env::current_exe()?.parent().and_then(Path::parent).context("a build")?.join("lastseen"),
    };
    let run = soak::Run {
        program: program.canonicalize().with_context(|| format!("there is no {}: build it", program.display()))?,
        time: Duration::from_secs(options.minutes * 60),
        seed: options.seed.unwrap_or_else(|| u64::from(rand::random::<u32>())),
        rooms: options.rooms,
        only: options.only,
        log: options.log,
    };
    let stop = CancellationToken::new();
    let by_hand = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            by_hand.cancel();
        }
    });
    let good = soak::run(run, stop).await?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
