//! What is measured: a server with rooms, and how its clients speak.

use std::net::SocketAddr;

use crate::process::Process;

/// What a message of a server says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said {
    /// Somebody is in, and told who else is.
    Welcome,
    /// A beat was answered.
    Answer,
    /// Something of others in the room.
    News,
    /// Nothing that is counted.
    Other,
}

/// A server that runs, and its dialect.
pub trait Subject {
    /// Where it is.
    fn address(&self) -> SocketAddr;

    /// Its process.
    fn process(&self) -> &Process;

    /// Makes rooms for so many people each, and gives for each what its people need to come in.
    fn rooms(&self, count: usize, people: usize) -> anyhow::Result<Vec<String>>;

    /// The path at which somebody opens a socket into a room.
    fn path(&self, room: &str, person: usize) -> String;

    /// What a message says, and what a client answers to it at once, as its handshake wants it.
    fn hear(&self, text: &[u8], room: &str, person: usize) -> (Said, Option<String>);

    /// A beat that asks for an answer, in lastseen's words where a subject has none of its own.
    fn beat(&self, reference: usize) -> String {
        format!(r#"{{"type":"beat","ref":{reference},"active":{}}}"#, reference.is_multiple_of(2))
    }

    /// Somebody's new public state, which holds `"n":number`, in the same words.
    fn update(&self, number: usize) -> String {
        format!(r#"{{"type":"update","state":{{"n":{number}}}}}"#)
    }

    /// The goodbye; `None` where people just hang up.
    fn leave(&self) -> Option<String>;

    /// The path by which somebody comes back who was told `welcome`.
    fn way_back(&self, room: &str, person: usize, welcome: &[u8]) -> String;

    /// Who a message says has come or is here (true), or has gone (false), by id.
    fn people<'a>(&self, text: &'a [u8], tell: &mut dyn FnMut(&'a [u8], bool));
}

/// What stands between `mark` and the next quote, wherever it does.
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
