//! The seam between what a subscriber is sent and bytes: every protocol encodes the messages of a feed
//! in its own way.

use std::fmt::Debug;

use crate::room::Text;
use crate::room::feed::Message;

/// Encodes what a subscriber is sent.
pub trait Codec: Debug + Send + Sync {
    /// The frame of a message. What other subscribers are sent as well is encoded once for all of them.
    fn encode(&self, message: Message<'_>) -> EncodedFrame;
}

/// An encoded frame. Its middle may be long and is shared by all frames that contain it.
#[derive(Debug)]
#[expect(missing_docs, reason = "together they are the frame")]
pub struct EncodedFrame {
    pub start: String,
    pub shared: Text,
    pub end: String,
}

/// A frame that is shared as a whole.
impl From<Text> for EncodedFrame {
    fn from(shared: Text) -> Self {
        Self { start: String::new(), shared, end: String::new() }
    }
}
