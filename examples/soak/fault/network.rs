//! A fault of the network.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::try_join_all;
use lastseen::load::room::Invited;
use lastseen::load::socket::{self, JoinRequest, Socket};
use lastseen::load::target::Target;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::clients::SLACK;
use crate::server::{DEAD_AFTER, GRACE};
use crate::soak::World;

/// How many people the network is between.
const MANY: usize = 20;

/// The pause between beats.
const PAUSE: Duration = Duration::from_secs(1);

/// Those who come back another way, while the server still has their old connections, are never shown as gone. The
/// others are gone in time.
pub async fn silent(world: &mut World, lasts: Duration) -> anyhow::Result<()> {
    let room = world.open("Silent network", MANY * 2).await?;
    let network = Network::to(world.server.address).await?;
    let through = Target::resolve(&format!("http://{}", network.address), false).await?;
    let before = try_join_all((0..MANY).map(|number| Person::join(&through, &room, number, None))).await?;
    network.silent.cancel();
    let back = before[..MANY / 2].iter().enumerate();
    let back =
        try_join_all(back.map(|(number, person)| Person::join(&world.target, &room, number, Some(&person.resume))))
            .await?;
    let here: BTreeSet<Uuid> = back.iter().map(|person| person.id).collect();
    let shown_as_gone = Arc::new(Mutex::new(BTreeSet::new()));
    let mut living = JoinSet::new();
    for person in back {
        living.spawn(person.live(Arc::clone(&shown_as_gone)));
    }
    sleep(lasts.max(DEAD_AFTER + GRACE)).await;
    let deadline = Instant::now() + SLACK;
    loop {
        let there = world.rest.participants(room.id, None).await?.participants;
        let ids: BTreeSet<_> = there.iter().map(|person| person.id.0).collect();
        if ids == here && there.iter().all(|person| person.connections == 1) {
            break;
        }
        if Instant::now() >= deadline {
            let ghosts = ids.difference(&here).count();
            let lost = here.difference(&ids).count();
            world.wrong(format!("behind a silent network {ghosts} are ghosts, and {lost} who came back are missing"));
            break;
        }
        sleep(Duration::from_millis(200)).await;
    }
    let wrong = shown_as_gone.lock().intersection(&here).count();
    if wrong > 0 {
        world.wrong(format!("{wrong} who came back from a silent network were shown as gone"));
    }
    drop((living, before));
    world.rest.close(room.id, None).await
}

/// A person who is there.
struct Person {
    id: Uuid,
    resume: String,
    socket: Socket,
}

impl Person {
    async fn join(target: &Target, room: &Invited, number: usize, resume: Option<&str>) -> anyhow::Result<Self> {
        let name = format!("Client {number}");
        let request = JoinRequest { way: room, as_host: false, name: &name, resume, source: None };
        let join = async {
            let mut socket = socket::connect(target, number, &request).await?;
            let text = socket::next(&mut socket).await?;
            Ok::<_, socket::End>((socket, text))
        };
        let (socket, text) = join.await.map_err(|end| anyhow::anyhow!("a client could not join: {}", end.why))?;
        let welcome: Value = serde_json::from_str(&text)?;
        let id = welcome["you"].as_str().and_then(|id| id.parse().ok()).context("a welcome")?;
        let resume = welcome["resume"].as_str().context("a resume token")?.to_owned();
        Ok(Self { id, resume, socket })
    }

    /// Beats, and notes who is shown as gone.
    async fn live(mut self, shown_as_gone: Arc<Mutex<BTreeSet<Uuid>>>) {
        while socket::send(&mut self.socket, r#"{"type":"beat"}"#.to_owned()).await.is_ok() {
            let next = Instant::now() + PAUSE;
            while let Ok(Ok(text)) = timeout_at(next, socket::next(&mut self.socket)).await {
                let frame: Value = serde_json::from_str(&text).unwrap_or_default();
                let leaves = frame["leaves"].as_array().into_iter().flatten();
                shown_as_gone.lock().extend(leaves.filter_map(|leave| leave["id"].as_str()?.parse::<Uuid>().ok()));
            }
        }
    }
}

/// What is between clients and the server, until it is dropped.
struct Network {
    address: SocketAddr,
    silent: CancellationToken,
    over: CancellationToken,
}

impl Network {
    async fn to(server: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let network =
            Self { address: listener.local_addr()?, silent: CancellationToken::new(), over: CancellationToken::new() };
        let (silent, over) = (network.silent.clone(), network.over.clone());
        tokio::spawn(async move {
            while let Some(Ok((client, _))) = over.run_until_cancelled(listener.accept()).await {
                tokio::spawn(pass(client, server, silent.clone(), over.clone()));
            }
        });
        Ok(network)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

async fn pass(mut client: TcpStream, server: SocketAddr, silent: CancellationToken, over: CancellationToken) {
    let Ok(mut upstream) = TcpStream::connect(server).await else { return };
    if silent.run_until_cancelled(copy_bidirectional(&mut client, &mut upstream)).await.is_none() {
        // Neither side is read any more, or hears of an end.
        over.cancelled().await;
    }
}
