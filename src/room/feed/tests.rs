use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::*;
use crate::domain::document::Document;
use crate::domain::ids::SessionId;
use crate::domain::participant::{LeaveReason, Status};
use crate::domain::reading_session::CloseReason;
use crate::domain::role::Role;
use crate::room::Liveness;
use crate::room::diff::Changes;
use crate::room::notice::Phase;
use crate::room::snapshot::{List, People};

/// The host, who never leaves, and the others.
const PEOPLE: usize = 4;

/// A room as simple as it can be: what is true now, and the events that lead to it.
struct Model {
    ids: [ParticipantId; PEOPLE],
    /// Who is here, and the number of each person's last change.
    people: BTreeMap<usize, u32>,
    changes: u32,
    seq: u64,
    title: u32,
    is_revised: bool,
    expires_at: Option<Moment>,
    running: Option<Uuid>,
    completed: Option<Uuid>,
    end: Option<Gone>,
    /// Events that the subscriber has not received yet.
    in_flight: VecDeque<Event>,
    published: u64,
}

/// What a client makes of the messages.
#[derive(PartialEq, Eq, Debug)]
struct View {
    people: BTreeMap<ParticipantId, u32>,
    seq: u64,
    title: u32,
    /// When the session expires, and the last change of the host when that was sent: a later one takes it
    /// back.
    expires_at: Option<(Moment, u32)>,
    running: Option<Uuid>,
}

#[derive(Clone, Debug)]
enum Op {
    Change {
        who: usize,
    },
    Leave {
        who: usize,
    },
    /// The room fell to its detail limit by the change of a person.
    Refresh {
        who: usize,
    },
    Title,
    Expiring,
    StartSit,
    EndSit,
    RemoveOther,
    End {
        gone: usize,
    },
    /// The subscriber receives events; the client reads too slowly where `is_slow`.
    Deliver {
        events: usize,
        is_slow: bool,
    },
    Ask,
    CatchUp,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..PEOPLE).prop_map(|who| Op::Change { who }),
        2 => (1..PEOPLE).prop_map(|who| Op::Leave { who }),
        2 => (0..PEOPLE).prop_map(|who| Op::Refresh { who }),
        2 => Just(Op::Title),
        2 => Just(Op::Expiring),
        1 => Just(Op::StartSit),
        1 => Just(Op::EndSit),
        1 => Just(Op::RemoveOther),
        8 => (1..4_usize, prop::bool::weighted(0.2)).prop_map(|(events, is_slow)| Op::Deliver { events, is_slow }),
        2 => Just(Op::Ask),
        4 => Just(Op::CatchUp),
    ]
}

impl Model {
    fn new() -> Self {
        Self {
            ids: std::array::from_fn(|_| ParticipantId::new()),
            people: BTreeMap::from([(0, 0)]),
            changes: 0,
            seq: 0,
            title: 0,
            is_revised: false,
            expires_at: None,
            running: None,
            completed: None,
            end: None,
            in_flight: VecDeque::new(),
            published: 0,
        }
    }

    fn participant(&self, who: usize) -> Arc<Participant> {
        let at = Moment::from_millis(0);
        Arc::new(Participant {
            id: self.ids[who],
            user_id: None,
            name: "Person".into(),
            role: Role::Guest,
            status: Status::Active,
            quality: None,
            connections: self.people[&who],
            joined_at: DateTime::UNIX_EPOCH,
            state: Document::from(RawValue::from_string("{}".to_owned()).expect("JSON")),
            liveness: Liveness::new(self.ids[who], SessionId::new(), at, at),
        })
    }

    fn session(&self) -> Arc<ReadingSession> {
        Arc::new(ReadingSession {
            id: SessionId::new(),
            title: Some(self.title.to_string()),
            host_user_id: None,
            max_participants: 20,
            created_at: DateTime::UNIX_EPOCH,
            last_seen_at: DateTime::UNIX_EPOCH,
            last_activity_at: DateTime::UNIX_EPOCH,
            closed: None,
        })
    }

    fn running(id: Uuid) -> Notice {
        Notice { kind: "sit", id, phase: Phase::Running { started_at: Utc::now(), ends_at: Utc::now() } }
    }

    fn over(id: Uuid) -> Notice {
        Notice { kind: "sit", id, phase: Phase::Over }
    }

    fn caught_up(&self) -> CaughtUp {
        let people = self.people.keys().map(|who| self.participant(*who)).collect();
        let list = Arc::new(List { people, encodings: Default::default() });
        CaughtUp {
            events: self.published,
            snapshot: Snapshot {
                seq: self.seq,
                occupancy: self.people.len(),
                people: Some(People { list, newer: Vec::new() }),
            },
            own: None,
            session: self.is_revised.then(|| self.session()),
            expires_at: self.expires_at,
            notices: self.running.map(Self::running).or(self.completed.map(Self::over)).into_iter().collect(),
        }
    }

