//! The faults, and the order in which they come.

mod clients;
mod database;
mod network;
mod process;

use std::path::Path;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::server::Log;
use crate::soak::World;

/// Something that goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Fault {
    /// PostgreSQL is stopped, as on a machine that hangs
    DatabaseStopped,
    /// PostgreSQL is killed
    DatabaseKilled,
    /// All connections to PostgreSQL are ended
    ConnectionsEnded,
    /// A session and its people are locked by another transaction
    RowsLocked,
    /// The disk of PostgreSQL is full
    DiskFull,
    /// The reader of the log reads nothing, while much is logged
    LogStalled,
    /// The disk of the log is full
    LogDiskFull,
    /// The server is stopped for 3 s
    StoppedBriefly,
    /// The server is stopped for 40 s
    StoppedLong,
    /// The server is killed and started again
    Killed,
    /// The server is killed and started again under another name
    Renamed,
    /// The server is asked to stop and started again
    Restarted,
    /// Clients whose machines are gone: nothing comes from them, and no end
    HalfOpen,
    /// A network that goes silent in both directions, and ends no connection
    SilentNetwork,
    /// Clients that take nothing of what a busy room sends
    SlowReaders,
    /// Many joins by invites that are not
    BadInvites,
    /// The clock of the server jumps an hour ahead and back
    ClockJump,
}

impl Fault {
    /// The word in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::DatabaseStopped => "database-stopped",
            Self::DatabaseKilled => "database-killed",
            Self::ConnectionsEnded => "connections-ended",
            Self::RowsLocked => "rows-locked",
            Self::DiskFull => "disk-full",
            Self::LogStalled => "log-stalled",
            Self::LogDiskFull => "log-disk-full",
            Self::StoppedBriefly => "stopped-briefly",
            Self::StoppedLong => "stopped-long",
            Self::Killed => "killed",
            Self::Renamed => "renamed",
            Self::Restarted => "restarted",
            Self::HalfOpen => "half-open",
            Self::SilentNetwork => "silent-network",
            Self::SlowReaders => "slow-readers",
            Self::BadInvites => "bad-invites",
            Self::ClockJump => "clock-jump",
        }
    }

    /// How long it lasts: always the same for a stop whose length is its point, else by chance.
    fn lasts(self, chance: &mut StdRng) -> Duration {
        let seconds = match self {
            Self::StoppedBriefly => 3..=3,
            Self::StoppedLong => 40..=40,
            Self::LogStalled => 12..=15,
            Self::DatabaseStopped | Self::RowsLocked | Self::DiskFull => 5..=10,
            Self::Killed | Self::Renamed | Self::Restarted | Self::DatabaseKilled | Self::ConnectionsEnded => 0..=2,
            Self::HalfOpen
            | Self::SilentNetwork
            | Self::SlowReaders
            | Self::BadInvites
            | Self::LogDiskFull
            | Self::ClockJump => 6..=10,
        };
        Duration::from_secs(chance.random_range(seconds))
    }

    /// Whether it ends all connections of people.
    pub fn ends_connections(self) -> bool {
        matches!(self, Self::Killed | Self::Renamed | Self::Restarted | Self::LogDiskFull)
    }

    /// Whether nobody but those whom it is about may be refused, or wait.
    pub fn leaves_others_alone(self) -> bool {
        matches!(
            self,
            Self::RowsLocked
                | Self::LogStalled
                | Self::HalfOpen
                | Self::SilentNetwork
                | Self::SlowReaders
                | Self::BadInvites
                | Self::ClockJump
        )
    }

    /// How long an answer may take that has nothing to do with it, because the server does not run.
    pub fn stands_still(self, lasts: Duration) -> Duration {
        match self {
            Self::StoppedBriefly | Self::StoppedLong => lasts,
            _ => Duration::ZERO,
        }
    }

    /// Why it cannot happen here.
    pub fn is_impossible(self, world: &World) -> Option<&'static str> {
        match self {
            Self::DiskFull if !world.place.is_small() => Some("mounting a tmpfs is not allowed"),
            Self::LogDiskFull if !Path::new(Log::FULL_DISK).exists() => Some("there is no /dev/full"),
            Self::ClockJump if !world.server.has_a_clock() => Some("libfaketime is not installed"),
            _ => None,
        }
    }

    /// Lets it happen, and ends it.
    pub async fn happen(self, world: &mut World, lasts: Duration) -> anyhow::Result<()> {
        match self {
            Self::DatabaseStopped => database::stopped(world, lasts).await,
            Self::DatabaseKilled => database::killed(world, lasts).await,
            Self::ConnectionsEnded => database::connections_ended(world, lasts).await,
            Self::RowsLocked => database::rows_locked(world, lasts).await,
            Self::DiskFull => database::disk_full(world, lasts).await,
            Self::LogStalled => process::log_stalled(world, lasts).await,
            Self::LogDiskFull => process::log_disk_full(world, lasts).await,
            Self::StoppedBriefly | Self::StoppedLong => process::stopped(world, lasts).await,
            Self::Killed => process::killed(world, lasts, false).await,
            Self::Renamed => process::killed(world, lasts, true).await,
            Self::Restarted => process::restarted(world, lasts).await,
            Self::HalfOpen => clients::half_open(world, lasts).await,
            Self::SilentNetwork => network::silent(world, lasts).await,
            Self::SlowReaders => clients::slow_readers(world, lasts).await,
            Self::BadInvites => clients::bad_invites(world, lasts).await,
            Self::ClockJump => process::clock_jump(world, lasts).await,
        }
    }
}

/// Faults in an order by chance: each once before any comes again.
pub struct Deck {
    faults: Vec<Fault>,
    left: Vec<Fault>,
    chance: StdRng,
}

impl Deck {
    /// The deck of a seed.
    pub fn new(faults: Vec<Fault>, seed: u64) -> Self {
        Self { faults, left: Vec::new(), chance: StdRng::seed_from_u64(seed) }
    }

    /// The next one, and how long it lasts.
    pub fn next(&mut self) -> Option<(Fault, Duration)> {
        if self.left.is_empty() {
            self.left = self.faults.clone();
            self.left.shuffle(&mut self.chance);
        }
        let fault = self.left.pop()?;
        Some((fault, fault.lasts(&mut self.chance)))
    }
}
