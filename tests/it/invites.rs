//! Invites: made, listed, revoked, used so often and no oftener, and dead with their session.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::harness::rest::{Answer, keys, service, user};
use crate::harness::{Client, Join, TestServer, eventually};

/// The message for a link to a session that is idle or closed, by the default idle timeout.
const DEAD: &str = "This invitation link has expired. Sessions become inactive after 1 hour of no activity.";
const USED_UP: &str = "This invitation link has been used as often as it may be.";
const REVOKED: &str = "This invitation link was revoked.";

fn invites(session: Uuid) -> String {
    format!("/v1/reading-sessions/{session}/invites")
}

/// Makes an invite as the service and gives it.
async fn make(server: &TestServer, session: Uuid, body: Value) -> Value {
    server.post(&invites(session), Some(&service()), body).await.expect(201)
}

fn token(invite: &Value) -> String {
    invite["token"].as_str().expect("a token").to_owned()
}

/// How often an invite was used, by the list of invites.
async fn uses(server: &TestServer, session: Uuid, invite: &Value) -> u64 {
    let list = server.get(&invites(session), Some(&service())).await.expect(200);
    let listed = list["items"].as_array().expect("a list").iter().find(|listed| listed["id"] == invite["id"]);
    listed.expect("it is listed")["uses"].as_u64().expect("a number")
}

async fn inspect(server: &TestServer, token: &str) -> Answer {
    server.get(&format!("/v1/invites/{token}"), None).await
}

/// Checks that a link is dead with this message: for a look at it, for a join, and
/// for a join with an HTTP answer.
async fn is_dead(server: &TestServer, session: Uuid, token: &str, message: &str) {
    assert_eq!(inspect(server, token).await.refused(410, "invite_expired"), message);
    let (id, join) = (session.to_string(), Join::invite(token, "Late"));
    let ended = Client::refused(server.address(), &id, &join).await;
    assert_eq!((ended.code, &ended.error["code"]), (4510, &json!("invite_expired")));
    assert_eq!((&ended.error["message"], &ended.error["retry"]), (&json!(message), &json!(false)));
    assert_eq!(server.handshake(&id, &join).await.refused(410, "invite_expired"), message);
}

#[tokio::test]
async fn an_invite_is_made_with_its_limits_and_role() {
    let server = TestServer::start(&[]).await;
    let host = Uuid::now_v7();
    let session = server.open_as(Some(&user(host, "Hana")), json!({})).await;
    let made = server.post(&invites(session.id), Some(&user(host, "Hana")), Value::Null).await.expect(201);
    assert_eq!(keys(&made), BTreeSet::from(["id", "token", "url", "max_uses", "uses", "expires_at", "role"]));
    assert_eq!((&made["max_uses"], &made["expires_at"], &made["uses"]), (&Value::Null, &Value::Null, &json!(0)));
    assert_eq!(made["role"], "guest");
    assert_eq!(made["url"], format!("http://{}/join/{}", server.address(), token(&made)));
    let by: Vec<Uuid> = sqlx::query_scalar("SELECT created_by FROM session_invites WHERE session_id = $1")
        .bind(session.id)
        .fetch_all(&server.database.pool)
        .await
        .expect("rows");
    assert_eq!(by, [host, host]);

    let before: DateTime<Utc> = Utc::now();
    let made =
        make(&server, session.id, json!({"max_uses": 3, "expires_in_seconds": 86400, "role": "participant"})).await;
    assert_eq!((&made["max_uses"], &made["role"]), (&json!(3), &json!("participant")));
    let expires_at: DateTime<Utc> = made["expires_at"].as_str().expect("a time").parse().expect("a time");
    let life = expires_at - before;
    assert!(life > TimeDelta::hours(23) && life < TimeDelta::hours(25), "{life}");

    for (body, field) in [
        (json!({"max_uses": 0}), "max_uses"),
        (json!({"max_uses": -1}), "max_uses"),
        (json!({"max_uses": 3_000_000_000_u64}), "max_uses"),
        (json!({"max_uses": "3"}), "max_uses"),
        (json!({"expires_in_seconds": 0}), "expires_in_seconds"),
        (json!({"expires_in_seconds": -5}), "expires_in_seconds"),
        (json!({"expires_in_seconds": i64::MAX}), "expires_in_seconds"),
        (json!({"expires_in_seconds": u64::MAX}), "expires_in_seconds"),
        (json!({"role": "king"}), "role"),
        (json!({"role": 1}), "role"),
        (json!({"uses": 5}), "uses"),
        (json!([3, 60, "host"]), "body"),
    ] {
        let answer = server.post(&invites(session.id), Some(&service()), body.clone()).await;
        assert_eq!(answer.body["errors"][0]["field"], field, "{body}: {}", answer.body);
        answer.refused(422, "invalid_request");
    }
}

