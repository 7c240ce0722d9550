use proptest::prelude::*;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket, WebSocketConfig};

use super::*;

const MAX: usize = 4096;

/// What was decoded, to be compared with what was sent.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Received {
    Text(String),
    EmptyFragment,
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
}

impl From<Incoming<'_>> for Received {
    fn from(incoming: Incoming<'_>) -> Self {
        match incoming {
            Incoming::Text(text) => Self::Text(text.into_owned()),
            Incoming::EmptyFragment => Self::EmptyFragment,
            Incoming::Ping(payload) => Self::Ping(payload.to_vec()),
            Incoming::Pong(payload) => Self::Pong(payload.to_vec()),
            Incoming::Close(close) => Self::Close(close.code),
        }
    }
}

/// Decodes bytes that come in these portions.
fn decode<'a>(portions: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Received>, Option<Violation>, Decoder) {
    let (mut decoder, mut received) = (Decoder::default(), Vec::new());
    for portion in portions {
        let (mut bytes, mut joined) = (portion.to_vec(), Vec::new());
        let mut input = decoder.input(&mut bytes, &mut joined);
        loop {
            match decoder.next(&mut input, MAX) {
                Ok(Some(incoming)) => received.push(incoming.into()),
                Ok(None) => break,
                Err(violation) => return (received, Some(violation), decoder),
            }
        }
    }
    (received, None, decoder)
}

fn written(batch: &FrameBatch) -> Vec<u8> {
    batch.parts().map(Part::bytes).collect::<Vec<_>>().concat()
}

/// A frame as a client sends it.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x1b, 0xad, 0xf0, 0x0d];
    let mut batch = FrameBatch::default();
    batch.frame(first & 0x0f, payload);
    let mut bytes = written(&batch);
    let head = bytes.len() - payload.len();
    bytes[0] = first;
    bytes[1] |= MASKED;
    unmask(&mut bytes[head..], &mask);
    bytes.splice(head..head, mask);
    bytes
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    let message = prop_oneof![
        "\\PC{0,300}".prop_map(|text| Message::Text(text.into())),
        proptest::collection::vec(any::<u8>(), 0..=125).prop_map(|payload| Message::Ping(payload.into())),
        proptest::collection::vec(any::<u8>(), 0..=125).prop_map(|payload| Message::Pong(payload.into())),
    ];
    proptest::collection::vec(message, 0..12)
}

fn received(message: &Message) -> Received {
    match message {
        Message::Text(text) => Received::Text(text.as_str().to_owned()),
        Message::Ping(payload) => Received::Ping(payload.to_vec()),
        Message::Pong(payload) => Received::Pong(payload.to_vec()),
        other => panic!("not sent here: {other:?}"),
    }
}

proptest! {
    #[test]
    fn what_another_library_sends_is_understood_however_it_is_cut(messages in messages(), cut in 1_usize..40) {
        let mut client = WebSocket::from_raw_socket(std::io::Cursor::new(Vec::new()), Role::Client, None);
        for message in &messages {
            client.send(message.clone()).expect("a vector takes everything");
        }
        let bytes = client.into_inner().into_inner();
        let expected: Vec<_> = messages.iter().map(received).collect();
        let (whole, violation, _) = decode([bytes.as_slice()]);
        prop_assert_eq!((&whole, violation), (&expected, None));
        let (cut, violation, decoder) = decode(bytes.chunks(cut));
        prop_assert_eq!((&cut, violation), (&expected, None));
        prop_assert_eq!(decoder.rest.capacity(), 0, "nothing is held between messages");
    }

    #[test]
    fn what_is_sent_is_understood_by_another_library(
        messages in messages(), large in 0_usize..70_000, is_spliced in any::<bool>(),
    ) {
        // Without Pings: that client would answer into what it reads.
        let messages: Vec<_> = messages.into_iter().filter(|message| !message.is_ping()).collect();
        let mut batch = FrameBatch::default();
        for message in &messages {
            match received(message) {
                Received::Text(text) => batch.text(&text),
                Received::Pong(payload) => batch.pong(&payload),
                other => panic!("not sent here: {other:?}"),
            }
        }
        let large = "ä".repeat(large);
        let ends = if is_spliced { ["start ", " end"] } else { [""; 2] };
        for _ in 0..2 {
            // Two of them, as of a list in two frames.
            let [start, end] = ends.map(String::from);
            match is_spliced {
                true => batch.encoded(&EncodedFrame { start, shared: large.as_str().into(), end }),
                false => batch.encoded(&EncodedFrame::from(Text::from(large.as_str()))),
            }
        }
        batch.close(Some(4010), "draining");
        let bytes = written(&batch);
        prop_assert_eq!(bytes.len(), batch.len());
        let shared = batch.parts().filter(|part| matches!(part, Part::Shared(_))).count();
        prop_assert_eq!(shared, if large.len() >= SHARED_BYTES { 2 } else { 0 }, "copied only where it is short");
        let large = Message::Text([ends[0], &large, ends[1]].concat().into());
        let stream = std::io::Cursor::new(bytes);
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let mut client = WebSocket::from_raw_socket(stream, Role::Client, Some(config));
        for message in messages.iter().cloned().chain([large.clone(), large]) {
            prop_assert_eq!(client.read().expect("a message"), message);
        }
        match client.read().expect("a close") {
            Message::Close(Some(close)) => prop_assert_eq!((u16::from(close.code), close.reason.as_str()), (4010, "draining")),
            other => prop_assert!(false, "not a close: {:?}", other),
        }
    }

    #[test]
    fn a_fragmented_text_is_whole_again(text in "\\PC{1,200}", cut in 1_usize..20) {
        let fragments: Vec<_> = text.as_bytes().chunks(cut).collect();
        let mut bytes = Vec::new();
        for (at, piece) in fragments.iter().enumerate() {
            let opcode = if at == 0 { TEXT } else { CONTINUATION };
            let fin = if at + 1 == fragments.len() { FIN } else { 0 };
            bytes.extend(masked(fin | opcode, piece));
            bytes.extend(if fin == 0 { masked(FIN | PING, b"between") } else { Vec::new() });
        }
        let (received, violation, _) = decode([bytes.as_slice()]);
        prop_assert_eq!(violation, None);
        let texts: Vec<_> = received.into_iter().filter(|received| *received != Received::Ping(b"between".to_vec())).collect();
        prop_assert_eq!(texts, [Received::Text(text)]);
    }

    #[test]
    fn no_bytes_make_it_panic_or_hold_more_than_a_message(bytes in proptest::collection::vec(any::<u8>(), 0..9000), cut in 1_usize..3000) {
        let (_, _, decoder) = decode(bytes.chunks(cut));
        prop_assert!(decoder.rest.len() <= MAX + 14);
        prop_assert!(decoder.fragments.is_none_or(|fragments| fragments.len() <= MAX));
    }
}

