//! Row-level security proven, not assumed: one user's token on another's things, over every call that
//! the document names and every table that there is.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool, Row};

use crate::harness::document::{Document, Operation};
use crate::harness::rest::{Answer, service};
use crate::harness::things::Things;
use crate::harness::{TestServer, quiet};

/// Calls whose credential is in the path: they need no other.
const BY_TOKEN: [&str; 1] = ["/v1/invites/{token}"];

/// Nothing is written but what is called for.
fn still() -> Vec<&'static str> {
    quiet(&["--flush-interval", "20m", "--sweep-interval", "20m"])
}

/// The tables and views of the schema.
async fn relations(pool: &PgPool, kind: &str) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind::text = $1
           AND relname NOT LIKE '\\_sqlx%' ORDER BY 1",
    )
    .bind(kind)
    .fetch_all(pool)
    .await
    .expect("relations")
}

/// All rows that hold one of these marks, by table.
async fn rows(pool: &PgPool, marks: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    for table in relations(pool, "r").await {
        let query = format!("SELECT t::text FROM {table} AS t WHERE t::text ~ $1 ORDER BY 1");
        let rows = sqlx::query_scalar(AssertSqlSafe(query)).bind(marks.join("|")).fetch_all(pool).await;
        found.insert(table, rows.expect("rows"));
    }
    found
}

#[track_caller]
fn tells_nothing(operation: &Operation<'_>, answer: &Answer, marks: &[String]) {
    let told = answer.body.to_string();
    for mark in marks {
        assert!(!told.contains(mark), "{} tells of {mark}: {told}", operation.name());
    }
}

/// Queries with the id of a thing of another user.
fn queries(operation: &Operation<'_>, of: &Things) -> Vec<String> {
    let named = operation.said["parameters"].as_array().into_iter().flatten();
    let named = named.filter(|parameter| parameter["in"] == "query").filter_map(|parameter| parameter["name"].as_str());
    let asked = named.filter_map(|name| match name {
        "user_id" => Some(format!("?user_id={}", of.user)),
        "partnership_id" => Some(format!("?partnership_id={}", of.partnership)),
        other => {
            assert!(!other.ends_with("_id"), "{}: say here whose {other} is asked for", operation.name());
            None
        }
    });
    std::iter::once(String::new()).chain(asked).collect()
}

