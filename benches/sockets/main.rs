//! What lastseen costs with real sockets:
//! `cargo build --release && cargo run --release --example sockets -- [--json] [--runs N] [row…]`.
//!
//! Each figure is of the release server on an embedded database, in a process of its own, whose memory
//! and CPU are read from `/proc`, while this process holds the other ends of the sockets. Linux only.

mod crowd;
mod lastseen;
mod process;
mod report;
mod rows;
mod subject;
mod wire;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;

use self::lastseen::Lastseen;
use self::report::Figure;
use self::rows::Measured;

/// One room as large as the fan-out wants it, told as soon as anything happens, without Pings meanwhile.
const FAN_OUT: [&str; 10] = [
    "--detail-limit",
    "2000",
    "--diff-interval",
    "1ms",
    "--diff-interval-large",
    "1ms",
    "--ping-interval",
    "10m",
    "--dead-after",
    "20m",
];

const ROWS: [&str; 5] = ["memory-10k", "memory-18k", "beats", "fanout-1", "fanout-16"];

/// Measures lastseen with real sockets.
#[derive(Parser)]
struct Options {
    /// Lines of JSON on standard output
    #[arg(long)]
    json: bool,
    /// Runs of each row
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// The server to measure [default: the lastseen that was built beside this program]
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
    /// What to measure; everything unless said
    #[arg(value_parser = ROWS)]
    rows: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let server = match options.server {
        Some(server) => server,
        None => std::env::current_exe()?.parent().and_then(Path::parent).context("a build")?.join("lastseen"),
    };
    let wanted = if options.rows.is_empty() { ROWS.map(str::to_owned).to_vec() } else { options.rows };
    for row in wanted {
        for _ in 0..options.runs {
            let Measured { value, unit, detail } = measure(&row, &server)?;
            let figure =
                Figure { row: row.clone(), subject: "lastseen".to_owned(), value, unit: unit.to_owned(), detail };
            figure.print(options.json)?;
        }
    }
    Ok(())
}

fn measure(row: &str, server: &Path) -> anyhow::Result<Measured> {
    match row {
        "memory-10k" => rows::memory::measure(&Lastseen::start(server, &[])?, 10_000),
        "memory-18k" => rows::memory::measure(&Lastseen::start(server, &[])?, 18_000),
        "beats" => rows::beats::measure(&Lastseen::start(server, &[])?),
        "fanout-1" => rows::fanout::measure(&Lastseen::start(server, &FAN_OUT)?, 1, 1_000),
        "fanout-16" => rows::fanout::measure(&Lastseen::start(server, &FAN_OUT)?, 16, 8_000),
        other => anyhow::bail!("no such row: {other}"),
    }
}
