use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use proptest::prelude::*;
use serde_json::value::RawValue;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::TryRecvError;

use super::publisher::{LARGE, NEWER, back_to_people};
use super::*;
use crate::clock::{Clock, Moment};
use crate::domain::idle::{IdleCounts, IdleRule};
use crate::domain::reading_session::ReadingSession;
use crate::ids::{ParticipantId, SessionId, UserId};

const GRACE: Duration = Duration::from_secs(15);
const IDLE_AFTER: Duration = Duration::from_mins(5);
const DIFF: Duration = Duration::from_millis(100);
const DIFF_LARGE: Duration = Duration::from_secs(1);
const IDLE_TIMEOUT: Duration = Duration::from_hours(1);
const NOTICE: Duration = Duration::from_mins(5);
const A_MILLISECOND: Duration = Duration::from_millis(1);

fn rules() -> Rules {
    Rules {
        timings: Timings { grace: GRACE, idle_after: IDLE_AFTER },
        diff_interval: DIFF,
        diff_interval_large: DIFF_LARGE,
        detail_limit: 500,
        idle: IdleRule { timeout: IDLE_TIMEOUT, counts: IdleCounts::Seen },
        expiring_notice: NOTICE,
    }
}

/// A server without anything but rooms, and one session in it. Time stands still until it is passed.
struct World {
    registry: Registry,
    session: ReadingSession,
    counted: Arc<Counted>,
}

/// What the rooms counted.
#[derive(Debug, Default)]
struct Counted {
    joins: AtomicUsize,
    leaves: [AtomicUsize; LeaveReason::ALL.len()],
    diffs: AtomicUsize,
}

impl Counted {
    fn joins(&self) -> usize {
        self.joins.load(Ordering::Relaxed)
    }

    fn leaves(&self, reason: LeaveReason) -> usize {
        self.leaves[reason as usize].load(Ordering::Relaxed)
    }
}

impl RoomMetrics for Counted {
    fn joined(&self) {
        self.joins.fetch_add(1, Ordering::Relaxed);
    }

    fn left(&self, reason: LeaveReason, people: usize) {
        self.leaves[reason as usize].fetch_add(people, Ordering::Relaxed);
    }

    fn diff_published(&self) {
        self.diffs.fetch_add(1, Ordering::Relaxed);
    }
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Rules)) -> Self {
        let mut rules = rules();
        change(&mut rules);
        let counted = Arc::new(Counted::default());
        let shared = Shared {
            rules,
            clock: Clock::new(),
            write_behind: Arc::default(),
            schedule: Schedule::default(),
            features: Vec::new(),
            metrics: Arc::clone(&counted) as Arc<dyn RoomMetrics>,
        };
        Self { registry: Registry::new(Arc::new(shared)), session: session(), counted }
    }

    fn holding(mut self, max_participants: usize) -> Self {
        self.session.max_participants = max_participants;
        self
    }

    fn shared(&self) -> &Shared {
        self.registry.shared()
    }

    fn now(&self) -> Moment {
        self.shared().clock.now()
    }

    fn room(&self) -> Arc<Room> {
        self.registry.open(self.session.clone())
    }

    fn is_in_memory(&self) -> bool {
        self.registry.find(self.session.id).is_some()
    }

    fn join(&self, entrant: &Entrant) -> Client {
        join(&self.room(), entrant.clone(), None).expect("there is a place")
    }

    fn observe(&self) -> Client {
        observe(&self.room()).expect("the room is open")
    }

    /// Lets time pass and does what the server's ticker does: each room is ticked when the schedule says.
    /// So a deadline that a room forgot to announce does not come.
    async fn pass(&self, time: Duration) {
        let until = self.now() + time;
        while let Some(next) = self.shared().schedule.next().filter(|next| *next <= until) {
            tokio::time::advance(next.since(self.now())).await;
            for due in self.shared().schedule.due(self.now()) {
                self.registry.tick(due, self.now());
            }
        }
        tokio::time::advance(until.since(self.now())).await;
    }

    /// Lets everybody hear of what changed.
    async fn tick(&self) {
        self.pass(DIFF).await;
    }

    /// How the write-behind would tell the store that somebody is gone.
    fn written_leave(&self, id: ParticipantId) -> Option<LeaveReason> {
        let chunks = self.shared().write_behind.take(usize::MAX);
        let row = chunks.iter().flat_map(|chunk| chunk.rows()).find(|row| row.participant() == id);
        row.and_then(|row| row.left)
    }
}

fn session() -> ReadingSession {
    ReadingSession {
        id: SessionId::new(),
        title: None,
        host_user_id: None,
        max_participants: 1000,
        created_at: Utc::now(),
        last_seen_at: Utc::now(),
        last_activity_at: Utc::now(),
        closed: None,
    }
}

fn state(page: u8) -> State {
    State::from(RawValue::from_string(format!("{{\"page\":{page}}}")).expect("valid JSON"))
}

fn entrant(name: &str) -> Entrant {
    Entrant {
        id: ParticipantId::new(),
        user_id: None,
        name: name.into(),
        role: Role::Guest,
        state: state(0),
        joined_at: DateTime::UNIX_EPOCH,
        generation: 0,
    }
}

/// What a client keeps of a person.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Looks {
    name: String,
    role: Role,
    status: Status,
    quality: Option<Quality>,
    connections: u32,
    state: String,
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

type Known = BTreeMap<ParticipantId, Looks>;

fn people(of: &[Arc<Participant>]) -> Known {
    of.iter().map(|person| (person.id, Looks::from(person))).collect()
}

/// What a client makes of a snapshot and the events after it.
#[derive(Debug)]
struct View {
    seq: u64,
    occupancy: usize,
    /// `None` where only the count is told.
    people: Option<Known>,
}

impl From<&Snapshot> for View {
    fn from(snapshot: &Snapshot) -> Self {
        let people = snapshot.people.as_ref().map(|people| {
            let listed: Known = people.iter().map(|person| (person.id, Looks::from(person))).collect();
            assert_eq!(listed.len(), people.iter().count(), "somebody is listed twice");
            listed
        });
        Self { seq: snapshot.seq, occupancy: snapshot.occupancy, people }
    }
}

impl View {
    fn apply(&mut self, diff: &Diff) {
        if diff.seq <= self.seq {
            return;
        }
        assert_eq!(diff.seq, self.seq + 1, "a hole in what a client hears");
        (self.seq, self.occupancy) = (diff.seq, diff.occupancy);
        let Some(changes) = &diff.changes else {
            self.people = None;
            return;
        };
        let people = self.people.as_mut().expect("a diff makes no sense to somebody who never got the list");
        for person in changes.joins.iter().chain(&changes.updates) {
            people.insert(person.id, Looks::from(person));
        }
        for (id, _) in &changes.leaves {
            people.remove(id);
        }
    }
}

/// Events that a subscriber of these tests may fall behind.
const EVENTS: usize = 16;

impl Subscriber for broadcast::Sender<Event> {
    fn receive(&self, events: &[Event]) {
        for event in events {
            // Fails where the receiver is gone.
            let _ = self.send(event.clone());
        }
    }
}

/// A connection and what it makes of what it hears.
#[derive(Debug)]
struct Client {
    seat: Seat,
    events: broadcast::Receiver<Event>,
    view: View,
    ended: Option<Gone>,
}

/// Comes in and listens by a queue.
fn join(room: &Arc<Room>, entrant: Entrant, place: Option<Reservation>) -> Result<Client, JoinError> {
    Client::new(|subscriber| room.join(entrant, place, subscriber))
}

/// The same for somebody who only watches.
fn observe(room: &Arc<Room>) -> Result<Client, JoinError> {
    Client::new(|subscriber| room.observe(subscriber))
}

impl Client {
    fn new(come_in: impl FnOnce(Arc<dyn Subscriber>) -> Result<Joined, JoinError>) -> Result<Self, JoinError> {
        let (queue, events) = broadcast::channel(EVENTS);
        let Joined { seat, snapshot, .. } = come_in(Arc::new(queue))?;
        Ok(Self { seat, events, view: View::from(&snapshot), ended: None })
    }

    fn id(&self) -> ParticipantId {
        self.seat.participant().expect("not an observer")
    }

    fn shown(&self) -> Arc<Participant> {
        self.seat.shown().expect("is here")
    }

    /// Takes what was told since the last time; what a connection does, it does here.
    fn hear(&mut self) -> Vec<Event> {
        let mut heard = Vec::new();
        loop {
            match self.events.try_recv() {
                Ok(event) => {
                    self.follow(&event);
                    heard.push(event);
                }
                Err(TryRecvError::Lagged(_)) => self.catch_up(),
                Err(TryRecvError::Empty) => return heard,
                Err(TryRecvError::Closed) => unreachable!("the seat keeps the room alive"),
            }
        }
    }

