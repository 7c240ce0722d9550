//! Users whom the app knows by something else than a UUID: wherever a user is named it is by the subject, while the
//! database has ids.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tempfile::TempDir;
use tokio::time::timeout;
use uuid::Uuid;

use crate::harness::cluster::TestDatabase;
use crate::harness::rest::{Opened, keys, seconds_from_now, service, sign, user};
use crate::harness::rows::as_user;
use crate::harness::{Client, Join, PATIENCE, TestServer, client::id, eventually, quiet};

/// What a `sub` may be: of Auth0, of Clerk, an address, with what means something in addresses, with spaces that belong
/// to it, a UUID written in another way, and the longest.
fn subjects() -> Vec<String> {
    let some = [
        "auth0|abc",
        "user_2abc",
        "ada@example.org",
        "a/b%2Fc?d=e&f#g+h",
        "..",
        " müller\n",
        "6f1c2d3e000040008000000000000001",
    ];
    some.map(str::to_owned).into_iter().chain(["🂡".repeat(255)]).collect()
}

/// A token as an identity provider makes it.
fn token(sub: impl Into<Value>) -> String {
    sign(&json!({"sub": sub.into(), "role": "authenticated", "name": "Ada", "exp": seconds_from_now(3600)}))
}

/// A query that asks for this user.
fn of(user: &str) -> String {
    let url = reqwest::Url::parse_with_params("http://localhost/", [("user_id", user)]).expect("a URL");
    format!("?{}", url.query().expect("a query"))
}

/// The users of a list, by the field that names them.
async fn users(server: &TestServer, path: &str, token: &str) -> BTreeSet<String> {
    let page = server.get(path, Some(token)).await.expect(200);
    let items = page["items"].as_array().expect("a list").iter();
    items.map(|item| item["user_id"].as_str().unwrap_or_else(|| panic!("{item} has a user")).to_owned()).collect()
}

/// The id that stands for a subject in the database; `None` where there is no row.
async fn stored(server: &TestServer, subject: &str) -> Option<Uuid> {
    sqlx::query_scalar("SELECT user_id FROM lastseen.subjects WHERE subject = $1")
        .bind(subject)
        .fetch_optional(&server.database.pool)
        .await
        .expect("a row or none")
}

async fn how_many_are_stored(server: &TestServer) -> i64 {
    let count = sqlx::query_scalar("SELECT count(*) FROM lastseen.subjects").fetch_one(&server.database.pool);
    count.await.expect("a count")
}

fn one(set: &str) -> BTreeSet<String> {
    BTreeSet::from([set.to_owned()])
}

#[tokio::test]
async fn sessions_and_their_people_are_named_by_the_subject() {
    let server = TestServer::start(&quiet(&[])).await;
    for subject in &subjects() {
        let token = token(subject.as_str());
        let session = server.open_as(Some(&token), json!({})).await;
        let path = format!("/v1/reading-sessions/{}", session.id);
        assert_eq!(session.body["host_user_id"], json!(subject));
        let changed = server.patch(&path, Some(&token), json!({"title": "Emma"})).await.expect(200);
        for session in [
            server.get(&path, Some(&token)).await.expect(200),
            changed,
            server.get("/v1/reading-sessions", Some(&token)).await.expect(200)["items"][0].clone(),
        ] {
            assert_eq!(session["host_user_id"], json!(subject));
        }

        // The host, a guest and another user, live and, once all have gone, by the database.
        let mut host = Client::join(server.address(), session.id, &Join::token(&token)).await;
        assert_eq!(host.welcome["session"]["host_user_id"], json!(subject));
        assert_eq!(host.view[&host.id()]["user_id"], json!(subject));
        let other = format!("{} too", subject.chars().take(200).collect::<String>());
        let join = Join { invite: Some(session.invite.clone()), ..Join::token(&self::token(other.as_str())) };
        let member = Client::join(server.address(), session.id, &join).await;
        let guest = server.guest(&session, "Gus").await;
        host.sees(&[host.id(), member.id(), guest.id()]).await;
        let named = [(host.id(), json!(subject)), (member.id(), json!(other)), (guest.id(), Value::Null)];
        for (id, user) in &named {
            assert_eq!(&host.view[id]["user_id"], user, "in diffs");
        }
        host.send(json!({"type": "sync"})).await;
        let state = host.frame("state").await;
        let listed = server.participants(session.id).await;
        for people in [&state["participants"], &listed["items"]] {
            let people = people.as_array().expect("a list");
            assert_eq!(people.len(), 3);
            for person in people {
                let (_, user) = named.iter().find(|(named, _)| *named == id(&person["id"])).expect("one of them");
                assert_eq!(&person["user_id"], user);
            }
        }
        for client in [host, member, guest] {
            client.close().await;
        }
        let closed = server.post(&format!("{path}/close"), Some(&token), Value::Null).await.expect(200);
        assert_eq!(closed["host_user_id"], json!(subject));
    }
}

