//! What changes within an interval becomes one diff, and a snapshot and the diffs after it fit together.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_newcomer_finds_itself_in_the_snapshot_and_the_others_hear_of_it() {
    let (world, mut watcher) = watched(World::new()).await;
    let ada = world.join(&entrant("Ada"));
    let listed = ada.view.people.as_ref().expect("names");
    assert_eq!((ada.view.occupancy, listed.len()), (2, 2));
    assert!(listed.contains_key(&ada.id()));
    world.tick().await;
    assert_eq!(watcher.received_changes(), joins([ada.id()]));
    assert_eq!(watcher.view.people, ada.view.people);
    assert_eq!(world.counted.joins(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_changes_within_one_interval_is_published_as_one_diff() {
    let (world, mut watcher) = watched(World::new()).await;
    let ada = world.join(&entrant("Ada"));
    world.pass(DIFF - A_MILLISECOND).await;
    let bob = world.join(&entrant("Bob"));
    watcher.received_nothing();

    world.pass(A_MILLISECOND).await;
    assert_eq!(watcher.received_changes(), joins([ada.id(), bob.id()]));
    let seq = watcher.view.seq;

    ada.seat.set_state(state(1));
    world.pass(DIFF - A_MILLISECOND).await;
    watcher.received_nothing();
    world.pass(A_MILLISECOND).await;
    assert_eq!(watcher.received_changes(), updates(ada.id()));
    assert_eq!(watcher.view.seq, seq + 1);
    world.pass(DIFF * 10).await;
    watcher.received_nothing();
}

#[tokio::test(start_paused = true)]
async fn who_joins_and_leaves_within_one_interval_appears_as_a_leave() {
    let (world, mut watcher) = watched(World::new()).await;
    let ada = world.join(&entrant("Ada"));
    let id = ada.id();
    ada.seat.leave();
    world.tick().await;
    assert_eq!(watcher.received_changes(), leaves(id, LeaveReason::Left));
    assert_eq!(watcher.view.occupancy, 1);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_between_a_join_and_a_leave_of_one_interval_is_put_right() {
    let (world, _watcher) = watched(World::new()).await;
    let ada = world.join(&entrant("Ada"));
    let id = ada.id();
    let mut bob = world.join(&entrant("Bob"));
    assert!(bob.view.people.as_ref().expect("names").contains_key(&id));
    ada.seat.leave();
    world.tick().await;
    bob.received();
    assert!(!bob.view.people.as_ref().expect("names").contains_key(&id));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_and_comes_back_within_one_interval_appears_as_an_update() {
    let (world, mut watcher) = watched(World::new()).await;
    let entrant = entrant("Ada");
    let ada = world.join(&entrant);
    world.tick().await;
    watcher.received();

    ada.seat.leave();
    let _back = world.join(&entrant);
    world.tick().await;
    assert_eq!(watcher.received_changes(), updates(entrant.id));
}

#[tokio::test(start_paused = true)]
async fn who_joins_leaves_and_joins_within_one_interval_appears_as_a_join() {
    let (world, mut watcher) = watched(World::new()).await;
    let entrant = entrant("Ada");
    world.join(&entrant).seat.leave();
    let _back = world.join(&entrant);
    world.tick().await;
    assert_eq!(watcher.received_changes(), joins([entrant.id]));
}

#[tokio::test(start_paused = true)]
async fn a_room_of_more_than_a_hundred_gathers_for_the_longer_interval() {
    let world = World::new();
    let mut crowd = crowd(&world, LARGE);
    world.tick().await;
    crowd[0].received();

    crowd[1].seat.set_state(state(1));
    world.pass(DIFF).await;
    assert_eq!(crowd[0].received_changes(), updates(crowd[1].id()), "a hundred are not more than a hundred");

    let last = world.join(&entrant("One too many"));
    world.pass(DIFF_LARGE - A_MILLISECOND).await;
    crowd[0].received_nothing();
    world.pass(A_MILLISECOND).await;
    assert_eq!(crowd[0].received_changes(), joins([last.id()]));
}

#[tokio::test(start_paused = true)]
async fn the_events_of_a_newcomer_continue_its_snapshot() {
    let (world, mut watcher) = watched(World::new()).await;
    let mut clients = Vec::new();
    for round in 0..10 {
        // Some join while a change waits to be published, some when everything is published.
        if round % 2 == 0 {
            watcher.seat.set_state(state(round));
        }
        let newcomer = world.join(&entrant("Newcomer"));
        let told = watcher.view.seq;
        assert_eq!(newcomer.view.seq, told);
        clients.push(newcomer);
        world.tick().await;
        assert_eq!(watcher.received_diff().seq, told + 1);
    }
    for mut client in clients {
        client.received();
        assert_eq!((client.view.seq, &client.view.people), (watcher.view.seq, &watcher.view.people));
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_come_between_two_steps_share_one_list() {
    let (world, mut watcher) = watched(World::new()).await;
    let (list, newer) = listed(&world);
    assert_eq!((list.people.len(), newer), (1, 0));
    let mut crowd = crowd(&world, NEWER);
    let (same, newer) = listed(&world);
    assert!(Arc::ptr_eq(&list, &same));
    assert_eq!(newer, NEWER);
    for (before, client) in crowd.iter().enumerate() {
        assert_eq!(client.view.people.as_ref().map(BTreeMap::len), Some(before + 2));
    }

    crowd.push(world.join(&entrant("One more")));
    let (longer, newer) = listed(&world);
    assert_eq!((longer.people.len(), newer), (NEWER + 2, 0), "too many to be encoded again and again");

    watcher.seat.set_state(state(1));
    let (changed, _) = listed(&world);
    assert!(!Arc::ptr_eq(&longer, &changed), "a list that is not true any more");
    world.tick().await;
    let (told, _) = listed(&world);
    assert!(!Arc::ptr_eq(&changed, &told), "a list is given up with the diff");
    watcher.received_diff();
}

#[tokio::test(start_paused = true)]
async fn who_is_new_and_changes_or_leaves_before_the_diff_is_shown_as_it_is() {
    let (world, mut watcher) = watched(World::new()).await;
    let (ada, bob) = (world.join(&entrant("Ada")), world.join(&entrant("Bob")));
    let (ada_id, bob_id) = (ada.id(), bob.id());
    ada.seat.set_state(state(7));
    bob.seat.leave();
    let mut cyd = world.join(&entrant("Cyd"));
    let seen = cyd.view.people.as_ref().expect("names");
    assert_eq!((seen.len(), seen[&ada_id].state.as_str()), (3, r#"{"page":7}"#));
    assert!(!seen.contains_key(&bob_id));

    let bob = world.join(&Entrant { id: bob_id, ..entrant("Bob again") });
    assert_eq!(bob.view.people, Some(people(&world.room().presence().1)));
    world.tick().await;
    watcher.received();
    cyd.received();
    assert_eq!(cyd.view.people, watcher.view.people);
    assert_eq!(cyd.view.people, Some(people(&world.room().presence().1)));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_room_gives_its_list_up_and_tells_nothing() {
    let (world, mut watcher) = watched(World::new()).await;
    let room = world.room();
    assert!(!room.lock().publisher.has_list());
    let seq = room.snapshot().seq;
    assert!(room.lock().publisher.has_list());
    world.tick().await;
    assert!(!room.lock().publisher.has_list());
    watcher.received_nothing();
    assert_eq!(room.snapshot().seq, seq);
}

#[tokio::test(start_paused = true)]
async fn a_beat_alone_is_no_diff() {
    let (world, mut watcher) = watched(World::new()).await;
    for _ in 0..5 {
        watcher.seat.active(world.now());
        watcher.seat.seen(world.now());
        world.tick().await;
    }
    watcher.received_nothing();
}

#[tokio::test(start_paused = true)]
async fn a_new_quality_is_a_step_only_where_it_is_the_persons() {
    let (world, mut watcher) = watched(World::new()).await;
    let ada = entrant("Ada");
    let (phone, tablet) = (world.join(&ada), world.join(&ada));
    phone.seat.set_quality(Quality::Good);
    world.tick().await;
    watcher.received();

    tablet.seat.set_quality(Quality::Poor);
    world.tick().await;
    watcher.received_nothing();

    phone.seat.set_quality(Quality::Degraded);
    world.tick().await;
    assert_eq!(watcher.received_changes(), updates(ada.id));
    assert_eq!(phone.shown().quality, Some(Quality::Degraded));
}

#[tokio::test(start_paused = true)]
async fn a_new_state_is_told_and_noted_for_the_store() {
    let (world, mut watcher) = watched(World::new()).await;
    watcher.seat.set_state(state(7));
    world.tick().await;
    assert_eq!(watcher.received_changes(), updates(watcher.id()));
    assert_eq!(watcher.shown().state.get(), "{\"page\":7}");
    let chunk = world.shared().write_behind.take(10).pop().expect("a row");
    let (written, shown) = chunk.rows()[0].state.clone().expect("a state");
    assert_eq!((written.get(), shown), ("{\"page\":7}", world.now().before(DIFF)));
    chunk.written();
}

#[tokio::test(start_paused = true)]
async fn what_the_store_said_of_a_newcomer_is_not_written_back() {
    let world = World::new();
    let _ada = world.join(&Entrant { state: state(4), ..entrant("Ada") });
    let chunk = world.shared().write_behind.take(10).pop().expect("a row");
    assert!(chunk.rows()[0].state.is_none(), "the store has said it");
    assert_eq!((chunk.rows()[0].seen, chunk.rows()[0].active), (world.now(), world.now()));
    chunk.written();
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_shows_what_it_showed_last_whatever_the_store_has_of_it() {
    let world = World::new();
    let ada = Entrant { state: state(1), ..entrant("Ada") };
    let first = world.join(&ada);
    first.seat.set_state(state(2));
    first.seat.leave();
    let back = world.join(&ada);
    assert_eq!(back.shown().state.get(), "{\"page\":2}");
    let chunk = world.shared().write_behind.take(10).pop().expect("a row");
    let (written, _) = chunk.rows()[0].state.as_ref().expect("a state");
    assert_eq!(written.get(), "{\"page\":2}");
    chunk.written();
}

#[test]
fn of_updates_that_cross_the_one_that_is_shown_is_written() {
    let world = World::new();
    let ada = entrant("Ada");
    let tabs = [world.join(&ada), world.join(&ada)];
    for round in 0..2000 {
        std::thread::scope(|scope| {
            for (tab, page) in tabs.iter().zip([1, 2]) {
                let seat = &tab.seat;
                scope.spawn(move || seat.set_state(state(page)));
            }
        });
        let chunk = world.shared().write_behind.take(10).pop().expect("a row");
        let (written, _) = chunk.rows()[0].state.clone().expect("a state");
        assert_eq!(tabs[0].shown().state.get(), written.get(), "round {round}");
        chunk.written();
    }
}
