//! Frames as events of an HTTP response.

use std::time::Duration;

use axum::body::Bytes;

use crate::protocol::codec::EncodedFrame;
use crate::protocol::v1::{self, Frames};
use crate::protocol::{Codec, Refusal};
use crate::room::Text;
use crate::room::feed::Message;
use crate::socket::frame::SHARED_BYTES;

/// A message as it is sent: as an event, or as several where it needs several frames. A long text that other streams are
/// sent as well is a part of its own and is not copied: a copy for each slow client would cost as much memory as all of
/// them together.
#[derive(Debug, Default)]
pub(super) struct Event(Vec<Bytes>);

/// The bytes of a text that is shared.
struct Shared(Text);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Event {
    /// A message as its frame, named after the frame's type.
    pub fn framed(frames: &Frames, message: Message<'_>) -> Self {
        let (mut event, frame_type, seq) = (Self::default(), v1::frame_type(&message), message.seq());
        frames.encode(message, &mut |frame| event.add(frame_type, seq, &frame));
        event
    }

    /// The frames of a message of this type; clients send its number back as `Last-Event-ID`.
    pub fn of(frame_type: &str, seq: Option<u64>, frames: &[EncodedFrame]) -> Self {
        let mut event = Self::default();
        frames.iter().for_each(|frame| event.add(frame_type, seq, frame));
        event
    }

    /// Adds a frame, which is one line. Those after the first go on with it.
    fn add(&mut self, frame_type: &str, seq: Option<u64>, frame: &EncodedFrame) {
        let frame_type = if self.0.is_empty() { frame_type } else { v1::MORE };
        let id = seq.map_or_else(String::new, |seq| format!("id: {seq}\n"));
        let EncodedFrame { start, shared, end } = frame;
        let before = format!("event: {frame_type}\n{id}data: {start}");
        let after = format!("{end}\n\n");
        if shared.len() < SHARED_BYTES {
            self.0.push([&*before, &**shared, &*after].concat().into());
        } else {
            self.0.extend([before.into(), Bytes::from_owner(Shared(Text::clone(shared))), after.into()]);
        }
    }

    /// A refusal as the frame `error`. Its event has a name of its own: an `EventSource` gives `error` to those who
    /// listen for the loss of the connection.
    pub fn refusal(refusal: &Refusal) -> Self {
        Self(vec![format!("event: refusal\ndata: {}\n\n", v1::error(refusal, None)).into()])
    }

    /// The same, and how long the client is to wait before it connects again, from now on.
    pub fn retrying(mut self, after: Duration) -> Self {
        self.0.insert(0, format!("retry: {}\n", after.as_millis()).into());
        self
    }

    /// A comment, which keeps the stream open and means nothing. Without an empty line after it, which some readers
    /// take for the end of an event that has nothing in it.
    pub fn comment() -> Self {
        Self(vec![Bytes::from_static(b":\n")])
    }

    /// What is sent, in this order.
    pub fn into_parts(self) -> Vec<Bytes> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::protocol::Code;

    fn text(event: Event) -> String {
        String::from_utf8(event.into_parts().concat()).expect("text")
    }

    #[test]
    fn an_event_has_the_name_and_the_number_of_its_frame() {
        let frame = |shared: &str| [EncodedFrame { start: "{\"a\":[".into(), shared: shared.into(), end: "]}".into() }];
        assert_eq!(text(Event::of("state", Some(7), &frame("1,2"))), "event: state\nid: 7\ndata: {\"a\":[1,2]}\n\n");
        let two: Vec<_> = ["1", "2"].into_iter().flat_map(frame).collect();
        let expected = "event: state\nid: 7\ndata: {\"a\":[1]}\n\nevent: more\nid: 7\ndata: {\"a\":[2]}\n\n";
        assert_eq!(text(Event::of("state", Some(7), &two)), expected);
        let long = "1,".repeat(SHARED_BYTES);
        let expected = format!("event: session\ndata: {{\"a\":[{long}]}}\n\n");
        assert_eq!(text(Event::of("session", None, &frame(&long))), expected);
        let refusal = Refusal::from(Code::Removed);
        let retry = text(Event::refusal(&refusal).retrying(Duration::from_millis(2500)));
        assert!(retry.starts_with("retry: 2500\nevent: refusal\ndata: {") && retry.ends_with("}\n\n"), "{retry}");
        assert!(text(Event::refusal(&refusal)).starts_with("event: refusal\ndata: {"));
    }

    #[test]
    fn a_comment_is_a_line_and_ends_no_event() {
        assert_eq!(text(Event::comment()), ":\n");
    }

    #[test]
    fn a_text_of_many_is_not_copied_for_a_stream() {
        let shared: Text = "x".repeat(SHARED_BYTES).into();
        let frame = [EncodedFrame { start: "[".into(), shared: Text::clone(&shared), end: "]".into() }];
        let events: Vec<_> = (0..100).map(|seq| Event::of("state", Some(seq), &frame)).collect();
        assert_eq!(Arc::strong_count(&shared), 2 + events.len());
        drop(events);
        assert_eq!(Arc::strong_count(&shared), 2);
    }
}
