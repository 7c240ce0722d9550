//! Every refusal has its reason: the table of the protocol, row by row, as an error frame and
//! a close code, and as an HTTP answer for a client that asks for one. No refusal leaves
//! a trace.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Connection;
use uuid::Uuid;

use crate::harness::client::{Ended, Step};
use crate::harness::raw::Raw;
use crate::harness::rest::{Opened, seconds_from_now, service, sign, user};
use crate::harness::{Client, Join, TestServer, eventually, pass, quiet};

/// A row of the table: the close code, the code, the HTTP status.
type Row = (u16, &'static str, u16);

const INTERNAL: Row = (1011, "internal", 500);
const UNAVAILABLE: Row = (1013, "unavailable", 503);
const TOKEN_EXPIRED: Row = (4001, "token_expired", 401);
const UNAUTHENTICATED: Row = (4501, "unauthenticated", 401);
const FORBIDDEN: Row = (4503, "forbidden", 403);
const SESSION_NOT_FOUND: Row = (4504, "session_not_found", 404);
const INVITE_NOT_FOUND: Row = (4504, "invite_not_found", 404);
const SESSION_FULL: Row = (4509, "session_full", 409);
const INVITE_EXPIRED: Row = (4510, "invite_expired", 410);
const SESSION_CLOSED: Row = (4511, "session_closed", 410);
const REMOVED: Row = (4512, "removed", 403);
const INVALID_REQUEST: Row = (4522, "invalid_request", 422);

const NO_ACTIVITY: &str = "This invitation link has expired. Sessions become inactive after 1 hour of no activity.";

/// An error frame is as in this row, with its rule for retries.
#[track_caller]
fn assert_row(ended: &Ended, (close, code, _): Row) {
    let error = &ended.error;
    assert_eq!((ended.code, error["code"].as_str()), (close, Some(code)), "{error}");
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{error}");
    // Below 4500 a client reconnects; only such a frame may have a time after which to do so.
    assert_eq!(error["retry"], close < 4500, "{error}");
    assert!(close < 4500 || error.get("retry_after_ms").is_none(), "{error}");
    assert_eq!(error.get("reason").is_some(), code == "session_closed", "{error}");
    assert_eq!(error.get("ref"), None, "no frame caused it: {error}");
}

/// The participants in the database, and the uses of invites with a limit.
async fn traces(server: &TestServer) -> Value {
    let query = "SELECT jsonb_build_array(
        (SELECT jsonb_agg(jsonb_build_array(id, name, role, user_id, resume_generation) ORDER BY id) FROM session_participants),
        (SELECT jsonb_agg(jsonb_build_array(id, uses) ORDER BY id) FROM session_invites WHERE max_uses IS NOT NULL))";
    sqlx::query_scalar(query).fetch_one(&server.database.pool).await.expect("an answer")
}

/// Refused by this row, over the WebSocket and over HTTP alike, without a trace; gives the error frame.
async fn refused(server: &TestServer, session: impl ToString, join: &Join, row: Row) -> Value {
    let session = session.to_string();
    let before = traces(server).await;
    let (client, ended) = Client::turned_away(server.address(), &session, join).await;
    assert_row(&ended, row);
    assert_eq!(client.heard, std::slice::from_ref(&ended.error), "one error frame and nothing else");

    let answer = server.handshake(&session, join).await;
    let (retry_after, body) = (answer.headers.get("retry-after").cloned(), answer.body.clone());
    let authenticate = answer.headers.get("www-authenticate").cloned();
    assert_eq!(answer.refused(row.2, row.1), ended.error["message"], "both forms have the same message");
    assert_eq!(body.get("reason"), ended.error.get("reason"));
    assert_eq!(authenticate.is_some(), row.2 == 401);
    let waits = ended.error.get("retry_after_ms").is_some();
    assert_eq!(waits, retry_after.is_some(), "both forms have the time after which to retry, or neither");
    assert_eq!(traces(server).await, before, "a refusal leaves no trace");
    ended.error
}

/// Refused with these words.
async fn refused_with(server: &TestServer, session: Uuid, join: &Join, row: Row, message: &str) {
    assert_eq!(refused(server, session, join, row).await["message"], message);
}

/// Makes an invite as the service; gives its answer.
async fn invite(server: &TestServer, session: Uuid, body: Value) -> Value {
    server.post(&format!("/v1/reading-sessions/{session}/invites"), Some(&service()), body).await.expect(201)
}

fn token(invite: &Value) -> &str {
    invite["token"].as_str().expect("a token")
}

async fn join(server: &TestServer, session: Uuid, join: &Join) -> Client {
    Client::join(server.address(), session, join).await
}

/// A user's own way in, with nothing but the JWT.
fn as_user(id: Uuid) -> Join {
    Join::token(&user(id, "Una"))
}

/// Opens a session as a user, who is its host.
async fn hosted(server: &TestServer, host: Uuid) -> Opened {
    server.open_as(Some(&user(host, "Hera")), json!({})).await
}

