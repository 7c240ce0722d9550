//! Sits: started, completed once, by id, and read by partners.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::rest::{Answer, Rest, did, keys, service, user};
use crate::harness::rows::execute;
use crate::harness::{TestServer, client::id, quiet};

pub async fn start(rest: &Rest, token: &str, body: Value) -> Uuid {
    id(&rest.post("/v1/sits", Some(token), body).await.expect(201)["id"])
}

pub async fn complete(rest: &Rest, token: &str, sit: Uuid, body: Value) -> Answer {
    rest.post(&format!("/v1/sits/{sit}/complete"), Some(token), body).await
}

pub async fn history(rest: &Rest, token: &str, query: &str) -> Vec<Uuid> {
    let page = rest.get(&format!("/v1/sits?{query}"), Some(token)).await.expect(200);
    page["items"].as_array().expect("a list").iter().map(|sit| id(&sit["id"])).collect()
}

pub async fn partnership(rest: &Rest, users: &[Uuid]) -> Uuid {
    id(&rest.post("/v1/partnerships", Some(&service()), json!({"user_ids": users})).await.expect(201)["id"])
}

/// Puts the beginning of a sit ten minutes into the past.
async fn age(server: &TestServer, sit: Uuid) {
    execute(
        &server.database.pool,
        "UPDATE sits SET started_at = started_at - interval '10 minutes' WHERE id = $1",
        sit,
    )
    .await;
}

#[tokio::test]
async fn a_sit_is_completed_once_on_time_or_early_where_that_is_said() {
    let server = TestServer::start(&quiet(&["--sweep-interval", "1h"])).await;
    let ada = Uuid::now_v7();
    let token = user(ada, "Ada");
    let body = json!({"sit_length_seconds": 600});
    let started = server.post("/v1/sits", Some(&token), body.clone()).await.expect(201);
    let wanted = [
        "id",
        "user_id",
        "partnership_id",
        "room_sit_id",
        "sit_length_seconds",
        "started_at",
        "completed_at",
        "is_completed",
        "status",
        "created_at",
        "duration_seconds",
    ];
    assert_eq!(keys(&started), wanted.into());
    assert_eq!((&started["status"], &started["is_completed"]), (&json!("open"), &json!(false)));
    assert_eq!((&started["completed_at"], &started["duration_seconds"]), (&Value::Null, &Value::Null));
    assert_eq!(started["created_at"], started["started_at"]);

    let on_time = id(&started["id"]);
    let refused = complete(&server, &token, on_time, Value::Null).await;
    assert!(refused.refused(409, "too_early").contains("early"));
    complete(&server, &token, on_time, json!({"early": false})).await.refused(409, "too_early");
    age(&server, on_time).await;
    let done = complete(&server, &token, on_time, Value::Null).await.expect(200);
    assert_eq!((&done["status"], &done["is_completed"]), (&json!("completed"), &json!(true)));
    assert!((600..660).contains(&done["duration_seconds"].as_i64().expect("a number")), "{done}");
    complete(&server, &token, on_time, Value::Null).await.refused(409, "already_completed");
    complete(&server, &token, on_time, json!({"early": true})).await.refused(409, "already_completed");

    let early = start(&server, &token, json!({"sit_length_seconds": 3600})).await;
    age(&server, early).await;
    let done = complete(&server, &token, early, json!({"early": true})).await.expect(200);
    assert!((600..660).contains(&done["duration_seconds"].as_i64().expect("a number")), "what was really sat: {done}");
    complete(&server, &token, early, json!({"early": true})).await.refused(409, "already_completed");

    complete(&server, &token, Uuid::now_v7(), Value::Null).await.refused(404, "sit_not_found");
    server.post("/v1/sits/mine/complete", Some(&token), Value::Null).await.refused(404, "sit_not_found");
    for body in [
        json!({}),
        json!({"sit_length_seconds": 0}),
        json!({"sit_length_seconds": 86_401}),
        json!({"sit_length_seconds": 1.5}),
        json!({"sit_length_seconds": "600"}),
        json!({"sit_length_seconds": 600, "color": "red"}),
        json!({"sit_length_seconds": 600, "partnership_id": "ours"}),
    ] {
        server.post("/v1/sits", Some(&token), body).await.refused(422, "invalid_request");
    }
    complete(&server, &token, early, json!({"early": "yes"})).await.refused(422, "invalid_request");
    server.post("/v1/sits", Some(&service()), body).await.refused(403, "forbidden");
}

