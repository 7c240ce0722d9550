//! What a server takes over from its last run at the start.

use nix::sys::signal::Signal;
use uuid::Uuid;

use crate::harness::cluster::TestDatabase;
use crate::harness::process::Process;
use crate::harness::rest::Opened;
use crate::harness::rows::{execute, person};
use crate::harness::server::SECRET;
use crate::harness::{Client, Join, TestServer, eventually, quiet};

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
async fn people_of_more_sessions_than_a_statement_reads_are_restored() {
    let database = TestDatabase::new().await;
    let session = |number: u128| Uuid::from_u128(number);
    // The first, one on the next page, and the last.
    let with_people = [1, 12_345, 25_000].map(session);
    let sessions = "INSERT INTO reading_sessions (id)
         SELECT ('00000000-0000-0000-0000-' || lpad(to_hex(n), 12, '0'))::uuid FROM generate_series(1, 25000) AS n";
    sqlx::query(sessions).execute(&database.pool).await.expect("sessions");
    let present =
        "INSERT INTO session_participants (session_id, name, is_active, node) VALUES ($1, 'Ada', true, 'test')";
    for id in with_people {
        execute(&database.pool, present, id).await;
    }
    let server = TestServer::on(database, &quiet(&["--grace", "1h"])).await;
    assert_eq!(server.server.registry().census().rooms, 3);
    for id in with_people {
        let people = server.participants(id).await;
        assert_eq!((&people["occupancy"], &people["items"][0]["status"]), (&1.into(), &"reconnecting".into()));
    }
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
