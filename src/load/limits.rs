//! What one process can hold on this machine: open files and ports. A plan that does not fit is refused at the
//! start.

use anyhow::{Context, ensure};

use super::plan::Plan;
use crate::open_files;

/// The most sockets of one process, whatever the system allows: beyond that it would measure itself.
pub const MOST_PER_WORKER: usize = 20_000;

/// Open files other than people's sockets: the log, the runtime's own, calls over HTTP.
const OTHER_FILES: usize = 64;

/// Ports of one address for connections to one server, where the system does not report them.
const USUAL_PORTS: usize = 28_000;

/// Raises the limit of open files as far as possible and returns it.
///
/// # Errors
/// Where the system reports neither.
pub fn raise_files() -> anyhow::Result<usize> {
    open_files::raise().context("the limit of open files cannot be read")
}

/// Checks that the plan fits into processes with this limit of open files.
///
/// # Errors
/// What does not fit, and what helps.
pub fn check(plan: &Plan, files: usize) -> anyhow::Result<()> {
    let people = plan.people();
    let most = files.saturating_sub(OTHER_FILES).min(MOST_PER_WORKER);
    let posts = plan.posts();
    let of = |worker| posts.iter().filter(|post| post.worker == worker).count();
    let busiest = (0..plan.workers).map(of).max().unwrap_or(people);
    ensure!(
        busiest <= most,
        "{busiest} sockets are too many for one process, which takes {most} here: use --workers {}{}",
        people.div_ceil(most.max(1)).max(plan.workers + 1),
        if most < MOST_PER_WORKER { ", or raise the limit of open files (ulimit -Hn)" } else { "" },
    );
    let (addresses, ports) = (plan.sources.len().max(1), ports());
    ensure!(
        people.div_ceil(addresses) <= ports,
        "{people} sockets need more ports than the {ports} of an address: come from {} of them with --source-addresses 127.0.0.2-{}",
        people.div_ceil(ports),
        1 + people.div_ceil(ports),
    );
    Ok(())
}

/// How many ports an address has for connections to one server.
fn ports() -> usize {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let ends: Vec<usize> = range.split_whitespace().filter_map(|end| end.parse().ok()).collect();
    match ends[..] {
        [first, last] if last >= first => last - first + 1,
        _ => USUAL_PORTS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::plan::Profile;
    use crate::load::plan::tests::plan;

    #[test]
    fn what_does_not_fit_is_refused_with_what_helps() {
        let of = |sessions, workers, sources: &str| {
            let sources = crate::load::plan::sources(sources).expect("addresses");
            check(&Plan { sessions, per_session: 10, workers, sources, ..plan(Profile::Steady) }, 1_000_000)
        };
        of(2_000, 1, "127.0.0.1").expect("20,000 fit");
        let refused = of(2_001, 1, "127.0.0.1").expect_err("20,010 do not").to_string();
        assert!(refused.contains("--workers 2"), "{refused}");
        let refused = of(10_000, 5, "127.0.0.1").expect_err("of one address").to_string();
        assert!(refused.contains("--source-addresses"), "{refused}");
        of(10_000, 5, "127.0.0.2-9").expect("spread over eight addresses");
        let refused = check(&plan(Profile::Steady), 70).expect_err("few files").to_string();
        assert!(refused.contains("ulimit"), "{refused}");
    }

    #[test]
    fn the_limit_of_files_is_what_the_system_allows() {
        assert!(raise_files().expect("a limit") > OTHER_FILES);
    }
}