#[tokio::test]
async fn where_the_clock_was_set_back_a_sit_lasted_no_time() {
    let server = TestServer::start(&[]).await;
    let token = user(Uuid::now_v7(), "Ada");
    let sit = start(&server, &token, json!({"sit_length_seconds": 600})).await;
    let ahead = "UPDATE sits SET started_at = now() + interval '1 hour' WHERE id = $1";
    execute(&server.database.pool, ahead, sit).await;
    let done = complete(&server, &token, sit, json!({"early": true})).await.expect(200);
    assert_eq!((&done["duration_seconds"], &done["completed_at"]), (&json!(0), &done["started_at"]));

    // Also where somebody else wrote the times.
    let backwards = "UPDATE sits SET completed_at = started_at - interval '1 hour' WHERE id = $1";
    execute(&server.database.pool, backwards, sit).await;
    let page = server.get("/v1/sits", Some(&token)).await.expect(200);
    assert_eq!(page["items"][0]["duration_seconds"], 0);
    let open = start(&server, &token, json!({"sit_length_seconds": 600})).await;
    let page = server.get("/v1/sits?completed=false", Some(&token)).await.expect(200);
    assert_eq!((id(&page["items"][0]["id"]), &page["items"][0]["duration_seconds"]), (open, &Value::Null));
}

#[tokio::test]
async fn old_sits_are_deleted_by_the_sweep() {
    let server = TestServer::start(&quiet(&["--sweep-interval", "1h", "--retention", "sits=2d"])).await;
    let token = user(Uuid::now_v7(), "Ada");
    let mut sits = Vec::new();
    for ended in [
        "UPDATE sits SET started_at = now() - interval '50 hours' WHERE id = $1",
        "UPDATE sits SET started_at = now() - interval '50 hours', status = 'completed', is_completed = true,
            completed_at = now() - interval '47 hours' WHERE id = $1",
        "UPDATE sits SET started_at = now() - interval '50 hours', status = 'completed', is_completed = true,
            completed_at = now() - interval '49 hours' WHERE id = $1",
    ] {
        let sit = start(&server, &token, json!({"sit_length_seconds": 86_400})).await;
        execute(&server.database.pool, ended, sit).await;
        sits.push(sit);
    }
    // The first one is abandoned by this sweep, and was over a day after it had begun.
    assert_eq!(did(&server.sweep().await), json!({"sits_abandoned": 1, "sits_purged": 1}));
    let kept: Vec<Uuid> =
        sqlx::query_scalar("SELECT id FROM sits ORDER BY id").fetch_all(&server.database.pool).await.expect("rows");
    assert_eq!(kept, sits[..2]);
    assert_eq!(did(&server.sweep().await), json!({}));
    assert_eq!(server.metric("lastseen_swept_total{policy=\"sits_purged\"}").await, 1.0);
}