    fn publish(&mut self, event: Event) {
        self.published += 1;
        self.in_flight.push_back(event);
    }

    fn publish_diff(&mut self, changes: Changes) {
        self.seq += 1;
        let (seq, occupancy) = (self.seq, self.people.len());
        self.publish(Event::Diff(Arc::new(Diff {
            seq,
            occupancy,
            changes: Some(changes),
            encodings: Default::default(),
        })));
    }

    /// A person comes, or does something. The host's activity takes the notice back.
    fn change(&mut self, who: usize) {
        self.changes += 1;
        self.people.insert(who, self.changes);
        if who == 0 {
            self.expires_at = None;
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Change { who } => {
                self.change(who);
                let updates = vec![self.participant(who)];
                self.publish_diff(Changes { updates, ..Changes::default() });
            }
            Op::Leave { who } if self.people.remove(&who).is_some() => {
                let leaves = vec![(self.ids[who], LeaveReason::Left)];
                self.publish_diff(Changes { leaves, ..Changes::default() });
            }
            Op::Refresh { who } => {
                self.change(who);
                self.publish(Event::Refresh);
            }
            Op::Title => {
                (self.title, self.is_revised) = (self.title + 1, true);
                let session = self.session();
                self.publish(Event::Session(session));
            }
            Op::Expiring if self.expires_at.is_none() => {
                self.changes += 1;
                let at = Moment::from_millis(self.changes.into());
                self.expires_at = Some(at);
                self.publish(Event::Expiring(at));
            }
            Op::StartSit if self.running.is_none() => {
                let id = Uuid::now_v7();
                self.running = Some(id);
                self.publish(Event::Notice(Arc::new(Self::running(id))));
            }
            Op::EndSit => {
                if let Some(id) = self.running.take() {
                    self.completed = Some(id);
                    self.publish(Event::Notice(Arc::new(Self::over(id))));
                }
            }
            Op::RemoveOther => self.publish(Event::Removed(ParticipantId::new())),
            Op::End { gone } if self.end.is_none() => {
                let ends = [
                    (Gone::Removed, Event::Removed(self.ids[0])),
                    (Gone::Closed(CloseReason::Host), Event::Closed(CloseReason::Host)),
                    (Gone::Draining, Event::Draining),
                ];
                let (gone, event) = ends[gone].clone();
                self.end = Some(gone);
                self.publish(event);
            }
            _ => {}
        }
    }

    /// What a client that missed nothing knows.
    fn known(&self) -> View {
        View {
            people: self.people.iter().map(|(who, change)| (self.ids[*who], *change)).collect(),
            seq: self.seq,
            title: self.title,
            expires_at: self.expires_at.map(|at| (at, self.people[&0])),
            running: self.running,
        }
    }
}

impl View {
    /// Takes a message as a client does. A diff must be the next one.
    fn take(&mut self, message: Message<'_>, host: ParticipantId) {
        match message {
            Message::State { snapshot, .. } => {
                let people = snapshot.people.as_ref().expect("a list");
                self.people = people.iter().map(|person| (person.id, person.connections)).collect();
                assert!(snapshot.seq >= self.seq, "a snapshot that is older than what the client knows");
                self.seq = snapshot.seq;
            }
            Message::Diff(diff) => {
                assert_eq!(diff.seq, self.seq + 1, "a hole, or a diff that is sent again");
                self.seq = diff.seq;
                let changes = diff.changes.as_ref().expect("names");
                for person in &changes.updates {
                    self.people.insert(person.id, person.connections);
                }
                for (id, _) in &changes.leaves {
                    self.people.remove(id);
                }
            }
            Message::Session(session) => {
                self.title = session.title.as_deref().expect("a title").parse().expect("a number");
            }
            Message::Expiring(at) => self.expires_at = Some((at, self.people[&host])),
            Message::Notice(notice) => self.running = notice.is_running().then_some(notice.id),
        }
        self.expires_at.take_if(|(_, change)| self.people[&host] != *change);
    }
}

/// A subscriber of the model, and the client behind it.
struct Run {
    model: Model,
    feed: Feed,
    view: View,
    sent: usize,
}

