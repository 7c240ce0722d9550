use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;
use crate::clock::Clock;
use crate::domain::ids::SessionId;
use crate::room::write_behind::WriteBehind;

const GRACE: Duration = Duration::from_secs(15);
const IDLE_AFTER: Duration = Duration::from_secs(300);
const A_MILLISECOND: Duration = Duration::from_millis(1);

fn roster() -> Roster {
    Roster::new(Timings { grace: GRACE, idle_after: IDLE_AFTER })
}

fn now() -> Moment {
    Clock::new().now()
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

fn liveness(id: ParticipantId, at: Moment) -> Arc<Liveness> {
    Liveness::new(id, SessionId::new(), at, at)
}

/// Somebody comes by a new connection, and that is activity.
fn join(roster: &mut Roster, entrant: &Entrant, at: Moment) -> (ConnectionId, Change) {
    let connection = ConnectionId::new();
    if let Some(known) = roster.get(entrant.id) {
        WriteBehind::default().active(&known.liveness, at);
    }
    let change = roster.join(entrant.clone(), connection, || liveness(entrant.id, at));
    (connection, change)
}

fn shown(roster: &Roster, id: ParticipantId) -> &Participant {
    roster.get(id).expect("is here")
}

/// What a change says, without the liveness.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Said {
    Joined(ParticipantId),
    Updated(ParticipantId),
    Left(ParticipantId, LeaveReason),
}

impl From<Change> for Said {
    fn from(change: Change) -> Self {
        match change {
            Change::Joined(id) => Self::Joined(id),
            Change::Updated(id) => Self::Updated(id),
            Change::Left(person, reason) => Self::Left(person.id, reason),
        }
    }
}

fn said(changes: impl IntoIterator<Item = Change>) -> Vec<Said> {
    changes.into_iter().map(Said::from).collect()
}

#[test]
fn a_newcomer_is_active_with_one_connection_of_unknown_quality() {
    let (mut roster, ada) = (roster(), entrant("Ada"));
    let (_, change) = join(&mut roster, &ada, now());
    assert_eq!(Said::from(change), Said::Joined(ada.id));
    let ada = shown(&roster, ada.id);
    assert_eq!((ada.status, ada.quality, ada.connections), (Status::Active, None, 1));
    assert_eq!(roster.occupancy(), 1);
}

#[test]
fn a_second_connection_is_the_same_person() {
    let (mut roster, ada, at) = (roster(), entrant("Ada"), now());
    join(&mut roster, &ada, at);
    let (_, change) = join(&mut roster, &ada, at);
    assert_eq!(Said::from(change), Said::Updated(ada.id));
    assert_eq!((roster.occupancy(), shown(&roster, ada.id).connections), (1, 2));
}

#[test]
fn somebody_who_is_here_keeps_its_state_and_liveness_but_takes_a_new_name_role_and_generation() {
    let (mut roster, first, at) = (roster(), entrant("Ada"), now());
    join(&mut roster, &first, at);
    let liveness = Arc::clone(&shown(&roster, first.id).liveness);
    roster.set_state(first.id, state(7));

    let again = Entrant {
        name: "Ada L.".into(),
        role: Role::Host,
        state: state(1),
        joined_at: DateTime::UNIX_EPOCH + Duration::from_secs(9),
        generation: 3,
        ..first.clone()
    };
    join(&mut roster, &again, at);
    let ada = shown(&roster, first.id);
    assert_eq!((&*ada.name, ada.role), ("Ada L.", Role::Host));
    assert_eq!((ada.state.get(), ada.joined_at), ("{\"page\":7}", first.joined_at));
    assert!(Arc::ptr_eq(&ada.liveness, &liveness), "what was seen of it stays in one place");
    assert_eq!(roster.entrant(first.id).expect("is here").generation, 3);
}

#[test]
fn a_user_is_found_as_long_as_it_is_here() {
    let (mut roster, user) = (roster(), UserId::new());
    let ada = Entrant { user_id: Some(user.into()), ..entrant("Ada") };
    assert_eq!(roster.find_user(user), None);
    join(&mut roster, &ada, now());
    assert_eq!(roster.find_user(user), Some(ada.id));
    roster.remove(ada.id, LeaveReason::Removed);
    assert_eq!(roster.find_user(user), None);
}

