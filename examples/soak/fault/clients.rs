//! Faults of clients.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::Context;
use futures_util::future::join_all;
use lastseen::load::room::Invited;
use lastseen::load::socket::{self, JoinRequest, Socket};
use tokio::time::{Instant, sleep, timeout};

use crate::server::{DEAD_AFTER, GRACE};
use crate::soak::World;

/// Where they come from: not from where the crowd does.
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 66));

/// Sockets that are half open, and slow readers.
const MANY: usize = 30;

/// Handshakes that are under way at the same time.
const KNOCKS: usize = 40;

/// Bytes of a state, below what the server takes.
const STATE: usize = 1500;

/// How late a person may be gone who is not there, on a busy machine.
pub const SLACK: Duration = Duration::from_secs(20);

/// They are gone from the room in time, though their sockets never say so.
pub async fn half_open(world: &mut World, lasts: Duration) -> anyhow::Result<()> {
    let room = world.open("Half open", MANY * 2).await?;
    // Kept, and never read.
    let sockets = join_some(world, &room).await?;
    sleep(lasts.max(DEAD_AFTER + GRACE)).await;
    let deadline = Instant::now() + SLACK;
    loop {
        let there = world.rest.participants(room.id, None).await?.participants.len();
        if there == 0 {
            break;
        }
        if Instant::now() >= deadline {
            world.wrong(format!("{there} people whose sockets are half open are ghosts"));
            break;
        }
        sleep(Duration::from_millis(200)).await;
    }
    drop(sockets);
    world.rest.close(room.id, None).await
}

/// Some of a busy room beat, so that they stay, and read nothing.
pub async fn slow_readers(world: &mut World, lasts: Duration) -> anyhow::Result<()> {
    let room = world.open("Slow readers", MANY * 2).await?;
    let mut sockets = join_some(world, &room).await?;
    let until = Instant::now() + lasts;
    let padding = "x".repeat(STATE);
    for number in 0.. {
        for (index, socket) in sockets.iter_mut().enumerate() {
            let frame = match index % 3 {
                0 => format!(r#"{{"type":"update","state":{{"n":{number},"text":"{padding}"}}}}"#),
                _ => r#"{"type":"beat","ref":1}"#.to_owned(),
            };
            // One that was cut has what it came for.
            let _ = timeout(Duration::from_secs(1), socket::send(socket, frame)).await;
        }
        if Instant::now() >= until {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    drop(sockets);
    world.rest.close(room.id, None).await
}

/// Half of them on a session that is there, half on none.
pub async fn bad_invites(world: &World, lasts: Duration) -> anyhow::Result<()> {
    let there = world.crowd.rooms.first().context("a room")?.id;
    let nowhere = lastseen::domain::ids::SessionId(uuid::Uuid::now_v7());
    let until = Instant::now() + lasts;
    let knocks = (0..KNOCKS).map(|number| async move {
        while Instant::now() < until {
            let invite = format!("lsi_{:032x}", rand::random::<u128>());
            let way = Invited { id: if number % 2 == 0 { there } else { nowhere }, invite, host_invite: None };
            let request = JoinRequest { way: &way, as_host: false, name: "Nobody", resume: None, source: Some(SOURCE) };
            let knock = async {
                if let Ok(mut socket) = socket::connect(&world.target, number, &request).await {
                    while socket::next(&mut socket).await.is_ok() {}
                }
            };
            let _ = timeout(Duration::from_secs(2), knock).await;
            sleep(Duration::from_millis(100)).await;
        }
    });
    join_all(knocks).await;
    Ok(())
}

async fn join_some(world: &World, room: &Invited) -> anyhow::Result<Vec<Socket>> {
    let joins = (0..MANY).map(|number| async move {
        let name = format!("Client {number}");
        let request = JoinRequest { way: room, as_host: false, name: &name, resume: None, source: Some(SOURCE) };
        let mut socket = socket::connect(&world.target, number, &request).await?;
        socket::next(&mut socket).await?;
        Ok(socket)
    });
    let joined: Result<_, socket::End> = join_all(joins).await.into_iter().collect();
    joined.map_err(|end| anyhow::anyhow!("a client could not join: {}", end.why))
}
