//! Above the detail limit counts are published instead of names.

use super::*;

const LIMIT: usize = 3;

fn small() -> World {
    World::with(|rules| rules.detail_limit = LIMIT)
}

#[tokio::test(start_paused = true)]
async fn over_the_detail_limit_counts_are_told_instead_of_names() {
    let world = small();
    let mut crowd = crowd(&world, LIMIT);
    assert_eq!(crowd[LIMIT - 1].view.people.as_ref().map(BTreeMap::len), Some(LIMIT));
    world.tick().await;
    crowd[0].received();

    let newcomer = world.join(&entrant("One too many"));
    assert_eq!((newcomer.view.occupancy, &newcomer.view.people), (LIMIT + 1, &None));
    world.tick().await;
    let diff = crowd[0].received_diff();
    assert_eq!((diff.occupancy, diff.changes.is_some()), (LIMIT + 1, false));
}

#[tokio::test(start_paused = true)]
async fn over_the_detail_limit_only_a_new_count_is_told() {
    let world = small();
    let mut crowd = crowd(&world, LIMIT + 1);
    world.tick().await;
    crowd[0].received();

    crowd[1].seat.set_state(state(1));
    world.tick().await;
    crowd[0].received_nothing();

    let seq = crowd[0].view.seq;
    let _more = world.join(&entrant("More"));
    world.tick().await;
    let diff = crowd[0].received_diff();
    assert_eq!((diff.seq, diff.occupancy), (seq + 1, LIMIT + 2));
}

#[tokio::test(start_paused = true)]
async fn a_room_that_falls_below_the_detail_limit_asks_everybody_to_look_again() {
    let world = small();
    let mut crowd = crowd(&world, LIMIT + 1);
    world.tick().await;
    crowd[0].received();
    // At the limit it may be over it again in a moment: counts still.
    crowd.pop().expect("some joined").seat.leave();
    world.tick().await;
    let diff = crowd[0].received_diff();
    assert_eq!((diff.occupancy, diff.changes.is_some()), (LIMIT, false));
    let newcomer = world.observe();
    assert_eq!((newcomer.view.occupancy, &newcomer.view.people), (LIMIT, &None));

    crowd.pop().expect("some joined").seat.leave();
    world.tick().await;
    assert!(matches!(crowd[0].received().as_slice(), [Event::Refresh]));
    assert_eq!(crowd[0].view.people, Some(people(&world.room().presence().1)));

    crowd[1].seat.set_state(state(1));
    world.tick().await;
    assert_eq!(crowd[0].received_changes(), updates(crowd[1].id()), "names again from here on");
}

#[tokio::test(start_paused = true)]
async fn who_comes_and_goes_at_the_detail_limit_has_nobody_sent_the_list() {
    let world = small();
    let mut crowd = crowd(&world, LIMIT + 1);
    world.tick().await;
    crowd[0].received();
    for _ in 0..20 {
        crowd.pop().expect("some joined").seat.leave();
        world.tick().await;
        assert!(matches!(crowd[0].received().as_slice(), [Event::Diff(diff)] if diff.changes.is_none()));
        crowd.push(world.join(&entrant("In and out")));
        world.tick().await;
        assert!(matches!(crowd[0].received().as_slice(), [Event::Diff(diff)] if diff.changes.is_none()));
    }
}

#[test]
fn a_room_falls_a_tenth_below_its_limit_before_it_sends_people_again() {
    for (limit, back) in [(1, 1), (2, 1), (3, 2), (10, 9), (11, 9), (500, 450)] {
        assert_eq!(back_to_people(limit), back, "{limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_came_while_the_room_was_briefly_over_the_detail_limit_gets_the_list() {
    let world = small();
    let mut crowd = crowd(&world, LIMIT);
    world.tick().await;
    let mut newcomer = world.join(&entrant("One too many"));
    assert_eq!(newcomer.view.people, None);
    // Before the diff that would have held the count, the room is small enough again.
    crowd.pop().expect("some joined").seat.leave();
    crowd.pop().expect("some joined").seat.leave();
    world.tick().await;
    newcomer.received();
    assert_eq!(newcomer.view.people, Some(people(&world.room().presence().1)));
}

#[tokio::test(start_paused = true)]
async fn who_came_while_the_room_was_briefly_below_the_detail_limit_hears_the_count() {
    let world = small();
    let mut crowd = crowd(&world, LIMIT + 1);
    world.tick().await;
    crowd.pop().expect("some joined").seat.leave();
    crowd.pop().expect("some joined").seat.leave();
    let mut observer = world.observe();
    assert_eq!((observer.view.occupancy, &observer.view.people), (LIMIT - 1, &None), "no diff says so yet");
    let _another = world.join(&entrant("At the limit"));
    let _newcomer = world.join(&entrant("One too many"));
    world.tick().await;
    observer.received();
    assert_eq!((observer.view.occupancy, &observer.view.people), (LIMIT + 1, &None));
}
