//! Frames that break the WebSocket protocol, written by hand: the close code names the rule, and the others
//! see no more than a person who lost the connection.

use serde_json::json;

use crate::harness::raw::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, Raw, TEXT, frame, unmasked};
use crate::harness::rest::Opened;
use crate::harness::{Client, Join, TestServer};

const PROTOCOL_ERROR: u16 = 1002;
const UNSUPPORTED: u16 = 1003;
const NOT_UTF8: u16 = 1007;
const TOO_LARGE: u16 = 1009;

/// A room with a person in it whose client checks every frame.
struct Stage {
    server: TestServer,
    open: Opened,
    watcher: Client,
}

impl Stage {
    async fn new() -> Self {
        // No grace runs out during the test.
        let server = TestServer::start(&["--grace", "10m"]).await;
        let open = server.open().await;
        let watcher = Client::join(server.address(), open.id, &Join::invite(&open.invite, "Ada")).await;
        Self { server, open, watcher }
    }

    async fn join(&self, name: &str) -> Raw {
        Raw::join(self.server.address(), self.open.id, &self.open.invite, name).await
    }

    /// A client joins, sends these bytes, and is closed with this code. To the others the person is
    /// reconnecting, and everything goes on.
    async fn breaks(&mut self, what: &str, bytes: &[u8], code: u16) {
        let mut raw = self.join("Mallory").await;
        raw.try_send(bytes).await;
        assert_eq!(raw.close_code().await, code, "{what}");
        self.lost(&raw).await;
    }

    async fn lost(&mut self, raw: &Raw) {
        let id = raw.id();
        self.watcher
            .until("the one who broke the protocol lost", |watcher| {
                watcher.view.get(&id).is_some_and(|person| person["status"] == "reconnecting")
            })
            .await;
    }

    /// Only connections that broke a rule were closed: the watcher missed nothing, no person left, and a
    /// newcomer is seen at once.
    async fn goes_on(&mut self) {
        let bob = Client::join(self.server.address(), self.open.id, &Join::invite(&self.open.invite, "Bob")).await;
        self.watcher.until("Bob", |watcher| watcher.view.contains_key(&bob.id())).await;
        let me = self.watcher.id();
        let heard = &self.watcher.heard[1..];
        assert!(heard.iter().all(|frame| frame["type"] == "diff"), "{heard:?}");
        assert!(heard.iter().all(|frame| frame["leaves"].as_array().is_none_or(Vec::is_empty)), "{heard:?}");
        assert_eq!(self.watcher.gaps, []);
        assert_eq!(self.watcher.view[&me]["status"], "active");
        let states: Vec<_> = bob.view.values().filter(|person| person["name"] != "Mallory").collect();
        assert!(states.iter().all(|person| person["status"] == "active"), "{states:?}");
        self.watcher.catch_up().await;
    }
}

fn text(text: &str) -> Vec<u8> {
    frame(FIN | TEXT, text.as_bytes())
}

fn beat(reference: u32) -> Vec<u8> {
    text(&json!({"type": "beat", "ref": reference}).to_string())
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, &[&code.to_be_bytes()[..], reason].concat())
}

#[tokio::test]
async fn frames_with_opcodes_that_nobody_defined_are_a_protocol_error() {
    let mut stage = Stage::new().await;
    for opcode in [0x3, 0x4, 0x7, 0xb, 0xc, 0xf] {
        stage.breaks(&format!("opcode {opcode:#x}"), &frame(FIN | opcode, b"{}"), PROTOCOL_ERROR).await;
    }
    stage.goes_on().await;
}

#[tokio::test]
async fn frames_with_reserved_bits_are_a_protocol_error() {
    let mut stage = Stage::new().await;
    for bit in [0x40, 0x20, 0x10, 0x70] {
        stage.breaks(&format!("text with bits {bit:#x}"), &frame(FIN | bit | TEXT, b"{}"), PROTOCOL_ERROR).await;
    }
    stage.breaks("ping with a reserved bit", &frame(FIN | 0x40 | PING, b""), PROTOCOL_ERROR).await;
    stage.goes_on().await;
}

