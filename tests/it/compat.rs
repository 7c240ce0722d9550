//! The views under names of other designs: what an app that asks for them reads and writes, and when they are made, kept
//! and dropped.

use std::borrow::Cow;

use lastseen::config::SchemaName;
use lastseen::store::schema::{Compat, CompatChange, Schema};
use serde_json::{Value, json};
use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, Postgres, Transaction};
use uuid::Uuid;

use crate::harness::TestServer;
use crate::harness::catalog::{catalog, differences};
use crate::harness::cluster::TestDatabase;
use crate::harness::process::{Finished, run};
use crate::harness::rest::{service, user};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `lastseen migrate` with these views.
async fn migrate(database: &TestDatabase, views: &[&str]) -> Finished {
    let url = database.url();
    let options = views.iter().flat_map(|views| ["--compat", views]);
    run(&["migrate", "--database-url", &url].into_iter().chain(options).collect::<Vec<_>>()).await
}

/// The same where it works; returns what it prints.
async fn migrated(database: &TestDatabase, views: &[&str]) -> String {
    let finished = migrate(database, views).await;
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    finished.stdout
}

/// The same where it is refused; returns the line of the error.
async fn refused(database: &TestDatabase, views: &[&str]) -> String {
    let before = everything(&database.pool).await;
    let finished = migrate(database, views).await;
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stdout);
    assert_eq!(everything(&database.pool).await, before, "nothing was changed");
    finished.complaint().to_owned()
}

/// What a database has of schemas of ours and of the views' own.
async fn everything(pool: &PgPool) -> Vec<String> {
    let mut lines = catalog(pool).await;
    lines.extend(
        strings(
            pool,
            "SELECT format('%s %s', relkind, oid::regclass) FROM pg_class
             WHERE relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('session', 'simulator'))
             UNION ALL SELECT format('schema %s', nspname) FROM pg_namespace WHERE nspname IN ('session', 'simulator')
             ORDER BY 1",
        )
        .await,
    );
    lines
}

async fn strings(pool: &PgPool, query: &str) -> Vec<String> {
    sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(pool).await.unwrap_or_else(|error| panic!("{query}: {error}"))
}

/// A transaction as PostgREST makes one: of a user, or of another role.
async fn as_role(pool: &PgPool, role: &str, user: Option<Uuid>) -> Transaction<'static, Postgres> {
    let claims = json!({"sub": user, "role": role}).to_string();
    let mut transaction = pool.begin().await.expect("a transaction");
    sqlx::query("SELECT set_config('role', $1, true), set_config('request.jwt.claims', $2, true)")
        .bind(role)
        .bind(claims)
        .execute(&mut *transaction)
        .await
        .expect("a role");
    transaction
}

/// The rows of a user's statement, each as JSON, or the SQLSTATE of its refusal.
async fn ask(pool: &PgPool, role: &str, user: Option<Uuid>, statement: &str) -> Result<Vec<Value>, String> {
    let mut transaction = as_role(pool, role, user).await;
    let query = format!("WITH answer AS ({statement}) SELECT to_jsonb(answer) FROM answer");
    match sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&mut *transaction).await {
        Ok(rows) => {
            transaction.commit().await.expect("done");
            Ok(rows)
        }
        Err(error) => {
            let refusal = error.as_database_error().unwrap_or_else(|| panic!("{statement}: {error}"));
            Err(refusal.code().expect("a code").into_owned())
        }
    }
}

/// A user who asks in SQL.
struct User<'a>(&'a PgPool, Uuid);

impl User<'_> {
    async fn ask(&self, statement: &str) -> Result<Vec<Value>, String> {
        ask(self.0, "authenticated", Some(self.1), &statement.replace("$me", &format!("'{}'", self.1))).await
    }

    async fn rows(&self, statement: &str) -> Vec<Value> {
        self.ask(statement).await.unwrap_or_else(|code| panic!("{statement}: {code}"))
    }

    async fn row(&self, statement: &str) -> Value {
        let mut rows = self.rows(statement).await;
        assert_eq!(rows.len(), 1, "{statement}");
        rows.remove(0)
    }
}

