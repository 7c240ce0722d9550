//! Lists of user sessions: with any filter the same as all of them filtered, and read by an index however many there
//! are.

use reqwest::Method;
use serde_json::Value;
use sqlx::{ConnectOptions, Connection, PgPool};

use crate::harness::cluster::TestDatabase;
use crate::harness::rest::service;
use crate::harness::{TestServer, eventually, quiet};

const PLATFORMS: [&str; 5] = ["web", "ios-external", "ios-internal", "ios-widget", "macos-internal"];
const STATUSES: [&str; 5] = ["active", "idle", "reconnecting", "ended", "timeout"];

/// So many sessions, three at a time. Of `$2` of them four are active, three idle, two past their end without a sweep,
/// and the others have ended in one way or the other; nobody is reconnecting.
const FILL: &str = "
    INSERT INTO user_sessions (user_id, session_id, platform, started_at, last_heartbeat_at, expires_at, status,
        ended_at, end_reason, total_duration_seconds)
    SELECT md5((n % 7)::text)::uuid, 'many-' || n,
           (ARRAY['web', 'ios-external', 'ios-internal', 'ios-widget', 'macos-internal'])[1 + abs(hashtext('p' || n)) % 5],
           now() - interval '1 minute' * (n / 3), now() - interval '1 second',
           CASE WHEN die IN (1, 5) THEN now() - interval '1 second' ELSE now() + interval '1 hour' END,
           CASE WHEN die < 4 THEN 'active' WHEN die < 7 THEN 'idle' WHEN die % 2 = 0 THEN 'ended' ELSE 'timeout' END,
           CASE WHEN die >= 7 THEN now() END, CASE WHEN die >= 7 THEN CASE die % 2 WHEN 0 THEN 'logout' ELSE 'timeout' END END,
           CASE WHEN die >= 7 THEN 60 END
    FROM generate_series(1, $1) AS n, LATERAL (SELECT abs(hashtext('s' || n)) % $2) AS dice (die)";

async fn fill(pool: &PgPool, sessions: i32, dice: i32) {
    let mut connection = pool.acquire().await.expect("a connection");
    sqlx::query(FILL).bind(sessions).bind(dice).execute(&mut *connection).await.expect("sessions");
    sqlx::query("ANALYZE user_sessions").execute(&mut *connection).await.expect("statistics");
}

/// A page, asked for until the server has the capacity, which a busy machine may not give it at once; and how often it
/// was asked for.
async fn page(server: &TestServer, path: &str) -> (Value, i64) {
    let mut asked = 0;
    let answer = eventually("a page", async || {
        asked += 1;
        let answer = server.call_once(Method::GET, path, Some(&service()), Value::Null).await;
        Some(answer).filter(|answer| answer.status != 503)
    })
    .await;
    (answer.expect(200), asked)
}

/// All pages of a list.
async fn list(server: &TestServer, query: &str) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/user-sessions?{query}{cursor}");
        let (page, _) = page(server, &path).await;
        items.extend(page["items"].as_array().expect("a list").iter().cloned());
        let Some(next) = page["next_cursor"].as_str() else { return items };
        cursor = format!("&cursor={next}");
    }
}

/// Every pair of a platform or none and a status or none.
fn filters() -> impl Iterator<Item = (Option<&'static str>, Option<&'static str>)> {
    let with_none = |words: [&'static str; 5]| std::iter::once(None).chain(words.into_iter().map(Some));
    with_none(PLATFORMS).flat_map(move |platform| with_none(STATUSES).map(move |status| (platform, status)))
}

fn query(platform: Option<&str>, status: Option<&str>, limit: u32) -> String {
    let of = |key: &str, word: Option<&str>| word.map(|word| format!("&{key}={word}")).unwrap_or_default();
    format!("limit={limit}{}{}", of("platform", platform), of("status", status))
}

#[tokio::test]
async fn every_filter_gives_what_is_in_the_whole_list_in_its_order() {
    let server = TestServer::start(&quiet(&["--sweep-interval", "1h"])).await;
    fill(&server.database.pool, 250, 12).await;
    let all = list(&server, "limit=200").await;
    assert_eq!(all.len(), 250);
    let starts: Vec<_> = all.iter().map(|session| session["started_at"].as_str().expect("a time")).collect();
    assert!(starts.is_sorted_by(|earlier, later| earlier >= later), "newest first");
    let mut not_empty = 0;
    for (platform, status) in filters() {
        let fits = |session: &&Value| {
            platform.is_none_or(|word| session["platform"] == word)
                && status.is_none_or(|word| session["status"] == word)
        };
        let ids =
            |sessions: &mut dyn Iterator<Item = &Value>| sessions.map(|one| one["id"].clone()).collect::<Vec<_>>();
        let wanted = ids(&mut all.iter().filter(fits));
        let found = list(&server, &query(platform, status, 7)).await;
        assert_eq!(ids(&mut found.iter()), wanted, "{platform:?} {status:?}");
        not_empty += usize::from(!wanted.is_empty());
    }
    assert_eq!(not_empty, 30, "all but those of status reconnecting");
}

/// How often the table was read from end to end, and how many of its rows were read by an index.
async fn reads(database: &TestDatabase) -> (i64, i64) {
    let mut connection = database.options.connect().await.expect("a connection");
    // A connection counts at its end, before it leaves this list.
    eventually("the end of all other connections", async || {
        let others =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let count: i64 = sqlx::query_scalar(others).fetch_one(&mut connection).await.expect("a count");
        (count == 0).then_some(())
    })
    .await;
    let counters =
        sqlx::query_as("SELECT seq_scan, idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'user_sessions'")
            .fetch_one(&mut connection)
            .await
            .expect("counters");
    connection.close().await.expect("closed");
    counters
}

#[tokio::test]
async fn a_page_is_read_by_an_index_and_no_more_rows_than_it_may_need() {
    let database = TestDatabase::new().await;
    let sessions = 20_000;
    fill(&database.pool, sessions, 400).await;
    database.pool.close().await;
    let flags = quiet(&["--sweep-interval", "1h", "--flush-interval", "1h"]);
    let server = TestServer::on(database, &flags).await;
    let database = server.stop().await;
    let (scans, rows) = reads(&database).await;

    let server = TestServer::on(database, &flags).await;
    let mut pages = 0;
    for (platform, status) in filters() {
        let mut path = format!("/v1/user-sessions?{}", query(platform, status, 50));
        for _ in 0..3 {
            let (page, asked) = page(&server, &path).await;
            pages += asked;
            let Some(next) = page["next_cursor"].as_str() else { break };
            path = format!("/v1/user-sessions?{}&cursor={next}", query(platform, status, 50));
        }
    }
    let database = server.stop().await;
    let (scans_then, rows_then) = reads(&database).await;
    assert_eq!(scans_then - scans, 0, "the table was read from end to end");
    let each = (rows_then - rows) / pages;
    assert!(each < 1_000, "a page of 50 out of {sessions} read {each} rows");
}
