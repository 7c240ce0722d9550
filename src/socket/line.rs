//! The line to a client: a TCP stream that carries frames, written with patience and closed with care.
//!
//! Anybody may write to it without waiting. What the socket does not take at once waits in the line, and
//! the connection's own task sees to it.

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice, Read};
use std::net::Shutdown;
use std::time::Duration;

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::end::End;
use super::frame::{Decoder, Incoming, Outbox};
use crate::protocol::{Code, v1};

/// How long a client may take nothing of the last frames, and may take to hang up after them.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long it may take for the last frames in all, slow as it is.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// What is read at once: many beats, or half of the largest message. On the stack, so that nobody holds
/// it while nothing comes.
const READ_BYTES: usize = 2048;

/// A TCP stream after the upgrade.
#[derive(Debug)]
pub struct Line {
    stream: TcpStream,
    /// What the socket has not taken yet. Empty, without memory, while the client keeps up.
    unsent: Mutex<Vec<u8>>,
}

/// What became of frames that were to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Written {
    /// The socket has all of them.
    All,
    /// This many bytes wait for the client to take what was sent before.
    Waiting(usize),
}

impl Line {
    /// Nothing was written yet.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, unsent: Mutex::default() }
    }

    /// Waits until something came, or the line is broken. May be given up and asked again, by one.
    pub async fn readable(&self) {
        // What is wrong with the stream is told by reading it.
        let _ = poll_fn(|cx| self.stream.poll_read_ready(cx)).await;
    }

    /// Reads what came, without waiting, and hands over each message.
    ///
    /// # Errors
    /// How the connection ends: the client hung up or broke a rule, or `take` says so.
    pub fn hear(
        &self,
        decoder: &mut Decoder,
        max_message_bytes: usize,
        take: impl FnMut(Incoming<'_>) -> Result<(), End>,
    ) -> Result<(), End> {
        let mut buffer = [0; READ_BYTES];
        match self.try_read(&mut buffer) {
            Ok(0) => Err(End::Lost),
            Ok(bytes) => decode(decoder, &mut buffer[..bytes], max_message_bytes, take),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(_) => Err(End::Lost),
        }
    }

    /// Reads without waiting. A buffer that is not filled says that nothing is left: epoll tells when
    /// something comes again, so a second read that says the same would be for nothing. (What comes in
    /// between is not missed: the runtime forgets no readiness that is newer than the read.)
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut bytes = 0;
        let read = self.stream.try_io(Interest::READABLE, || {
            bytes = (&*SockRef::from(&self.stream)).read(buffer)?;
            let drained = cfg!(target_os = "linux") && bytes > 0 && bytes < buffer.len();
            if drained { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        if bytes > 0 { Ok(bytes) } else { read.map(|()| 0) }
    }

    /// Writes all frames at once, behind those that wait. A line that is broken takes everything: who
    /// reads from it hears of that.
    pub fn write(&self, frames: Outbox) -> Written {
        let mut unsent = self.unsent.lock();
        let mut written = 0;
        if unsent.is_empty() {
            written = self.try_write(frames.parts()).unwrap_or(frames.len());
            if written == frames.len() {
                return Written::All;
            }
        }
        frames.keep_rest(written, &mut unsent);
        Written::Waiting(unsent.len())
    }

    /// Waits until the socket has taken all that waits. A reader that is slow but takes data is waited
    /// for; one that takes none for `patience` is not.
    ///
    /// # Errors
    /// How the connection ends: lost, or `slow_consumer`.
    pub async fn flush(&self, patience: Duration) -> Result<(), End> {
        while let Written::Waiting(_) = self.flush_some(patience).await? {}
        Ok(())
    }

    /// Waits until the socket takes some of what waits.
    ///
    /// # Errors
    /// See [`Line::flush`].
    pub async fn flush_some(&self, patience: Duration) -> Result<Written, End> {
        if self.unsent.lock().is_empty() {
            return Ok(Written::All);
        }
        match timeout(patience, self.stream.writable()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(End::Lost),
            Err(_) => return Err(Code::SlowConsumer.into()),
        }
        let mut unsent = self.unsent.lock();
        let written = self.try_write([&[], &[], &unsent])?;
        unsent.drain(..written);
        if unsent.is_empty() {
            *unsent = Vec::new();
            return Ok(Written::All);
        }
        Ok(Written::Waiting(unsent.len()))
    }

    /// How many bytes of these parts the socket takes.
    fn try_write(&self, parts: [&[u8]; 3]) -> Result<usize, End> {
        let mut slices = parts.map(IoSlice::new);
        let (mut left, mut written) = (&mut slices[..], 0);
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            let taken = match &*left {
                [one] => self.stream.try_write(one),
                several => self.stream.try_write_vectored(several),
            };
            match taken {
                Ok(more) => {
                    written += more;
                    IoSlice::advance_slices(&mut left, more);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return Err(End::Lost),
            }
        }
        Ok(written)
    }

    /// The last frames of a connection. Then our side of the TCP stream is shut and what still comes is
    /// read and thrown away until the client hangs up: closing with unread data would reset the stream,
    /// and the client would lose the close frame that it has not read yet.
    pub async fn farewell(&self, end: &End) {
        let mut frames = Outbox::default();
        match end {
            End::Left => frames.close(Some(1000), ""),
            End::Closed(code) => frames.close(*code, ""),
            End::Lost => return,
            End::Refused(refusal) => {
                frames.text(&v1::error(refusal, None));
                frames.close(Some(refusal.code.close_code().unwrap_or(1011)), refusal.code.as_str());
            }
            End::Broken(violation) => frames.close(Some(violation.close_code()), ""),
        }
        self.write(frames);
        let _ = timeout(LAST_WORDS, self.flush(FAREWELL)).await;
        let _ = SockRef::from(&self.stream).shutdown(Shutdown::Write);
        let _ = timeout(FAREWELL, self.hung_up()).await;
    }

    async fn hung_up(&self) {
        let mut ignored = [0; 512];
        loop {
            self.readable().await;
            match self.stream.try_read(&mut ignored) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

/// Hands over each message of what came.
///
/// # Errors
/// How the connection ends: the client broke a rule, or `take` says so.
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