#[tokio::test]
async fn several_open_sits_of_one_user_are_never_confused() {
    let server = TestServer::start(&[]).await;
    let (ada, bob) = (Uuid::now_v7(), Uuid::now_v7());
    let token = user(ada, "Ada");
    let ours = partnership(&server, &[ada, bob]).await;
    // Alike but for their ids, and not.
    let alike = json!({"sit_length_seconds": 600});
    let mut open = Vec::new();
    for body in [&alike, &alike, &json!({"sit_length_seconds": 600, "partnership_id": ours}), &alike] {
        open.push(start(&server, &token, body.clone()).await);
    }
    open.reverse();
    for done in [2, 0] {
        let completed = complete(&server, &token, open[done], json!({"early": true})).await.expect(200);
        assert_eq!(id(&completed["id"]), open[done]);
    }
    assert_eq!(history(&server, &token, "").await, open);
    assert_eq!(history(&server, &token, "completed=true").await, [open[0], open[2]]);
    assert_eq!(history(&server, &token, "completed=false").await, [open[1], open[3]]);
    assert_eq!(history(&server, &token, &format!("partnership_id={ours}")).await, [open[1]]);
    assert_eq!(history(&server, &token, &format!("partnership_id={ours}&completed=true")).await, Vec::<Uuid>::new());

    // Of many completions at one moment one is the first.
    let answers = join_all((0..10).map(|_| complete(&server, &token, open[1], json!({"early": true})))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    for answer in answers.into_iter().filter(|answer| answer.status != 200) {
        answer.refused(409, "already_completed");
    }
    assert_eq!(history(&server, &token, "completed=false").await, [open[3]]);
}

#[tokio::test]
async fn the_history_comes_in_pages_and_what_cannot_be_asked_is_told() {
    let server = TestServer::start(&[]).await;
    let token = user(Uuid::now_v7(), "Ada");
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(start(&server, &token, json!({"sit_length_seconds": 60})).await);
    }
    all.reverse();
    let (mut seen, mut query) = (Vec::new(), "limit=2".to_owned());
    loop {
        let page = server.get(&format!("/v1/sits?{query}"), Some(&token)).await.expect(200);
        seen.extend(page["items"].as_array().expect("a list").iter().map(|sit| id(&sit["id"])));
        let Some(next) = page["next_cursor"].as_str() else { break };
        query = format!("limit=2&cursor={next}");
    }
    assert_eq!(seen, all);
    for query in ["partnership_id=ours", "completed=maybe", "status=over", "limit=0", "cursor=x"] {
        server.get(&format!("/v1/sits?{query}"), Some(&token)).await.refused(422, "invalid_request");
    }
    for (method, path) in [
        (Method::POST, "/v1/sits".to_owned()),
        (Method::GET, "/v1/sits".to_owned()),
        (Method::GET, "/v1/sits/weeks".to_owned()),
        (Method::GET, format!("/v1/sits/{}", all[0])),
        (Method::POST, format!("/v1/sits/{}/complete", all[0])),
        (Method::POST, "/v1/partnerships".to_owned()),
        (Method::GET, "/v1/partnerships".to_owned()),
    ] {
        let body = if method == Method::POST { json!({}) } else { Value::Null };
        let answer = server.call(method, &path, None, body).await;
        assert!([401, 422].contains(&answer.status.as_u16()), "{path}: {}", answer.body);
    }
}

#[tokio::test]
async fn partners_read_each_others_sits_in_the_partnership_and_nobody_else_does() {
    let server = TestServer::start(&[]).await;
    let [ada, bob, cid] = [(); 3].map(|()| Uuid::now_v7());
    let [a, b, c] = [(ada, "Ada"), (bob, "Bob"), (cid, "Cid")].map(|(id, name)| user(id, name));
    let (ours, theirs) = (partnership(&server, &[bob, ada]).await, partnership(&server, &[bob, cid]).await);

    let sit = |partnership: Option<Uuid>| json!({"sit_length_seconds": 600, "partnership_id": partnership});
    let of_ada = start(&server, &a, sit(Some(ours))).await;
    let alone = start(&server, &a, sit(None)).await;
    let of_bob = start(&server, &b, sit(Some(ours))).await;
    let with_cid = start(&server, &b, sit(Some(theirs))).await;
    for stranger in [theirs, Uuid::now_v7()] {
        server.post("/v1/sits", Some(&a), sit(Some(stranger))).await.refused(404, "not_found");
    }

    let in_ours = format!("partnership_id={ours}");
    for token in [&a, &b, &service()] {
        assert_eq!(history(&server, token, &in_ours).await, [of_bob, of_ada]);
    }
    assert_eq!(history(&server, &c, &in_ours).await, Vec::<Uuid>::new());
    assert_eq!(history(&server, &a, "").await, [alone, of_ada], "without a partnership its own");
    assert_eq!(history(&server, &b, "").await, [with_cid, of_bob]);
    assert_eq!(history(&server, &service(), "").await, [with_cid, of_bob, alone, of_ada]);
    assert_eq!(history(&server, &a, &format!("partnership_id={theirs}")).await, Vec::<Uuid>::new());

    // One of them by its id.
    let read = async |token: &str, sit: Uuid| server.get(&format!("/v1/sits/{sit}"), Some(token)).await;
    for (token, sit) in [(&a, of_ada), (&b, of_ada), (&a, alone), (&service(), alone), (&c, with_cid)] {
        let shown = read(token, sit).await.expect(200);
        let page = server.get("/v1/sits", Some(&service())).await.expect(200);
        assert!(page["items"].as_array().expect("a list").contains(&shown), "as in the list: {shown}");
        assert_eq!(id(&shown["id"]), sit);
    }
    for (token, sit) in [(&b, alone), (&c, of_ada), (&a, with_cid), (&service(), Uuid::now_v7())] {
        read(token, sit).await.refused(404, "sit_not_found");
    }
    server.get("/v1/sits/mine", Some(&a)).await.refused(404, "sit_not_found");

    // To read is not to write.
    complete(&server, &a, of_bob, json!({"early": true})).await.refused(404, "sit_not_found");
    complete(&server, &c, alone, json!({"early": true})).await.refused(404, "sit_not_found");
    complete(&server, &service(), of_bob, json!({"early": true})).await.expect(200);

    let listed = async |token: &str| {
        let page = server.get("/v1/partnerships", Some(token)).await.expect(200);
        let ids = |partnership: &Value| {
            let mut users: Vec<_> = partnership["user_ids"].as_array().expect("a list").iter().map(id).collect();
            users.sort();
            (id(&partnership["id"]), users)
        };
        page["items"].as_array().expect("a list").iter().map(ids).collect::<Vec<_>>()
    };
    assert_eq!(listed(&a).await, [(ours, vec![ada, bob])]);
    assert_eq!(listed(&b).await, [(theirs, vec![bob, cid]), (ours, vec![ada, bob])]);
    assert_eq!(listed(&service()).await.len(), 2);
    assert_eq!(listed(&user(Uuid::now_v7(), "Dan")).await, []);
}