#[test]
fn the_last_connection_that_is_lost_starts_the_grace() {
    let (mut roster, ada, at) = (roster(), entrant("Ada"), now());
    let (phone, _) = join(&mut roster, &ada, at);
    let (tablet, _) = join(&mut roster, &ada, at);

    assert_eq!(roster.lose(ada.id, phone, at).map(Said::from), Some(Said::Updated(ada.id)));
    assert_eq!(shown(&roster, ada.id).status, Status::Active);
    assert_eq!(roster.lose(ada.id, tablet, at).map(Said::from), Some(Said::Updated(ada.id)));
    let lost = shown(&roster, ada.id);
    assert_eq!((lost.status, lost.connections, lost.quality), (Status::Reconnecting, 0, None));
    assert_eq!(roster.next_deadline(), Some(at + GRACE));
}

#[test]
fn the_grace_ends_at_its_moment_and_not_before() {
    let (mut roster, ada, at) = (roster(), entrant("Ada"), now());
    let (connection, _) = join(&mut roster, &ada, at);
    roster.lose(ada.id, connection, at);
    assert_eq!(said(roster.expire((at + GRACE).before(A_MILLISECOND))), []);
    assert_eq!(said(roster.expire(at + GRACE)), [Said::Left(ada.id, LeaveReason::Timeout)]);
    assert_eq!((roster.occupancy(), roster.next_deadline()), (0, None));
}

#[test]
fn coming_back_within_the_grace_ends_it() {
    let (mut roster, ada, at) = (roster(), entrant("Ada"), now());
    let (connection, _) = join(&mut roster, &ada, at);
    roster.lose(ada.id, connection, at);
    let (_, change) = join(&mut roster, &ada, at + GRACE);
    assert_eq!(Said::from(change), Said::Updated(ada.id));
    assert_eq!(shown(&roster, ada.id).status, Status::Active);
    assert_eq!(said(roster.expire(at + GRACE)), []);
    assert_eq!(roster.occupancy(), 1);
}

#[test]
fn who_says_goodbye_by_the_last_connection_leaves_at_once() {
    let (mut roster, ada, at) = (roster(), entrant("Ada"), now());
    let (phone, _) = join(&mut roster, &ada, at);
    let (tablet, _) = join(&mut roster, &ada, at);
    assert_eq!(roster.leave(ada.id, phone, LeaveReason::Left).map(Said::from), Some(Said::Updated(ada.id)));
    assert_eq!(shown(&roster, ada.id).connections, 1);
    assert_eq!(
        roster.leave(ada.id, tablet, LeaveReason::Left).map(Said::from),
        Some(Said::Left(ada.id, LeaveReason::Left))
    );
    assert_eq!(roster.occupancy(), 0);
}

#[test]
fn a_connection_that_is_not_open_changes_nothing() {
    let (mut roster, ada, at) = (roster(), entrant("Ada"), now());
    let (connection, _) = join(&mut roster, &ada, at);
    let stranger = ConnectionId::new();
    assert_eq!(said(roster.lose(ada.id, stranger, at)), []);
    assert_eq!(said(roster.leave(ada.id, stranger, LeaveReason::Left)), []);
    assert_eq!(said(roster.set_quality(ada.id, stranger, Quality::Good)), []);

    // One that is gone already must not end the grace of the person either.
    roster.lose(ada.id, connection, at);
    assert_eq!(said(roster.lose(ada.id, connection, at + GRACE)), []);
    assert_eq!(said(roster.leave(ada.id, connection, LeaveReason::Left)), []);
    assert_eq!(shown(&roster, ada.id).status, Status::Reconnecting);
    assert_eq!(roster.next_deadline(), Some(at + GRACE));
}

#[test]
fn nothing_happens_to_somebody_who_is_not_here() {
    let (mut roster, id, connection) = (roster(), ParticipantId::new(), ConnectionId::new());
    assert_eq!(said(roster.lose(id, connection, now())), []);
    assert_eq!(said(roster.leave(id, connection, LeaveReason::Left)), []);
    assert_eq!(said(roster.remove(id, LeaveReason::Removed)), []);
    assert_eq!(said(roster.set_state(id, state(1))), []);
    assert_eq!(said(roster.set_quality(id, connection, Quality::Good)), []);
    assert_eq!(said(roster.activate(id)), []);
    assert!(roster.entrant(id).is_none());
}

