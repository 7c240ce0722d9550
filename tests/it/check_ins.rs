//! Check-ins: here for the next hour, without any job that makes it true.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPool;
use uuid::Uuid;

use crate::harness::rest::{Answer, Rest, did, keys, service, sign, user};
use crate::harness::rows::{execute, now};
use crate::harness::{TestServer, client::id, quiet};

/// All that a check-in is shown with.
const FIELDS: [&str; 9] = [
    "id",
    "user_id",
    "name",
    "checked_in_at",
    "expires_at",
    "checked_out_at",
    "status",
    "extended_at",
    "extension_count",
];

async fn check_in(rest: &Rest, token: &str) -> Answer {
    rest.post("/v1/check-ins", Some(token), Value::Null).await
}

async fn check_out(rest: &Rest, token: &str, id: Uuid) -> Answer {
    rest.post(&format!("/v1/check-ins/{id}/check-out"), Some(token), Value::Null).await
}

async fn active(rest: &Rest, token: &str) -> Vec<Value> {
    let page = rest.get("/v1/check-ins/active", Some(token)).await.expect(200);
    page["items"].as_array().expect("a list").clone()
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no time"))
}

/// Puts a check-in so many minutes into the past.
async fn age(pool: &PgPool, id: Uuid, minutes: i32) {
    let aged = sqlx::query(
        "UPDATE check_ins SET checked_in_at = checked_in_at - make_interval(mins => $2),
            expires_at = expires_at - make_interval(mins => $2) WHERE id = $1",
    );
    aged.bind(id).bind(minutes).execute(pool).await.expect("aged");
}

#[tokio::test]
async fn checking_in_is_for_an_hour_and_while_it_runs_is_extended_to_an_hour_from_now() {
    let server = TestServer::start(&[]).await;
    let (ada, pool) = (Uuid::now_v7(), &server.database.pool);
    let before = now(pool).await;
    let first = check_in(&server, &user(ada, "Ada")).await.expect(201);
    assert_eq!(keys(&first), FIELDS.into());
    assert_eq!((&first["extended_at"], &first["extension_count"]), (&Value::Null, &json!(0)));
    assert_eq!((&first["status"], &first["name"], &first["user_id"]), (&json!("active"), &json!("Ada"), &json!(ada)));
    assert_eq!(time(&first["expires_at"]) - time(&first["checked_in_at"]), TimeDelta::hours(1));
    assert!(time(&first["checked_in_at"]) >= before - TimeDelta::milliseconds(1), "the database's clock");

    age(pool, id(&first["id"]), 40).await;
    assert_eq!(active(&server, &user(ada, "Ada")).await[0]["minutes_remaining"], 20);
    let again = check_in(&server, &user(ada, "Countess")).await.expect(200);
    assert_eq!((&again["id"], &again["name"]), (&first["id"], &json!("Countess")), "as the newest JWT says");
    let stretched = time(&again["expires_at"]) - time(&again["checked_in_at"]);
    assert!(stretched >= TimeDelta::minutes(100), "{stretched}");
    assert_eq!(again["extension_count"], 1, "the second check-in leaves a trace");
    assert!(time(&again["extended_at"]) >= before && time(&again["extended_at"]) <= now(pool).await, "{again}");
    assert_eq!(active(&server, &user(ada, "Ada")).await[0]["extended_at"], again["extended_at"]);
    assert_eq!(active(&server, &user(ada, "Ada")).await[0]["minutes_remaining"], 60);

    // A name that is not there is none, and takes none away.
    let nameless = sign(&json!({"sub": ada, "role": "authenticated", "exp": 4_000_000_000_u64}));
    let third = check_in(&server, &nameless).await.expect(200);
    assert_eq!((&third["name"], &third["extension_count"]), (&json!("Countess"), &json!(2)));
    assert!(time(&third["extended_at"]) >= time(&again["extended_at"]));
    let out = check_out(&server, &nameless, id(&first["id"])).await.expect(200);
    assert_eq!(
        (&out["extended_at"], &out["extension_count"]),
        (&third["extended_at"], &json!(2)),
        "no extension, and it stays"
    );
    let nobody = sign(&json!({"sub": Uuid::now_v7(), "role": "authenticated", "exp": 4_000_000_000_u64}));
    assert_eq!(check_in(&server, &nobody).await.expect(201)["name"], Value::Null);
}