#[tokio::test]
async fn the_weekly_view_counts_what_was_really_sat() {
    let server = TestServer::start(&[]).await;
    let [ada, bob] = [(); 2].map(|()| Uuid::now_v7());
    let (a, b) = (user(ada, "Ada"), user(bob, "Bob"));
    let ours = partnership(&server, &[ada, bob]).await;
    for (token, early) in [(&a, false), (&a, true), (&b, false)] {
        let sit = start(&server, token, json!({"sit_length_seconds": 60, "partnership_id": ours})).await;
        let (started, completed): (DateTime<Utc>, DateTime<Utc>) = if early {
            ("2026-11-10T08:00:00Z".parse().expect("a time"), "2026-11-10T08:00:20Z".parse().expect("a time"))
        } else {
            ("2026-11-16T00:00:00Z".parse().expect("a time"), "2026-11-16T00:01:00Z".parse().expect("a time"))
        };
        complete(&server, token, sit, json!({"early": true})).await.expect(200);
        sqlx::query("UPDATE sits SET started_at = $2, completed_at = $3 WHERE id = $1")
            .bind(sit)
            .bind(started)
            .bind(completed)
            .execute(&server.database.pool)
            .await
            .expect("an update");
    }
    let open = start(&server, &a, json!({"sit_length_seconds": 60, "partnership_id": ours})).await;
    let weeks = format!("/v1/sits/weeks?partnership_id={ours}");
    let week = |user: Uuid, iso_week: &str, starts_on: &str, seconds: i64| json!({"user_id": user, "iso_week": iso_week, "week_starts_on": starts_on, "sits_completed": 1, "seconds": seconds});
    let wanted = json!([
        week(bob, "2026-W47", "2026-11-16", 60),
        week(ada, "2026-W47", "2026-11-16", 60),
        week(ada, "2026-W46", "2026-11-09", 20),
    ]);
    for token in [&a, &b, &service()] {
        assert_eq!(server.get(&weeks, Some(token)).await.expect(200)["items"], wanted);
    }
    let first = server.get(&format!("{weeks}&limit=2"), Some(&a)).await.expect(200);
    let cursor = first["next_cursor"].as_str().expect("a cursor");
    let second = server.get(&format!("{weeks}&limit=2&cursor={cursor}"), Some(&a)).await.expect(200);
    assert_eq!((second["items"].as_array(), &second["next_cursor"]), (Some(&vec![wanted[2].clone()]), &Value::Null));
    let stranger = user(Uuid::now_v7(), "Cid");
    assert_eq!(server.get(&weeks, Some(&stranger)).await.expect(200)["items"], json!([]));
    server.get("/v1/sits/weeks", Some(&a)).await.refused(422, "invalid_request");
    server.get("/v1/sits/weeks?partnership_id=ours", Some(&a)).await.refused(422, "invalid_request");
    complete(&server, &a, open, json!({"early": true})).await.expect(200);
}