#[tokio::test]
async fn a_session_that_is_not_there_is_not_found_whatever_is_shown() {
    let server = TestServer::start(&[]).await;
    let open = server.open().await;
    let words = "Session not found or inactive";
    refused_with(&server, Uuid::now_v7(), &Join::invite(&open.invite, "Ada"), SESSION_NOT_FOUND, words).await;
    refused_with(&server, Uuid::now_v7(), &as_user(Uuid::now_v7()), SESSION_NOT_FOUND, words).await;
    refused_with(&server, Uuid::now_v7(), &Join::token(&service()), SESSION_NOT_FOUND, words).await;
    for id in ["1", "no-uuid", "00000000-0000-0000-0000-00000000000g", "%20"] {
        for shown in [Join::invite(&open.invite, "Ada"), Join::default()] {
            let error = refused(&server, id, &shown, SESSION_NOT_FOUND).await;
            assert_eq!(error["message"], words);
        }
    }
}

#[tokio::test]
async fn an_invite_that_nobody_made_is_not_found() {
    let server = TestServer::start(&[]).await;
    let open = server.open().await;
    let long = "x".repeat(2000);
    for invite in ["lsi_", "lsi_0123456789abcdefghijklmnopqrstuv", "%00\u{0}'\"; --", &long] {
        refused(&server, open.id, &Join::invite(invite, "Ada"), INVITE_NOT_FOUND).await;
    }
    let by_user = Join { invite: Some("lsi_unknown".into()), ..as_user(Uuid::now_v7()) };
    refused(&server, open.id, &by_user, INVITE_NOT_FOUND).await;
}

#[tokio::test]
async fn a_dead_invite_says_why_it_is_dead() {
    let server = TestServer::start(&[]).await;
    let open = server.open().await;
    let revoked = invite(&server, open.id, json!({})).await;
    let path = format!("/v1/reading-sessions/{}/invites/{}", open.id, revoked["id"].as_str().expect("an id"));
    server.call(reqwest::Method::DELETE, &path, Some(&service()), Value::Null).await.expect(204);
    let used_up = invite(&server, open.id, json!({"max_uses": 1})).await;
    let past = invite(&server, open.id, json!({"expires_in_seconds": 3600})).await;
    sqlx::query("UPDATE session_invites SET expires_at = now() WHERE id = $1")
        .bind(past["id"].as_str().expect("an id").parse::<Uuid>().expect("a UUID"))
        .execute(&server.database.pool)
        .await
        .expect("an update");
    let _ada = join(&server, open.id, &Join::invite(token(&used_up), "Ada")).await;

    let kinds = [
        (token(&revoked), "This invitation link was revoked."),
        (token(&past), "This invitation link has expired: it was good for a limited time."),
        (token(&used_up), "This invitation link has been used as often as it may be."),
    ];
    for (token, words) in kinds {
        refused_with(&server, open.id, &Join::invite(token, "Bob"), INVITE_EXPIRED, words).await;
        // A look at the invite before joining gives the same.
        assert_eq!(server.get(&format!("/v1/invites/{token}"), None).await.refused(410, "invite_expired"), words);
    }
    // The session's other invite is none the worse for it.
    join(&server, open.id, &Join::invite(&open.invite, "Bob")).await;
}

#[tokio::test]
async fn an_invite_dies_with_its_session() {
    let server = TestServer::start(&[]).await;
    let open = server.open().await;
    server.close(open.id).await.expect(200);
    refused_with(&server, open.id, &Join::invite(&open.invite, "Ada"), INVITE_EXPIRED, NO_ACTIVITY).await;
    // A user who never was in the session learns no more of it than the invite shows.
    let by_user = Join { invite: Some(open.invite.clone()), ..as_user(Uuid::now_v7()) };
    refused_with(&server, open.id, &by_user, INVITE_EXPIRED, NO_ACTIVITY).await;
}

#[tokio::test]
async fn an_invite_is_dead_by_the_databases_clock_before_the_sweeper_comes_by() {
    let server = TestServer::start(&["--idle-timeout", "90m", "--sweep-interval", "1d"]).await;
    let open = server.open().await;
    server.age(open.id, 91.0 * 60.0).await;
    let words = "This invitation link has expired. Sessions become inactive after 90 minutes of no activity.";
    refused_with(&server, open.id, &Join::invite(&open.invite, "Ada"), INVITE_EXPIRED, words).await;
    let open_still: bool = server.sql("SELECT is_active FROM reading_sessions WHERE id = $1", open.id).await;
    assert!(open_still, "nobody has swept");

    // A host brings the session back to life, and its invites with it.
    let host = Uuid::now_v7();
    let hosted = hosted(&server, host).await;
    server.age(hosted.id, 91.0 * 60.0).await;
    refused_with(&server, hosted.id, &Join::invite(&hosted.invite, "Ada"), INVITE_EXPIRED, words).await;
    let _host = join(&server, hosted.id, &as_user(host)).await;
    join(&server, hosted.id, &Join::invite(&hosted.invite, "Ada")).await;
}