#[test]
fn removing_takes_all_connections_and_hands_back_the_person() {
    let (mut roster, ada, at) = (roster(), entrant("Ada"), now());
    join(&mut roster, &ada, at);
    join(&mut roster, &ada, at);
    let liveness = Arc::clone(&shown(&roster, ada.id).liveness);
    let Some(Change::Left(last, LeaveReason::Removed)) = roster.remove(ada.id, LeaveReason::Removed) else {
        panic!("Ada was here");
    };
    assert!(Arc::ptr_eq(&last.liveness, &liveness));
    assert_eq!(roster.occupancy(), 0);
}

#[test]
fn the_quality_of_a_person_is_that_of_its_best_connection() {
    let (mut roster, ada, at) = (roster(), entrant("Ada"), now());
    let (phone, _) = join(&mut roster, &ada, at);
    let (tablet, _) = join(&mut roster, &ada, at);
    let update = Some(Said::Updated(ada.id));
    let steps = [
        (phone, Quality::Poor, update, Quality::Poor),
        (tablet, Quality::Good, update, Quality::Good),
        (phone, Quality::Degraded, None, Quality::Good),
        (tablet, Quality::Good, None, Quality::Good),
        (tablet, Quality::Poor, update, Quality::Degraded),
    ];
    for (connection, quality, change, best) in steps {
        assert_eq!(roster.set_quality(ada.id, connection, quality).map(Said::from), change);
        assert_eq!(shown(&roster, ada.id).quality, Some(best));
    }
    roster.lose(ada.id, phone, at);
    assert_eq!(shown(&roster, ada.id).quality, Some(Quality::Poor), "the better connection is gone");
}

#[test]
fn a_new_state_is_an_update_and_leaves_values_that_were_handed_out_alone() {
    let (mut roster, ada) = (roster(), entrant("Ada"));
    join(&mut roster, &ada, now());
    let before = Arc::clone(roster.get(ada.id).expect("is here"));
    assert_eq!(roster.set_state(ada.id, state(4)).map(Said::from), Some(Said::Updated(ada.id)));
    assert_eq!(before.state.get(), "{\"page\":0}");
    assert_eq!(shown(&roster, ada.id).state.get(), "{\"page\":4}");
}

#[test]
fn without_activity_somebody_becomes_idle_once_and_activity_ends_it() {
    let (mut roster, ada, at) = (roster(), entrant("Ada"), now());
    join(&mut roster, &ada, at);
    assert_eq!(roster.next_deadline(), Some(at + IDLE_AFTER));
    assert_eq!(said(roster.expire((at + IDLE_AFTER).before(A_MILLISECOND))), []);
    assert_eq!(said(roster.expire(at + IDLE_AFTER)), [Said::Updated(ada.id)]);
    assert_eq!(shown(&roster, ada.id).status, Status::Idle);
    assert!(shown(&roster, ada.id).liveness.is_watched(), "the next activity has to be told");
    assert_eq!(roster.next_deadline(), None, "somebody idle waits for nothing");
    assert_eq!(said(roster.expire(at + IDLE_AFTER * 2)), []);

    let back = at + IDLE_AFTER * 3;
    WriteBehind::default().active(&shown(&roster, ada.id).liveness, back);
    assert_eq!(roster.activate(ada.id).map(Said::from), Some(Said::Updated(ada.id)));
    assert_eq!(shown(&roster, ada.id).status, Status::Active);
    assert!(!shown(&roster, ada.id).liveness.is_watched(), "beats cost no lock again");
    assert_eq!(roster.next_deadline(), Some(back + IDLE_AFTER));
    assert_eq!(said(roster.activate(ada.id)), [], "it is active already");
}

#[test]
fn beats_put_idleness_off_without_telling_the_roster() {
    let (mut roster, ada, at, write_behind) = (roster(), entrant("Ada"), now(), WriteBehind::default());
    join(&mut roster, &ada, at);
    let later = at + IDLE_AFTER / 2;
    write_behind.active(&shown(&roster, ada.id).liveness, later);
    assert_eq!(said(roster.expire(at + IDLE_AFTER)), []);
    assert_eq!(roster.next_deadline(), Some(later + IDLE_AFTER));

    write_behind.seen(&shown(&roster, ada.id).liveness, later + IDLE_AFTER);
    assert_eq!(said(roster.expire(later + IDLE_AFTER)), [Said::Updated(ada.id)], "being heard is not doing something");
}

