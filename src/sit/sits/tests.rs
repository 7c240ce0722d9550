use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::broadcast;
use uuid::Uuid;

use super::*;
use crate::clock::Clock;
use crate::domain::idle::{IdleCounts, IdleRule};
use crate::domain::ids::{ParticipantId, UserId};
use crate::domain::participant::LeaveReason;
use crate::domain::reading_session::{CloseReason, ReadingSession};
use crate::domain::role::Role;
use crate::room::{Applicant, Entrant, Event, Joined, RoomMetrics, Rules, Schedule, Seat, Shared, Timings};

const GRACE: Duration = Duration::from_secs(15);
const SIT: Duration = Duration::from_mins(10);
const A_MILLISECOND: Duration = Duration::from_millis(1);

#[derive(Debug)]
struct Uncounted;

impl RoomMetrics for Uncounted {
    fn joined(&self) {}
    fn left(&self, _: LeaveReason, _: usize) {}
    fn diff_published(&self) {}
}

/// Rooms with sits, and one session. Time stands still until it is passed.
struct World {
    sits: Arc<Sits>,
    registry: Registry,
    session: ReadingSession,
}

/// A connection, and what its room sends it.
struct Client {
    seat: Seat,
    /// What it was sent when it joined.
    notices: Vec<Notice>,
    events: broadcast::Receiver<Event>,
}

#[derive(Debug)]
struct Queue(broadcast::Sender<Event>);

impl crate::room::Subscriber for Queue {
    fn receive(&self, events: &[Event]) {
        for event in events {
            let _ = self.0.send(event.clone());
        }
    }
}

impl World {
    fn new() -> Self {
        let sits = Arc::new(Sits::default());
        let rules = Rules {
            timings: Timings { grace: GRACE, idle_after: Duration::from_hours(1) },
            diff_interval: Duration::from_millis(100),
            diff_interval_large: Duration::from_secs(1),
            detail_limit: 500,
            idle: IdleRule { timeout: Duration::from_hours(1), counts: IdleCounts::Seen },
            expiring_notice: Duration::from_mins(5),
        };
        let shared = Shared {
            rules,
            clock: Clock::new(),
            write_behind: Arc::default(),
            schedule: Schedule::default(),
            features: vec![Arc::clone(&sits) as Arc<dyn Feature>],
            metrics: Arc::new(Uncounted),
        };
        let now = Utc::now();
        let session = ReadingSession {
            id: SessionId::new(),
            title: None,
            host_user_id: None,
            max_participants: 100,
            created_at: now,
            last_seen_at: now,
            last_activity_at: now,
            closed: None,
        };
        Self { sits, registry: Registry::new(Arc::new(shared)), session }
    }

    fn now(&self) -> Moment {
        self.registry.shared().clock.now()
    }

    fn room(&self) -> Arc<Room> {
        self.registry.open(self.session.clone())
    }

    fn is_in_memory(&self) -> bool {
        self.registry.find(self.session.id).is_some()
    }

    fn join(&self, entrant: &Entrant) -> Client {
        self.enter(|queue| self.room().join(entrant.clone(), None, queue).expect("a place"))
    }

    fn observe(&self) -> Client {
        self.enter(|queue| self.room().observe(queue).expect("an open room"))
    }

    fn enter(&self, enter: impl FnOnce(Arc<Queue>) -> Joined) -> Client {
        let (queue, events) = broadcast::channel(100);
        let Joined { seat, notices, .. } = enter(Arc::new(Queue(queue)));
        Client { seat, notices, events }
    }

    /// Lets time pass, and ticks rooms when the schedule says.
    async fn pass(&self, time: Duration) {
        let until = self.now() + time;
        let schedule = &self.registry.shared().schedule;
        while let Some(next) = schedule.next().filter(|next| *next <= until) {
            tokio::time::advance(next.since(self.now())).await;
            for due in schedule.due(self.now()) {
                self.registry.tick(due, self.now());
            }
        }
        tokio::time::advance(until.since(self.now())).await;
    }

    fn promise(&self) -> Option<Starting> {
        self.sits.promise(&self.room())
    }

    fn start_sit(&self) -> RunningSit {
        let now = Utc::now();
        let sit = RunningSit { id: RoomSitId::new(), started_at: now, ends_at: now + SIT, ends: self.now() + SIT };
        self.promise().expect("no other sit").run(sit);
        sit
    }

    /// What the store would record.
    fn ended(&self) -> Vec<EndedRoomSit> {
        self.sits.ended().iter().map(|ended| EndedRoomSit::clone(ended)).collect()
    }
}

impl Client {
    /// The notices that it was sent since the last time.
    fn receive_notices(&mut self) -> Vec<Notice> {
        let mut notices = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            if let Event::Notice(notice) = event {
                notices.push(*notice);
            }
        }
        notices
    }
}

