//! Many rounds of people who join, drop, close, leave and come back in random order, after which
//! clients, server and database have the same view of the room.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::client::id;
use crate::harness::rest::{self, Opened};
use crate::harness::{Client, Join, TestServer, eventually, quiet};

const PEOPLE: usize = 20;
const ROUNDS: usize = 300;

/// What a person does in a round.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Nothing,
    /// The TCP stream ends without a close.
    Vanish,
    /// A close that means to come back.
    GoAway,
    /// A Close frame with the code of a leave.
    Close,
    /// A `leave` frame.
    Leave,
    /// Back by the resume token.
    Resume,
    /// Back by the JWT, or as a new guest.
    JoinAnew,
}

/// One of the people, over all their connections.
struct Person {
    name: String,
    /// The JWT; a guest has none.
    token: Option<String>,
    client: Option<Client>,
    /// Its id in the room, and the token by which it comes back; of a guest the newest.
    id: Uuid,
    resume: String,
    /// Whether it is away without a goodbye.
    dropped: bool,
    /// How often which participant left.
    goodbyes: HashMap<Uuid, usize>,
    /// The leaves that its connections were sent.
    leaves: Vec<(Uuid, String)>,
    gaps: Vec<(u64, u64)>,
}

impl Person {
    fn deed(&self, rng: &mut StdRng, ghosts: bool) -> Deed {
        if !rng.random_bool(0.35) {
            return Deed::Nothing;
        }
        match (&self.client, rng.random_range(0..4)) {
            (Some(_), 0) => Deed::Vanish,
            (Some(_), 1) => Deed::GoAway,
            (Some(_), 2) => Deed::Close,
            (Some(_), _) => Deed::Leave,
            // A guest who was dropped and joins anew is also shown as reconnecting, for the grace.
            (None, 0 | 1) if self.token.is_some() || ghosts || !self.dropped => Deed::JoinAnew,
            (None, _) => Deed::Resume,
        }
    }

    async fn act(&mut self, server: &TestServer, session: &Opened, deed: Deed) {
        match deed {
            Deed::Nothing => {
                if let Some(client) = &mut self.client {
                    client.drain();
                }
            }
            Deed::Vanish | Deed::GoAway | Deed::Close | Deed::Leave => {
                let mut client = self.client.take().expect("is here");
                client.drain();
                self.remember(&client);
                self.dropped = matches!(deed, Deed::Vanish | Deed::GoAway);
                if !self.dropped {
                    *self.goodbyes.entry(self.id).or_default() += 1;
                }
                match deed {
                    Deed::Vanish => client.vanish(),
                    Deed::GoAway => drop(client.close_with(Some(1001)).await),
                    Deed::Close => drop(client.close().await),
                    _ => drop(client.leave().await),
                }
            }
            Deed::Resume => self.join(server, session, &Join::resume(&self.resume.clone())).await,
            Deed::JoinAnew => {
                let join = match &self.token {
                    Some(token) => Join { token: Some(token.clone()), ..Join::invite(&session.invite, &self.name) },
                    None => Join::invite(&session.invite, &self.name),
                };
                self.join(server, session, &join).await;
            }
        }
    }

    async fn join(&mut self, server: &TestServer, session: &Opened, join: &Join) {
        let client = eventually("a place", async || match Client::try_join(server.address(), session.id, join).await {
            Ok(client) => Some(client),
            // A slow machine may ask a crowd at its door to come later.
            Err(ended) if ended.code == 1013 => None,
            Err(ended) => panic!("not let in: {ended:?}"),
        })
        .await;
        if self.token.is_some() || join.resume.is_some() {
            assert!(self.id.is_nil() || self.id == client.id(), "{} came back as somebody else", self.name);
        } else {
            assert_ne!(self.id, client.id());
        }
        (self.id, self.resume, self.dropped) = (client.id(), client.resume_token(), false);
        self.client = Some(client);
    }

    /// Keeps what a connection that ends was sent.
    fn remember(&mut self, client: &Client) {
        self.gaps.extend(&client.gaps);
        for leave in client.heard.iter().filter_map(|frame| frame["leaves"].as_array()).flatten() {
            self.leaves.push((id(&leave["id"]), leave["reason"].as_str().expect("a reason").to_owned()));
        }
    }
}

/// The people who are here and their status, by id: what all views have to agree on.
type View = BTreeMap<Uuid, Value>;

/// What is shown of people but for the time that runs on.
fn view<'a>(people: impl Iterator<Item = &'a Value>) -> View {
    people
        .map(|person| {
            let mut person = person.clone();
            person["last_seen_at"] = Value::Null;
            (id(&person["id"]), person)
        })
        .collect()
}