#[tokio::test]
async fn a_sit_that_nobody_completes_is_abandoned_by_the_sweep() {
    let server = TestServer::start(&quiet(&["--sweep-interval", "1h", "--sit-grace", "1m"])).await;
    let token = user(Uuid::now_v7(), "Ada");
    let overdue = start(&server, &token, json!({"sit_length_seconds": 500})).await;
    let within_grace = start(&server, &token, json!({"sit_length_seconds": 580})).await;
    let running = start(&server, &token, json!({"sit_length_seconds": 3600})).await;
    for sit in [overdue, within_grace, running] {
        age(&server, sit).await;
    }
    assert_eq!(did(&server.sweep().await), json!({"sits_abandoned": 1}));
    assert_eq!(did(&server.sweep().await), json!({}), "once");
    assert_eq!(server.metric("lastseen_swept_total{policy=\"sits_abandoned\"}").await, 1.0);
    assert!(
        complete(&server, &token, overdue, json!({"early": true})).await.refused(409, "conflict").contains("abandoned")
    );
    complete(&server, &token, within_grace, Value::Null).await.expect(200);
    complete(&server, &token, running, Value::Null).await.refused(409, "too_early");
    assert_eq!(history(&server, &token, "completed=false").await, [running, overdue]);
    assert_eq!(history(&server, &token, "status=open").await, [running]);
    assert_eq!(history(&server, &token, "status=abandoned").await, [overdue]);
    assert_eq!(history(&server, &token, "status=completed").await, [within_grace]);
    assert_eq!(history(&server, &token, "status=completed&completed=false").await, Vec::<Uuid>::new());
    // It was sat to its end by a client that was away then.
    let sat = complete(&server, &token, overdue, Value::Null).await.expect(200);
    assert_eq!((&sat["status"], &sat["duration_seconds"]), (&json!("completed"), &json!(500)));
    complete(&server, &token, overdue, Value::Null).await.refused(409, "already_completed");
    assert_eq!(history(&server, &token, "completed=false").await, [running]);
}

#[tokio::test]
async fn a_sit_that_is_reported_late_is_recorded_as_of_its_end_and_once() {
    let server = TestServer::start(&quiet(&["--sweep-interval", "1h", "--retention", "sits=2d"])).await;
    let token = user(Uuid::now_v7(), "Ada");
    let begin = async || {
        let sit = start(&server, &token, json!({"sit_length_seconds": 500})).await;
        age(&server, sit).await;
        sit
    };
    // As a client knows it, who has the start in milliseconds.
    let end_of = async |sit: Uuid, more: i64| {
        let shown = server.get(&format!("/v1/sits/{sit}"), Some(&token)).await.expect(200);
        let started: DateTime<Utc> = shown["started_at"].as_str().expect("a time").parse().expect("a time");
        json!({"completed_at": started + TimeDelta::seconds(500 + more)})
    };
    // 100 s ago it was over, which is within the grace.
    let late = begin().await;
    for more in [-2, 2, 99, -500] {
        let refused = complete(&server, &token, late, end_of(late, more).await).await.refused(409, "conflict");
        assert!(refused.contains("must be the end of this sit, 20"), "{refused}");
    }
    let done = complete(&server, &token, late, end_of(late, 0).await).await.expect(200);
    assert_eq!((&done["status"], &done["duration_seconds"]), (&json!("completed"), &json!(500)));
    complete(&server, &token, late, end_of(late, 0).await).await.refused(409, "already_completed");
    complete(&server, &token, late, end_of(late, 99).await).await.refused(409, "already_completed");
    // Without it, it was completed when that was said.
    let now = begin().await;
    let done = complete(&server, &token, now, Value::Null).await.expect(200);
    assert!(done["duration_seconds"].as_i64().is_some_and(|seconds| seconds >= 600), "{done}");

    // Before it is over, nobody knows that it will be sat to its end.
    let running = start(&server, &token, json!({"sit_length_seconds": 500})).await;
    complete(&server, &token, running, end_of(running, 0).await).await.refused(409, "too_early");
    for (field, body) in [
        ("completed_at", json!({"completed_at": "today"})),
        ("completed_at", json!({"completed_at": "-200000-01-01T00:00:00Z"})),
        ("completed_at", json!({"completed_at": 7})),
    ] {
        let answer = complete(&server, &token, running, body).await;
        assert_eq!(answer.body["errors"][0]["field"], field);
        answer.refused(422, "invalid_request");
    }

    // Abandoned, then reported after a day: until it is deleted.
    let [locked, lost] = [begin().await, begin().await];
    for sit in [locked, lost] {
        let day = "UPDATE sits SET started_at = started_at - interval '1 day' WHERE id = $1";
        execute(&server.database.pool, day, sit).await;
    }
    assert_eq!(did(&server.sweep().await), json!({"sits_abandoned": 2}));
    complete(&server, &token, locked, end_of(locked, 60).await).await.refused(409, "conflict");
    let done = complete(&server, &token, locked, end_of(locked, 0).await).await.expect(200);
    assert_eq!((&done["status"], &done["duration_seconds"]), (&json!("completed"), &json!(500)));
    complete(&server, &token, locked, end_of(locked, 0).await).await.refused(409, "already_completed");
    let end = end_of(lost, 0).await;
    let days = "UPDATE sits SET started_at = started_at - interval '2 days' WHERE id = $1";
    execute(&server.database.pool, days, lost).await;
    assert_eq!(did(&server.sweep().await), json!({"sits_purged": 1}));
    complete(&server, &token, lost, end).await.refused(404, "sit_not_found");
}

