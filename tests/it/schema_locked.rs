//! A migration while another transaction holds a table.

use std::time::Duration;

use sqlx::{ConnectOptions, Connection};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use crate::harness::PATIENCE;
use crate::harness::cluster::TestDatabase;
use crate::harness::process::lastseen;

#[tokio::test]
async fn a_migration_says_whose_lock_it_waits_for_and_goes_on_when_that_is_gone() {
    let database = TestDatabase::new().await;
    let options = database.options.clone().application_name("a report");
    let mut holder = options.connect().await.expect("a connection");
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut holder).await.expect("its process");
    let mut transaction = holder.begin().await.expect("a transaction");
    sqlx::query("LOCK TABLE sits IN ACCESS SHARE MODE").execute(&mut *transaction).await.expect("locked");

    let mut command = lastseen(&["migrate", "--redefine", "--database-url", &database.url()]);
    let mut migration = command.spawn().expect("it starts");
    let mut log = BufReader::new(migration.stderr.take().expect("its log")).lines();
    let waits = async {
        loop {
            let line = log.next_line().await.expect("its log").expect("it goes on");
            if line.contains("the migration waits") {
                return line;
            }
        }
    };
    let line = timeout(PATIENCE, waits).await.expect("it says what it waits for");
    for word in ["sits", &pid.to_string(), "a report"] {
        assert!(line.contains(word), "{word}: {line}");
    }
    // Behind a statement that waits for the whole table everybody would wait: it leaves the queue again and again.
    let others = sqlx::query("SELECT FROM sits").execute(&database.pool);
    timeout(PATIENCE, others).await.expect("others are not held up for ever").expect("an answer");

    transaction.rollback().await.expect("given back");
    let rest = tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
    let status = timeout(PATIENCE, migration.wait()).await.expect("it ends").expect("its status");
    assert!(status.success());
    timeout(Duration::from_secs(60), rest).await.expect("the log ends").expect("it was read");
}
