//! `lastseen load`: loads a server with clients that check every frame that they receive.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::identity::jwt::{self, JwtRole};
use crate::load::plan::{PerMinute, PerSecond, Plan, Profile, Share, sources};
use crate::load::target::Target;
use crate::load::worker;

/// The exit code of a second Ctrl-C, which discards what was measured.
const INTERRUPTED: i32 = 130;

/// How long the token signed for a run is valid.
const TOKEN_TTL: Duration = Duration::from_hours(24);

/// The shortest interval of beats: a server accepts 100 frames a minute.
const SHORTEST_BEAT: Duration = Duration::from_secs(1);

/// What to load, and with what.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The server
    #[arg(long, default_value = "http://127.0.0.1:8080", value_name = "URL")]
    url: String,
    /// A token of the service; without one sessions are opened as a guest, few a minute
    #[arg(long, env = "LASTSEEN_TOKEN", hide_env_values = true, value_name = "JWT")]
    token: Option<String>,
    /// The server's own secret, to sign such a token with
    #[arg(long, env = "LASTSEEN_JWT_SECRET", hide_env_values = true, value_name = "SECRET")]
    jwt_secret: Option<String>,
    /// What the people do
    #[arg(long, value_enum, default_value_t = Profile::Steady)]
    profile: Profile,
    /// Sessions that are opened
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = count())]
    sessions: u32,
    /// People in each; of a tarot evening there are 2 to 5
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = count())]
    per_session: u32,
    /// How many come in a second
    #[arg(long, default_value = "100/s", value_name = "RATE")]
    ramp: PerSecond,
    /// How long all people are held once the last one was due
    #[arg(long, default_value = "1m", value_parser = humantime::parse_duration, value_name = "TIME")]
    duration: Duration,
    /// How often each beats, from 1s [default: the interval that the server asks for]
    #[arg(long, value_parser = beat_interval, value_name = "TIME")]
    beat_interval: Option<Duration>,
    /// How many drop their line, or leave and are replaced
    #[arg(long, default_value = "0%/min", value_name = "RATE")]
    churn: PerMinute,
    /// How many read slowly
    #[arg(long, default_value = "0%", value_name = "SHARE")]
    slow: Share,
    /// Processes to load from: one takes 20,000 connections
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: u32,
    /// Addresses to come from, like 127.0.0.2,127.0.0.3 or 127.0.0.2-20 [default: what the system takes]
    #[arg(long, value_delimiter = ',', value_name = "ADDRESS,…", value_parser = sources)]
    source_addresses: Vec<Vec<IpAddr>>,
    /// How long what people see may take at the end until it is right, beside twice the grace
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration, value_name = "TIME")]
    patience: Duration,
    /// Makes the same choices as an earlier run
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as a page with charts
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Load a server that is not on this machine
    #[arg(long)]
    i_own_this_server: bool,
}

fn count() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=1_000_000)
}

fn beat_interval(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(interval) if interval >= SHORTEST_BEAT => Ok(interval),
        Ok(_) => Err("must be 1s or more: a server takes 100 frames a minute of each client".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Loads, and prints the report. Fails where frames and answers of the server disagree.
///
/// # Errors
/// What prevented the run or the writing of its report.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let target = Target::resolve(&arguments.url, arguments.i_own_this_server).await?;
    let token = arguments.token.or_else(|| arguments.jwt_secret.as_deref().map(sign));
    let plan = Plan {
        url: arguments.url,
        profile: arguments.profile,
        sessions: arguments.sessions as usize,
        per_session: arguments.per_session as usize,
        ramp: arguments.ramp.0,
        hold: arguments.duration,
        beat: arguments.beat_interval,
        churn: arguments.churn.0,
        slow: arguments.slow.0,
        workers: arguments.workers as usize,
        sources: arguments.source_addresses.concat(),
        patience: arguments.patience,
        seed: arguments.seed.unwrap_or_else(rand::random),
    };
    let report = crate::load::run(plan, target, token, stop_by_hand()).await?;
    super::print(&report.text())?;
    if let Some(file) = &arguments.json {
        write(file, &serde_json::to_string_pretty(&report)?)?;
    }
    if let Some(file) = &arguments.html {
        write(file, &report.html()?)?;
    }
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Plays the part of one worker process.
///
/// # Errors
/// Where the starting process is gone.
pub async fn play_a_part() -> anyhow::Result<ExitCode> {
    worker::play().await?;
    Ok(ExitCode::SUCCESS)
}

fn sign(secret: &str) -> String {
    jwt::issue(secret.as_bytes(), None, None, JwtRole::Service, None, TOKEN_TTL)
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(file, text).with_context(|| format!("{} cannot be written", file.display()))
}

/// The first Ctrl-C ends the load early, with a report; the second ends the program.
fn stop_by_hand() -> CancellationToken {
    let stop = CancellationToken::new();
    tokio::spawn({
        let stop = stop.clone();
        async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                stop.cancel();
                let _ = tokio::signal::ctrl_c().await;
                std::process::exit(INTERRUPTED);
            }
        }
    });
    stop
}
