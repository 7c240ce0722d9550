//! A server without anything but rooms, on a clock that tests move.

use super::*;

pub(super) const GRACE: Duration = Duration::from_secs(15);
pub(super) const IDLE_AFTER: Duration = Duration::from_mins(5);
pub(super) const DIFF: Duration = Duration::from_millis(100);
pub(super) const DIFF_LARGE: Duration = Duration::from_secs(1);
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_hours(1);
pub(super) const NOTICE: Duration = Duration::from_mins(5);
pub(super) const A_MILLISECOND: Duration = Duration::from_millis(1);

pub(super) fn rules() -> Rules {
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
pub(super) struct World {
    pub(super) registry: Registry,
    pub(super) session: ReadingSession,
    pub(super) counted: Arc<Counted>,
}

/// What the rooms counted.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) joins: AtomicUsize,
    pub(super) leaves: [AtomicUsize; LeaveReason::ALL.len()],
    pub(super) diffs: AtomicUsize,
}

impl Counted {
    pub(super) fn joins(&self) -> usize {
        self.joins.load(Ordering::Relaxed)
    }

    pub(super) fn leaves(&self, reason: LeaveReason) -> usize {
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
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut Rules)) -> Self {
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

    pub(super) fn holding(mut self, max_participants: usize) -> Self {
        self.session.max_participants = max_participants;
        self
    }

    pub(super) fn shared(&self) -> &Shared {
        self.registry.shared()
    }

    pub(super) fn now(&self) -> Moment {
        self.shared().clock.now()
    }

    pub(super) fn room(&self) -> Arc<Room> {
        self.registry.open(self.session.clone())
    }

    pub(super) fn is_in_memory(&self) -> bool {
        self.registry.find(self.session.id).is_some()
    }

    pub(super) fn join(&self, entrant: &Entrant) -> Client {
        join(&self.room(), entrant.clone(), None).expect("there is a place")
    }

    pub(super) fn observe(&self) -> Client {
        observe(&self.room()).expect("the room is open")
    }

    /// Lets time pass and ticks each room at its deadline in the schedule, as the server does. A deadline that is
    /// not in the schedule is missed.
    pub(super) async fn pass(&self, time: Duration) {
        let until = self.now() + time;
        while let Some(next) = self.shared().schedule.next().filter(|next| *next <= until) {
            tokio::time::advance(next.since(self.now())).await;
            for due in self.shared().schedule.due(self.now()) {
                self.registry.tick(due, self.now());
            }
        }
        tokio::time::advance(until.since(self.now())).await;
    }

    /// Lets an interval pass, after which all changes are published.
    pub(super) async fn tick(&self) {
        self.pass(DIFF).await;
    }

    /// The reason with which the write-behind would store that a person is gone.
    pub(super) fn written_leave(&self, id: ParticipantId) -> Option<LeaveReason> {
        let chunks = self.shared().write_behind.take(usize::MAX);
        let row = chunks.iter().flat_map(|chunk| chunk.rows()).find(|row| row.participant() == id);
        row.and_then(|row| row.left)
    }
}

pub(super) fn session() -> ReadingSession {
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

pub(super) fn state(page: u8) -> State {
    State::from(RawValue::from_string(format!("{{\"page\":{page}}}")).expect("valid JSON"))
}

pub(super) fn entrant(name: &str) -> Entrant {
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

/// A world with a person in it whose client has received everything so far.
pub(super) async fn watched(world: World) -> (World, Client) {
    let mut watcher = world.join(&entrant("Watcher"));
    world.tick().await;
    watcher.received();
    (world, watcher)
}

/// People who are all here, each with one connection.
pub(super) fn crowd(world: &World, size: usize) -> Vec<Client> {
    (0..size).map(|_| world.join(&entrant("One of many"))).collect()
}

/// The list of people in a snapshot of now, and how many joined since it was made.
pub(super) fn listed(world: &World) -> (Arc<List>, usize) {
    let People { list, newer } = world.room().snapshot().people.expect("names, not a count");
    (list, newer.len())
}