#[tokio::test]
async fn an_app_that_knows_check_ins_as_sessions_reads_and_writes_them() {
    let server = TestServer::start(&[]).await;
    assert_eq!(
        migrated(&server.database, &["check-ins"]).await,
        "the schema is up to date, with the views of check-ins\n"
    );
    let pool = &server.database.pool;
    let (ada, bob) = (User(pool, Uuid::now_v7()), User(pool, Uuid::now_v7()));

    let made = ada
        .row(
            "INSERT INTO sessions (user_id, checked_in_at, expires_at, status)
             VALUES ($me, now(), now() + interval '1 hour', 'active') RETURNING *",
        )
        .await;
    let columns = ["id", "user_id", "checked_in_at", "expires_at", "status", "created_at"];
    assert!(columns.iter().all(|column| !made[*column].is_null()), "{made}");
    assert_eq!((&made["status"], &made["user_id"]), (&json!("active"), &json!(ada.1)));

    // The server has the same one, and the one that is made there is seen here.
    let active = server.get("/v1/check-ins/active", Some(&user(ada.1, "Ada"))).await.expect(200);
    assert_eq!((&active["items"][0]["id"], active["items"].as_array().map(Vec::len)), (&made["id"], Some(1)));
    let of_bob = server.post("/v1/check-ins", Some(&user(bob.1, "Bob")), Value::Null).await.expect(201);
    let running = "SELECT id FROM sessions WHERE status = 'active' AND expires_at > now()";
    assert_eq!(bob.rows(running).await, [json!({"id": of_bob["id"]})], "each sees the own");
    assert_eq!(ada.rows(running).await, [json!({"id": made["id"]})]);
    let all = ask(pool, "service_role", None, running).await.expect("rows");
    assert_eq!(all.len(), 2, "the service sees all");

    // Shorter, then over.
    let shorter = "UPDATE sessions SET expires_at = now() + interval '10 minutes' WHERE user_id = $me
                   RETURNING expires_at < now() + interval '11 minutes' AS shorter, status";
    assert_eq!(ada.rows(shorter).await, [json!({"shorter": true, "status": "active"})]);
    let leave = "UPDATE sessions SET status = 'inactive' WHERE user_id = $me AND status = 'active' RETURNING status";
    assert_eq!(ada.rows(leave).await, [json!({"status": "inactive"})]);
    let out =
        "SELECT (checked_out_at BETWEEN checked_in_at AND expires_at)::text FROM check_ins WHERE status = 'inactive'";
    assert_eq!(strings(pool, out).await, ["true"]);
    let gone = server.get("/v1/check-ins/active", Some(&user(ada.1, "Ada"))).await.expect(200);
    assert_eq!(gone["items"], json!([]));

    // An hour by default, and one that is over from the start.
    let short =
        ada.row("INSERT INTO sessions (user_id) VALUES ($me) RETURNING expires_at - checked_in_at AS lasts").await;
    assert_eq!(short, json!({"lasts": "01:00:00"}));
    let over = "INSERT INTO sessions (user_id, status) VALUES ($me, 'inactive') RETURNING status";
    assert_eq!(ada.row(over).await, json!({"status": "inactive"}));

    // Nobody writes for another, moves a row, or has other words than the table.
    let of_ada = format!("'{}'", ada.1);
    for (statement, code) in [
        (format!("INSERT INTO sessions (user_id) VALUES ({of_ada}) RETURNING id"), "42501"),
        ("UPDATE sessions SET user_id = gen_random_uuid() RETURNING id".to_owned(), "0A000"),
        ("UPDATE sessions SET checked_in_at = '2020-01-01' RETURNING id".to_owned(), "0A000"),
        ("UPDATE sessions SET status = 'gone' RETURNING id".to_owned(), "23514"),
        ("DELETE FROM sessions RETURNING id".to_owned(), "42501"),
    ] {
        assert_eq!(bob.ask(&statement).await, Err(code.to_owned()), "{statement}");
    }
    let theft = format!("UPDATE sessions SET status = 'inactive' WHERE user_id = {of_ada} RETURNING id");
    assert_eq!(bob.rows(&theft).await, Vec::<Value>::new(), "it is not there for them");
    assert_eq!(ask(pool, "anon", None, running).await, Err("42501".to_owned()));
}

