//! Queries and paths of the HTTP interface that are misspelt: they are refused with what is wrong, and not taken for
//! something else.

use reqwest::Method;
use serde_json::json;

use crate::harness::TestServer;
use crate::harness::document::Document;
use crate::harness::rest::service;
use crate::harness::things::Things;

#[tokio::test]
async fn a_key_that_a_call_does_not_have_is_refused_by_name() {
    let server = TestServer::start(&[]).await;
    let document = Document::of(&server).await;
    let things = Things::of(&server, "Ada").await;
    let mut calls = 0;
    for operation in document.operations().iter().filter(|operation| !operation.is_connection()) {
        let parameters = operation.said["parameters"].as_array().into_iter().flatten();
        let keys: Vec<_> = parameters.filter(|parameter| parameter["in"] == "query").map(|it| &it["name"]).collect();
        if keys.is_empty() {
            continue;
        }
        calls += 1;
        let path = things.path(operation.path);
        let query = match things.query(operation) {
            query if query.is_empty() => "?".to_owned(),
            query => format!("{query}&"),
        };
        let path = format!("{path}{query}stauts=active&limits=5");
        let answer = server.call(operation.method.clone(), &path, Some(&service()), serde_json::Value::Null).await;
        let fields: Vec<_> =
            answer.body["errors"].as_array().into_iter().flatten().map(|error| &error["field"]).collect();
        assert_eq!(fields, [&json!("stauts"), &json!("limits")], "{}: {}", operation.name(), answer.body);
        let detail = answer.refused(422, "invalid_request");
        for key in keys {
            assert!(detail.contains(key.as_str().expect("a key")), "{} has {key}: {detail}", operation.name());
        }
    }
    assert!(calls >= 10, "{calls}");
}

#[tokio::test]
async fn pages_are_found_with_a_slash_at_their_end() {
    let server = TestServer::start(&[]).await;
    let open = server.open().await;
    for (path, place) in [
        ("/admin/".to_owned(), "../admin".to_owned()),
        ("/admin/?from=mail".to_owned(), "../admin?from=mail".to_owned()),
        (format!("/join/{}/", open.invite), format!("../{}", open.invite)),
    ] {
        let answer = server.get(&path, None).await;
        assert_eq!(
            (answer.status.as_u16(), answer.headers["location"].to_str().expect("text")),
            (308, &*place),
            "{path}"
        );
        assert_eq!(answer.headers["referrer-policy"], "no-referrer", "the address has a token");
        // As a browser follows it.
        let base = reqwest::Url::parse(&format!("http://{}{path}", server.address())).expect("an address");
        let target = base.join(&place).expect("an address");
        let page = server.get(target.path(), None).await;
        assert!(page.headers["content-type"].to_str().is_ok_and(|kind| kind.starts_with("text/html")), "{target}");
        page.expect(200);
    }
    for path in ["/nowhere/", "/join//", "/static/"] {
        server.get(path, None).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_can_read_that_there_is_no_such_path() {
    const APP: &str = "https://app.example";
    let server = TestServer::start(&["--allowed-origins", APP]).await;
    for path in ["/v1/nowhere", "/v1/reading-sesions/1", "/v1/admin/nothing/at/all"] {
        for method in [Method::GET, Method::POST] {
            let answer = server.raw(method, path, &[("origin", APP)], "").await;
            assert_eq!(answer.headers["access-control-allow-origin"], APP, "{path}");
            answer.refused(404, "not_found");
        }
        let answer = server.raw(Method::GET, path, &[("origin", "https://evil.example")], "").await;
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
    let asked = [("origin", APP), ("access-control-request-method", "PATCH")];
    assert_eq!(server.raw(Method::OPTIONS, "/v1/nowhere", &asked, "").await.status, 200);
}
