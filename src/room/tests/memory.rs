//! When a room leaves memory.

use super::*;

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
    assert!(!world.is_in_memory(), "the person that it was opened for never joined");
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
