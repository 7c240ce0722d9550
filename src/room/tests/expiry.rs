//! The notice that a session expires.

use super::*;

fn counting_activity() -> World {
    World::with(|rules| rules.idle.counts = IdleCounts::Activity)
}

const UNTIL_NOTICE: Duration = IDLE_TIMEOUT.saturating_sub(NOTICE);

#[tokio::test(start_paused = true)]
async fn the_notice_is_given_once_and_says_when_the_session_expires() {
    let world = counting_activity();
    let mut ada = world.join(&entrant("Ada"));
    let mut observer = world.observe();
    let expires_at = world.now() + IDLE_TIMEOUT;
    world.pass(UNTIL_NOTICE - A_MILLISECOND).await;
    ada.seat.seen(world.now());
    assert_eq!(ada.received_notice(), None);

    world.pass(A_MILLISECOND).await;
    assert_eq!(ada.received_notice(), Some(expires_at));
    assert_eq!(observer.received_notice(), Some(expires_at));
    assert_eq!(ada.seat.catch_up().expect("is here").expires_at, Some(expires_at));
    world.pass(NOTICE).await;
    assert_eq!(ada.received_notice(), None);
}

#[tokio::test(start_paused = true)]
async fn activity_puts_the_notice_off_without_a_word() {
    let world = counting_activity();
    let mut ada = world.join(&entrant("Ada"));
    world.pass(UNTIL_NOTICE / 2).await;
    ada.seat.active(world.now());
    let expires_at = world.now() + IDLE_TIMEOUT;
    world.pass(UNTIL_NOTICE - A_MILLISECOND).await;
    assert_eq!(ada.received_notice(), None);
    world.pass(A_MILLISECOND).await;
    assert_eq!(ada.received_notice(), Some(expires_at));
}

#[tokio::test(start_paused = true)]
async fn the_activity_of_somebody_who_has_left_counts_too() {
    let world = counting_activity();
    let (mut ada, bob) = (world.join(&entrant("Ada")), world.join(&entrant("Bob")));
    world.pass(UNTIL_NOTICE / 2).await;
    bob.seat.active(world.now());
    let expires_at = world.now() + IDLE_TIMEOUT;
    bob.seat.leave();
    world.pass(UNTIL_NOTICE - A_MILLISECOND).await;
    assert_eq!(ada.received_notice(), None);
    world.pass(A_MILLISECOND).await;
    assert_eq!(ada.received_notice(), Some(expires_at));
}

#[tokio::test(start_paused = true)]
async fn any_activity_withdraws_the_notice_and_it_can_be_given_again() {
    let world = counting_activity();
    let (mut ada, bob) = (world.join(&entrant("Ada")), world.join(&entrant("Bob")));
    world.pass(UNTIL_NOTICE).await;
    assert!(ada.received_notice().is_some());

    bob.seat.active(world.now());
    let expires_at = world.now() + IDLE_TIMEOUT;
    assert_eq!(ada.seat.catch_up().expect("is here").expires_at, None);
    world.tick().await;
    assert_eq!(ada.received_changes(), updates(bob.id()), "all see the person who was active");

    world.pass(UNTIL_NOTICE - DIFF - A_MILLISECOND).await;
    assert_eq!(ada.received_notice(), None);
    world.pass(A_MILLISECOND).await;
    assert_eq!(ada.received_notice(), Some(expires_at));
}

#[tokio::test(start_paused = true)]
async fn the_activity_of_somebody_who_was_never_idle_withdraws_the_notice_too() {
    let world = World::with(|rules| {
        rules.idle.counts = IdleCounts::Activity;
        rules.timings.idle_after = IDLE_TIMEOUT * 2;
    });
    let mut ada = world.join(&entrant("Ada"));
    world.pass(UNTIL_NOTICE).await;
    assert!(ada.received_notice().is_some());
    ada.seat.active(world.now());
    assert_eq!(ada.seat.catch_up().expect("is here").expires_at, None);
}

#[tokio::test(start_paused = true)]
async fn a_join_withdraws_the_notice() {
    let world = counting_activity();
    let mut ada = world.join(&entrant("Ada"));
    world.pass(UNTIL_NOTICE).await;
    assert!(ada.received_notice().is_some());
    let _bob = world.join(&entrant("Bob"));
    assert_eq!(ada.seat.catch_up().expect("is here").expires_at, None);
    world.pass(UNTIL_NOTICE - A_MILLISECOND).await;
    assert_eq!(ada.received_notice(), None);
}

