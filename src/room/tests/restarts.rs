//! Random runs of people who come and go while the server is stopped, killed and renamed: nobody is shown as gone who
//! is here or has time left, what a stop wrote is not forgotten, and in the end the database has those who are here.

use tokio::time::{Instant, advance};

use super::write_behind::{Chunk, Row};
use super::*;

const PEOPLE: usize = 4;

#[derive(Clone, Debug)]
enum Doing {
    /// The database admits, and the answer is on its way.
    Admit {
        who: usize,
    },
    /// A connection joins. Who is in the room is admitted by it, for all others the database was asked.
    Enter {
        who: usize,
    },
    Lose {
        who: usize,
    },
    Leave {
        who: usize,
    },
    /// A flush begins.
    Flush,
    /// Its statements were carried out, or failed: a bit for each chunk.
    Written {
        which: u8,
    },
    Pass {
        time: Duration,
    },
    /// The process does not run.
    Stall {
        time: Duration,
    },
    /// While it stops, the people of these bits leave.
    Stop {
        leaving: u8,
        away: Duration,
    },
    Kill {
        renamed: bool,
        away: Duration,
    },
}

fn doing() -> impl Strategy<Value = Doing> {
    let who = 0..PEOPLE;
    let short = prop_oneof![3 => 0..200_u64, 3 => 0..20_000_u64].prop_map(Duration::from_millis);
    let away = (0..5_000_u64).prop_map(Duration::from_millis);
    prop_oneof![
        2 => who.clone().prop_map(|who| Doing::Admit { who }),
        8 => who.clone().prop_map(|who| Doing::Enter { who }),
        4 => who.clone().prop_map(|who| Doing::Lose { who }),
        3 => who.prop_map(|who| Doing::Leave { who }),
        4 => Just(Doing::Flush),
        4 => any::<u8>().prop_map(|which| Doing::Written { which }),
        8 => short.clone().prop_map(|time| Doing::Pass { time }),
        1 => short.prop_map(|time| Doing::Stall { time }),
        2 => (any::<u8>(), away.clone()).prop_map(|(leaving, away)| Doing::Stop { leaving, away }),
        2 => (any::<bool>(), away).prop_map(|(renamed, away)| Doing::Kill { renamed, away }),
    ]
}

/// Where a person really is.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Place {
    Here,
    /// Without a connection since then.
    Lost(Instant),
    Left,
}

/// What the database has of a person.
#[derive(Clone, Copy, Default, Debug)]
struct Stored {
    is_active: bool,
    node: u32,
}

struct Run {
    world: World,
    node: u32,
    /// When this run of the server began.
    started: Instant,
    people: Vec<Entrant>,
    clients: Vec<(usize, Client)>,
    observer: Client,
    admitted: BTreeSet<usize>,
    database: [Stored; PEOPLE],
    under_way: Vec<Chunk>,
    places: [Place; PEOPLE],
    /// Whose leave was not written when the server was killed.
    forgotten: BTreeSet<usize>,
}

impl Run {
    fn new() -> Self {
        let world = World::new();
        Self {
            observer: world.observe(),
            world,
            node: 1,
            started: Instant::now(),
            people: (0..PEOPLE).map(|who| entrant(&format!("Person {who}"))).collect(),
            clients: Vec::new(),
            admitted: BTreeSet::new(),
            database: [Stored::default(); PEOPLE],
            under_way: Vec::new(),
            places: [Place::Left; PEOPLE],
            forgotten: BTreeSet::new(),
        }
    }

    async fn take(&mut self, doing: Doing) {
        match doing {
            Doing::Admit { who } => self.admit(who),
            Doing::Enter { who } => self.enter(who),
            Doing::Lose { who } => {
                if let Some(client) = self.take_client(who) {
                    drop(client);
                    self.parted(who, Place::Lost(Instant::now()));
                }
            }
            Doing::Leave { who } => {
                if let Some(client) = self.take_client(who) {
                    client.seat.leave();
                    self.parted(who, Place::Left);
                }
            }
            Doing::Flush if self.under_way.is_empty() => self.under_way = self.world.shared().write_behind.take(1),
            Doing::Flush => {}
            Doing::Written { which } => self.written(which),
            Doing::Pass { time } => self.world.pass(time).await,
            Doing::Stall { time } => {
                advance(time).await;
                self.world.shared().clock.stall(time);
                self.world.pass(Duration::ZERO).await;
            }
            Doing::Stop { leaving, away } => {
                self.stop(leaving).await;
                self.start_again(away).await;
            }
            Doing::Kill { renamed, away } => {
                self.node += u32::from(renamed);
                self.start_again(away).await;
            }
        }
        self.look();
    }

    /// Whether the database has the person as present here. Those of another name are settled by the sweep.
    fn is_stored(&self, who: usize) -> bool {
        self.database[who].is_active && self.database[who].node == self.node
    }

    fn is_in_room(&self, who: usize) -> bool {
        self.world.room().participant(self.people[who].id).is_some()
    }

    fn admit(&mut self, who: usize) {
        if !self.is_in_room(who) && self.admitted.insert(who) {
            self.database[who] = Stored { is_active: true, node: self.node };
        }
    }

