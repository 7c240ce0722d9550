//! Connections, graces, idleness.

use super::*;

#[tokio::test(start_paused = true)]
async fn several_connections_are_one_participant() {
    let (world, mut watcher) = watched(World::new()).await;
    let ada = entrant("Ada");
    let (phone, tablet, desk) = (world.join(&ada), world.join(&ada), world.join(&ada));
    assert_eq!((desk.view.occupancy, desk.shown().connections), (2, 3));
    world.tick().await;
    assert_eq!(watcher.received_changes(), joins([ada.id]));

    drop(phone);
    world.tick().await;
    assert_eq!(watcher.received_changes(), updates(ada.id));
    tablet.seat.leave();
    world.tick().await;
    assert_eq!(watcher.received_changes(), updates(ada.id));
    assert_eq!((desk.shown().connections, desk.shown().status), (1, Status::Active));

    desk.seat.leave();
    world.tick().await;
    assert_eq!(watcher.received_changes(), leaves(ada.id, LeaveReason::Left));
}

#[tokio::test(start_paused = true)]
async fn coming_back_within_the_grace_is_neither_a_leave_nor_a_join() {
    let (world, mut watcher) = watched(World::new()).await;
    let ada = entrant("Ada");
    let connection = world.join(&ada);
    world.tick().await;
    watcher.received();

    drop(connection);
    world.tick().await;
    assert_eq!(watcher.received_changes(), updates(ada.id));
    assert_eq!(watcher.view.people.as_ref().expect("names")[&ada.id].status, Status::Reconnecting);

    world.pass(GRACE - DIFF - A_MILLISECOND).await;
    let _back = world.join(&ada);
    world.pass(GRACE * 2).await;
    assert_eq!(watcher.received_changes(), updates(ada.id));
    assert_eq!(watcher.view.people.as_ref().expect("names")[&ada.id].status, Status::Active);
    assert_eq!(world.counted.joins(), 2, "Ada joined once");
}