#[tokio::test]
async fn public_url_is_the_beginning_of_links() {
    let server = TestServer::start(&["--public-url", "https://read.example", "--guest-hosts"]).await;
    let session = server.open().await;
    assert_eq!(session.body["invite"]["url"], format!("https://read.example/join/{}", session.invite));
}

#[tokio::test]
async fn a_token_that_is_no_text_is_the_token_of_nothing() {
    let server = TestServer::start(&[]).await;
    server.get("/v1/invites/%ff", None).await.refused(404, "invite_not_found");
}

#[tokio::test]
async fn a_token_is_shown_once_and_only_its_hash_is_kept() {
    let server = TestServer::start(&[]).await;
    let session = server.open().await;
    let made = make(&server, session.id, json!({})).await;
    let tokens = [session.invite.clone(), session.host_invite.clone().expect("a host invite"), token(&made)];

    let list = server.get(&invites(session.id), Some(&service())).await.expect(200);
    let items = list["items"].as_array().expect("a list");
    assert_eq!(items.len(), tokens.len());
    assert_eq!(items[0]["id"], made["id"], "newest first");
    for item in items {
        let expected = ["id", "role", "max_uses", "uses", "expires_at", "created_at", "revoked_at"];
        assert_eq!(keys(item), BTreeSet::from(expected));
    }
    let rows: Vec<String> = sqlx::query_scalar("SELECT i::text FROM session_invites i WHERE session_id = $1")
        .bind(session.id)
        .fetch_all(&server.database.pool)
        .await
        .expect("rows");
    for token in &tokens {
        let bare = token.strip_prefix("lsi_").expect("an invite token");
        assert!(!list.to_string().contains(bare) && rows.iter().all(|row| !row.contains(bare)), "{token} is kept");
        let known: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM session_invites WHERE token_sha256 = sha256(convert_to($1, 'UTF8')))",
        )
        .bind(token)
        .fetch_one(&server.database.pool)
        .await
        .expect("an answer");
        assert!(known, "its hash is");
    }
}

