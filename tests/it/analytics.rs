//! What operators ask about the past, over HTTP; the figures themselves are tested in SQL.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::rest::{service, user};
use crate::harness::{Client, Join, TestServer, quiet};

#[tokio::test]
async fn the_last_days_are_told_in_the_hours_of_a_time_zone() {
    let server = TestServer::start(&quiet(&[])).await;
    let analytics =
        async |query: &str| server.get(&format!("/v1/admin/analytics{query}"), Some(&service())).await.expect(200);
    let nothing = analytics("").await;
    assert_eq!((&nothing["days"], &nothing["time_zone"]), (&json!(7), &json!("UTC")));
    let none = json!({"count": 0, "average_seconds": 0, "median_seconds": 0, "average_participants": 0.0});
    assert_eq!(nothing["sessions"], none);
    let nobody = json!({
        "users": 0, "next_day": 0, "within_seven_days": 0, "next_day_rate": null, "within_seven_days_rate": null,
    });
    assert_eq!(nothing["returning_users"], nobody);

    // Two sessions, at 08:30 of two days that follow each other: ten minutes with Hana and a guest, and
    // twenty with Hana alone, whose name is from her token.
    let hana = Uuid::now_v7();
    for (days, minutes, guests) in [(3, 10, 1), (2, 20, 0)] {
        let session = server.open_as(Some(&user(hana, "Hana")), json!({})).await;
        let _hana = Client::join(server.address(), session.id, &Join::token(&user(hana, "Hana"))).await;
        for _ in 0..guests {
            Client::join(server.address(), session.id, &Join::invite(&session.invite, "Gus")).await.close().await;
        }
        server.sweep().await;
        server.close(session.id).await.expect(200);
        let opened = "date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - make_interval(days => $2) + interval '8 hours 30 minutes'";
        for statement in [
            format!(
                "UPDATE session_participants SET joined_at = {opened}, left_at = {opened} WHERE session_id = $1 AND $3 > 0"
            ),
            format!(
                "UPDATE reading_sessions SET created_at = {opened}, last_seen_at = {opened} + make_interval(mins => $3) WHERE id = $1"
            ),
        ] {
            sqlx::query(sqlx::AssertSqlSafe(statement))
                .bind(session.id)
                .bind(days)
                .bind(minutes)
                .execute(&server.database.pool)
                .await
                .expect("moved to the past");
        }
    }
    let week = analytics("?days=7&time_zone=UTC").await;
    let known = json!({"count": 2, "average_seconds": 900, "median_seconds": 900, "average_participants": 1.5});
    assert_eq!(week["sessions"], known);
    let hana_alone = json!({
        "users": 1, "next_day": 1, "within_seven_days": 1, "next_day_rate": 1.0, "within_seven_days_rate": 1.0,
    });
    assert_eq!(week["returning_users"], hana_alone);
    // Of three users one came again the next day.
    for user in [Uuid::now_v7(), Uuid::now_v7()] {
        sqlx::query("INSERT INTO user_sessions (user_id, session_id, platform) VALUES ($1, $1::text, 'web')")
            .bind(user)
            .execute(&server.database.pool)
            .await
            .expect("a user");
    }
    assert_eq!(analytics("?days=7").await["returning_users"]["next_day_rate"], 0.3333);
    let hours = |told: &Value| -> Vec<usize> {
        let hours = told["peak_hours"].as_array().expect("hours");
        assert_eq!(hours.len(), 24);
        (0..24).filter(|&hour| hours[hour] == 2).collect()
    };
    assert_eq!(hours(&week), [8]);
    // Without a summer time: 08:30 in London is 14:15 in Kathmandu.
    assert_eq!(hours(&analytics("?time_zone=Asia/Kathmandu").await), [14]);
    assert_eq!(analytics("?days=1").await["sessions"]["count"], 0);
}

#[tokio::test]
async fn what_cannot_be_asked_is_said_by_its_name() {
    let server = TestServer::start(&quiet(&[])).await;
    for (query, field) in [
        ("days=0", "days"),
        ("days=367", "days"),
        ("days=many", "days"),
        ("time_zone=Middle/Earth", "time_zone"),
        ("time_zone=", "time_zone"),
        ("time_zone=UTC%00", "time_zone"),
        ("time_zone=XYZ-3", "time_zone"),
    ] {
        let answer = server.get(&format!("/v1/admin/analytics?{query}"), Some(&service())).await;
        assert_eq!(answer.body["errors"][0]["field"], field, "{query}: {}", answer.body);
        answer.refused(422, "invalid_request");
    }
    server.get("/v1/admin/analytics", None).await.refused(401, "unauthenticated");
    server.get("/v1/admin/analytics", Some(&user(Uuid::now_v7(), "Hana"))).await.refused(403, "forbidden");
}