#[tokio::test]
async fn an_app_that_knows_sits_as_sessions_reads_and_writes_them() {
    let server = TestServer::start(&[]).await;
    assert_eq!(migrated(&server.database, &["sits"]).await, "the schema is up to date, with the views of sits\n");
    let pool = &server.database.pool;
    let (ada, bob, eve) = (User(pool, Uuid::now_v7()), User(pool, Uuid::now_v7()), User(pool, Uuid::now_v7()));
    let together = json!({"user_ids": [ada.1, bob.1]});
    let together = server.post("/v1/partnerships", Some(&service()), together).await.expect(201);
    let together = together["id"].as_str().expect("an id").to_owned();

    let start = format!(
        "INSERT INTO sessions (userid, partnershipid, sitlength, iscompleted) VALUES ($me, '{together}', 1800, false) RETURNING *"
    );
    let made = ada.row(&start).await;
    assert_eq!(
        (&made["sitlength"], &made["iscompleted"], &made["completedat"]),
        (&json!(1800), &json!(false), &Value::Null)
    );
    assert!(!made["createdat"].is_null() && made["createdat"] == made["startedat"], "{made}");
    let list = server.get(&format!("/v1/sits?partnership_id={together}"), Some(&user(bob.1, "Bob"))).await.expect(200);
    assert_eq!((&list["items"][0]["id"], &list["items"][0]["status"]), (&made["id"], &json!("open")));

    // As apps complete a sit: whatever of the two is not completed.
    let complete = format!(
        "UPDATE sessions SET iscompleted = true, completedat = now()
         WHERE userid = $me AND partnershipid = '{together}' AND iscompleted = false RETURNING id, iscompleted"
    );
    assert_eq!(ada.rows(&complete).await, [json!({"id": made["id"], "iscompleted": true})]);
    assert_eq!(ada.rows(&complete).await, Vec::<Value>::new(), "once");
    let stored = "SELECT concat_ws(' ', status, is_completed, completed_at >= started_at) FROM sits";
    assert_eq!(strings(pool, stored).await, ["completed t t"]);

    // One that was begun and left stays abandoned; the newest, told late, was sat to its end and no longer.
    sqlx::query(
        "INSERT INTO sits (user_id, partnership_id, sit_length_seconds, started_at, status)
         SELECT $1, $2::uuid, 600, now() - ago * interval '1 hour', 'abandoned' FROM unnest(ARRAY[2, 3]) AS ago",
    )
    .bind(bob.1)
    .bind(&together)
    .execute(pool)
    .await
    .expect("sits");
    assert_eq!(bob.rows(&complete).await.len(), 1);
    let sat = "SELECT concat_ws(' ', status, completed_at - started_at) FROM sits ORDER BY started_at LIMIT 2";
    assert_eq!(strings(pool, sat).await, ["abandoned", "completed 00:10:00"]);
    let lasting = "INSERT INTO sessions (userid, sitlength) VALUES ($me, 1) RETURNING id";
    bob.row(lasting).await;
    sqlx::query("UPDATE sits SET started_at = now() - interval '1 minute' WHERE status = 'open'")
        .execute(pool)
        .await
        .expect("aged");
    bob.row("UPDATE sessions SET iscompleted = true WHERE NOT iscompleted AND sitlength = 1 RETURNING id").await;
    let sat = "SELECT (completed_at - started_at)::text FROM sits WHERE sit_length_seconds = 1";
    assert_eq!(strings(pool, sat).await, ["00:00:01"]);

    // Partners read; nobody writes for another, changes what is over, or says what was sat before.
    assert_eq!(eve.rows("SELECT id FROM sessions").await, Vec::<Value>::new());
    assert_eq!(bob.rows(&format!("SELECT id FROM sessions WHERE userid = '{}'", ada.1)).await.len(), 1);
    for (statement, code) in [
        (format!("INSERT INTO sessions (userid, sitlength) VALUES ('{}', 60) RETURNING id", ada.1), "42501"),
        (start.replace("RETURNING *", "RETURNING id"), "42501"),
        (
            "INSERT INTO sessions (userid, sitlength, iscompleted) VALUES ($me, 60, true) RETURNING id".to_owned(),
            "42501",
        ),
    ] {
        assert_eq!(eve.ask(&statement).await, Err(code.to_owned()), "{statement}");
    }
    for (statement, code) in [
        ("UPDATE sessions SET sitlength = 5 WHERE userid = $me RETURNING id", "0A000"),
        ("UPDATE sessions SET createdat = '2020-01-01' WHERE userid = $me RETURNING id", "0A000"),
        ("DELETE FROM sessions RETURNING id", "42501"),
    ] {
        assert_eq!(ada.ask(statement).await, Err(code.to_owned()), "{statement}");
    }
    for statement in [
        "UPDATE sessions SET iscompleted = false WHERE iscompleted RETURNING id",
        "UPDATE sessions SET completedat = now() + interval '100 days' WHERE iscompleted RETURNING id",
    ] {
        assert_eq!(ada.rows(statement).await, Vec::<Value>::new(), "{statement}");
    }
    let earlier = "INSERT INTO sessions (userid, sitlength, iscompleted, createdat)
                   VALUES (gen_random_uuid(), 60, true, '2020-01-01 00:00+00') RETURNING completedat - createdat AS sat";
    assert_eq!(ask(pool, "service_role", None, earlier).await, Ok(vec![json!({"sat": "00:01:00"})]));
}

