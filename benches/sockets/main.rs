//! The cost of lastseen and its peers with real sockets; `script/bench` runs it.
//!
//! Each figure is of the release server on an embedded database, in a process of its own, whose memory
//! and CPU are read from `/proc`, while this process holds the other ends of the sockets. Linux only.

mod bare;
mod crowd;
mod frame;
mod lastseen;
mod page;
mod peers;
mod process;
mod report;
mod rows;
mod subject;
mod targets;
mod wire;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;

use self::bare::Bare;
use self::lastseen::Lastseen;
use self::peers::{Library, Peer};
use self::report::Figure;
use self::rows::Measured;
use self::subject::Subject;

/// Measures lastseen with real sockets.
#[derive(Parser)]
struct Options {
    /// Lines of JSON on standard output
    #[arg(long)]
    json: bool,
    /// Runs of each row
    #[arg(long, default_value_t = 1, value_name = "N")]
    runs: usize,
    /// The server to measure [default: the lastseen that was built beside this program]
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
    /// Where the servers of peers are, to measure them in turn
    #[arg(long, value_name = "FOLDER")]
    peers: Option<PathBuf>,
    /// Writes the page of earlier figures instead of measuring
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    /// Runs the bare server instead of measuring
    #[arg(long, hide = true)]
    bare_server: bool,
    /// What to measure [default: all of it]
    #[arg(value_parser = rows::NAMES)]
    rows: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if options.bare_server {
        return bare::server::serve();
    }
    if let Some(figures) = options.page {
        print!("{}", page::write(&figures)?);
        return Ok(());
    }
    let server = match options.server {
        Some(server) => server,
        None => std::env::current_exe()?.parent().and_then(Path::parent).context("a build")?.join("lastseen"),
    };
    let wanted = if options.rows.is_empty() { rows::NAMES.map(str::to_owned).to_vec() } else { options.rows };
    let mut failures = 0;
    for row in &wanted {
        for _ in 0..options.runs {
            let mut record = |subject, measured: anyhow::Result<Measured>| {
                // One that fails does not cost the figures of the others.
                if let Err(error) = measured.and_then(|measured| print(row, subject, measured, options.json)) {
                    eprintln!("{subject} {row} failed: {error:#}");
                    failures += 1;
                }
            };
            record("lastseen", measure_lastseen(row, &server));
            if bare::ROWS.contains(&row.as_str()) {
                record(bare::NAME, measure_bare(row));
            }
            let Some(servers) = &options.peers else { continue };
            for library in [Library::Ws, Library::SocketIo] {
                if let Some(measured) = measure_peer(row, library, servers) {
                    record(library.name(), measured);
                }
            }
        }
    }
    anyhow::ensure!(failures == 0, "{failures} runs failed");
    Ok(())
}

fn print(row: &str, subject: &str, measured: Measured, json: bool) -> anyhow::Result<()> {
    let Measured { value, unit, detail } = measured;
    let (row, subject, unit) = (row.to_owned(), subject.to_owned(), unit.to_owned());
    Figure { row, subject, value, unit, detail }.print(json)
}

fn measure_lastseen(row: &str, program: &Path) -> anyhow::Result<Measured> {
    let server = Lastseen::start(program, rows::settings(row))?;
    match row {
        "storm" => rows::storm::measure(&server),
        row => measure(row, &server).context("a row of the table")?,
    }
}

fn measure_bare(row: &str) -> anyhow::Result<Measured> {
    measure(row, &Bare::start()?).context("a row of the table")?
}

/// The same rows as lastseen's, without those that only take long.
fn measure_peer(row: &str, library: Library, servers: &Path) -> Option<anyhow::Result<Measured>> {
    if matches!(row, "memory-18k" | "idle") {
        return None;
    }
    match Peer::start(library, servers) {
        Ok(peer) => measure(row, &peer),
        Err(error) => Some(Err(error)),
    }
}

/// Measures a row that all servers have; `None` for one that only lastseen has.
fn measure(row: &str, subject: &dyn Subject) -> Option<anyhow::Result<Measured>> {
    Some(match row {
        "memory-10k" => rows::memory::measure(subject, 10_000),
        "memory-18k" => rows::memory::measure(subject, 18_000),
        "beats" => rows::beats::measure(subject),
        "fanout-1" => rows::fanout::measure(subject, 1, 1_000),
        "fanout-16" => rows::fanout::measure(subject, 16, 4_000),
        "mass-join" => rows::mass_join::measure(subject),
        "leave-return" => rows::churn::measure(subject),
        "connects" => rows::connects::measure(subject),
        "idle" => rows::idle::measure(subject),
        _ => return None,
    })
}
