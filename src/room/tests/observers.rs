//! Observers and SSE subscribers: connections that hold no person present.

use super::*;

#[tokio::test(start_paused = true)]
async fn observers_are_neither_listed_nor_counted_nor_seen() {
    let (world, mut watcher) = watched(World::new().holding(1)).await;
    let signs = world.room().last_signs();
    let mut observer = world.observe();
    assert_eq!(observer.view.people.as_ref().map(BTreeMap::len), Some(1));
    assert_eq!((observer.seat.participant(), observer.view.occupancy), (None, 1));
    world.pass(Duration::from_secs(1)).await;
    observer.seat.active(world.now());
    observer.seat.seen(world.now());
    observer.seat.set_state(state(5));
    observer.seat.set_quality(Quality::Poor);
    world.tick().await;
    watcher.received_nothing();
    assert_eq!(world.room().last_signs(), signs);
    assert_eq!(world.registry.census().observers, 1);

    watcher.seat.set_state(state(1));
    world.tick().await;
    assert_eq!(observer.received_changes(), updates(watcher.id()));
    drop(observer);
    world.tick().await;
    assert_eq!(watcher.received_changes(), updates(watcher.id()), "its own change, and nothing of the observer");
    assert_eq!(world.registry.census().observers, 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_reads_along_hears_everything_and_is_nobody() {
    let world = World::new().holding(1);
    let (queue, mut events) = broadcast::channel(EVENTS);
    let reading = world.room().watch(Arc::new(queue)).expect("open");
    let census = world.registry.census();
    assert_eq!((census.watchers, census.observers, census.participants), (1, 0, [0; 3]));
    let ada = world.join(&entrant("Ada"));
    world.tick().await;
    assert!(matches!(events.try_recv(), Ok(Event::Diff(diff)) if diff.seq == 1 && diff.occupancy == 1));
    let id = ada.id();
    ada.seat.leave();
    world.tick().await;
    assert!(matches!(events.try_recv(), Ok(Event::Diff(_))));
    world.pass(IDLE_TIMEOUT).await;
    assert!(world.is_in_memory(), "the reader holds it");
    assert!(matches!(events.try_recv(), Ok(Event::Expiring(_))));

    // A removal is sent although no person is there: it ends streams of that person.
    assert!(!world.room().remove(id));
    assert!(matches!(events.try_recv(), Ok(Event::Removed(removed)) if removed == id));
    assert_eq!(reading.watch.catch_up().expect("open").snapshot.occupancy, 0);
    drop(reading);
    world.tick().await;
    assert!(!world.is_in_memory());

    let reading = world.room().watch(Arc::new(broadcast::channel(EVENTS).0)).expect("open");
    world.registry.close(world.session.id, CloseReason::Host);
    assert_eq!(reading.watch.catch_up().err(), Some(Gone::Closed(CloseReason::Host)));
    assert_eq!(world.registry.census().watchers, 0);
}
