//! WebSocket in bytes, as little of it as is needed here: without fragments, and without long payloads.

pub const TEXT: u8 = 1;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

const LAST: u8 = 0x80;
const MASKED: u8 = 0x80;

/// Adds a frame of a server.
pub fn put(bytes: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    head(bytes, opcode, payload.len(), 0);
    bytes.extend(payload);
}

/// Adds a frame of a client, which is masked. A mask of zeros is one too, and leaves the text as it is.
pub fn put_masked(bytes: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    head(bytes, opcode, payload.len(), MASKED);
    bytes.extend([0; 4]);
    bytes.extend(payload);
}

fn head(bytes: &mut Vec<u8>, opcode: u8, length: usize, masked: u8) {
    bytes.push(LAST | opcode);
    if length < 126 {
        bytes.push(masked | length as u8);
    } else {
        bytes.push(masked | 126);
        bytes.extend(u16::try_from(length).expect("a short message").to_be_bytes());
    }
}

/// A frame that was received whole.
#[derive(Debug)]
pub struct Frame<'a> {
    pub opcode: u8,
    /// As received.
    pub payload: &'a [u8],
    mask: [u8; 4],
    /// With its head.
    pub length: usize,
}

impl<'a> Frame<'a> {
    /// The first of these bytes.
    pub fn first(bytes: &'a [u8]) -> Option<Self> {
        let second = *bytes.get(1)?;
        let (mut head, length) = match second & !MASKED {
            126 => (4, usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
            127 => (10, u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize),
            length => (2, usize::from(length)),
        };
        let mut mask = [0; 4];
        if second & MASKED != 0 {
            mask = *bytes.get(head..)?.first_chunk()?;
            head += mask.len();
        }
        Some(Self { opcode: bytes[0] & 0x0f, payload: bytes.get(head..head + length)?, mask, length: head + length })
    }

    /// The payload without its mask.
    pub fn unmasked(&self) -> Vec<u8> {
        self.payload.iter().zip(self.mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
    }
}
