//! A server below a path of a host that others share, behind a proxy that takes the path out of requests, and behind one
//! that does not.

use std::net::SocketAddr;

use reqwest::Url;
use serde_json::{Value, json};

use crate::harness::prefix::StrippingProxy;
use crate::harness::raw::Raw;
use crate::harness::rest::{Rest, service};
use crate::harness::{TestServer, quiet};

const PATH: &str = "/presence";
const PUBLIC: [&str; 3] = ["--public-url", "https://example.com/presence/", "--guest-hosts"];

/// What a page names in these attributes, as addresses.
fn named(page: &Url, text: &str) -> Vec<Url> {
    let named = ["src=\"", "href=\""].iter().flat_map(|key| text.split(key).skip(1));
    let named = named.filter_map(|rest| rest.split('"').next()).filter(|address| !address.starts_with('#'));
    named.map(|address| page.join(address).expect("an address")).collect()
}

/// Sees that all pages of a server load what they name from below the path, where `address` leads to it.
async fn pages_are_whole(address: SocketAddr) {
    let rest = Rest::new(address);
    let base = Url::parse(&format!("http://{address}")).expect("a URL");
    for page in ["/presence/", "/presence/admin", "/presence/join/lsi_x", "/presence/docs/"] {
        let text = rest.get(page, None).await.expect(200);
        let named = named(&base.join(page).expect("a URL"), text.as_str().expect("a page"));
        assert!(named.len() > 1, "{page}");
        for used in named {
            assert!(used.path().starts_with("/presence/"), "{page} names {used}");
            rest.get(used.path(), None).await.expect(200);
        }
    }
    let moved = rest.get("/presence/lastseen.js", None).await;
    assert_eq!(
        (moved.status.as_u16(), &moved.headers["location"]),
        (308, &"/presence/static/client/lastseen.js".parse().unwrap())
    );
    assert_eq!(rest.get("/presence/docs", None).await.headers["location"], "/presence/docs/");
    let document = rest.get("/presence/openapi.json", None).await.expect(200);
    assert_eq!(document["servers"], json!([{"url": "/presence"}]));
    rest.get("/presence/nowhere", None).await.refused(404, "not_found");
    rest.get("/presence/healthz", None).await.expect(200);
}

/// Opens a session and joins it, where `address` leads to the server.
async fn a_room_works(address: SocketAddr) {
    let rest = Rest::new(address);
    let opened = rest.post("/presence/v1/reading-sessions", Some(&service()), json!({})).await.expect(201);
    let link = opened["invite"]["url"].as_str().expect("a link");
    let token = link.strip_prefix("https://example.com/presence/join/").unwrap_or_else(|| panic!("{link}"));
    rest.get(&format!("/presence/v1/invites/{token}"), None).await.expect(200);
    let mut raw = Raw::connect(address).await;
    let request = format!(
        "GET /presence/v1/reading-sessions/{}/ws?invite={token}&name=Ada HTTP/1.1\r\nHost: example.com\r\n\
         Origin: https://example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        opened["id"].as_str().expect("an id"),
    );
    raw.send(request.as_bytes()).await;
    let head = raw.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(raw.json().await["type"], "welcome");
}

#[tokio::test]
async fn behind_a_proxy_that_takes_the_path_out_all_is_below_it() {
    let server = TestServer::start(&quiet(&PUBLIC)).await;
    let proxy = StrippingProxy::before(server.address(), PATH).await;
    pages_are_whole(proxy.address).await;
    a_room_works(proxy.address).await;
}

#[tokio::test]
async fn and_behind_one_that_leaves_it_there() {
    let server = TestServer::start(&quiet(&PUBLIC)).await;
    pages_are_whole(server.address()).await;
    a_room_works(server.address()).await;
    // Without its slash a page would name its files beside the path.
    for (asked, leads) in [("/presence", "/presence/"), ("/presence?a=1", "/presence/?a=1")] {
        let moved = server.get(asked, None).await;
        assert_eq!((moved.status.as_u16(), &moved.headers["location"]), (308, &leads.parse().unwrap()));
    }
    server.get("/presences", None).await.refused(404, "not_found");
    // For those who ask the server itself.
    server.get("/readyz", None).await.expect(200);
}

#[tokio::test]
async fn without_a_path_nothing_is_below_one() {
    let server = TestServer::start(&quiet(&[])).await;
    server.get("/presence/", None).await.refused(404, "not_found");
    assert_eq!(server.get("/openapi.json", None).await.expect(200)["servers"], Value::Null);
}
