//! Connections for which there is no place: each is answered once, and closed. Requests for the server's health are
//! answered as ever, so that a monitor sees a server that is full and not one that is dead.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tower::ServiceExt;

use super::tls::Tls;
use crate::admission::refusal_log::RefusalLog;
use crate::api;
use crate::metrics::Metrics;
use crate::protocol::{Code, Refusal};
use crate::socket::stream::Stream;

/// How many are answered at a time. One more ends the oldest: a client that sends its request at once is answered before
/// that, and silent ones keep no other out.
pub(super) const MOST_REFUSED: usize = 64;

/// How long a client may take to ask, and to take the answer, once a handshake of TLS, which has its own limit, is over.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// When a client that was refused for its network may come back, at the earliest.
const NETWORK_PAUSE: Duration = Duration::from_secs(5);

/// Answers connections for which there is no place.
#[derive(Debug)]
pub(super) struct Overflow {
    app: Router,
    tls: Option<Arc<Tls>>,
    metrics: Arc<Metrics>,
    log: Arc<RefusalLog>,
    newest: Mutex<VecDeque<AbortHandle>>,
}

impl Overflow {
    /// Answers by these routes where the question is about health.
    pub(super) fn new(app: Router, tls: Option<Arc<Tls>>, metrics: Arc<Metrics>, log: Arc<RefusalLog>) -> Self {
        Self { app, tls, metrics, log, newest: Mutex::default() }
    }

    /// Answers one request of this stream in a task of its own, with this code unless it asks for the server's health.
    pub(super) fn answer(&self, stream: TcpStream, code: Code) {
        let (app, metrics, log) = (self.app.clone(), Arc::clone(&self.metrics), Arc::clone(&self.log));
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let (app, metrics, log) = (app.clone(), Arc::clone(&metrics), Arc::clone(&log));
            async move {
                if api::asks_for_health(request.uri().path()) {
                    let response = app.oneshot(request.map(Body::new)).await;
                    return Ok::<_, Infallible>(response.unwrap_or_else(|never| match never {}));
                }
                metrics.refusals(code.as_str()).inc();
                let refusal = refusal(code);
                log.note(&refusal, request.headers());
                Ok(refusal.into_response())
            }
        });
        let tls = self.tls.clone();
        let answer = async move {
            let stream = match &tls {
                Some(tls) => Box::pin(tls.accept(stream)).await,
                None => Some(Stream::Plain(stream)),
            };
            let Some(stream) = stream else { return };
            let connection = http1::Builder::new()
                .keep_alive(false)
                .header_read_timeout(None)
                .serve_connection(TokioIo::new(stream), service);
            // An error here concerns the client's connection alone, which is closed.
            let _ = timeout(ANSWER_TIMEOUT, connection).await;
        };
        let task = tokio::spawn(answer);
        let mut newest = self.newest.lock();
        newest.push_back(task.abort_handle());
        if newest.len() > MOST_REFUSED
            && let Some(oldest) = newest.pop_front()
        {
            // Most likely it has ended by itself.
            oldest.abort();
        }
    }
}

fn refusal(code: Code) -> Refusal {
    match code {
        Code::RateLimited => Refusal::new(code, "Too many connections from this address.").retry_about(NETWORK_PAUSE),
        code => code.into(),
    }
}
