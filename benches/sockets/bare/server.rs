//! The bare server: one thread, one epoll, no presence, no JSON, no database.
//!
//! A beat is sent back as it is. All other messages are sent as they are to all sockets of the room; what was read in
//! one wake-up is written together, in one write to each. A socket that does not take a write is closed.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use anyhow::{Context, bail, ensure};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::frame::{self, CLOSE, Frame, TEXT};

/// Sockets are called by their descriptors, and this one is standard input.
const LISTENER: Token = Token(0);

/// More than a client has sent at any wake-up: one read takes all.
const BUFFER: usize = 64 * 1024;

const BEAT: &[u8] = b"{\"type\":\"beat\"";
const WELCOME: &[u8] = b"{\"type\":\"welcome\"}";

/// Serves until it is killed.
pub fn serve() -> anyhow::Result<()> {
    let mut listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listening on http://{}", listener.local_addr()?);
    let mut house = House::default();
    let (mut events, mut buffer) = (Events::with_capacity(1024), vec![0; BUFFER]);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            match event.token() {
                LISTENER => house.accept(&listener, poll.registry())?,
                Token(socket) => {
                    if house.read(socket, &mut buffer).is_err() {
                        house.lose(socket);
                    }
                }
            }
        }
        house.deliver();
    }
}

struct Socket {
    stream: TcpStream,
    /// None before its handshake.
    room: Option<usize>,
    /// Received bytes that are no whole frame yet.
    partial: Vec<u8>,
}

impl Socket {
    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        ensure!(self.stream.write(bytes)? == bytes.len(), "it does not read");
        Ok(())
    }
}

#[derive(Default)]
struct House {
    /// By their descriptors, of which the kernel gives the lowest that is free.
    sockets: Vec<Option<Socket>>,
    rooms: HashMap<usize, Vec<usize>>,
    /// Frames of this wake-up for all sockets of a room.
    outgoing: HashMap<usize, Vec<u8>>,
}

impl House {
    fn accept(&mut self, listener: &TcpListener, registry: &Registry) -> anyhow::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            stream.set_nodelay(true)?;
            let number = usize::try_from(stream.as_raw_fd())?;
            registry.register(&mut stream, Token(number), Interest::READABLE)?;
            if self.sockets.len() <= number {
                self.sockets.resize_with(number + 1, || None);
            }
            self.sockets[number] = Some(Socket { stream, room: None, partial: Vec::new() });
        }
    }

    /// Reads once, and answers at once; an error is the end of the socket.
    fn read(&mut self, number: usize, buffer: &mut [u8]) -> anyhow::Result<()> {
        let Some(socket) = &mut self.sockets[number] else { return Ok(()) };
        let length = match socket.stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            length => length?,
        };
        ensure!(length > 0, "it hung up");
        let bytes = [&socket.partial, &buffer[..length]].concat();
        let (mut rest, mut answer) = (bytes.as_slice(), Vec::new());
        let room = match socket.room {
            Some(room) => room,
            None => {
                let Some(end) = memchr::memmem::find(rest, b"\r\n\r\n") else {
                    socket.partial = bytes;
                    return Ok(());
                };
                let room = shake_hands(std::str::from_utf8(&rest[..end])?, &mut answer)?;
                rest = &rest[end + 4..];
                socket.room = Some(room);
                self.rooms.entry(room).or_default().push(number);
                room
            }
        };
        while let Some(frame) = Frame::first(rest) {
            match (frame.opcode, frame.unmasked()) {
                (TEXT, beat) if beat.starts_with(BEAT) => frame::put(&mut answer, TEXT, &beat),
                (TEXT, text) => frame::put(self.outgoing.entry(room).or_default(), TEXT, &text),
                (CLOSE, _) => bail!("the client closes"),
                _ => {}
            }
            rest = &rest[frame.length..];
        }
        socket.partial = rest.to_vec();
        if answer.is_empty() { Ok(()) } else { socket.write(&answer) }
    }

    /// Sends each room the messages of its sockets.
    fn deliver(&mut self) {
        let mut deaf = Vec::new();
        for (room, frames) in self.outgoing.drain() {
            for &number in self.rooms.get(&room).into_iter().flatten() {
                let socket = self.sockets[number].as_mut().expect("every place in a room has a socket");
                if socket.write(&frames).is_err() {
                    deaf.push(number);
                }
            }
        }
        deaf.into_iter().for_each(|number| self.lose(number));
    }

    fn lose(&mut self, number: usize) {
        let socket = self.sockets[number].take();
        let Some(room) = socket.and_then(|socket| socket.room) else { return };
        let seats = self.rooms.get_mut(&room).expect("the room of a socket");
        seats.retain(|seat| *seat != number);
        if seats.is_empty() {
            self.rooms.remove(&room);
        }
    }
}

/// The room that a client asks for, which is the whole path, and the answer to it with a welcome.
fn shake_hands(request: &str, answer: &mut Vec<u8>) -> anyhow::Result<usize> {
    let after = |mark| request.lines().find_map(|line| line.strip_prefix(mark));
    let room = after("GET /").and_then(|line| line.split(' ').next()).context("a path")?.parse()?;
    let key = after("Sec-WebSocket-Key: ").context("a key")?;
    write!(
        answer,
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    )?;
    frame::put(answer, TEXT, WELCOME);
    Ok(room)
}