#[tokio::test]
async fn one_that_is_over_needs_no_job_to_be_over() {
    let server = TestServer::start(&quiet(&["--sweep-interval", "1h"])).await;
    let (token, pool) = (user(Uuid::now_v7(), "Ada"), &server.database.pool);
    let first = id(&check_in(&server, &token).await.expect(201)["id"]);
    execute(pool, "UPDATE check_ins SET expires_at = now() WHERE id = $1", first).await;
    assert_eq!(active(&server, &token).await, Vec::<Value>::new());
    assert_eq!(active(&server, &service()).await, Vec::<Value>::new());
    let second = check_in(&server, &token).await.expect(201);
    assert_ne!(id(&second["id"]), first, "the hour that is over is not taken up again");
    assert_eq!(active(&server, &token).await.len(), 1);
}

#[tokio::test]
async fn check_ins_of_one_user_at_one_moment_are_one() {
    let server = TestServer::start(&["--database-connections", "10"]).await;
    let token = user(Uuid::now_v7(), "Ada");
    for _round in 0..5 {
        let answers = join_all((0..20).map(|_| check_in(&server, &token))).await;
        let made = answers.iter().filter(|answer| answer.status == 201).count();
        let repeated: i64 = answers.iter().map(|answer| answer.before).sum();
        let ids: Vec<_> = answers.into_iter().map(|answer| id(&answer.body["id"])).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        // One that was repeated may have made it, or extended it, before.
        assert!(made == 1 || made == 0 && repeated > 0, "{made} made, {repeated} repeated");
        let out = check_out(&server, &token, ids[0]).await.expect(200);
        let extended = out["extension_count"].as_i64().expect("a count");
        assert!((19..=19 + repeated).contains(&extended), "each of the others has extended it: {extended}");
    }
    let rows: i64 =
        sqlx::query_scalar("SELECT count(*) FROM check_ins").fetch_one(&server.database.pool).await.expect("a count");
    assert_eq!(rows, 5);
}

#[tokio::test]
async fn checking_out_records_when_so_that_durations_are_real() {
    let server = TestServer::start(&[]).await;
    let (ada, bob) = (user(Uuid::now_v7(), "Ada"), user(Uuid::now_v7(), "Bob"));
    let pool = &server.database.pool;
    let stats = async || server.get("/v1/check-ins/stats", Some(&service())).await.expect(200);
    let counts = json!({"active": 0, "expired_but_marked_active": 0, "checked_out": 0, "total": 0, "avg_duration_minutes": null});
    assert_eq!(stats().await, counts);

    let first = id(&check_in(&server, &ada).await.expect(201)["id"]);
    age(pool, first, 20).await;
    let out = check_out(&server, &ada, first).await.expect(200);
    assert_eq!((&out["status"], id(&out["id"])), (&json!("inactive"), first));
    let took = time(&out["checked_out_at"]) - time(&out["checked_in_at"]);
    assert!(took >= TimeDelta::minutes(20) && took < TimeDelta::minutes(25), "{took}");
    check_out(&server, &ada, first).await.refused(409, "already_checked_out");
    assert_eq!(active(&server, &ada).await, Vec::<Value>::new());
    assert_ne!(id(&check_in(&server, &ada).await.expect(201)["id"]), first);

    // Late: there is no sign that the person was here for longer than that hour.
    let late = id(&check_in(&server, &bob).await.expect(201)["id"]);
    age(pool, late, 300).await;
    assert_eq!(stats().await["expired_but_marked_active"], 1);
    let out = check_out(&server, &bob, late).await.expect(200);
    assert_eq!(out["checked_out_at"], out["expires_at"]);
    check_out(&server, &bob, late).await.refused(409, "already_checked_out");

    let stats = stats().await;
    assert_eq!(
        (&stats["active"], &stats["expired_but_marked_active"], &stats["checked_out"], &stats["total"]),
        (&json!(1), &json!(0), &json!(2), &json!(3))
    );
    let average = stats["avg_duration_minutes"].as_f64().expect("a number");
    assert!((40.0..43.0).contains(&average), "of 20 and 60 minutes: {average}");
}

