//! The program: reads the command line, sets up the log, runs the command.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::Parser;
use lastseen::command::Cli;
use lastseen::config::LogFormat;
use tracing_subscriber::EnvFilter;

/// A connection consists of many small allocations; jemalloc packs them closer than glibc does.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(fault) = start_log(cli.log_format, &cli.log) {
        eprintln!("lastseen: {fault}");
        return ExitCode::from(2);
    }
    match cli.command.run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lastseen: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The log goes to standard error; standard output is for what programs read.
fn start_log(format: Option<LogFormat>, filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("--log cannot be read: {error}"))?;
    let terminal = io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_writer(io::stderr).with_env_filter(filter).with_ansi(terminal);
    match format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json }) {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}
