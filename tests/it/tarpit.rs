//! Refusals after the upgrade are slowed down where one network is refused again and again. To many clients a handshake
//! that succeeds is a success, and they come back as soon as they are closed.

use serde_json::json;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Error;

use crate::harness::client::Ended;
use crate::harness::rest::{Opened, service};
use crate::harness::{Client, Join, TestServer, eventually};

const DELAYED: &str = "lastseen_slowed_refusals_total{by=\"delay\"}";
const BEFORE_THE_UPGRADE: &str = "lastseen_slowed_refusals_total{by=\"status\"}";

fn unknown(headers: &[(&'static str, String)]) -> Join {
    Join { headers: headers.to_vec(), ..Join::invite("lsi_0123456789abcdefghijklmnopqrstuv", "Mallory") }
}

/// An attempt that is refused: by a Close, or by the status of an HTTP answer and its `Retry-After`.
async fn attempt(server: &TestServer, open: &Opened, join: &Join) -> Result<Ended, (u16, String)> {
    match Client::connect(server.address(), &open.id.to_string(), join).await {
        Ok(mut client) => Ok(client.ended().await),
        Err(Error::Http(answer)) => {
            let wait = answer.headers()["retry-after"].to_str().expect("text").to_owned();
            Err((answer.status().as_u16(), wait))
        }
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn somebody_with_a_dead_link_is_not_delayed() {
    let server = TestServer::start(&[]).await;
    let open = server.open().await;
    for _ in 0..10 {
        let ended = attempt(&server, &open, &unknown(&[])).await.expect("after the upgrade");
        assert_eq!((ended.code, &ended.error["code"]), (4504, &json!("invite_not_found")));
    }
    assert_eq!([server.metric(DELAYED).await, server.metric(BEFORE_THE_UPGRADE).await], [0.0, 0.0]);
}

#[tokio::test]
async fn a_network_that_is_refused_again_and_again_waits_and_is_then_refused_before_the_upgrade() {
    let server =
        TestServer::start(&["--max-refusals-per-ip", "6", "--trusted-proxies", "127.0.0.0/8", "--guest-hosts"]).await;
    let open = server.open().await;
    let mallory = [("x-forwarded-for", "203.0.113.1".to_owned())];
    // At once, so that no more than one of them is forgotten meanwhile on a fast machine; on a slow one more may be.
    let (mut attempts, mut closed) = (JoinSet::new(), 0);
    let mut status = None;
    for _ in 0..200 {
        let (address, id, join) = (server.address(), open.id.to_string(), unknown(&mallory));
        match Client::connect(address, &id, &join).await {
            Ok(mut client) => {
                // The reason is here before the Close is.
                assert_eq!(client.frame("error").await["code"], "invite_not_found");
                attempts.spawn(async move { client.ended().await });
            }
            Err(Error::Http(answer)) => {
                status = Some(answer);
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    let answer = status.expect("an attempt that is refused before the upgrade");
    let wait: u64 = answer.headers()["retry-after"].to_str().expect("text").parse().expect("whole seconds");
    assert!(answer.status() == 429 && (1..=20).contains(&wait), "{answer:?}");
    assert!(server.metric(DELAYED).await >= 5.0);
    assert!(server.metric(BEFORE_THE_UPGRADE).await >= 1.0);

    // Only what is refused anyway is slowed down; and another network is not.
    let good = Join { headers: mallory.to_vec(), ..Join::invite(&open.invite, "Ada") };
    Client::join(server.address(), open.id, &good).await;
    let other = [("x-forwarded-for", "203.0.113.2".to_owned())];
    let ended = attempt(&server, &open, &unknown(&other)).await.expect("after the upgrade");
    assert_eq!(ended.code, 4504);
    // A client that reads problem documents reads its own.
    server.handshake(&open.id.to_string(), &unknown(&mallory)).await.refused(404, "invite_not_found");

    // The Closes come, with their codes.
    while let Some(ended) = attempts.join_next().await {
        assert_eq!(ended.expect("no panic").code, 4504);
        closed += 1;
    }
    assert!(closed >= 6, "{closed}");
}

#[tokio::test]
async fn whoever_hangs_up_gives_the_place_back_and_a_stop_does_not_wait() {
    // Each refusal but the first is delayed.
    let server = TestServer::start(&["--max-refusals-per-ip", "2"]).await;
    let open = server.open().await;
    let connections = async || {
        let stats = server.get("/v1/admin/stats", Some(&service())).await.expect(200);
        stats["connections"].as_u64().expect("a number")
    };
    let mut gone = Client::connect(server.address(), &open.id.to_string(), &unknown(&[])).await.expect("an upgrade");
    gone.frame("error").await;
    gone.vanish();
    eventually("the place", async || (connections().await == 0).then_some(())).await;

    let mut held = Client::connect(server.address(), &open.id.to_string(), &unknown(&[])).await.expect("an upgrade");
    held.frame("error").await;
    server.stop().await;
    assert_eq!(held.ended().await.code, 4504, "it is closed as it would have been");
}

#[tokio::test]
async fn faults_of_the_servers_own_are_not_counted() {
    let server = TestServer::start(&["--max-refusals-per-ip", "1"]).await;
    let open = server.open().await;
    sqlx::query("DROP FUNCTION lastseen.admit").execute(&server.database.pool).await.expect("no function");
    for _ in 0..3 {
        let ended = attempt(&server, &open, &unknown(&[])).await.expect("after the upgrade");
        assert_eq!(ended.code, 1011);
    }
    assert_eq!([server.metric(DELAYED).await, server.metric(BEFORE_THE_UPGRADE).await], [0.0, 0.0]);
}