fn entrant(user_id: Option<UserId>) -> Entrant {
    Entrant {
        id: ParticipantId::new(),
        user_id: user_id.map(Into::into),
        name: "Ada".into(),
        role: Role::Guest,
        state: RawValue::from_string("{}".to_owned()).expect("valid JSON").into(),
        joined_at: DateTime::UNIX_EPOCH,
        generation: 0,
    }
}

fn with_account() -> (UserId, Entrant) {
    let user = UserId(Uuid::now_v7());
    (user, entrant(Some(user)))
}

fn over(sit: RunningSit) -> Notice {
    Notice { phase: Phase::Over, ..sit.notice() }
}

#[tokio::test(start_paused = true)]
async fn a_sit_is_sent_to_all_and_is_over_on_time_for_the_users_who_are_present_then() {
    let world = World::new();
    let [(ada_user, ada), (bob_user, bob), (_, cyd)] = [(); 3].map(|()| with_account());
    let (mut ada, mut guest, mut observer) = (world.join(&ada), world.join(&entrant(None)), world.observe());
    let cyd = world.join(&cyd);
    let sit = world.start_sit();
    for client in [&mut ada, &mut guest, &mut observer] {
        assert_eq!(client.receive_notices(), [sit.notice()]);
    }
    world.pass(SIT / 2).await;
    let mut bob = world.join(&bob);
    assert_eq!(bob.notices, [sit.notice()]);
    cyd.seat.leave();
    // Lost, but within the grace.
    world.pass(SIT / 2 - GRACE / 2).await;
    let id = bob.seat.participant().expect("a participant");
    let bob_entrant = world.room().recall(Applicant::Participant(id)).expect("is here").1;
    assert_eq!(bob.receive_notices(), []);
    drop(bob);
    world.pass(GRACE / 2 - A_MILLISECOND).await;
    assert_eq!((ada.receive_notices(), world.ended()), (vec![], vec![]));

    world.pass(A_MILLISECOND).await;
    for client in [&mut ada, &mut guest, &mut observer] {
        assert_eq!(client.receive_notices(), [over(sit)]);
    }
    let ended = world.ended();
    assert_eq!((ended.len(), ended[0].id), (1, sit.id));
    let users: BTreeSet<_> = ended[0].present.iter().map(|(user, _)| *user).collect();
    assert_eq!(users, BTreeSet::from([ada_user, bob_user]));
    // A participant that was lost gets the end when it is back, and so does one that fell behind; a newcomer
    // does not.
    let back = world.join(&bob_entrant);
    assert_eq!(back.notices, [over(sit)]);
    assert_eq!(world.join(&bob_entrant).notices, [], "another tab");
    assert_eq!(world.join(&entrant(None)).notices, []);
    assert_eq!(ada.seat.catch_up().expect("is here").notices, [over(sit)]);
    world.sits.recorded(sit.id);
    assert_eq!(world.ended(), []);
}

#[tokio::test(start_paused = true)]
async fn there_is_one_sit_at_a_time_and_one_that_does_not_start_makes_way() {
    let world = World::new();
    let _ada = world.join(&entrant(None));
    let starting = world.promise().expect("no other sit");
    assert!(world.promise().is_none(), "one is about to start");
    assert_eq!(world.observe().notices, []);
    drop(starting);
    world.start_sit();
    assert!(world.promise().is_none(), "one runs");
    world.pass(SIT).await;
    assert!(world.promise().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_sit_goes_on_while_nobody_is_there() {
    let world = World::new();
    let ada = world.join(&entrant(None));
    let sit = world.start_sit();
    ada.seat.leave();
    world.pass(SIT / 2).await;
    assert!(!world.is_in_memory());
    let (user, bob) = with_account();
    let mut bob = world.join(&bob);
    assert_eq!(bob.notices, [sit.notice()]);
    world.pass(SIT / 2).await;
    assert_eq!(bob.receive_notices(), [over(sit)]);
    assert_eq!(world.ended(), [EndedRoomSit { id: sit.id, present: vec![(user, DateTime::UNIX_EPOCH)] }]);

    let sit = world.start_sit();
    bob.seat.leave();
    world.pass(SIT).await;
    assert!(!world.is_in_memory());
    assert_eq!(world.ended()[1], EndedRoomSit { id: sit.id, present: vec![] });
}

#[tokio::test(start_paused = true)]
async fn a_close_takes_the_sit_along() {
    let world = World::new();
    let mut ada = world.join(&entrant(None));
    let sit = world.start_sit();
    world.registry.close(world.session.id, CloseReason::Host);
    world.pass(SIT).await;
    assert_eq!((ada.receive_notices(), world.ended()), (vec![sit.notice()], vec![]));

    // Also one that the store is just starting.
    let world = World::new();
    let mut ada = world.join(&entrant(None));
    let starting = world.promise().expect("no other sit");
    world.registry.close(world.session.id, CloseReason::Host);
    starting.run(sit);
    world.pass(SIT).await;
    assert_eq!((ada.receive_notices(), world.ended()), (vec![], vec![]));
}
