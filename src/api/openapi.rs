//! The OpenAPI document `/openapi.json`, made from the annotations of the handlers, and `/docs`, a page to try
//! it.

use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::get};
use serde_json::{Map, Value};
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    Components, Content, Object, OpenApi as Document, Ref, RefOr, Required, Response as Described, Schema,
    SecurityRequirement, Server,
};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::protocol::problem::{MEDIA_TYPE, Problem};
use crate::protocol::{Code, Refusal};

/// The path of the document, and where it is seen from the page.
const DOCUMENT: &str = "/openapi.json";
const DOCUMENT_BESIDE: &str = "../openapi.json";

/// Text that holds a character that can be seen and no control characters. (Those beyond U+FFFF that cannot be seen are
/// left out: patterns are read in different ways there.)
const SHORT_TEXT: &str = concat!(
    r"^[^\x00-\x1f\x7f-\x9f]*",
    r"[^\s\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f",
    r"\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb]",
    r"[^\x00-\x1f\x7f-\x9f]*$"
);

/// The page styles itself inline and has its images in its style sheet.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; \
                      frame-ancestors 'none'";

/// What is the same for the whole interface; the router adds the calls.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "lastseen",
        description = "Realtime presence for collaborative sessions. The WebSocket and its frames are described in \
                       docs/reference/PROTOCOL.md. Times are RFC 3339 in UTC; unknown keys in bodies and queries are refused.",
    ),
    // The page lists the groups in this order: what apps call first, what operators call last.
    tags(
        (name = "reading sessions", description = "Rooms: open one, join it by WebSocket or follow it as events, rename it, close it."),
        (name = "invites", description = "Links that let people into a reading session: make, list, look up, revoke."),
        (name = "participants", description = "The people in a reading session now, and how a host removes one."),
        (name = "user sessions", description = "The devices of your users: start one, keep it alive by heartbeats, end it."),
        (name = "check-ins", description = "Users who announce that they are around for the next hour."),
        (name = "sits", description = "Timed sits of a user, alone or with partners."),
        (name = "partnerships", description = "Groups of users who see each other's sits."),
        (name = "simulators", description = "A companion instance of a user session, on a server that is set up to run them."),
        (name = "users", description = "All that is kept of one user, for the service: to hand it over, and to delete it."),
        (name = "operators", description = "For operators of the server: health, metrics, figures and the sweep."),
    ),
    components(schemas(Problem)),
    modifiers(&Security),
)]
pub struct Interface;

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut Document) {
        let bearer = Http::builder()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The JWT of a user or of the service; for a guest the resume token of its `welcome`."));
        let bearer = SecurityScheme::Http(bearer.build());
        document.components.get_or_insert_default().add_security_scheme("bearer", bearer);
        document.security = Some(vec![SecurityRequirement::new("bearer", [""; 0])]);
    }
}

/// A short text as people and their apps choose them, or null; see [`crate::protocol::name::short_text`].
pub fn short_text(most: usize) -> ObjectBuilder {
    Object::builder()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .min_length(Some(1))
        .max_length(Some(most))
        .pattern(Some(SHORT_TEXT))
}

/// The document and the page, of a server that is below this path.
pub fn pages<S: Clone + Send + Sync + 'static>(mut document: Document, below: &str) -> Router<S> {
    if !below.is_empty() {
        document.servers = Some(vec![Server::new(below)]);
    }
    let document = Arc::new(complete(document));
    // `none`: otherwise the page would ask another host to validate the document.
    let config =
        Config::from(DOCUMENT_BESIDE).validator_url("none").try_it_out_enabled(true).persist_authorization(false);
    let page: Router<S> = SwaggerUi::new("/docs").config(config).into();
    let header = |name, value| SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value));
    page.layer(map_response(found))
        .layer(header(header::CONTENT_SECURITY_POLICY, POLICY))
        .layer(header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(header(header::REFERRER_POLICY, "no-referrer"))
        .layer(header(header::CACHE_CONTROL, "no-cache"))
        .route(DOCUMENT, get(async move || Json(document)))
}