    fn enter(&mut self, who: usize) {
        self.admit(who);
        self.admitted.remove(&who);
        self.forgotten.remove(&who);
        self.clients.push((who, self.world.join(&self.people[who])));
        self.places[who] = Place::Here;
    }

    fn take_client(&mut self, who: usize) -> Option<Client> {
        let index = self.clients.iter().position(|(other, _)| *other == who)?;
        Some(self.clients.remove(index).1)
    }

    /// A connection of a person ended, perhaps the last one.
    fn parted(&mut self, who: usize, to: Place) {
        if self.clients.iter().all(|(other, _)| *other != who) {
            self.places[who] = to;
        }
    }

    fn written(&mut self, which: u8) {
        for (number, chunk) in std::mem::take(&mut self.under_way).into_iter().enumerate() {
            if (which >> (number % 8)) & 1 == 1 {
                chunk.rows().iter().for_each(|row| self.write(row));
                chunk.written();
            }
        }
    }

    /// As the statements of the flush do.
    fn write(&mut self, row: &Row) {
        let who = self.number(row.participant());
        let stored = &mut self.database[who];
        match row.left {
            None => *stored = Stored { is_active: true, node: self.node },
            Some(_) if stored.node == self.node => stored.is_active = false,
            Some(_) => {}
        }
    }

    fn number(&self, id: ParticipantId) -> usize {
        self.people.iter().position(|person| person.id == id).expect("one of the people")
    }

    fn flush(&mut self) {
        self.written(0);
        self.under_way = self.world.shared().write_behind.take(1);
        self.written(u8::MAX);
    }

    /// Stops the server in good order.
    async fn stop(&mut self, leaving: u8) {
        self.world.registry.drain(1, async || {}).await;
        for (who, client) in std::mem::take(&mut self.clients) {
            if (leaving >> who) & 1 == 1 {
                client.seat.leave();
                self.places[who] = Place::Left;
            } else {
                drop(client);
                self.places[who] = Place::Lost(Instant::now());
            }
        }
        self.flush();
        for who in (0..PEOPLE).filter(|who| !self.admitted.contains(who) && !self.forgotten.contains(who)) {
            let is_left = self.places[who] == Place::Left;
            assert!(!is_left || !self.is_stored(who), "{who} has left, and the stop did not write it");
        }
    }

    /// The server has ended, and starts again by what the database has.
    async fn start_again(&mut self, away: Duration) {
        let now = Instant::now();
        for (who, _) in std::mem::take(&mut self.clients) {
            self.places[who] = Place::Lost(now);
        }
        for who in std::mem::take(&mut self.admitted) {
            self.places[who] = Place::Lost(now);
        }
        advance(away).await;
        self.under_way.clear();
        let session = self.world.session.clone();
        self.world = World { session, ..World::new() };
        self.started = Instant::now();
        let room = self.world.room();
        self.forgotten.clear();
        for (who, person) in self.people.iter().enumerate() {
            if self.is_stored(who) {
                room.restore(person.clone(), self.world.now().before(Duration::from_secs(20)));
                if self.places[who] == Place::Left {
                    self.forgotten.insert(who);
                }
            }
        }
        self.observer = self.world.observe();
    }

    /// Judges the leaves that others receive.
    fn look(&mut self) {
        for event in self.observer.received() {
            let Event::Diff(diff) = event else { continue };
            for (id, reason) in &diff.changes.as_ref().expect("names, not a count").leaves {
                let who = self.number(*id);
                let since = match (self.places[who], *reason) {
                    (Place::Left, LeaveReason::Left) => continue,
                    (Place::Left, LeaveReason::Timeout) if self.forgotten.contains(&who) => self.started,
                    (Place::Lost(at), LeaveReason::Timeout) => at.max(self.started),
                    (place, reason) => panic!("{who} is {place:?}, and was shown as gone: {reason:?}"),
                };
                assert!(since + GRACE <= Instant::now(), "{who} had {:?} left", since + GRACE - Instant::now());
            }
        }
    }

    /// When nothing more happens, room and database have those who are here.
    async fn check(mut self) {
        for who in self.admitted.clone() {
            self.enter(who);
        }
        self.world.pass(GRACE + DIFF_LARGE).await;
        self.look();
        // What is under way was read before.
        self.written(u8::MAX);
        self.flush();
        let here: BTreeSet<_> = self.clients.iter().map(|(who, _)| *who).collect();
        let present = self.world.room().presence().1;
        assert_eq!(present.iter().map(|person| self.number(person.id)).collect::<BTreeSet<_>>(), here);
        for who in 0..PEOPLE {
            let (is_here, place, stored) = (here.contains(&who), self.places[who], self.database[who]);
            assert_eq!(self.is_stored(who), is_here, "{who} is {place:?}: {stored:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nobody_is_shown_as_gone_who_is_here_or_has_time_left(doings in prop::collection::vec(doing(), 1..100)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime of one thread").block_on(async {
            let mut run = Run::new();
            for doing in doings {
                run.take(doing).await;
            }
            run.check().await;
        });
    }
}
