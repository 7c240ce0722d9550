//! A socket on which a test writes bytes by hand: handshakes and frames that no library would send.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use uuid::Uuid;

use super::PATIENCE;
use super::client::{HELLO, id};

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xa;
/// Added to an opcode: the last fragment of its message.
pub const FIN: u8 = 0x80;

/// The bytes of a frame as a client has to send it: masked, its length in the shortest form.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = head(first, 0x80, payload.len());
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The same without its mask, which only a server may send.
pub fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(first, 0, payload.len());
    bytes.extend(payload);
    bytes
}

fn head(first: u8, mask_bit: u8, length: usize) -> Vec<u8> {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..126), _) => vec![first, mask_bit | short],
        (_, Ok(medium)) => [&[first, mask_bit | 126], &medium.to_be_bytes()[..]].concat(),
        _ => [&[first, mask_bit | 127], &(length as u64).to_be_bytes()[..]].concat(),
    }
}

/// TCP, or TLS over it.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection to the server.
pub struct Raw {
    stream: Box<dyn Stream>,
    /// Read, and not yet understood.
    buffer: Vec<u8>,
    /// The welcome, where there was one.
    pub welcome: Value,
}

impl Raw {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        Self::over(stream)
    }

    /// Over a stream of the test's making.
    pub fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), buffer: Vec::new(), welcome: Value::Null }
    }

    /// A request for an upgrade to join by an invite, with `extra` behind it in the same write.
    pub async fn ask(address: SocketAddr, session: Uuid, invite: &str, name: &str, extra: &[u8]) -> Self {
        let mut raw = Self::connect(address).await;
        raw.upgrade(&address.to_string(), session, invite, name, extra).await;
        raw
    }

    /// The same on this connection.
    pub async fn upgrade(&mut self, host: &str, session: Uuid, invite: &str, name: &str, extra: &[u8]) {
        let request = format!(
            "GET /v1/reading-sessions/{session}/ws?invite={invite}&name={name} HTTP/1.1\r\nHost: {host}\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        self.send(&[request.as_bytes(), extra].concat()).await;
        let head = self.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        // The key and its answer are those of RFC 6455, section 1.3.
        assert!(head.to_ascii_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    }

    /// Joins by an invite, is welcomed, and says that the welcome was read.
    pub async fn join(address: SocketAddr, session: Uuid, invite: &str, name: &str) -> Self {
        let mut raw = Self::ask(address, session, invite, name, b"").await;
        raw.welcome = raw.json().await;
        assert_eq!(raw.welcome["type"], "welcome");
        raw.send(&frame(FIN | TEXT, HELLO.as_bytes())).await;
        raw
    }

    pub fn id(&self) -> Uuid {
        id(&self.welcome["you"])
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("sent");
    }

    /// Sends what the server may not read any more.
    pub async fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Ends our half of the stream, as a client does that is gone.
    pub async fn finish(&mut self) {
        self.stream.shutdown().await.expect("a socket");
    }

    /// More bytes, or the end of the stream.
    async fn more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer))
            .await
            .expect("waited in vain for bytes or the end");
        // A stream that was reset has ended as well.
        read.is_ok_and(|bytes| bytes > 0)
    }

    async fn at_least(&mut self, bytes: usize) -> bool {
        while self.buffer.len() < bytes {
            if !self.more().await {
                return false;
            }
        }
        true
    }

    /// The head of an HTTP answer, up to its empty line.
    pub async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return String::from_utf8(head).expect("ASCII");
            }
            assert!(self.more().await, "the stream ended within the head of an answer");
        }
    }

    /// The body of the answer with this head.
    pub async fn body(&mut self, head: &str) -> String {
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        let length: usize = length.unwrap_or_else(|| panic!("a length: {head}"));
        assert!(self.at_least(length).await, "the stream ended within the body of an answer");
        String::from_utf8(self.buffer.drain(..length).collect()).expect("text")
    }

    /// The next frame: its first byte and its payload; `None` where the stream has ended.
    pub async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        if !self.at_least(2).await {
            return None;
        }
        // A server never masks.
        let start = if self.buffer[1] == 126 { 4 } else { 2 };
        if !self.at_least(start).await {
            return None;
        }
        let length = match self.buffer[1] {
            126 => usize::from(u16::from_be_bytes([self.buffer[2], self.buffer[3]])),
            127 => panic!("a frame of more than 64 KiB"),
            short => usize::from(short),
        };
        if !self.at_least(start + length).await {
            return None;
        }
        let payload = self.buffer[start..start + length].to_vec();
        let first = self.buffer[0];
        self.buffer.drain(..start + length);
        Some((first, payload))
    }

    /// The next text frame.
    pub async fn json(&mut self) -> Value {
        loop {
            match self.frame().await.expect("a text frame before the end") {
                (first, payload) if first == FIN | TEXT => return serde_json::from_slice(&payload).expect("JSON"),
                (first, payload) => assert_ne!(first & 0x0f, CLOSE, "closed with {payload:?}"),
            }
        }
    }

    /// The next text frame of this type.
    pub async fn json_of(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.json().await;
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// Reads to the end of the stream: the code of the one close frame that must stand there, or 1006.
    pub async fn close_code(&mut self) -> u16 {
        self.closed().await.0
    }

    /// The same, with the reason.
    pub async fn closed(&mut self) -> (u16, String) {
        while let Some((first, payload)) = self.frame().await {
            if first & 0x0f == CLOSE {
                assert!(!self.more().await && self.buffer.is_empty(), "something came after the close frame");
                // 1005 is what a close frame without a code means.
                let (code, reason) = payload.split_at(payload.len().min(2));
                let code = code.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                return (code, String::from_utf8(reason.to_vec()).expect("UTF-8"));
            }
        }
        (1006, String::new())
    }

    /// Reads to the end of the stream, and sends a byte whenever this much time has passed, which is let pass; gives what
    /// was received before the end.
    pub async fn end_while_dribbling(&mut self, bytes: &[u8], pause: std::time::Duration) -> String {
        let mut bytes = bytes.iter();
        let wait = async {
            loop {
                tokio::select! {
                    read = self.stream.read_buf(&mut self.buffer) => if !read.is_ok_and(|bytes| bytes > 0) {
                        return;
                    },
                    () = super::pass(pause) => if let Some(byte) = bytes.next() {
                        // Where the server has closed, reading fails.
                        let _ = self.stream.write_all(&[*byte]).await;
                    },
                }
            }
        };
        timeout(PATIENCE, wait).await.expect("waited in vain for the end");
        assert!(bytes.next().is_some(), "all was sent before the end");
        String::from_utf8_lossy(&self.buffer).into_owned()
    }

    /// Reads until this text has come.
    pub async fn until(&mut self, text: &str) {
        while !self.buffer.windows(text.len()).any(|window| window == text.as_bytes()) {
            assert!(self.more().await, "the stream ended before {text:?}");
        }
    }

    /// Waits for the end of the stream and sends nothing; what is received before it is returned.
    pub async fn end(&mut self) -> String {
        while self.more().await {}
        String::from_utf8_lossy(&self.buffer).into_owned()
    }
}
