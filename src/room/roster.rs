//! The people of a room: participants and their connections. Pure state; time is passed in.
//!
//! Every operation returns the [`Change`] that it made; publishing it is the room's task.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::liveness::Liveness;
use super::participant::Participant;
use super::rules::Timings;
use super::state::State;
use crate::clock::Moment;
use crate::domain::ids::{ConnectionId, ParticipantId, UserId};
use crate::domain::participant::{LeaveReason, Quality, Status};
use crate::domain::role::Role;
use crate::domain::subject::Subject;

/// A person who is admitted, with the result of the admission.
#[derive(Clone, Debug)]
pub struct Entrant {
    /// The person in this session.
    pub id: ParticipantId,
    /// Its account, `None` for a guest.
    pub user_id: Option<Subject>,
    /// Display name.
    pub name: Arc<str>,
    /// What it may do.
    pub role: Role,
    /// Its public state (JSON).
    pub state: State,
    /// When it came in.
    pub joined_at: DateTime<Utc>,
    /// Which of its resume tokens are good.
    pub generation: i32,
}

/// What an operation changed for the others in the room.
#[derive(Clone, Debug)]
pub enum Change {
    /// A person came in.
    Joined(ParticipantId),
    /// A person who is here looks different.
    Updated(ParticipantId),
    /// A person is gone, and looked like this.
    Left(Arc<Participant>, LeaveReason),
}

#[derive(Debug)]
struct Person {
    shown: Arc<Participant>,
    generation: i32,
    connections: Vec<(ConnectionId, Option<Quality>)>,
    /// When the last connection was lost; `Some` exactly while there is none.
    lost_at: Option<Moment>,
}

impl Person {
    fn deadline(&self, deadlines: &Deadlines) -> Option<Moment> {
        match (self.lost_at, self.shown.status) {
            (Some(lost_at), _) => Some(lost_at + deadlines.timings.grace),
            (None, Status::Active) => Some(deadlines.idle_at(&self.shown.liveness)),
            (None, _) => None,
        }
    }

    /// Shows what follows from the connections and the idle time; whether that is a change.
    fn refresh(&mut self, idle: bool) -> bool {
        let status = match (self.lost_at, idle) {
            (Some(_), _) => Status::Reconnecting,
            (None, true) => Status::Idle,
            (None, false) => Status::Active,
        };
        let quality = Quality::best(self.connections.iter().filter_map(|(_, quality)| *quality));
        let connections = u32::try_from(self.connections.len()).unwrap_or(u32::MAX);
        let shown = &self.shown;
        if (shown.status, shown.quality, shown.connections) == (status, quality, connections) {
            return false;
        }
        self.show(|shown| (shown.status, shown.quality, shown.connections) = (status, quality, connections));
        true
    }

    fn show(&mut self, change: impl FnOnce(&mut Participant)) {
        let mut shown = Participant::clone(&self.shown);
        change(&mut shown);
        self.shown = Arc::new(shown);
    }

    fn is_idle(&self) -> bool {
        self.shown.status == Status::Idle
    }
}

/// When graces and idle times end.
#[derive(Debug)]
struct Deadlines {
    timings: Timings,
    /// When the process went on after it had not run, and for how long it had not: a person may have done something
    /// meanwhile.
    resumed: Option<(Moment, Duration)>,
}

impl Deadlines {
    /// When a person becomes idle who does nothing more.
    fn idle_at(&self, liveness: &Liveness) -> Moment {
        let active = liveness.active();
        let counted = match self.resumed {
            Some((at, stalled)) if active < at => (active + stalled).min(at),
            _ => active,
        };
        counted + self.timings.idle_after
    }

    /// Gives those who were active before `now` the time in which the process did not run. What was given before is
    /// given still, as long as it matters to anyone.
    fn give_time(&mut self, stalled: Duration, now: Moment) {
        let before = self.resumed.filter(|(at, _)| *at + self.timings.idle_after + stalled > now);
        self.resumed = Some((now, before.map_or(stalled, |(_, given)| given + stalled)));
    }
}

