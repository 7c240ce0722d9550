//! The alternatives: the presence servers of `benches/peers`, on Node.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;

use crate::process::Process;
use crate::subject::{Kind, Subject, quoted};

/// Which library the server is written with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Library {
    Ws,
    SocketIo,
}

/// A server that is written with one of them.
pub struct Peer {
    library: Library,
    process: Process,
    address: SocketAddr,
    rooms: AtomicUsize,
}

impl Library {
    /// What the rows call it, and its file without `.js`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ws => "ws",
            Self::SocketIo => "socket.io",
        }
    }
}

impl Peer {
    /// Starts it from where the servers and their packages are.
    pub fn start(library: Library, servers: &Path) -> anyhow::Result<Self> {
        let file = servers.join(format!("{}.js", library.name()));
        let (process, line) = Process::start(Command::new("node").arg(&file).env("NODE_ENV", "production"))?;
        let address = line.strip_prefix("listening on http://");
        let address = address.with_context(|| format!("{} did not start: npm ci in its folder", file.display()))?;
        Ok(Self { library, process, address: address.parse()?, rooms: AtomicUsize::new(0) })
    }
}

impl Subject for Peer {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn process(&self) -> &Process {
        &self.process
    }

    fn rooms(&self, count: usize, _: usize) -> anyhow::Result<Vec<String>> {
        let first = self.rooms.fetch_add(count, Ordering::Relaxed);
        Ok((first..first + count).map(|room| format!("room-{room}")).collect())
    }

    fn path(&self, room: &str, person: usize) -> String {
        match self.library {
            Library::Ws => format!("/?room={room}&name=Reader%20{person}"),
            Library::SocketIo => "/socket.io/?EIO=4&transport=websocket".to_owned(),
        }
    }

    fn read(&self, text: &[u8], room: &str, person: usize) -> (Kind, Option<String>) {
        let kind = match self.library {
            Library::Ws => match quoted(text, "{\"type\":\"").next() {
                Some(b"welcome") => Kind::Welcome,
                Some(b"beat") => Kind::Answer,
                _ => Kind::Change,
            },
            Library::SocketIo => match text {
                // The handshake of the transport, then that of Socket.IO, then the transport's own beat.
                [b'0', ..] => {
                    let join = format!(r#"40{{"room":"{room}","name":"Reader {person}"}}"#);
                    return (Kind::Other, Some(join));
                }
                [b'2'] => return (Kind::Other, Some("3".to_owned())),
                [b'4', b'3', ..] => Kind::Answer,
                [b'4', b'2', event @ ..] if event.starts_with(b"[\"welcome\"") => Kind::Welcome,
                [b'4', b'2', ..] => Kind::Change,
                _ => Kind::Other,
            },
        };
        (kind, None)
    }

    fn beat(&self, reference: usize) -> String {
        let active = reference.is_multiple_of(2);
        match self.library {
            Library::Ws => format!(r#"{{"type":"beat","ref":{reference},"active":{active}}}"#),
            Library::SocketIo => format!(r#"42{reference}["beat",{{"ref":{reference},"active":{active}}}]"#),
        }
    }

    fn update(&self, number: usize) -> String {
        match self.library {
            Library::Ws => format!(r#"{{"type":"update","state":{{"n":{number}}}}}"#),
            Library::SocketIo => format!(r#"42["update",{{"n":{number}}}]"#),
        }
    }

    fn leave(&self) -> Option<String> {
        None
    }

    fn resume_path(&self, room: &str, person: usize, _: &[u8]) -> String {
        self.path(room, person)
    }

    fn people<'a>(&self, text: &'a [u8], each: &mut dyn FnMut(&'a [u8], bool)) {
        let leave: &[u8] = match self.library {
            Library::Ws => b"{\"type\":\"leave\"",
            Library::SocketIo => b"42[\"leave\"",
        };
        let here = !text.starts_with(leave);
        quoted(text, "\"id\":\"").for_each(|id| each(id, here));
    }
}
