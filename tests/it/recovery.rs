//! What a server takes over from its last run at the start.

use nix::sys::signal::Signal;

use crate::harness::cluster::TestDatabase;
use crate::harness::process::Process;
use crate::harness::rest::Opened;
use crate::harness::rows::person;
use crate::harness::server::SECRET;
use crate::harness::{Client, Join, eventually};

/// Starts the program on this database, always under the same name.
async fn serve(database: &TestDatabase, flags: &[&str]) -> Process {
    let url = database.url();
    let base = ["--database-url", &url, "--jwt-secret", SECRET, "--database-connections", "4", "--node", "one"];
    Process::serve(&base.into_iter().chain(flags.iter().copied()).collect::<Vec<_>>()).await
}

async fn end(server: Process, signal: Signal) {
    server.signal(signal);
    server.finished().await;
}

#[tokio::test]
async fn a_leave_that_a_crash_took_along_is_a_timeout_after_the_next_start() {
    let database = TestDatabase::new().await;
    let server = serve(&database, &["--flush-interval", "20m"]).await;
    let session: Opened = server.rest.open().await;
    let ada = Client::join(server.address, session.id, &Join::invite(&session.invite, "Ada")).await;
    let id = ada.id();
    assert_eq!(ada.leave().await.code, 1000);
    end(server, Signal::SIGKILL).await;

    let server = serve(&database, &["--flush-interval", "20m", "--grace", "1h"]).await;
    let people = server.rest.participants(session.id).await;
    assert_eq!(people["items"][0]["status"], "reconnecting", "{people}");
    end(server, Signal::SIGTERM).await;

    let server = serve(&database, &["--flush-interval", "50ms", "--grace", "1s"]).await;
    eventually("the end of the grace", async || (!person(&database.pool, id).await.is_active).then_some(())).await;
    assert_eq!(person(&database.pool, id).await.leave_reason.as_deref(), Some("timeout"));
    end(server, Signal::SIGTERM).await;
}