fn expected(people: &[Person], grace_runs_out: bool) -> BTreeMap<Uuid, (&'static str, u64)> {
    people
        .iter()
        .filter_map(|person| match &person.client {
            Some(_) => Some((person.id, ("active", 1))),
            None if person.dropped && !grace_runs_out => Some((person.id, ("reconnecting", 0))),
            None => None,
        })
        .collect()
}

async fn run(grace: &str, grace_runs_out: bool) {
    let seed = std::env::var("ROUNDS_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().expect("a number"));
    // Shown where the test fails.
    println!("ROUNDS_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let flags =
        ["--diff-interval", "5ms", "--grace", grace, "--max-participants", "5000", "--diff-interval-large", "5ms"];
    let server = TestServer::start(&quiet(&flags)).await;
    let session = server.open().await;

    let mut people: Vec<_> = (0..PEOPLE)
        .map(|number| {
            let name = format!("Person {number}");
            Person {
                token: number.is_multiple_of(2).then(|| rest::user(Uuid::now_v7(), &name)),
                name,
                client: None,
                id: Uuid::nil(),
                resume: String::new(),
                dropped: false,
                goodbyes: HashMap::new(),
                leaves: Vec::new(),
                gaps: Vec::new(),
            }
        })
        .collect();
    join_all(people.iter_mut().map(|person| person.act(&server, &session, Deed::JoinAnew))).await;
    for _ in 0..ROUNDS {
        let deeds: Vec<_> = people.iter().map(|person| person.deed(&mut rng, grace_runs_out)).collect();
        join_all(people.iter_mut().zip(deeds).map(|(person, deed)| person.act(&server, &session, deed))).await;
    }

    // The server has what the people did …
    let expected = expected(&people, grace_runs_out);
    let listed = eventually("the room as the people left it", async || {
        let listed = view(server.participants(session.id).await["items"].as_array().expect("a list").iter());
        let shown =
            listed.iter().map(|(id, person)| (*id, (person["status"].as_str(), person["connections"].as_u64())));
        shown.eq(expected.iter().map(|(id, (status, count))| (*id, (Some(*status), Some(*count))))).then_some(listed)
    })
    .await;
    // … and so does each client that is connected, …
    let newest = server.participants(session.id).await["seq"].as_u64().expect("a seq");
    for person in &mut people {
        let Some(mut client) = person.client.take() else { continue };
        client.until("the last step", |client| client.seq >= newest && view(client.view.values()) == listed).await;
        assert_eq!(client.occupancy, listed.len() as u64);
        person.remember(&client);
        person.client = Some(client);
    }
    // … the registry …
    let room = server.server.registry().find(session.id.into()).expect("a room");
    let (_, present) = room.presence();
    let present: BTreeMap<_, _> =
        present.iter().map(|person| (person.id.0, (person.status.as_str(), u64::from(person.connections)))).collect();
    assert_eq!(present, expected);
    // … and the database, after a flush.
    eventually("the database as the room is", async || {
        let stored: Vec<Uuid> = server
            .sql(
                "SELECT coalesce(array_agg(id), '{}') FROM session_participants WHERE session_id = $1 AND is_active",
                session.id,
            )
            .await;
        stored.into_iter().collect::<BTreeSet<_>>().into_iter().eq(expected.keys().copied()).then_some(())
    })
    .await;

    let mut goodbyes: HashMap<Uuid, usize> = HashMap::new();
    for (id, count) in people.iter().flat_map(|person| &person.goodbyes) {
        *goodbyes.entry(*id).or_default() += count;
    }
    for person in &people {
        assert_eq!(person.gaps, [], "{}", person.name);
        let mut seen: HashMap<Uuid, usize> = HashMap::new();
        for (id, reason) in &person.leaves {
            match &**reason {
                "left" => *seen.entry(*id).or_default() += 1,
                // A person who is back in time must not be seen leaving, and here all are in time.
                "timeout" => assert!(grace_runs_out, "a leave of {id} within the grace"),
                other => panic!("{other}"),
            }
        }
        for (id, count) in seen {
            assert!(count <= goodbyes.get(&id).copied().unwrap_or(0), "a leave of {id} without a goodbye");
        }
    }
    assert!(people.iter().any(|person| !person.leaves.is_empty()), "leaves were seen");
    assert_eq!(server.metric("lastseen_leaves_total{reason=\"timeout\"}").await > 0.0, grace_runs_out);
    // The room goes on.
    let Some(client) = people.iter_mut().find_map(|person| person.client.as_mut()) else { return };
    let id = client.id();
    client.send(json!({"type": "update", "state": {"last": true}})).await;
    client.until("the update", |client| client.view[&id]["state"]["last"] == true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_300_rounds_with_a_long_grace_everybody_knows_the_same() {
    run("10m", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_300_rounds_with_a_short_grace_everybody_knows_the_same() {
    run("30ms", true).await;
}
