//! The frames of a WebSocket (RFC 6455, section 5) as a server decodes and encodes them.
//!
//! Written by hand because most of what a connection costs is here: between frames it holds no buffer,
//! and a beat is decoded and answered without an allocation but that of the answer.

use std::borrow::Cow;

use crate::protocol::codec::EncodedFrame;
use crate::room::Text;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// The longest payload of a control frame.
const CONTROL_BYTES: usize = 125;

/// A shared text of at least this size is written from where it is; a shorter one is cheaper to copy.
pub const SHARED_BYTES: usize = 4096;

/// One message of a client, whole and unmasked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Incoming<'a> {
    /// A text message, also one that was sent in fragments.
    Text(Cow<'a, str>),
    /// A fragment of a text that is not the last and holds nothing: of these a text may have any number.
    EmptyFragment,
    /// To be answered with a Pong of the same payload.
    Ping(&'a [u8]),
    /// The answer to a Ping, or unsolicited.
    Pong(&'a [u8]),
    /// The connection is closed from the other side.
    Close(Close<'a>),
}

/// A Close.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Close<'a> {
    /// Without one it is 1005 to whoever receives it.
    pub code: Option<u16>,
    /// At most 123 bytes.
    pub reason: &'a str,
    /// Clients mask every frame, so one without a mask was made by a proxy: Caddy 2.6 sends one when it is reloaded.
    pub is_masked: bool,
}

/// A rule of the WebSocket protocol that a client broke. It ends the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// An invalid frame: what is wrong with it.
    Protocol(&'static str),
    /// A binary message; the server accepts none.
    Binary,
    /// A text that is not UTF-8.
    NotUtf8,
    /// A message of more bytes than these.
    TooLarge(usize),
}

impl Violation {
    /// The close code (RFC 6455, section 7.4.1).
    pub const fn close_code(self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::Binary => 1003,
            Self::NotUtf8 => 1007,
            Self::TooLarge(_) => 1009,
        }
    }

    /// For the log and the metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Protocol(_) => "protocol_error",
            Self::Binary => "binary_message",
            Self::NotUtf8 => "invalid_utf8",
            Self::TooLarge(_) => "message_too_large",
        }
    }

    /// For the author of the client, as the reason of the Close: the word, and what is wrong.
    pub fn reason(self) -> String {
        let word = self.word();
        match self {
            Self::Protocol(fault) => format!("{word}: {fault}"),
            Self::Binary => format!("{word}: frames are JSON in text messages"),
            Self::NotUtf8 => format!("{word}: texts and reasons are UTF-8"),
            Self::TooLarge(most) => format!("{word}: over {most} bytes"),
        }
    }
}

/// Decodes the frames of one client. Between whole messages it holds no memory of its own.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The start of a frame that has not arrived whole, as it was sent.
    rest: Vec<u8>,
    /// What has arrived of a text in fragments.
    fragments: Option<Vec<u8>>,
}

impl Decoder {
    /// A decoder that has received these bytes.
    pub fn after(early: Vec<u8>) -> Self {
        Self { rest: early, fragments: None }
    }

    /// The bytes to decode when these have arrived: mostly they alone.
    pub fn input<'a>(&mut self, bytes: &'a mut [u8], joined: &'a mut Vec<u8>) -> &'a mut [u8] {
        if self.rest.is_empty() {
            return bytes;
        }
        *joined = std::mem::take(&mut self.rest);
        joined.extend_from_slice(bytes);
        joined
    }

