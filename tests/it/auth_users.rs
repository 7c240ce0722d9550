//! A database that has a table of users, as Supabase's have: what is a user's goes with the user.

use std::time::Duration;

use futures_util::future::{join, join_all};
use serde_json::json;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::harness::cluster::TestDatabase;
use crate::harness::rest::{did, user};
use crate::harness::rows::{execute, person, user_session};
use crate::harness::{Client, Join, TestServer, eventually, pass, quiet};

/// What such a database brings along, as far as it matters here.
const AUTH: &str = "
    CREATE SCHEMA auth;
    CREATE TABLE auth.users (id uuid PRIMARY KEY, email text);
    CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS
        $$ SELECT (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $$;";

/// Every column that names a user, and what becomes of it when the user goes.
const REFERENCES: &str = "
    SELECT c.relname || '.' || a.attname || ' ' || coalesce(k.confdeltype::text, 'none')
    FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname IN ('user_id', 'host_user_id', 'created_by')
    LEFT JOIN pg_constraint AS k ON k.conrelid = c.oid AND k.contype = 'f' AND k.conkey = ARRAY[a.attnum]
        AND k.confrelid = to_regclass('auth.users') AND k.convalidated
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
    ORDER BY 1";

async fn references(database: &TestDatabase) -> Vec<String> {
    sqlx::query_scalar(REFERENCES).fetch_all(&database.pool).await.expect("references")
}

#[tokio::test]
async fn what_is_a_users_goes_with_the_user_and_sessions_stay_for_the_others() {
    let database = TestDatabase::empty().await;
    sqlx::raw_sql(AUTH).execute(&database.pool).await.expect("a table of users");
    let (hana, mel) = (Uuid::now_v7(), Uuid::now_v7());
    for id in [hana, mel] {
        execute(&database.pool, "INSERT INTO auth.users (id) VALUES ($1)", id).await;
    }
    let server = TestServer::on(database, &quiet(&[])).await;
    for reference in references(&server.database).await {
        let (column, at_end) = reference.split_once(' ').expect("two words");
        let wanted = if column.ends_with(".user_id") { "c" } else { "n" };
        assert_eq!(at_end, wanted, "{column}");
    }

    let (hana_token, mel_token) = (user(hana, "Hana"), user(mel, "Mel"));
    let session = server.open_as(Some(&hana_token), json!({})).await;
    let join = Join { invite: Some(session.invite.clone()), ..Join::token(&mel_token) };
    let mut mel_client = Client::join(server.address(), session.id, &join).await;
    server.post("/v1/check-ins", Some(&hana_token), json!({})).await.expect(201);
    server.sweep().await;

    execute(&server.database.pool, "DELETE FROM auth.users WHERE id = $1", hana).await;
    for table in ["check_ins", "session_participants"] {
        let query = format!("SELECT count(*) FROM {table} WHERE user_id = $1");
        let rows: i64 = sqlx::query_scalar(AssertSqlSafe(query))
            .bind(hana)
            .fetch_one(&server.database.pool)
            .await
            .expect("a count");
        assert_eq!(rows, 0, "{table}");
    }
    let host: Option<Uuid> = server.sql("SELECT host_user_id FROM reading_sessions WHERE id = $1", session.id).await;
    assert_eq!(host, None);
    mel_client.catch_up().await;
    server.get(&format!("/v1/reading-sessions/{}", session.id), Some(&mel_token)).await.expect(200);

    // A valid token, of a user who was deleted.
    server.post("/v1/reading-sessions", Some(&hana_token), json!({})).await.refused(401, "unauthenticated");
    server.post("/v1/check-ins", Some(&hana_token), json!({})).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn somebody_who_does_not_exist_keeps_nobody_out_who_comes_at_the_same_time() {
    let database = TestDatabase::empty().await;
    sqlx::raw_sql(AUTH).execute(&database.pool).await.expect("a table of users");
    let server = TestServer::on(database, &quiet(&[])).await;
    let session = server.open().await;
    let nobody = Join { invite: Some(session.invite.clone()), ..Join::token(&user(Uuid::now_v7(), "Nobody")) };

    let names: Vec<_> = (0..20).map(|number| format!("Guest {number}")).collect();
    let guests = join_all(names.iter().map(|name| server.guest(&session, name)));
    let id = session.id.to_string();
    let (guests, refused) = join(guests, Client::refused(server.address(), &id, &nobody)).await;
    assert_eq!(refused.error["code"], "unauthenticated");
    assert_eq!(server.participants(session.id).await["occupancy"], guests.len());
}

/// A server on a database with a table of users that holds these.
async fn with_users(users: &[Uuid], flags: &[&str]) -> TestServer {
    let database = TestDatabase::empty().await;
    sqlx::raw_sql(AUTH).execute(&database.pool).await.expect("a table of users");
    for id in users {
        execute(&database.pool, "INSERT INTO auth.users (id) VALUES ($1)", *id).await;
    }
    TestServer::on(database, flags).await
}

#[tokio::test]
async fn an_account_that_is_deleted_stops_the_flush_of_nobody_else() {
    let (hana, mel) = (Uuid::now_v7(), Uuid::now_v7());
    // No flush but those that a sweep begins with.
    let server = with_users(&[hana, mel], &quiet(&["--flush-interval", "20m", "--sweep-interval", "1h"])).await;
    let session = server.open().await;
    let enter = async |person: Uuid, device: &str| {
        let more = format!("platform=web&client_session={device}");
        let join = Join { invite: Some(session.invite.clone()), more, ..Join::token(&user(person, "Reader")) };
        Client::join(server.address(), session.id, &join).await
    };
    let (mut of_hana, mut of_mel) = (enter(hana, "hana").await, enter(mel, "mel").await);
    assert_eq!(did(&server.sweep().await), json!({}));

    execute(&server.database.pool, "DELETE FROM auth.users WHERE id = $1", mel).await;
    // She is in the room, where nobody asks the database.
    let mut other_tab = enter(mel, "mels second").await;
    for client in [&mut of_hana, &mut of_mel, &mut other_tab] {
        client.send(json!({"type": "update", "state": {"page": 7}})).await;
        client.send(json!({"type": "beat"})).await;
        client.catch_up().await;
    }
    assert_eq!(did(&server.sweep().await), json!({}), "no policy failed");
    server.get("/readyz", None).await.expect(200);
    let pool = &server.database.pool;
    assert_eq!(person(pool, of_hana.id()).await.state, json!({"page": 7}));
    assert!(user_session(pool, "hana").await.expect("a row").activity_count > 0);
    assert_eq!(server.metric("lastseen_flush_dropped_total").await, 1.0);
    assert_eq!(server.metric("lastseen_user_sessions").await, 1.0, "hers are not tracked any more");
    for client in [&mut of_mel, &mut other_tab] {
        assert_eq!(client.ended().await.code, 4512);
    }
    of_hana.sees(&[of_hana.id()]).await;
}

#[tokio::test]
async fn a_sit_of_the_room_is_recorded_for_those_whose_account_exists() {
    let people: [Uuid; 4] = std::array::from_fn(|_| Uuid::now_v7());
    let server = with_users(&people, &quiet(&["--flush-interval", "20m", "--sweep-interval", "1h"])).await;
    let session = server.open_as(Some(&user(people[0], "Hana")), json!({})).await;
    let mut clients = Vec::new();
    for id in people {
        let join = Join { invite: Some(session.invite.clone()), ..Join::token(&user(id, "Reader")) };
        clients.push(Client::join(server.address(), session.id, &join).await);
    }
    clients[0].send(json!({"type": "sit", "action": "start", "sit_length_seconds": 60})).await;
    for client in &mut clients {
        client.frame("sit").await;
    }
    execute(&server.database.pool, "DELETE FROM auth.users WHERE id = $1", people[2]).await;
    pass(Duration::from_mins(1)).await;
    for client in &mut clients {
        assert_eq!(client.frame("sit").await["completed"], true);
    }
    let sat = eventually("the sit's record", async || {
        let sat: Vec<Uuid> = sqlx::query_scalar("SELECT user_id FROM sits WHERE is_completed ORDER BY user_id")
            .fetch_all(&server.database.pool)
            .await
            .expect("sits");
        (!sat.is_empty()).then_some(sat)
    })
    .await;
    assert_eq!(sat, [people[0], people[1], people[3]]);
}

#[tokio::test]
async fn a_table_of_users_that_comes_later_can_be_referred_to_later() {
    let database = TestDatabase::new().await;
    assert!(references(&database).await.iter().all(|reference| reference.ends_with(" none")));
    let reference = async || -> i32 {
        sqlx::query_scalar("SELECT lastseen.reference_auth_users()").fetch_one(&database.pool).await.expect("a count")
    };
    assert_eq!(reference().await, 0, "there is nothing to refer to");
    let users = AUTH.replace("CREATE SCHEMA auth;", "").replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION");
    sqlx::raw_sql(AssertSqlSafe(users)).execute(&database.pool).await.expect("a table of users");
    let columns = references(&database).await.len();
    assert!(columns >= 8, "{columns}");
    assert_eq!(usize::try_from(reference().await).expect("a count"), columns);
    assert_eq!(reference().await, 0, "once");
    assert!(references(&database).await.iter().all(|reference| !reference.ends_with(" none")));
}
