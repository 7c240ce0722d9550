//! Names and titles: something of them can be seen, and they turn no other text, whichever way they come.

use std::collections::BTreeSet;

use lastseen::protocol::name::is_visible;
use serde_json::json;
use uuid::Uuid;

use crate::harness::rest::{service, user};
use crate::harness::rows::write_as;
use crate::harness::{Client, Join, TestServer, quiet};

/// Names of which nothing can be seen.
const INVISIBLE: [&str; 6] = ["\u{200b}", "\u{3164}", "\u{2800}", "\u{ad}\u{2060}", "\u{202e}", "\u{2066} \u{2069}"];

#[tokio::test]
async fn of_a_name_something_can_be_seen_however_it_comes() {
    let server = TestServer::start(&quiet(&[])).await;
    let session = server.open().await;
    for name in INVISIBLE {
        let refused = server.handshake(&session.id.to_string(), &Join::invite(&session.invite, name)).await;
        let detail = refused.refused(422, "invalid_request");
        assert!(detail.starts_with("name: "), "{name:?}: {detail}");
        let body = json!({"title": name});
        server.post("/v1/reading-sessions", None, body.clone()).await.refused(422, "invalid_request");
        let path = format!("/v1/reading-sessions/{}", session.id);
        server.patch(&path, Some(&service()), body).await.refused(422, "invalid_request");
        // That of a token counts as none.
        let token = user(Uuid::now_v7(), name);
        assert_eq!(server.post("/v1/check-ins", Some(&token), json!(null)).await.made()["name"], json!(null));
    }
}

#[tokio::test]
async fn a_name_is_shown_without_what_turns_the_text_around_it() {
    let server = TestServer::start(&quiet(&[])).await;
    let session = server.open_as(None, json!({"title": "\u{2067}Emma\u{2069}"})).await;
    assert_eq!(session.body["title"], "Emma");
    let ada = server.guest(&session, "\u{202e}adA").await;
    assert_eq!(ada.view[&ada.id()]["name"], "adA");
    // Marks belong to the name.
    let shalom = Client::join(server.address(), session.id, &Join::invite(&session.invite, "\u{200f}שלום")).await;
    assert_eq!(shalom.view[&shalom.id()]["name"], "\u{200f}שלום");
}

#[tokio::test]
async fn in_sql_the_rule_is_the_same() {
    let server = TestServer::start(&quiet(&["--sweep-interval", "1h"])).await;
    let (ada, pool) = (Uuid::now_v7(), &server.database.pool);
    let insert = |name: &str| {
        format!(
            "INSERT INTO check_ins (user_id, name, expires_at) VALUES (auth.uid(), '{name}', now() + interval '1 hour')"
        )
    };
    for name in INVISIBLE.into_iter().chain(["a\u{7}b"]) {
        assert_eq!(write_as(pool, ada, &insert(name)).await, Err("23514".to_owned()), "{name:?}");
    }
    assert_eq!(write_as(pool, ada, &insert("\u{2068} Ada\u{2069}\u{3000}")).await, Ok(1));
    let update = |name: &str| format!("UPDATE check_ins SET name = '{name}'");
    assert_eq!(write_as(pool, ada, &update("\u{200b}")).await, Err("23514".to_owned()));
    let name = "SELECT name FROM check_ins WHERE user_id = $1";
    assert_eq!(server.sql::<String>(name, ada).await, "Ada");
    assert_eq!(write_as(pool, ada, &update("\u{202e}Ada L.")).await, Ok(1));
    assert_eq!(server.sql::<String>(name, ada).await, "Ada L.");

    // Character for character; PostgreSQL has no U+0000.
    let seen: Vec<i32> = sqlx::query_scalar(
        "SELECT n FROM generate_series(1, x'10ffff'::int) AS n
         WHERE n NOT BETWEEN x'd800'::int AND x'dfff'::int AND NOT lastseen.can_be_seen(chr(n))",
    )
    .fetch_all(pool)
    .await
    .expect("an answer");
    let in_sql: BTreeSet<u32> = seen.into_iter().map(i32::cast_unsigned).collect();
    let in_rust: BTreeSet<u32> = ('\u{1}'..=char::MAX).filter(|&c| !is_visible(c)).map(u32::from).collect();
    let differences: Vec<_> = in_sql.symmetric_difference(&in_rust).map(|code| format!("U+{code:04X}")).collect();
    assert_eq!(differences, [""; 0]);
}