#[tokio::test]
async fn invites_are_listed_in_pages() {
    let server = TestServer::start(&[]).await;
    let session = server.open_as(Some(&service()), json!({})).await;
    let mut made = vec![session.body["invite"]["id"].clone()];
    for _ in 0..59 {
        made.push(make(&server, session.id, json!({})).await["id"].clone());
    }
    made.reverse();
    let page = server.get(&invites(session.id), Some(&service())).await.expect(200);
    assert_eq!(page["items"].as_array().map(Vec::len), Some(50), "unless it says otherwise");
    let (mut listed, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("{}?limit=25{cursor}", invites(session.id)), Some(&service())).await.expect(200);
        let items = page["items"].as_array().expect("a list");
        assert!(items.len() <= 25);
        listed.extend(items.iter().map(|invite| invite["id"].clone()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(listed, made, "newest first, each once");
    for query in ["limit=0", "limit=201", "limit=all", "cursor=x"] {
        let answer = server.get(&format!("{}?{query}", invites(session.id)), Some(&service())).await;
        answer.refused(422, "invalid_request");
    }
}

#[tokio::test]
async fn looks_at_invites_leave_the_database_to_others() {
    let server = std::sync::Arc::new(TestServer::start(&[]).await);
    let pool = &server.database.pool;
    let mut hold = pool.begin().await.expect("a transaction");
    sqlx::query("LOCK TABLE session_invites IN ACCESS EXCLUSIVE MODE").execute(&mut *hold).await.expect("a lock");
    let mut looks = JoinSet::new();
    for _ in 0..20 {
        let server = std::sync::Arc::clone(&server);
        looks.spawn(async move {
            let path = "/v1/invites/lsi_0123456789abcdefghijklmnopqrstuv";
            server.call_once(Method::GET, path, None, Value::Null).await
        });
    }
    let waiting = async || -> i64 {
        let query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'session_invites'::regclass
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        sqlx::query_scalar(query).fetch_one(pool).await.expect("a number")
    };
    let mut most = eventually("looks that wait", async || Some(waiting().await).filter(|looks| *looks > 0)).await;
    let (ada, mut given_up) = (user(Uuid::now_v7(), "Ada"), false);
    while !looks.is_empty() {
        let now = waiting().await;
        server.get("/v1/check-ins/active", Some(&ada)).await.expect(200);
        while let Some(look) = looks.try_join_next() {
            look.expect("an answer").refused(503, "unavailable");
            given_up = true;
        }
        // The turn of a look that was given up is another's, while the database still waits with the first.
        if !given_up {
            most = most.max(now);
        }
    }
    assert!((1..=2).contains(&most), "{most} connections to the database looked at invites");
}

#[tokio::test]
async fn a_revoked_invite_is_dead_and_cannot_be_revoked_again() {
    let server = TestServer::start(&[]).await;
    let (session, other) = (server.open().await, server.open().await);
    let made = make(&server, session.id, json!({})).await;
    let inside = Client::join(server.address(), session.id, &Join::invite(&token(&made), "Early")).await;
    let id = made["id"].as_str().expect("an id");
    let revoke = format!("{}/{id}", invites(session.id));
    // Not by way of another session.
    server.delete(&format!("{}/{id}", invites(other.id)), Some(&service())).await.refused(404, "invite_not_found");
    inspect(&server, &token(&made)).await.expect(200);

    assert_eq!(server.delete(&revoke, Some(&service())).await.expect(204), json!(""));
    server.delete(&revoke, Some(&service())).await.refused(404, "invite_not_found");
    is_dead(&server, session.id, &token(&made), REVOKED).await;
    let list = server.get(&invites(session.id), Some(&service())).await.expect(200);
    let listed = list["items"].as_array().expect("a list").iter().find(|item| item["id"] == made["id"]);
    assert!(listed.expect("it stays in the list")["revoked_at"].is_string());

    // The other links go on, and so do the people who joined by the dead one.
    Client::join(server.address(), session.id, &Join::invite(&session.invite, "Gus")).await;
    Client::join(server.address(), session.id, &Join::resume(&inside.resume_token())).await;
}

#[tokio::test]
async fn whoever_holds_a_link_may_see_what_it_opens() {
    let server = TestServer::start(&[]).await;
    let session = server.open_as(None, json!({"title": "Emma"})).await;
    let seen = inspect(&server, &session.invite).await.expect(200);
    assert_eq!(keys(&seen), BTreeSet::from(["session", "expires_at"]));
    assert_eq!(seen["session"], json!({"id": session.id, "title": "Emma", "occupancy": 0}));
    // An invite without an end of its own ends with the session.
    assert_eq!(seen["expires_at"], session.body["expires_at"]);

    let _ada = Client::join(server.address(), session.id, &Join::invite(&session.invite, "Ada")).await;
    assert_eq!(inspect(&server, &session.invite).await.expect(200)["session"]["occupancy"], 1);
    // Whichever end is first.
    let short = make(&server, session.id, json!({"expires_in_seconds": 600})).await;
    assert_eq!(inspect(&server, &token(&short)).await.expect(200)["expires_at"], short["expires_at"]);
    let long = make(&server, session.id, json!({"expires_in_seconds": 86400})).await;
    assert!(inspect(&server, &token(&long)).await.expect(200)["expires_at"].as_str() < long["expires_at"].as_str());

    for token in ["lsi_nonsense", "nonsense", "%00", "%F0%9F%82%A1", &"x".repeat(5000)] {
        inspect(&server, token).await.refused(404, "invite_not_found");
    }
    let ended = Client::refused(server.address(), &session.id.to_string(), &Join::invite("lsi_nonsense", "Gus")).await;
    assert_eq!((ended.code, &ended.error["code"]), (4504, &json!("invite_not_found")));
    let other = server.open().await;
    let ended = Client::refused(server.address(), &other.id.to_string(), &Join::invite(&session.invite, "Gus")).await;
    assert_eq!((ended.code, &ended.error["code"]), (4503, &json!("forbidden")), "a link to another session");
}

#[tokio::test]
async fn an_invite_lets_people_in_under_its_role() {
    let server = TestServer::start(&[]).await;
    let session = server.open().await;
    let user_id = Uuid::now_v7();
    for (role, with_jwt, shown) in [
        ("guest", false, "guest"),
        ("participant", false, "participant"),
        ("host", false, "host"),
        // A guest is a person without an account.
        ("guest", true, "participant"),
    ] {
        let made = make(&server, session.id, json!({"role": role})).await;
        let mut join = Join::invite(&token(&made), "Ada");
        join.token = with_jwt.then(|| user(user_id, "Ada"));
        let ada = Client::join(server.address(), session.id, &join).await;
        assert_eq!(ada.view[&ada.id()]["role"], shown, "{role}, with a JWT: {with_jwt}");
        let expected = if with_jwt { json!(user_id) } else { Value::Null };
        assert_eq!(ada.view[&ada.id()]["user_id"], expected);
    }
}

#[tokio::test]
async fn a_use_is_counted_once_for_each_person() {
    let server = TestServer::start(&["--database-connections", "10"]).await;
    let address = server.address();
    let session = server.open().await;
    let made = make(&server, session.id, json!({"max_uses": 2})).await;
    let mel = Join { invite: Some(token(&made)), ..Join::token(&user(Uuid::now_v7(), "Mel")) };
    // Two tabs at the very same moment, and a third one later.
    let (one, two) = tokio::join!(Client::join(address, session.id, &mel), Client::join(address, session.id, &mel));
    let three = Client::join(address, session.id, &mel).await;
    assert_eq!((one.id(), one.id()), (two.id(), three.id()));
    let resumed = Client::join(address, session.id, &Join::resume(&one.resume_token())).await;
    assert_eq!(resumed.id(), one.id());
    assert_eq!(resumed.view[&one.id()]["connections"], 4);
    assert_eq!(uses(&server, session.id, &made).await, 1);

    let guest = Client::join(address, session.id, &Join::invite(&token(&made), "Gus")).await;
    assert_eq!(uses(&server, session.id, &made).await, 2);
    is_dead(&server, session.id, &token(&made), USED_UP).await;
    // People who joined by it come back all the same: by the resume token, with the used-up link as well.
    let (person, resume) = (guest.id(), guest.resume_token());
    guest.close().await;
    let again = Join { invite: Some(token(&made)), ..Join::resume(&resume) };
    assert_eq!(Client::join(address, session.id, &again).await.id(), person);
    Client::join(address, session.id, &mel).await;
    assert_eq!(uses(&server, session.id, &made).await, 2);
}

#[tokio::test]
async fn an_invite_for_seven_lets_in_exactly_seven_of_thirty_who_come_at_once() {
    let server = TestServer::start(&["--database-connections", "20"]).await;
    let (address, session) = (server.address(), server.open().await);
    let made = make(&server, session.id, json!({"max_uses": 7})).await;
    let mut joins = JoinSet::new();
    for number in 0..30 {
        let join = Join::invite(&token(&made), &format!("Guest {number}"));
        joins.spawn(async move {
            loop {
                match Client::try_join(address, session.id, &join).await {
                    // Where the machine is too slow for all of them at once they retry, as the refusal asks.
                    Err(ended) if ended.code == 1013 => {}
                    outcome => return outcome,
                }
            }
        });
    }
    let outcomes = joins.join_all().await;
    let (inside, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((inside.len(), refused.len()), (7, 23));
    for ended in refused.into_iter().filter_map(Result::err) {
        assert_eq!((ended.code, &ended.error["message"]), (4510, &json!(USED_UP)));
    }
    assert_eq!(uses(&server, session.id, &made).await, 7);
    assert_eq!(server.participants(session.id).await["occupancy"], 7);
    let rows: i64 = server.sql("SELECT count(*) FROM session_participants WHERE session_id = $1", session.id).await;
    assert_eq!(rows, 7, "a refusal leaves nobody behind");
}

#[tokio::test]
async fn a_place_that_is_not_taken_is_not_counted_as_a_use() {
    let server = TestServer::start(&[]).await;
    let session = server.open_as(Some(&service()), json!({"max_participants": 1})).await;
    let made = make(&server, session.id, json!({"max_uses": 5})).await;
    let ada = Client::join(server.address(), session.id, &Join::invite(&token(&made), "Ada")).await;
    let bob = Join::invite(&token(&made), "Bob");
    let ended = Client::refused(server.address(), &session.id.to_string(), &bob).await;
    assert_eq!((ended.code, &ended.error["code"]), (4509, &json!("session_full")));
    assert_eq!(uses(&server, session.id, &made).await, 1);
    ada.close().await;
    Client::join(server.address(), session.id, &bob).await;
    assert_eq!(uses(&server, session.id, &made).await, 2);
}

#[tokio::test]
async fn the_uses_of_an_invite_without_a_limit_arrive_with_the_flush() {
    let server = TestServer::start(&[]).await;
    let session = server.open().await;
    let mut people = Vec::new();
    for name in ["Ada", "Bob", "Cid"] {
        people.push(Client::join(server.address(), session.id, &Join::invite(&session.invite, name)).await);
    }
    // Coming back is not another use.
    people.push(Client::join(server.address(), session.id, &Join::resume(&people[0].resume_token())).await);
    eventually("three uses", async || (uses(&server, session.id, &session.body["invite"]).await == 3).then_some(()))
        .await;
    // The next flush that writes something is the proof that nothing more was on its way.
    let dan = Client::join(server.address(), session.id, &Join::invite(&session.invite, "Dan")).await;
    let counted = eventually("another use", async || {
        let counted = uses(&server, session.id, &session.body["invite"]).await;
        (counted > 3).then_some(counted)
    })
    .await;
    assert_eq!(counted, 4);
    drop((people, dan));
}

#[tokio::test]
async fn an_invite_ends_at_its_own_time() {
    let server = TestServer::start(&[]).await;
    let session = server.open().await;
    let made = make(&server, session.id, json!({"expires_in_seconds": 1})).await;
    eventually("the invite's end", async || (inspect(&server, &token(&made)).await.status == 410).then_some(())).await;
    let message = "This invitation link has expired: it was good for a limited time.";
    is_dead(&server, session.id, &token(&made), message).await;
    inspect(&server, &session.invite).await.expect(200);
}

#[tokio::test]
async fn an_invite_dies_when_nobody_was_seen_though_the_sweeper_has_not_come_by() {
    let server = TestServer::start(&["--sweep-interval", "1h"]).await;
    // No person has joined: it counts from its creation.
    let session = server.open().await;
    inspect(&server, &session.invite).await.expect(200);
    server.age(session.id, 3590.0 - 60.0).await;
    inspect(&server, &session.invite).await.expect(200);
    server.age(session.id, 3600.0).await;
    is_dead(&server, session.id, &session.invite, DEAD).await;
    is_dead(&server, session.id, &session.host_invite.expect("a host invite"), DEAD).await;
    let open: bool = server.sql("SELECT is_active FROM reading_sessions WHERE id = $1", session.id).await;
    assert!(open, "nobody has closed it yet");
    let rows: i64 = server.sql("SELECT count(*) FROM session_participants WHERE session_id = $1", session.id).await;
    assert_eq!(rows, 0, "a dead link lets nobody in");
    assert_eq!(server.sweep().await["closed"], 1);
    is_dead(&server, session.id, &session.invite, DEAD).await;
}

#[tokio::test]
async fn the_message_of_a_dead_link_says_the_idle_timeout_as_it_is_set() {
    for (timeout, words) in [("2h", "2 hours"), ("90m", "90 minutes"), ("1m", "1 minute"), ("45s", "45 seconds")] {
        let server = TestServer::start(&["--idle-timeout", timeout]).await;
        let session = server.open().await;
        server.age(session.id, 7200.0).await;
        let message =
            format!("This invitation link has expired. Sessions become inactive after {words} of no activity.");
        is_dead(&server, session.id, &session.invite, &message).await;
    }
}

#[tokio::test]
async fn the_invites_of_a_closed_session_are_dead() {
    let server = TestServer::start(&[]).await;
    let session = server.open().await;
    server.close(session.id).await.expect(200);
    is_dead(&server, session.id, &session.invite, DEAD).await;
    let list = server.get(&invites(session.id), Some(&service())).await.expect(200);
    for invite in list["items"].as_array().expect("a list") {
        assert!(invite["revoked_at"].is_string(), "{invite}");
    }
}

#[tokio::test]
async fn a_member_and_a_resume_token_revive_a_stale_session_and_with_it_its_invites() {
    let server = TestServer::start(&["--sweep-interval", "1h"]).await;
    let address = server.address();
    let mel = user(Uuid::now_v7(), "Mel");
    for by_resume in [false, true] {
        let session = server.open().await;
        let mut first = Join::invite(&session.invite, "Mel");
        first.token = (!by_resume).then(|| mel.clone());
        let member = Client::join(address, session.id, &first).await;
        let (person, resume) = (member.id(), member.resume_token());
        member.close().await;
        // Whatever is on its way into the database would make the session look alive again.
        eventually("an empty room", async || (server.server.registry().census().rooms == 0).then_some(())).await;
        eventually("the leave in the database", async || {
            let query = "SELECT bool_or(is_active) FROM session_participants WHERE session_id = $1";
            (!server.sql::<bool>(query, session.id).await).then_some(())
        })
        .await;
        server.age(session.id, 7200.0).await;
        is_dead(&server, session.id, &session.invite, DEAD).await;

        let back = if by_resume { Join::resume(&resume) } else { Join::token(&mel) };
        let member = Client::join(address, session.id, &back).await;
        assert_eq!(member.id(), person);
        let guest = Client::join(address, session.id, &Join::invite(&session.invite, "Gus")).await;
        assert_eq!(guest.welcome["occupancy"], 2);
        assert_eq!(inspect(&server, &session.invite).await.expect(200)["session"]["occupancy"], 2);
        assert_eq!(server.sweep().await["closed"], 0);
        // No person is left to be waited for.
        member.leave().await;
        guest.leave().await;
    }
}