/// The statement of an operator of a session service.
const CONNECTIONS: &str = "
    SELECT s.session_id, (m.metadata->>'frontend_connections')::int AS ws, (m.metadata->>'sse_connections')::int AS sse,
           m.metadata->>'connection_quality' AS quality
    FROM session.active_sessions s JOIN session.session_metadata m ON s.session_id = m.session_id
    WHERE s.expires_at > now() ORDER BY 1";

#[tokio::test]
async fn an_app_that_knows_a_session_service_reads_user_sessions_and_simulators() {
    let server = TestServer::start(&[]).await;
    let printed = migrated(&server.database, &["session-service"]).await;
    assert_eq!(printed, "the schema is up to date, with the views of session-service\n");
    let pool = &server.database.pool;
    let (ada, bob) = (User(pool, Uuid::now_v7()), User(pool, Uuid::now_v7()));
    let token = user(ada.1, "Ada");
    let open = async |id: &str, metadata: Value| {
        let body = json!({"session_id": id, "platform": "web", "metadata": metadata});
        server.post("/v1/user-sessions", Some(&token), body).await.expect(201);
    };
    open("running", json!({"theme": "dark", "pod_name": "mine"})).await;
    for id in ["idle", "lost", "left", "silent", "overdue", "long-ago"] {
        open(id, json!({})).await;
    }
    server.post("/v1/user-sessions/left/end", Some(&token), json!({"end_reason": "logout"})).await.expect(200);
    server.post("/v1/user-sessions/long-ago/end", Some(&token), json!({"end_reason": "logout"})).await.expect(200);
    for change in [
        "UPDATE user_sessions SET status = 'idle' WHERE session_id = 'idle'",
        "UPDATE user_sessions SET status = 'reconnecting' WHERE session_id = 'lost'",
        "UPDATE user_sessions SET last_heartbeat_at = now() - interval '40 minutes' WHERE session_id = 'silent'",
        "SELECT end_inactive_sessions(30)",
        "UPDATE user_sessions SET expires_at = now() - interval '1 second' WHERE session_id = 'overdue'",
        "UPDATE user_sessions SET expires_at = now() - interval '1 day', ended_at = now() - interval '1 day'
         WHERE session_id = 'long-ago'",
        "UPDATE user_sessions SET frontend_connections = 2, sse_connections = 1, node = 'n1', ip_address = '203.0.113.0/24',
            last_ws_connection = '2026-01-01 00:00:00.5+00' WHERE session_id = 'running'",
        "INSERT INTO simulators (user_session_id, user_id, status, endpoint, node, launcher)
         SELECT id, user_id, 'RUNNING', 'http://127.0.0.1:9000', 'n1', 'process' FROM user_sessions WHERE session_id = 'running'",
        "INSERT INTO simulators (user_session_id, user_id, status, endpoint, node, launcher, stopped_at)
         SELECT id, user_id, 'STOPPED', 'http://127.0.0.1:9001', 'n1', 'process', now() FROM user_sessions WHERE session_id = 'idle'",
    ] {
        sqlx::raw_sql(change).execute(pool).await.expect(change);
    }

    // In its words, and nothing that has ended is active by any question.
    let statuses = "SELECT session_id, status, expires_at > now() AS alive FROM session.active_sessions ORDER BY 1";
    let row = |id: &str, status: &str, alive: bool| json!({"session_id": id, "status": status, "alive": alive});
    let all = [
        row("idle", "ACTIVE", true),
        row("left", "INACTIVE", false),
        row("lost", "RECONNECTING", true),
        row("overdue", "EXPIRED", false),
        row("running", "ACTIVE", true),
        row("silent", "EXPIRED", false),
    ];
    assert_eq!(ada.rows(statuses).await, all);
    assert_eq!(ask(pool, "service_role", None, statuses).await, Ok(all.to_vec()));
    let of_ada = "SELECT session_id, user_id, token FROM session.active_sessions WHERE user_id = $me AND status = 'RECONNECTING'";
    assert_eq!(ada.rows(of_ada).await, [json!({"session_id": "lost", "user_id": ada.1.to_string(), "token": null})]);

    // One object for each, of the server and the app.
    let simulator = strings(pool, "SELECT id::text FROM simulators WHERE status = 'RUNNING'").await.remove(0);
    let metadata = "SELECT metadata FROM session.session_metadata WHERE session_id = ";
    let wanted = json!({
        "theme": "dark", "pod_name": "n1", "ip_address": "203.0.113.0/24", "frontend_connections": 2, "sse_connections": 1,
        "last_ws_connection": 1_767_225_600.5, "connection_quality": null, "simulator_id": simulator,
        "simulator_endpoint": "http://127.0.0.1:9000", "simulator_status": "RUNNING",
    });
    assert_eq!(ada.row(&format!("{metadata}'running'")).await["metadata"], wanted);
    let idle = &ada.row(&format!("{metadata}'idle'")).await["metadata"];
    assert_eq!((&idle["simulator_id"], &idle["simulator_status"]), (&Value::Null, &json!("STOPPED")));
    let lost = &ada.row(&format!("{metadata}'lost'")).await["metadata"];
    assert_eq!((&lost["simulator_id"], &lost["simulator_status"]), (&Value::Null, &json!("NONE")));
    let qualities = "SELECT DISTINCT unnest(enum.words) FROM (
        SELECT regexp_matches(pg_get_constraintdef(oid), '''(\\w+)''', 'g') AS words FROM pg_constraint
        WHERE conname = 'user_sessions_connection_quality_check') AS enum";
    for quality in strings(pool, qualities).await {
        let set = "UPDATE user_sessions SET connection_quality = $1 WHERE session_id = 'running'";
        sqlx::query(set).bind(&quality).execute(pool).await.expect("a quality");
        let shown = &ada.row(&format!("{metadata}'running'")).await["metadata"]["connection_quality"];
        assert!(["GOOD", "DEGRADED", "POOR"].iter().any(|word| shown == word), "{quality}: {shown}");
    }
    let connections = json!({"session_id": "running", "ws": 2, "sse": 1, "quality": "POOR"});
    let mut asked = ask(pool, "service_role", None, CONNECTIONS).await.expect("rows");
    asked.retain(|row| row["session_id"] == "running");
    asked[0]["quality"] = json!("POOR");
    assert_eq!(asked, [connections]);

    let instances = "SELECT simulator_id, session_id, user_id, status, endpoint, initial_cash FROM simulator.instances
                     WHERE status <> 'STOPPED'";
    let instance = json!({
        "simulator_id": simulator, "session_id": "running", "user_id": ada.1.to_string(), "status": "RUNNING",
        "endpoint": "http://127.0.0.1:9000", "initial_cash": 100_000,
    });
    assert_eq!(ada.rows(instances).await, [instance]);

    // Of others nothing is seen, and nothing is written.
    for view in ["session.active_sessions", "session.session_metadata", "simulator.instances"] {
        assert_eq!(bob.rows(&format!("SELECT session_id FROM {view}")).await, Vec::<Value>::new(), "{view}");
        assert_eq!(ask(pool, "anon", None, &format!("SELECT session_id FROM {view}")).await, Err("42501".to_owned()));
        let delete = format!("DELETE FROM {view} RETURNING session_id");
        assert!(ada.ask(&delete).await.is_err(), "{view}");
    }

    // What has expired ends, and is not listed any more.
    let clean = "SELECT session.cleanup_expired_sessions() AS ended";
    assert_eq!(ada.ask(clean).await, Err("42501".to_owned()));
    assert_eq!(ask(pool, "service_role", None, clean).await, Ok(vec![json!({"ended": 1})]));
    let overdue = server.get("/v1/user-sessions/overdue", Some(&token)).await.expect(200);
    assert_eq!(overdue["status"], "timeout");
    assert!(!ada.rows(statuses).await.contains(&row("overdue", "EXPIRED", false)));
}

