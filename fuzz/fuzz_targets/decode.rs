//! Texts of a client: each is a frame or a bad frame, and a state is no larger than one may be.
#![no_main]

use lastseen::protocol::v1;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(bad) = v1::decode(text) {
        assert!(!bad.message.is_empty());
        assert!(bad.reference.is_none() || text.contains("ref") || text.contains('\\'));
    }
});
