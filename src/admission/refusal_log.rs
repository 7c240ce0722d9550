//! Refusals over HTTP that an operator has to find out about, in the log: some of each code, since anybody can send any
//! number of requests.

use std::num::NonZeroU32;

use axum::http::{HeaderMap, HeaderName, header};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::protocol::{Code, Refusal};

/// Lines about one code in a minute, and at once.
const LINES_PER_MINUTE: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// What is logged of a header, in characters.
const HEADER_CHARS: usize = 200;

/// Logs refusals.
#[derive(Debug)]
pub struct RefusalLog {
    lines: DefaultKeyedRateLimiter<Code>,
}

impl Default for RefusalLog {
    fn default() -> Self {
        Self { lines: RateLimiter::keyed(Quota::per_minute(LINES_PER_MINUTE)) }
    }
}

impl RefusalLog {
    /// Logs the refusal of a request with these headers. Where its origin is not allowed the line has it, and the host
    /// by which the server was asked, which would be allowed.
    pub fn note(&self, refusal: &Refusal, headers: &HeaderMap) {
        if self.lines.check_key(&refusal.code).is_err() {
            return;
        }
        let shown = |name| if refusal.code == Code::OriginNotAllowed { text(headers, name) } else { None };
        tracing::info!(
            code = refusal.code.as_str(),
            detail = &*refusal.message,
            origin = shown(header::ORIGIN),
            host = shown(header::HOST),
            "refused a request"
        );
    }
}

/// The header as text, cut. The log escapes it.
fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    Some(String::from_utf8_lossy(headers.get(name)?.as_bytes()).chars().take(HEADER_CHARS).collect())
}