#[tokio::test]
async fn members_of_a_closed_session_are_told_why_it_was_closed() {
    let server = TestServer::start(&["--idle-counts", "activity"]).await;
    for reason in ["idle", "host", "admin"] {
        let (host, member) = (Uuid::now_v7(), Uuid::now_v7());
        let open = hosted(&server, host).await;
        let mut una = join(&server, open.id, &Join { invite: Some(open.invite.clone()), ..as_user(member) }).await;
        let mut guest = join(&server, open.id, &Join::invite(&open.invite, "Ada")).await;
        match reason {
            // A flush may still write the joins over what we pretend, hence more than once.
            "idle" => {
                eventually("the session swept", async || {
                    server.age(open.id, 7200.0).await;
                    (server.sweep().await["closed"] == 1).then_some(())
                })
                .await;
            }
            "host" => {
                let path = format!("/v1/reading-sessions/{}/close", open.id);
                server.post(&path, Some(&user(host, "Hera")), Value::Null).await.expect(200);
            }
            _ => drop(server.close(open.id).await.expect(200)),
        }
        for client in [&mut una, &mut guest] {
            let ended = client.ended().await;
            assert_row(&ended, SESSION_CLOSED);
            assert_eq!(ended.error["reason"], reason, "while connected");
        }
        let ways =
            [as_user(host), as_user(member), Join::resume(&guest.resume_token()), Join::resume(&una.resume_token())];
        for way in ways {
            assert_eq!(refused(&server, open.id, &way, SESSION_CLOSED).await["reason"], reason, "{way:?}");
        }
        // An invite makes no difference to a member, a stranger learns nothing.
        let member_invited = Join { invite: Some(open.invite.clone()), ..as_user(member) };
        assert_eq!(refused(&server, open.id, &member_invited, SESSION_CLOSED).await["reason"], reason);
        assert_eq!(refused(&server, open.id, &Join::token(&service()), SESSION_CLOSED).await["reason"], reason);
        refused(&server, open.id, &as_user(Uuid::now_v7()), FORBIDDEN).await;
    }
}

#[tokio::test]
async fn whoever_is_removed_stays_out_by_every_way() {
    let server = TestServer::start(&[]).await;
    let (host, member) = (Uuid::now_v7(), Uuid::now_v7());
    let open = hosted(&server, host).await;
    let mut hera = join(&server, open.id, &as_user(host)).await;
    let invited = Join { invite: Some(open.invite.clone()), ..as_user(member) };
    // Two tabs: both are closed.
    let mut tabs = [join(&server, open.id, &invited).await, join(&server, open.id, &as_user(member)).await];
    let mut guest = join(&server, open.id, &Join::invite(&open.invite, "Ada")).await;
    assert_eq!(tabs[0].id(), tabs[1].id());
    hera.sees(&[hera.id(), guest.id(), tabs[0].id()]).await;

    for id in [tabs[0].id(), guest.id()] {
        let path = format!("/v1/reading-sessions/{}/participants/{id}", open.id);
        server.call(reqwest::Method::DELETE, &path, Some(&user(host, "Hera")), Value::Null).await.expect(204);
    }
    for client in tabs.iter_mut().chain([&mut guest]) {
        assert_row(&client.ended().await, REMOVED);
    }
    hera.sees(&[hera.id()]).await;
    let reasons: Vec<_> = hera.heard.iter().filter_map(|frame| frame["leaves"].as_array()).flatten().collect();
    assert_eq!(reasons.len(), 2, "each leaves once");
    assert!(reasons.iter().all(|leave| leave["reason"] == "removed"), "{reasons:?}");

    let resumes = [&tabs[0], &tabs[1], &guest].map(|client| Join::resume(&client.resume_token()));
    for way in resumes.iter().chain([&invited, &as_user(member)]) {
        refused(&server, open.id, way, REMOVED).await;
    }
    // Good credentials do not help a resume token that is dead.
    for resume in resumes {
        let helped = Join {
            invite: Some(open.invite.clone()),
            token: Some(user(host, "Hera")),
            name: Some("Ada".into()),
            ..resume
        };
        refused(&server, open.id, &helped, REMOVED).await;
    }
    assert_eq!(server.participants(open.id).await["occupancy"], 1);
}

#[tokio::test]
async fn a_removal_can_end_the_invite_and_be_taken_back() {
    let server = TestServer::start(&[]).await;
    let (host, member) = (Uuid::now_v7(), Uuid::now_v7());
    let open = hosted(&server, host).await;
    let other = invite(&server, open.id, json!({})).await;
    let invited = Join { invite: Some(open.invite.clone()), ..as_user(member) };
    let mut mel = join(&server, open.id, &invited).await;
    let mut gus = join(&server, open.id, &Join::invite(token(&other), "Gus")).await;
    let person = |id: Uuid| format!("/v1/reading-sessions/{}/participants/{id}", open.id);
    let (hera, delete) = (user(host, "Hera"), reqwest::Method::DELETE);
    let readmit =
        async |id: Uuid, token: &str| server.post(&format!("{}/readmit", person(id)), Some(token), Value::Null).await;
    readmit(mel.id(), &hera).await.refused(404, "not_found");

    let bad = format!("{}?revoke_invite=perhaps", person(gus.id()));
    server.call(delete.clone(), &bad, Some(&hera), Value::Null).await.refused(422, "invalid_request");
    let with_invite = format!("{}?revoke_invite=true", person(gus.id()));
    server.call(delete.clone(), &with_invite, Some(&hera), Value::Null).await.expect(204);
    assert_row(&gus.ended().await, REMOVED);
    let again = Client::refused(server.address(), &open.id.to_string(), &Join::invite(token(&other), "Gus")).await;
    assert_eq!((again.code, &again.error["message"]), (4510, &json!("This invitation link was revoked.")));

    server.call(delete, &person(mel.id()), Some(&hera), Value::Null).await.expect(204);
    assert_row(&mel.ended().await, REMOVED);
    refused(&server, open.id, &invited, REMOVED).await;
    assert!(readmit(mel.id(), &user(member, "Mel")).await.status.is_client_error(), "nobody readmits themselves");
    readmit(mel.id(), &hera).await.expect(204);
    let back = join(&server, open.id, &as_user(member)).await;
    assert_eq!(back.id(), mel.id());
    let ended = Client::refused(server.address(), &open.id.to_string(), &Join::resume(&mel.resume_token())).await;
    assert_eq!(ended.code, 4501, "{ended:?}");
    // The other invite is as it was.
    join(&server, open.id, &Join::invite(&open.invite, "Ida")).await;
}

