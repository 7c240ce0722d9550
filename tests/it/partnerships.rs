//! Partnerships: people who sit together, and what stays when they go.

use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::client::id;
use crate::harness::rest::{did, keys, service, user};
use crate::harness::rows::execute;
use crate::harness::{TestServer, quiet};
use crate::sits::{complete, history, partnership, start};

#[tokio::test]
async fn a_partnership_is_made_by_the_service_of_two_people_and_more() {
    let server = TestServer::start(&[]).await;
    let [ada, bob] = [(); 2].map(|()| Uuid::now_v7());
    let make = async |token: &str, body: Value| server.post("/v1/partnerships", Some(token), body).await;
    let made = make(&service(), json!({"user_ids": [bob, ada]})).await.expect(201);
    assert_eq!(keys(&made), ["id", "user_ids", "created_at"].into());
    assert_eq!(made["user_ids"], json!([ada, bob]));
    make(&user(ada, "Ada"), json!({"user_ids": [ada, bob]})).await.refused(403, "forbidden");
    let crowd: Vec<_> = (0..51).map(|_| Uuid::now_v7()).collect();
    for body in [
        json!({}),
        json!({"user_ids": []}),
        json!({"user_ids": [ada]}),
        json!({"user_ids": [ada, ada]}),
        json!({"user_ids": [ada, bob, ada]}),
        json!({"user_ids": [ada, ""]}),
        json!({"user_ids": crowd}),
        json!({"user_ids": [ada, bob], "name": "us"}),
    ] {
        make(&service(), body).await.refused(422, "invalid_request");
    }
}

