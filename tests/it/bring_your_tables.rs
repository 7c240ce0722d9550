//! The statements of docs/how-to/bring-your-tables.md, as they stand there, against tables as the page describes them,
//! filled with rows as years leave them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use lastseen::store::schema;
use serde_json::{Value, json};
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Postgres};
use uuid::uuid;

use crate::harness::TestServer;
use crate::harness::cluster::TestDatabase;
use crate::harness::rest::{service, user};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The user of some rows.
const ADA: uuid::Uuid = uuid!("6f1c2d3e-0000-4000-8000-000000000001");

/// So long that nothing of the rows is deleted.
const KEPT: &str = "reading-sessions=36500d,user-sessions=36500d,check-ins=36500d,sits=36500d";

/// The blocks of SQL of the page, by the heading that they stand under.
fn page() -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(Path::new(ROOT).join("docs/how-to/bring-your-tables.md")).expect("the page");
    let sections = text.split("\n## ").skip(1).map(|section| {
        let (heading, body) = section.split_once('\n').expect("a heading");
        let blocks =
            body.split("\n```sql\n").skip(1).map(|block| block.split("\n```").next().unwrap_or(block).to_owned());
        (heading.to_owned(), blocks.collect())
    });
    sections.collect()
}

/// A database that had these tables, with their rows brought as a section of the page says.
struct Brought {
    database: TestDatabase,
    connection: PoolConnection<Postgres>,
    /// What the section has behind the count.
    more: Vec<String>,
}

impl Brought {
    async fn by(section: &str, tables: &str) -> Self {
        let mut page = page();
        let [aside, role] = page["Before you begin"].clone().try_into().expect("two blocks");
        let mut steps = page.remove(section).expect("the section").into_iter();
        let mut step = || steps.next().expect("a step");
        let (moves, brings, counts) = (step(), step(), step());

        let database = TestDatabase::empty().await;
        let tables = fs::read_to_string(Path::new(ROOT).join("tests/fixtures/before").join(tables)).expect("tables");
        let mut connection = database.pool.acquire().await.expect("a connection");
        run(&mut connection, "SET timezone = 'UTC'").await;
        for statements in [&tables, &aside, &moves] {
            run(&mut connection, statements).await;
        }
        schema::migrate(&database.options).await.expect("nothing is in the way any more");
        // Again, since an interrupted one is run again.
        for statements in [&role, &brings, &brings] {
            run(&mut connection, statements).await;
        }
        let (before, after): (i64, i64) =
            sqlx::query_as(AssertSqlSafe(counts)).fetch_one(&mut *connection).await.expect("two counts");
        assert_eq!(before, after, "{section}");
        assert!(before > 80, "{section}: {before} rows");
        Self { database, connection, more: steps.collect() }
    }

    /// What this says of rows, in their order.
    async fn strings(&mut self, query: &'static str) -> Vec<String> {
        sqlx::query_scalar(query)
            .fetch_all(&mut *self.connection)
            .await
            .unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    /// A server on it, which has swept and can read every row.
    async fn served(self, list: &str) -> TestServer {
        drop(self.connection);
        let server = TestServer::on(self.database, &["--retention", KEPT]).await;
        assert_eq!(server.sweep().await["failed"], json!([]));
        let (mut cursor, mut rows) = (String::new(), 0);
        loop {
            let page = server.get(&format!("{list}limit=200{cursor}"), Some(&service())).await.expect(200);
            rows += page["items"].as_array().expect("a list").len();
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert!(rows > 60, "{rows} rows in {list}");
        server
    }
}

async fn run(connection: &mut PoolConnection<Postgres>, statements: &str) {
    let outcome = sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut **connection).await;
    outcome.unwrap_or_else(|error| panic!("{error}\n{statements}"));
}

#[tokio::test]
async fn check_ins_are_brought() {
    let mut brought = Brought::by("Check-ins", "check-ins.sql").await;
    let running = "SELECT count(*)::text FROM public.active_check_ins";
    assert_eq!(brought.strings(running).await, ["1"]);
    let odd = "SELECT concat_ws(' ', status, checked_out_at AT TIME ZONE 'UTC') FROM public.check_ins
               WHERE expires_at < '2019-04-01' ORDER BY expires_at, status, checked_out_at";
    assert_eq!(
        brought.strings(odd).await,
        [
            "active",
            "inactive 2018-03-01 01:00:00",
            "inactive 2018-03-01 01:00:00",
            "inactive 2018-03-02 02:00:00",
            "inactive 2019-03-01 01:00:00",
            "inactive 2019-03-02 10:05:00",
        ]
    );
    drop(brought.connection);
    let server = TestServer::on(brought.database, &["--retention", KEPT]).await;
    assert_eq!(server.sweep().await["failed"], json!([]));
    let stats = server.get("/v1/check-ins/stats", Some(&service())).await.expect(200);
    assert_eq!((&stats["active"], &stats["total"]), (&json!(1), &json!(108)));
}

#[tokio::test]
async fn user_sessions_are_brought() {
    let mut brought = Brought::by("User sessions", "user-sessions.sql").await;
    let odd =
        "SELECT concat_ws(' ', left(session_id, 9), platform, status, end_reason, total_duration_seconds, ip_address)
               FROM public.user_sessions WHERE session_id !~ '^old|^[0-9a-f]{8}-' ORDER BY session_id";
    assert_eq!(
        brought.strings(odd).await,
        [
            "alive ios-external active 2001:db8:1::/48",
            "android web ended manual 3600",
            "forgotten web active",
            "half macos-internal ended manual 3600 203.0.113.0/24",
            "idle web idle",
            "iphone ios-external ended manual 0",
            "silent ios-widget timeout timeout 7200",
            "twice web ended crash 0",
        ]
    );
    let words = "SELECT metadata::text FROM public.user_sessions
                 WHERE metadata <> '{}' AND length(metadata::text) < 200 ORDER BY session_id ~ '^[0-9a-f]{8}-', session_id";
    assert_eq!(
        brought.strings(words).await,
        [
            r#"{"status_before": "terminated", "platform_before": "android", "end_reason_before": "killed"}"#,
            r#"{"platform_before": "iPhone", "end_reason_before": "expired"}"#,
            r#"{"session_id_before": "twice"}"#,
        ]
    );
    let server = brought.served("/v1/user-sessions?").await;
    // What nobody ended the sweep has ended, as of its last heartbeat; the app goes on in what is alive.
    let forgotten = server.get("/v1/user-sessions/forgotten", Some(&service())).await.expect(200);
    assert_eq!((&forgotten["status"], &forgotten["total_duration_seconds"]), (&json!("timeout"), &json!(3600)));
    let token = user(ADA, "Ada");
    let alive = server.post("/v1/user-sessions/alive/heartbeat", Some(&token), Value::Null).await.expect(200);
    assert_eq!((&alive["status"], &alive["device_info"]["model"]), (&json!("active"), &json!("iPhone")));
}

#[tokio::test]
async fn a_session_service_is_brought() {
    let mut brought = Brought::by("A session service", "session-service.sql").await;
    let odd = "SELECT concat_ws(' ', session_id, status, end_reason, total_duration_seconds, ip_address,
                   extract(epoch from last_ws_connection), metadata)
               FROM public.user_sessions WHERE length(session_id) < 20 ORDER BY session_id";
    assert_eq!(
        brought.strings(odd).await,
        [
            r#"alive active 203.0.113.0/24 1577836800.250000 {"device_id": "d1", "subscriptions": {"AAPL": 1}}"#,
            "broken ended crash 3600 203.0.113.0/24 {}",
            r#"coming reconnecting {"theme": "dark"}"#,
            "forgotten timeout timeout 3600 203.0.113.0/24 {}",
            "gone ended manual 3600 {}",
            "odd ended manual 0 2001:db8:1::/48 {}",
        ]
    );
    let secrets = "SELECT u::text FROM public.user_sessions AS u WHERE u::text LIKE '%secret%'";
    assert_eq!(brought.strings(secrets).await, Vec::<String>::new());
    let server = brought.served("/v1/user-sessions?").await;
    server.post("/v1/user-sessions/alive/heartbeat", Some(&user(ADA, "Ada")), Value::Null).await.expect(200);
}

