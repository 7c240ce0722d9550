//! Tokens that are refused, by reason: each is counted, and some are logged.

use std::num::NonZeroU32;
use std::sync::Arc;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::jwt::TokenFault;
use crate::metrics::Metrics;

/// Lines of the log about one reason in a minute, and at once: anybody can send bad tokens.
const LINES_PER_MINUTE: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// Counts and logs refused tokens.
#[derive(Debug)]
pub(super) struct RefusedTokens {
    metrics: Arc<Metrics>,
    lines: DefaultKeyedRateLimiter<TokenFault>,
}

impl RefusedTokens {
    /// With each reason counted from zero.
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        for fault in TokenFault::ALL {
            metrics.refused_tokens(fault.as_str());
        }
        Self { metrics, lines: RateLimiter::keyed(Quota::per_minute(LINES_PER_MINUTE)) }
    }

    pub(super) fn note(&self, fault: TokenFault) {
        self.metrics.refused_tokens(fault.as_str()).inc();
        if self.lines.check_key(&fault).is_ok() {
            tracing::info!(reason = fault.as_str(), "refused a token: {}", fault.message());
        }
    }
}
