//! The limit of open files of this process: each connection is one.

use std::io;
use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use tokio::process::Command;

/// The most that macOS takes, although it reports no hard limit.
const MOST_OF_MACOS: rlim_t = 10_240;

/// The soft and the hard limit that this process was started with.
static AT_START: OnceLock<(rlim_t, rlim_t)> = OnceLock::new();

/// Raises the soft limit as far as the hard one lets, and returns it. Systems set it low for programs that use
/// `select`, which fails above 1,024.
///
/// # Errors
/// Where the system does not report the limit.
pub fn raise() -> io::Result<usize> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    AT_START.get_or_init(|| (soft, hard));
    let raised = [hard, hard.min(MOST_OF_MACOS)]
        .into_iter()
        .find(|limit| *limit > soft && setrlimit(Resource::RLIMIT_NOFILE, *limit, hard).is_ok());
    Ok(usize::try_from(raised.unwrap_or(soft)).unwrap_or(usize::MAX))
}

/// Gives a child the soft limit that this process was started with: programs of others may use `select`, or close
/// every number below the limit when they start.
pub fn restore_for(command: &mut Command) {
    let Some((soft, hard)) = AT_START.get().copied() else { return };
    // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
    unsafe {
        command.pre_exec(move || Ok(setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_what_the_system_allows() {
        let raised = raise().expect("a limit");
        assert!(raised > 64);
        assert_eq!(raise().expect("a limit"), raised, "there is no more to have");
    }
}