#[test]
fn somebody_idle_who_loses_one_of_two_connections_stays_idle() {
    let (mut roster, ada, at) = (roster(), entrant("Ada"), now());
    let (phone, _) = join(&mut roster, &ada, at);
    join(&mut roster, &ada, at);
    roster.expire(at + IDLE_AFTER);
    roster.lose(ada.id, phone, at + IDLE_AFTER);
    assert_eq!(shown(&roster, ada.id).status, Status::Idle);
    let (_, change) = join(&mut roster, &ada, at + IDLE_AFTER);
    assert_eq!(Said::from(change), Said::Updated(ada.id));
    assert_eq!(shown(&roster, ada.id).status, Status::Active, "joining is activity");
}

#[test]
fn somebody_restored_is_reconnecting_and_has_a_whole_grace() {
    let (mut roster, ada, at) = (roster(), entrant("Ada"), now());
    let yesterday = at.before(Duration::from_hours(24));
    let change = roster.restore(ada.clone(), liveness(ada.id, yesterday), at);
    assert_eq!(Said::from(change), Said::Joined(ada.id));
    let shown = shown(&roster, ada.id);
    assert_eq!((shown.status, shown.connections, shown.liveness.seen()), (Status::Reconnecting, 0, yesterday));
    assert_eq!(roster.next_deadline(), Some(at + GRACE));
    assert_eq!(said(roster.expire(at + GRACE)), [Said::Left(ada.id, LeaveReason::Timeout)]);
}

/// Everything that others can see of a person, in a form that can be compared.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Looks {
    user_id: Option<UserId>,
    name: String,
    role: Role,
    status: Status,
    quality: Option<Quality>,
    connections: usize,
    joined_at: DateTime<Utc>,
    state: String,
}

impl Looks {
    fn of(person: &Participant) -> Self {
        Self {
            user_id: person.user_id.as_ref().map(Subject::id),
            name: person.name.to_string(),
            role: person.role,
            status: person.status,
            quality: person.quality,
            connections: usize::try_from(person.connections).expect("a small number"),
            joined_at: person.joined_at,
            state: person.state.get().to_owned(),
        }
    }
}

/// A person of the model: facts only, from which everything else is worked out anew each time.
#[derive(Debug)]
struct Modelled {
    entrant: Entrant,
    connections: Vec<(ConnectionId, Option<Quality>)>,
    lost_at: Option<Moment>,
    seen: Moment,
    active: Moment,
    /// Nothing was done in time when somebody last looked.
    found_idle: bool,
}

impl Modelled {
    fn looks(&self) -> Looks {
        let has = |wanted| self.connections.iter().any(|(_, quality)| *quality == Some(wanted));
        Looks {
            user_id: self.entrant.user_id.as_ref().map(Subject::id),
            name: self.entrant.name.to_string(),
            role: self.entrant.role,
            status: match (self.connections.is_empty(), self.found_idle) {
                (true, _) => Status::Reconnecting,
                (false, true) => Status::Idle,
                (false, false) => Status::Active,
            },
            quality: [Quality::Good, Quality::Degraded, Quality::Poor].into_iter().find(|quality| has(*quality)),
            connections: self.connections.len(),
            joined_at: self.entrant.joined_at,
            state: self.entrant.state.get().to_owned(),
        }
    }

    fn deadline(&self, timings: &Timings) -> Option<Moment> {
        match self.lost_at {
            Some(lost_at) => Some(lost_at + timings.grace),
            None => (!self.found_idle).then_some(self.active + timings.idle_after),
        }
    }
}

/// The people that a random run is about.
const PEOPLE: usize = 5;