#[tokio::test]
async fn a_full_session_takes_nobody_until_somebody_leaves() {
    let server = TestServer::start(&["--grace", "60s"]).await;
    let open = server.open_as(Some(&service()), json!({"max_participants": 2})).await;
    let limited = invite(&server, open.id, json!({"max_uses": 1})).await;
    let ada = join(&server, open.id, &Join::invite(&open.invite, "Ada")).await;
    let mut bob = join(&server, open.id, &Join::invite(&open.invite, "Bob")).await;
    let newcomer = Join::invite(token(&limited), "Cleo");
    refused(&server, open.id, &newcomer, SESSION_FULL).await;

    // A person who lost the connection keeps the place, and a second connection takes none.
    let (ada_id, ada_resume) = (ada.id(), ada.resume_token());
    ada.vanish();
    bob.until("Ada reconnecting", |bob| bob.view[&ada_id]["status"] == "reconnecting").await;
    refused(&server, open.id, &newcomer, SESSION_FULL).await;
    let ada = join(&server, open.id, &Join::resume(&ada_resume)).await;
    let _tab = join(&server, open.id, &Join::resume(&bob.resume_token())).await;
    refused(&server, open.id, &newcomer, SESSION_FULL).await;
    // An observer is not counted.
    let _observer = join(&server, open.id, &Join::token(&service())).await;

    assert_eq!(ada.close().await.code, 1000);
    let cleo = join(&server, open.id, &newcomer).await;
    bob.sees(&[bob.id(), cleo.id()]).await;
    refused(&server, open.id, &Join::invite(&open.invite, "Dan"), SESSION_FULL).await;
    // Ada has left: her place went to Cleo.
    refused(&server, open.id, &Join::resume(&ada_resume), SESSION_FULL).await;

    let path = format!("/v1/reading-sessions/{}", open.id);
    server.call(reqwest::Method::PATCH, &path, Some(&service()), json!({"max_participants": 3})).await.expect(200);
    let dan = join(&server, open.id, &Join::invite(&open.invite, "Dan")).await;
    bob.sees(&[bob.id(), cleo.id(), dan.id()]).await;
    assert_eq!(bob.gaps, []);
}

#[tokio::test]
async fn a_place_is_given_back_when_the_grace_runs_out() {
    let server = TestServer::start(&["--grace", "300ms"]).await;
    let open = server.open_as(Some(&service()), json!({"max_participants": 1})).await;
    join(&server, open.id, &Join::invite(&open.invite, "Ada")).await.vanish();
    eventually("a place", async || {
        Client::try_join(server.address(), open.id, &Join::invite(&open.invite, "Bob")).await.ok()
    })
    .await;
}

#[tokio::test]
async fn a_query_that_cannot_be_used_is_told() {
    let server = TestServer::start(&[]).await;
    let open = server.open().await;
    let name = |name: &str| Join::invite(&open.invite, name);
    let more = |more: &str| Join { more: more.into(), ..Join::invite(&open.invite, "Ada") };
    let nameless = Join { name: None, ..name("") };
    let cases = [
        ("name", nameless),
        ("name", name("")),
        ("name", name(" \t ")),
        ("name", name(&"é".repeat(81))),
        ("name", name("a\u{7}b")),
        ("name", name("a\nb")),
        ("name", name("\u{0}")),
        ("name", name("a\u{85}b")),
        ("platform", more("platform=Web")),
        ("platform", more("platform=")),
        ("client_session", more("client_session=")),
        ("client_session", more(&format!("client_session={}", "x".repeat(129)))),
        ("client_session", more("client_session=a%00b")),
        ("client_session", more("client_session=summary")),
        ("query", more("name=Eve")),
    ];
    for (field, way) in cases {
        let error = refused(&server, open.id, &way, INVALID_REQUEST).await;
        let body = server.handshake(&open.id.to_string(), &way).await.body;
        assert_eq!(body["errors"][0]["field"], field, "{way:?}: {error}");
        assert!(body["errors"][0]["message"].is_string());
    }
    // A user whose JWT has no name has to choose one; so has one whose name cannot be shown.
    for claimed in [Value::Null, json!("x".repeat(81)), json!("a\u{1}b")] {
        let claims =
            json!({"sub": Uuid::now_v7(), "role": "authenticated", "exp": seconds_from_now(3600), "name": claimed});
        let mut claims = claims;
        claims.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
        let way = Join { invite: Some(open.invite.clone()), ..Join::token(&sign(&claims)) };
        refused(&server, open.id, &way, INVALID_REQUEST).await;
        let named = join(&server, open.id, &Join { name: Some("Nora".into()), ..way }).await;
        assert_eq!(named.view[&named.id()]["name"], "Nora");
    }
    // What is just within the bounds is good, and unknown keys do no harm.
    let widest = "é".repeat(80);
    for (way, shown) in [
        (name(&format!("  {widest} ")), widest.as_str()),
        (more("platform=ios-widget&client_session=7&later=1"), "Ada"),
        (more(&format!("platform=macos-internal&client_session={}", "x".repeat(128))), "Ada"),
    ] {
        let client = join(&server, open.id, &way).await;
        assert_eq!(client.view[&client.id()]["name"], shown);
    }
}