    fn follow(&mut self, event: &Event) {
        match event {
            // The connection has ended; what it still hears means nothing to it.
            _ if self.ended.is_some() => {}
            Event::Diff(diff) => self.view.apply(diff),
            Event::Refresh => self.catch_up(),
            Event::Removed(id) if self.seat.participant() == Some(*id) => self.ended = Some(Gone::Removed),
            Event::Closed(reason) => self.ended = Some(Gone::Closed(*reason)),
            Event::Draining => self.ended = Some(Gone::Draining),
            Event::Removed(_) | Event::Session(_) | Event::Expiring(_) | Event::Notice(_) => {}
        }
    }

    fn catch_up(&mut self) {
        match self.seat.catch_up() {
            Ok(caught_up) => self.view = View::from(&caught_up.snapshot),
            Err(gone) => self.ended = Some(gone),
        }
    }

    /// The one diff that came since the last time, and nothing else.
    fn hear_diff(&mut self) -> Arc<Diff> {
        match self.hear().as_slice() {
            [Event::Diff(diff)] => Arc::clone(diff),
            other => panic!("one diff was expected, not {other:?}"),
        }
    }

    fn hear_changes(&mut self) -> Named {
        Named::from(self.hear_diff().changes.as_ref().expect("names, not a count"))
    }

    fn hears_nothing(&mut self) {
        let heard = self.hear();
        assert!(heard.is_empty(), "{heard:?}");
    }

    fn hear_notice(&mut self) -> Option<Moment> {
        let heard = self.hear();
        let mut notices = heard.iter().filter_map(|event| match event {
            Event::Expiring(at) => Some(*at),
            _ => None,
        });
        let notice = notices.next();
        assert_eq!(notices.next(), None, "the notice is given once");
        notice
    }
}

/// Whom a diff names.
#[derive(PartialEq, Eq, Default, Debug)]
struct Named {
    joins: Vec<ParticipantId>,
    updates: Vec<ParticipantId>,
    leaves: Vec<(ParticipantId, LeaveReason)>,
}

impl From<&Changes> for Named {
    fn from(changes: &Changes) -> Self {
        let ids = |people: &[Arc<Participant>]| people.iter().map(|person| person.id).collect();
        Self { joins: ids(&changes.joins), updates: ids(&changes.updates), leaves: changes.leaves.clone() }
    }
}

fn joins(ids: impl IntoIterator<Item = ParticipantId>) -> Named {
    Named { joins: ids.into_iter().collect(), ..Named::default() }
}

fn updates(id: ParticipantId) -> Named {
    Named { updates: vec![id], ..Named::default() }
}

fn leaves(id: ParticipantId, reason: LeaveReason) -> Named {
    Named { leaves: vec![(id, reason)], ..Named::default() }
}

/// A world with somebody in it who watches what happens and has heard of everything so far.
async fn watched(world: World) -> (World, Client) {
    let mut watcher = world.join(&entrant("Watcher"));
    world.tick().await;
    watcher.hear();
    (world, watcher)
}

/// People who are all here, each with one connection.
fn crowd(world: &World, size: usize) -> Vec<Client> {
    (0..size).map(|_| world.join(&entrant("One of many"))).collect()
}

/// The list of people that whoever asks now is given, and how many came since it was made.
fn listed(world: &World) -> (Arc<List>, usize) {
    let People { list, newer } = world.room().snapshot().people.expect("names, not a count");
    (list, newer.len())
}

// Steps

