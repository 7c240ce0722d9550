//! The seam between what a subscriber is sent and bytes: every protocol encodes the messages of a feed
//! in its own way.

use std::fmt::Debug;

use crate::room::Text;
use crate::room::feed::Message;

/// Encodes what a subscriber is sent.
pub trait Codec: Debug + Send + Sync {
    /// Passes the frames of a message to `send`, in order: one, or more where the message is longer than a frame may
    /// be. No other frame may be sent between them. What other subscribers are sent as well is encoded once for all.
    fn encode(&self, message: Message<'_>, send: &mut dyn FnMut(EncodedFrame));
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