#[tokio::test]
async fn members_come_and_go_and_the_history_stays() {
    let server = TestServer::start(&quiet(&["--sweep-interval", "1h", "--retention", "sits=2d"])).await;
    let [ada, bob, cid] = [(); 3].map(|()| Uuid::now_v7());
    let [a, b, c] = [(ada, "Ada"), (bob, "Bob"), (cid, "Cid")].map(|(id, name)| user(id, name));
    let ours = partnership(&server, &[ada, bob]).await;
    let (one, in_ours) = (format!("/v1/partnerships/{ours}"), format!("partnership_id={ours}"));
    let sit = json!({"sit_length_seconds": 600, "partnership_id": ours});
    let of_ada = start(&server, &a, sit.clone()).await;
    let of_bob = start(&server, &b, sit.clone()).await;
    for (token, sit) in [(&a, of_ada), (&b, of_bob)] {
        complete(&server, token, sit, json!({"early": true})).await.expect(200);
    }
    let weeks = async |token: &str| {
        let page = server.get(&format!("/v1/sits/weeks?{in_ours}"), Some(token)).await.expect(200);
        let mut users: Vec<_> =
            page["items"].as_array().expect("a list").iter().map(|week| id(&week["user_id"])).collect();
        users.sort();
        users
    };
    let change = async |token: &str, users: &[Uuid]| server.patch(&one, Some(token), json!({"user_ids": users})).await;

    // Bob goes, and Cid comes.
    let changed = change(&service(), &[cid, ada]).await.expect(200);
    assert_eq!(keys(&changed), ["id", "user_ids", "created_at"].into());
    assert_eq!((id(&changed["id"]), &changed["user_ids"]), (ours, &json!([ada, cid])));
    assert_eq!(server.get(&one, Some(&a)).await.expect(200), changed);
    for token in [&a, &c, &service()] {
        assert_eq!(history(&server, token, &in_ours).await, [of_bob, of_ada], "of before");
        assert_eq!(weeks(token).await, [ada, bob]);
    }
    assert_eq!(history(&server, &b, &in_ours).await, [of_bob], "his own");
    assert_eq!(history(&server, &b, "").await, [of_bob]);
    assert_eq!(weeks(&b).await, [bob]);
    server.get(&one, Some(&b)).await.refused(404, "not_found");
    server.get(&format!("/v1/sits/{of_ada}"), Some(&b)).await.refused(404, "sit_not_found");
    server.post("/v1/sits", Some(&b), sit.clone()).await.refused(404, "not_found");
    let of_cid = start(&server, &c, sit.clone()).await;
    assert_eq!(history(&server, &a, &in_ours).await, [of_cid, of_bob, of_ada]);
    // The same members again, and Bob is back.
    assert_eq!(change(&service(), &[ada, cid]).await.expect(200), changed);
    assert_eq!(change(&service(), &[ada, bob, cid]).await.expect(200)["user_ids"], json!([ada, bob, cid]));
    assert_eq!(history(&server, &b, &in_ours).await, [of_cid, of_bob, of_ada]);

    let crowd: Vec<_> = (0..51).map(|_| Uuid::now_v7()).collect();
    for users in [&[][..], &[ada], &[ada, ada], &crowd] {
        change(&service(), users).await.refused(422, "invalid_request");
    }
    change(&a, &[ada, bob]).await.refused(403, "forbidden");
    server.delete(&one, Some(&a)).await.refused(403, "forbidden");
    let nobodys = format!("/v1/partnerships/{}", Uuid::now_v7());
    for path in [nobodys.as_str(), "/v1/partnerships/ours"] {
        server.patch(path, Some(&service()), json!({"user_ids": [ada, bob]})).await.refused(404, "not_found");
        server.delete(path, Some(&service())).await.refused(404, "not_found");
        server.get(path, Some(&service())).await.refused(404, "not_found");
    }

    // Of changes at one moment one is the last, whole.
    let pairs = [[ada, bob], [bob, cid], [ada, cid]];
    let by = service();
    for answer in join_all(pairs.iter().map(|pair| change(&by, pair))).await {
        answer.expect(200);
    }
    let left: Vec<Uuid> = server.get(&one, Some(&service())).await.expect(200)["user_ids"]
        .as_array()
        .expect("a list")
        .iter()
        .map(id)
        .collect();
    assert!(pairs.iter().any(|pair| pair[..] == left), "{left:?}");
    change(&service(), &[ada, bob, cid]).await.expect(200);

    // It ends: each has its own sits in it, the service all.
    server.delete(&one, Some(&service())).await.expect(204);
    for (token, own) in [(&a, of_ada), (&b, of_bob), (&c, of_cid)] {
        assert_eq!(history(&server, token, &in_ours).await, [own]);
        server.get(&one, Some(token)).await.refused(404, "not_found");
        assert_eq!(server.get("/v1/partnerships", Some(token)).await.expect(200)["items"], json!([]));
        server.post("/v1/sits", Some(token), sit.clone()).await.refused(404, "not_found");
    }
    assert_eq!(history(&server, &service(), &in_ours).await, [of_cid, of_bob, of_ada]);
    assert_eq!(weeks(&service()).await, [ada, bob]);
    assert_eq!(server.get("/v1/partnerships", Some(&service())).await.expect(200)["items"], json!([]));
    change(&service(), &[ada, bob]).await.refused(404, "not_found");
    server.delete(&one, Some(&service())).await.refused(404, "not_found");
    complete(&server, &c, of_cid, json!({"early": true})).await.expect(200);

    // The last that is known of it goes with the last of its sits.
    let kept = async || server.sql::<i64>("SELECT count(*) FROM partnerships WHERE id = $1", ours).await;
    let old = "UPDATE partnerships SET created_at = now() - interval '3 days' WHERE id = $1";
    execute(&server.database.pool, old, ours).await;
    assert_eq!(did(&server.sweep().await), json!({}));
    assert_eq!(kept().await, 1);
    let old =
        "UPDATE sits SET started_at = started_at - interval '3 days', completed_at = completed_at - interval '3 days'
        WHERE partnership_id = $1";
    execute(&server.database.pool, old, ours).await;
    assert_eq!(did(&server.sweep().await), json!({"sits_purged": 3}));
    server.sweep().await;
    assert_eq!(kept().await, 0);
}