#[test]
fn each_broken_rule_has_its_code() {
    let broken = |bytes: &[u8]| decode([bytes]).1.map(Violation::close_code);
    assert_eq!(broken(&masked(FIN | BINARY, b"")), Some(1003));
    assert_eq!(broken(&masked(FIN | TEXT, b"\xff")), Some(1007));
    assert_eq!(broken(&masked(FIN | TEXT, &[b' '; MAX])), None);
    assert_eq!(broken(&masked(FIN | TEXT, &[b' '; MAX + 1])), Some(1009));
    assert_eq!(broken(&masked(FIN | 0x40 | TEXT, b"{}")), Some(1002));
    assert_eq!(broken(&masked(FIN | CONTINUATION, b"{}")), Some(1002));
    assert_eq!(broken(&masked(PING, b"")), Some(1002));
    assert_eq!(broken(&masked(FIN | 0x3, b"")), Some(1002));
    assert_eq!(broken(&[FIN | TEXT, 0]), Some(1002));
    assert_eq!(broken(&masked(FIN | CLOSE, b"\x03")), Some(1002));
    assert_eq!(broken(&masked(FIN | CLOSE, &1005_u16.to_be_bytes())), Some(1002));
    assert_eq!(decode([masked(FIN | CLOSE, b"").as_slice()]).0, [Received::Close(None)]);
    assert_eq!(decode([masked(FIN | CLOSE, &4999_u16.to_be_bytes()).as_slice()]).0, [Received::Close(Some(4999))]);
    // By its head alone.
    assert_eq!(broken(&[FIN | TEXT, 0xff, 0, 0, 0, 0, 0xff, 0, 0, 0]), Some(1009));
}

#[test]
fn each_broken_rule_says_what_is_wrong_in_a_reason_that_fits() {
    for (bytes, reason) in [
        (masked(FIN | BINARY, b""), "binary_message: frames are JSON in text messages"),
        (masked(FIN | TEXT, &[b' '; MAX + 1]), "message_too_large: over 4096 bytes"),
        (masked(FIN | TEXT, b"\xff"), "invalid_utf8: texts and reasons are UTF-8"),
        (masked(FIN | 0x40 | TEXT, b"{}"), "protocol_error: a frame is compressed, or has reserved bits"),
        (masked(TEXT, b"").repeat(2), "protocol_error: a message within another one that is in fragments"),
    ] {
        assert_eq!(decode([bytes.as_slice()]).1.map(Violation::reason).as_deref(), Some(reason));
        assert!(reason.len() <= CONTROL_BYTES - 2, "{reason}");
    }
}

#[test]
fn a_close_is_understood_without_a_mask_and_nothing_else_is() {
    // As Caddy 2.6 sends it, in pieces.
    let caddy = [FIN | CLOSE, 2, 0x03, 0xe9];
    let mut bytes = caddy;
    let incoming = Decoder::default().next(&mut &mut bytes[..], MAX);
    assert_eq!(incoming, Ok(Some(Incoming::Close(Close { code: Some(1001), reason: "", is_masked: false }))));
    assert_eq!(decode(caddy.chunks(1)).0, [Received::Close(Some(1001))]);
    assert_eq!(decode([[FIN | CLOSE, 0].as_slice()]).0, [Received::Close(None)]);
    for first in [FIN | TEXT, FIN | PING, FIN | PONG, CLOSE] {
        assert_eq!(decode([[first, 0].as_slice()]).1.map(Violation::close_code), Some(1002), "{first:#x}");
    }
}

#[test]
fn empty_fragments_are_counted_one_by_one() {
    let bytes = [masked(TEXT, b""), masked(CONTINUATION, b"a"), masked(CONTINUATION, b"").repeat(2), masked(FIN, b"b")];
    let (received, violation, _) = decode([bytes.concat().as_slice()]);
    assert_eq!(violation, None);
    assert_eq!(received[..3], [const { Received::EmptyFragment }; 3]);
    assert_eq!(received[3..], [Received::Text("ab".to_owned())]);
}

#[test]
fn what_came_with_the_handshake_is_the_first_input() {
    let mut decoder = Decoder::after(masked(FIN | TEXT, b"early"));
    let mut joined = Vec::new();
    let mut input = decoder.input(&mut [], &mut joined);
    let incoming = decoder.next(&mut input, MAX).expect("a message");
    assert_eq!(incoming.map(Received::from), Some(Received::Text("early".to_owned())));
}