#[tokio::test]
async fn an_app_finds_the_sessions_of_a_user_by_an_index() {
    let database = TestDatabase::new().await;
    migrated(&database, &["session-service"]).await;
    let rows = "INSERT INTO user_sessions (user_id, session_id, platform)
                SELECT gen_random_uuid(), n::text, 'web' FROM generate_series(1, 5000) AS n; ANALYZE user_sessions";
    sqlx::raw_sql(rows).execute(&database.pool).await.expect("rows");
    let plan = "EXPLAIN SELECT * FROM session.active_sessions
                WHERE user_id = '6f1c2d3e-0000-4000-8000-000000000001' AND expires_at > now()";
    let plan = strings(&database.pool, plan).await.join("\n");
    assert!(plan.contains("user_sessions_of_user_as_text") && !plan.contains("Seq Scan"), "{plan}");
}

#[tokio::test]
async fn views_are_added_remembered_and_dropped() {
    let (database, plain) = (TestDatabase::new().await, TestDatabase::new().await);
    assert_eq!(migrated(&database, &[]).await, "the schema is up to date\n");
    migrated(&database, &["session-service"]).await;
    let both = "the schema is up to date, with the views of check-ins, session-service\n";
    assert_eq!(migrated(&database, &["check-ins"]).await, both, "beside those that are there");
    let with_views = everything(&database.pool).await;
    assert_eq!(migrated(&database, &[]).await, both, "remembered");
    assert_eq!(migrated(&database, &["check-ins,session-service"]).await, both, "nothing to do");
    assert_eq!(differences(&with_views, &everything(&database.pool).await), Vec::<String>::new());

    // A later version has another definition: it arrives without being asked for, and the old one is noticed.
    let files = Schema::embedded();
    let files = files.files().chain(files.files_on_request());
    let edited = files.map(|(name, sql)| (name.to_owned(), Cow::Owned(sql.replace("else 'ACTIVE'", "else 'ALIVE'"))));
    let edited = Schema::new(VERSION, edited);
    let stale = edited.check(&database.options).await.expect_err("it is not the same").to_string();
    assert!(stale.contains("compat/session-service.sql"), "{stale}");
    edited.migrate(&database.options).await.expect("migrated");
    edited.check(&database.options).await.expect("current");
    let definition = "SELECT pg_get_viewdef('session.active_sessions')";
    assert!(strings(&database.pool, definition).await[0].contains("'ALIVE'"));
    assert_eq!(migrated(&database, &[]).await, both);
    assert_eq!(differences(&with_views, &everything(&database.pool).await), Vec::<String>::new());

    // One that somebody dropped comes back.
    sqlx::raw_sql("DROP VIEW session.active_sessions").execute(&database.pool).await.expect("dropped");
    Schema::embedded().migrate(&database.options).await.expect("migrated");
    assert_eq!(differences(&with_views, &everything(&database.pool).await), Vec::<String>::new());

    // The other `sessions` in the place of this one, and nothing else is made anew.
    let oids = "SELECT oid::text || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1";
    let before = strings(&database.pool, oids).await;
    let swapped = migrated(&database, &["none", "sits"]).await;
    assert_eq!(swapped, "the schema is up to date, with the views of sits\n");
    assert_eq!(strings(&database.pool, oids).await, before, "no function was dropped");
    assert_eq!(migrated(&database, &["none"]).await, "the schema is up to date\n");
    assert_eq!(differences(&everything(&plain.pool).await, &everything(&database.pool).await), Vec::<String>::new());
}

