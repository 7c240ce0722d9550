//! Counts of people, and when they were last seen.

use super::*;

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
