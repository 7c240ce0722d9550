//! The transport of a connection: a stream that carries frames, written without waiting and closed
//! so that the last frames arrive.
//!
//! Any thread may write. What the socket does not take at once is buffered, and the connection's task is
//! woken to send it.

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::time::timeout;

use super::end::End;
use super::frame::{Decoder, FrameBatch, Incoming, Part};
use super::stream::Stream;
use super::unsent::Unsent;
use super::wire::Wire;
use crate::protocol::Code;

/// How long a client may read nothing of the last frames, and may take to hang up after them.
const CLOSE_STEP: Duration = Duration::from_secs(2);

/// How long sending the last frames may take in all.
const CLOSE_TOTAL: Duration = Duration::from_secs(10);

/// How much is read at once: many beats, or a quarter of the largest message. The buffer is on the stack, so
/// that no connection holds one between reads.
const READ_BYTES: usize = 2048;

/// How many parts of what is sent are written by one call of the system. Nearly always there is one, and there are
/// three where a list is sent that others get as well.
const PARTS_AT_ONCE: usize = 8;

/// A stream after the upgrade.
#[derive(Debug)]
pub struct Transport {
    wire: Wire,
    /// What the socket has not taken yet. Without memory while the client keeps up.
    unsent: Mutex<Unsent>,
    /// Whether the connection's task has something to do that writing alone does not.
    is_woken: AtomicBool,
    task: AtomicWaker,
}

/// The result of writing frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Written {
    /// The socket has taken all of them.
    All,
    /// This many bytes are buffered until the client reads.
    Waiting(usize),
}

impl Transport {
    /// The transport over this stream.
    pub fn new(stream: Stream) -> Self {
        Self {
            wire: stream.into(),
            unsent: Mutex::default(),
            is_woken: AtomicBool::new(false),
            task: AtomicWaker::new(),
        }
    }

    /// Waits until there is something to read, or the stream is broken. May be cancelled and called
    /// again, by one task.
    pub async fn readable(&self) {
        poll_fn(|cx| self.wire.poll_readable(cx)).await;
    }

