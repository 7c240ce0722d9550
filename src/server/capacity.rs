//! How many connections fit into the limit of open files.

use anyhow::ensure;

use super::overflow::MOST_REFUSED;
use crate::config::Settings;

/// Open files that are neither connections of clients nor of the database: the runtime's own, listeners, the log,
/// calls of ours to fetch keys, and connections that are closed a moment after their place was given away.
const OTHER_FILES: usize = 64;

/// Connections to the database beside those of requests: two for the flush, two for sweeps and the like, one for
/// reports.
const MORE_DATABASE_CONNECTIONS: usize = 5;

/// Open files of a simulator: its output, its process, and a question whether it is ready.
const FILES_OF_SIMULATOR: usize = 4;

/// Of so many connections one is left to plain HTTP, however many WebSockets there are.
const ONE_FOR_HTTP: usize = 16;

/// The fewest connections that are worth a start.
const FEWEST: usize = 16;

/// How many connections the server takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Capacity {
    /// All of them.
    pub connections: usize,
    /// WebSockets and streams of events.
    pub sockets: usize,
}

impl Capacity {
    /// What fits into this many open files: as many WebSockets as the settings say, or fewer.
    ///
    /// # Errors
    /// One line for the operator, where next to nothing fits.
    pub(super) fn of(files: usize, settings: &Settings) -> anyhow::Result<Self> {
        let simulators = match settings.simulators.simulator_command {
            Some(_) => usize::try_from(settings.simulators.max_simulators).unwrap_or(0),
            None => 0,
        };
        let reserve = OTHER_FILES
            + MOST_REFUSED
            + settings.database.database_connections as usize
            + MORE_DATABASE_CONNECTIONS
            + simulators * FILES_OF_SIMULATOR;
        let connections = files.saturating_sub(reserve);
        ensure!(
            connections >= FEWEST,
            "the limit of open files is {files}, of which {reserve} are needed beside connections: raise the hard limit (ulimit -Hn, LimitNOFILE=)"
        );
        let sockets = connections - connections.div_ceil(ONE_FOR_HTTP);
        Ok(Self { connections, sockets: settings.limits.max_connections().min(sockets) })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        settings: Settings,
    }

    fn fits(files: usize, flags: &[&str]) -> anyhow::Result<Capacity> {
        let settings = Cli::parse_from(["lastseen"].iter().chain(flags)).settings;
        Capacity::of(files, &settings)
    }

    #[test]
    fn the_settings_hold_where_the_limit_of_files_is_high_enough() {
        assert_eq!(fits(524_288, &[]).expect("a server").sockets, 100_000);
        let flags = ["--max-connections", "50"];
        assert_eq!(fits(1024, &flags).expect("a server").sockets, 50);
    }

    #[test]
    fn where_it_is_low_all_connections_and_a_reserve_fit() {
        for files in [200, 1024, 4096, 65_536] {
            let Capacity { connections, sockets } = fits(files, &[]).expect("a server");
            assert!(sockets > connections / 2 && sockets < connections, "{files}");
            assert!(connections + OTHER_FILES + MOST_REFUSED + 15 <= files, "{files}");
        }
        let with_simulators = fits(1024, &["--simulator-command", "run it"]).expect("a server");
        assert!(with_simulators.sockets < fits(1024, &[]).expect("a server").sockets);
    }

    #[test]
    fn a_limit_that_is_too_low_for_anything_is_refused_with_what_helps() {
        let refused = fits(100, &[]).expect_err("no server").to_string();
        assert!(refused.contains("LimitNOFILE"), "{refused}");
    }
}