#[tokio::test]
async fn a_users_check_ins_are_its_own_and_the_service_sees_all() {
    let server = TestServer::start(&[]).await;
    let (ada, bob) = (user(Uuid::now_v7(), "Ada"), user(Uuid::now_v7(), "Bob"));
    let of_ada = id(&check_in(&server, &ada).await.expect(201)["id"]);
    let of_bob = id(&check_in(&server, &bob).await.expect(201)["id"]);
    let ids = |items: Vec<Value>| items.iter().map(|item| id(&item["id"])).collect::<Vec<_>>();
    assert_eq!(ids(active(&server, &ada).await), [of_ada]);
    assert_eq!(ids(active(&server, &bob).await), [of_bob]);
    assert_eq!(ids(active(&server, &service()).await), [of_bob, of_ada], "newest first");
    let item = &active(&server, &service()).await[0];
    assert_eq!(
        keys(item),
        FIELDS.into_iter().filter(|field| *field != "checked_out_at").chain(["minutes_remaining"]).collect()
    );
    assert_eq!(item["name"], "Bob");

    check_out(&server, &ada, of_bob).await.refused(404, "not_found");
    check_out(&server, &ada, Uuid::now_v7()).await.refused(404, "not_found");
    server.post("/v1/check-ins/mine/check-out", Some(&ada), Value::Null).await.refused(404, "not_found");
    assert_eq!(ids(active(&server, &bob).await), [of_bob], "untouched");
    check_out(&server, &service(), of_bob).await.expect(200);

    check_in(&server, &service()).await.refused(403, "forbidden");
    server.get("/v1/check-ins/stats", Some(&ada)).await.refused(403, "forbidden");
    for (method, path) in [
        (Method::POST, "/v1/check-ins".to_owned()),
        (Method::POST, format!("/v1/check-ins/{of_ada}/check-out")),
        (Method::GET, "/v1/check-ins".to_owned()),
        (Method::GET, "/v1/check-ins/active".to_owned()),
        (Method::GET, "/v1/check-ins/stats".to_owned()),
    ] {
        server.call(method, &path, None, Value::Null).await.refused(401, "unauthenticated");
    }
    server.post("/v1/check-ins", Some(&ada), json!({"hours": 2})).await.refused(422, "invalid_request");
}

/// The ids of all pages of a list.
async fn pages(rest: &Rest, token: &str, query: &str) -> Vec<Uuid> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = rest.get(&format!("/v1/check-ins?{query}{cursor}"), Some(token)).await.expect(200);
        ids.extend(page["items"].as_array().expect("a list").iter().map(|item| id(&item["id"])));
        let Some(next) = page["next_cursor"].as_str() else { return ids };
        cursor = format!("&cursor={next}");
    }
}