#[tokio::test(start_paused = true)]
async fn a_quick_return_is_one_update() {
    let (world, mut watcher) = watched(World::new()).await;
    let ada = entrant("Ada");
    let connection = world.join(&ada);
    world.tick().await;
    watcher.received();
    drop(connection);
    let _back = world.join(&ada);
    world.pass(GRACE * 2).await;
    assert_eq!(watcher.received_changes(), updates(ada.id));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_come_back_within_the_grace_leaves_by_timeout() {
    let (world, mut watcher) = watched(World::new()).await;
    let ada = world.join(&entrant("Ada"));
    let id = ada.id();
    drop(ada);
    world.pass(GRACE - A_MILLISECOND).await;
    watcher.received();
    assert!(world.room().participant(id).is_some());
    world.pass(A_MILLISECOND + DIFF).await;
    assert_eq!(watcher.received_changes(), leaves(id, LeaveReason::Timeout));
    assert_eq!(world.written_leave(id), Some(LeaveReason::Timeout));
    assert_eq!(world.counted.leaves(LeaveReason::Timeout), 1);
}

#[tokio::test(start_paused = true)]
async fn a_grace_is_given_the_time_of_a_stall() {
    let (world, mut watcher) = watched(World::new()).await;
    let ada = world.join(&entrant("Ada"));
    let id = ada.id();
    world.pass(DIFF).await;
    drop(ada);
    world.pass(DIFF).await;
    watcher.received();
    let stall = 10 * GRACE;
    tokio::time::advance(stall).await;
    world.shared().clock.stall(stall);
    world.pass(GRACE - 2 * DIFF).await;
    assert!(world.room().participant(id).is_some());
    world.pass(3 * DIFF).await;
    assert_eq!(watcher.received_changes(), leaves(id, LeaveReason::Timeout));
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
    // Being received, as an unattended tab is, changes nothing.
    ada.seat.seen(world.now());
    world.pass(IDLE_AFTER / 2 - A_MILLISECOND).await;
    watcher.received();
    assert_eq!(ada.shown().status, Status::Active);

    world.pass(A_MILLISECOND + DIFF).await;
    assert_eq!(watcher.received_changes(), updates(ada.id()));
    assert_eq!(ada.shown().status, Status::Idle);
    assert_eq!(watcher.shown().status, Status::Active);

    ada.seat.active(world.now());
    assert_eq!(ada.shown().status, Status::Active);
    world.tick().await;
    assert_eq!(watcher.received_changes(), updates(ada.id()));
    world.pass(IDLE_AFTER).await;
    assert_eq!(ada.shown().status, Status::Idle, "it can become idle again");
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_stall_makes_nobody_idle() {
    let (world, mut watcher) = watched(World::new()).await;
    let (ada, bob) = (world.join(&entrant("Ada")), world.join(&entrant("Bob")));
    world.pass(IDLE_AFTER / 2).await;
    watcher.seat.active(world.now());
    bob.seat.active(world.now());
    watcher.received();
    let stall = 10 * IDLE_AFTER;
    tokio::time::advance(stall).await;
    world.shared().clock.stall(stall);
    world.tick().await;
    // What Bob did meanwhile was waiting in the socket.
    bob.seat.active(world.now());
    world.pass(IDLE_AFTER / 2 - 2 * DIFF).await;
    assert_eq!([&ada, &bob, &watcher].map(|joined| joined.shown().status), [Status::Active; 3]);

    world.pass(3 * DIFF).await;
    assert_eq!(watcher.received_changes(), updates(ada.id()));
    assert_eq!(ada.shown().status, Status::Idle);
    // A second one before the first does not matter any more gives its own time as well.
    let stall = 2 * IDLE_AFTER;
    tokio::time::advance(stall).await;
    world.shared().clock.stall(stall);
    world.tick().await;
    assert_eq!(watcher.shown().status, Status::Active);
    world.pass(IDLE_AFTER + DIFF).await;
    assert_eq!([&ada, &bob, &watcher].map(|joined| joined.shown().status), [Status::Idle; 3], "and no more than that");
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

#[tokio::test(start_paused = true)]
async fn a_client_that_fails_before_it_has_sent_a_frame_has_no_grace() {
    let (world, mut watcher) = watched(World::new().holding(2)).await;
    let mute = world.join(&entrant("Mute"));
    let id = mute.id();
    world.tick().await;
    assert_eq!(watcher.received_changes(), joins([id]));
    mute.seat.fail();
    let next = world.join(&entrant("Next"));
    world.tick().await;
    let mut expected = joins([next.id()]);
    expected.leaves = vec![(id, LeaveReason::Timeout)];
    assert_eq!(watcher.received_changes(), expected, "the place is free at once");
    assert_eq!(world.written_leave(id), Some(LeaveReason::Timeout));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_fails_later_has_its_grace_whichever_connection_sent_the_frame() {
    let (world, mut watcher) = watched(World::new()).await;
    let ada = entrant("Ada");
    let (phone, tablet) = (world.join(&ada), world.join(&ada));
    phone.seat.confirm();
    world.tick().await;
    watcher.received();
    phone.seat.fail();
    assert_eq!((tablet.shown().connections, tablet.shown().status), (1, Status::Active));
    tablet.seat.fail();
    world.tick().await;
    assert_eq!(watcher.received_changes(), updates(ada.id));
    let back = world.join(&ada);
    back.seat.fail();
    world.pass(GRACE - A_MILLISECOND).await;
    assert!(world.room().participant(ada.id).is_some(), "who was there before is expected back");
    world.pass(A_MILLISECOND).await;
    assert!(world.room().participant(ada.id).is_none());

    // Whoever comes in after that has to send a frame again.
    world.join(&ada).seat.fail();
    assert!(world.room().participant(ada.id).is_none());
}

#[tokio::test(start_paused = true)]
async fn one_of_several_connections_that_fails_is_gone_and_the_person_stays() {
    let world = World::new();
    let ada = entrant("Ada");
    let (phone, tablet) = (world.join(&ada), world.join(&ada));
    phone.seat.fail();
    assert_eq!((tablet.shown().connections, tablet.shown().status), (1, Status::Active));
    drop(tablet);
    assert!(world.room().participant(ada.id).is_some(), "lost without an error");
}

#[tokio::test(start_paused = true)]
async fn who_was_there_before_a_restart_has_a_grace() {
    let world = World::new();
    let ada = entrant("Ada");
    world.room().restore(ada.clone(), world.now());
    world.join(&ada).seat.fail();
    assert!(world.room().participant(ada.id).is_some());
}