#[derive(Clone, Debug)]
enum Step {
    Join { who: usize, name: u8, role: usize, generation: i32 },
    Restore { who: usize },
    Lose { who: usize, which: usize },
    Leave { who: usize, which: usize },
    Remove { who: usize },
    SetState { who: usize, page: u8 },
    SetQuality { who: usize, which: usize, quality: usize },
    Heard { who: usize },
    Active { who: usize },
    Wait { millis: u64 },
    Expire,
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..PEOPLE;
    let which = 0..4_usize;
    prop_oneof![
        5 => (who.clone(), 0..2_u8, 0..Role::ALL.len(), 0..3)
            .prop_map(|(who, name, role, generation)| Step::Join { who, name, role, generation }),
        1 => who.clone().prop_map(|who| Step::Restore { who }),
        4 => (who.clone(), which.clone()).prop_map(|(who, which)| Step::Lose { who, which }),
        2 => (who.clone(), which.clone()).prop_map(|(who, which)| Step::Leave { who, which }),
        1 => who.clone().prop_map(|who| Step::Remove { who }),
        1 => (who.clone(), 0..3_u8).prop_map(|(who, page)| Step::SetState { who, page }),
        3 => (who.clone(), which, 0..Quality::ALL.len())
            .prop_map(|(who, which, quality)| Step::SetQuality { who, which, quality }),
        1 => who.clone().prop_map(|who| Step::Heard { who }),
        3 => who.prop_map(|who| Step::Active { who }),
        4 => (0..25_u64).prop_map(|millis| Step::Wait { millis }),
        4 => Just(Step::Expire),
    ]
}

/// A roster, the model of it, and somebody who knows only what the roster's changes say.
struct Run {
    timings: Timings,
    roster: Roster,
    people: Vec<Modelled>,
    follower: BTreeMap<ParticipantId, Looks>,
    write_behind: WriteBehind,
    session: SessionId,
    now: Moment,
    ids: [ParticipantId; PEOPLE],
    users: [Option<UserId>; PEOPLE],
}

impl Run {
    fn new(timings: Timings) -> Self {
        Self {
            timings,
            roster: Roster::new(timings),
            people: Vec::new(),
            follower: BTreeMap::new(),
            write_behind: WriteBehind::default(),
            session: SessionId::new(),
            now: now(),
            ids: std::array::from_fn(|_| ParticipantId::new()),
            users: std::array::from_fn(|who| (who % 2 == 0).then(UserId::new)),
        }
    }

    fn modelled(&mut self, who: usize) -> Option<&mut Modelled> {
        self.people.iter_mut().find(|person| person.entrant.id == self.ids[who])
    }

    fn entrant(&self, who: usize, name: u8, role: usize, generation: i32) -> Entrant {
        Entrant {
            id: self.ids[who],
            user_id: self.users[who].map(Subject::from),
            name: format!("{who} as {name}").into(),
            role: Role::ALL[role],
            state: state(9),
            // The same person says another time when it comes again; only a newcomer's counts.
            joined_at: DateTime::UNIX_EPOCH + Duration::from_secs(self.now.as_millis()),
            generation,
        }
    }

    /// One of the person's connections, or (past the last one) a connection that nobody has.
    fn connection(&mut self, who: usize, which: usize) -> ConnectionId {
        let open = self.modelled(who).map(|person| person.connections.as_slice()).unwrap_or_default();
        open.get(which % (open.len() + 1)).map_or_else(ConnectionId::new, |(connection, _)| *connection)
    }

    /// What the roster says of a step, and what the model says.
    fn take(&mut self, step: &Step) -> (Vec<Said>, Vec<Said>) {
        match *step {
            Step::Join { who, name, role, generation } => self.join(self.entrant(who, name, role, generation), who),
            Step::Restore { who } => self.restore(who),
            Step::Lose { who, which } => self.lose(who, which),
            Step::Leave { who, which } => self.leave(who, which),
            Step::Remove { who } => {
                let change = self.roster.remove(self.ids[who], LeaveReason::Removed);
                (said(change), self.forget(who, LeaveReason::Removed))
            }
            Step::SetState { who, page } => {
                let change = self.roster.set_state(self.ids[who], state(page));
                let expected = self.modelled(who).map(|person| {
                    person.entrant.state = state(page);
                    Said::Updated(person.entrant.id)
                });
                (said(change), Vec::from_iter(expected))
            }
            Step::SetQuality { who, which, quality } => {
                let (connection, quality) = (self.connection(who, which), Quality::ALL[quality]);
                let change = self.roster.set_quality(self.ids[who], connection, quality);
                let expected = self.looks_different_after(who, |person| {
                    for (open, known) in &mut person.connections {
                        if *open == connection {
                            *known = Some(quality);
                        }
                    }
                });
                (said(change), expected)
            }
            Step::Heard { who } => {
                let now = self.now;
                if let Some(known) = self.roster.get(self.ids[who]) {
                    self.write_behind.seen(&known.liveness, now);
                }
                if let Some(person) = self.modelled(who) {
                    person.seen = now;
                }
                (Vec::new(), Vec::new())
            }
            Step::Active { who } => self.active(who),
            Step::Wait { millis } => {
                self.now = self.now + Duration::from_millis(millis);
                (Vec::new(), Vec::new())
            }
            Step::Expire => self.expire(),
        }
    }

