//! Rows that somebody else has locked, for as long as they like: who needs them waits, and nobody else does.

use chrono::TimeDelta;
use futures_util::future::{join, join_all};
use serde_json::json;
use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, Postgres, Transaction};
use uuid::Uuid;

use crate::harness::rest::{Opened, did, service, user};
use crate::harness::rows::{execute, person, stored, user_session};
use crate::harness::{Client, Join, TestServer, eventually, quiet};

/// Locks rows until it is dropped.
async fn lock(pool: &PgPool, rows: &str, id: Uuid) -> Transaction<'static, Postgres> {
    lock_all(pool, &[(rows, id)]).await
}

async fn lock_all(pool: &PgPool, rows: &[(&str, Uuid)]) -> Transaction<'static, Postgres> {
    let mut transaction = pool.begin().await.expect("a transaction");
    for (rows, id) in rows {
        let statement = format!("SELECT 1 FROM {rows} = $1 FOR UPDATE");
        let locked = sqlx::query(AssertSqlSafe(statement)).bind(id).execute(&mut *transaction).await.expect("a lock");
        assert_ne!(locked.rows_affected(), 0, "{rows}");
    }
    transaction
}

async fn invite_with_uses(server: &TestServer, session: &Opened) -> Join {
    let path = format!("/v1/reading-sessions/{}/invites", session.id);
    let invite = server.post(&path, Some(&service()), json!({"max_uses": 5})).await.expect(201);
    Join::invite(invite["token"].as_str().expect("a token"), "Late")
}

#[tokio::test]
async fn a_locked_session_or_invite_or_person_keeps_nobody_else_out() {
    let server = TestServer::start(&quiet(&[])).await;
    let pool = &server.database.pool;
    let (session, counted) = (server.open().await, server.open().await);
    let mel = user(Uuid::now_v7(), "Mel");
    let back = Join { invite: Some(session.invite.clone()), ..Join::token(&mel) };
    let client = Client::join(server.address(), session.id, &back).await;
    let person = client.id();
    client.leave().await;
    let by_invite = invite_with_uses(&server, &counted).await;
    let others = join_all((0..16).map(|_| server.open())).await;

    for (rows, id, held, join_held) in [
        ("reading_sessions WHERE id", session.id, &session, Join::invite(&session.invite, "Late")),
        ("session_participants WHERE id", person, &session, back),
        ("session_invites WHERE max_uses IS NOT NULL AND session_id", counted.id, &counted, by_invite),
    ] {
        let hold = lock(pool, rows, id).await;
        // More than there are queues, so that some come with the one that has to wait.
        let come = join_all(others.iter().map(|other| server.guest(other, "Gus")));
        let held_id = held.id.to_string();
        let (refused, come) = join(Client::refused_at_once(server.address(), &held_id, &join_held), come).await;
        assert_eq!((refused.code, &refused.error["code"]), (1013, &json!("unavailable")), "{rows}");
        hold.rollback().await.expect("let go");
        let late = Client::join(server.address(), held.id, &join_held).await;
        late.leave().await;
        join_all(come.into_iter().map(Client::leave)).await;
    }
}

#[tokio::test]
async fn who_needs_a_row_that_is_locked_for_a_moment_comes_in_after_it() {
    let server = TestServer::start(&quiet(&[])).await;
    let session = server.open().await;
    let hold = lock(&server.database.pool, "reading_sessions WHERE id", session.id).await;
    let joining = async {
        loop {
            let join = Join::invite(&session.invite, "Ada");
            if let Ok(client) = Client::try_join(server.address(), session.id, &join).await {
                break client;
            }
        }
    };
    let (ada, ()) = join(joining, async {
        // The statement leaves out what is locked, and is sent again.
        eventually("a question that was in vain", async || {
            let asked = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
                AND application_name = 'lastseen' AND query LIKE '%with ordinality as r (session, resume%' AND state = 'idle')";
            let asked: bool = sqlx::query_scalar(asked).fetch_one(&server.database.pool).await.expect("an answer");
            asked.then_some(())
        })
        .await;
        hold.rollback().await.expect("let go");
    })
    .await;
    assert_eq!(ada.welcome["occupancy"], 1);
}

