//! The program: reads the command line, sets up the log, runs the command.

use std::process::ExitCode;

use clap::Parser;
use lastseen::command::Cli;
use lastseen::log;

/// A connection consists of many small allocations; jemalloc packs them closer than glibc does.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let _last_lines = match log::start(cli.log_format, &cli.log) {
        Ok(last_lines) => last_lines,
        Err(fault) => {
            log::complain(&fault);
            return ExitCode::from(2);
        }
    };
    match cli.command.run().await {
        Ok(code) => code,
        Err(error) => {
            log::complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