    fn join(&mut self, entrant: Entrant, who: usize) -> (Vec<Said>, Vec<Said>) {
        let (now, connection) = (self.now, ConnectionId::new());
        if let Some(known) = self.roster.get(entrant.id) {
            self.write_behind.active(&known.liveness, now);
        }
        let session = self.session;
        let change = self.roster.join(entrant.clone(), connection, || Liveness::new(self.ids[who], session, now, now));
        let expected = if let Some(person) = self.modelled(who) {
            person.entrant.name = entrant.name;
            person.entrant.role = entrant.role;
            person.entrant.generation = entrant.generation;
            person.connections.push((connection, None));
            (person.lost_at, person.found_idle) = (None, false);
            (person.seen, person.active) = (now, now);
            Said::Updated(entrant.id)
        } else {
            let id = entrant.id;
            let connections = vec![(connection, None)];
            let found_idle = false;
            self.people.push(Modelled { entrant, connections, lost_at: None, seen: now, active: now, found_idle });
            Said::Joined(id)
        };
        (said([change]), vec![expected])
    }

    fn restore(&mut self, who: usize) -> (Vec<Said>, Vec<Said>) {
        // The room restores nobody who is here.
        if self.modelled(who).is_some() {
            return (Vec::new(), Vec::new());
        }
        let (entrant, now) = (self.entrant(who, 0, 0, 0), self.now);
        let seen = now.before(Duration::from_millis(100));
        let change = self.roster.restore(entrant.clone(), Liveness::new(entrant.id, self.session, seen, seen), now);
        let expected = Said::Joined(entrant.id);
        let connections = Vec::new();
        self.people.push(Modelled { entrant, connections, lost_at: Some(now), seen, active: seen, found_idle: false });
        (said([change]), vec![expected])
    }

    fn lose(&mut self, who: usize, which: usize) -> (Vec<Said>, Vec<Said>) {
        let (connection, now) = (self.connection(who, which), self.now);
        let change = self.roster.lose(self.ids[who], connection, now);
        let expected = self.looks_different_after(who, |person| {
            person.connections.retain(|(open, _)| *open != connection);
            if person.connections.is_empty() && person.lost_at.is_none() {
                (person.lost_at, person.found_idle) = (Some(now), false);
            }
        });
        (said(change), expected)
    }

    fn leave(&mut self, who: usize, which: usize) -> (Vec<Said>, Vec<Said>) {
        let connection = self.connection(who, which);
        let change = self.roster.leave(self.ids[who], connection, LeaveReason::Left);
        let open = self.modelled(who).map(|person| person.connections.clone()).unwrap_or_default();
        let expected = if open.len() == 1 && open[0].0 == connection {
            self.forget(who, LeaveReason::Left)
        } else {
            self.looks_different_after(who, |person| person.connections.retain(|(open, _)| *open != connection))
        };
        (said(change), expected)
    }

    /// What a connection does when its person did something: the roster hears of it only if it watches.
    fn active(&mut self, who: usize) -> (Vec<Said>, Vec<Said>) {
        let (now, id) = (self.now, self.ids[who]);
        let liveness = self.roster.get(id).map(|person| Arc::clone(&person.liveness));
        let change = liveness.and_then(|liveness| {
            self.write_behind.active(&liveness, now);
            liveness.is_watched().then(|| self.roster.activate(id)).flatten()
        });
        let expected = self.looks_different_after(who, |person| {
            (person.seen, person.active) = (now, now);
            person.found_idle = false;
        });
        (said(change), expected)
    }