/// The people of one room.
#[derive(Debug)]
pub struct Roster {
    deadlines: Deadlines,
    people: HashMap<ParticipantId, Person>,
    users: HashMap<UserId, ParticipantId>,
    /// No grace and no idle time ends before this; `None` where nothing ends. May be too early, since
    /// beats move deadlines without the roster, and is never too late.
    next_deadline: Option<Moment>,
}

impl Roster {
    /// Without people.
    pub fn new(timings: Timings) -> Self {
        let deadlines = Deadlines { timings, resumed: None };
        Self { deadlines, people: HashMap::new(), users: HashMap::new(), next_deadline: None }
    }

    /// How many people are here, with those who are reconnecting.
    pub fn occupancy(&self) -> usize {
        self.people.len()
    }

    /// One person.
    pub fn get(&self, id: ParticipantId) -> Option<&Arc<Participant>> {
        self.people.get(&id).map(|person| &person.shown)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Participant>> {
        self.people.values().map(|person| &person.shown)
    }

    /// The person of a user.
    pub fn find_user(&self, user: UserId) -> Option<ParticipantId> {
        self.users.get(&user).copied()
    }

    /// The answer that the store would give for a person who is here.
    pub fn entrant(&self, id: ParticipantId) -> Option<Entrant> {
        self.people.get(&id).map(|person| Entrant {
            id,
            user_id: person.shown.user_id.clone(),
            name: Arc::clone(&person.shown.name),
            role: person.shown.role,
            state: person.shown.state.clone(),
            joined_at: person.shown.joined_at,
            generation: person.generation,
        })
    }

    /// A connection of a person who was admitted. A person who is here already keeps its state and the time
    /// it came in; `liveness` is for one who is not.
    pub fn join(
        &mut self,
        entrant: Entrant,
        connection: ConnectionId,
        liveness: impl FnOnce() -> Arc<Liveness>,
    ) -> Change {
        let id = entrant.id;
        let change = if let Some(person) = self.people.get_mut(&id) {
            person.generation = entrant.generation;
            if (&person.shown.name, person.shown.role) != (&entrant.name, entrant.role) {
                person.show(|shown| (shown.name, shown.role) = (entrant.name, entrant.role));
            }
            Change::Updated(id)
        } else {
            self.admit(entrant, liveness());
            Change::Joined(id)
        };
        let person = self.people.get_mut(&id).expect("is here by now");
        person.connections.push((connection, None));
        person.lost_at = None;
        person.refresh(false);
        let deadline = person.deadline(&self.deadlines);
        self.note_deadline(deadline);
        change
    }

    /// A person whom the last run of this server left in the room: it is reconnecting since now.
    pub fn restore(&mut self, entrant: Entrant, liveness: Arc<Liveness>, now: Moment) -> Change {
        let id = entrant.id;
        self.admit(entrant, liveness);
        let person = self.people.get_mut(&id).expect("was just let in");
        person.lost_at = Some(now);
        person.refresh(false);
        let deadline = person.deadline(&self.deadlines);
        self.note_deadline(deadline);
        Change::Joined(id)
    }

    fn admit(&mut self, entrant: Entrant, liveness: Arc<Liveness>) {
        if let Some(user) = &entrant.user_id {
            self.users.insert(user.id(), entrant.id);
        }
        let shown = Arc::new(Participant {
            id: entrant.id,
            user_id: entrant.user_id,
            name: entrant.name,
            role: entrant.role,
            status: Status::Active,
            quality: None,
            connections: 0,
            joined_at: entrant.joined_at,
            state: entrant.state,
            liveness,
        });
        let person =
            Person { shown, generation: entrant.generation, connections: Vec::with_capacity(1), lost_at: None };
        self.people.insert(entrant.id, person);
    }

    /// A connection is gone without a word. The last one starts the grace.
    pub fn lose(&mut self, id: ParticipantId, connection: ConnectionId, now: Moment) -> Option<Change> {
        let person = self.people.get_mut(&id)?;
        let before = person.connections.len();
        person.connections.retain(|(open, _)| *open != connection);
        if person.connections.len() == before {
            return None;
        }
        if person.connections.is_empty() {
            person.lost_at = Some(now);
        }
        person.refresh(person.is_idle());
        let deadline = person.deadline(&self.deadlines);
        self.note_deadline(deadline);
        Some(Change::Updated(id))
    }

    /// A connection is gone that nobody comes back from. With the last one the person is gone at once, for this reason.
    pub fn leave(&mut self, id: ParticipantId, connection: ConnectionId, reason: LeaveReason) -> Option<Change> {
        let person = self.people.get_mut(&id)?;
        if person.connections.iter().all(|(open, _)| *open != connection) {
            return None;
        }
        if person.connections.len() == 1 {
            return self.remove(id, reason);
        }
        person.connections.retain(|(open, _)| *open != connection);
        person.refresh(person.is_idle());
        Some(Change::Updated(id))
    }

    /// A person is gone.
    pub fn remove(&mut self, id: ParticipantId, reason: LeaveReason) -> Option<Change> {
        let person = self.people.remove(&id)?;
        if let Some(user) = &person.shown.user_id {
            self.users.remove(&user.id());
        }
        Some(Change::Left(person.shown, reason))
    }

    /// A new public state.
    pub fn set_state(&mut self, id: ParticipantId, state: State) -> Option<Change> {
        self.people.get_mut(&id)?.show(|shown| shown.state = state);
        Some(Change::Updated(id))
    }

    /// A new quality of one connection; a change only where it changes the person's.
    pub fn set_quality(&mut self, id: ParticipantId, connection: ConnectionId, quality: Quality) -> Option<Change> {
        let person = self.people.get_mut(&id)?;
        let (_, known) = person.connections.iter_mut().find(|(open, _)| *open == connection)?;
        *known = Some(quality);
        person.refresh(person.is_idle()).then_some(Change::Updated(id))
    }

    /// A person did something: it is not idle any more.
    pub fn activate(&mut self, id: ParticipantId) -> Option<Change> {
        let person = self.people.get_mut(&id)?;
        person.shown.liveness.watch_activity(false);
        let changed = person.refresh(false);
        let deadline = person.deadline(&self.deadlines);
        self.note_deadline(deadline);
        changed.then_some(Change::Updated(id))
    }

    /// Gives those who are reconnecting, and those who are not idle yet, the time in which the process did not run.
    pub fn give_time(&mut self, stalled: Duration, now: Moment) {
        self.deadlines.give_time(stalled, now);
        for person in self.people.values_mut() {
            person.lost_at = person.lost_at.map(|lost_at| (lost_at + stalled).min(now));
        }
    }

    /// What the passing of time did: graces that ran out, people who became idle.
    pub fn expire(&mut self, now: Moment) -> Vec<Change> {
        if self.next_deadline.is_none_or(|deadline| deadline > now) {
            return Vec::new();
        }
        let due: Vec<_> = self
            .people
            .values()
            .filter(|person| person.deadline(&self.deadlines).is_some_and(|deadline| deadline <= now))
            .map(|person| (person.shown.id, person.lost_at.is_some()))
            .collect();
        let changes = due
            .into_iter()
            .filter_map(|(id, lost)| if lost { self.remove(id, LeaveReason::Timeout) } else { self.idle(id, now) })
            .collect();
        self.next_deadline = self.people.values().filter_map(|person| person.deadline(&self.deadlines)).min();
        changes
    }

    fn idle(&mut self, id: ParticipantId, now: Moment) -> Option<Change> {
        let person = self.people.get_mut(&id)?;
        let liveness = &person.shown.liveness;
        liveness.watch_activity(true);
        // A beat before the watch was set did not reach the room: check again.
        if self.deadlines.idle_at(liveness) > now {
            liveness.watch_activity(false);
            return None;
        }
        person.refresh(true).then_some(Change::Updated(id))
    }

    /// When [`Roster::expire`] should be called next, at the latest.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.next_deadline
    }

    fn note_deadline(&mut self, deadline: Option<Moment>) {
        self.next_deadline = self.next_deadline.into_iter().chain(deadline).min();
    }
}

#[cfg(test)]
mod tests;
