//! What the tests share: a cluster of PostgreSQL, servers on a database of their own, clients that
//! fold frames into a view, and patience instead of sleeps.

pub mod catalog;
pub mod client;
pub mod cluster;
pub mod crowd;
pub mod document;
pub mod issuer;
pub mod login;
pub mod pgbouncer;
pub mod prefix;
pub mod process;
pub mod programs;
pub mod provider;
pub mod proxy;
pub mod raw;
pub mod rest;
pub mod reverse_proxy;
pub mod rows;
pub mod server;
pub mod things;
pub mod tls;

use std::time::Duration;

pub use client::{Client, Join};
pub use server::TestServer;

/// How long a test waits for a condition. Long, since machines are slow; a test that passes never
/// waits that long.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Flags under which nothing changes by itself: no Ping, no person idle, no connection dead.
pub const QUIET: [&str; 8] =
    ["--ping-interval", "10m", "--dead-after", "20m", "--silent-after", "5h", "--idle-after", "1h"];

/// [`QUIET`] and these flags.
pub fn quiet<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    QUIET.iter().chain(flags).copied().collect()
}

/// Lets this much time pass at once for everything in this test's runtime: its server, and its clients. What is due
/// within it happens as soon as the test waits for something, each timer once. The database has a clock of its own.
pub async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Waits until `condition` gives a value.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
