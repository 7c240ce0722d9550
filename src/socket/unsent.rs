//! What a socket has not taken yet.

use std::collections::VecDeque;

use super::frame::{FrameBatch, Part};
use crate::room::Text;

/// Bytes that wait for a socket. A text that other connections are sent as well is kept as it is, with an offset: a
/// copy for each slow client would cost as much memory as all of them together.
#[derive(Debug, Default)]
pub struct Unsent(Option<Box<Waiting>>);

/// Boxed: each connection has an [`Unsent`], and nearly always nothing waits.
#[derive(Debug, Default)]
struct Waiting {
    chunks: VecDeque<Chunk>,
    bytes: usize,
}

#[derive(Debug)]
enum Chunk {
    Own(Vec<u8>),
    /// From this offset on.
    Shared(Text, usize),
}

impl Chunk {
    fn rest(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(text, from) => &text.as_bytes()[*from..],
        }
    }

    fn drop_front(&mut self, bytes: usize) {
        match self {
            Self::Own(own) => drop(own.drain(..bytes)),
            Self::Shared(_, from) => *from += bytes,
        }
    }
}

impl Waiting {
    fn push(&mut self, part: Part<'_>, skipped: usize) {
        self.bytes += part.bytes().len() - skipped;
        match (part, self.chunks.back_mut()) {
            (Part::Own(bytes), Some(Chunk::Own(last))) => last.extend_from_slice(&bytes[skipped..]),
            (Part::Own(bytes), _) => self.chunks.push_back(Chunk::Own(bytes[skipped..].to_vec())),
            (Part::Shared(text), _) => self.chunks.push_back(Chunk::Shared(Text::clone(text), skipped)),
        }
    }

    /// Drops what was written; whether something is left.
    fn drop_front(&mut self, mut written: usize) -> bool {
        self.bytes -= written;
        while let Some(first) = self.chunks.front_mut() {
            let rest = first.rest().len();
            if written < rest {
                first.drop_front(written);
                return true;
            }
            written -= rest;
            self.chunks.pop_front();
        }
        false
    }
}

impl Unsent {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.bytes)
    }

    /// Appends what is left of these frames after so many bytes of them were written.
    pub fn push(&mut self, frames: &FrameBatch, mut written: usize) {
        for part in frames.parts() {
            let bytes = part.bytes().len();
            let skipped = written.min(bytes);
            written -= skipped;
            if skipped < bytes {
                self.0.get_or_insert_default().push(part, skipped);
            }
        }
    }

    /// What waits, in the order in which it is to be written.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().flat_map(|waiting| waiting.chunks.iter().map(Chunk::rest))
    }

    /// Drops what was written. Without a rest no memory is kept.
    pub fn drop_front(&mut self, written: usize) {
        if self.0.as_mut().is_some_and(|waiting| !waiting.drop_front(written)) {
            self.0 = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::protocol::codec::EncodedFrame;

    /// A batch with a small text, a list in two frames whose large texts are shared, and another small one.
    fn batch(large: &Text) -> FrameBatch {
        let mut batch = FrameBatch::of("before");
        for start in ["[", "more: ["] {
            let (start, end) = (start.to_owned(), "]".to_owned());
            batch.encoded(&EncodedFrame { start, shared: Text::clone(large), end });
        }
        batch.text("behind");
        batch
    }

    fn bytes<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
        parts.collect::<Vec<_>>().concat()
    }

    fn large() -> Text {
        "0123456789".repeat(1000).into()
    }

    proptest! {
        #[test]
        fn what_waits_is_what_was_not_written(
            first in 0..21_000_usize,
            batches in 1..4_usize,
            writes in prop::collection::vec(1..9000_usize, 0..20),
        ) {
            let large = large();
            let mut expected: Vec<u8> = Vec::new();
            let mut unsent = Unsent::default();
            for nth in 0..batches {
                let batch = batch(&large);
                let written = if nth == 0 { first.min(batch.len()) } else { 0 };
                expected.extend_from_slice(&bytes(batch.parts().map(Part::bytes))[written..]);
                unsent.push(&batch, written);
            }
            for write in writes {
                let waiting = bytes(unsent.parts());
                prop_assert_eq!(&expected, &waiting);
                prop_assert_eq!(waiting.is_empty(), expected.is_empty());
                prop_assert_eq!((unsent.len(), unsent.is_empty()), (expected.len(), expected.is_empty()));
                let written = write.min(waiting.len());
                unsent.drop_front(written);
                expected.drain(..written);
            }
        }
    }

    #[test]
    fn a_text_of_many_is_not_copied_for_a_client_that_is_slow() {
        let large = large();
        let slow: Vec<_> = (0..100)
            .map(|written| {
                let mut unsent = Unsent::default();
                unsent.push(&batch(&large), 100 + written);
                unsent
            })
            .collect();
        assert_eq!(Arc::strong_count(&large), 1 + 2 * slow.len());
        for unsent in &slow {
            let chunks = &unsent.0.as_ref().expect("something waits").chunks;
            let own = chunks.iter().filter(|chunk| matches!(chunk, Chunk::Own(_)));
            assert!(own.map(|chunk| chunk.rest().len()).sum::<usize>() < 100);
            assert!(unsent.len() > 19_000);
        }
        drop(slow);
        assert_eq!(Arc::strong_count(&large), 1);
    }
}
