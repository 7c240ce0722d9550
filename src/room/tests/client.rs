//! A client of a room: it folds what it receives into a view.

use super::*;

/// What a client keeps of a person.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Looks {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) status: Status,
    pub(super) quality: Option<Quality>,
    pub(super) connections: u32,
    pub(super) state: String,
}

impl From<&Arc<Participant>> for Looks {
    fn from(person: &Arc<Participant>) -> Self {
        Self {
            name: person.name.to_string(),
            role: person.role,
            status: person.status,
            quality: person.quality,
            connections: person.connections,
            state: person.state.get().to_owned(),
        }
    }
}

pub(super) type Known = BTreeMap<ParticipantId, Looks>;

pub(super) fn people(of: &[Arc<Participant>]) -> Known {
    of.iter().map(|person| (person.id, Looks::from(person))).collect()
}

/// What a client makes of a snapshot and the events after it.
#[derive(Debug)]
pub(super) struct View {
    pub(super) seq: u64,
    pub(super) occupancy: usize,
    /// `None` where only the count is sent.
    pub(super) people: Option<Known>,
}

impl From<&Snapshot> for View {
    fn from(snapshot: &Snapshot) -> Self {
        let people = snapshot.people.as_ref().map(|people| {
            let listed: Known = people.iter().map(|person| (person.id, Looks::from(person))).collect();
            assert_eq!(listed.len(), people.iter().count(), "a person is listed twice");
            listed
        });
        Self { seq: snapshot.seq, occupancy: snapshot.occupancy, people }
    }
}

impl View {
    pub(super) fn apply(&mut self, diff: &Diff) {
        if diff.seq <= self.seq {
            return;
        }
        assert_eq!(diff.seq, self.seq + 1, "a gap in what a client receives");
        (self.seq, self.occupancy) = (diff.seq, diff.occupancy);
        let Some(changes) = &diff.changes else {
            self.people = None;
            return;
        };
        let people = self.people.as_mut().expect("a client without the list is sent no diff with names");
        for person in changes.joins.iter().chain(&changes.updates) {
            people.insert(person.id, Looks::from(person));
        }
        for (id, _) in &changes.leaves {
            people.remove(id);
        }
    }
}

/// Events that a subscriber of these tests may fall behind.
pub(super) const EVENTS: usize = 16;

impl Subscriber for broadcast::Sender<Event> {
    fn receive(&self, events: &[Event]) {
        for event in events {
            // Fails where the receiver is gone.
            let _ = self.send(event.clone());
        }
    }
}

/// A connection, and the view that it makes of what it receives.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) seat: Seat,
    pub(super) events: broadcast::Receiver<Event>,
    pub(super) view: View,
    pub(super) ended: Option<Gone>,
}

/// Joins, with a queue for events.
pub(super) fn join(room: &Arc<Room>, entrant: Entrant, place: Option<Reservation>) -> Result<Client, JoinError> {
    Client::new(|subscriber| room.join(entrant, place, subscriber))
}

/// The same as an observer.
pub(super) fn observe(room: &Arc<Room>) -> Result<Client, JoinError> {
    Client::new(|subscriber| room.observe(subscriber))
}

impl Client {
    pub(super) fn new(
        come_in: impl FnOnce(Arc<dyn Subscriber>) -> Result<Joined, JoinError>,
    ) -> Result<Self, JoinError> {
        let (queue, events) = broadcast::channel(EVENTS);
        let Joined { seat, snapshot, .. } = come_in(Arc::new(queue))?;
        Ok(Self { seat, events, view: View::from(&snapshot), ended: None })
    }

    pub(super) fn id(&self) -> ParticipantId {
        self.seat.participant().expect("not an observer")
    }

    pub(super) fn shown(&self) -> Arc<Participant> {
        self.seat.shown().expect("is here")
    }

    /// Takes what was sent since the last time, and applies it to the view.
    pub(super) fn received(&mut self) -> Vec<Event> {
        let mut received = Vec::new();
        loop {
            match self.events.try_recv() {
                Ok(event) => {
                    self.follow(&event);
                    received.push(event);
                }
                Err(TryRecvError::Lagged(_)) => self.catch_up(),
                Err(TryRecvError::Empty) => return received,
                Err(TryRecvError::Closed) => unreachable!("the seat keeps the room alive"),
            }
        }
    }

    pub(super) fn follow(&mut self, event: &Event) {
        match event {
            // The connection has ended; what it still receives is ignored.
            _ if self.ended.is_some() => {}
            Event::Diff(diff) => self.view.apply(diff),
            Event::Refresh => self.catch_up(),
            Event::Removed(id) if self.seat.participant() == Some(*id) => self.ended = Some(Gone::Removed),
            Event::Closed(reason) => self.ended = Some(Gone::Closed(*reason)),
            Event::Draining => self.ended = Some(Gone::Draining),
            Event::Removed(_) | Event::Session(_) | Event::Expiring(_) | Event::Notice(_) => {}
        }
    }

    pub(super) fn catch_up(&mut self) {
        match self.seat.catch_up() {
            Ok(caught_up) => self.view = View::from(&caught_up.snapshot),
            Err(gone) => self.ended = Some(gone),
        }
    }

    /// The one diff that was sent since the last time, and nothing else.
    pub(super) fn received_diff(&mut self) -> Arc<Diff> {
        match self.received().as_slice() {
            [Event::Diff(diff)] => Arc::clone(diff),
            other => panic!("one diff was expected, not {other:?}"),
        }
    }

    pub(super) fn received_changes(&mut self) -> Named {
        Named::from(self.received_diff().changes.as_ref().expect("names, not a count"))
    }

    pub(super) fn received_nothing(&mut self) {
        let received = self.received();
        assert!(received.is_empty(), "{received:?}");
    }

    pub(super) fn received_notice(&mut self) -> Option<Moment> {
        let received = self.received();
        let mut notices = received.iter().filter_map(|event| match event {
            Event::Expiring(at) => Some(*at),
            _ => None,
        });
        let notice = notices.next();
        assert_eq!(notices.next(), None, "the notice is given once");
        notice
    }
}

/// The people in a diff.
#[derive(PartialEq, Eq, Default, Debug)]
pub(super) struct Named {
    pub(super) joins: Vec<ParticipantId>,
    pub(super) updates: Vec<ParticipantId>,
    pub(super) leaves: Vec<(ParticipantId, LeaveReason)>,
}

impl From<&Changes> for Named {
    fn from(changes: &Changes) -> Self {
        let ids = |people: &[Arc<Participant>]| people.iter().map(|person| person.id).collect();
        Self { joins: ids(&changes.joins), updates: ids(&changes.updates), leaves: changes.leaves.clone() }
    }
}

pub(super) fn joins(ids: impl IntoIterator<Item = ParticipantId>) -> Named {
    Named { joins: ids.into_iter().collect(), ..Named::default() }
}

pub(super) fn updates(id: ParticipantId) -> Named {
    Named { updates: vec![id], ..Named::default() }
}

pub(super) fn leaves(id: ParticipantId, reason: LeaveReason) -> Named {
    Named { leaves: vec![(id, reason)], ..Named::default() }
}