#[tokio::test]
async fn without_a_good_credential_nobody_is_let_in() {
    let server = TestServer::start(&[]).await;
    let open = server.open().await;
    let ada = join(&server, open.id, &Join::invite(&open.invite, "Ada")).await;
    let resume = ada.resume_token();
    let mut tampered = resume.clone().into_bytes();
    let last = tampered.len() - 10;
    tampered[last] = if tampered[last] == b'A' { b'B' } else { b'A' };
    let tampered = String::from_utf8(tampered).expect("ASCII");

    refused(&server, open.id, &Join::default(), UNAUTHENTICATED).await;
    refused(&server, open.id, &Join { name: Some("Ada".into()), ..Join::default() }, UNAUTHENTICATED).await;
    for bad in ["x", "a.b.c", &tampered, &resume] {
        refused(&server, open.id, &Join::token(bad), UNAUTHENTICATED).await;
        // A bad JWT is not forgiven for the sake of an invite.
        let with_invite = Join { token: Some(bad.to_owned()), ..Join::invite(&open.invite, "Eve") };
        refused(&server, open.id, &with_invite, UNAUTHENTICATED).await;
    }
    for bad in ["", "x", "lsr_", &tampered, &resume[..resume.len() - 1], &format!("{resume}A")] {
        refused(&server, open.id, &Join::resume(bad), UNAUTHENTICATED).await;
    }
    assert_eq!(join(&server, open.id, &Join::resume(&resume)).await.id(), ada.id());
}

#[tokio::test]
async fn a_refused_resume_never_falls_through_to_what_else_is_shown() {
    let server = TestServer::start(&[]).await;
    let host = Uuid::now_v7();
    let (open, other) = (hosted(&server, host).await, server.open().await);
    let stranger = join(&server, other.id, &Join::invite(&other.invite, "Ada")).await;
    let ada = join(&server, open.id, &Join::invite(&open.invite, "Ada")).await;
    // As the database restored from a backup would have it: the token is of another generation.
    sqlx::query("UPDATE session_participants SET resume_generation = resume_generation + 1 WHERE id = $1")
        .bind(ada.id())
        .execute(&server.database.pool)
        .await
        .expect("an update");
    let resume = ada.resume_token();
    assert_eq!(ada.close().await.code, 1000);

    let good = [
        Join::default(),
        Join::invite(&open.invite, "Ada"),
        as_user(host),
        Join::token(&service()),
        Join { token: Some(user(host, "Hera")), ..Join::invite(&open.invite, "Ada") },
    ];
    for good in good {
        for (resume, row) in
            [("lsr_bad", UNAUTHENTICATED), (&resume, UNAUTHENTICATED), (&stranger.resume_token(), FORBIDDEN)]
        {
            refused(&server, open.id, &Join { resume: Some(resume.to_owned()), ..good.clone() }, row).await;
            // Nor where it is sent as a subprotocol.
            let header = ("sec-websocket-protocol", format!("lastseen.v1, lastseen.resume.{resume}"));
            refused(&server, open.id, &Join { headers: vec![header], ..good.clone() }, row).await;
        }
    }
}

#[tokio::test]
async fn a_good_credential_for_something_else_is_forbidden() {
    let server = TestServer::start(&[]).await;
    let host = Uuid::now_v7();
    let (open, other) = (hosted(&server, host).await, server.open().await);
    refused(&server, other.id, &as_user(host), FORBIDDEN).await;
    refused(&server, other.id, &Join::invite(&open.invite, "Ada"), FORBIDDEN).await;
    let user_with_other_invite = Join { invite: Some(open.invite.clone()), ..as_user(Uuid::now_v7()) };
    refused(&server, other.id, &user_with_other_invite, FORBIDDEN).await;
    let ada = join(&server, open.id, &Join::invite(&open.invite, "Ada")).await;
    refused(&server, other.id, &Join::resume(&ada.resume_token()), FORBIDDEN).await;
    // Also where the other session's room is in memory.
    let _bob = join(&server, other.id, &Join::invite(&other.invite, "Bob")).await;
    refused(&server, other.id, &Join::invite(&open.invite, "Ada"), FORBIDDEN).await;
    refused(&server, other.id, &Join::resume(&ada.resume_token()), FORBIDDEN).await;
}