#[tokio::test]
async fn sits_are_brought() {
    let mut brought = Brought::by("Sits", "sits.sql").await;
    let odd = "SELECT concat_ws(' ', right(id::text, 1), sit_length_seconds, status, completed_at - started_at)
               FROM public.sits WHERE id::text LIKE '00000000-%' ORDER BY id";
    assert_eq!(
        brought.strings(odd).await,
        [
            "1 1800 open",
            "2 1800 abandoned",
            "3 600 completed 00:10:00",
            "4 600 completed 00:05:00",
            "5 600 completed 00:10:00",
            "6 600 completed 00:10:00",
            "7 1 open",
        ]
    );
    let partnerships = "SELECT right(id::text, 2) || ' ' || cardinality(user_ids) FROM public.partnerships ORDER BY id";
    assert_eq!(brought.strings(partnerships).await, ["aa 2"], "those in which somebody sat");
    for statements in std::mem::take(&mut brought.more) {
        run(&mut brought.connection, &statements).await;
    }
    assert_eq!(brought.strings(partnerships).await, ["aa 2", "bb 1"]);
    let server = brought.served("/v1/sits?").await;
    let together = "00000000-0000-4000-8000-0000000000aa";
    let weeks =
        server.get(&format!("/v1/sits/weeks?partnership_id={together}"), Some(&user(ADA, "Ada"))).await.expect(200);
    assert_eq!(weeks["items"][0]["seconds"], 1200);
}

#[tokio::test]
async fn reading_sessions_are_brought() {
    let mut brought = Brought::by("Reading sessions with participants", "reading-sessions.sql").await;
    let odd = "SELECT concat_ws(' ', right(id::text, 1), length(title), is_active, max_participants, close_reason)
               FROM public.reading_sessions WHERE id::text LIKE '00000000-%' ORDER BY id";
    assert_eq!(brought.strings(odd).await, ["1 t 1", "2 200 f 100000 idle", "3 f 100 idle"]);
    let people =
        "SELECT concat_ws(' ', length(name), role, user_id IS NOT NULL, leave_reason) FROM public.session_participants
                  WHERE session_id::text LIKE '00000000-%' ORDER BY length(name) DESC, name";
    assert_eq!(brought.strings(people).await, ["80 participant t timeout", "5 guest f timeout", "3 guest f timeout"]);
    let server = brought.served("/v1/reading-sessions?active=false&").await;
    // Those of long ago the sweep has closed; in the one that people were just in, they are who they were.
    let open = server.get("/v1/reading-sessions?active=true", Some(&service())).await.expect(200);
    assert_eq!(open["items"].as_array().map(Vec::len), Some(1));
    let bob = user(uuid!("6f1c2d3e-0000-4000-8000-000000000002"), "Bob");
    server.get("/v1/reading-sessions/00000000-0000-4000-8000-000000000001", Some(&bob)).await.expect(200);
}