    fn expire(&mut self) -> (Vec<Said>, Vec<Said>) {
        let (now, timings) = (self.now, self.timings);
        let mut expected = Vec::new();
        self.people.retain(|person| {
            let over = person.lost_at.is_some_and(|lost_at| now.since(lost_at) >= timings.grace);
            if over {
                expected.push(Said::Left(person.entrant.id, LeaveReason::Timeout));
            }
            !over
        });
        for who in 0..PEOPLE {
            expected.extend(self.looks_different_after(who, |person| {
                person.found_idle |= person.lost_at.is_none() && now.since(person.active) >= timings.idle_after;
            }));
        }
        (said(self.roster.expire(now)), expected)
    }

    fn forget(&mut self, who: usize, reason: LeaveReason) -> Vec<Said> {
        let before = self.people.len();
        self.people.retain(|person| person.entrant.id != self.ids[who]);
        if self.people.len() < before { vec![Said::Left(self.ids[who], reason)] } else { Vec::new() }
    }

    /// An update is expected exactly where somebody looks different afterwards.
    fn looks_different_after(&mut self, who: usize, change: impl FnOnce(&mut Modelled)) -> Vec<Said> {
        let Some(person) = self.modelled(who) else { return Vec::new() };
        let before = person.looks();
        change(person);
        if person.looks() == before { Vec::new() } else { vec![Said::Updated(person.entrant.id)] }
    }

    /// The follower looks only at those whom a change names.
    fn follow(&mut self, changes: &[Said]) {
        for change in changes {
            let was_here = match *change {
                Said::Joined(id) | Said::Updated(id) => {
                    self.follower.insert(id, Looks::of(&self.roster.people[&id].shown)).is_some()
                }
                Said::Left(id, _) => self.follower.remove(&id).is_some(),
            };
            assert_eq!(was_here, !matches!(change, Said::Joined(_)), "{change:?}");
        }
    }

    fn check(&self) {
        let model: BTreeMap<_, _> = self.people.iter().map(|person| (person.entrant.id, person.looks())).collect();
        let roster: BTreeMap<_, _> = self.roster.iter().map(|person| (person.id, Looks::of(person))).collect();
        assert_eq!(roster, model, "the roster and the model");
        assert_eq!(self.follower, roster, "what the changes say and the roster");
        assert_eq!(self.roster.occupancy(), model.len());
        for (id, user) in self.ids.into_iter().zip(self.users) {
            assert_eq!(self.roster.get(id).is_some(), model.contains_key(&id));
            if let Some(user) = user {
                assert_eq!(self.roster.find_user(user), model.contains_key(&id).then_some(id));
            }
        }
        for person in &self.people {
            let shown = &self.roster.people[&person.entrant.id].shown;
            assert_eq!((shown.liveness.seen(), shown.liveness.active()), (person.seen, person.active));
            let entrant = self.roster.entrant(shown.id).expect("is here");
            assert_eq!(entrant.generation, person.entrant.generation);
        }
        if let Some(true_deadline) = self.true_deadline() {
            let known = self.roster.next_deadline().expect("somebody waits for something");
            assert!(known <= true_deadline, "{known:?} is later than {true_deadline:?}");
        }
    }

    fn true_deadline(&self) -> Option<Moment> {
        self.people.iter().filter_map(|person| person.deadline(&self.timings)).min()
    }

    fn run(&mut self, steps: &[Step]) {
        for step in steps {
            let overdue = self.true_deadline().is_some_and(|deadline| deadline <= self.now);
            let (mut told, mut expected) = self.take(step);
            self.follow(&told);
            // Those who are due at one moment come in no order.
            let order = |said: &Said| match *said {
                Said::Joined(id) | Said::Updated(id) | Said::Left(id, _) => id,
            };
            told.sort_by_key(order);
            expected.sort_by_key(order);
            assert_eq!(told, expected, "what {step:?} means to others");
            self.check();
            if matches!(step, Step::Expire) && overdue {
                assert_eq!(self.roster.next_deadline(), self.true_deadline(), "it looked at everybody");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_roster_agrees_with_the_naive_model_after_every_step(
        grace in 0..30_u64,
        idle_after in 1..60_u64,
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let [grace, idle_after] = [grace, idle_after].map(Duration::from_millis);
        Run::new(Timings { grace, idle_after }).run(&steps);
    }
}