#[tokio::test]
async fn no_call_reads_or_changes_what_is_anothers() {
    let server = TestServer::start(&still()).await;
    let document = Document::of(&server).await;
    let (ann, bea) = (Things::of(&server, "Ann").await, Things::of(&server, "Bea").await);
    // Where nothing is found by an id, there might be nothing.
    let before = rows(&server.database.pool, &bea.marks()).await;
    for (table, rows) in &before {
        assert!(!rows.is_empty(), "Bea has nothing in {table}: add it to harness/things.rs");
    }
    let marks = bea.marks();
    let mut wrong = Vec::new();
    for operation in document.operations() {
        let (path, body) = (bea.path(operation.path), bea.body(operation.body(&document)));
        let names_bea = path != operation.path || body.to_string().contains(&bea.partnership.to_string());
        for query in queries(&operation, &bea) {
            let answer =
                server.call(operation.method.clone(), &format!("{path}{query}"), Some(&ann.token), body.clone()).await;
            if BY_TOKEN.contains(&operation.path) {
                continue;
            }
            tells_nothing(&operation, &answer, &marks);
            let only_for_the_service = answer.status == 403 && ann_may_not(&server, &ann, &operation, &document).await;
            // A server without a launcher refuses before it looks for the session.
            let told_before = only_for_the_service || answer.body["code"] == "simulators_not_configured";
            if names_bea && !operation.is_connection() && answer.status != 404 && !told_before {
                wrong.push(format!("{} {query}: {} {}", operation.name(), answer.status, answer.body));
            }
        }
        if operation.is_closed() {
            let answer = server.call(operation.method.clone(), &path, None, body.clone()).await;
            tells_nothing(&operation, &answer, &marks);
            answer.refused(401, "unauthenticated");
        }
        let now = rows(&server.database.pool, &marks).await;
        assert_eq!(now, before, "{} changed something of Bea's", operation.name());
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whether the call is for the service alone: then it is closed to Ann with her own things as well.
async fn ann_may_not(server: &TestServer, ann: &Things, operation: &Operation<'_>, document: &Document) -> bool {
    let body = ann.body(operation.body(document));
    let own = server.call(operation.method.clone(), &ann.path(operation.path), Some(&ann.token), body).await;
    own.status == 403
}

#[tokio::test]
async fn a_stranger_is_not_let_into_the_room_nor_its_events() {
    let server = TestServer::start(&still()).await;
    let (ann, bea) = (Things::of(&server, "Ann").await, Things::of(&server, "Bea").await);
    let join = crate::harness::Join::token(&ann.token);
    server.handshake(&bea.session.id.to_string(), &join).await.refused(403, "forbidden");
    let events = format!("/v1/reading-sessions/{}/events", bea.session.id);
    server.get(&events, Some(&ann.token)).await.refused(404, "session_not_found");
    server.get(&events, None).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn the_service_sees_all() {
    let server = TestServer::start(&still()).await;
    let document = Document::of(&server).await;
    let things = [Things::of(&server, "Ann").await, Things::of(&server, "Bea").await];
    let mut lists = 0;
    for operation in document.operations() {
        if operation.method != Method::GET || operation.is_connection() {
            continue;
        }
        for one in &things {
            let path = one.path(operation.path);
            let answer = server.get(&format!("{path}{}", one.query(&operation)), Some(&service())).await;
            let told = answer.body.to_string();
            assert_eq!(answer.status, 200, "{}: {told}", operation.name());
            // A list of things, and not of counts, holds those of all users.
            if answer.body["items"][0]["id"].is_string() && path == operation.path {
                assert!(one.marks().iter().any(|mark| told.contains(mark)), "{}: {told}", operation.name());
                lists += 1;
            }
        }
    }
    assert!(lists >= 8, "lists were read: {lists}");
}

#[tokio::test]
async fn no_sql_of_a_user_reads_or_changes_what_is_anothers() {
    let server = TestServer::start(&still()).await;
    let (ann, bea) = (Things::of(&server, "Ann").await, Things::of(&server, "Bea").await);
    let pool = &server.database.pool;
    let before = rows(pool, &bea.marks()).await;
    let mut relations_seen = relations(pool, "r").await;
    relations_seen.extend(relations(pool, "v").await);
    for relation in &relations_seen {
        // Only what users may read at all: hashes of tokens and the like are no column of theirs.
        let all: Vec<(String, bool)> = sqlx::query_as(
            "SELECT attname::text, has_column_privilege('authenticated', attrelid, attnum, 'select')
             FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        )
        .bind(relation)
        .fetch_all(pool)
        .await
        .expect("columns");
        let columns: Vec<_> = all.iter().filter(|(_, open)| *open).map(|(name, _)| name.clone()).collect();
        for (who, sees) in [("authenticated", !columns.is_empty()), ("anon", false)] {
            let mut transaction = pool.begin().await.expect("a transaction");
            let claims = json!({"sub": ann.user, "role": who}).to_string();
            sqlx::query("SELECT set_config('role', $1, true), set_config('request.jwt.claims', $2, true)")
                .bind(who)
                .bind(if who == "anon" { String::new() } else { claims })
                .execute(&mut *transaction)
                .await
                .expect("a role");
            let read = format!("SELECT ({})::text FROM {relation} AS t", if sees { row(&columns) } else { "t".into() });
            for (what, statement) in [
                ("read", read),
                ("delete", format!("DELETE FROM {relation}")),
                ("update", update(&all[0].0, &columns, relation)),
            ] {
                sqlx::raw_sql("SAVEPOINT here").execute(&mut *transaction).await.expect("a savepoint");
                match sqlx::query(AssertSqlSafe(statement.as_str())).fetch_all(&mut *transaction).await {
                    Ok(rows) => {
                        assert!(who != "anon", "anonymous may {what} {relation}");
                        for row in rows {
                            let told: String = row.get(0);
                            assert!(bea.marks().iter().all(|mark| !told.contains(mark)), "{what} {relation}: {told}");
                        }
                    }
                    Err(error) => {
                        let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
                        assert!(["42501", "55000"].contains(&&*code), "{statement}: {error}");
                    }
                }
                sqlx::raw_sql("ROLLBACK TO here").execute(&mut *transaction).await.expect("back");
            }
            transaction.commit().await.expect("the end");
        }
    }
    assert_eq!(rows(pool, &bea.marks()).await, before);
}

/// A row of these columns.
fn row(columns: &[String]) -> String {
    let named: Vec<_> = columns.iter().map(|column| format!("t.{column}")).collect();
    format!("ROW({})", named.join(", "))
}

/// A change of any row that a user may change, which returns the changed rows.
fn update(first: &str, columns: &[String], relation: &str) -> String {
    let column = ["status", "name", "title"].into_iter().find(|name| columns.iter().any(|column| column == name));
    let column = column.unwrap_or(first);
    let returned = if columns.is_empty() { "1::text".to_owned() } else { format!("{}::text", row(columns)) };
    format!("UPDATE {relation} AS t SET {column} = t.{column} RETURNING {returned}")
}