/// The first event of a stream.
async fn first_event(server: &TestServer, session: &Opened, token: &str) -> Value {
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let path = format!("http://{}/v1/reading-sessions/{}/events", server.address(), session.id);
    let mut response = http.get(path).bearer_auth(token).send().await.expect("an answer");
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((data, _)) = text.split_once("data: ").and_then(|(_, rest)| rest.split_once('\n')) {
            return serde_json::from_str(data).expect("JSON");
        }
        let chunk = timeout(PATIENCE, response.chunk()).await.expect("waited in vain for an event");
        bytes.extend_from_slice(&chunk.expect("a chunk").expect("more"));
    }
}

#[tokio::test]
async fn an_event_stream_names_people_by_the_subject() {
    let server = TestServer::start(&quiet(&[])).await;
    let token = token("auth0|abc");
    let session = server.open_as(Some(&token), json!({})).await;
    let host = Client::join(server.address(), session.id, &Join::token(&token)).await;
    let welcome = first_event(&server, &session, &token).await;
    assert_eq!(welcome["type"], "welcome");
    assert_eq!(welcome["session"]["host_user_id"], "auth0|abc");
    assert_eq!(welcome["participants"][0]["user_id"], "auth0|abc");
    assert_eq!(id(&welcome["participants"][0]["id"]), host.id());
}

#[tokio::test]
async fn after_a_restart_and_on_another_server_people_are_who_they_were() {
    let server = TestServer::start(&quiet(&[])).await;
    let ada = token("auth0|abc");
    let session = server.open_as(Some(&ada), json!({})).await;
    let bob = Join { invite: Some(session.invite.clone()), ..Join::token(&token("user_2abc")) };
    let host = Client::join(server.address(), session.id, &Join::token(&ada)).await;
    let member = Client::join(server.address(), session.id, &bob).await;
    let (host, member) = ((host.id(), host.resume_token()), (member.id(), member.resume_token()));

    // Those who were here are restored from the database.
    let server = TestServer::on(server.stop().await, &quiet(&[])).await;
    let listed = server.participants(session.id).await;
    let listed = listed["items"].as_array().expect("a list").iter().map(|person| person["user_id"].as_str());
    assert_eq!(listed.collect::<BTreeSet<_>>(), [Some("auth0|abc"), Some("user_2abc")].into());
    let back = Client::join(server.address(), session.id, &Join::resume(&host.1)).await;
    assert_eq!((back.id(), &back.welcome["session"]["host_user_id"]), (host.0, &json!("auth0|abc")));
    for (person, subject) in [(host.0, "auth0|abc"), (member.0, "user_2abc")] {
        assert_eq!(back.view[&person]["user_id"], subject);
    }

    // A server that does not have the room: by the rows alone, and by a token that names no user.
    let other = server.beside("other", &quiet(&[])).await;
    let listed = other.participants(session.id).await;
    assert!(listed["items"].as_array().expect("a list").iter().all(|person| person["user_id"].is_string()), "{listed}");
    let moved = Client::join(other.address(), session.id, &Join::resume(&member.1)).await;
    assert_eq!(moved.view[&member.0]["user_id"], "user_2abc");
    assert_eq!(moved.welcome["session"]["host_user_id"], "auth0|abc");
}