/// The page answers an empty 404 for a file that it does not have.
async fn found(response: Response) -> Response {
    match response.status() {
        StatusCode::NOT_FOUND => Refusal::from(Code::NotFound).into_response(),
        _ => response,
    }
}

/// Adds to all calls what need not be annotated at each.
fn complete(mut document: Document) -> Value {
    let components = document.components.clone().unwrap_or_default();
    for path in document.paths.paths.values_mut() {
        let operations = [&mut path.get, &mut path.post, &mut path.put, &mut path.patch, &mut path.delete];
        for operation in operations.into_iter().flatten() {
            with_its_own_name(operation);
            with_refusals(operation);
            with_optional_body(operation, &components);
        }
    }
    with_examples(serde_json::to_value(document).expect("a document is JSON"))
}

/// Answers made of types with examples, pages above all, need no example of their own.
fn with_examples(mut document: Value) -> Value {
    let schemas = document["components"]["schemas"].clone();
    let calls = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    let calls = calls.filter_map(Value::as_object_mut).flat_map(|calls| calls.values_mut());
    let answers = calls.filter_map(|call| call["responses"].as_object_mut()).flat_map(|answers| answers.values_mut());
    for content in answers.filter_map(|answer| answer.get_mut("content")?.as_object_mut()) {
        for body in content.values_mut().filter(|body| body.get("example").is_none()) {
            if let Some(example) = example(&body["schema"], &schemas) {
                body["example"] = example;
            }
        }
    }
    document
}

/// The example of a schema: its own, or one made of those of its parts.
fn example(schema: &Value, schemas: &Value) -> Option<Value> {
    if let Some(name) = schema["$ref"].as_str().and_then(|place| place.rsplit('/').next()) {
        return example(&schemas[name], schemas);
    }
    if let Some(own) = schema.get("example").or_else(|| schema["examples"].get(0)) {
        return Some(own.clone());
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let mut whole = Map::new();
        for part in parts {
            whole.extend(example(part, schemas)?.as_object()?.clone());
        }
        return Some(whole.into());
    }
    if let Some(items) = schema.get("items") {
        return Some(vec![example(items, schemas)?].into());
    }
    if schema["type"].as_array().is_some_and(|types| types.contains(&"null".into())) {
        return Some(Value::Null);
    }
    let properties = schema["properties"].as_object()?;
    properties
        .iter()
        .map(|(key, part)| Some((key.clone(), example(part, schemas)?)))
        .collect::<Option<Map<_, _>>>()
        .map(Value::Object)
}

/// The handler's name after its resource: there is more than one `list`.
fn with_its_own_name(operation: &mut Operation) {
    let tag = operation.tags.iter().flatten().next();
    if let (Some(tag), Some(name)) = (tag, &mut operation.operation_id) {
        *name = format!("{} {name}", tag).replace(' ', "_");
    }
}

/// Every call can be refused, always in the same form. A handler is annotated only with refusals of its own.
fn with_refusals(operation: &mut Operation) {
    let problem = || Content::new(Some(Ref::from_schema_name("Problem")));
    for (status, response) in &mut operation.responses.responses {
        if let (true, RefOr::T(response)) = (status.starts_with(['4', '5']), response) {
            response.content.entry(MEDIA_TYPE.to_owned()).or_insert_with(|| problem().into());
        }
    }
    let refusal =
        Described::builder().description("Refused: the reason is in `code`").content(MEDIA_TYPE, problem()).build();
    operation.responses.responses.entry("default".to_owned()).or_insert_with(|| refusal.into());
}

/// A missing body is read as `{}`: a body is required only where a field is.
fn with_optional_body(operation: &mut Operation, components: &Components) {
    let Some(RefOr::T(body)) = &mut operation.request_body else { return };
    let schema = body.content.values().find_map(|content| match content {
        RefOr::T(content) => content.schema.as_ref(),
        RefOr::Ref(_) => None,
    });
    let schema = match schema {
        Some(RefOr::Ref(name)) => name.ref_location.rsplit('/').next().and_then(|name| components.schemas.get(name)),
        inline => inline,
    };
    if let Some(RefOr::T(Schema::Object(object))) = schema {
        body.required = Some(if object.required.is_empty() { Required::False } else { Required::True });
    }
}
