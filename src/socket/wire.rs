//! The wire under a transport: TCP, or TLS over it, read and written without waiting, by any thread.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio_rustls::rustls::ServerConnection;

use super::stream::Stream;

/// How much a TLS session takes before the socket takes any of it: a record. More would be buffered where nobody counts
/// it.
const TLS_BUFFER_BYTES: usize = 16 * 1024;

/// A stream that was taken from HTTP.
#[derive(Debug)]
pub enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsWire>),
}

/// TLS over TCP.
#[derive(Debug)]
pub struct TlsWire {
    tcp: TcpStream,
    /// Locked after everything else.
    session: Mutex<ServerConnection>,
    /// Whether the session may hold bytes that were received and not read.
    has_more: AtomicBool,
}

impl From<Stream> for Wire {
    fn from(stream: Stream) -> Self {
        match stream {
            Stream::Plain(tcp) => Self::Plain(tcp),
            Stream::Tls(tls) => {
                let (tcp, mut session) = tls.into_inner();
                session.set_buffer_limit(Some(TLS_BUFFER_BYTES));
                Self::Tls(Box::new(TlsWire { tcp, session: Mutex::new(session), has_more: AtomicBool::new(true) }))
            }
        }
    }
}

impl Wire {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => &tls.tcp,
        }
    }

    /// Whether there is something to read, or the stream is broken: reading it reports that.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Tls(tls) if tls.has_more.load(Ordering::Acquire) => {}
            _ => drop(ready!(self.tcp().poll_read_ready(cx))),
        }
        Poll::Ready(())
    }

    /// Waits until the socket takes more.
    ///
    /// # Errors
    /// A broken stream.
    pub async fn writable(&self) -> io::Result<()> {
        self.tcp().writable().await
    }

    /// Reads without waiting.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] where there is nothing; else a broken stream.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => try_read(tcp, buffer),
            Self::Tls(tls) => tls.read(buffer, &mut Ready(&tls.tcp)),
        }
    }

    /// The same, whether or not the runtime knows already that something has arrived.
    ///
    /// # Errors
    /// See [`Wire::try_read`].
    pub fn read_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let socket = SockRef::from(self.tcp());
        match self {
            Self::Plain(_) => (&*socket).read(buffer),
            Self::Tls(tls) => tls.read(buffer, &mut &*socket),
        }
    }

    /// How many bytes of these slices are taken without waiting.
    ///
    /// # Errors
    /// A broken stream.
    pub fn try_write(&self, mut left: &mut [IoSlice<'_>]) -> io::Result<usize> {
        IoSlice::advance_slices(&mut left, 0);
        match self {
            Self::Plain(tcp) => write_all(left, |slices| match slices {
                [one] => tcp.try_write(one),
                several => tcp.try_write_vectored(several),
            }),
            Self::Tls(tls) => {
                let mut session = tls.session.lock();
                let taken = write_all(left, |slices| {
                    tls.send(&mut session)?;
                    session.writer().write_vectored(slices)
                })?;
                match tls.send(&mut session) {
                    Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
                    _ => Ok(taken),
                }
            }
        }
    }

    /// Whether some of what was taken has not reached the socket.
    pub fn holds_back(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.session.lock().wants_write(),
        }
    }

    /// Says that nothing more is sent.
    pub fn finish(&self) {
        if let Self::Tls(tls) = self {
            let mut session = tls.session.lock();
            session.send_close_notify();
            // The client sees the end of TCP where this does not fit any more.
            let _ = tls.send(&mut session);
        }
        let _ = SockRef::from(self.tcp()).shutdown(Shutdown::Write);
    }

    /// Reads and drops what still arrives, until the client hangs up.
    pub async fn hung_up(&self) {
        let tcp = self.tcp();
        while tcp.readable().await.is_ok() {
            // Not held across the wait.
            let mut ignored = [0; 512];
            match tcp.try_read(&mut ignored) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

impl TlsWire {
    /// Reads what the session holds, or what it makes of what `socket` gives without waiting.
    fn read(&self, buffer: &mut [u8], socket: &mut dyn Read) -> io::Result<usize> {
        let mut session = self.session.lock();
        loop {
            match session.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => {
                    self.has_more.store(read.as_ref().is_ok_and(|bytes| *bytes == buffer.len()), Ordering::Release);
                    return read;
                }
            }
            self.has_more.store(false, Ordering::Release);
            session.read_tls(socket)?;
            let processed = session.process_new_packets();
            // The answer to a change of keys, or the alert that says what was wrong. What does not fit is sent with
            // what is written next.
            let _ = self.send(&mut session);
            processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        }
    }

    /// Gives the socket all that the session has for it.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] where the socket does not take all of it; else a broken stream.
    fn send(&self, session: &mut ServerConnection) -> io::Result<()> {
        while session.wants_write() {
            session.write_tls(&mut Ready(&self.tcp))?;
        }
        Ok(())
    }
}

/// A socket by what the runtime knows of it.
struct Ready<'a>(&'a TcpStream);

impl Read for Ready<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Ready<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads without waiting. A buffer that is not filled means that nothing is left: epoll reports new data, so a second
/// read would only return `WouldBlock`. Data that arrives in between is not missed, since the runtime keeps a readiness
/// that is newer than the read.
fn try_read(tcp: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut bytes = 0;
    let read = tcp.try_io(Interest::READABLE, || {
        bytes = (&*SockRef::from(tcp)).read(buffer)?;
        let drained = cfg!(target_os = "linux") && bytes > 0 && bytes < buffer.len();
        if drained { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    if bytes > 0 { Ok(bytes) } else { read.map(|()| 0) }
}

/// How many bytes of these slices `write` takes until it would block.
fn write_all(
    mut left: &mut [IoSlice<'_>],
    mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut written = 0;
    while !left.is_empty() {
        match write(left) {
            Ok(0) => break,
            Ok(more) => {
                written += more;
                IoSlice::advance_slices(&mut left, more);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}