#[tokio::test]
async fn locked_rows_are_left_to_a_later_flush_and_all_others_are_written() {
    let server = TestServer::start(&quiet(&[])).await;
    let pool = &server.database.pool;
    let (session, other) = (server.open().await, server.open().await);
    let enter = async |open: &Opened, name: &str| {
        let more = format!("platform=web&client_session={name}");
        let join = Join { token: Some(user(Uuid::now_v7(), name)), more, ..Join::invite(&open.invite, name) };
        Client::join(server.address(), open.id, &join).await
    };
    let (mut ada, mut bob) = (enter(&session, "ada").await, enter(&session, "bob").await);
    let mut cyd = enter(&other, "cyd").await;
    server.sweep().await;
    let row = user_session(pool, "bob").await.expect("a row");
    // Its stamp lags, so that each flush would move it.
    execute(pool, "UPDATE reading_sessions SET last_seen_at = now() - interval '5 minutes' WHERE id = $1", other.id)
        .await;
    let hold = lock_all(
        pool,
        &[
            ("reading_sessions WHERE id", other.id),
            ("session_participants WHERE id", ada.id()),
            ("session_invites WHERE session_id", session.id),
            ("user_sessions WHERE id", row.id),
        ],
    )
    .await;

    let _dora = server.guest(&session, "Dora").await;
    for client in [&mut ada, &mut bob, &mut cyd] {
        client.send(json!({"type": "update", "state": {"page": 7}})).await;
        client.send(json!({"type": "beat"})).await;
        client.catch_up().await;
    }
    let state = async |client: &Client| person(pool, client.id()).await.state;
    for client in [&bob, &cyd] {
        eventually("everybody else's state", async || (state(client).await == json!({"page": 7})).then_some(())).await;
    }
    for name in ["ada", "cyd"] {
        eventually("everybody else's activity", async || {
            user_session(pool, name).await.filter(|row| row.activity_count > 0)
        })
        .await;
    }
    // More than one flush: what is locked stays due.
    eventually("rows left out, again and again", async || {
        (server.metric("lastseen_flush_locked_total").await > 4.0).then_some(())
    })
    .await;
    server.get("/readyz", None).await.expect(200);
    assert_eq!(server.metric("lastseen_flush_failures_total").await, 0.0);
    assert_eq!(state(&ada).await, json!({}));

    hold.rollback().await.expect("let go");
    eventually("Ada's state", async || (state(&ada).await == json!({"page": 7})).then_some(())).await;
    eventually("nothing waits", async || (server.metric("lastseen_flush_backlog").await == 0.0).then_some(())).await;
    server.sweep().await;
    let activity = async |name: &str| user_session(pool, name).await.expect("a row").activity_count;
    assert_eq!(activity("bob").await, activity("cyd").await, "counted, and once");
    let uses: i32 = server.sql("SELECT sum(uses)::int FROM session_invites WHERE session_id = $1", session.id).await;
    assert_eq!(uses, 3);
    cyd.send(json!({"type": "beat"})).await;
    cyd.catch_up().await;
    eventually("the stamp of the other session", async || {
        (stored(pool, other.id).await.last_seen_at > row.started_at - TimeDelta::minutes(1)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_session_of_which_a_row_is_locked_is_left_to_a_later_sweep() {
    let server = TestServer::start(&quiet(&["--sweep-interval", "1h"])).await;
    let pool = &server.database.pool;
    let (one, two, three) = (server.open().await, server.open().await, server.open().await);
    let people = [server.guest(&one, "Ada").await, server.guest(&two, "Bob").await, server.guest(&three, "Cyd").await];
    server.sweep().await;
    for session in [&one, &two, &three] {
        server.age(session.id, 2.0 * 3600.0).await;
    }
    let held_person = lock(pool, "session_participants WHERE id", people[0].id()).await;
    let held_invites = lock(pool, "session_invites WHERE session_id", two.id).await;
    assert_eq!(did(&server.sweep().await), json!({"closed": 1}));
    assert!(!stored(pool, three.id).await.is_active);
    held_person.rollback().await.expect("let go");
    held_invites.rollback().await.expect("let go");
    assert_eq!(did(&server.sweep().await), json!({"closed": 2}));

    // The same when they are deleted.
    sqlx::query("UPDATE reading_sessions SET closed_at = now() - interval '40 days'").execute(pool).await.expect("old");
    let held_person = lock(pool, "session_participants WHERE id", people[0].id()).await;
    assert_eq!(did(&server.sweep().await), json!({"purged": 2}));
    held_person.rollback().await.expect("let go");
    assert_eq!(did(&server.sweep().await), json!({"purged": 1}));
}
