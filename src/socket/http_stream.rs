//! The stream under HTTP, which knows what its connection is doing and gives up a client that takes no answer.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::stream::Stream;

/// What a connection is doing. It is changed by the connection's task alone.
#[derive(Debug)]
pub struct Turn(AtomicU64);

const SERVED: u64 = 0;
const ANSWERED: u64 = 1;
const SENT: u64 = 2;
const LEFT: u64 = u64::MAX;
const STREAMED: u64 = u64::MAX - 1;

/// The turn of the first wait, which is for the head of a request. Each wait takes two numbers: the second one from
/// the first byte of the head.
const FIRST_WAIT: u64 = 5;

/// What a connection is doing, in words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doing {
    /// It waits for a request.
    Waiting {
        /// The number of the wait.
        wait: u64,
        /// Whether some of the head has come.
        has_begun: bool,
    },
    /// A request is being served.
    Served,
    /// The answer is complete, and is being sent.
    Answered,
    /// The answer is sent.
    Sent,
    /// No request is waited for any more.
    Left,
}

impl Turn {
    /// Before the first request. The first byte is waited for no longer than the head.
    pub fn first(wait: u64) -> Self {
        Self(AtomicU64::new(Self::number(wait) + 1))
    }

    fn number(wait: u64) -> u64 {
        FIRST_WAIT - 1 + wait * 2
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, turn: u64) {
        self.0.store(turn, Ordering::Relaxed);
    }

    /// What it is doing now.
    pub fn doing(&self) -> Doing {
        match self.get() {
            SERVED => Doing::Served,
            ANSWERED => Doing::Answered,
            SENT => Doing::Sent,
            LEFT | STREAMED => Doing::Left,
            turn => Doing::Waiting { wait: (turn - (FIRST_WAIT - 1)) / 2, has_begun: turn % 2 == 1 },
        }
    }

    /// A request has come.
    pub fn serve(&self) {
        self.set(SERVED);
    }

    /// All of the answer was given to the connection.
    pub fn answer(&self) {
        if self.get() == SERVED {
            self.set(ANSWERED);
        }
    }

    /// A wait begins.
    pub fn rest(&self, wait: u64) {
        self.set(Self::number(wait));
    }

    /// The connection carries no plain HTTP any more.
    pub fn leave(&self) {
        self.set(LEFT);
    }

    /// It carries one answer more, a stream of events that has no end.
    pub fn stream(&self) {
        self.set(STREAMED);
    }

    fn flushed(&self) {
        if self.get() == ANSWERED {
            self.set(SENT);
        }
    }

    fn received(&self) {
        if matches!(self.doing(), Doing::Waiting { has_begun: false, .. }) {
            self.set(self.get() + 1);
        }
    }
}

/// A stream that notes when a request begins and when an answer is sent, and fails with [`ErrorKind::TimedOut`]
/// where its client does not take an answer.
#[derive(Debug)]
pub struct HttpStream {
    stream: Stream,
    turn: Arc<Turn>,
    write_timeout: Duration,
    /// When an answer that is not taken is given up; `None` while the client takes what is sent.
    stuck: Option<Pin<Box<Sleep>>>,
    /// Whether the kernel gives up a client that acknowledges nothing.
    is_bounded: bool,
}

impl HttpStream {
    /// Over a stream that was just accepted.
    pub fn new(stream: Stream, turn: Arc<Turn>, write_timeout: Duration) -> Self {
        Self { stream, turn, write_timeout, stuck: None, is_bounded: false }
    }

    /// The bare stream.
    pub fn into_inner(self) -> Stream {
        self.stream
    }

    /// A reader of a stream sends nothing, and what it is sent may fit into the kernel's buffer for hours. So the kernel
    /// is asked to give up one whose host is gone or takes nothing, which it does after a quarter of an hour otherwise.
    fn bound_stream(&mut self) {
        if self.turn.get() == STREAMED && !self.is_bounded {
            self.is_bounded = true;
            #[cfg(target_os = "linux")]
            let _ = SockRef::from(self.stream.tcp()).set_tcp_user_timeout(Some(self.write_timeout));
        }
    }

    /// Waits no longer for a client that takes nothing.
    fn patiently<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let timeout = self.write_timeout;
        ready!(self.stuck.get_or_insert_with(|| Box::pin(sleep(timeout))).as_mut().poll(cx));
        // What is in the kernel's buffer is given up as well, or it would be kept for minutes.
        let _ = SockRef::from(self.stream.tcp()).set_linger(Some(Duration::ZERO));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for HttpStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            this.turn.received();
        }
        read
    }
}

impl AsyncWrite for HttpStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.bound_stream();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.patiently(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.bound_stream();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.patiently(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // With TLS, what was taken may still wait for the socket.
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        let flushed = this.patiently(cx, flushed);
        if flushed.is_ready() {
            this.turn.flushed();
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_goes_from_wait_to_wait() {
        let turn = Turn::first(1);
        assert_eq!(turn.doing(), Doing::Waiting { wait: 1, has_begun: true });
        turn.serve();
        turn.flushed();
        turn.received();
        assert_eq!(turn.doing(), Doing::Served, "neither a flush nor a byte ends it");
        turn.answer();
        assert_eq!(turn.doing(), Doing::Answered);
        turn.flushed();
        assert_eq!(turn.doing(), Doing::Sent);
        turn.rest(2);
        assert_eq!(turn.doing(), Doing::Waiting { wait: 2, has_begun: false });
        turn.received();
        turn.received();
        assert_eq!(turn.doing(), Doing::Waiting { wait: 2, has_begun: true });
        turn.leave();
        turn.answer();
        assert_eq!(turn.doing(), Doing::Left);
        turn.stream();
        turn.answer();
        turn.flushed();
        turn.received();
        assert_eq!(turn.doing(), Doing::Left);
    }
}
