//! The order of delivery, and subscribers that fall behind.

use super::*;

/// Reads from the room at each event, and removes a person at the first.
#[derive(Debug)]
struct Curious {
    room: Arc<Room>,
    removes: Mutex<Option<ParticipantId>>,
    received: Mutex<Vec<(&'static str, usize)>>,
}

impl Subscriber for Curious {
    fn receive(&self, events: &[Event]) {
        for event in events {
            if let Some(id) = self.removes.lock().take() {
                self.room.remove(id);
            }
            let kind = if matches!(event, Event::Diff(_)) { "diff" } else { "removed" };
            self.received.lock().push((kind, self.room.occupancy()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_told_may_ask_the_room_and_what_happens_by_it_is_told_after_it() {
    let (world, mut watcher) = watched(World::new()).await;
    let (room, ada) = (world.room(), world.join(&entrant("Ada")));
    world.tick().await;
    watcher.received();
    let curious =
        Arc::new(Curious { room: Arc::clone(&room), removes: Mutex::new(Some(ada.id())), received: Mutex::default() });
    let _observer = room.observe(Arc::clone(&curious) as Arc<dyn Subscriber>).expect("the room is open");
    watcher.seat.set_state(state(1));
    world.tick().await;
    assert_eq!(*curious.received.lock(), [("diff", 1), ("removed", 1)]);
    assert!(matches!(watcher.received().as_slice(), [Event::Diff(_), Event::Removed(id)] if *id == ada.id()));
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_others_are_told_is_told_what_comes_after() {
    /// Adds an observer whenever it receives something.
    #[derive(Debug)]
    struct Porter(Arc<Room>, Mutex<Vec<Client>>);
    impl Subscriber for Porter {
        fn receive(&self, _: &[Event]) {
            let newcomer = observe(&self.0).expect("the room is open");
            self.1.lock().push(newcomer);
        }
    }
    let (world, watcher) = watched(World::new()).await;
    let porter = Arc::new(Porter(world.room(), Mutex::default()));
    let _porter = world.room().observe(Arc::clone(&porter) as Arc<dyn Subscriber>).expect("the room is open");
    for page in 1..=2 {
        watcher.seat.set_state(state(page));
        world.tick().await;
    }
    let [first, second] = &mut porter.1.lock()[..] else { panic!("one at each tick") };
    assert_eq!(first.received_changes(), updates(watcher.id()));
    second.received_nothing();
}

#[tokio::test(start_paused = true)]
async fn who_falls_too_far_behind_catches_up_by_a_snapshot() {
    let (world, mut watcher) = watched(World::new()).await;
    let ada = world.join(&entrant("Ada"));
    for page in 0..17 {
        ada.seat.set_state(state(page));
        world.tick().await;
    }
    assert!(matches!(watcher.events.try_recv(), Err(TryRecvError::Lagged(1))));
    watcher.catch_up();
    assert_eq!(watcher.view.people, Some(people(&world.room().presence().1)));
    assert_eq!(watcher.view.seq, world.room().presence().0);
    // What is still queued is older than the snapshot, and the next event continues it.
    watcher.received();
    ada.seat.leave();
    world.tick().await;
    watcher.received_diff();
    assert_eq!(watcher.view.occupancy, 1);
}

#[tokio::test(start_paused = true)]
async fn who_keeps_up_with_sixteen_events_needs_no_snapshot() {
    let (world, mut watcher) = watched(World::new()).await;
    for page in 0..16 {
        watcher.seat.set_state(state(page));
        world.tick().await;
    }
    assert_eq!(watcher.received().len(), 16);
    assert_eq!(watcher.view.people, Some(people(&world.room().presence().1)));
}
