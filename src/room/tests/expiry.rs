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
async fn where_being_seen_is_enough_no_notice_is_given() {
    let world = World::new();
    let mut ada = world.join(&entrant("Ada"));
    world.pass(IDLE_TIMEOUT * 2).await;
    assert_eq!(ada.received_notice(), None);
}