/// Writes when a sit was, as a superuser.
async fn was(server: &TestServer, sit: Uuid, started: &str, completed: &str) {
    let time = |text: &str| text.parse::<DateTime<Utc>>().expect("a time");
    let times =
        "UPDATE sits SET started_at = $2, completed_at = $3, status = 'completed', is_completed = true WHERE id = $1";
    let update = sqlx::query(times).bind(sit).bind(time(started)).bind(time(completed));
    update.execute(&server.database.pool).await.expect("an update");
}

#[tokio::test]
async fn the_seconds_of_a_week_are_the_sum_of_its_sits_and_the_week_is_that_of_a_time_zone() {
    let server = TestServer::start(&[]).await;
    let [ada, bob] = [(); 2].map(|()| Uuid::now_v7());
    let a = user(ada, "Ada");
    let ours = partnership(&server, &[ada, bob]).await;
    let sit = json!({"sit_length_seconds": 60, "partnership_id": ours});
    // Three times 60.4 s are three sits of 60 s, and 181.2 s. In Auckland it is Monday already.
    for hour in [12, 13, 14] {
        let done = start(&server, &a, sit.clone()).await;
        was(&server, done, &format!("2026-11-15T{hour}:00:00Z"), &format!("2026-11-15T{hour}:01:00.4Z")).await;
    }
    let sits = server.get(&format!("/v1/sits?partnership_id={ours}"), Some(&a)).await.expect(200);
    let durations = sits["items"].as_array().expect("a list").iter().map(|sit| sit["duration_seconds"].as_i64());
    let sum: i64 = durations.map(|seconds| seconds.expect("a number")).sum();
    let weeks = async |query: &str| server.get(&format!("/v1/sits/weeks?partnership_id={ours}{query}"), Some(&a)).await;
    let listed = async |query: &str| weeks(query).await.expect(200)["items"].take();
    let week = |iso_week: &str, starts_on: &str, sits: i64, seconds: i64| json!({"user_id": ada, "iso_week": iso_week, "week_starts_on": starts_on, "sits_completed": sits, "seconds": seconds});
    assert_eq!(sum, 180);
    assert_eq!(listed("").await, json!([week("2026-W46", "2026-11-09", 3, sum)]));
    assert_eq!(listed("&time_zone=UTC").await, listed("").await);
    let auckland = "&time_zone=Pacific/Auckland";
    assert_eq!(listed(auckland).await, json!([week("2026-W47", "2026-11-16", 3, sum)]));

    // From one page to the next by the weeks of the zone.
    let before = start(&server, &a, sit).await;
    was(&server, before, "2026-11-15T10:00:00Z", "2026-11-15T10:01:00Z").await;
    assert_eq!(listed("").await, json!([week("2026-W46", "2026-11-09", 4, 240)]));
    let first = weeks(&format!("{auckland}&limit=1")).await.expect(200);
    assert_eq!(first["items"], json!([week("2026-W47", "2026-11-16", 3, 180)]));
    let cursor = first["next_cursor"].as_str().expect("a second page");
    let second = weeks(&format!("{auckland}&limit=1&cursor={cursor}")).await.expect(200);
    assert_eq!(
        (&second["items"], &second["next_cursor"]),
        (&json!([week("2026-W46", "2026-11-09", 1, 60)]), &Value::Null)
    );

    for zone in ["Middle/Earth", "", "UTC%00", "XYZ-3"] {
        let answer = weeks(&format!("&time_zone={zone}")).await;
        assert_eq!(answer.body["errors"][0]["field"], "time_zone");
        answer.refused(422, "invalid_request");
    }
}