#[tokio::test]
async fn schemas_with_something_else_in_them_stay() {
    let database = TestDatabase::new().await;
    sqlx::raw_sql("CREATE SCHEMA simulator").execute(&database.pool).await.expect("a schema of the app's");
    migrated(&database, &["session-service"]).await;
    sqlx::raw_sql("CREATE TABLE session.logins (id int)").execute(&database.pool).await.expect("a table of the app's");
    migrated(&database, &["none"]).await;
    let left = "SELECT nspname::text FROM pg_namespace WHERE nspname IN ('session', 'simulator') ORDER BY 1";
    assert_eq!(strings(&database.pool, left).await, ["session", "simulator"]);
}

#[tokio::test]
async fn names_that_are_taken_are_named_before_anything_is_made() {
    let tables = "CREATE TABLE public.sessions (id int);
                  CREATE SCHEMA session; CREATE TABLE session.active_sessions (id int);
                  CREATE FUNCTION session.cleanup_expired_sessions() RETURNS void LANGUAGE sql AS 'SELECT'";
    for database in [TestDatabase::empty().await, TestDatabase::new().await] {
        sqlx::raw_sql(tables).execute(&database.pool).await.expect("tables of the app's");
        for (views, taken) in [
            (&["check-ins"][..], "public.sessions"),
            (&["sits"], "public.sessions"),
            (
                &["sits", "session-service"],
                "public.sessions, session.active_sessions, session.cleanup_expired_sessions",
            ),
        ] {
            let line = refused(&database, views).await;
            let mut named: Vec<_> = taken.split(", ").collect();
            named.retain(|name| !line.contains(name));
            assert!(named.is_empty() && line.contains("bring-your-tables.md"), "{views:?}: {line}");
        }
    }
}