    /// Reads what has arrived, without waiting, and passes each message to `take`.
    ///
    /// # Errors
    /// How the connection ends: the client closed it or broke a rule, or `take` returned an end.
    pub fn receive(
        &self,
        decoder: &mut Decoder,
        max_message_bytes: usize,
        take: impl FnMut(Incoming<'_>) -> Result<(), End>,
    ) -> Result<(), End> {
        let mut buffer = [0; READ_BYTES];
        let read = self.wire.try_read(&mut buffer);
        Self::take(read, &mut buffer, decoder, max_message_bytes, take)
    }

    /// The same, whether or not the runtime knows already that something has arrived.
    ///
    /// # Errors
    /// See [`Transport::receive`].
    pub fn receive_now(
        &self,
        decoder: &mut Decoder,
        max_message_bytes: usize,
        take: impl FnMut(Incoming<'_>) -> Result<(), End>,
    ) -> Result<(), End> {
        let mut buffer = [0; READ_BYTES];
        let read = self.wire.read_now(&mut buffer);
        Self::take(read, &mut buffer, decoder, max_message_bytes, take)
    }

    fn take(
        read: io::Result<usize>,
        buffer: &mut [u8],
        decoder: &mut Decoder,
        max_message_bytes: usize,
        take: impl FnMut(Incoming<'_>) -> Result<(), End>,
    ) -> Result<(), End> {
        match read {
            Ok(0) => Err(End::Lost),
            Ok(bytes) => decode(decoder, &mut buffer[..bytes], max_message_bytes, take),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(_) => Err(End::Lost),
        }
    }

    /// Writes all frames at once, behind those that are buffered. What the socket does not take is
    /// buffered, and the task is woken. On a broken stream the bytes are dropped; the read side reports
    /// the error.
    pub fn write(&self, frames: FrameBatch) -> Written {
        let mut unsent = self.unsent.lock();
        let mut written = 0;
        if unsent.is_empty() {
            written = self.try_write(frames.parts().map(Part::bytes)).unwrap_or(frames.len());
            if written == frames.len() && !self.wire.holds_back() {
                return Written::All;
            }
        }
        unsent.push(&frames, written);
        let waiting = unsent.len();
        drop(unsent);
        self.wake();
        Written::Waiting(waiting)
    }

    /// Wakes the connection's task.
    pub fn wake(&self) {
        self.is_woken.store(true, Ordering::Release);
        self.task.wake();
    }

    /// Waits until [`Transport::wake`] was called since the last time. For the connection's task alone.
    pub async fn woken(&self) {
        poll_fn(|cx| {
            self.task.register(cx.waker());
            if self.is_woken.swap(false, Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Waits until the socket has taken all that is buffered. A client that reads slowly is waited for;
    /// one that reads nothing for `patience` is not.
    ///
    /// # Errors
    /// How the connection ends: lost, or `slow_consumer`.
    pub async fn flush(&self, patience: Duration) -> Result<(), End> {
        while let Written::Waiting(_) = self.flush_some(patience).await? {}
        Ok(())
    }

    /// Waits until the socket takes some of what is buffered.
    ///
    /// # Errors
    /// See [`Transport::flush`].
    pub async fn flush_some(&self, patience: Duration) -> Result<Written, End> {
        if self.unsent.lock().is_empty() && !self.wire.holds_back() {
            return Ok(Written::All);
        }
        match timeout(patience, self.wire.writable()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(End::Lost),
            Err(_) => return Err(Code::SlowConsumer.into()),
        }
        let mut unsent = self.unsent.lock();
        let written = self.try_write(unsent.parts())?;
        unsent.drop_front(written);
        Ok(if unsent.is_empty() && !self.wire.holds_back() { Written::All } else { Written::Waiting(unsent.len()) })
    }

    /// How many bytes of these parts the socket takes.
    fn try_write<'a>(&self, mut parts: impl Iterator<Item = &'a [u8]>) -> Result<usize, End> {
        let mut written = 0;
        loop {
            let (mut slices, mut filled) = ([IoSlice::new(&[]); PARTS_AT_ONCE], 0);
            for (slice, part) in slices.iter_mut().zip(&mut parts) {
                *slice = IoSlice::new(part);
                filled += 1;
            }
            let slices = &mut slices[..filled];
            let whole: usize = slices.iter().map(|slice| slice.len()).sum();
            let taken = self.wire.try_write(slices).map_err(|_| End::Lost)?;
            written += taken;
            if filled < PARTS_AT_ONCE || taken < whole {
                return Ok(written);
            }
        }
    }

    /// Sends the last frames. Then the write side of the stream is shut down, and what still arrives
    /// is read and dropped until the client hangs up: closing with unread data would reset the stream,
    /// and the client would lose a close frame that it has not read yet.
    pub async fn close(&self, last: FrameBatch) {
        self.write(last);
        let _ = timeout(CLOSE_TOTAL, self.flush(CLOSE_STEP)).await;
        self.wire.finish();
        let _ = timeout(CLOSE_STEP, self.hung_up()).await;
    }

    /// Reads and drops what arrives, until the client hangs up.
    pub fn hung_up(&self) -> impl Future<Output = ()> {
        self.wire.hung_up()
    }
}

/// Decodes what has arrived and passes each message to `take`.
///
/// # Errors
/// How the connection ends: the client broke a rule, or `take` returned an end.
pub fn decode(
    decoder: &mut Decoder,
    bytes: &mut [u8],
    max_message_bytes: usize,
    mut take: impl FnMut(Incoming<'_>) -> Result<(), End>,
) -> Result<(), End> {
    let mut joined = Vec::new();
    let mut input = decoder.input(bytes, &mut joined);
    while let Some(incoming) = decoder.next(&mut input, max_message_bytes)? {
        take(incoming)?;
    }
    Ok(())
}
