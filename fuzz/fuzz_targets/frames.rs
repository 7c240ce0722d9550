//! Bytes of a client: the decoder takes them without a panic, and gives the same messages whether they arrive at once
//! or in pieces.
#![no_main]

use lastseen::socket::frame::{Decoder, Violation};
use libfuzzer_sys::fuzz_target;

const MAX_MESSAGE_BYTES: usize = 4096;

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (piece, bytes) = input;
    assert_eq!(decoded(&bytes, bytes.len()), decoded(&bytes, usize::from(piece) + 1));
});

/// The messages in bytes that arrive in pieces of this size, and how they end.
fn decoded(bytes: &[u8], piece: usize) -> (Vec<String>, Option<Violation>) {
    let (mut decoder, mut messages) = (Decoder::default(), Vec::new());
    for arrived in bytes.chunks(piece.max(1)) {
        let (mut arrived, mut joined) = (arrived.to_vec(), Vec::new());
        let mut input = decoder.input(&mut arrived, &mut joined);
        loop {
            match decoder.next(&mut input, MAX_MESSAGE_BYTES) {
                Ok(Some(message)) => messages.push(format!("{message:?}").replace("Owned", "").replace("Borrowed", "")),
                Ok(None) => break,
                Err(violation) => return (messages, Some(violation)),
            }
        }
    }
    (messages, None)
}