#[tokio::test]
async fn many_who_are_new_come_to_two_servers_at_once() {
    let server = TestServer::start(&quiet(&[])).await;
    let other = server.beside("other", &quiet(&[])).await;
    let sessions = [server.open().await, server.open().await];
    // The same people, in one order and in the other.
    let people: Vec<_> = (0..40).map(|number| format!("auth0|{number}")).collect();
    let enter = |address, session: &Opened, subject: &str| {
        let join = Join { invite: Some(session.invite.clone()), ..Join::token(&token(subject)) };
        let (session, subject) = (session.id, subject.to_owned());
        async move {
            let client = Client::join(address, session, &join).await;
            assert_eq!(client.view[&client.id()]["user_id"], json!(subject));
            client
        }
    };
    let here = people.iter().map(|subject| enter(server.address(), &sessions[0], subject));
    let there = people.iter().rev().map(|subject| enter(other.address(), &sessions[1], subject));
    let clients = join_all(here.chain(there)).await;
    assert_eq!(clients.len(), 80);
    assert_eq!(how_many_are_stored(&server).await, 40);
}

#[tokio::test]
async fn whoever_is_removed_stays_out_by_the_subject_and_may_be_readmitted() {
    let server = TestServer::start(&quiet(&[])).await;
    let host = token("auth0|host");
    let session = server.open_as(Some(&host), json!({})).await;
    let join = Join { invite: Some(session.invite.clone()), ..Join::token(&token("a/b%2F?c#d")) };
    let mut member = Client::join(server.address(), session.id, &join).await;
    let person = format!("/v1/reading-sessions/{}/participants/{}", session.id, member.id());
    server.delete(&person, Some(&host)).await.expect(204);
    assert_eq!(member.ended().await.code, 4512);
    assert_eq!(Client::refused(server.address(), &session.id.to_string(), &join).await.code, 4512);
    server.post(&format!("{person}/readmit"), Some(&host), Value::Null).await.expect(204);
    let back = Client::join(server.address(), session.id, &join).await;
    assert_eq!((back.id(), &back.view[&back.id()]["user_id"]), (member.id(), &json!("a/b%2F?c#d")));
}

