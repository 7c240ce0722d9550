//! Many people in a session, without a socket for each: a server comes up with those whom the last one left in its rooms.

use serde_json::json;
use uuid::Uuid;

use super::TestServer;
use super::cluster::TestDatabase;
use super::rest::{Opened, service};

/// Shows people for as long as a test runs, and lets nothing else happen.
pub const STAYING: [&str; 10] =
    ["--grace", "10h", "--ping-interval", "10m", "--dead-after", "20m", "--idle-after", "1h", "--write-timeout", "10m"];

/// A server with these flags, and a session for so many people in which there are so many already, each with a state of
/// 2 KiB.
pub async fn crowded(people: i32, max_participants: i32, flags: &[&str]) -> (TestServer, Opened) {
    let first = TestServer::on(TestDatabase::new().await, &[]).await;
    let session = first.open_as(Some(&service()), json!({"max_participants": max_participants})).await;
    let database = first.stop().await;
    sqlx::query(
        "INSERT INTO session_participants (session_id, name, role, is_active, node, state)
         SELECT $1, 'Reader ' || n, 'guest', true, 'test', jsonb_build_object('a', repeat('x', 2040))
         FROM generate_series(1, $2) n",
    )
    .bind(session.id)
    .bind(people)
    .execute(&database.pool)
    .await
    .expect("people");
    let flags: Vec<_> = STAYING.iter().chain(flags).copied().collect();
    (TestServer::on(database, &flags).await, session)
}

/// Users who were in the session before, and come back with a state of 2 KiB: their ids.
pub async fn were_there(database: &TestDatabase, session: Uuid, users: i32) -> Vec<Uuid> {
    let ids: Vec<Uuid> = (0..users).map(|_| Uuid::now_v7()).collect();
    sqlx::query(
        "INSERT INTO session_participants (session_id, user_id, name, left_at, leave_reason, state)
         SELECT $1, id, 'User', now(), 'left', jsonb_build_object('a', repeat('y', 2040)) FROM unnest($2) id",
    )
    .bind(session)
    .bind(&ids)
    .execute(&database.pool)
    .await
    .expect("users");
    ids
}
