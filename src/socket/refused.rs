//! Refusals of clients that are upgraded: the frame `error` at once, and the Close when it is due.
//!
//! A client that reads the frame knows why it is refused without a delay. One that does not, and comes back when it is
//! closed, is held up by the tarpit (`admission::tarpit`).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::connection::Held;
use super::frame::FrameBatch;
use super::transport::Transport;
use crate::app::App;
use crate::protocol::{Code, Refusal, v1};

/// How long the Close of a refusal to this client is to wait. What is a fault of the server's own is not counted, nor
/// delayed: these clients are asked to come back.
///
/// # Errors
/// The refusal to send before the upgrade instead.
pub(super) fn delay(app: &App, refusal: &Refusal, held: &Held) -> Result<Duration, Refusal> {
    if matches!(refusal.code, Code::Internal | Code::Unavailable | Code::Draining) {
        return Ok(Duration::ZERO);
    }
    let delay = app.tarpit.refuse(held.permit.network());
    match &delay {
        Ok(Duration::ZERO) => {}
        Ok(_) => count(app, "delay"),
        Err(_) => count(app, "status"),
    }
    delay
}

fn count(app: &App, by: &'static str) {
    app.metrics.slowed_refusals(by).inc();
}

/// Sends a refusal to a client that is upgraded. Its Close waits for this long, or until the server stops.
pub(super) async fn refuse(app: App, transport: Arc<Transport>, refusal: Refusal, delay: Duration, held: Held) {
    let code = refusal.code;
    tracing::info!(code = code.as_str(), "refused a connection");
    app.metrics.refusals(code.as_str()).inc();
    transport.write(FrameBatch::of(&v1::error(&refusal, None)));
    match delay {
        Duration::ZERO => close(transport, code, held).await,
        // In a task of its own, as small as one can be: this one is as large as a join.
        delay => drop(tokio::spawn(close_later(app, transport, code, delay, held))),
    }
}

async fn close_later(app: App, transport: Arc<Transport>, code: Code, delay: Duration, held: Held) {
    tokio::select! {
        () = sleep(delay) => {}
        () = app.figures.drained() => {}
        // Whoever has gone gives the permit back.
        () = transport.hung_up() => {}
    }
    tokio::spawn(close(transport, code, held));
}

async fn close(transport: Arc<Transport>, code: Code, _held: Held) {
    let mut last = FrameBatch::default();
    last.close(Some(code.close_code().unwrap_or(1011)), code.as_str());
    transport.close(last).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of_output<A, B, C, D, E, O>(_: impl Fn(A, B, C, D, E) -> O) -> usize {
        size_of::<O>()
    }

    #[test]
    fn a_close_that_waits_is_smaller_than_a_connection() {
        let bytes = bytes_of_output(close_later);
        assert!(bytes <= 544, "{bytes} bytes: what lives across the wait, and need not?");
    }
}