#[tokio::test(start_paused = true)]
async fn where_being_seen_is_enough_no_notice_is_given_while_a_person_is_here() {
    let world = World::new();
    let (mut ada, mut observer) = (world.join(&entrant("Ada")), world.observe());
    world.pass(IDLE_TIMEOUT * 2).await;
    assert_eq!((ada.received_notice(), observer.received_notice()), (None, None));
    assert_eq!(observer.seat.catch_up().expect("is open").expires_at, None);
}

/// The notices among the events of a watcher.
fn notices(events: &mut broadcast::Receiver<Event>) -> Vec<Moment> {
    let received = std::iter::from_fn(|| events.try_recv().ok());
    received.filter_map(|event| if let Event::Expiring(at) = event { Some(at) } else { None }).collect()
}

#[tokio::test(start_paused = true)]
async fn where_being_seen_is_enough_whoever_follows_an_empty_room_is_told() {
    let world = World::new();
    let mut observer = world.observe();
    let (queue, mut events) = broadcast::channel(EVENTS);
    let watching = world.room().watch(Arc::new(queue)).expect("open");
    assert_eq!(watching.expires_at, None);
    let ada = world.join(&entrant("Ada"));
    world.pass(IDLE_TIMEOUT * 2).await;
    ada.seat.seen(world.now());
    let expires_at = world.now() + IDLE_TIMEOUT;
    // Lost, and gone after the grace: what counts is when she was seen.
    drop(ada);
    world.pass(UNTIL_NOTICE - A_MILLISECOND).await;
    assert_eq!((observer.received_notice(), notices(&mut events)), (None, vec![]));
    world.pass(A_MILLISECOND).await;
    assert_eq!((observer.received_notice(), notices(&mut events)), (Some(expires_at), vec![expires_at]));

    // Whoever begins to follow it later is told as well.
    let late = world.room().watch(Arc::new(broadcast::channel(EVENTS).0)).expect("open");
    assert_eq!(late.expires_at, Some(expires_at));
    let late = world.room().observe(Arc::new(broadcast::channel(EVENTS).0)).expect("open");
    assert_eq!(late.expires_at, Some(expires_at));
    world.pass(NOTICE).await;
    assert_eq!(observer.received_notice(), None, "once");
}

#[tokio::test(start_paused = true)]
async fn a_room_that_was_empty_before_it_was_followed_expires_as_its_session_does() {
    let mut world = World::new();
    world.session.last_seen_at = Utc::now() - (IDLE_TIMEOUT - NOTICE / 2);
    let mut observer = world.observe();
    world.pass(Duration::ZERO).await;
    let expires_at = observer.received_notice().expect("it expires soon");
    let left = expires_at.since(world.now());
    assert!(left > Duration::ZERO && left <= NOTICE / 2, "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_into_an_empty_room_takes_the_notice_back() {
    let world = World::new();
    let mut observer = world.observe();
    world.pass(UNTIL_NOTICE).await;
    assert!(observer.received_notice().is_some());
    let ada = world.join(&entrant("Ada"));
    assert_eq!(observer.seat.catch_up().expect("is open").expires_at, None);
    world.tick().await;
    assert_eq!(observer.received_changes(), joins([ada.id()]), "all see who came");

    // Removed, which ends it as a leave does.
    world.pass(IDLE_TIMEOUT).await;
    ada.seat.seen(world.now());
    let expires_at = world.now() + IDLE_TIMEOUT;
    assert!(world.room().remove(ada.id()));
    world.pass(UNTIL_NOTICE - A_MILLISECOND).await;
    assert_eq!(observer.received_notice(), None);
    world.pass(A_MILLISECOND).await;
    assert_eq!(observer.received_notice(), Some(expires_at));
}

#[tokio::test(start_paused = true)]
async fn a_room_that_nobody_follows_waits_for_nothing() {
    let world = World::new();
    let ada = world.join(&entrant("Ada"));
    let place = world.room().reserve(Applicant::Stranger).expect("there are places");
    ada.seat.leave();
    world.pass(IDLE_AFTER * 2).await;
    assert!(world.is_in_memory(), "a place is promised");
    assert_eq!(world.shared().schedule.next(), None);
    drop(place);
}