impl Run {
    fn new() -> Self {
        let model = Model::new();
        let (feed, view) = (Feed::new(Some(model.ids[0])), model.known());
        Self { model, feed, view, sent: 0 }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Deliver { events, is_slow } => self.deliver(events, is_slow),
            Op::Ask => self.feed.ask(),
            Op::CatchUp => self.catch_up(),
            _ => self.model.apply(op),
        }
    }

    fn deliver(&mut self, events: usize, is_slow: bool) {
        for _ in 0..events {
            let Some(event) = self.model.in_flight.pop_front() else { break };
            if let Some(message) = self.feed.receive(&event) {
                self.sent += 1;
                self.view.take(message, self.model.ids[0]);
            }
        }
        if is_slow {
            self.feed.fall_behind();
        }
    }

    fn catch_up(&mut self) {
        // A room that has ended gives no snapshot.
        if self.feed.needs_snapshot() && self.model.end.is_none() {
            let now = self.model.caught_up();
            for message in self.feed.catch_up(&now) {
                self.sent += 1;
                self.view.take(message, self.model.ids[0]);
            }
        }
    }

    fn settle(&mut self) {
        self.deliver(usize::MAX, false);
        self.catch_up();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn after_any_interleaving_the_client_knows_what_is_true(ops in prop::collection::vec(op(), 1..60)) {
        let mut run = Run::new();
        for op in &ops {
            run.apply(op);
        }
        run.settle();
        prop_assert_eq!(&run.view, &run.model.known());
        prop_assert!(!run.feed.needs_snapshot() && run.feed.end().is_none());
    }

    #[test]
    fn an_end_is_never_missed_and_nothing_is_sent_after_it(
        before in prop::collection::vec(op(), 0..20),
        gone in 0..3_usize,
        after in prop::collection::vec(op(), 0..20),
    ) {
        let mut run = Run::new();
        for op in before.iter().chain([&Op::End { gone }]).chain(&after) {
            run.apply(op);
        }
        run.settle();
        prop_assert_eq!(run.feed.end(), run.model.end);
        let sent = run.sent;
        run.apply(&Op::Change { who: 1 });
        run.apply(&Op::Title);
        run.settle();
        prop_assert_eq!(run.sent, sent);
    }
}

/// The kinds of messages of a catch-up.
fn kinds(feed: &mut Feed, now: &CaughtUp) -> Vec<&'static str> {
    let kind = |message| match message {
        Message::State { .. } => "state",
        Message::Diff(_) => "diff",
        Message::Session(_) => "session",
        Message::Expiring(_) => "expiring",
        Message::Notice(notice) if notice.is_running() => "running",
        Message::Notice(_) => "over",
    };
    feed.catch_up(now).map(kind).collect()
}

#[test]
fn what_is_sent_with_a_snapshot_depends_on_why_it_is_needed() {
    let mut model = Model::new();
    for op in [Op::Title, Op::Expiring, Op::StartSit] {
        model.apply(&op);
    }
    let received = |model: &Model| {
        let mut feed = Feed::new(None);
        for event in &model.in_flight {
            let _ = feed.receive(event);
        }
        feed
    };
    let mut feed = received(&model);
    assert_eq!(feed.receive(&Event::Refresh).map(|_| ()), None);
    model.publish(Event::Refresh);
    assert!(feed.needs_snapshot() && !feed.is_asked());
    assert_eq!(kinds(&mut feed, &model.caught_up()), ["state"]);
    assert!(!feed.needs_snapshot());
    feed.ask();
    assert!(feed.needs_snapshot() && feed.is_asked());
    assert_eq!(kinds(&mut feed, &model.caught_up()), ["state", "running"]);
    assert!(feed.fall_behind() && !feed.fall_behind(), "it is new once");
    assert_eq!(kinds(&mut feed, &model.caught_up()), ["state", "session", "expiring", "running"]);

    let mut model = Model::new();
    for op in [Op::Title, Op::Expiring, Op::StartSit, Op::EndSit] {
        model.apply(&op);
    }
    let mut feed = received(&model);
    feed.ask();
    assert_eq!(kinds(&mut feed, &model.caught_up()), ["state"]);
    feed.ask();
    feed.fall_behind();
    assert_eq!(kinds(&mut feed, &model.caught_up()), ["state", "session", "expiring", "over"]);
}

/// A notice that is on its way while it is taken back, and a snapshot is sent that shows by whom.
#[test]
fn a_notice_that_was_taken_back_is_not_sent_after_the_snapshot() {
    let mut run = Run::new();
    run.apply(&Op::Expiring);
    run.apply(&Op::Change { who: 0 });
    run.apply(&Op::Ask);
    run.apply(&Op::CatchUp);
    assert_eq!(run.sent, 1);
    run.settle();
    assert_eq!((run.sent, run.view.expires_at), (1, None));
}

/// What is on its way with a notice that still holds is sent with the snapshot instead, once.
#[test]
fn a_notice_that_is_on_its_way_is_not_lost_by_a_snapshot() {
    let mut run = Run::new();
    run.apply(&Op::Title);
    run.apply(&Op::Ask);
    run.apply(&Op::CatchUp);
    assert_eq!((run.sent, run.view.title), (2, 1));
    run.settle();
    assert_eq!(run.sent, 2);
}

#[test]
fn a_closed_feed_sends_nothing() {
    let mut model = Model::new();
    let mut feed = Feed::new(None);
    feed.ask();
    feed.close();
    model.apply(&Op::Title);
    assert!(feed.receive(&model.in_flight[0]).is_none() && !feed.needs_snapshot());
}
