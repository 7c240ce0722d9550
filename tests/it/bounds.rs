//! What users write in SQL, beside the server, cannot break the sweeps, sums and lists of everybody.

use serde_json::json;
use sqlx::{AssertSqlSafe, Postgres, Transaction};
use uuid::Uuid;

use crate::harness::cluster::TestDatabase;
use crate::harness::rest::{did, service, user};
use crate::harness::{Client, Join, TestServer, eventually, quiet};

/// A transaction of a user's, as PostgREST makes one.
async fn as_user(database: &TestDatabase, user: Uuid) -> Transaction<'static, Postgres> {
    let claims = json!({"sub": user, "role": "authenticated"}).to_string();
    let mut transaction = database.pool.begin().await.expect("a transaction");
    sqlx::query("SELECT set_config('role', 'authenticated', true), set_config('request.jwt.claims', $1, true)")
        .bind(claims)
        .execute(&mut *transaction)
        .await
        .expect("a role");
    transaction
}

/// What PostgreSQL says to a user's statement; `None` where it is done.
async fn code(database: &TestDatabase, user: Uuid, statement: &str) -> Option<String> {
    let mut transaction = as_user(database, user).await;
    match sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *transaction).await {
        Ok(_) => {
            transaction.commit().await.expect("done");
            None
        }
        Err(error) => Some(error.as_database_error().and_then(|refusal| refusal.code()).expect("a code").into_owned()),
    }
}

/// Every time that a user may write.
const TIMES: [(&str, &str); 10] = [
    ("user_sessions", "last_activity_at"),
    ("user_sessions", "last_heartbeat_at"),
    ("user_sessions", "expires_at"),
    ("user_sessions", "updated_at"),
    ("user_sessions", "status = 'ended', end_reason = 'manual', total_duration_seconds = 1, ended_at"),
    ("check_ins", "expires_at"),
    ("check_ins", "status = 'inactive', checked_out_at"),
    ("sits", "status = 'completed', is_completed = true, completed_at"),
    ("check_ins", "name = 'x', expires_at"),
    ("user_sessions", "user_agent = 'x', expires_at"),
];

/// Rows of each kind that are as absurd as the bounds allow.
const ABSURD: [&str; 9] = [
    "INSERT INTO user_sessions (user_id, session_id, platform, started_at, last_heartbeat_at, expires_at)
     VALUES (auth.uid(), 'first', 'web', '0001-01-01 00:00+00', '9999-12-31 00:00+00', '0001-01-01 00:00+00')",
    "INSERT INTO user_sessions (user_id, session_id, platform, started_at, last_heartbeat_at)
     VALUES (auth.uid(), 'last', 'web', '9999-12-31 00:00+00', '0001-01-01 00:00+00')",
    "UPDATE user_sessions SET activity_count = 1000000000000000, frontend_connections = 1000000,
        sse_connections = 1000000 WHERE session_id IN ('last', 'mine')",
    "INSERT INTO user_sessions (user_id, session_id, platform, metadata)
     VALUES (auth.uid(), 'odd', 'web', ('{\"n\": 1e4000, \"deep\": ' || repeat('[', 1000) || repeat(']', 1000) || '}')::jsonb)",
    "UPDATE check_ins SET expires_at = '9999-12-31 00:00+00'",
    "INSERT INTO check_ins (user_id) VALUES (auth.uid())",
    "UPDATE check_ins SET status = 'inactive', checked_out_at = '0001-01-01 00:00+00' WHERE expires_at < '9999-12-31 00:00+00'",
    "INSERT INTO sits (user_id, sit_length_seconds) VALUES (auth.uid(), 2147483647)",
    "UPDATE sits SET status = 'completed', is_completed = true, completed_at = '9999-12-31 00:00+00' WHERE sit_length_seconds = 60",
];

#[tokio::test]
async fn no_row_that_a_user_may_write_breaks_a_sweep_or_a_list_of_everybody() {
    let server = TestServer::start(&quiet(&["--sweep-interval", "1h"])).await;
    let database = &server.database;
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
            assert_eq!(code(database, mallory, &statement).await.as_deref(), Some("23514"), "{statement}");
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
        ("INSERT INTO check_ins (user_id, checked_in_at) VALUES (auth.uid(), 'infinity')", "42501"),
        ("INSERT INTO sits (user_id, sit_length_seconds, started_at) VALUES (auth.uid(), 60, 'infinity')", "42501"),
    ] {
        assert_eq!(code(database, mallory, statement).await.as_deref(), Some(wanted), "{statement}");
    }
    for statement in ABSURD {
        assert_eq!(code(database, mallory, statement).await, None, "{statement}");
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
        crate::harness::rows::user_session(&database.pool, "adas").await.filter(|row| row.activity_count > 0)
    })
    .await;
    assert_eq!(server.metric("lastseen_flush_failures_total").await, 0.0);
    server.sweep().await;
}
