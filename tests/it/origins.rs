//! Origins as apps, extensions and browsers send them, and what the server says of settings that are none.

use reqwest::Method;

use crate::harness::process::run;
use crate::harness::{Client, Join, TestServer, quiet};

const ALLOWED: &str = "capacitor://localhost,ionic://localhost,tauri://localhost,moz-extension://*,null,\
                       https://*.example.com,https://bücher.example,https://app.example:443,http://lan.example:80";

#[tokio::test]
async fn apps_extensions_and_hosts_below_a_domain_are_let_in_where_they_are_named() {
    let server = TestServer::start(&quiet(&["--allowed-origins", ALLOWED])).await;
    let session = server.open().await;
    let of =
        |origin: &str| Join { headers: vec![("origin", origin.to_owned())], ..Join::invite(&session.invite, "Ada") };
    let cors = async |origin: &str| {
        let answer = server.raw(Method::GET, "/v1/reading-sessions", &[("origin", origin)], "").await;
        answer.headers.get("access-control-allow-origin").cloned()
    };
    for origin in [
        "capacitor://localhost",
        "ionic://localhost",
        "tauri://localhost",
        "moz-extension://5bd1a1c8-6a5e-4b6e-9f5c-0b6d3d9a7f10",
        "null",
        "https://a.example.com",
        "https://a.b.example.com",
        "https://xn--bcher-kva.example",
        "https://app.example",
        "http://lan.example",
    ] {
        Client::join(server.address(), session.id, &of(origin)).await.close().await;
        assert_eq!(cors(origin).await, Some(origin.parse().expect("a header")), "{origin}");
    }
    for origin in [
        "capacitor://elsewhere",
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
        "https://example.com",
        "https://evilexample.com",
        "https://a.example.com.evil.example",
        "http://a.example.com",
        "https://app.example:8443",
        "file://",
    ] {
        server.handshake(&session.id.to_string(), &of(origin)).await.refused(403, "origin_not_allowed");
        assert_eq!(cors(origin).await, None, "{origin}");
    }
}

#[tokio::test]
async fn null_is_no_origin_unless_it_is_named() {
    let server = TestServer::start(&quiet(&["--allowed-origins", "https://app.example"])).await;
    let session = server.open().await;
    let join = Join { headers: vec![("origin", "null".to_owned())], ..Join::invite(&session.invite, "Ada") };
    server.handshake(&session.id.to_string(), &join).await.refused(403, "origin_not_allowed");
}

#[tokio::test]
async fn a_start_says_what_is_wrong_with_an_origin_or_an_address() {
    for (flags, wrong) in [
        (["--allowed-origins", "app.example"], "it begins with a scheme"),
        (["--allowed-origins", "https://app.example/rooms"], "a host and perhaps a port, and nothing else"),
        (["--allowed-origins", "https://app.example,https://*.com"], "*.com would be everybody's"),
        (["--public-url", "presence.example"], "it begins with https://"),
        (["--public-url", "https://example.com/admin"], "/admin of its own"),
        (["--public-url", "https://presence.example?a=1"], "no query"),
    ] {
        let finished = run(&[&["serve"][..], &flags].concat()).await;
        assert_eq!(finished.status.code(), Some(2), "{flags:?}");
        assert!(finished.stderr.contains(wrong), "{flags:?}: {}", finished.stderr);
    }
}