#[tokio::test]
async fn sessions_are_check_ins_or_sits() {
    let database = TestDatabase::new().await;
    let line = refused(&database, &["check-ins", "sits"]).await;
    assert!(line.contains("check-ins and sits are both the view public.sessions"), "{line}");
    migrated(&database, &["check-ins"]).await;
    let line = refused(&database, &["sits"]).await;
    assert!(line.contains("--compat none"), "{line}");
}

#[tokio::test]
async fn views_are_where_apps_ask_for_them_wherever_the_tables_are() {
    let database = TestDatabase::empty().await;
    let home: SchemaName = "presence".parse().expect("a name");
    let change = CompatChange { none: false, add: vec![Compat::CheckIns, Compat::SessionService] };
    let schema = Schema::embedded().within(&home);
    schema.migrate_with(&change, &database.options).await.expect("migrated");
    schema.check(&database.options).await.expect("current");
    let ada = User(&database.pool, Uuid::now_v7());
    ada.row("INSERT INTO public.sessions (user_id) VALUES ($me) RETURNING id").await;
    ada.row("UPDATE public.sessions SET status = 'inactive' RETURNING id").await;
    assert_eq!(strings(&database.pool, "SELECT status FROM presence.check_ins").await, ["inactive"]);
    ada.rows("SELECT * FROM session.session_metadata").await;
    ask(&database.pool, "service_role", None, "SELECT session.cleanup_expired_sessions()").await.expect("a count");
    schema.migrate_with(&CompatChange { none: true, add: Vec::new() }, &database.options).await.expect("migrated");
    let left = "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(strings(&database.pool, left).await, Vec::<String>::new());
}

#[tokio::test]
async fn uninstalling_takes_the_views_along() {
    let database = TestDatabase::empty().await;
    let before = everything(&database.pool).await;
    let change = CompatChange { none: false, add: vec![Compat::Sits, Compat::SessionService] };
    let schema = Schema::embedded();
    schema.migrate_with(&change, &database.options).await.expect("migrated");
    schema.uninstall(&database.options).await.expect("taken out");
    assert_eq!(differences(&before, &everything(&database.pool).await), Vec::<String>::new());
}