#[tokio::test(start_paused = true)]
async fn a_newcomer_finds_itself_in_the_snapshot_and_the_others_hear_of_it() {
    let (world, mut watcher) = watched(World::new()).await;
    let ada = world.join(&entrant("Ada"));
    let listed = ada.view.people.as_ref().expect("names");
    assert_eq!((ada.view.occupancy, listed.len()), (2, 2));
    assert!(listed.contains_key(&ada.id()));
    world.tick().await;
    assert_eq!(watcher.hear_changes(), joins([ada.id()]));
    assert_eq!(watcher.view.people, ada.view.people);
    assert_eq!(world.counted.joins(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_changes_within_one_interval_is_published_as_one_diff() {
    let (world, mut watcher) = watched(World::new()).await;
    let ada = world.join(&entrant("Ada"));
    world.pass(DIFF - A_MILLISECOND).await;
    let bob = world.join(&entrant("Bob"));
    watcher.hears_nothing();

    world.pass(A_MILLISECOND).await;
    assert_eq!(watcher.hear_changes(), joins([ada.id(), bob.id()]));
    let seq = watcher.view.seq;

    ada.seat.set_state(state(1));
    world.pass(DIFF - A_MILLISECOND).await;
    watcher.hears_nothing();
    world.pass(A_MILLISECOND).await;
    assert_eq!(watcher.hear_changes(), updates(ada.id()));
    assert_eq!(watcher.view.seq, seq + 1);
    world.pass(DIFF * 10).await;
    watcher.hears_nothing();
}

#[tokio::test(start_paused = true)]
async fn who_joins_and_leaves_within_one_interval_appears_as_a_leave() {
    let (world, mut watcher) = watched(World::new()).await;
    let ada = world.join(&entrant("Ada"));
    let id = ada.id();
    ada.seat.leave();
    world.tick().await;
    assert_eq!(watcher.hear_changes(), leaves(id, LeaveReason::Left));
    assert_eq!(watcher.view.occupancy, 1);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_between_a_join_and_a_leave_of_one_interval_is_put_right() {
    let (world, _watcher) = watched(World::new()).await;
    let ada = world.join(&entrant("Ada"));
    let id = ada.id();
    let mut bob = world.join(&entrant("Bob"));
    assert!(bob.view.people.as_ref().expect("names").contains_key(&id));
    ada.seat.leave();
    world.tick().await;
    bob.hear();
    assert!(!bob.view.people.as_ref().expect("names").contains_key(&id));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_and_comes_back_within_one_interval_appears_as_an_update() {
    let (world, mut watcher) = watched(World::new()).await;
    let entrant = entrant("Ada");
    let ada = world.join(&entrant);
    world.tick().await;
    watcher.hear();

    ada.seat.leave();
    let _back = world.join(&entrant);
    world.tick().await;
    assert_eq!(watcher.hear_changes(), updates(entrant.id));
}

#[tokio::test(start_paused = true)]
async fn who_joins_leaves_and_joins_within_one_interval_appears_as_a_join() {
    let (world, mut watcher) = watched(World::new()).await;
    let entrant = entrant("Ada");
    world.join(&entrant).seat.leave();
    let _back = world.join(&entrant);
    world.tick().await;
    assert_eq!(watcher.hear_changes(), joins([entrant.id]));
}

#[tokio::test(start_paused = true)]
async fn a_room_of_more_than_a_hundred_gathers_for_the_longer_interval() {
    let world = World::new();
    let mut crowd = crowd(&world, LARGE);
    world.tick().await;
    crowd[0].hear();

    crowd[1].seat.set_state(state(1));
    world.pass(DIFF).await;
    assert_eq!(crowd[0].hear_changes(), updates(crowd[1].id()), "a hundred are not more than a hundred");

    let last = world.join(&entrant("One too many"));
    world.pass(DIFF_LARGE - A_MILLISECOND).await;
    crowd[0].hears_nothing();
    world.pass(A_MILLISECOND).await;
    assert_eq!(crowd[0].hear_changes(), joins([last.id()]));
}

#[tokio::test(start_paused = true)]
async fn the_events_of_a_newcomer_continue_its_snapshot() {
    let (world, mut watcher) = watched(World::new()).await;
    let mut clients = Vec::new();
    for round in 0..10 {
        // Some come while a change waits to be told, some when everything is told.
        if round % 2 == 0 {
            watcher.seat.set_state(state(round));
        }
        let newcomer = world.join(&entrant("Newcomer"));
        let told = watcher.view.seq;
        assert_eq!(newcomer.view.seq, told);
        clients.push(newcomer);
        world.tick().await;
        assert_eq!(watcher.hear_diff().seq, told + 1);
    }
    for mut client in clients {
        client.hear();
        assert_eq!((client.view.seq, &client.view.people), (watcher.view.seq, &watcher.view.people));
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_come_between_two_steps_share_one_list() {
    let (world, mut watcher) = watched(World::new()).await;
    let (list, newer) = listed(&world);
    assert_eq!((list.people.len(), newer), (1, 0));
    let mut crowd = crowd(&world, NEWER);
    let (same, newer) = listed(&world);
    assert!(Arc::ptr_eq(&list, &same));
    assert_eq!(newer, NEWER);
    for (before, client) in crowd.iter().enumerate() {
        assert_eq!(client.view.people.as_ref().map(BTreeMap::len), Some(before + 2));
    }

    crowd.push(world.join(&entrant("One more")));
    let (longer, newer) = listed(&world);
    assert_eq!((longer.people.len(), newer), (NEWER + 2, 0), "too many to be encoded again and again");

    watcher.seat.set_state(state(1));
    let (changed, _) = listed(&world);
    assert!(!Arc::ptr_eq(&longer, &changed), "a list that is not true any more");
    world.tick().await;
    let (told, _) = listed(&world);
    assert!(!Arc::ptr_eq(&changed, &told), "a list is given up with the diff");
    watcher.hear_diff();
}

#[tokio::test(start_paused = true)]
async fn who_is_new_and_changes_or_leaves_before_the_diff_is_shown_as_it_is() {
    let (world, mut watcher) = watched(World::new()).await;
    let (ada, bob) = (world.join(&entrant("Ada")), world.join(&entrant("Bob")));
    let (ada_id, bob_id) = (ada.id(), bob.id());
    ada.seat.set_state(state(7));
    bob.seat.leave();
    let mut cyd = world.join(&entrant("Cyd"));
    let seen = cyd.view.people.as_ref().expect("names");
    assert_eq!((seen.len(), seen[&ada_id].state.as_str()), (3, r#"{"page":7}"#));
    assert!(!seen.contains_key(&bob_id));

    let bob = world.join(&Entrant { id: bob_id, ..entrant("Bob again") });
    assert_eq!(bob.view.people, Some(people(&world.room().presence().1)));
    world.tick().await;
    watcher.hear();
    cyd.hear();
    assert_eq!(cyd.view.people, watcher.view.people);
    assert_eq!(cyd.view.people, Some(people(&world.room().presence().1)));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_room_gives_its_list_up_and_tells_nothing() {
    let (world, mut watcher) = watched(World::new()).await;
    let room = world.room();
    assert!(!room.lock().publisher.has_list());
    let seq = room.snapshot().seq;
    assert!(room.lock().publisher.has_list());
    world.tick().await;
    assert!(!room.lock().publisher.has_list());
    watcher.hears_nothing();
    assert_eq!(room.snapshot().seq, seq);
}

#[tokio::test(start_paused = true)]
async fn a_beat_alone_is_no_diff() {
    let (world, mut watcher) = watched(World::new()).await;
    for _ in 0..5 {
        watcher.seat.active(world.now());
        watcher.seat.seen(world.now());
        world.tick().await;
    }
    watcher.hears_nothing();
}

#[tokio::test(start_paused = true)]
async fn a_new_quality_is_a_step_only_where_it_is_the_persons() {
    let (world, mut watcher) = watched(World::new()).await;
    let ada = entrant("Ada");
    let (phone, tablet) = (world.join(&ada), world.join(&ada));
    phone.seat.set_quality(Quality::Good);
    world.tick().await;
    watcher.hear();

    tablet.seat.set_quality(Quality::Poor);
    world.tick().await;
    watcher.hears_nothing();

    phone.seat.set_quality(Quality::Degraded);
    world.tick().await;
    assert_eq!(watcher.hear_changes(), updates(ada.id));
    assert_eq!(phone.shown().quality, Some(Quality::Degraded));
}

#[tokio::test(start_paused = true)]
async fn a_new_state_is_told_and_noted_for_the_store() {
    let (world, mut watcher) = watched(World::new()).await;
    watcher.seat.set_state(state(7));
    world.tick().await;
    assert_eq!(watcher.hear_changes(), updates(watcher.id()));
    assert_eq!(watcher.shown().state.get(), "{\"page\":7}");
    let chunk = world.shared().write_behind.take(10).pop().expect("a row");
    assert_eq!(chunk.rows()[0].state.as_deref().map(RawValue::get), Some("{\"page\":7}"));
    chunk.written();
}

#[tokio::test(start_paused = true)]
async fn what_the_store_said_of_a_newcomer_is_not_written_back() {
    let world = World::new();
    let _ada = world.join(&Entrant { state: state(4), ..entrant("Ada") });
    let chunk = world.shared().write_behind.take(10).pop().expect("a row");
    assert!(chunk.rows()[0].state.is_none(), "the store has said it");
    assert_eq!((chunk.rows()[0].seen, chunk.rows()[0].active), (world.now(), world.now()));
    chunk.written();
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_shows_what_it_showed_last_whatever_the_store_has_of_it() {
    let world = World::new();
    let ada = Entrant { state: state(1), ..entrant("Ada") };
    let first = world.join(&ada);
    first.seat.set_state(state(2));
    first.seat.leave();
    let back = world.join(&ada);
    assert_eq!(back.shown().state.get(), "{\"page\":2}");
    let chunk = world.shared().write_behind.take(10).pop().expect("a row");
    assert_eq!(chunk.rows()[0].state.as_deref().map(RawValue::get), Some("{\"page\":2}"));
    chunk.written();
}

#[test]
fn of_updates_that_cross_the_one_that_is_shown_is_written() {
    let world = World::new();
    let ada = entrant("Ada");
    let tabs = [world.join(&ada), world.join(&ada)];
    for round in 0..2000 {
        std::thread::scope(|scope| {
            for (tab, page) in tabs.iter().zip([1, 2]) {
                let seat = &tab.seat;
                scope.spawn(move || seat.set_state(state(page)));
            }
        });
        let chunk = world.shared().write_behind.take(10).pop().expect("a row");
        let written = chunk.rows()[0].state.clone().expect("a state");
        assert_eq!(tabs[0].shown().state.get(), written.get(), "round {round}");
        chunk.written();
    }
}

// Connections, graces, idleness

#[tokio::test(start_paused = true)]
async fn several_connections_are_one_participant() {
    let (world, mut watcher) = watched(World::new()).await;
    let ada = entrant("Ada");
    let (phone, tablet, desk) = (world.join(&ada), world.join(&ada), world.join(&ada));
    assert_eq!((desk.view.occupancy, desk.shown().connections), (2, 3));
    world.tick().await;
    assert_eq!(watcher.hear_changes(), joins([ada.id]));

    drop(phone);
    world.tick().await;
    assert_eq!(watcher.hear_changes(), updates(ada.id));
    tablet.seat.leave();
    world.tick().await;
    assert_eq!(watcher.hear_changes(), updates(ada.id));
    assert_eq!((desk.shown().connections, desk.shown().status), (1, Status::Active));

    desk.seat.leave();
    world.tick().await;
    assert_eq!(watcher.hear_changes(), leaves(ada.id, LeaveReason::Left));
}

#[tokio::test(start_paused = true)]
async fn coming_back_within_the_grace_is_neither_a_leave_nor_a_join() {
    let (world, mut watcher) = watched(World::new()).await;
    let ada = entrant("Ada");
    let connection = world.join(&ada);
    world.tick().await;
    watcher.hear();

    drop(connection);
    world.tick().await;
    assert_eq!(watcher.hear_changes(), updates(ada.id));
    assert_eq!(watcher.view.people.as_ref().expect("names")[&ada.id].status, Status::Reconnecting);

    world.pass(GRACE - DIFF - A_MILLISECOND).await;
    let _back = world.join(&ada);
    world.pass(GRACE * 2).await;
    assert_eq!(watcher.hear_changes(), updates(ada.id));
    assert_eq!(watcher.view.people.as_ref().expect("names")[&ada.id].status, Status::Active);
    assert_eq!(world.counted.joins(), 2, "Ada joined once");
}

#[tokio::test(start_paused = true)]
async fn a_quick_return_is_one_update() {
    let (world, mut watcher) = watched(World::new()).await;
    let ada = entrant("Ada");
    let connection = world.join(&ada);
    world.tick().await;
    watcher.hear();
    drop(connection);
    let _back = world.join(&ada);
    world.pass(GRACE * 2).await;
    assert_eq!(watcher.hear_changes(), updates(ada.id));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_come_back_within_the_grace_leaves_by_timeout() {
    let (world, mut watcher) = watched(World::new()).await;
    let ada = world.join(&entrant("Ada"));
    let id = ada.id();
    drop(ada);
    world.pass(GRACE - A_MILLISECOND).await;
    watcher.hear();
    assert!(world.room().participant(id).is_some());
    world.pass(A_MILLISECOND + DIFF).await;
    assert_eq!(watcher.hear_changes(), leaves(id, LeaveReason::Timeout));
    assert_eq!(world.written_leave(id), Some(LeaveReason::Timeout));
    assert_eq!(world.counted.leaves(LeaveReason::Timeout), 1);
}

#[tokio::test(start_paused = true)]
async fn a_grace_shorter_than_the_interval_ends_in_time() {
    let (world, _watcher) = watched(World::with(|rules| rules.timings.grace = DIFF / 2)).await;
    let ada = world.join(&entrant("Ada"));
    let id = ada.id();
    world.tick().await;
    drop(ada);
    world.pass(DIFF / 2).await;
    assert!(world.room().participant(id).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_is_noted_for_the_store_and_a_return_takes_it_back() {
    let (world, _watcher) = watched(World::new()).await;
    let ada = entrant("Ada");
    world.join(&ada).seat.leave();
    assert_eq!(world.written_leave(ada.id), Some(LeaveReason::Left));
    let _back = world.join(&ada);
    assert_eq!(world.written_leave(ada.id), None);
}

#[tokio::test(start_paused = true)]
async fn who_does_nothing_is_shown_as_idle_until_it_does_something() {
    let (world, mut watcher) = watched(World::new()).await;
    let ada = world.join(&entrant("Ada"));
    world.pass(IDLE_AFTER / 2).await;
    watcher.seat.active(world.now());
    // Being heard, as an unattended tab is, changes nothing.
    ada.seat.seen(world.now());
    world.pass(IDLE_AFTER / 2 - A_MILLISECOND).await;
    watcher.hear();
    assert_eq!(ada.shown().status, Status::Active);

    world.pass(A_MILLISECOND + DIFF).await;
    assert_eq!(watcher.hear_changes(), updates(ada.id()));
    assert_eq!(ada.shown().status, Status::Idle);
    assert_eq!(watcher.shown().status, Status::Active);

    ada.seat.active(world.now());
    assert_eq!(ada.shown().status, Status::Active);
    world.tick().await;
    assert_eq!(watcher.hear_changes(), updates(ada.id()));
    world.pass(IDLE_AFTER).await;
    assert_eq!(ada.shown().status, Status::Idle, "it can become idle again");
}

#[tokio::test(start_paused = true)]
async fn a_late_tick_still_ends_what_is_over() {
    let world = World::new();
    let (room, ada) = (world.room(), world.join(&entrant("Ada")));
    let bob = world.join(&entrant("Bob"));
    drop(ada);
    let late = world.now() + IDLE_AFTER * 2;
    assert!(!room.tick(late));
    assert_eq!(room.occupancy(), 1);
    assert_eq!(bob.shown().status, Status::Idle);
}

// Places

#[tokio::test(start_paused = true)]
async fn a_full_room_takes_nobody_in() {
    let world = World::new().holding(2);
    let (room, _crowd) = (world.room(), crowd(&world, 2));
    assert_eq!(room.reserve(Applicant::Stranger).err(), Some(JoinError::Full));
    assert_eq!(room.check_capacity(Applicant::Stranger), Err(JoinError::Full));
    assert_eq!(join(&room, entrant("Late"), None).err(), Some(JoinError::Full));
    assert_eq!(room.occupancy(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_promised_place_counts_until_it_is_given_back() {
    let world = World::new().holding(1);
    let room = world.room();
    let place = room.reserve(Applicant::Stranger).expect("it is empty").expect("a stranger needs a place");
    assert_eq!(room.reserve(Applicant::Stranger).err(), Some(JoinError::Promised));
    assert_eq!(join(&room, entrant("Without a place"), None).err(), Some(JoinError::Promised));
    assert_eq!(room.check_capacity(Applicant::Stranger), Ok(()), "the promise may not be kept");
    drop(place);
    assert!(matches!(room.reserve(Applicant::Stranger), Ok(Some(_))));
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_filled_is_not_counted_twice() {
    let world = World::new().holding(2);
    let room = world.room();
    let place = room.reserve(Applicant::Stranger).expect("it is empty");
    let _ada = join(&room, entrant("Ada"), place).expect("the place was promised");
    assert!(matches!(room.reserve(Applicant::Stranger), Ok(Some(_))), "one place is left");
}

#[tokio::test(start_paused = true)]
async fn who_is_here_needs_no_place() {
    let world = World::new().holding(1);
    let user = UserId::new();
    let ada = Entrant { user_id: Some(user), ..entrant("Ada") };
    let _phone = world.join(&ada);
    let room = world.room();
    assert!(matches!(room.reserve(Applicant::Participant(ada.id)), Ok(None)));
    assert!(matches!(room.reserve(Applicant::User(user)), Ok(None)));
    let _tablet = join(&room, ada.clone(), None).expect("the same person");
    assert_eq!(room.reserve(Applicant::User(UserId::new())).err(), Some(JoinError::Full));
    assert_eq!(room.occupancy(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_place_of_somebody_who_came_by_another_connection_meanwhile_is_free_again() {
    let world = World::new().holding(2);
    let (room, ada) = (world.room(), entrant("Ada"));
    let place = room.reserve(Applicant::Participant(ada.id)).expect("it is empty");
    let _phone = join(&room, ada.clone(), None).expect("a second place");
    let _tablet = join(&room, ada, place).expect("the same person");
    assert_eq!(room.occupancy(), 1);
    let _bob = join(&room, entrant("Bob"), None).expect("one place is left");
}

#[tokio::test(start_paused = true)]
async fn a_place_in_another_room_is_none_here_and_is_given_back_there() {
    let world = World::new().holding(1);
    let (here, _ada) = (world.room(), world.join(&entrant("Ada")));
    let there = world.registry.open(ReadingSession { max_participants: 1, ..session() });
    let place = there.reserve(Applicant::Stranger).expect("it is empty");
    assert_eq!(join(&here, entrant("Lost"), place).err(), Some(JoinError::Full));
    assert!(matches!(there.reserve(Applicant::Stranger), Ok(Some(_))), "the place is free again");
}

#[test]
fn concurrent_admissions_never_exceed_the_places() {
    const PLACES: usize = 7;
    let world = World::new().holding(PLACES);
    let room = world.room();
    let come_and_go = || {
        let mut joined = 0;
        for round in 0..500 {
            let Ok(place) = room.reserve(Applicant::Stranger) else { continue };
            // Some admissions fail after the place was promised.
            if round % 5 == 0 {
                continue;
            }
            let guest = join(&room, entrant("Guest"), place).expect("the place was promised");
            assert!(guest.view.occupancy <= PLACES, "{} people", guest.view.occupancy);
            joined += 1;
            guest.seat.leave();
        }
        joined
    };
    let joined: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2 * PLACES).map(|_| scope.spawn(come_and_go)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no assertion failed")).sum()
    });
    assert!(joined >= PLACES, "only {joined} got in");
    assert_eq!(room.occupancy(), 0);
    let places: Vec<_> = std::iter::from_fn(|| room.reserve(Applicant::Stranger).ok()).take(PLACES + 1).collect();
    assert_eq!(places.len(), PLACES, "every place is free again and there is none too many");
}

/// The world's session with another title and size.
fn revised(world: &World, title: &str, max_participants: usize) -> ReadingSession {
    ReadingSession { title: Some(title.to_owned()), max_participants, ..world.session.clone() }
}

#[tokio::test(start_paused = true)]
async fn fewer_places_send_nobody_away_and_more_let_people_in() {
    let world = World::new().holding(2);
    let (room, mut crowd) = (world.room(), crowd(&world, 2));
    room.revise(revised(&world, "Smaller", 1));
    assert_eq!(room.occupancy(), 2);
    crowd.pop().expect("two came").seat.leave();
    assert_eq!(room.reserve(Applicant::Stranger).err(), Some(JoinError::Full));
    room.revise(revised(&world, "Larger", 2));
    assert!(matches!(room.reserve(Applicant::Stranger), Ok(Some(_))));
    let (session, _) = room.recall(Applicant::Participant(crowd[0].id())).expect("is here");
    assert_eq!(session.title.as_deref(), Some("Larger"));
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_session_is_told_to_all_and_to_who_fell_behind() {
    let world = World::new();
    let (room, mut crowd) = (world.room(), crowd(&world, 2));
    let title = |session: Arc<ReadingSession>| session.title.clone().expect("a title");
    let told = |event| if let Event::Session(session) = event { Some(title(session)) } else { None };
    assert_eq!(crowd[0].seat.catch_up().expect("is here").session, None);
    for title in ["Emma", "Persuasion"] {
        room.revise(revised(&world, title, 20));
    }
    for client in &mut crowd {
        assert_eq!(client.hear().into_iter().filter_map(told).collect::<Vec<_>>(), ["Emma", "Persuasion"]);
    }
    let missed = crowd[0].seat.catch_up().expect("is here").session;
    assert_eq!(missed.map(title).as_deref(), Some("Persuasion"));
}

#[tokio::test(start_paused = true)]
async fn who_is_here_is_recalled_with_what_it_is_now() {
    let world = World::new();
    let user = UserId::new();
    let ada = Entrant { user_id: Some(user), generation: 4, ..entrant("Ada") };
    let connection = world.join(&ada);
    connection.seat.set_state(state(3));
    drop(connection);
    for who in [Applicant::Participant(ada.id), Applicant::User(user)] {
        let (session, recalled) = world.room().recall(who).expect("its grace runs");
        assert_eq!(session.id, world.session.id);
        assert_eq!((recalled.id, recalled.generation, recalled.state.get()), (ada.id, 4, "{\"page\":3}"));
    }
    assert!(world.room().recall(Applicant::Stranger).is_none());
    assert!(world.room().recall(Applicant::User(UserId::new())).is_none());
}

// The detail limit

const LIMIT: usize = 3;

fn small() -> World {
    World::with(|rules| rules.detail_limit = LIMIT)
}

#[tokio::test(start_paused = true)]
async fn over_the_detail_limit_counts_are_told_instead_of_names() {
    let world = small();
    let mut crowd = crowd(&world, LIMIT);
    assert_eq!(crowd[LIMIT - 1].view.people.as_ref().map(BTreeMap::len), Some(LIMIT));
    world.tick().await;
    crowd[0].hear();

    let newcomer = world.join(&entrant("One too many"));
    assert_eq!((newcomer.view.occupancy, &newcomer.view.people), (LIMIT + 1, &None));
    world.tick().await;
    let diff = crowd[0].hear_diff();
    assert_eq!((diff.occupancy, diff.changes.is_some()), (LIMIT + 1, false));
}

#[tokio::test(start_paused = true)]
async fn over_the_detail_limit_only_a_new_count_is_told() {
    let world = small();
    let mut crowd = crowd(&world, LIMIT + 1);
    world.tick().await;
    crowd[0].hear();

    crowd[1].seat.set_state(state(1));
    world.tick().await;
    crowd[0].hears_nothing();

    let seq = crowd[0].view.seq;
    let _more = world.join(&entrant("More"));
    world.tick().await;
    let diff = crowd[0].hear_diff();
    assert_eq!((diff.seq, diff.occupancy), (seq + 1, LIMIT + 2));
}

#[tokio::test(start_paused = true)]
async fn a_room_that_falls_below_the_detail_limit_asks_everybody_to_look_again() {
    let world = small();
    let mut crowd = crowd(&world, LIMIT + 1);
    world.tick().await;
    crowd[0].hear();
    // At the limit it may be over it again in a moment: counts still.
    crowd.pop().expect("some came").seat.leave();
    world.tick().await;
    let diff = crowd[0].hear_diff();
    assert_eq!((diff.occupancy, diff.changes.is_some()), (LIMIT, false));
    let newcomer = world.observe();
    assert_eq!((newcomer.view.occupancy, &newcomer.view.people), (LIMIT, &None));

    crowd.pop().expect("some came").seat.leave();
    world.tick().await;
    assert!(matches!(crowd[0].hear().as_slice(), [Event::Refresh]));
    assert_eq!(crowd[0].view.people, Some(people(&world.room().presence().1)));

    crowd[1].seat.set_state(state(1));
    world.tick().await;
    assert_eq!(crowd[0].hear_changes(), updates(crowd[1].id()), "names again from here on");
}

#[tokio::test(start_paused = true)]
async fn who_comes_and_goes_at_the_detail_limit_has_nobody_sent_the_list() {
    let world = small();
    let mut crowd = crowd(&world, LIMIT + 1);
    world.tick().await;
    crowd[0].hear();
    for _ in 0..20 {
        crowd.pop().expect("some came").seat.leave();
        world.tick().await;
        assert!(matches!(crowd[0].hear().as_slice(), [Event::Diff(diff)] if diff.changes.is_none()));
        crowd.push(world.join(&entrant("In and out")));
        world.tick().await;
        assert!(matches!(crowd[0].hear().as_slice(), [Event::Diff(diff)] if diff.changes.is_none()));
    }
}

#[test]
fn a_room_falls_a_tenth_below_its_limit_before_it_sends_people_again() {
    for (limit, back) in [(1, 1), (2, 1), (3, 2), (10, 9), (11, 9), (500, 450)] {
        assert_eq!(back_to_people(limit), back, "{limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_came_while_the_room_was_briefly_over_the_detail_limit_gets_the_list() {
    let world = small();
    let mut crowd = crowd(&world, LIMIT);
    world.tick().await;
    let mut newcomer = world.join(&entrant("One too many"));
    assert_eq!(newcomer.view.people, None);
    // Before the diff that would have held the count, the room is small enough again.
    crowd.pop().expect("some came").seat.leave();
    crowd.pop().expect("some came").seat.leave();
    world.tick().await;
    newcomer.hear();
    assert_eq!(newcomer.view.people, Some(people(&world.room().presence().1)));
}

#[tokio::test(start_paused = true)]
async fn who_came_while_the_room_was_briefly_below_the_detail_limit_hears_the_count() {
    let world = small();
    let mut crowd = crowd(&world, LIMIT + 1);
    world.tick().await;
    crowd.pop().expect("some came").seat.leave();
    crowd.pop().expect("some came").seat.leave();
    let mut observer = world.observe();
    assert_eq!((observer.view.occupancy, &observer.view.people), (LIMIT - 1, &None), "no diff says so yet");
    let _another = world.join(&entrant("At the limit"));
    let _newcomer = world.join(&entrant("One too many"));
    world.tick().await;
    observer.hear();
    assert_eq!((observer.view.occupancy, &observer.view.people), (LIMIT + 1, &None));
}

// Ends

#[tokio::test(start_paused = true)]
async fn a_removed_participant_is_told_and_gone_with_all_its_connections() {
    let (world, mut watcher) = watched(World::new().holding(2)).await;
    let ada = entrant("Ada");
    let (mut phone, mut tablet) = (world.join(&ada), world.join(&ada));
    world.tick().await;
    let seq = watcher.view.seq;
    watcher.hear();

    assert!(world.room().remove(ada.id));
    for connection in [&mut phone, &mut tablet] {
        connection.hear();
        assert_eq!(connection.ended, Some(Gone::Removed));
        assert_eq!(connection.seat.catch_up().err(), Some(Gone::Removed));
        assert!(connection.seat.shown().is_none());
    }
    watcher.hear();
    assert_eq!(watcher.ended, None);
    assert!(matches!(world.room().reserve(Applicant::Stranger), Ok(Some(_))), "its place is free");

    world.tick().await;
    assert_eq!(watcher.hear_changes(), leaves(ada.id, LeaveReason::Removed));
    assert_eq!(watcher.view.seq, seq + 2);
    assert_eq!(world.written_leave(ada.id), None, "who removed it wrote that down");

    drop(phone);
    tablet.seat.leave();
    world.tick().await;
    watcher.hears_nothing();
    assert!(!world.room().remove(ada.id), "it is not here any more");
}

#[tokio::test(start_paused = true)]
async fn a_closed_room_tells_everybody_and_takes_nobody() {
    let (world, mut watcher) = watched(World::new()).await;
    let (room, mut observer) = (world.room(), world.observe());
    assert!(world.registry.close(world.session.id, CloseReason::Host));
    for client in [&mut watcher, &mut observer] {
        assert!(matches!(client.hear().as_slice(), [Event::Closed(CloseReason::Host)]));
        assert_eq!(client.seat.catch_up().err(), Some(Gone::Closed(CloseReason::Host)));
    }
    let refused = Some(JoinError::Closed(CloseReason::Host));
    assert_eq!(room.reserve(Applicant::Stranger).err(), refused);
    assert_eq!(join(&room, entrant("Late"), None).err(), refused);
    assert_eq!(observe(&room).err(), refused);
    assert!(room.recall(Applicant::Participant(watcher.id())).is_none());
    assert!(!world.is_in_memory());
    assert!(!world.registry.close(world.session.id, CloseReason::Idle), "it is closed already");
    assert_eq!(world.counted.leaves(LeaveReason::Closed), 1);

    let id = watcher.id();
    watcher.seat.leave();
    drop(observer.seat);
    world.pass(GRACE * 2).await;
    assert_eq!(room.occupancy(), 0);
    assert_eq!(world.written_leave(id), None, "who closed the session wrote that down");
}

#[tokio::test(start_paused = true)]
async fn a_place_in_a_room_that_is_closed_meanwhile_is_worth_nothing() {
    let world = World::new();
    let room = world.room();
    let place = room.reserve(Applicant::Stranger).expect("it is empty");
    world.registry.close(world.session.id, CloseReason::Idle);
    assert_eq!(join(&room, entrant("Late"), place).err(), Some(JoinError::Closed(CloseReason::Idle)));
}

#[tokio::test(start_paused = true)]
async fn a_draining_room_asks_everybody_to_come_back_and_nobody_leaves() {
    let (world, mut watcher) = watched(World::new()).await;
    let (room, mut observer) = (world.room(), world.observe());
    let mut ada = world.join(&entrant("Ada"));
    world.tick().await;
    for client in [&mut watcher, &mut observer, &mut ada] {
        client.hear();
    }
    world.registry.drain(1, async || {}).await;
    for client in [&mut watcher, &mut observer, &mut ada] {
        assert!(matches!(client.hear().as_slice(), [Event::Draining]));
        assert_eq!(client.seat.catch_up().err(), Some(Gone::Draining));
    }
    assert_eq!(join(&room, entrant("Late"), None).err(), Some(JoinError::Draining));
    assert_eq!(observe(&room).err(), Some(JoinError::Draining));

    let ids = [watcher.id(), ada.id()];
    ada.seat.leave();
    drop((watcher.seat, observer.seat));
    world.pass(GRACE * 2).await;
    assert_eq!(room.occupancy(), 2);
    assert!(matches!(watcher.events.try_recv(), Err(TryRecvError::Closed)), "no diff was published");
    for id in ids {
        assert_eq!(room.participant(id).map(|person| person.status), Some(Status::Active));
        assert_eq!(world.written_leave(id), None);
    }
}

#[tokio::test(start_paused = true)]
async fn rooms_drain_in_batches_and_those_opened_meanwhile_take_nobody() {
    let world = World::new();
    let rooms: Vec<_> = (0..5).map(|_| world.registry.open(session())).collect();
    let pauses = Cell::new(0);
    let drained = || rooms.iter().filter(|room| observe(room).err() == Some(JoinError::Draining)).count();
    world
        .registry
        .drain(2, async || {
            pauses.set(pauses.get() + 1);
            assert_eq!(drained(), (2 * pauses.get()).min(rooms.len()));
        })
        .await;
    assert_eq!(pauses.get(), 3);
    assert_eq!(world.room().reserve(Applicant::Stranger).err(), Some(JoinError::Draining));
}

// Leaving memory

#[tokio::test(start_paused = true)]
async fn an_empty_room_leaves_memory_and_takes_nobody_from_then_on() {
    let world = World::new();
    let ada = world.join(&entrant("Ada"));
    let room = world.room();
    ada.seat.leave();
    assert!(world.is_in_memory());
    world.tick().await;
    assert!(!world.is_in_memory());
    assert_eq!(join(&room, entrant("Late"), None).err(), Some(JoinError::Retired));
    assert_eq!(room.reserve(Applicant::Stranger).err(), Some(JoinError::Retired));
    assert_eq!(observe(&room).err(), Some(JoinError::Retired));
    let back = world.join(&entrant("Bob"));
    assert!(!Arc::ptr_eq(back.seat.room(), &room), "a new room was opened");
}

#[tokio::test(start_paused = true)]
async fn a_room_that_nobody_comes_to_leaves_memory() {
    let world = World::new();
    let opened = world.room();
    world.pass(Duration::from_mins(1)).await;
    assert!(!world.is_in_memory(), "whoever it was opened for never came");
    assert_eq!(observe(&opened).err(), Some(JoinError::Retired));
}

#[tokio::test(start_paused = true)]
async fn a_room_stays_while_a_grace_runs() {
    let world = World::new();
    drop(world.join(&entrant("Ada")));
    world.pass(GRACE - A_MILLISECOND).await;
    assert!(world.is_in_memory());
    world.pass(A_MILLISECOND).await;
    assert!(!world.is_in_memory());
}

#[tokio::test(start_paused = true)]
async fn a_room_stays_while_a_place_is_promised() {
    let world = World::new();
    let (ada, room) = (world.join(&entrant("Ada")), world.room());
    let place = room.reserve(Applicant::Stranger).expect("there are places");
    ada.seat.leave();
    world.pass(GRACE).await;
    assert!(world.is_in_memory());
    assert!(!room.retire());
    let bob = join(&room, entrant("Bob"), place).expect("the room waited");
    bob.seat.leave();

    let place = room.reserve(Applicant::Stranger).expect("there are places");
    world.pass(GRACE).await;
    assert!(world.is_in_memory());
    drop(place);
    world.pass(Duration::ZERO).await;
    assert!(!world.is_in_memory());
}

#[tokio::test(start_paused = true)]
async fn a_room_stays_while_somebody_observes_it() {
    let world = World::new();
    let observer = world.observe();
    world.join(&entrant("Ada")).seat.leave();
    world.pass(GRACE).await;
    assert!(world.is_in_memory());
    observer.seat.leave();
    world.pass(Duration::ZERO).await;
    assert!(!world.is_in_memory());
}

// The notice

fn counting_activity() -> World {
    World::with(|rules| rules.idle.counts = IdleCounts::Activity)
}

const UNTIL_NOTICE: Duration = IDLE_TIMEOUT.saturating_sub(NOTICE);

#[tokio::test(start_paused = true)]
async fn the_notice_is_given_once_and_says_when_the_session_expires() {
    let world = counting_activity();
    let mut ada = world.join(&entrant("Ada"));
    let mut observer = world.observe();
    let expires_at = world.now() + IDLE_TIMEOUT;
    world.pass(UNTIL_NOTICE - A_MILLISECOND).await;
    ada.seat.seen(world.now());
    assert_eq!(ada.hear_notice(), None);

    world.pass(A_MILLISECOND).await;
    assert_eq!(ada.hear_notice(), Some(expires_at));
    assert_eq!(observer.hear_notice(), Some(expires_at));
    assert_eq!(ada.seat.catch_up().expect("is here").expires_at, Some(expires_at));
    world.pass(NOTICE).await;
    assert_eq!(ada.hear_notice(), None);
}

#[tokio::test(start_paused = true)]
async fn activity_puts_the_notice_off_without_a_word() {
    let world = counting_activity();
    let mut ada = world.join(&entrant("Ada"));
    world.pass(UNTIL_NOTICE / 2).await;
    ada.seat.active(world.now());
    let expires_at = world.now() + IDLE_TIMEOUT;
    world.pass(UNTIL_NOTICE - A_MILLISECOND).await;
    assert_eq!(ada.hear_notice(), None);
    world.pass(A_MILLISECOND).await;
    assert_eq!(ada.hear_notice(), Some(expires_at));
}

#[tokio::test(start_paused = true)]
async fn the_activity_of_somebody_who_has_left_counts_too() {
    let world = counting_activity();
    let (mut ada, bob) = (world.join(&entrant("Ada")), world.join(&entrant("Bob")));
    world.pass(UNTIL_NOTICE / 2).await;
    bob.seat.active(world.now());
    let expires_at = world.now() + IDLE_TIMEOUT;
    bob.seat.leave();
    world.pass(UNTIL_NOTICE - A_MILLISECOND).await;
    assert_eq!(ada.hear_notice(), None);
    world.pass(A_MILLISECOND).await;
    assert_eq!(ada.hear_notice(), Some(expires_at));
}

#[tokio::test(start_paused = true)]
async fn any_activity_withdraws_the_notice_and_it_can_be_given_again() {
    let world = counting_activity();
    let (mut ada, bob) = (world.join(&entrant("Ada")), world.join(&entrant("Bob")));
    world.pass(UNTIL_NOTICE).await;
    assert!(ada.hear_notice().is_some());

    bob.seat.active(world.now());
    let expires_at = world.now() + IDLE_TIMEOUT;
    assert_eq!(ada.seat.catch_up().expect("is here").expires_at, None);
    world.tick().await;
    assert_eq!(ada.hear_changes(), updates(bob.id()), "everybody sees whose activity it was");

    world.pass(UNTIL_NOTICE - DIFF - A_MILLISECOND).await;
    assert_eq!(ada.hear_notice(), None);
    world.pass(A_MILLISECOND).await;
    assert_eq!(ada.hear_notice(), Some(expires_at));
}

#[tokio::test(start_paused = true)]
async fn the_activity_of_somebody_who_was_never_idle_withdraws_the_notice_too() {
    let world = World::with(|rules| {
        rules.idle.counts = IdleCounts::Activity;
        rules.timings.idle_after = IDLE_TIMEOUT * 2;
    });
    let mut ada = world.join(&entrant("Ada"));
    world.pass(UNTIL_NOTICE).await;
    assert!(ada.hear_notice().is_some());
    ada.seat.active(world.now());
    assert_eq!(ada.seat.catch_up().expect("is here").expires_at, None);
}

#[tokio::test(start_paused = true)]
async fn a_join_withdraws_the_notice() {
    let world = counting_activity();
    let mut ada = world.join(&entrant("Ada"));
    world.pass(UNTIL_NOTICE).await;
    assert!(ada.hear_notice().is_some());
    let _bob = world.join(&entrant("Bob"));
    assert_eq!(ada.seat.catch_up().expect("is here").expires_at, None);
    world.pass(UNTIL_NOTICE - A_MILLISECOND).await;
    assert_eq!(ada.hear_notice(), None);
}

#[tokio::test(start_paused = true)]
async fn where_being_seen_is_enough_no_notice_is_given() {
    let world = World::new();
    let mut ada = world.join(&entrant("Ada"));
    world.pass(IDLE_TIMEOUT * 2).await;
    assert_eq!(ada.hear_notice(), None);
}

// Telling

/// Asks the room whatever it is told, and makes a change by it once.
#[derive(Debug)]
struct Curious {
    room: Arc<Room>,
    removes: Mutex<Option<ParticipantId>>,
    heard: Mutex<Vec<(&'static str, usize)>>,
}

impl Subscriber for Curious {
    fn receive(&self, events: &[Event]) {
        for event in events {
            if let Some(id) = self.removes.lock().take() {
                self.room.remove(id);
            }
            let kind = if matches!(event, Event::Diff(_)) { "diff" } else { "removed" };
            self.heard.lock().push((kind, self.room.occupancy()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_told_may_ask_the_room_and_what_happens_by_it_is_told_after_it() {
    let (world, mut watcher) = watched(World::new()).await;
    let (room, ada) = (world.room(), world.join(&entrant("Ada")));
    world.tick().await;
    watcher.hear();
    let curious =
        Arc::new(Curious { room: Arc::clone(&room), removes: Mutex::new(Some(ada.id())), heard: Mutex::default() });
    let _observer = room.observe(Arc::clone(&curious) as Arc<dyn Subscriber>).expect("the room is open");
    watcher.seat.set_state(state(1));
    world.tick().await;
    assert_eq!(*curious.heard.lock(), [("diff", 1), ("removed", 1)]);
    assert!(matches!(watcher.hear().as_slice(), [Event::Diff(_), Event::Removed(id)] if *id == ada.id()));
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_others_are_told_is_told_what_comes_after() {
    /// Lets somebody in whenever it is told something.
    #[derive(Debug)]
    struct Porter(Arc<Room>, Mutex<Vec<Client>>);
    impl Subscriber for Porter {
        fn receive(&self, _: &[Event]) {
            let newcomer = observe(&self.0).expect("the room is open");
            self.1.lock().push(newcomer);
        }
    }
    let (world, watcher) = watched(World::new()).await;
    let porter = Arc::new(Porter(world.room(), Mutex::default()));
    let _porter = world.room().observe(Arc::clone(&porter) as Arc<dyn Subscriber>).expect("the room is open");
    for page in 1..=2 {
        watcher.seat.set_state(state(page));
        world.tick().await;
    }
    let [first, second] = &mut porter.1.lock()[..] else { panic!("one came at each tick") };
    assert_eq!(first.hear_changes(), updates(watcher.id()));
    second.hears_nothing();
}

// Falling behind, observing, restoring, counting

#[tokio::test(start_paused = true)]
async fn who_falls_too_far_behind_catches_up_by_a_snapshot() {
    let (world, mut watcher) = watched(World::new()).await;
    let ada = world.join(&entrant("Ada"));
    for page in 0..17 {
        ada.seat.set_state(state(page));
        world.tick().await;
    }
    assert!(matches!(watcher.events.try_recv(), Err(TryRecvError::Lagged(1))));
    watcher.catch_up();
    assert_eq!(watcher.view.people, Some(people(&world.room().presence().1)));
    assert_eq!(watcher.view.seq, world.room().presence().0);
    // What is still queued is older than the snapshot, and what comes next continues it.
    watcher.hear();
    ada.seat.leave();
    world.tick().await;
    watcher.hear_diff();
    assert_eq!(watcher.view.occupancy, 1);
}

#[tokio::test(start_paused = true)]
async fn who_keeps_up_with_sixteen_events_needs_no_snapshot() {
    let (world, mut watcher) = watched(World::new()).await;
    for page in 0..16 {
        watcher.seat.set_state(state(page));
        world.tick().await;
    }
    assert_eq!(watcher.hear().len(), 16);
    assert_eq!(watcher.view.people, Some(people(&world.room().presence().1)));
}

#[tokio::test(start_paused = true)]
async fn observers_are_neither_listed_nor_counted_nor_seen() {
    let (world, mut watcher) = watched(World::new().holding(1)).await;
    let signs = world.room().last_signs();
    let mut observer = world.observe();
    assert_eq!(observer.view.people.as_ref().map(BTreeMap::len), Some(1));
    assert_eq!((observer.seat.participant(), observer.view.occupancy), (None, 1));
    world.pass(Duration::from_secs(1)).await;
    observer.seat.active(world.now());
    observer.seat.seen(world.now());
    observer.seat.set_state(state(5));
    observer.seat.set_quality(Quality::Poor);
    world.tick().await;
    watcher.hears_nothing();
    assert_eq!(world.room().last_signs(), signs);
    assert_eq!(world.registry.census().observers, 1);

    watcher.seat.set_state(state(1));
    world.tick().await;
    assert_eq!(observer.hear_changes(), updates(watcher.id()));
    drop(observer);
    world.tick().await;
    assert_eq!(watcher.hear_changes(), updates(watcher.id()), "its own change, and nothing of the observer");
    assert_eq!(world.registry.census().observers, 0);
}

#[tokio::test(start_paused = true)]
async fn people_restored_after_a_restart_are_reconnecting_and_can_come_back() {
    let world = World::new();
    let room = world.room();
    let (ada, bob) = (entrant("Ada"), entrant("Bob"));
    let seen = world.now().before(Duration::from_secs(20));
    for person in [&ada, &bob] {
        room.restore(person.clone(), seen);
    }
    assert_eq!(room.last_signs(), Some((seen, seen)));
    let statuses: Vec<_> = room.presence().1.iter().map(|person| person.status).collect();
    assert_eq!(statuses, [Status::Reconnecting; 2]);

    world.pass(GRACE - A_MILLISECOND).await;
    let back = world.join(&ada);
    world.pass(A_MILLISECOND).await;
    assert_eq!((room.occupancy(), back.shown().status), (1, Status::Active));
    assert_eq!(world.written_leave(bob.id), Some(LeaveReason::Timeout));
    assert_eq!(world.counted.joins(), 0, "nobody came who was not here before");
}

#[tokio::test(start_paused = true)]
async fn restoring_somebody_who_is_back_already_changes_nothing() {
    let (world, watcher) = watched(World::new()).await;
    let again = Entrant { id: watcher.id(), ..entrant("An older name") };
    world.room().restore(again, world.now());
    assert_eq!((watcher.shown().status, &*watcher.shown().name), (Status::Active, "Watcher"));
}

#[tokio::test(start_paused = true)]
async fn a_restored_room_that_nobody_comes_back_to_leaves_memory() {
    let world = World::new();
    world.room().restore(entrant("Ada"), world.now());
    world.pass(GRACE - A_MILLISECOND).await;
    assert!(world.is_in_memory());
    world.pass(A_MILLISECOND).await;
    assert!(!world.is_in_memory());
}

#[tokio::test(start_paused = true)]
async fn the_last_signs_are_the_newest_of_those_who_are_here() {
    let world = World::new();
    assert_eq!(world.room().last_signs(), None);
    let (ada, bob) = (world.join(&entrant("Ada")), world.join(&entrant("Bob")));
    let (active, seen) = (world.now() + A_MILLISECOND, world.now() + A_MILLISECOND * 2);
    ada.seat.active(active);
    bob.seat.seen(seen);
    assert_eq!(world.room().last_signs(), Some((seen, active)));
}

#[tokio::test(start_paused = true)]
async fn the_census_counts_people_by_status() {
    let world = World::new();
    let (_idle, lost) = (world.join(&entrant("Idle")), world.join(&entrant("Lost")));
    world.pass(IDLE_AFTER).await;
    let _active = [world.join(&entrant("Active")), world.join(&entrant("Active too"))];
    drop(lost);
    let census = world.registry.census();
    assert_eq!((census.rooms, census.observers), (1, 0));
    let expected = Status::ALL.iter().map(|status| match status {
        Status::Active => 2,
        Status::Idle | Status::Reconnecting => 1,
    });
    assert!(census.participants.into_iter().eq(expected), "{:?}", census.participants);
}

// Everything at once

/// The people that a random run is about; fewer than that have a place.
const PEOPLE: usize = 6;
const PLACES: usize = 5;

#[derive(Clone, Debug)]
enum Doing {
    Join { who: usize, reserve: bool },
    Observe,
    Reserve,
    GiveBack,
    Lose { client: usize },
    Leave { client: usize },
    Remove { who: usize },
    State { client: usize, page: u8 },
    Quality { client: usize, quality: usize },
    Active { client: usize },
    Heard { client: usize },
    Hear { client: usize },
    Sync { client: usize },
    Pass { time: Duration },
}

fn doing() -> impl Strategy<Value = Doing> {
    let client = 0..PEOPLE * 2;
    let times = prop_oneof![
        4 => 0..200_u64,
        2 => 0..20_000_u64,
        1 => 0..400_000_u64,
    ];
    prop_oneof![
        8 => (0..PEOPLE, any::<bool>()).prop_map(|(who, reserve)| Doing::Join { who, reserve }),
        1 => Just(Doing::Observe),
        1 => Just(Doing::Reserve),
        1 => Just(Doing::GiveBack),
        4 => client.clone().prop_map(|client| Doing::Lose { client }),
        2 => client.clone().prop_map(|client| Doing::Leave { client }),
        1 => (0..PEOPLE * 4).prop_map(|who| Doing::Remove { who }),
        3 => (client.clone(), 0..4_u8).prop_map(|(client, page)| Doing::State { client, page }),
        2 => (client.clone(), 0..Quality::ALL.len()).prop_map(|(client, quality)| Doing::Quality { client, quality }),
        2 => client.clone().prop_map(|client| Doing::Active { client }),
        1 => client.clone().prop_map(|client| Doing::Heard { client }),
        3 => client.clone().prop_map(|client| Doing::Hear { client }),
        1 => client.prop_map(|client| Doing::Sync { client }),
        8 => times.prop_map(|millis| Doing::Pass { time: Duration::from_millis(millis) }),
    ]
}

struct Run {
    world: World,
    people: Vec<Entrant>,
    clients: Vec<Client>,
    places: Vec<Reservation>,
    removed: BTreeSet<ParticipantId>,
}

impl Run {
    fn new(detail_limit: usize, idle_counts: IdleCounts) -> Self {
        let world = World::with(|rules| (rules.detail_limit, rules.idle.counts) = (detail_limit, idle_counts));
        let people: Vec<_> = (0..PEOPLE).map(|who| entrant(&format!("Person {who}"))).collect();
        let run = Self {
            world: world.holding(PLACES),
            people,
            clients: Vec::new(),
            places: Vec::new(),
            removed: BTreeSet::new(),
        };
        // A server that was restarted: somebody was here before.
        run.world.room().restore(run.people[0].clone(), run.world.now());
        run
    }

    async fn take(&mut self, doing: Doing) {
        match doing {
            Doing::Join { who, reserve } => self.join(&self.people[who].clone(), reserve),
            Doing::Observe => {
                self.clients.push(self.world.observe());
                self.knows_the_room(self.clients.len() - 1);
            }
            Doing::Reserve => self.places.extend(self.world.room().reserve(Applicant::Stranger).ok().flatten()),
            Doing::GiveBack => drop(self.places.pop()),
            Doing::Lose { client } => drop(self.take_client(client)),
            Doing::Leave { client } => {
                if let Some(client) = self.take_client(client) {
                    client.seat.leave();
                }
            }
            Doing::Remove { who } => {
                // Fewer removals than anything else: who is removed does not come back.
                let Some(person) = self.people.get(who) else { return };
                if self.room().is_some_and(|room| room.remove(person.id)) {
                    self.removed.insert(person.id);
                }
            }
            Doing::State { client, page } => self.with(client, |client| client.seat.set_state(state(page))),
            Doing::Quality { client, quality } => {
                self.with(client, |client| client.seat.set_quality(Quality::ALL[quality]));
            }
            Doing::Active { client } => {
                let now = self.world.now();
                self.with(client, |client| client.seat.active(now));
            }
            Doing::Heard { client } => {
                let now = self.world.now();
                self.with(client, |client| client.seat.seen(now));
            }
            Doing::Hear { client } => self.with(client, |client| drop(client.hear())),
            Doing::Sync { client } => {
                self.with(client, Client::catch_up);
                if !self.clients.is_empty() {
                    self.knows_the_room(client % self.clients.len());
                }
            }
            Doing::Pass { time } => self.world.pass(time).await,
        }
        let Some(room) = self.room() else { return };
        assert!(room.occupancy() <= PLACES);
        let inner = room.lock();
        let publisher = &inner.publisher;
        assert!(!publisher.has_list() || publisher.is_planned(), "a list that nothing takes away");
    }

    /// What a client was just given is how things stand, whatever the diffs held so far.
    fn knows_the_room(&self, client: usize) {
        let Client { view, ended, .. } = &self.clients[client];
        let (seq, present) = self.clients[client].seat.room().presence();
        if ended.is_none() {
            let counts = self.clients[client].seat.room().lock().publisher.sends_counts();
            // Below the limit only where the room was over it before.
            assert!(counts || present.len() <= self.world.shared().rules.detail_limit);
            assert_eq!((view.seq, view.occupancy), (seq, present.len()));
            assert_eq!(view.people, (!counts).then(|| people(&present)));
        }
    }

    /// The room as it is; an empty one is not opened again.
    fn room(&self) -> Option<Arc<Room>> {
        self.world.registry.find(self.world.session.id)
    }

    fn join(&mut self, person: &Entrant, reserve: bool) {
        if self.removed.contains(&person.id) {
            return;
        }
        let room = self.world.room();
        let is_here = room.participant(person.id).is_some();
        let is_full = room.occupancy() + self.places.len() >= PLACES;
        let place = if reserve { room.reserve(Applicant::Participant(person.id)) } else { Ok(None) };
        match place.and_then(|place| join(&room, person.clone(), place)) {
            Ok(client) => {
                assert!(is_here || !is_full, "a newcomer got into a full room");
                self.clients.push(client);
                self.knows_the_room(self.clients.len() - 1);
            }
            Err(error) => {
                assert_eq!((is_here, is_full), (false, true));
                let expected = if room.occupancy() >= PLACES { JoinError::Full } else { JoinError::Promised };
                assert_eq!(error, expected);
            }
        }
    }

    /// One of the connections that are open, whichever the number means among them.
    fn with(&mut self, number: usize, operation: impl FnOnce(&mut Client)) {
        if !self.clients.is_empty() {
            let index = number % self.clients.len();
            operation(&mut self.clients[index]);
        }
    }

    fn take_client(&mut self, number: usize) -> Option<Client> {
        let open = self.clients.len();
        (open > 0).then(|| self.clients.swap_remove(number % open))
    }

    /// When everything is told and heard, everybody knows what is true.
    async fn check(mut self) {
        self.world.pass(DIFF_LARGE).await;
        // A grace may have ended just now.
        if self.room().is_some_and(|room| room.lock().publisher.is_planned()) {
            self.world.tick().await;
        }
        for client in &mut self.clients {
            client.hear();
        }
        let (removed, connected): (Vec<_>, Vec<_>) = self
            .clients
            .iter()
            .partition(|client| client.seat.participant().is_some_and(|id| self.removed.contains(&id)));
        for client in removed {
            assert_eq!(client.ended, Some(Gone::Removed));
        }

        let Some(room) = self.room() else {
            assert!(connected.is_empty() && self.places.is_empty(), "the room was needed");
            return;
        };
        let is_needed = room.occupancy() > 0 || !connected.is_empty() || !self.places.is_empty();
        assert!(is_needed, "the room should have left memory");
        let (seq, present) = room.presence();
        for person in &present {
            let open = connected.iter().filter(|client| client.seat.participant() == Some(person.id)).count();
            assert_eq!(person.connections as usize, open, "{person:?}");
            assert_eq!(person.status == Status::Reconnecting, open == 0, "{person:?}");
        }
        let limit = self.world.shared().rules.detail_limit;
        let counts = room.lock().publisher.sends_counts();
        assert!(counts || present.len() <= limit);
        assert!(!counts || present.len() > back_to_people(limit), "all that changed is published");
        let expected = (!counts).then(|| people(&present));
        for client in connected {
            assert_eq!(client.ended, None);
            assert!(client.seat.participant().is_none_or(|id| present.iter().any(|person| person.id == id)));
            assert_eq!(client.view.occupancy, present.len());
            assert_eq!(client.view.people, expected);
            assert_eq!(client.view.seq, seq);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_the_end_everybody_who_listened_knows_who_is_here(
        detail_limit in prop_oneof![1..PLACES, Just(500)],
        idle_counts in prop_oneof![Just(IdleCounts::Seen), Just(IdleCounts::Activity)],
        doings in prop::collection::vec(doing(), 1..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime of one thread").block_on(async {
            let mut run = Run::new(detail_limit, idle_counts);
            for doing in doings {
                run.take(doing).await;
            }
            run.check().await;
        });
    }
}

// Reading along

#[tokio::test(start_paused = true)]
async fn whoever_reads_along_hears_everything_and_is_nobody() {
    let world = World::new().holding(1);
    let (queue, mut events) = broadcast::channel(EVENTS);
    let reading = world.room().watch(Arc::new(queue)).expect("open");
    let census = world.registry.census();
    assert_eq!((census.watchers, census.observers, census.participants), (1, 0, [0; 3]));
    let ada = world.join(&entrant("Ada"));
    world.tick().await;
    assert!(matches!(events.try_recv(), Ok(Event::Diff(diff)) if diff.seq == 1 && diff.occupancy == 1));
    let id = ada.id();
    ada.seat.leave();
    world.tick().await;
    assert!(matches!(events.try_recv(), Ok(Event::Diff(_))));
    world.pass(IDLE_TIMEOUT).await;
    assert!(world.is_in_memory(), "the reader holds it");

    // A removal is told although nobody is there: somebody may be reading along.
    assert!(!world.room().remove(id));
    assert!(matches!(events.try_recv(), Ok(Event::Removed(removed)) if removed == id));
    assert_eq!(reading.watch.catch_up().expect("open").snapshot.occupancy, 0);
    drop(reading);
    world.tick().await;
    assert!(!world.is_in_memory());

    let reading = world.room().watch(Arc::new(broadcast::channel(EVENTS).0)).expect("open");
    world.registry.close(world.session.id, CloseReason::Host);
    assert_eq!(reading.watch.catch_up().err(), Some(Gone::Closed(CloseReason::Host)));
    assert_eq!(world.registry.census().watchers, 0);
}
