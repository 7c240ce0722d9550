//! People who are restored after a restart.

use super::*;

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
    assert_eq!(world.counted.joins(), 0, "all were here before");
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
