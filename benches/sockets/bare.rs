//! The yardstick: what sockets cost on this machine without anything that a presence server does.

pub mod server;

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;

use crate::process::Process;
use crate::subject::{Kind, Subject, quoted};

/// What the rows call it.
pub const NAME: &str = "bare";

/// The rows that can be measured without presence.
pub const ROWS: [&str; 5] = ["memory-10k", "beats", "fanout-1", "fanout-16", "connects"];

/// This program again, as a server.
pub struct Bare {
    process: Process,
    address: SocketAddr,
    rooms: AtomicUsize,
}

impl Bare {
    /// Starts it.
    pub fn start() -> anyhow::Result<Self> {
        let (process, line) = Process::start(Command::new(std::env::current_exe()?).arg("--bare-server"))?;
        let address = line.strip_prefix("listening on http://").context("the bare server did not start")?;
        Ok(Self { process, address: address.parse()?, rooms: AtomicUsize::new(0) })
    }
}

impl Subject for Bare {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn process(&self) -> &Process {
        &self.process
    }

    fn rooms(&self, count: usize, _: usize) -> anyhow::Result<Vec<String>> {
        let first = self.rooms.fetch_add(count, Ordering::Relaxed);
        Ok((first..first + count).map(|room| format!("/{room}")).collect())
    }

    fn path(&self, room: &str, _: usize) -> String {
        room.to_owned()
    }

    fn read(&self, text: &[u8], _: &str, _: usize) -> (Kind, Option<String>) {
        let kind = match quoted(text, "{\"type\":\"").next() {
            Some(b"welcome") => Kind::Welcome,
            Some(b"beat") => Kind::Answer,
            _ => Kind::Change,
        };
        (kind, None)
    }

    fn leave(&self) -> Option<String> {
        None
    }

    fn resume_path(&self, room: &str, person: usize, _: &[u8]) -> String {
        self.path(room, person)
    }

    /// Its messages name no people.
    fn people<'a>(&self, _: &'a [u8], _: &mut dyn FnMut(&'a [u8], bool)) {}
}
