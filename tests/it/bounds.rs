//! What users write in SQL, beside the server, cannot break the sweeps, sums and lists of everybody.

use serde_json::json;
use uuid::Uuid;

use crate::harness::rest::{did, service, user};
use crate::harness::rows::write_as;
use crate::harness::{Client, Join, TestServer, eventually, quiet};

/// Every time that a user may write.
const TIMES: [(&str, &str); 9] = [
    ("user_sessions", "last_activity_at"),
    ("user_sessions", "last_heartbeat_at"),
    ("user_sessions", "expires_at"),
    ("user_sessions", "status = 'ended', end_reason = 'manual', total_duration_seconds = 1, ended_at"),
    ("check_ins", "expires_at"),
    ("check_ins", "status = 'inactive', checked_out_at"),
    ("sits", "status = 'completed', is_completed = true, completed_at"),
    ("check_ins", "name = 'x', expires_at"),
    ("user_sessions", "user_agent = 'x', expires_at"),
];

/// What a user may write and is as absurd as the bounds allow.
const ABSURD: [&str; 3] = [
    "UPDATE user_sessions SET activity_count = 1000000000000000, frontend_connections = 1000000,
        sse_connections = 1000000 WHERE session_id = 'mine'",
    "INSERT INTO user_sessions (user_id, session_id, platform, metadata)
     VALUES (auth.uid(), 'odd', 'web', ('{\"n\": 1e4000, \"deep\": ' || repeat('[', 1000) || repeat(']', 1000) || '}')::jsonb)",
    "INSERT INTO check_ins (user_id) VALUES (auth.uid())",
];

/// The same of a backend with all rights, for the user `$1`.
const ABSURD_OF_A_BACKEND: [&str; 6] = [
    "INSERT INTO user_sessions (user_id, session_id, platform, started_at, last_heartbeat_at, expires_at)
     VALUES ($1, 'first', 'web', '0001-01-01 00:00+00', '9999-12-31 00:00+00', '0001-01-01 00:00+00')",
    "INSERT INTO user_sessions (user_id, session_id, platform, started_at, last_heartbeat_at, activity_count,
        frontend_connections, sse_connections)
     VALUES ($1, 'last', 'web', '9999-12-31 00:00+00', '0001-01-01 00:00+00', 1000000000000000, 1000000, 1000000)",
    "UPDATE check_ins SET expires_at = '9999-12-31 00:00+00' WHERE user_id = $1",
    "INSERT INTO check_ins (user_id, checked_in_at, checked_out_at, status)
     VALUES ($1, '9999-12-31 00:00+00', '0001-01-01 00:00+00', 'inactive')",
    "INSERT INTO sits (user_id, sit_length_seconds) VALUES ($1, 2147483647)",
    "UPDATE sits SET status = 'completed', is_completed = true, completed_at = '9999-12-31 00:00+00'
     WHERE user_id = $1 AND sit_length_seconds = 60",
];

#[tokio::test]
async fn no_row_that_a_user_may_write_breaks_a_sweep_or_a_list_of_everybody() {
    let server = TestServer::start(&quiet(&["--sweep-interval", "1h"])).await;
    let pool = &server.database.pool;
    let (mallory, ada) = (Uuid::now_v7(), Uuid::now_v7());
    let token = user(mallory, "Mallory");
    server.post("/v1/check-ins", Some(&token), json!({})).await.expect(201);
    server.post("/v1/sits", Some(&token), json!({"sit_length_seconds": 60})).await.expect(201);
    let device = json!({"session_id": "mine", "platform": "web"});
    server.post("/v1/user-sessions", Some(&token), device).await.expect(201);

    for (table, column) in TIMES {
        for time in ["infinity", "-infinity", "10000-01-01 00:00+00", "0001-12-31 00:00+00 BC", "290000-01-01 00:00+00"]
        {
            let statement = format!("UPDATE {table} SET {column} = '{time}'");
            assert_eq!(write_as(pool, mallory, &statement).await, Err("23514".into()), "{statement}");
        }
    }
    for (statement, wanted) in [
        ("UPDATE user_sessions SET frontend_connections = 2147483647", "23514"),
        ("UPDATE user_sessions SET activity_count = 9223372036854775807", "23514"),
        ("UPDATE user_sessions SET metadata = jsonb_build_object('x', repeat('x', 1000000))", "23514"),
        ("UPDATE user_sessions SET started_at = now()", "42501"),
        (
            "INSERT INTO user_sessions (user_id, session_id, platform, started_at) VALUES (auth.uid(), 'x', 'web', '-infinity')",
            "23514",
        ),
        (
            "INSERT INTO user_sessions (user_id, session_id, platform, created_at) VALUES (auth.uid(), 'x', 'web', now())",
            "42501",
        ),
        (
            "INSERT INTO user_sessions (user_id, session_id, platform, activity_count) VALUES (auth.uid(), 'x', 'web', 7)",
            "42501",
        ),
        ("INSERT INTO check_ins (user_id, checked_in_at) VALUES (auth.uid(), 'infinity')", "23514"),
        ("INSERT INTO check_ins (user_id, expires_at) VALUES (auth.uid(), now() + interval '10 years')", "23514"),
        ("INSERT INTO sits (user_id, sit_length_seconds) VALUES (auth.uid(), 2147483647)", "23514"),
        ("INSERT INTO sits (user_id, sit_length_seconds, started_at) VALUES (auth.uid(), 60, 'infinity')", "42501"),
    ] {
        assert_eq!(write_as(pool, mallory, statement).await, Err(wanted.into()), "{statement}");
    }
    for statement in ABSURD {
        assert_eq!(write_as(pool, mallory, statement).await, Ok(1), "{statement}");
    }
    for statement in ABSURD_OF_A_BACKEND {
        sqlx::query(statement).bind(mallory).execute(pool).await.expect(statement);
    }

    // Everybody's: lists, sums, the sweep and the flush.
    let session = server.open().await;
    let join = |device: &str, token: &str| Join {
        more: format!("platform=web&client_session={device}"),
        token: Some(token.to_owned()),
        ..Join::invite(&session.invite, "Reader")
    };
    let mut of_mallory = Client::join(server.address(), session.id, &join("mine", &token)).await;
    let mut of_ada = Client::join(server.address(), session.id, &join("adas", &user(ada, "Ada"))).await;
    for client in [&mut of_mallory, &mut of_ada] {
        client.send(json!({"type": "beat"})).await;
        client.catch_up().await;
    }
    for list in [
        "/v1/user-sessions",
        "/v1/user-sessions/summary",
        "/v1/check-ins",
        "/v1/check-ins/active",
        "/v1/check-ins/stats",
        "/v1/sits",
        "/v1/admin/stats",
        "/v1/admin/analytics",
    ] {
        for token in [Some(service()), Some(token.clone())] {
            let answer = server.get(list, token.as_deref()).await;
            assert!([200, 403].contains(&answer.status.as_u16()), "{list}: {}", answer.body);
        }
        server.get(list, Some(&service())).await.expect(200);
    }
    let swept = server.sweep().await;
    assert_eq!(swept["failed"], json!([]), "{swept}");
    assert!(did(&swept)["user_sessions_timed_out"].is_u64(), "{swept}");
    eventually("Ada's activity", async || {
        crate::harness::rows::user_session(pool, "adas").await.filter(|row| row.activity_count > 0)
    })
    .await;
    assert_eq!(server.metric("lastseen_flush_failures_total").await, 0.0);
    server.sweep().await;
}
