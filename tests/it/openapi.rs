//! The document of the HTTP interface is complete and true: every route is in it, every call answers
//! as it says, and every example would be taken.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::TestServer;
use crate::harness::document::Document;
use crate::harness::rest::service;
use crate::harness::things::Things;

/// What browsers load, which is no call, and whatever is nowhere: what is not in the document.
const PAGES: [&str; 8] =
    ["/", "/admin", "/admin/", "/join/{token}", "/join/{token}/", "/static/{*path}", "/lastseen.js", "/v1/{*path}"];

#[tokio::test]
async fn every_call_answers_its_example_as_the_document_says() {
    let server = TestServer::start(&[]).await;
    let document = Document::of(&server).await;
    let operations = document.operations();
    assert!(operations.len() >= 16, "the document is read: {}", operations.len());
    let mut wrong = Vec::new();
    for operation in operations.iter().filter(|operation| !operation.is_connection()) {
        let things = Things::of(&server, "Ada").await;
        let path = format!("{}{}", things.path(operation.path), things.query(operation));
        let body = things.body(operation.body(&document));
        let call = async |token: &str| server.call(operation.method.clone(), &path, Some(token), body.clone()).await;
        let mut answer = call(&things.token).await;
        if answer.status == 403 {
            answer = call(&service()).await;
        }
        let expected: Vec<_> = operation.successes().map(|(status, _)| status.as_str()).collect();
        // A server without a launcher refuses these; tests/it/simulators.rs covers one with a launcher.
        let is_told = expected.contains(&answer.status.as_str()) || answer.body["code"] == "simulators_not_configured";
        if !is_told {
            wrong.push(format!("{}: {} {}", operation.name(), answer.status, answer.body));
        }
        wrong.extend(document.check_answer(operation, &answer));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn every_refusal_is_a_problem_that_the_document_knows() {
    let server = TestServer::start(&[]).await;
    let document = Document::of(&server).await;
    let things = Things::of(&server, "Ada").await;
    let mut wrong = Vec::new();
    for operation in document.operations() {
        let path = things.path(operation.path);
        if operation.is_closed() {
            let answer = server.call(operation.method.clone(), &path, None, operation.body(&document)).await;
            assert_eq!(answer.status, 401, "{}", operation.name());
            wrong.extend(document.check_answer(&operation, &answer));
        }
        let nonsense = server.call(operation.method.clone(), &path, Some("nonsense"), Value::Null).await;
        if !nonsense.status.is_success() {
            wrong.extend(document.check_answer(&operation, &nonsense));
        }
        if operation.said.get("requestBody").is_some() && !operation.takes_anything(&document) {
            let mut answer =
                server.call(operation.method.clone(), &path, Some(&things.token), json!({"no such key": 1})).await;
            if answer.status == 403 {
                answer =
                    server.call(operation.method.clone(), &path, Some(&service()), json!({"no such key": 1})).await;
            }
            if answer.status != 422 {
                wrong.push(format!("{}: {} {}", operation.name(), answer.status, answer.body));
            }
            wrong.extend(document.check_answer(&operation, &answer));
        }
        let answer = server.call(Method::PUT, &path, Some(&service()), Value::Null).await;
        wrong.extend(document.check_answer(&operation, &answer));
        answer.refused(405, "method_not_allowed");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    server.get("/static/%ff", None).await.refused(404, "not_found");
    server.get("/docs/nothing", None).await.refused(404, "not_found");
}

#[tokio::test]
async fn everything_has_a_name_a_description_and_examples_that_fit() {
    let server = TestServer::start(&[]).await;
    let document = Document::of(&server).await;
    let (mut names, mut wrong) = (BTreeSet::new(), Vec::new());
    for operation in document.operations() {
        let name = operation.name();
        let own = operation.said["operationId"].as_str().unwrap_or_else(|| panic!("{name} has an operationId"));
        assert!(names.insert(own.to_owned()), "{own} is the name of two calls");
        assert!(operation.said["summary"].is_string() && operation.said["tags"][0].is_string(), "{name}");
        let mut check = |what: String, content: &Value| match document.example(content) {
            Some(example) => wrong.extend(document.check(&what, &content["schema"], example)),
            None => wrong.push(format!("{what} has no example")),
        };
        if let Some(content) = operation.said.pointer("/requestBody/content/application~1json") {
            check(name.clone(), content);
            let schema = document.resolved(&content["schema"]);
            let is_closed = schema["additionalProperties"] == false;
            assert!(is_closed || operation.takes_anything(&document), "{name}: unknown keys are refused");
        }
        for (status, response) in operation.said["responses"].as_object().expect("responses") {
            for content in response["content"].as_object().into_iter().flat_map(|content| content.values()) {
                check(format!("{name} {status}"), content);
            }
        }
    }
    for (name, schema) in document.0["components"]["schemas"].as_object().expect("schemas") {
        document.validator(schema);
        if let Some(example) = schema.get("example").or_else(|| schema.pointer("/examples/0")) {
            wrong.extend(document.check(name, schema, example));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The page lists the groups as the document does.
#[tokio::test]
async fn groups_of_calls_are_described_and_those_of_operators_are_the_last() {
    let server = TestServer::start(&[]).await;
    let document = Document::of(&server).await;
    let groups = document.0["tags"].as_array().expect("groups");
    for group in groups {
        assert!(group["description"].as_str().is_some_and(|text| text.ends_with('.')), "{group}");
    }
    let names: Vec<_> = groups.iter().map(|group| group["name"].as_str().expect("a name")).collect();
    assert_eq!(names.first(), Some(&"reading sessions"));
    assert_eq!(names.last(), Some(&"operators"));
    let operations = document.operations();
    let used: BTreeSet<_> = operations.iter().filter_map(|operation| operation.said["tags"][0].as_str()).collect();
    assert_eq!(names.iter().copied().collect::<BTreeSet<_>>(), used);
    for operation in &operations {
        let is_of_operators = operation.path.starts_with("/v1/admin") || !operation.path.starts_with("/v1/");
        assert_eq!(operation.said["tags"][0] == "operators", is_of_operators, "{}", operation.name());
    }
}

/// `routes!` documents what it registers; this finds what is registered by another way.
#[tokio::test]
async fn every_route_is_in_the_document_but_the_pages() {
    let mut plain = BTreeSet::new();
    let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let source = fs::read_to_string(&path).expect("a source file");
            let source = source.split("#[cfg(test)]").next().unwrap_or_default();
            let registered = source.split(".route(").skip(1).map(|rest| rest.split(',').next().unwrap_or_default());
            plain.extend(registered.map(|route| route.trim().trim_matches('"').to_owned()));
            for way in [".route_service(", ".nest(", ".nest_service("] {
                assert!(!source.contains(way), "{}: {way} registers what this test does not see", path.display());
            }
        }
    }
    assert!(plain.remove("DOCUMENT"), "the document itself");
    assert_eq!(plain, PAGES.map(str::to_owned).into());
}

#[tokio::test]
async fn the_page_to_try_it_on_comes_from_the_server_alone() {
    let server = TestServer::start(&[]).await;
    assert_eq!(server.get("/docs", None).await.headers["location"], "/docs/");
    let answer = server.get("/docs/", None).await;
    let policy = answer.headers["content-security-policy"].to_str().expect("text").to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
    assert!(!policy.contains("http"), "{policy}");
    let page = answer.expect(200);
    let page = page.as_str().expect("a page");
    let mut loaded = 0;
    for attribute in ["src=\"", "href=\""] {
        for address in page.split(attribute).skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(!address.contains("//"), "{address} is elsewhere");
            server.get(&format!("/docs/{}", address.trim_start_matches("./")), None).await.expect(200);
            loaded += 1;
        }
    }
    assert!(loaded >= 5, "the page loads its parts: {loaded}");
    let setup = server.get("/docs/swagger-initializer.js", None).await.expect(200);
    let setup = setup.as_str().expect("a script");
    assert!(setup.contains("\"../openapi.json\"") && setup.contains("\"validatorUrl\": \"none\""), "{setup}");
}