#[tokio::test]
async fn frames_without_a_mask_are_a_protocol_error() {
    let mut stage = Stage::new().await;
    stage.breaks("text", &unmasked(FIN | TEXT, br#"{"type":"beat"}"#), PROTOCOL_ERROR).await;
    stage.breaks("ping", &unmasked(FIN | PING, b""), PROTOCOL_ERROR).await;
    stage.breaks("pong", &unmasked(FIN | PONG, b""), PROTOCOL_ERROR).await;
    stage.goes_on().await;
}

#[tokio::test]
async fn control_frames_that_are_large_or_in_pieces_are_a_protocol_error() {
    let mut stage = Stage::new().await;
    for opcode in [PING, PONG, CLOSE] {
        stage.breaks(&format!("a piece of {opcode:#x}"), &frame(opcode, b"\x03\xe8"), PROTOCOL_ERROR).await;
        stage.breaks(&format!("a large {opcode:#x}"), &frame(FIN | opcode, &[0x20; 126]), PROTOCOL_ERROR).await;
    }
    stage.goes_on().await;
}

#[tokio::test]
async fn pieces_of_messages_out_of_order_are_a_protocol_error() {
    let mut stage = Stage::new().await;
    stage.breaks("an end without a start", &frame(FIN | CONTINUATION, b"{}"), PROTOCOL_ERROR).await;
    stage.breaks("a middle without a start", &frame(CONTINUATION, b"{}"), PROTOCOL_ERROR).await;
    let two_starts = [frame(TEXT, br#"{"type":"#), frame(FIN | TEXT, br#""beat"}"#)].concat();
    stage.breaks("a second start before the end", &two_starts, PROTOCOL_ERROR).await;
    let after_the_end = [beat(1), frame(FIN | CONTINUATION, b"")].concat();
    stage.breaks("a piece after the end", &after_the_end, PROTOCOL_ERROR).await;
    stage.goes_on().await;
}

#[tokio::test]
async fn text_that_is_not_utf_8_is_refused_as_such() {
    let mut stage = Stage::new().await;
    let sequences: [(&str, &[u8]); 7] = [
        ("a lone continuation byte", b"\x80"),
        ("a start without its rest", b"\xc3"),
        ("an overlong slash", b"\xc0\xaf"),
        ("half a surrogate pair", b"\xed\xa0\x80"),
        ("beyond the last character", b"\xf4\x90\x80\x80"),
        ("no byte of UTF-8", b"\xff"),
        ("broken off in the middle", b"\xe2\x82"),
    ];
    for (what, bytes) in sequences {
        let message = [br#"{"type":"beat","x":""#, bytes, br#""}"#].concat();
        stage.breaks(what, &frame(FIN | TEXT, &message), NOT_UTF8).await;
        // The same in pieces, split within the sequence.
        let (start, end) = message.split_at(message.len() - 3);
        let pieces = [frame(TEXT, start), frame(FIN | CONTINUATION, end)].concat();
        stage.breaks(&format!("{what}, in pieces"), &pieces, NOT_UTF8).await;
    }
    let broken_off = [frame(TEXT, b"\"\xe2"), frame(CONTINUATION, b"\x82"), frame(FIN | CONTINUATION, b"")].concat();
    stage.breaks("broken off at the end of the last piece", &broken_off, NOT_UTF8).await;
    stage.goes_on().await;
}

#[tokio::test]
async fn a_character_that_is_cut_by_fragments_is_whole_again() {
    let mut stage = Stage::new().await;
    let mut raw = stage.join("Euro").await;
    let message = r#"{"type":"update","state":{"price":"5 €, 𝄞"}}"#.as_bytes();
    // One byte a frame, with a few Pongs in between, which may stand there.
    raw.send(&frame(TEXT, b"")).await;
    for bytes in message.chunks(5) {
        let bytes: Vec<_> = bytes.iter().flat_map(|byte| frame(CONTINUATION, &[*byte])).collect();
        raw.send(&[bytes, frame(FIN | PONG, b"unasked")].concat()).await;
    }
    raw.send(&frame(FIN | PING, b"now")).await;
    raw.send(&frame(FIN | CONTINUATION, b"")).await;
    let id = raw.id();
    stage
        .watcher
        .until("the state", |watcher| {
            watcher.view.get(&id).is_some_and(|person| person["state"] == json!({"price": "5 €, 𝄞"}))
        })
        .await;
    loop {
        match raw.frame().await.expect("the Pong before the end") {
            (first, payload) if first == FIN | PONG => break assert_eq!(payload, b"now"),
            (first, _) => assert_eq!(first, FIN | TEXT),
        }
    }
    raw.send(&beat(9)).await;
    assert_eq!(raw.json_of("beat").await["ref"], 9);
    stage.goes_on().await;
}

#[tokio::test]
async fn a_message_in_two_pieces_is_one_message() {
    let stage = Stage::new().await;
    let mut raw = stage.join("Bea").await;
    let pieces = [frame(TEXT, br#"{"type":"be"#), frame(FIN | CONTINUATION, br#"at","ref":7}"#)];
    raw.send(&pieces[0]).await;
    raw.send(&pieces[1]).await;
    assert_eq!(raw.json_of("beat").await["ref"], 7);
    // Lengths in a longer form than they need are not forbidden to a receiver.
    let long_form = {
        let short = beat(8);
        let length = u64::from(short[1] & 0x7f);
        [&[short[0], 0xff], &length.to_be_bytes()[..], &short[2..]].concat()
    };
    raw.send(&long_form).await;
    assert_eq!(raw.json_of("beat").await["ref"], 8);
}

#[tokio::test]
async fn a_close_frame_with_a_code_that_may_not_be_sent_is_a_protocol_error() {
    let mut stage = Stage::new().await;
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
        stage.breaks(&format!("close code {code}"), &close(code, b""), PROTOCOL_ERROR).await;
    }
    stage.breaks("half a close code", &frame(FIN | CLOSE, b"\x03"), PROTOCOL_ERROR).await;
    stage.goes_on().await;
}

#[tokio::test]
async fn a_close_reason_that_is_not_utf_8_is_refused_as_such() {
    let mut stage = Stage::new().await;
    stage.breaks("a bad reason", &close(1001, b"\xff\xfe"), NOT_UTF8).await;
    stage.goes_on().await;
}

#[tokio::test]
async fn a_good_close_is_answered_with_its_own_code() {
    let mut stage = Stage::new().await;
    for code in [1001, 1011, 3000, 4000, 4999] {
        stage.breaks(&format!("close code {code}"), &close(code, "au revoir, à bientôt".as_bytes()), code).await;
    }
    stage.goes_on().await;

    // 1000 is a leave, whatever is sent behind it.
    let mut raw = stage.join("Bea").await;
    let id = raw.id();
    stage.watcher.until("Bea", |watcher| watcher.view.contains_key(&id)).await;
    raw.send(&[close(1000, b""), beat(1), frame(FIN | 0x3, b"")].concat()).await;
    assert_eq!(raw.close_code().await, 1000);
    stage.watcher.until("Bea gone", |watcher| !watcher.view.contains_key(&id)).await;
    let last = stage.watcher.heard.last().expect("a diff");
    assert_eq!(last["leaves"], json!([{"id": id, "reason": "left"}]));
}

#[tokio::test]
async fn a_header_that_promises_too_much_is_refused_before_the_rest_comes() {
    let mut stage = Stage::new().await;
    let promise = |first: u8, length: u64| [&[first, 0xff], &length.to_be_bytes()[..], &[0; 4], b"{"].concat();
    for length in [65 * 1024, 1 << 32, i64::MAX.unsigned_abs(), u64::MAX] {
        stage.breaks(&format!("text of {length} bytes"), &promise(FIN | TEXT, length), TOO_LARGE).await;
        stage.breaks(&format!("a piece of {length} bytes"), &promise(TEXT, length), TOO_LARGE).await;
    }
    // Pieces that are small, and too much together.
    let piece = vec![b' '; 16 * 1024];
    let mut pieces = frame(TEXT, &piece);
    for _ in 0..5 {
        pieces.extend(frame(CONTINUATION, &piece));
    }
    stage.breaks("pieces of 96 KiB", &pieces, TOO_LARGE).await;
    stage.goes_on().await;
}

#[tokio::test]
async fn a_message_of_bytes_is_not_for_this_server() {
    let mut stage = Stage::new().await;
    stage.breaks("bytes", &frame(FIN | BINARY, br#"{"type":"beat"}"#), UNSUPPORTED).await;
    stage.breaks("no bytes", &frame(FIN | BINARY, b""), UNSUPPORTED).await;
    stage.goes_on().await;
}

#[tokio::test]
async fn a_stream_that_ends_within_a_frame_is_a_lost_connection() {
    let mut stage = Stage::new().await;
    let whole = beat(1);
    let fragment = frame(TEXT, br#"{"type":"#);
    for bytes in [&whole[..1], &whole[..2], &whole[..6], &whole[..whole.len() - 1], &fragment, b""] {
        let mut raw = stage.join("Mallory").await;
        raw.send(bytes).await;
        raw.finish().await;
        assert_eq!(raw.close_code().await, 1006, "the other side is gone: {bytes:?}");
        stage.lost(&raw).await;
    }
    stage.goes_on().await;
}

#[tokio::test]
async fn garbage_is_a_protocol_error() {
    let mut stage = Stage::new().await;
    stage.breaks("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", PROTOCOL_ERROR).await;
    stage.breaks("TLS", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", PROTOCOL_ERROR).await;
    stage.breaks("ones", &[0xff; 512], PROTOCOL_ERROR).await;
    stage.breaks("JSON", br#"{"type":"beat"}"#, PROTOCOL_ERROR).await;
    stage.breaks("garbage after a good frame", &[beat(1), vec![0xff; 16]].concat(), PROTOCOL_ERROR).await;
    stage.goes_on().await;
}

#[tokio::test]
async fn what_comes_with_the_handshake_is_heard() {
    let stage = Stage::new().await;
    let early = [beat(1), beat(2)].concat();
    let mut raw = Raw::ask(stage.server.address(), stage.open.id, &stage.open.invite, "Early", &early).await;
    assert_eq!(raw.json().await["type"], "welcome");
    for reference in [1, 2] {
        assert_eq!(raw.json_of("beat").await["ref"], reference);
    }
    // Also what is not answered at once.
    let early = text(r#"{"type":"sync"}"#);
    let mut raw = Raw::ask(stage.server.address(), stage.open.id, &stage.open.invite, "Early", &early).await;
    assert_eq!(raw.json().await["type"], "welcome");
    raw.json_of("state").await;
    // And what is wrong with it is sent after the welcome.
    let bad = frame(FIN | 0x3, b"");
    let mut raw = Raw::ask(stage.server.address(), stage.open.id, &stage.open.invite, "Early", &bad).await;
    assert_eq!(raw.json().await["type"], "welcome");
    assert_eq!(raw.close_code().await, PROTOCOL_ERROR);
}

#[tokio::test]
async fn a_ping_is_answered_with_its_own_payload() {
    let stage = Stage::new().await;
    let mut raw = stage.join("Bea").await;
    for payload in [b"".to_vec(), b"hello".to_vec(), vec![0xff; 125]] {
        raw.send(&frame(FIN | PING, &payload)).await;
        loop {
            match raw.frame().await.expect("the Pong before the end") {
                (first, answer) if first == FIN | PONG => break assert_eq!(answer, payload),
                (first, _) => assert_eq!(first, FIN | TEXT),
            }
        }
    }
}
