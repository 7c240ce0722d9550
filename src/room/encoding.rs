//! Text that is encoded once and sent to many. The room keeps it and never looks inside.

use std::sync::{Arc, OnceLock};

/// Encoded text, shared by all connections that send it.
pub type Text = Arc<str>;

/// Encoded text in pieces, none of which is too long for a frame.
pub type Texts = Arc<[Text]>;

/// The most codecs that a server can have.
const MAX_CODECS: usize = 4;

/// The number of a codec, a way to encode what a room publishes. Each protocol has its own; to the room
/// it is a place in [`Encodings`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodecId(usize);

impl CodecId {
    /// The codec of this number, from 0 and below 4.
    ///
    /// # Panics
    /// Where the number is larger. In a constant it does not compile.
    pub const fn new(number: usize) -> Self {
        assert!(number < MAX_CODECS, "raise MAX_CODECS");
        Self(number)
    }
}

/// The encodings of one value, one for each codec. Each is made once, by the first connection that needs
/// it and outside every lock; a codec that no connection uses costs nothing.
#[derive(Debug, Default)]
pub struct Encodings([OnceLock<Texts>; MAX_CODECS]);

impl Encodings {
    /// The texts of this codec; `encode` runs at most once for each codec.
    pub fn get(&self, codec: CodecId, encode: impl FnOnce() -> Texts) -> Texts {
        self.0[codec.0].get_or_init(encode).clone()
    }
}