#[tokio::test]
async fn past_check_ins_are_listed_by_user_and_by_time() {
    let server = TestServer::start(&quiet(&["--sweep-interval", "1h"])).await;
    let ((ada, bob), pool) = ((Uuid::now_v7(), Uuid::now_v7()), &server.database.pool);
    let (adas, bobs) = (user(ada, "Ada"), user(bob, "Bob"));
    // One on each of three days, the last one runs; and one of Bob's, on the second day.
    let mut of_ada = Vec::new();
    for days in [3, 2] {
        let past = id(&check_in(&server, &adas).await.expect(201)["id"]);
        check_out(&server, &adas, past).await.expect(200);
        let aged = "UPDATE check_ins SET checked_in_at = checked_in_at - make_interval(days => $2),
            expires_at = expires_at - make_interval(days => $2),
            checked_out_at = checked_out_at - make_interval(days => $2) WHERE id = $1";
        sqlx::query(aged).bind(past).bind(days).execute(pool).await.expect("aged");
        of_ada.insert(0, past);
    }
    let of_bob = id(&check_in(&server, &bobs).await.expect(201)["id"]);
    age(pool, of_bob, 2 * 24 * 60).await;
    let running = id(&check_in(&server, &adas).await.expect(201)["id"]);
    of_ada.insert(0, running);
    let everybodys = [running, of_bob, of_ada[1], of_ada[2]];

    let items = server.get("/v1/check-ins", Some(&adas)).await.expect(200)["items"].clone();
    assert_eq!(keys(&items[1]), FIELDS.into());
    assert_eq!((&items[0]["status"], &items[1]["status"]), (&json!("active"), &json!("inactive")));
    for limit in ["", "limit=1", "limit=2", "limit=200"] {
        assert_eq!(pages(&server, &adas, limit).await, of_ada, "{limit}");
        assert_eq!(pages(&server, &service(), limit).await, everybodys, "{limit}");
        let query = format!("user_id={ada}&{limit}");
        assert_eq!(pages(&server, &adas, &query).await, of_ada);
        assert_eq!(pages(&server, &service(), &query).await, of_ada);
        assert_eq!(pages(&server, &bobs, &query).await, Vec::<Uuid>::new(), "of another a user sees nothing");
    }

    // From that moment until before the other.
    let at = |days: i64| {
        let there = time(&items[1]["checked_in_at"]) + TimeDelta::days(days);
        there.to_rfc3339_opts(SecondsFormat::Millis, true)
    };
    // What is shown has milliseconds, the row microseconds.
    let (second, after) = (at(0), at(1));
    assert_eq!(pages(&server, &adas, &format!("from={second}")).await, of_ada[..2]);
    assert_eq!(pages(&server, &adas, &format!("to={second}")).await, of_ada[2..]);
    assert_eq!(pages(&server, &adas, &format!("from={second}&to={after}&limit=1")).await, of_ada[1..2]);
    assert_eq!(pages(&server, &service(), &format!("from={second}&to={after}")).await, everybodys[1..3]);
    assert_eq!(pages(&server, &service(), &format!("from={second}&to={second}")).await, Vec::<Uuid>::new());
    assert_eq!(pages(&server, &adas, "from=0001-01-01T00:00:00Z&to=9999-12-31T23:59:59%2B01:00").await, of_ada);
    for (key, query) in [
        ("from", "from=yesterday".to_owned()),
        ("from", "from=2026-11-21".to_owned()),
        ("to", "to=".to_owned()),
        ("to", "to=-200000-01-01T00:00:00Z".to_owned()),
        ("from", "from=0000-12-31T23:59:59Z".to_owned()),
        ("to", "to=9999-12-31T23:59:59-23:59".to_owned()),
        ("to", format!("from={after}&to={second}")),
        ("user_id", "user_id=".to_owned()),
        ("limit", "limit=201".to_owned()),
        ("cursor", "cursor=next".to_owned()),
    ] {
        let refused = server.get(&format!("/v1/check-ins?{query}"), Some(&adas)).await;
        assert!(refused.refused(422, "invalid_request").contains(key), "{query}");
    }
}

/// As many as a city has at noon: some run, most are over, few were checked out.
async fn fill(pool: &PgPool, running: i32, over: i32) {
    sqlx::query(
        "INSERT INTO check_ins (user_id, name, checked_in_at, expires_at)
         SELECT gen_random_uuid(), 'Somebody', began.at, began.at + interval '1 hour' FROM (
            SELECT now() - n * interval '59 minutes' / $1 FROM generate_series(1, $1) AS n
            UNION ALL SELECT now() - interval '1 hour' - n * interval '1 day' / $2 FROM generate_series(1, $2) AS n
         ) AS began (at)",
    )
    .bind(running)
    .bind(over)
    .execute(pool)
    .await
    .expect("rows");
    sqlx::query("ANALYZE check_ins").execute(pool).await.expect("statistics");
}

