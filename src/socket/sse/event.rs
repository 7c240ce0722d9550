//! Frames as events of an HTTP response.

use axum::response::sse;

use crate::protocol::codec::EncodedFrame;
use crate::protocol::v1::{self, Frames};
use crate::protocol::{Codec, Refusal};
use crate::room::feed::Message;

/// A message as its frame, named after the frame's type.
pub(super) fn framed(frames: &Frames, message: Message<'_>) -> sse::Event {
    event(v1::frame_type(&message), message.seq(), &frames.encode(message))
}

/// A frame of this type; clients send its number back as `Last-Event-ID`.
pub(super) fn event(frame_type: &str, seq: Option<u64>, frame: &EncodedFrame) -> sse::Event {
    let event = sse::Event::default().event(frame_type).data(frame.text());
    match seq {
        Some(seq) => event.id(seq.to_string()),
        None => event,
    }
}

/// A refusal as the frame `error`.
pub(super) fn error(refusal: &Refusal) -> sse::Event {
    sse::Event::default().event("error").data(v1::error(refusal, None))
}