#[tokio::test]
async fn check_ins_sits_and_user_sessions_are_found_by_the_subject_and_by_its_id() {
    let server = TestServer::start(&quiet(&[])).await;
    let bystander = user(Uuid::now_v7(), "Bea");
    server.post("/v1/check-ins", Some(&bystander), json!({})).await.expect(201);
    server.post("/v1/sits", Some(&bystander), json!({"sit_length_seconds": 60})).await.expect(201);
    let device = json!({"session_id": "of Bea", "platform": "web"});
    server.post("/v1/user-sessions", Some(&bystander), device).await.expect(201);

    for (number, subject) in subjects().iter().enumerate() {
        let token = token(subject.as_str());
        let made = async |path: &str, body: Value| {
            let made = server.post(path, Some(&token), body).await;
            // 200 where a call was made again, whose first answer did not come in time.
            assert!(made.status.is_success(), "{path}: {}", made.body);
            assert_eq!(made.body["user_id"], json!(subject), "{path}");
            made.body
        };
        let check_in = made("/v1/check-ins", json!({})).await;
        let sit = made("/v1/sits", json!({"sit_length_seconds": 60})).await;
        let device = format!("device-{number}");
        made("/v1/user-sessions", json!({"session_id": device, "platform": "web"})).await;
        let stored = stored(&server, subject).await.expect("a row");
        assert_eq!(stored.get_version_num(), 5);

        let device = format!("/v1/user-sessions/{device}");
        for answer in [
            server.get(&device, Some(&token)).await,
            server.post(&format!("{device}/heartbeat"), Some(&token), json!({})).await,
            server.patch(&format!("{device}/metadata"), Some(&token), json!({"a": 1})).await,
            server.get(&format!("/v1/sits/{}", id(&sit["id"])), Some(&token)).await,
            server.post(&format!("/v1/sits/{}/complete", id(&sit["id"])), Some(&token), json!({"early": true})).await,
            server.post("/v1/check-ins", Some(&token), json!({})).await,
            server.post(&format!("/v1/check-ins/{}/check-out", id(&check_in["id"])), Some(&token), json!({})).await,
        ] {
            assert_eq!(answer.expect(200)["user_id"], json!(subject));
        }
        let sub = one(subject);
        for path in ["/v1/check-ins", "/v1/sits", "/v1/user-sessions"] {
            assert_eq!(users(&server, path, &token).await, sub, "{path}: its own");
        }
        for path in ["/v1/check-ins", "/v1/user-sessions"] {
            for asked in [subject.clone(), stored.to_string(), stored.to_string().to_uppercase()] {
                assert_eq!(users(&server, &format!("{path}{}", of(&asked)), &service()).await, sub, "{path} {asked}");
            }
            assert_eq!(users(&server, &format!("{path}{}", of(subject)), &bystander).await, BTreeSet::new());
            assert_eq!(users(&server, &format!("{path}{}", of("nobody")), &service()).await, BTreeSet::new());
        }
        made("/v1/check-ins", json!({})).await;
        assert_eq!(users(&server, "/v1/check-ins/active", &token).await, sub);
        let ended = server.post(&format!("{device}/end"), Some(&token), json!({"end_reason": "logout"})).await;
        assert_eq!(ended.expect(200)["user_id"], json!(subject));
    }
    let everybody: BTreeSet<_> = users(&server, "/v1/check-ins?limit=200", &service()).await;
    assert!(subjects().iter().all(|subject| everybody.contains(subject)), "{everybody:?}");
}

#[tokio::test]
async fn the_device_of_a_connection_is_the_users() {
    let server = TestServer::start(&quiet(&[])).await;
    let token = token("auth0|abc");
    let session = server.open_as(Some(&token), json!({})).await;
    let join = Join { more: "platform=web&client_session=tab".to_owned(), ..Join::token(&token) };
    let _client = Client::join(server.address(), session.id, &join).await;
    let device = eventually("the user session", async || {
        let answer = server.get("/v1/user-sessions/tab", Some(&token)).await;
        (answer.status == 200).then_some(answer.body)
    });
    assert_eq!(device.await["user_id"], "auth0|abc");
    assert_eq!(users(&server, &format!("/v1/user-sessions{}", of("auth0|abc")), &service()).await, one("auth0|abc"));
}

#[tokio::test]
async fn members_of_partnerships_may_be_named_before_they_ever_came() {
    let server = TestServer::start(&[]).await;
    let names = |partnership: &Value| -> BTreeSet<String> {
        let users = partnership["user_ids"].as_array().expect("a list").iter();
        users.map(|user| user.as_str().expect("text").to_owned()).collect()
    };
    let uuid = Uuid::now_v7().to_string();
    let members = ["auth0|ada", "bob@example.org", &uuid];
    let named = json!({"user_ids": members});
    let made = server.post("/v1/partnerships", Some(&service()), named.clone()).await.expect(201);
    assert_eq!(names(&made), members.map(str::to_owned).into());
    let path = format!("/v1/partnerships/{}", id(&made["id"]));
    let (ada, bob) = (token("auth0|ada"), token("bob@example.org"));
    for token in [&ada, &bob, &service()] {
        assert_eq!(server.get(&path, Some(token)).await.expect(200), made);
        assert_eq!(server.get("/v1/partnerships", Some(token)).await.expect(200)["items"][0], made);
    }

    let sit = json!({"sit_length_seconds": 60, "partnership_id": made["id"]});
    let sit = server.post("/v1/sits", Some(&ada), sit).await.expect(201);
    let complete = format!("/v1/sits/{}/complete", id(&sit["id"]));
    server.post(&complete, Some(&ada), json!({"early": true})).await.expect(200);
    let query = format!("?partnership_id={}", id(&made["id"]));
    for list in ["/v1/sits", "/v1/sits/weeks"] {
        assert_eq!(users(&server, &format!("{list}{query}"), &bob).await, one("auth0|ada"), "{list}");
    }

    let changed = server.patch(&path, Some(&service()), json!({"user_ids": ["bob@example.org", "new|one"]})).await;
    assert_eq!(names(&changed.expect(200)), ["bob@example.org", "new|one"].map(str::to_owned).into());
    server.get(&path, Some(&ada)).await.refused(404, "not_found");

    let bob_by_id = stored(&server, "bob@example.org").await.expect("a row").to_string();
    for users in [
        json!(["bob@example.org", bob_by_id]),
        json!(["new|one", "new|one"]),
        json!(["new|one", ""]),
        json!(["new|one", "a\0b"]),
        json!(["new|one", "x".repeat(256)]),
        json!(["new|one", 7]),
    ] {
        let refused = server.patch(&path, Some(&service()), json!({"user_ids": users})).await;
        refused.refused(422, "invalid_request");
    }
}

