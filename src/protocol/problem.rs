//! Refusals over HTTP: `application/problem+json` (RFC 9457).

use std::collections::BTreeSet;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::{Object, Type};

use super::code::Code;
use super::refusal::{FieldError, Refusal};
use crate::domain::reading_session::CloseReason;

/// The media type of refusals.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// A refusal as a client of the HTTP interface reads it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "type": "about:blank", "title": "Not Found", "status": 404, "code": "session_not_found",
    "detail": "Session not found or inactive"
}))]
pub struct Problem {
    /// Always `about:blank`: the kind is in `code`.
    #[schema(pattern = "^about:blank$")]
    r#type: &'static str,
    /// The meaning of the status.
    title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// The word for programs.
    #[schema(schema_with = codes)]
    code: &'static str,
    /// The sentence for people.
    detail: String,
    /// Why a session is closed.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<CloseReason>,
    /// What was wrong with which field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

/// The closed list of the words for programs.
fn codes() -> Object {
    let words: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    Object::builder().schema_type(Type::String).enum_values(Some(words)).build()
}

/// Which refusal a response is, for the metrics.
#[derive(Clone, Copy, Debug)]
pub struct Refused(pub Code);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let problem = Problem {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            code: self.code.as_str(),
            detail: self.message.into_owned(),
            reason: self.reason,
            errors: self.errors,
        };
        let body = serde_json::to_string(&problem).expect("a problem holds nothing that JSON cannot");
        let mut response = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        if let Some(after) = self.retry_after {
            let seconds = after.as_millis().div_ceil(1000).max(1);
            let seconds = HeaderValue::try_from(seconds.to_string()).expect("digits are a header value");
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        if status.as_u16() == 401 {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // RFC 9110, section 15.5.22: the answer names what to change to.
        if status.as_u16() == 426 {
            response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
        response.extensions_mut().insert(Refused(self.code));
        response
    }
}
