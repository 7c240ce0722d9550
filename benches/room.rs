//! What the inside costs, without sockets and database: `cargo bench --bench room [-- write_behind]`.

mod common;

use std::sync::Arc;
use std::time::Duration;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use lastseen::clock::{Clock, Moment};
use lastseen::domain::ids::{ConnectionId, ParticipantId, SessionId};
use lastseen::domain::participant::{LeaveReason, Quality};
use lastseen::protocol::v1::{self, Frames};
use lastseen::room::roster::Roster;
use lastseen::room::{Joined, Liveness, Registry, Room, Timings, WriteBehind};
use lastseen::store::presence::CHUNK_ROWS;

const TIMINGS: Timings = Timings { grace: Duration::from_secs(15), idle_after: Duration::from_secs(300) };

fn main() {
    divan::main();
}

/// A roster of so many people with a connection each, all of them active now.
fn roster(people: usize) -> (Roster, Vec<(ParticipantId, ConnectionId)>, Moment) {
    let (mut roster, session, now) = (Roster::new(TIMINGS), SessionId::new(), Clock::new().now());
    let connections: Vec<_> = (0..people).map(|_| (ParticipantId::new(), ConnectionId::new())).collect();
    for (id, connection) in &connections {
        roster.join(common::entrant(*id), *connection, || Liveness::new(*id, session, now, now));
    }
    (roster, connections, now)
}

/// A person joins and leaves, among so many.
#[divan::bench(args = [10, 1_000, 10_000])]
fn roster_join_and_leave(bencher: Bencher, people: usize) {
    let (mut roster, _, now) = roster(people);
    let (session, id, connection) = (SessionId::new(), ParticipantId::new(), ConnectionId::new());
    bencher.with_inputs(|| common::entrant(id)).bench_local_values(|entrant| {
        let joined = roster.join(entrant, connection, || Liveness::new(id, session, now, now));
        (joined, roster.leave(id, connection, LeaveReason::Left))
    });
}

/// A person loses the connection and is back by another one.
#[divan::bench(args = [10, 1_000, 10_000])]
fn roster_lose_and_return(bencher: Bencher, people: usize) {
    let (mut roster, connections, now) = roster(people);
    let (id, mut connection) = connections[people / 2];
    bencher.with_inputs(|| common::entrant(id)).bench_local_values(|entrant| {
        let lost = roster.lose(id, connection, now);
        connection = ConnectionId::new();
        (lost, roster.join(entrant, connection, || unreachable!("is here")))
    });
}

/// The quality of a person's connection goes up and down.
#[divan::bench(args = [10, 1_000, 10_000])]
fn roster_set_quality(bencher: Bencher, people: usize) {
    let (mut roster, connections, _) = roster(people);
    let (id, connection) = connections[people / 2];
    bencher.bench_local(|| {
        (roster.set_quality(id, connection, Quality::Poor), roster.set_quality(id, connection, Quality::Good))
    });
}

/// All people become idle at once.
#[divan::bench(args = [10, 1_000, 10_000])]
fn roster_everybody_becomes_idle(bencher: Bencher, people: usize) {
    bencher
        .counter(ItemsCount::new(people))
        .with_inputs(|| roster(people))
        .bench_local_refs(|(roster, _, now)| roster.expire(*now + TIMINGS.idle_after));
}

/// A room with so many seats, the clock of its server, and what encodes for it.
struct Full {
    room: Arc<Room>,
    seats: Vec<Joined>,
    clock: Clock,
    frames: Frames,
}

impl Full {
    fn of(seats: usize) -> Self {
        let mut settings = common::settings();
        settings.presence.detail_limit = 2 * seats;
        let shared = Arc::new(common::shared(&settings));
        let clock = shared.clock;
        let room = Registry::new(shared).open(common::session(SessionId::new()));
        let frames = Frames::new(clock, &settings);
        let join = || {
            let reader = Arc::new(common::Reader(frames.clone()));
            room.join(common::entrant(ParticipantId::new()), None, reader).expect("a place")
        };
        let seats: Vec<_> = (0..seats).map(|_| join()).collect();
        room.tick(clock.now() + Duration::from_secs(10));
        Self { room, seats, clock, frames }
    }
}

/// One person changes: one diff, encoded once, received by so many seats.
#[divan::bench(args = [1, 100, 1_000, 10_000])]
fn encode_once_and_fan_out(bencher: Bencher, seats: usize) {
    let Full { room, seats, clock, .. } = Full::of(seats);
    let state = common::entrant(ParticipantId::new()).state;
    bencher.counter(ItemsCount::new(seats.len())).bench_local(|| {
        seats[0].seat.set_state(state.clone());
        room.tick(clock.now() + Duration::from_secs(10));
    });
}

/// A beat without its socket: decode, note, answer.
#[divan::bench]
fn beat(bencher: Bencher) {
    let Full { seats, clock, frames, .. } = Full::of(10);
    let text = r#"{"type":"beat","ref":123456,"active":true}"#;
    bencher.bench_local(|| {
        let frame = v1::decode(black_box(text));
        seats[0].seat.active(clock.now());
        (frame.is_ok(), frames.beat(Some(123_456)))
    });
}

/// So many people are noted, taken in chunks, and put back since they were not written.
#[divan::bench(args = [10_000, 1_000_000], sample_count = 10, sample_size = 1)]
fn write_behind_take_and_restore(bencher: Bencher, people: usize) {
    let (write_behind, now) = (Arc::new(WriteBehind::default()), Clock::new().now());
    let session = SessionId::new();
    let people: Vec<_> = (0..people).map(|_| Liveness::new(ParticipantId::new(), session, now, now)).collect();
    bencher.counter(ItemsCount::new(people.len())).bench_local(|| {
        people.iter().for_each(|liveness| write_behind.active(liveness, now));
        write_behind.take(CHUNK_ROWS).len()
    });
}
