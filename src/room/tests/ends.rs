//! Removal, close and drain.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_removed_participant_is_told_and_gone_with_all_its_connections() {
    let (world, mut watcher) = watched(World::new().holding(2)).await;
    let ada = entrant("Ada");
    let (mut phone, mut tablet) = (world.join(&ada), world.join(&ada));
    world.tick().await;
    let seq = watcher.view.seq;
    watcher.received();

    assert!(world.room().remove(ada.id));
    for connection in [&mut phone, &mut tablet] {
        connection.received();
        assert_eq!(connection.ended, Some(Gone::Removed));
        assert_eq!(connection.seat.catch_up().err(), Some(Gone::Removed));
        assert!(connection.seat.shown().is_none());
    }
    watcher.received();
    assert_eq!(watcher.ended, None);
    assert!(matches!(world.room().reserve(Applicant::Stranger), Ok(Some(_))), "its place is free");

    world.tick().await;
    assert_eq!(watcher.received_changes(), leaves(ada.id, LeaveReason::Removed));
    assert_eq!(watcher.view.seq, seq + 2);
    assert_eq!(world.written_leave(ada.id), None, "the call that removed it has stored that");

    drop(phone);
    tablet.seat.leave();
    world.tick().await;
    watcher.received_nothing();
    assert!(!world.room().remove(ada.id), "it is not here any more");
}

#[tokio::test(start_paused = true)]
async fn a_closed_room_tells_everybody_and_takes_nobody() {
    let (world, mut watcher) = watched(World::new()).await;
    let (room, mut observer) = (world.room(), world.observe());
    assert!(world.registry.close(world.session.id, CloseReason::Host));
    for client in [&mut watcher, &mut observer] {
        assert!(matches!(client.received().as_slice(), [Event::Closed(CloseReason::Host)]));
        assert_eq!(client.seat.catch_up().err(), Some(Gone::Closed(CloseReason::Host)));
    }
    let refused = Some(JoinError::Closed(CloseReason::Host));
    assert_eq!(room.reserve(Applicant::Stranger).err(), refused);
    assert_eq!(join(&room, entrant("Late"), None).err(), refused);
    assert_eq!(observe(&room).err(), refused);
    assert!(room.recall(Applicant::Participant(watcher.id())).is_none());
    assert!(!world.is_in_memory());
    assert!(!world.registry.close(world.session.id, CloseReason::Idle), "it is closed already");
    assert_eq!(world.counted.leaves(LeaveReason::Closed), 1);

    let id = watcher.id();
    watcher.seat.leave();
    drop(observer.seat);
    world.pass(GRACE * 2).await;
    assert_eq!(room.occupancy(), 0);
    assert_eq!(world.written_leave(id), None, "the call that closed the session has stored that");
}

#[tokio::test(start_paused = true)]
async fn whoever_was_admitted_before_a_close_and_comes_after_it_is_not_let_in() {
    let world = World::new();
    let closed = Some(JoinError::Closed(CloseReason::Host));
    assert!(!world.registry.close(world.session.id, CloseReason::Host), "it is not in memory");
    let room = world.room();
    assert_eq!(room.reserve(Applicant::Stranger).err(), closed);
    assert_eq!(join(&room, entrant("Late"), None).err(), closed);
    assert_eq!(observe(&room).err(), closed);
    assert!(!world.is_in_memory());

    world.pass(CLOSED_FOR - A_MILLISECOND).await;
    assert_eq!(observe(&world.room()).err(), closed);
    world.pass(A_MILLISECOND).await;
    assert!(observe(&world.room()).is_ok(), "the store knows by now, and is asked before");
}

#[tokio::test(start_paused = true)]
async fn a_place_in_a_room_that_is_closed_meanwhile_is_worth_nothing() {
    let world = World::new();
    let room = world.room();
    let place = room.reserve(Applicant::Stranger).expect("it is empty");
    world.registry.close(world.session.id, CloseReason::Idle);
    assert_eq!(join(&room, entrant("Late"), place).err(), Some(JoinError::Closed(CloseReason::Idle)));
}

#[tokio::test(start_paused = true)]
async fn a_draining_room_asks_everybody_to_come_back_and_nobody_is_lost() {
    let (world, mut watcher) = watched(World::new()).await;
    let (room, mut observer) = (world.room(), world.observe());
    let mut ada = world.join(&entrant("Ada"));
    world.tick().await;
    for client in [&mut watcher, &mut observer, &mut ada] {
        client.received();
    }
    world.registry.drain(1, async || {}).await;
    for client in [&mut watcher, &mut observer, &mut ada] {
        assert!(matches!(client.received().as_slice(), [Event::Draining]));
        assert_eq!(client.seat.catch_up().err(), Some(Gone::Draining));
    }
    assert_eq!(join(&room, entrant("Late"), None).err(), Some(JoinError::Draining));
    assert_eq!(observe(&room).err(), Some(JoinError::Draining));

    let ids = [watcher.id(), ada.id()];
    drop((watcher.seat, ada.seat, observer.seat));
    world.pass(GRACE * 2).await;
    assert_eq!(room.occupancy(), 2);
    assert!(matches!(watcher.events.try_recv(), Err(TryRecvError::Closed)), "no diff was published");
    for id in ids {
        assert_eq!(room.participant(id).map(|person| person.status), Some(Status::Active));
        assert_eq!(world.written_leave(id), None);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_while_the_server_stops_has_left() {
    let world = World::new();
    let (ada, bob) = (entrant("Ada"), entrant("Bob"));
    let (only, phone, tablet) = (world.join(&ada), world.join(&bob), world.join(&bob));
    world.registry.drain(1, async || {}).await;
    only.seat.leave();
    drop(phone.seat);
    tablet.seat.leave();
    assert_eq!(world.counted.leaves(LeaveReason::Left), 1);
    let chunks = world.shared().write_behind.take(usize::MAX);
    let left =
        |id| chunks.iter().flat_map(|chunk| chunk.rows()).find(|row| row.participant() == id).map(|row| row.left);
    assert_eq!(left(ada.id), Some(Some(LeaveReason::Left)), "the last flush writes it");
    assert_eq!(left(bob.id), Some(None), "the other connection was asked to come back");
}

#[tokio::test(start_paused = true)]
async fn rooms_drain_in_batches_and_those_opened_meanwhile_take_nobody() {
    let world = World::new();
    let rooms: Vec<_> = (0..5).map(|_| world.registry.open(session())).collect();
    let pauses = Cell::new(0);
    let drained = || rooms.iter().filter(|room| observe(room).err() == Some(JoinError::Draining)).count();
    world
        .registry
        .drain(2, async || {
            pauses.set(pauses.get() + 1);
            assert_eq!(drained(), (2 * pauses.get()).min(rooms.len()));
        })
        .await;
    assert_eq!(pauses.get(), 3);
    assert_eq!(world.room().reserve(Applicant::Stranger).err(), Some(JoinError::Draining));
}
