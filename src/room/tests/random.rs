//! Random runs of many people: in the end all views are as the room.

use super::*;

/// The people of a random run; there are fewer places.
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
    Seen { client: usize },
    Receive { client: usize },
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
        1 => client.clone().prop_map(|client| Doing::Seen { client }),
        3 => client.clone().prop_map(|client| Doing::Receive { client }),
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
        // A server that was restarted: a person was here before.
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
                // Fewer removals than anything else: a removed person does not come back.
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
            Doing::Seen { client } => {
                let now = self.world.now();
                self.with(client, |client| client.seat.seen(now));
            }
            Doing::Receive { client } => self.with(client, |client| drop(client.received())),
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

    /// When everything is sent and received, all views are as the room.
    async fn check(mut self) {
        self.world.pass(DIFF_LARGE).await;
        // A grace may have ended just now.
        if self.room().is_some_and(|room| room.lock().publisher.is_planned()) {
            self.world.tick().await;
        }
        for client in &mut self.clients {
            client.received();
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