    /// The next message, taken from the front of the input; `None` where it has not arrived whole, and
    /// then the rest of the input is kept.
    ///
    /// # Errors
    /// The rule that the client broke. Nothing can be decoded after it.
    pub fn next<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        max_message_bytes: usize,
    ) -> Result<Option<Incoming<'a>>, Violation> {
        while let Some(head) = self.head(input, max_message_bytes)? {
            if input.len() < head.bytes + head.payload_bytes {
                break;
            }
            let (frame, after) = std::mem::take(input).split_at_mut(head.bytes + head.payload_bytes);
            *input = after;
            let (start, payload) = frame.split_at_mut(head.bytes);
            if head.is_masked {
                unmask(payload, &start[head.bytes - 4..]);
            }
            if let Some(incoming) = self.message(&head, payload)? {
                return Ok(Some(incoming));
            }
        }
        self.rest.extend_from_slice(input);
        Ok(None)
    }

    /// The head of the frame at the front, where it has arrived whole. Invalid frames are refused by it.
    fn head(&self, input: &[u8], max_message_bytes: usize) -> Result<Option<Head>, Violation> {
        let &[first, second, ref after @ ..] = input else { return Ok(None) };
        let (opcode, fin) = (first & 0x0f, first & FIN != 0);
        let (is_masked, is_fragmented) = (second & MASKED != 0, self.fragments.is_some());
        let broken = |fault| Err(Violation::Protocol(fault));
        match opcode {
            _ if first & RESERVED != 0 => return broken("a frame is compressed, or has reserved bits"),
            _ if !is_masked && opcode != CLOSE => return broken("a frame of a client is not masked"),
            CONTINUATION if is_fragmented => {}
            CONTINUATION => return broken("a fragment without a first one"),
            TEXT | BINARY if is_fragmented => return broken("a message within another one that is in fragments"),
            TEXT => {}
            BINARY => return Err(Violation::Binary),
            CLOSE | PING | PONG if fin && usize::from(second & !MASKED) <= CONTROL_BYTES => {}
            CLOSE | PING | PONG => return broken("a control frame is over 125 bytes, or a fragment"),
            _ => return broken("a frame has an unknown opcode"),
        }
        let (length, length_bytes) = match (second & !MASKED, after) {
            (126, &[a, b, ..]) => (u64::from(u16::from_be_bytes([a, b])), 2),
            (127, after) if after.len() >= 8 => (u64::from_be_bytes(after[..8].try_into().expect("eight")), 8),
            (126 | 127, _) => return Ok(None),
            (length, _) => (u64::from(length), 0),
        };
        let before = self.fragments.as_ref().filter(|_| opcode == CONTINUATION).map_or(0, Vec::len);
        let payload_bytes = usize::try_from(length)
            .ok()
            .filter(|bytes| opcode >= CLOSE || bytes.saturating_add(before) <= max_message_bytes)
            .ok_or(Violation::TooLarge(max_message_bytes))?;
        let bytes = 2 + length_bytes + if is_masked { 4 } else { 0 };
        Ok((input.len() >= bytes).then_some(Head { opcode, fin, is_masked, bytes, payload_bytes }))
    }

    /// The message that a whole frame is or completes; `None` for a fragment with content that is not the last.
    fn message<'a>(&mut self, head: &Head, payload: &'a [u8]) -> Result<Option<Incoming<'a>>, Violation> {
        Ok(match (head.opcode, head.fin) {
            (TEXT, true) => {
                let text = str::from_utf8(payload).map_err(|_| Violation::NotUtf8)?;
                Some(Incoming::Text(Cow::Borrowed(text)))
            }
            (TEXT | CONTINUATION, false) => {
                self.fragments.get_or_insert_default().extend_from_slice(payload);
                payload.is_empty().then_some(Incoming::EmptyFragment)
            }
            (CONTINUATION, true) => {
                let mut fragments = self.fragments.take().unwrap_or_default();
                fragments.extend_from_slice(payload);
                let text = String::from_utf8(fragments).map_err(|_| Violation::NotUtf8)?;
                Some(Incoming::Text(Cow::Owned(text)))
            }
            (CLOSE, _) => Some(Incoming::Close(close(payload, head.is_masked)?)),
            (PING, _) => Some(Incoming::Ping(payload)),
            _ => Some(Incoming::Pong(payload)),
        })
    }
}

struct Head {
    opcode: u8,
    fin: bool,
    is_masked: bool,
    /// Its own length, with the mask at its end, where there is one.
    bytes: usize,
    payload_bytes: usize,
}

fn unmask(payload: &mut [u8], mask: &[u8]) {
    for chunk in payload.chunks_mut(mask.len()) {
        for (byte, key) in chunk.iter_mut().zip(mask) {
            *byte ^= key;
        }
    }
}