#[tokio::test]
async fn the_list_of_thousands_comes_in_pages_and_by_an_index() {
    let server = TestServer::start(&[]).await;
    let pool = &server.database.pool;
    fill(pool, 450, 5000).await;
    let (mut seen, mut path) = (Vec::new(), "/v1/check-ins/active?limit=200".to_owned());
    loop {
        let page = server.get(&path, Some(&service())).await.expect(200);
        seen.extend(page["items"].as_array().expect("a list").iter().map(|item| time(&item["checked_in_at"])));
        let Some(next) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/check-ins/active?limit=200&cursor={next}");
    }
    assert_eq!(seen.len(), 450);
    assert!(seen.is_sorted_by(|a, b| a >= b));
    server.get("/v1/check-ins/active?limit=0", Some(&service())).await.refused(422, "invalid_request");

    // What the server sends, as it sends it: prepared, under its own role, with and without a cursor;
    // and also where all that there are run.
    let history = "NULL, now() - interval '1 hour'";
    let queries = [
        ("timestamptz, uuid, bigint, uuid", lastseen::store::check_ins::ACTIVE, "NULL".to_owned()),
        (
            "timestamptz, uuid, bigint, timestamptz, timestamptz, uuid",
            lastseen::store::check_ins::HISTORY_OF_USER,
            format!("{history}, gen_random_uuid()"),
        ),
        (
            "timestamptz, uuid, bigint, timestamptz, timestamptz, uuid",
            lastseen::store::check_ins::HISTORY_OF_ALL,
            format!("{history}, NULL"),
        ),
    ];
    for more_running in [0, 20_000] {
        if more_running > 0 {
            fill(pool, more_running, 1).await;
        }
        for (plans, (types, query, rest)) in ["force_custom_plan", "force_generic_plan"]
            .into_iter()
            .flat_map(|plans| queries.iter().map(move |q| (plans, q)))
        {
            for cursor in ["NULL, NULL", "now() - interval '30 minutes', gen_random_uuid()"] {
                let mut connection = pool.acquire().await.expect("a connection");
                let script = format!(
                    "SET ROLE lastseen_service; SET plan_cache_mode = {plans};
                     DEALLOCATE ALL; PREPARE page ({types}) AS {query};"
                );
                sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut *connection).await.expect("prepared");
                let explain = format!("EXPLAIN EXECUTE page ({cursor}, 51, {rest})");
                let plan: Vec<(String,)> = sqlx::query_as(AssertSqlSafe(explain))
                    .persistent(false)
                    .fetch_all(&mut *connection)
                    .await
                    .expect("a plan");
                let plan = plan.into_iter().map(|(line,)| line).collect::<Vec<_>>().join("\n");
                eprintln!("{more_running} {plans} {cursor}:\n{plan}\n");
                assert!(plan.contains("Index") && !plan.contains("Seq Scan"), "{plan}");
                connection.close().await.expect("closed");
            }
        }
    }
}

#[tokio::test]
async fn old_check_ins_are_deleted_by_the_sweep() {
    let server = TestServer::start(&quiet(&["--sweep-interval", "1h", "--retention", "check-ins=2d"])).await;
    let pool = &server.database.pool;
    let mut ids = Vec::new();
    for hours in [1, 48, 50] {
        let made = id(&check_in(&server, &user(Uuid::now_v7(), "Ada")).await.expect(201)["id"]);
        age(pool, made, hours * 60).await;
        ids.push(made);
    }
    assert_eq!(did(&server.sweep().await), json!({"check_ins_purged": 1}));
    let kept: Vec<Uuid> =
        sqlx::query_scalar("SELECT id FROM check_ins ORDER BY id").fetch_all(pool).await.expect("rows");
    assert_eq!(kept, ids[..2]);
    assert_eq!(did(&server.sweep().await), json!({}));
    assert_eq!(server.metric("lastseen_swept_total{policy=\"check_ins_purged\"}").await, 1.0);
}