#[tokio::test]
async fn a_token_that_has_expired_asks_for_a_fresh_one() {
    let server = TestServer::start(&quiet(&[])).await;
    let id = Uuid::now_v7();
    let open = hosted(&server, id).await;
    let until = |offset| {
        let claims = json!({"sub": id, "role": "authenticated", "name": "Hera", "exp": seconds_from_now(offset)});
        Join::token(&sign(&claims))
    };
    refused(&server, open.id, &until(-31), TOKEN_EXPIRED).await;
    refused(&server, open.id, &until(-31), TOKEN_EXPIRED).await;
    let with_invite = Join { invite: Some(open.invite.clone()), ..until(-31) };
    refused(&server, open.id, &with_invite, TOKEN_EXPIRED).await;

    let mut short = join(&server, open.id, &until(600)).await;
    let mut long = join(&server, open.id, &until(3600)).await;
    let mut guest = join(&server, open.id, &Join::invite(&open.invite, "Ada")).await;
    assert_eq!(short.id(), long.id());
    pass(Duration::from_mins(11)).await;
    assert_row(&short.ended().await, TOKEN_EXPIRED);
    // The other tab and the guest stay; with a fresh token the first comes back as the same person.
    guest.until("one tab less", |guest| guest.view[&long.id()]["connections"] == 1).await;
    assert_eq!(join(&server, open.id, &until(3600)).await.id(), long.id());
    long.catch_up().await;
}

#[tokio::test]
async fn of_several_credentials_the_first_that_fits_counts() {
    let server = TestServer::start(&[]).await;
    let (host, member) = (Uuid::now_v7(), Uuid::now_v7());
    let open = hosted(&server, host).await;
    let by_host_invite = invite(&server, open.id, json!({"role": "host", "max_uses": 5})).await;
    let uses = async || {
        let id: Uuid = by_host_invite["id"].as_str().expect("an id").parse().expect("a UUID");
        server.sql::<i32>("SELECT uses FROM session_invites WHERE id = $1", id).await
    };
    let guest = join(&server, open.id, &Join::invite(&open.invite, "Ada")).await;
    let una = join(&server, open.id, &Join { invite: Some(open.invite.clone()), ..as_user(member) }).await;
    assert_eq!(una.view[&una.id()]["role"], "participant");

    // A resume token before everything.
    let all = Join {
        resume: Some(guest.resume_token()),
        token: Some(user(host, "Hera")),
        invite: Some(token(&by_host_invite).into()),
        ..Join::default()
    };
    let resumed = join(&server, open.id, &all).await;
    assert_eq!((resumed.id(), &resumed.view[&resumed.id()]["role"]), (guest.id(), &json!("guest")));
    let observing = Join { resume: Some(guest.resume_token()), ..Join::token(&service()) };
    assert_eq!(join(&server, open.id, &observing).await.id(), guest.id());
    // Membership before an invite, however good, or bad.
    for invite in [token(&by_host_invite), "lsi_bad"] {
        let again = join(&server, open.id, &Join { invite: Some(invite.into()), ..as_user(member) }).await;
        assert_eq!((again.id(), &again.view[&again.id()]["role"]), (una.id(), &json!("participant")));
        let hera = join(&server, open.id, &Join { invite: Some(invite.into()), ..as_user(host) }).await;
        assert_eq!(hera.view[&hera.id()]["role"], "host");
    }
    assert_eq!(uses().await, 0);
    // An invite before the service's right to watch.
    let named = Join { token: Some(service()), ..Join::invite(token(&by_host_invite), "Rob") };
    let robot = join(&server, open.id, &named).await;
    assert_eq!(robot.view[&robot.id()]["role"], "host");
    assert_eq!(uses().await, 1);
    let observer = join(&server, open.id, &Join::token(&service())).await;
    assert_eq!((&observer.welcome["you"], &observer.welcome["resume"]), (&Value::Null, &Value::Null));
    assert_eq!(observer.welcome["occupancy"], observer.view.len());
}

#[tokio::test]
async fn the_others_hear_nothing_of_somebody_who_is_refused() {
    let server = TestServer::start(&[]).await;
    let open = server.open().await;
    let limited = invite(&server, open.id, json!({"max_uses": 2})).await;
    let mut ada = join(&server, open.id, &Join::invite(&open.invite, "Ada")).await;
    refused(&server, open.id, &Join::default(), UNAUTHENTICATED).await;
    refused(&server, open.id, &Join::invite("lsi_bad", "Eve"), INVITE_NOT_FOUND).await;
    refused(&server, open.id, &Join::invite(token(&limited), "a\u{7}b"), INVALID_REQUEST).await;
    refused(&server, open.id, &Join { name: None, ..Join::invite(&open.invite, "") }, INVALID_REQUEST).await;
    refused(&server, open.id, &as_user(Uuid::now_v7()), FORBIDDEN).await;
    assert_eq!(server.participants(open.id).await["occupancy"], 1);

    // The next person who joins is the first in a diff for Ada.
    let bob = join(&server, open.id, &Join::invite(token(&limited), "Bob")).await;
    ada.sees(&[ada.id(), bob.id()]).await;
    let told =
        |kind: &'static str| ada.heard.iter().flat_map(move |frame| frame[kind].as_array().into_iter().flatten());
    // Her own join may be in a diff too.
    let came: Vec<_> = told("joins").map(|person| &person["name"]).filter(|name| *name != "Ada").collect();
    assert_eq!(came, ["Bob"]);
    assert_eq!((told("updates").count(), told("leaves").count()), (0, 0));
    // The uses of an invite without a limit are counted with the flush: the refused are not among them.
    eventually("the uses counted", async || {
        let uses: Value = server
            .sql("SELECT jsonb_object_agg(coalesce(max_uses::text, 'any'), uses) FROM session_invites WHERE session_id = $1 AND role = 'guest'", open.id)
            .await;
        (uses == json!({"any": 1, "2": 1})).then_some(())
    })
    .await;
}

