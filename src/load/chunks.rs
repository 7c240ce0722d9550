//! Messages that come in several frames, made whole again.

use std::sync::Arc;

use super::frame::{Diff, Frame, More};

/// A frame as it was received.
#[derive(Clone, PartialEq, Debug)]
pub struct Received {
    /// The frame.
    pub frame: Frame,
    /// Which one it is of those of its message, from 1.
    pub chunk: usize,
    /// How many these are.
    pub chunks: usize,
}

/// Puts the frames of one connection together.
#[derive(Debug, Default)]
pub struct Assembler(Option<Received>);

impl Assembler {
    /// Takes the next frame, and gives the message that it completes: the first frame with all lists in it. `None`
    /// where it goes on. A message that another one interrupts counts as not received.
    ///
    /// # Errors
    /// Where the frame goes on with a message, and not with the one before it.
    pub fn take(&mut self, received: Received) -> Result<Option<Frame>, String> {
        let begun = match (&received.frame, self.0.take()) {
            (Frame::More(more), Some(mut begun)) if begun.goes_on_with(more, &received) => {
                begun.chunk = received.chunk;
                begun.append(more);
                begun
            }
            (Frame::More(more), _) => {
                return Err(format!("frame {} of {} of {} follows nothing", received.chunk, received.chunks, more.seq));
            }
            // These may come at any time.
            (Frame::Beat { .. } | Frame::Error(_) | Frame::Other, begun) => {
                self.0 = begun;
                return Ok(Some(received.frame));
            }
            _ => received,
        };
        if begun.chunk >= begun.chunks {
            return Ok(Some(begun.frame));
        }
        self.0 = Some(begun);
        Ok(None)
    }
}

impl Received {
    fn goes_on_with(&self, more: &More, next: &Self) -> bool {
        (self.seq(), self.chunk + 1, self.chunks) == (Some(more.seq), next.chunk, next.chunks)
    }

    fn seq(&self) -> Option<u64> {
        match &self.frame {
            Frame::Welcome(_, snapshot) | Frame::State(snapshot) => Some(snapshot.seq),
            Frame::Diff(diff) => Some(diff.seq),
            _ => None,
        }
    }

    fn append(&mut self, more: &More) {
        match &mut self.frame {
            Frame::Welcome(_, snapshot) | Frame::State(snapshot) => {
                snapshot.participants.extend_from_slice(&more.participants);
            }
            Frame::Diff(diff) => {
                let Diff { joins, updates, leaves, .. } = Arc::make_mut(diff);
                joins.extend_from_slice(&more.joins);
                updates.extend_from_slice(&more.updates);
                leaves.extend_from_slice(&more.leaves);
            }
            _ => {}
        }
    }
}