/// Pages go on by the ids, whatever the subjects are.
#[tokio::test]
async fn weeks_of_a_partnership_come_in_pages() {
    let server = TestServer::start(&[]).await;
    let members: Vec<_> = (0..7).map(|number| format!("auth0|{number}")).collect();
    let made = server.post("/v1/partnerships", Some(&service()), json!({"user_ids": members})).await.expect(201);
    for member in &members {
        let token = token(member.as_str());
        let sit = json!({"sit_length_seconds": 60, "partnership_id": made["id"]});
        let sit = server.post("/v1/sits", Some(&token), sit).await.expect(201);
        let complete = format!("/v1/sits/{}/complete", id(&sit["id"]));
        server.post(&complete, Some(&token), json!({"early": true})).await.expect(200);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/sits/weeks?partnership_id={}&limit=2{cursor}", id(&made["id"]));
        let page = server.get(&path, Some(&service())).await.expect(200);
        let items = page["items"].as_array().expect("a list");
        seen.extend(items.iter().map(|week| week["user_id"].as_str().expect("a user").to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    seen.sort_unstable();
    assert_eq!(seen, members);
}

#[tokio::test]
async fn a_simulator_is_of_the_subject() {
    let directory = TempDir::new().expect("a directory");
    let told = directory.path().join("told");
    let command = format!("sh -c 'env -0 > {0}.new; mv {0}.new {0}; exec sleep 600' ignored", told.display());
    let server = TestServer::start(&["--simulator-command", &command]).await;
    let subject = "a/b%2F c=\"$HOME\"|ü";
    let token = token(subject);
    let device = json!({"session_id": "web", "platform": "web"});
    server.post("/v1/user-sessions", Some(&token), device).await.expect(201);
    let path = "/v1/user-sessions/web/simulator";
    let made = server.post(path, Some(&token), json!({})).await.expect(201);
    assert_eq!(made["user_id"], json!(subject));
    let simulator = format!("/v1/simulators/{}", id(&made["id"]));
    for path in [path, &simulator] {
        assert_eq!(server.get(path, Some(&token)).await.expect(200)["user_id"], json!(subject));
    }
    let by_subject = format!("/v1/simulators{}", of(subject));
    for token in [&token, &service()] {
        assert_eq!(users(&server, &by_subject, token).await, one(subject));
    }
    let text = eventually("its environment", async || std::fs::read_to_string(&told).ok()).await;
    let shown = text.split('\0').find_map(|line| line.strip_prefix("SIMULATOR_USER_ID="));
    assert_eq!(shown, Some(subject));
    server.delete(&simulator, Some(&token)).await.expect(202);
}

#[tokio::test]
async fn a_subject_that_is_a_uuid_is_the_id_however_it_is_written() {
    let server = TestServer::start(&quiet(&[])).await;
    let ada = Uuid::now_v7();
    let upper = ada.to_string().to_uppercase();
    server.post("/v1/check-ins", Some(&token(upper.as_str())), json!({})).await.expect(201);
    // The same one: it is extended.
    let extended = server.post("/v1/check-ins", Some(&token(ada.to_string())), json!({})).await.expect(200);
    assert_eq!(extended["user_id"], json!(ada));
    for asked in [ada.to_string(), upper] {
        let found = users(&server, &format!("/v1/check-ins{}", of(&asked)), &service()).await;
        assert_eq!(found, one(&ada.to_string()));
    }
    let session = server.open_as(Some(&token(ada.to_string())), json!({})).await;
    let client = Client::join(server.address(), session.id, &Join::token(&token(ada.to_string()))).await;
    assert_eq!(client.view[&client.id()]["user_id"], json!(ada));
    assert_eq!(how_many_are_stored(&server).await, 0);
}

#[tokio::test]
async fn what_is_no_subject_is_refused_wherever_it_is_shown() {
    let server = TestServer::start(&[]).await;
    let session = server.open().await;
    for sub in [json!(""), json!("x".repeat(256)), json!("é".repeat(256)), json!("a\0b"), json!(7), json!(null)] {
        let bad = token(sub.clone());
        for answer in [
            server.get("/v1/reading-sessions", Some(&bad)).await,
            server.post("/v1/check-ins", Some(&bad), json!({})).await,
        ] {
            assert!(answer.refused(401, "unauthenticated").contains("`sub`"), "{sub}");
        }
        let join = Join { invite: Some(session.invite.clone()), ..Join::token(&bad) };
        let ended = Client::refused(server.address(), &session.id.to_string(), &join).await;
        assert_eq!((ended.code, &ended.error["code"]), (4501, &json!("unauthenticated")), "{sub}");
    }
    for list in ["/v1/check-ins", "/v1/user-sessions", "/v1/simulators"] {
        for user in ["", "a\0b", &"x".repeat(256)] {
            let answer = server.get(&format!("{list}{}", of(user)), Some(&service())).await;
            assert_eq!(answer.body["errors"][0]["field"], "user_id", "{list}");
            answer.refused(422, "invalid_request");
        }
    }
    assert_eq!(how_many_are_stored(&server).await, 0);
}

#[tokio::test]
async fn a_subject_is_stored_with_the_first_row_that_names_its_user_and_no_user_may_list_them() {
    let server = TestServer::start(&quiet(&[])).await;
    let ada = token("auth0|ada");
    let session = server.open_as(Some(&user(Uuid::now_v7(), "Hana")), json!({})).await;
    // Looking around, and not being let in, makes no row.
    for path in ["/v1/reading-sessions", "/v1/check-ins", "/v1/sits", "/v1/user-sessions", "/v1/partnerships"] {
        server.get(path, Some(&ada)).await.expect(200);
    }
    let refused = Client::refused(server.address(), &session.id.to_string(), &Join::token(&ada)).await;
    assert_eq!(refused.code, 4503);
    let _guest = server.guest(&session, "Gus").await;
    assert_eq!(how_many_are_stored(&server).await, 0);

    let join = Join { invite: Some(session.invite.clone()), ..Join::token(&ada) };
    let client = Client::join(server.address(), session.id, &join).await;
    server.post("/v1/check-ins", Some(&ada), json!({})).await.expect(201);
    assert_eq!(how_many_are_stored(&server).await, 1);
    let in_rows: Uuid = server.sql("SELECT user_id FROM session_participants WHERE id = $1", client.id()).await;
    assert_eq!(stored(&server, "auth0|ada").await, Some(in_rows));

    let mut transaction = as_user(&server.database.pool, in_rows).await;
    let own: Uuid = sqlx::query_scalar("SELECT auth.uid()").fetch_one(&mut *transaction).await.expect("an id");
    assert_eq!(own, in_rows);
    let known: String = sqlx::query_scalar("SELECT lastseen.subject_of(user_id) FROM check_ins")
        .fetch_one(&mut *transaction)
        .await
        .expect("whose a row is that a user sees");
    assert_eq!(known, "auth0|ada");
    for statement in [
        "SELECT user_id FROM lastseen.subjects",
        "DELETE FROM lastseen.subjects",
        "INSERT INTO lastseen.subjects (user_id, subject) VALUES (gen_random_uuid(), 'mine')",
        "SELECT lastseen.note_subjects(ARRAY[gen_random_uuid()], ARRAY['mine'])",
    ] {
        sqlx::raw_sql("SAVEPOINT here").execute(&mut *transaction).await.expect("a savepoint");
        let error = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *transaction).await.expect_err(statement);
        assert!(error.to_string().contains("permission denied"), "{statement}: {error}");
        sqlx::raw_sql("ROLLBACK TO here").execute(&mut *transaction).await.expect("back");
    }
}

/// On such a database users are those of its own table, whose ids are UUIDs.
#[tokio::test]
async fn where_there_is_a_table_of_users_a_subject_that_is_not_in_it_is_refused() {
    let database = TestDatabase::empty().await;
    sqlx::raw_sql("CREATE SCHEMA auth; CREATE TABLE auth.users (id uuid PRIMARY KEY);")
        .execute(&database.pool)
        .await
        .expect("a table of users");
    let server = TestServer::on(database, &quiet(&[])).await;
    let session = server.open().await;
    let ada = token("auth0|ada");
    let calls = [
        ("/v1/check-ins", json!({})),
        ("/v1/reading-sessions", json!({})),
        ("/v1/sits", json!({"sit_length_seconds": 60})),
        ("/v1/user-sessions", json!({"session_id": "web", "platform": "web"})),
    ];
    for (path, body) in calls {
        let detail = server.post(path, Some(&ada), body).await.refused(401, "unauthenticated");
        assert!(detail.contains("auth.users"), "{detail}");
    }
    let join = Join { invite: Some(session.invite.clone()), ..Join::token(&ada) };
    let ended = Client::refused(server.address(), &session.id.to_string(), &join).await;
    assert_eq!(ended.error["code"], "unauthenticated");
    assert_eq!(how_many_are_stored(&server).await, 0);
}

#[tokio::test]
async fn a_person_is_exported_and_erased_by_the_subject_in_the_path() {
    let server = TestServer::start(&quiet(&[])).await;
    // Clients take `..` out of a path, however it is written.
    for subject in subjects().iter().filter(|subject| *subject != "..") {
        let token = token(subject.as_str());
        server.post("/v1/check-ins", Some(&token), json!({})).await.expect(201);
        let encoded: String = subject.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let path = format!("/v1/users/{encoded}");
        let export = server.get(&format!("{path}/export"), Some(&service())).await.expect(200);
        assert_eq!((&export["user_id"], export["check_ins"].as_array().map(Vec::len)), (&json!(subject), Some(1)));
        let erased = server.delete(&path, Some(&service())).await.expect(200);
        assert_eq!(erased["check_ins"], 1);
        assert_eq!(stored(&server, subject).await, None);
        // Whoever comes again is known again.
        let again = server.post("/v1/check-ins", Some(&token), json!({})).await;
        assert_eq!(again.body["user_id"], json!(subject), "{}", again.body);
    }
    server.delete(&format!("/v1/users/{}", "x".repeat(256)), Some(&service())).await.refused(404, "not_found");
}

#[tokio::test]
async fn the_document_has_users_as_text() {
    let server = TestServer::start(&[]).await;
    let document = server.get("/openapi.json", None).await.expect(200);
    let subject = &document["components"]["schemas"]["Subject"];
    assert_eq!(keys(subject), ["type", "description", "minLength", "maxLength"].into());
    assert_eq!((&subject["type"], &subject["maxLength"]), (&json!("string"), &json!(255)));
    assert!(document["components"]["schemas"]["UserId"].is_null(), "no field is the id");
}
