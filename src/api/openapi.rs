//! What the HTTP interface says of itself: `/openapi.json`, made from what stands beside each handler,
//! and `/docs`, a page to try it on.

use axum::Router;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as Document, Ref, Response, SecurityRequirement};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::SwaggerUi;

use crate::protocol::problem::{MEDIA_TYPE, Problem};

/// What is true of the whole interface; the calls are added by the router that serves them.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "lastseen",
        description = "Realtime presence for collaborative sessions. The WebSocket and its frames are described in docs/PROTOCOL.md.",
    ),
    components(schemas(Problem)),
    modifiers(&Security),
)]
pub struct Interface;

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut Document) {
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme("bearer", bearer);
        document.security = Some(vec![SecurityRequirement::new("bearer", [""; 0])]);
    }
}

/// The document and the page.
pub fn pages<S: Clone + Send + Sync + 'static>(document: Document) -> Router<S> {
    SwaggerUi::new("/docs").url("/openapi.json", with_refusals(document)).into()
}

/// Every call may be refused, always in the same form. Beside a handler stand only the refusals that
/// are its own.
fn with_refusals(mut document: Document) -> Document {
    let refusal = Response::builder()
        .description("Refused: `code` says why")
        .content(MEDIA_TYPE, Content::new(Some(Ref::from_schema_name("Problem"))))
        .build();
    for path in document.paths.paths.values_mut() {
        let operations = [&mut path.get, &mut path.post, &mut path.put, &mut path.patch, &mut path.delete];
        for operation in operations.into_iter().flatten() {
            operation.responses.responses.entry("default".to_owned()).or_insert_with(|| refusal.clone().into());
        }
    }
    document
}
