//! One room, as the generator has it: how to join, which people of ours are in it, and which frames arrived.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::chunks::Received;
use super::fold::View;
use super::frame::{Frame, Leave, Person, decode, head};
use super::whereabouts::Whereabouts;
use crate::domain::ids::{ParticipantId, SessionId};

/// How many decoded frames of diffs are kept: all clients of a room receive the same text at about the same time.
const RECENT: usize = 16;

/// How to join a session that was opened for the run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Invited {
    /// The session.
    pub id: SessionId,
    /// The invite that all its people use.
    pub invite: String,
    /// The host's invite, where a guest opened the session.
    pub host_invite: Option<String>,
}

/// One room.
#[derive(Debug)]
pub struct Room {
    /// How to join.
    pub way: Invited,
    whereabouts: Mutex<HashMap<ParticipantId, Arc<Mutex<Whereabouts>>>>,
    seats: Mutex<Vec<Arc<Seat>>>,
    recent: Mutex<VecDeque<(Box<str>, Frame)>>,
    /// The participants as last received: views share these copies.
    known: Mutex<HashMap<ParticipantId, Arc<Person>>>,
    /// What opens the session over HTTP, where the run has no token of the service.
    key: Mutex<Key>,
}

#[derive(Debug, Default)]
struct Key {
    token: Option<String>,
    of_host: bool,
}

/// One connected client of ours.
#[derive(Debug)]
pub struct Seat {
    /// Its participant.
    pub person: ParticipantId,
    /// Its view of the room.
    pub view: Mutex<View>,
    /// Beats without an answer: the number, and when each was due.
    pub beats: Mutex<VecDeque<(u64, Instant)>>,
}

impl Room {
    /// A room without people.
    pub fn new(way: Invited) -> Self {
        Self {
            way,
            whereabouts: Mutex::default(),
            seats: Mutex::default(),
            recent: Mutex::default(),
            known: Mutex::default(),
            key: Mutex::default(),
        }
    }

    /// The whereabouts of a participant, created at the first call.
    pub fn whereabouts(&self, id: ParticipantId) -> Arc<Mutex<Whereabouts>> {
        Arc::clone(self.whereabouts.lock().entry(id).or_default())
    }

    /// Those of all participants ever seen.
    pub fn all_whereabouts(&self) -> Vec<(ParticipantId, Arc<Mutex<Whereabouts>>)> {
        self.whereabouts.lock().iter().map(|(id, whereabouts)| (*id, Arc::clone(whereabouts))).collect()
    }

    /// Adds a client that was welcomed.
    pub fn sit(&self, seat: &Arc<Seat>) {
        self.seats.lock().push(Arc::clone(seat));
    }

    /// Removes a client.
    pub fn rise(&self, seat: &Arc<Seat>) {
        self.seats.lock().retain(|other| !Arc::ptr_eq(other, seat));
    }

    /// The connected clients.
    pub fn seats(&self) -> Vec<Arc<Seat>> {
        self.seats.lock().clone()
    }

    /// Keeps the newest resume token that opens the session over HTTP, a host's rather than another's.
    pub fn keep_key(&self, token: &str, of_host: bool) {
        let mut key = self.key.lock();
        if of_host || !key.of_host {
            *key = Key { token: Some(token.to_owned()), of_host };
        }
    }

    /// The resume token that opens the session over HTTP, and whether it is a host's.
    pub fn key(&self) -> Option<(String, bool)> {
        let key = self.key.lock();
        key.token.clone().map(|token| (token, key.of_host))
    }

    /// Decodes a frame. One of a diff, which all clients of the room receive, is decoded once.
    ///
    /// # Errors
    /// Where it does not have the form of its type.
    pub fn read(&self, text: &str) -> Result<Received, serde_json::Error> {
        let head = head(text)?;
        let mut frame = match &*head.kind {
            "diff" | "more" => self.read_once(&head.kind, text)?,
            kind => decode(kind, text)?,
        };
        if let Frame::Welcome(_, snapshot) | Frame::State(snapshot) = &mut frame {
            self.share(&mut snapshot.participants);
        }
        Ok(Received { frame, chunk: head.chunk, chunks: head.chunks })
    }

    fn read_once(&self, kind: &str, text: &str) -> Result<Frame, serde_json::Error> {
        let mut recent = self.recent.lock();
        if let Some((_, frame)) = recent.iter().rev().find(|(known, _)| **known == *text) {
            return Ok(frame.clone());
        }
        let mut frame = decode(kind, text)?;
        match &mut frame {
            Frame::Diff(diff) => self.know(diff.joins.iter().chain(&diff.updates), &diff.leaves),
            Frame::More(more) => {
                self.know(more.joins.iter().chain(&more.updates), &more.leaves);
                if let Some(more) = Arc::get_mut(more) {
                    self.share(&mut more.participants);
                }
            }
            _ => {}
        }
        if recent.len() == RECENT {
            recent.pop_front();
        }
        recent.push_back((text.into(), frame.clone()));
        Ok(frame)
    }

    fn know<'a>(&self, changed: impl Iterator<Item = &'a Arc<Person>>, leaves: &[Leave]) {
        let mut known = self.known.lock();
        for person in changed {
            known.insert(person.id, Arc::clone(person));
        }
        for leave in leaves {
            known.remove(&leave.id);
        }
    }

    /// Replaces each participant that is equal to the shared copy by that copy.
    fn share(&self, people: &mut [Arc<Person>]) {
        let mut known = self.known.lock();
        for person in people {
            match known.get(&person.id) {
                Some(same) if same == person => *person = Arc::clone(same),
                _ => drop(known.insert(person.id, Arc::clone(person))),
            }
        }
    }
}

impl Seat {
    /// A client that was just welcomed.
    pub fn new(person: ParticipantId, view: View) -> Self {
        Self { person, view: Mutex::new(view), beats: Mutex::default() }
    }

    /// Takes the answer to a beat, and returns how long it took; `None` where no such beat waits.
    pub fn answered(&self, reference: u64, now: Instant) -> Option<Duration> {
        let mut beats = self.beats.lock();
        let place = beats.iter().position(|(number, _)| *number == reference)?;
        beats.remove(place).map(|(_, due)| now.saturating_duration_since(due))
    }
}
