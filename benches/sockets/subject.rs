//! What is measured: a server with rooms, and the protocol of its clients.

use std::net::SocketAddr;

use crate::process::Process;

/// The kind of a message of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The receiver has joined; the message has the people of the room.
    Welcome,
    /// A beat was answered.
    Answer,
    /// Changes of others in the room.
    Change,
    /// It goes on with the message before it, and counts with that.
    More,
    /// Nothing that is counted.
    Other,
}

/// A server that runs, and its protocol.
pub trait Subject {
    /// Where it is.
    fn address(&self) -> SocketAddr;

    /// Its process.
    fn process(&self) -> &Process;

    /// Makes rooms for so many people each, and gives for each what its people need to join.
    fn rooms(&self, count: usize, people: usize) -> anyhow::Result<Vec<String>>;

    /// The path at which a person opens a socket into a room.
    fn path(&self, room: &str, person: usize) -> String;

    /// The kind of a message, and the answer that the handshake of the protocol requires.
    fn read(&self, text: &[u8], room: &str, person: usize) -> (Kind, Option<String>);

    /// A beat that asks for an answer; by default in lastseen's protocol.
    fn beat(&self, reference: usize) -> String {
        format!(r#"{{"type":"beat","ref":{reference},"active":{}}}"#, reference.is_multiple_of(2))
    }

    /// A new public state of a person, which holds `"n":number`; by default in lastseen's protocol.
    fn update(&self, number: usize) -> String {
        format!(r#"{{"type":"update","state":{{"n":{number}}}}}"#)
    }

    /// The message that leaves; `None` where a client only closes its socket.
    fn leave(&self) -> Option<String>;

    /// The path at which a person joins again after this `welcome`.
    fn resume_path(&self, room: &str, person: usize, welcome: &[u8]) -> String;

    /// The people in a message, by id: joined or present (true), or gone (false).
    fn people<'a>(&self, text: &'a [u8], each: &mut dyn FnMut(&'a [u8], bool));
}

/// The texts between each `mark` and the next quote.
pub fn quoted<'a>(text: &'a [u8], mark: &'static str) -> impl Iterator<Item = &'a [u8]> {
    memchr::memmem::find_iter(text, mark).filter_map(move |at| {
        let value = &text[at + mark.len()..];
        Some(&value[..memchr::memchr(b'"', value)?])
    })
}

/// The numbers of the updates in a message.
pub fn numbers(text: &[u8]) -> impl Iterator<Item = usize> {
    const MARK: &str = "\"n\":";
    memchr::memmem::find_iter(text, MARK).filter_map(move |at| {
        let digits = text[at + MARK.len()..].iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(None, |number, digit| Some(number.unwrap_or(0) * 10 + usize::from(digit - b'0')))
    })
}
