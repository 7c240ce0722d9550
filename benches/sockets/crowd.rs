//! A crowd: the clients of one server, all on this thread.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use mio::event::Event;
use mio::{Events, Interest, Poll, Token};

use crate::subject::{Kind, Subject};
use crate::wire::{Incoming, Wire};

/// How long anything may take before the bench gives up.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Sockets that join at once, unless a row has another number.
pub const JOINS_AT_ONCE: usize = 32;

/// The close code of a server that cannot take a connection just now.
const TRY_AGAIN: u16 = 1013;

/// A person with a socket, or without one just now.
pub struct Person {
    pub room: usize,
    wire: Option<Wire>,
    /// Whether its socket has received `welcome`.
    pub inside: bool,
}

/// What happened on the socket of a person.
pub enum SocketEvent<'a> {
    /// The server sent a message.
    Message(Kind, &'a [u8]),
    /// The socket has ended, with this code.
    Ended(u16),
}

/// People in the rooms of a server.
pub struct Crowd<'a> {
    pub subject: &'a dyn Subject,
    pub people: Vec<Person>,
    pub rooms: Vec<String>,
    /// Messages that the server sent since the start; one that came in several frames is one.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How often a socket was closed with `TRY_AGAIN`.
    pub sent_away: usize,
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
}

impl<'a> Crowd<'a> {
    /// Makes rooms and people, who have no sockets yet.
    pub fn new(subject: &'a dyn Subject, people: usize, per_room: usize) -> anyhow::Result<Self> {
        let rooms = subject.rooms(people.div_ceil(per_room), per_room)?;
        Ok(Self {
            subject,
            people: (0..people).map(|person| Person { room: person / per_room, wire: None, inside: false }).collect(),
            rooms,
            frames: 0,
            bytes: 0,
            sent_away: 0,
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            buffer: vec![0; 64 * 1024],
        })
    }

    /// The same after all have joined, and no message was on its way for a while.
    pub fn settled(subject: &'a dyn Subject, people: usize, per_room: usize, quiet: Duration) -> anyhow::Result<Self> {
        let mut crowd = Self::new(subject, people, per_room)?;
        crowd.join_all(JOINS_AT_ONCE, |_, _| {})?;
        crowd.idle(quiet)?;
        Ok(crowd)
    }

    /// Opens a socket for a person.
    pub fn open(&mut self, person: usize) -> anyhow::Result<()> {
        let path = self.subject.path(&self.rooms[self.people[person].room], person);
        self.open_at(person, &path)
    }

    /// The same at another path.
    pub fn open_at(&mut self, person: usize, path: &str) -> anyhow::Result<()> {
        let mut wire = Wire::open(self.subject.address(), person, path)?;
        self.poll.registry().register(&mut wire.stream, Token(person), Interest::READABLE | Interest::WRITABLE)?;
        self.people[person].wire = Some(wire);
        Ok(())
    }

    /// Sends a message on the socket of a person.
    pub fn send(&mut self, person: usize, text: &str) -> anyhow::Result<()> {
        self.people[person].wire.as_mut().context("a person without a socket cannot send")?.send(text);
        Ok(())
    }

    /// Ends the TCP connection of a person without a Close frame.
    pub fn cut(&mut self, person: usize) {
        self.people[person].wire = None;
        self.people[person].inside = false;
    }

    /// Waits for messages and ends of sockets, at most so long, and hands each to the closure.
    pub fn turn(&mut self, wait: Duration, mut receive: impl FnMut(usize, SocketEvent)) -> anyhow::Result<()> {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        match self.poll.poll(&mut events, Some(wait)) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            polled => polled?,
        }
        for event in &events {
            self.serve(event, &mut receive);
        }
        self.events = events;
        Ok(())
    }

    fn serve(&mut self, event: &Event, receive: &mut impl FnMut(usize, SocketEvent)) {
        let Token(index) = event.token();
        let person = &mut self.people[index];
        let Some(wire) = &mut person.wire else { return };
        if event.is_writable() {
            wire.flush();
        }
        let (mut inside, mut ended) = (person.inside, false);
        let room = &self.rooms[person.room];
        wire.read(&mut self.buffer, |wire, incoming| match incoming {
            Incoming::Text(text) => {
                self.bytes += text.len() as u64;
                let (kind, reply) = self.subject.read(text, room, index);
                self.frames += u64::from(kind != Kind::More);
                if let Some(reply) = reply {
                    wire.send(&reply);
                }
                inside |= kind == Kind::Welcome;
                receive(index, SocketEvent::Message(kind, text));
            }
            Incoming::Ended(code) => {
                ended = true;
                receive(index, SocketEvent::Ended(code));
            }
        });
        person.inside = inside && !ended;
        if ended {
            person.wire = None;
        }
    }

    /// Joins with all people who have no socket, so many at a time, and gives how long that took. A socket
    /// that was closed with `TRY_AGAIN` is opened again after all others.
    pub fn join_all(
        &mut self,
        at_once: usize,
        mut receive: impl FnMut(usize, SocketEvent),
    ) -> anyhow::Result<Duration> {
        let started = Instant::now();
        let mut waiting = VecDeque::from_iter((0..self.people.len()).filter(|&person| !self.people[person].inside));
        let (mut coming, mut lost) = (0, None);
        while coming > 0 || !waiting.is_empty() {
            while coming < at_once
                && let Some(person) = waiting.pop_front()
            {
                self.open(person)?;
                coming += 1;
            }
            let mut sent_away = 0;
            self.turn(Duration::from_secs(1), |person, event| {
                match event {
                    SocketEvent::Message(Kind::Welcome, _) => coming -= 1,
                    SocketEvent::Ended(TRY_AGAIN) => {
                        waiting.push_back(person);
                        coming -= 1;
                        sent_away += 1;
                    }
                    SocketEvent::Ended(code) => lost = Some(code),
                    SocketEvent::Message(..) => {}
                }
                receive(person, event);
            })?;
            self.sent_away += sent_away;
            if let Some(code) = lost {
                bail!("a socket ended with {code} while people joined");
            }
            ensure!(started.elapsed() < PATIENCE, "{coming} sockets were not welcomed within {PATIENCE:?}");
        }
        Ok(started.elapsed())
    }

    /// Takes turns until `enough`; an end of a socket is a failure.
    pub fn until(
        &mut self,
        what: &str,
        mut receive: impl FnMut(usize, Kind, &[u8]),
        mut enough: impl FnMut() -> bool,
    ) -> anyhow::Result<()> {
        let (started, mut lost) = (Instant::now(), None);
        while !enough() {
            self.turn(Duration::from_millis(100), |person, event| match event {
                SocketEvent::Message(kind, text) => receive(person, kind, text),
                SocketEvent::Ended(code) => lost = Some(code),
            })?;
            if let Some(code) = lost {
                bail!("a socket ended with {code} while waiting for {what}");
            }
            ensure!(started.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        }
        Ok(())
    }

    /// Only sends the answers that the protocol requires, for so long.
    pub fn idle(&mut self, time: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        self.until("quiet", |_, _, _| {}, || Instant::now() >= end)
    }
}
