//! What is wrong with a database is said by its name: at start in one line, later in the log.

use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::harness::cluster::TestDatabase;
use crate::harness::login::Login;
use crate::harness::process::{Process, lastseen, run};
use crate::harness::rest::user;
use crate::harness::server::SECRET;
use crate::harness::{TestServer, eventually};

const SERVE: [&str; 6] = ["serve", "--listen", "127.0.0.1:0", "--jwt-secret", SECRET, "--migrate=false"];

/// The line with which a server does not start on this database.
async fn refused_start(database: &TestDatabase) -> String {
    let finished = run(&[&SERVE[..], &["--database-url", &database.url()]].concat()).await;
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
    finished.complaint().to_owned()
}

#[tokio::test]
async fn a_login_that_inherits_nothing_is_enough_for_a_server_that_does_not_migrate() {
    let database = TestDatabase::new().await;
    let login = Login::member(&database).await;
    let server = TestServer::on(login.of(&database), &["--migrate=false"]).await;
    let session = server.open().await;
    server.guest(&session, "Ada").await.close().await;
    server.stop().await;
    login.end().await;
}

#[tokio::test]
async fn why_a_server_does_not_start_is_said_in_the_words_of_the_database() {
    let database = TestDatabase::new().await;
    let login = Login::member(&database).await;
    login.run("REVOKE lastseen_service FROM $").await;
    let line = refused_start(&login.of(&database)).await;
    assert!(line.contains("permission denied to set role \"lastseen_service\": GRANT lastseen_service TO"), "{line}");

    login.run("GRANT lastseen_service TO $; ALTER ROLE $ CONNECTION LIMIT 0").await;
    let line = refused_start(&login.of(&database)).await;
    assert!(line.contains(&format!("too many connections for role \"{}\"", login.name)), "{line}");
    assert!(!line.contains("at line"), "{line}");

    login.run("ALTER ROLE $ CONNECTION LIMIT -1 NOLOGIN").await;
    let line = refused_start(&login.of(&database)).await;
    assert!(line.contains("is not permitted to log in"), "{line}");

    login.run("ALTER ROLE $ LOGIN; ALTER ROLE $ SET default_transaction_read_only = on").await;
    let line = refused_start(&login.of(&database)).await;
    assert_eq!(line, "the database is read-only: default_transaction_read_only is on");
    login.end().await;
}

#[tokio::test]
async fn an_address_that_cannot_be_used_is_named_for_what_it_is() {
    for (url, said) in [
        ("postgres://ada:topsecret@db/books?sslmode=foo", "sslmode=foo"),
        ("postgres://ada:topsecret@db1:5432,db2:5432/books", "more than one host"),
    ] {
        let finished = run(&[&SERVE[..], &["--database-url", url]].concat()).await;
        let line = finished.complaint();
        assert!(line.contains(said) && !line.contains("topsecret"), "{line}");
    }
    let direct = ["--database-url", "postgres://db/books", "--database-direct-url", "postgres://db1,db2/books"];
    let finished = run(&[&SERVE[..], &direct].concat()).await;
    assert!(finished.complaint().starts_with("DATABASE_DIRECT_URL names more than one host"), "{}", finished.stderr);
}

#[tokio::test]
async fn why_there_is_no_connection_stands_in_the_log() {
    for (fault, said) in [
        ("REVOKE lastseen_service FROM $", "permission denied to set role"),
        ("ALTER ROLE $ CONNECTION LIMIT 0", "too many connections for role"),
        ("ALTER ROLE $ NOLOGIN", "is not permitted to log in"),
    ] {
        let database = TestDatabase::new().await;
        let login = Login::member(&database).await;
        let url = login.of(&database).url();
        let arguments = [&SERVE[..], &["--database-url", &url]].concat();
        let server = Process::start(lastseen(&arguments)).await;
        server.rest.open().await;
        login.run(fault).await;
        login.cut().await;
        // Connections that the server has found to be gone are opened anew, in vain.
        for _ in 0..6 {
            let refused = server.rest.call_once(Method::POST, "/v1/reading-sessions", None, json!({})).await;
            refused.refused(503, "unavailable");
        }
        login.run("GRANT lastseen_service TO $; ALTER ROLE $ CONNECTION LIMIT -1 LOGIN").await;
        eventually("that all is well again", async || {
            let opened = server.rest.call_once(Method::POST, "/v1/reading-sessions", None, json!({})).await;
            (opened.status == 201).then_some(())
        })
        .await;
        server.signal(Signal::SIGTERM);
        let log = server.finished().await.stderr;
        let about = log.lines().find(|line| line.contains("refused a request") && line.contains(said));
        assert!(about.is_some(), "{said}: {log}");
        login.end().await;
    }
}

#[tokio::test]
async fn settings_of_the_login_change_nothing_of_what_users_see() {
    let database = TestDatabase::new().await;
    let login = Login::member(&database).await;
    let (ada, eve) = (Uuid::now_v7(), Uuid::now_v7());
    for setting in [
        "search_path = pg_catalog".to_owned(),
        "row_security = off".to_owned(),
        format!("request.jwt.claim.sub = '{eve}'"),
        format!("request.jwt.claims = '{{\"sub\": \"{eve}\", \"role\": \"service_role\"}}'"),
        "request.jwt.claim.role = 'service_role'".to_owned(),
    ] {
        login.run(&format!("ALTER ROLE $ SET {setting}")).await;
    }
    let server = TestServer::on(login.of(&database), &["--migrate=false"]).await;
    let token = user(ada, "Ada");
    let device = json!({"session_id": "phone", "platform": "web"});
    server.post("/v1/user-sessions", Some(&token), device).await.expect(201);
    for (token, count) in [(token, 1), (user(eve, "Eve"), 0)] {
        let found = server.get("/v1/user-sessions", Some(&token)).await.expect(200);
        assert_eq!(found["items"].as_array().map(Vec::len), Some(count), "{found}");
    }
    server.stop().await;
    login.end().await;
}

#[tokio::test]
async fn what_postgresql_hints_at_is_printed_and_no_line_of_its_sources() {
    let database = TestDatabase::new().await;
    let url = database.url();
    let process = Process::start(lastseen(&[&SERVE[..], &["--database-url", &url]].concat())).await;
    let session = process.rest.open().await;
    sqlx::raw_sql("DROP FUNCTION lastseen.inspect_invite").execute(&database.pool).await.expect("dropped");
    process.rest.get(&format!("/v1/invites/{}", session.invite), None).await.refused(500, "internal");
    process.signal(Signal::SIGTERM);
    let log = process.finished().await.stderr;
    let line = log.lines().find(|line| line.contains("failed a request")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("No function matches the given name and argument types"), "{line}");
    assert!(!line.contains("at line") && !line.contains("parse_func.c"), "{line}");
}
