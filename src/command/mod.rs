//! The subcommands: one file each.

pub mod check;
pub mod load;
pub mod migrate;
pub mod serve;
pub mod sweep;
pub mod token;
pub mod uninstall;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::config::{DatabaseSettings, LogFormat, Settings};
use crate::store::embedded::DataDir;

/// A realtime WebSocket presence server for collaborative sessions, backed by PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "lastseen", version, about)]
pub struct Cli {
    /// How log lines look [default: text on a terminal, json elsewhere]
    #[arg(long, env = "LASTSEEN_LOG_FORMAT", value_enum, global = true, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// What is logged: error, warn, info, debug, trace, or per module as in lastseen=debug,sqlx=warn
    #[arg(long, env = "LASTSEEN_LOG", default_value = "info", global = true, value_name = "FILTER")]
    pub log: String,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server
    Serve(Box<Settings>),
    /// Load a server with clients that check every frame that they receive
    Load(Box<load::Arguments>),
    /// Bring the schema of the database up to date and end
    Migrate(Box<migrate::Arguments>),
    /// Say what is wrong with the database, and what to do about it
    Check(Box<check::Arguments>),
    /// Close idle sessions and delete old ones once, for cron, and end
    Sweep(Box<sweep::Arguments>),
    /// Print a JWT for development
    Token(Box<token::Arguments>),
    /// Take everything that lastseen made out of a database, after a question, and end
    Uninstall(Box<uninstall::Arguments>),
    #[command(hide = true)]
    /// One of the processes of `lastseen load`
    LoadWorker,
}

impl Command {
    /// Runs it.
    ///
    /// # Errors
    /// Why it failed, as one line for the operator.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Serve(settings) => serve::run(*settings).await,
            Self::Load(arguments) => load::run(*arguments).await,
            Self::LoadWorker => load::play_a_part().await,
            Self::Migrate(arguments) => migrate::run(*arguments).await,
            Self::Check(arguments) => check::run(*arguments).await,
            Self::Sweep(arguments) => sweep::run(*arguments).await,
            Self::Token(arguments) => token::run(*arguments),
            Self::Uninstall(arguments) => uninstall::run(*arguments).await,
        }
    }
}

/// Writes the result of a command to standard output. `println!` would panic where that cannot be written.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("standard output cannot be written")
}

/// Settles which data directory is used, for every command in the same way: the server's own PostgreSQL may not be able
/// to enter the configured one.
fn settle_data_dir(database: &mut DatabaseSettings) -> anyhow::Result<()> {
    if database.database_url.is_some() {
        return Ok(());
    }
    let chosen = DataDir::choose(&database.data_dir)?;
    if let Some(closed) = &chosen.instead_of {
        tracing::info!(
            "the data is in {}: PostgreSQL runs as the user {}, which cannot enter {}",
            chosen.path.display(),
            closed.user,
            closed.directory.display()
        );
    }
    database.data_dir = chosen.path;
    Ok(())
}