/// A Close, where its code is one that may be sent (RFC 6455, section 7.4).
fn close(payload: &[u8], is_masked: bool) -> Result<Close<'_>, Violation> {
    let &[a, b, ref reason @ ..] = payload else {
        let close = Close { code: None, reason: "", is_masked };
        return if payload.is_empty() { Ok(close) } else { Err(Violation::Protocol("a Close with half a code")) };
    };
    let reason = str::from_utf8(reason).map_err(|_| Violation::NotUtf8)?;
    match u16::from_be_bytes([a, b]) {
        code @ (1000..=1003 | 1007..=1014 | 3000..=4999) => Ok(Close { code: Some(code), reason, is_masked }),
        _ => Err(Violation::Protocol("a Close with a code that may not be sent")),
    }
}

/// A part of the bytes of a [`FrameBatch`].
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// For this client alone.
    Own(&'a [u8]),
    /// A text that other clients are sent as well.
    Shared(&'a Text),
}

impl<'a> Part<'a> {
    /// The bytes.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(text) => text.as_bytes(),
        }
    }
}

/// Frames to a client that are sent by one write.
#[derive(Debug, Default)]
pub struct FrameBatch {
    bytes: Vec<u8>,
    /// Texts that are too long to be copied for each connection, and where in `bytes` each belongs.
    shared: Vec<(usize, Text)>,
}

impl FrameBatch {
    /// One text message.
    pub fn of(text: &str) -> Self {
        let mut batch = Self::default();
        batch.text(text);
        batch
    }

    /// Adds a text message.
    pub fn text(&mut self, text: &str) {
        self.frame(TEXT, text.as_bytes());
    }

    /// Adds a text message of which other connections are sent a part as well.
    pub fn encoded(&mut self, EncodedFrame { start, shared, end }: &EncodedFrame) {
        self.head(TEXT, start.len() + shared.len() + end.len());
        self.bytes.extend_from_slice(start.as_bytes());
        self.share(shared);
        self.bytes.extend_from_slice(end.as_bytes());
    }

    /// Adds a Ping, of at most 125 bytes.
    pub fn ping(&mut self, payload: &[u8]) {
        self.frame(PING, payload);
    }

    /// Adds the answer to a Ping.
    pub fn pong(&mut self, payload: &[u8]) {
        self.frame(PONG, payload);
    }

    /// Adds a Close, the last frame of all. A reason has at most 123 bytes.
    pub fn close(&mut self, code: Option<u16>, reason: &str) {
        let payload = code.map(|code| [&code.to_be_bytes(), reason.as_bytes()].concat());
        self.frame(CLOSE, &payload.unwrap_or_default());
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many bytes are to be written.
    pub fn len(&self) -> usize {
        self.bytes.len() + self.shared.iter().map(|(_, text)| text.len()).sum::<usize>()
    }

    /// What is to be written, in this order.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let mut from = 0;
        let before = self.shared.iter().flat_map(move |(at, text)| {
            let own = &self.bytes[std::mem::replace(&mut from, *at)..*at];
            [Part::Own(own), Part::Shared(text)]
        });
        let last = self.shared.last().map_or(0, |(at, _)| *at);
        before.chain([Part::Own(&self.bytes[last..])])
    }

    fn share(&mut self, text: &Text) {
        if text.len() >= SHARED_BYTES {
            self.shared.push((self.bytes.len(), Text::clone(text)));
        } else {
            self.bytes.extend_from_slice(text.as_bytes());
        }
    }

    fn frame(&mut self, opcode: u8, payload: &[u8]) {
        self.head(opcode, payload.len());
        self.bytes.extend_from_slice(payload);
    }

    fn head(&mut self, opcode: u8, payload_bytes: usize) {
        self.bytes.reserve(10 + payload_bytes.min(SHARED_BYTES));
        self.bytes.push(FIN | opcode);
        match payload_bytes {
            length @ 0..126 => self.bytes.push(length as u8),
            length => match u16::try_from(length) {
                Ok(length) => {
                    self.bytes.push(126);
                    self.bytes.extend_from_slice(&length.to_be_bytes());
                }
                Err(_) => {
                    self.bytes.push(127);
                    self.bytes.extend_from_slice(&(length as u64).to_be_bytes());
                }
            },
        }
    }
}

#[cfg(test)]
mod tests;
