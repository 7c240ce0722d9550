//! A server in this process, on a database of its own.

use std::net::SocketAddr;
use std::ops::Deref;

use clap::Parser;
use lastseen::config::Settings;
use lastseen::domain::ids::SessionId;
use lastseen::server::Server;
use uuid::Uuid;

use super::cluster::TestDatabase;
use super::rest::{Opened, Rest, service};
use super::{Client, Join};

/// The secret of all test servers.
pub const SECRET: &str = "a secret of the tests that is long enough";

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
}

/// Settings with these flags, on this database.
pub fn settings(database: &TestDatabase, flags: &[&str]) -> Settings {
    let url = database.url();
    let base = ["lastseen", "--listen", "127.0.0.1:0", "--database-url", &url, "--node", "test"];
    let defaults = [
        "--diff-interval",
        "20ms",
        "--flush-interval",
        "50ms",
        "--database-connections",
        "5",
        "--max-sessions-per-minute",
        "100000",
        "--max-handshakes-per-minute",
        "1000000",
        "--max-writes-per-minute",
        "1000000",
        "--data-dir",
        "/nonexistent",
    ];
    // A server with public keys takes no secret of ours: it makes its own in its data directory.
    let secret: &[_] = if flags.contains(&"--jwks") { &[] } else { &["--jwt-secret", SECRET] };
    // The last one of a flag wins.
    let arguments = base.iter().chain(secret).chain(&defaults).chain(flags);
    let arguments = with_last_flags(arguments.copied());
    Cli::try_parse_from(arguments).unwrap_or_else(|error| panic!("{error}")).settings
}

fn with_last_flags<'a>(arguments: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut kept: Vec<&str> = Vec::new();
    let arguments: Vec<_> = arguments.collect();
    let mut index = 0;
    while index < arguments.len() {
        let flag = arguments[index];
        let has_value = flag.starts_with("--")
            && !flag.contains('=')
            && arguments.get(index + 1).is_some_and(|next| !next.starts_with("--"));
        let name = flag.split('=').next().unwrap_or(flag);
        if name.starts_with("--")
            && let Some(earlier) = kept.iter().position(|other| other.split('=').next() == Some(name))
        {
            let earlier_has_value =
                !kept[earlier].contains('=') && kept.get(earlier + 1).is_some_and(|next| !next.starts_with("--"));
            kept.drain(earlier..=earlier + usize::from(earlier_has_value));
        }
        kept.push(flag);
        if has_value {
            kept.push(arguments[index + 1]);
        }
        index += 1 + usize::from(has_value);
    }
    kept
}

/// A running server with its database; `Deref` gives its REST interface.
pub struct TestServer {
    pub server: Server,
    pub database: TestDatabase,
    rest: Rest,
}

impl TestServer {
    /// A server with these flags beside the tests' own (short intervals, a known secret).
    pub async fn start(flags: &[&str]) -> Self {
        Self::on(TestDatabase::new().await, flags).await
    }

    /// A server on a database that has been used before.
    pub async fn on(database: TestDatabase, flags: &[&str]) -> Self {
        let settings = settings(&database, flags);
        let server = Server::start(&settings).await.expect("a server");
        let rest = match &settings.network.tls_cert {
            Some(file) => Rest::over_tls(server.address(), &std::fs::read(file).expect("a certificate")),
            None => Rest::new(server.address()),
        };
        Self { server, database, rest }
    }

    /// Another server on the same database.
    pub async fn beside(&self, node: &str, flags: &[&str]) -> Self {
        let flags: Vec<_> = ["--node", node].into_iter().chain(flags.iter().copied()).collect();
        Self::on(self.database.clone(), &flags).await
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// A guest who joins by the session's invite.
    pub async fn guest(&self, session: &Opened, name: &str) -> Client {
        Client::join(self.address(), session.id, &Join::invite(&session.invite, name)).await
    }

    /// The service, which watches and is not seen.
    pub async fn observer(&self, session: &Opened) -> Client {
        Client::join(self.address(), session.id, &Join::token(&service())).await
    }

    /// Publishes what the room of a session has gathered for its next diff, whatever the interval is. From then on, and
    /// until the next change, no frame is sent.
    pub fn publish(&self, session: &Opened) {
        let registry = self.server.registry();
        let shared = registry.shared();
        let room = registry.find(SessionId(session.id)).expect("a room in memory");
        room.tick(shared.clock.now() + shared.rules.diff_interval);
    }

    /// Waits until these clients have received all that happened in the session so far.
    pub async fn settled(&self, session: &Opened, clients: &mut [&mut Client]) {
        self.publish(session);
        for client in clients {
            client.catch_up().await;
        }
    }

    /// Stops the server in good order and gives its database to the next one.
    pub async fn stop(self) -> TestDatabase {
        self.server.stop().await;
        self.database
    }

    /// One value from the database, asked as a superuser.
    pub async fn sql<T>(&self, query: &'static str, session: Uuid) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        sqlx::query_scalar(query).bind(session).fetch_one(&self.database.pool).await.expect("an answer")
    }

    /// Makes a session look as if no person was seen in it for this many seconds.
    pub async fn age(&self, session: Uuid, seconds: f64) {
        // At once, or a sweep in between would find people in it and set the session right.
        let mut transaction = self.database.pool.begin().await.expect("a transaction");
        for query in [
            "UPDATE reading_sessions SET last_seen_at = now() - make_interval(secs => $2),
                last_activity_at = now() - make_interval(secs => $2) WHERE id = $1",
            "UPDATE session_participants SET last_seen_at = now() - make_interval(secs => $2),
                last_activity_at = now() - make_interval(secs => $2) WHERE session_id = $1",
        ] {
            sqlx::query(query).bind(session).bind(seconds).execute(&mut *transaction).await.expect("an update");
        }
        transaction.commit().await.expect("aged");
    }
}

impl Deref for TestServer {
    type Target = Rest;

    fn deref(&self) -> &Rest {
        &self.rest
    }
}