#[tokio::test]
async fn pages_of_other_origins_are_not_let_in() {
    let server = TestServer::start(&["--allowed-origins", "https://app.example"]).await;
    let open = server.open().await;
    let of = |origin: &str| Join { headers: vec![("origin", origin.to_owned())], ..Join::invite(&open.invite, "Ada") };
    let own = format!("http://{}", server.address());
    for origin in
        ["https://evil.example", "null", "http://app.example", "https://app.example.evil.example", &format!("{own}0")]
    {
        let error =
            Client::connect(server.address(), &open.id.to_string(), &of(origin)).await.err().expect("no upgrade");
        let tokio_tungstenite::tungstenite::Error::Http(response) = error else { panic!("{error}") };
        assert_eq!(response.status(), 403, "{origin}");
        server.handshake(&open.id.to_string(), &of(origin)).await.refused(403, "origin_not_allowed");
    }
    assert_eq!(traces(&server).await[0], Value::Null, "nobody came");
    for origin in ["https://app.example", &own] {
        join(&server, open.id, &of(origin)).await;
    }
}

#[tokio::test]
async fn what_is_no_handshake_is_answered_in_http() {
    let server = TestServer::start(&[]).await;
    let open = server.open().await;
    let path = format!("/v1/reading-sessions/{}/ws", open.id);
    server.get("/v1/nowhere", None).await.refused(404, "not_found");
    server.get(&format!("{path}/more"), None).await.refused(404, "not_found");
    server.post(&path, None, json!({})).await.refused(405, "method_not_allowed");
    let plain = server.get(&path, None).await;
    assert_eq!(plain.headers["upgrade"], "websocket", "RFC 9110: what the client has to change to");
    plain.refused(426, "invalid_request");

    // A handshake that lacks something, line by line.
    let lines = [
        "Host: x",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let cases = [
        ("Connection: Upgrade", "Connection: keep-alive", 426),
        ("Upgrade: websocket", "Upgrade: h2c", 426),
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8", 400),
        ("Sec-WebSocket-Version: 13", "X: y", 400),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "X: y", 400),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Key: short", 400),
        ("Host: x", "Host: x", 101),
    ];
    for (line, instead, status) in cases {
        let lines = lines.map(|kept| if kept == line { instead } else { kept }).join("\r\n");
        let mut raw = Raw::connect(server.address()).await;
        raw.send(format!("GET {path}?invite={}&name=Ada HTTP/1.1\r\n{lines}\r\n\r\n", open.invite).as_bytes()).await;
        let head = raw.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{instead}: {head}");
    }
    // HTTP/1.0 has no upgrades: it must not be let in first and fail then.
    let mut raw = Raw::connect(server.address()).await;
    let lines = lines.join("\r\n");
    raw.send(format!("GET {path}?invite={}&name=Old HTTP/1.0\r\n{lines}\r\n\r\n", open.invite).as_bytes()).await;
    let head = raw.head().await;
    assert!(head.contains(" 400 "), "{head}");
    let admitted: i64 =
        server.sql("SELECT count(*) FROM session_participants WHERE name = 'Old' AND session_id = $1", open.id).await;
    assert_eq!(admitted, 0);
    // What is not HTTP at all.
    for garbage in
        ["garbage\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n"]
    {
        let mut raw = Raw::connect(server.address()).await;
        raw.send(garbage.as_bytes()).await;
        let answer = raw.end().await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{garbage:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_server_that_drains_asks_everybody_to_come_back() {
    let server = TestServer::start(&[]).await;
    let open = server.open().await;
    let mut clients = Vec::new();
    for index in 0..8 {
        clients.push(join(&server, open.id, &Join::invite(&open.invite, &format!("Person {index}"))).await);
    }
    server.server.registry().refuse_newcomers();
    // Not after the upgrade: a server that is about to go opens nothing.
    let newcomer = Join::invite(&open.invite, "Late");
    let error = Client::connect(server.address(), &open.id.to_string(), &newcomer).await.err().expect("no upgrade");
    assert!(matches!(error, tokio_tungstenite::tungstenite::Error::Http(response) if response.status() == 503));
    let answer = server.handshake(&open.id.to_string(), &newcomer).await;
    assert!(answer.headers["retry-after"].to_str().is_ok_and(|seconds| seconds.parse::<u32>().is_ok()));
    answer.refused(503, "draining");
    server.get("/readyz", None).await.refused(503, "draining");

    let stopped = tokio::spawn(server.stop());
    let mut waits = std::collections::BTreeSet::new();
    for client in &mut clients {
        let ended = client.ended().await;
        assert_row(&ended, (1012, "draining", 503));
        waits.insert(ended.error["retry_after_ms"].as_u64().expect("a time to come back"));
        let leaves =
            client.heard.iter().filter(|frame| frame["leaves"].as_array().is_some_and(|leaves| !leaves.is_empty()));
        assert_eq!(leaves.count(), 0, "nobody is shown as leaving");
    }
    assert!(waits.len() > 1, "not all at the same time: {waits:?}");
    stopped.await.expect("a stop in good order");
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_told_and_those_who_wait_leave_no_trace() {
    let server = TestServer::start(&[]).await;
    let open = server.open().await;
    let once = invite(&server, open.id, json!({"max_uses": 1})).await;
    let mut lock = server.database.pool.acquire().await.expect("a connection");
    let mut transaction = lock.begin().await.expect("a transaction");
    sqlx::query("LOCK TABLE reading_sessions IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *transaction)
        .await
        .expect("a lock");
    let newcomer = Join::invite(token(&once), "Ada");
    let ended = Client::refused_at_once(server.address(), &open.id.to_string(), &newcomer).await;
    assert_row(&ended, UNAVAILABLE);
    assert!(ended.error["retry_after_ms"].as_u64().is_some_and(|wait| wait > 0));
    let answer = server.handshake_once(&open.id.to_string(), &newcomer).await;
    assert!(answer.headers.contains_key("retry-after"));
    answer.refused(503, "unavailable");
    // The server has given up on the answers, so the database has to as well: statements that run when the lock
    // is free would admit people who are gone, after the compensation.
    eventually("no statement that waits", async || {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .fetch_one(&mut *transaction)
        .await
        .expect("a count");
        (waiting == 0).then_some(())
    })
    .await;
    transaction.rollback().await.expect("the lock given back");
    // Whatever ran all the same is undone: the one use of the invite, and the participants without a
    // connection.
    let ada = eventually("the join", async || Client::try_join(server.address(), open.id, &newcomer).await.ok()).await;
    eventually("only those who are here", async || {
        let traces = traces(&server).await;
        let people = traces[0].as_array()?;
        let used = &traces[1][0][1];
        (people.len() == 1 && people[0][0] == json!(ada.id()) && *used == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_fault_of_the_servers_own_is_called_one_and_tells_nothing_more() {
    let server = TestServer::start(&[]).await;
    let open = server.open().await;
    let mut ada = join(&server, open.id, &Join::invite(&open.invite, "Ada")).await;
    sqlx::query("DROP FUNCTION lastseen.admit").execute(&server.database.pool).await.expect("no function");
    let error = refused(&server, open.id, &Join::invite(&open.invite, "Bob"), INTERNAL).await;
    assert_eq!(error["message"], "Something went wrong in the server. Try again.");
    assert!(error["retry_after_ms"].is_u64());
    ada.catch_up().await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_dead() {
    let server = TestServer::start(&[]).await;
    let open = server.open().await;
    let mut silent = join(&server, open.id, &Join::invite(&open.invite, "Ada")).await;
    // A client that does not read answers no Ping.
    pass(Duration::from_secs(76)).await;
    eventually("the end of the silent connection", async || {
        (server.metric("lastseen_connection_ends_total{reason=\"beat_timeout\"}").await == 1.0).then_some(())
    })
    .await;
    assert_row(&silent.ended().await, (4008, "beat_timeout", 408));
}

#[tokio::test]
async fn whoever_leaves_is_answered_with_the_same_word() {
    let server = TestServer::start(&["--grace", "60s"]).await;
    let open = server.open().await;
    let mut ada = join(&server, open.id, &Join::invite(&open.invite, "Ada")).await;
    let bob = join(&server, open.id, &Join::invite(&open.invite, "Bob")).await;
    let mut cleo = join(&server, open.id, &Join::invite(&open.invite, "Cleo")).await;
    ada.sees(&[ada.id(), bob.id(), cleo.id()]).await;
    assert_eq!(bob.close().await.code, 1000);
    cleo.send(json!({"type": "leave"})).await;
    match cleo.ended().await {
        Ended { code: 1000, error } => assert_eq!(error, Value::Null),
        ended => panic!("{ended:?}"),
    }
    // Long before the grace: they left.
    ada.sees(&[ada.id()]).await;
    let Step::Ended(after) = cleo.step().await else { panic!("something was sent after the close") };
    assert_eq!(after.error, Value::Null);
}

#[tokio::test]
async fn refusals_never_repeat_a_token() {
    let server = TestServer::start(&[]).await;
    let open = server.open().await;
    let jwt = sign(&json!({"sub": "nobody", "role": "authenticated", "exp": seconds_from_now(3600)}));
    let shown = [
        (Join::invite("lsi_secretsecretsecret", "Eve"), "lsi_secretsecretsecret"),
        (Join::resume("lsr_secretsecretsecret"), "lsr_secretsecretsecret"),
        (Join::token(&jwt), &jwt),
    ];
    for (way, secret) in shown {
        let ended = Client::refused(server.address(), &open.id.to_string(), &way).await;
        assert!(!ended.error.to_string().contains(secret));
        let answer = server.handshake(&open.id.to_string(), &way).await;
        assert!(!format!("{answer:?}").contains(secret));
    }
    let metrics = server.get("/metrics", None).await.body.to_string();
    assert!(metrics.contains("lastseen_refusals"), "the refusals are counted");
    assert!(!metrics.contains("secretsecret") && !metrics.contains(&jwt));
}

/// The wait that stands in an HTTP answer is at least the one in the frame's form: whole seconds.
#[tokio::test]
async fn a_time_to_come_back_is_in_whole_seconds_over_http() {
    let server = TestServer::start(&["--max-connections", "0"]).await;
    let open = server.open().await;
    let answer = server.handshake(&open.id.to_string(), &Join::invite(&open.invite, "Ada")).await;
    let seconds: u64 = answer.headers["retry-after"].to_str().expect("text").parse().expect("whole seconds");
    assert!(Duration::from_secs(seconds) >= Duration::from_secs(1));
    answer.refused(503, "at_capacity");
}
