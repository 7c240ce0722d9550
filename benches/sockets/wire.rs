//! One raw WebSocket of a client, as cheap as possible: the CPU time of the clients is missing to the server.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context;
use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

use crate::frame::{self, CLOSE, Frame, PING, PONG, TEXT};

/// What a client receives.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// A message of text.
    Text(&'a [u8]),
    /// The other side is gone, with its close code or without one.
    Ended(u16),
}

/// The code of an end without a Close frame.
const ABNORMAL: u16 = 1006;

/// A TCP stream with a WebSocket on it, before and after its handshake.
#[derive(Debug)]
pub struct Wire {
    pub stream: TcpStream,
    upgraded: bool,
    /// Received bytes that are no whole frame yet.
    partial: Vec<u8>,
    /// Bytes that the socket has not taken yet.
    unsent: Vec<u8>,
}

impl Wire {
    /// Connects from one of several addresses, since one has fewer ports than a bench has sockets, and
    /// asks for `path`.
    pub fn open(to: SocketAddr, place: usize, path: &str) -> anyhow::Result<Self> {
        let from = Ipv4Addr::new(127, 0, 0, 2 + (place % 8) as u8);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.bind(&SocketAddr::from((from, 0)).into())?;
        // On loopback this waits for the kernel alone.
        socket.connect(&to.into()).with_context(|| format!("connecting from {from}"))?;
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let mut wire = Self {
            stream: TcpStream::from_std(socket.into()),
            upgraded: false,
            partial: Vec::new(),
            unsent: Vec::new(),
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {to}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        wire.write(request.as_bytes());
        Ok(wire)
    }

    /// Sends a message of text.
    pub fn send(&mut self, text: &str) {
        self.frame(TEXT, text.as_bytes());
    }

    fn frame(&mut self, opcode: u8, payload: &[u8]) {
        let mut bytes = Vec::with_capacity(payload.len() + 14);
        frame::put_masked(&mut bytes, opcode, payload);
        self.write(&bytes);
    }

    fn write(&mut self, bytes: &[u8]) {
        self.unsent.extend(bytes);
        self.flush();
    }

    /// Sends what is buffered; an error is reported where the stream is read.
    pub fn flush(&mut self) {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(_) => return,
            }
        }
        self.unsent = Vec::new();
    }

    /// Reads all that is there, and hands each message to the closure.
    pub fn read(&mut self, buffer: &mut [u8], mut receive: impl FnMut(&mut Self, Incoming)) {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return receive(self, Incoming::Ended(ABNORMAL)),
                Ok(length) => {
                    if self.took(&buffer[..length], &mut receive) {
                        return;
                    }
                    // The next event reports what arrives later.
                    if length < buffer.len() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return receive(self, Incoming::Ended(ABNORMAL)),
            }
        }
    }

    /// Hands on whole frames and keeps the rest; whether that was the end.
    fn took(&mut self, bytes: &[u8], receive: &mut impl FnMut(&mut Self, Incoming)) -> bool {
        let joined;
        let mut rest = if self.partial.is_empty() {
            bytes
        } else {
            self.partial.extend(bytes);
            joined = std::mem::take(&mut self.partial);
            &joined
        };
        if !self.upgraded {
            let Some(end) = memchr::memmem::find(rest, b"\r\n\r\n") else {
                self.partial = rest.to_vec();
                return false;
            };
            if !rest.starts_with(b"HTTP/1.1 101") {
                eprintln!("refused: {}", String::from_utf8_lossy(rest));
                receive(self, Incoming::Ended(ABNORMAL));
                return true;
            }
            self.upgraded = true;
            rest = &rest[end + 4..];
        }
        while let Some(Frame { opcode, payload, length, .. }) = Frame::first(rest) {
            match opcode {
                TEXT => receive(self, Incoming::Text(payload)),
                PING => self.frame(PONG, payload),
                CLOSE => {
                    let code = payload.first_chunk().map_or(ABNORMAL, |code| u16::from_be_bytes(*code));
                    receive(self, Incoming::Ended(code));
                    return true;
                }
                _ => {}
            }
            rest = &rest[length..];
        }
        self.partial = rest.to_vec();
        false
    }
}
