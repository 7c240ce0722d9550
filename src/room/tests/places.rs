//! Places, reservations and the size of a room.

use super::*;

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
    let ada = Entrant { user_id: Some(user.into()), ..entrant("Ada") };
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
    crowd.pop().expect("two joined").seat.leave();
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
        assert_eq!(client.received().into_iter().filter_map(told).collect::<Vec<_>>(), ["Emma", "Persuasion"]);
    }
    let missed = crowd[0].seat.catch_up().expect("is here").session;
    assert_eq!(missed.map(title).as_deref(), Some("Persuasion"));
}

#[tokio::test(start_paused = true)]
async fn who_is_here_is_recalled_with_what_it_is_now() {
    let world = World::new();
    let user = UserId::new();
    let ada = Entrant { user_id: Some(user.into()), generation: 4, ..entrant("Ada") };
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
