//! Behind a pooler: whatever the server sets is there for its own transactions alone, and nothing else is needed of a
//! session.

use serde_json::json;
use sqlx::Row;
use tokio::time::{Duration, Instant};
use uuid::Uuid;

use crate::harness::cluster::TestDatabase;
use crate::harness::login::{Login, connect};
use crate::harness::pgbouncer::PgBouncer;
use crate::harness::process::{lastseen, run};
use crate::harness::rest::{did, service, user};
use crate::harness::rows::person;
use crate::harness::server::SECRET;
use crate::harness::{Client, Join, TestServer, eventually};

/// As many as clients of a pool that were found to have another role.
const OTHERS: usize = 12;

/// What a session has that was not there when it began.
const LEFT: &str = "
    SELECT concat_ws(' ', current_user, current_setting('search_path'), current_setting('row_security'),
        current_setting('statement_timeout'), current_setting('lock_timeout'),
        coalesce(current_setting('request.jwt.claims', true), ''),
        coalesce(current_setting('request.jwt.claim.sub', true), ''),
        (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
        (SELECT count(*) FROM pg_listening_channels()))";

/// Looks at the sessions of a pool, all at once, so that each client has another one while there are any.
async fn left_to_others(database: &TestDatabase) -> Vec<String> {
    let look = async || {
        let mut connection = connect(database).await;
        let row = sqlx::raw_sql(LEFT).fetch_one(&mut connection).await.expect("an answer");
        row.try_get::<String, _>(0).expect("text")
    };
    futures_util::future::join_all((0..OTHERS).map(|_| look())).await
}

/// A server with its pooler, of a login that has no rights of its own.
struct Behind {
    database: TestDatabase,
    login: Login,
    pooler: PgBouncer,
}

impl Behind {
    async fn a_pooler(mode: &str, settings: &[&str]) -> Option<Self> {
        let database = TestDatabase::new().await;
        let login = Login::member(&database).await;
        match PgBouncer::before(&database, mode, &[&login.name], settings).await {
            Some(pooler) => Some(Self { database, login, pooler }),
            None => {
                login.end().await;
                None
            }
        }
    }

    /// The database, as a server reaches it.
    fn through(&self) -> TestDatabase {
        self.pooler.through(&self.login.of(&self.database))
    }

    async fn end(self) {
        drop(self.pooler);
        self.login.end().await;
    }
}

/// What people, users and operators do.
async fn main_path(server: &TestServer) {
    eventually("readiness", async || (server.get("/readyz", None).await.status == 200).then_some(())).await;
    let (ada, eve) = (user(Uuid::now_v7(), "Ada"), user(Uuid::now_v7(), "Eve"));
    let session = server.open_as(Some(&ada), json!({"title": "Middlemarch"})).await;
    let (mut bob, mut cyd) = tokio::join!(server.guest(&session, "Bob"), server.guest(&session, "Cyd"));
    bob.send(json!({"type": "update", "state": {"page": 7}})).await;
    let id = bob.id();
    cyd.until("Bob's page", |client| client.view[&id]["state"] == json!({"page": 7})).await;
    let pool = &server.database.pool;
    eventually("the flush", async || (person(pool, id).await.state == json!({"page": 7})).then_some(())).await;

    let device = json!({"session_id": Uuid::now_v7(), "platform": "web"});
    server.post("/v1/user-sessions", Some(&ada), device).await.expect(201);
    server.post("/v1/check-ins", Some(&ada), json!({})).await.expect(201);
    let mine = server.get("/v1/reading-sessions", Some(&ada)).await.expect(200);
    assert_eq!(mine["items"].as_array().map(Vec::len), Some(1), "{mine}");
    // Another user sees nothing of it: the policies hold.
    let theirs = server.get("/v1/reading-sessions", Some(&eve)).await.expect(200);
    assert_eq!(theirs["items"], json!([]));
    server.get("/v1/admin/analytics", Some(&service())).await.expect(200);
    server.get("/v1/admin/stats", Some(&service())).await.expect(200);

    cyd.close().await;
    server.close(session.id).await.expect(200);
    assert_eq!(bob.ended().await.code, 4511);
    assert_eq!(did(&server.sweep().await)["failed"], serde_json::Value::Null);
}

#[tokio::test]
async fn a_server_behind_a_pooler_of_transactions_works_and_leaves_nothing_to_its_other_clients() {
    let Some(behind) = Behind::a_pooler("transaction", &[]).await else { return };
    let before = left_to_others(&behind.through()).await;
    let server = TestServer::on(behind.through(), &[]).await;
    let (path, others) = (main_path(&server), async {
        for _ in 0..20 {
            assert_eq!(left_to_others(&behind.through()).await, before);
        }
    });
    tokio::join!(path, others);
    assert!(before.iter().all(|left| left.starts_with(&behind.login.name)), "{before:?}");
    assert_eq!(left_to_others(&behind.through()).await, before);
    server.stop().await;
    assert_eq!(left_to_others(&behind.through()).await, before);
    behind.end().await;
}

#[tokio::test]
async fn settings_that_other_clients_left_in_the_sessions_of_a_pooler_do_not_matter() {
    let Some(behind) = Behind::a_pooler("transaction", &[]).await else { return };
    // Each holds its session until the pooler has opened all three, so that none stays as it was.
    let spoil = "DO $$ BEGIN \
           WHILE (SELECT count(*) < 3 FROM pg_stat_activity WHERE usename = session_user) LOOP \
             PERFORM pg_sleep(0.01), pg_stat_clear_snapshot(); \
           END LOOP; \
         END $$; \
         SET search_path = pg_catalog; SET row_security = off; SET lock_timeout = 1; \
         SET request.jwt.claim.sub = '00000000-0000-7000-8000-000000000000'; \
         SET default_transaction_isolation = serializable";
    let others = (0..OTHERS).map(async |_| {
        let mut other = connect(&behind.through()).await;
        sqlx::raw_sql(spoil).execute(&mut other).await.expect("spoilt");
        other
    });
    let others = futures_util::future::join_all(others).await;
    let spoilt = left_to_others(&behind.through()).await;
    assert!(spoilt.iter().all(|left| left.contains("pg_catalog off")), "{spoilt:?}");
    let server = TestServer::on(behind.through(), &[]).await;
    main_path(&server).await;
    server.stop().await;
    drop(others);
    behind.end().await;
}

#[tokio::test]
async fn a_role_by_the_setting_of_the_login_works_too() {
    let Some(behind) = Behind::a_pooler("transaction", &[]).await else { return };
    behind.login.run("ALTER ROLE $ SET role = lastseen_service").await;
    let server = TestServer::on(behind.through(), &["--migrate=false"]).await;
    main_path(&server).await;
    server.stop().await;
    behind.end().await;
}

#[tokio::test]
async fn a_server_behind_a_pooler_of_sessions_works() {
    // Each connection keeps a session of its own.
    let Some(behind) = Behind::a_pooler("session", &["default_pool_size = 40"]).await else { return };
    let server = TestServer::on(behind.through(), &["--migrate=false"]).await;
    main_path(&server).await;
    server.stop().await;
    behind.end().await;
}

#[tokio::test]
async fn a_schema_is_not_changed_through_a_pooler_but_beside_it() {
    let database = TestDatabase::empty().await;
    let admin = database.options.get_username().to_owned();
    let Some(pooler) = PgBouncer::before(&database, "transaction", &[&admin], &[]).await else { return };
    let (through, direct) = (pooler.through(&database).url(), database.url());
    let server = ["serve", "--listen", "127.0.0.1:0", "--jwt-secret", SECRET, "--database-url", &through];
    for command in [&server[..], &["migrate", "--database-url", &through]] {
        let began = Instant::now();
        let finished = run(command).await;
        let line = finished.complaint();
        assert!(line.contains("pooler") && line.contains("DATABASE_DIRECT_URL"), "{line}");
        // It is refused, and not given up: the limit is far below the patience of a connection.
        assert!(began.elapsed() < Duration::from_secs(60));
    }
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname IN ('public', 'lastseen')";
    let tables: i64 = sqlx::query_scalar(tables).fetch_one(&database.pool).await.expect("a count");
    assert_eq!(tables, 0, "nothing was made");

    let migrated = run(&["migrate", "--database-url", &through, "--database-direct-url", &direct]).await;
    assert!(migrated.status.success(), "{}", migrated.stderr);
    // What is current needs no change, and can be looked at through the pooler.
    for command in [&["migrate", "--database-url", &through][..], &["sweep", "--database-url", &through]] {
        let finished = run(command).await;
        assert!(finished.status.success(), "{command:?}: {}", finished.stderr);
    }
    let checked = lastseen(&["check", "--database-url", &through]).env("DATABASE_DIRECT_URL", &direct).output().await;
    assert_eq!(String::from_utf8_lossy(&checked.expect("it runs").stdout), "All tests completed successfully!\n");
}

#[tokio::test]
async fn a_pooler_that_takes_transactions_apart_is_refused() {
    let Some(behind) = Behind::a_pooler("statement", &[]).await else { return };
    let url = behind.through().url();
    let server = ["serve", "--listen", "127.0.0.1:0", "--jwt-secret", SECRET, "--database-url", &url];
    let finished = run(&[&server[..], &["--migrate=false"]].concat()).await;
    let line = finished.complaint();
    assert!(line.contains("pooler") || line.contains("pooling"), "{line}");
    behind.end().await;
}

#[tokio::test]
async fn a_login_that_may_not_become_the_server_is_refused_through_a_pooler() {
    let Some(behind) = Behind::a_pooler("transaction", &[]).await else { return };
    behind.login.run("REVOKE lastseen_service FROM $").await;
    let url = behind.through().url();
    let server = ["serve", "--listen", "127.0.0.1:0", "--jwt-secret", SECRET, "--database-url", &url];
    let finished = run(&[&server[..], &["--migrate=false"]].concat()).await;
    let line = finished.complaint();
    assert!(line.contains("permission denied to set role \"lastseen_service\""), "{line}");
    behind.end().await;
}

#[tokio::test]
async fn a_resumed_connection_and_a_second_server_share_a_pooler() {
    let Some(behind) = Behind::a_pooler("transaction", &[]).await else { return };
    let server = TestServer::on(behind.through(), &["--grace", "60s"]).await;
    let second = server.beside("second", &[]).await;
    let session = server.open().await;
    let ada = server.guest(&session, "Ada").await;
    let (id, token) = (ada.id(), ada.resume_token());
    ada.vanish();
    let back = Client::join(server.address(), session.id, &Join::resume(&token)).await;
    assert_eq!(back.id(), id);
    main_path(&second).await;
    second.server.stop().await;
    server.stop().await;
    behind.end().await;
}
