//! A TCP proxy before the database that can fall silent: connections stay open and nothing comes any more, as after a
//! failover of which nobody told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::cluster::TestDatabase;

pub struct Proxy {
    pub address: SocketAddr,
    /// How many connections have come.
    count: Arc<AtomicU64>,
    /// So many of them, the first, are silent.
    silent: watch::Sender<u64>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub async fn before(database: &TestDatabase) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (count, silent) = (Arc::new(AtomicU64::new(0)), watch::Sender::new(0));
        let (counter, silence, options) = (Arc::clone(&count), silent.subscribe(), database.options.clone());
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let number = counter.fetch_add(1, Ordering::AcqRel);
                connections.spawn(forward(number, client, options.clone(), silence.clone()));
            }
        });
        Self { address, count, silent, accepting }
    }

    /// From now on nothing is forwarded on the connections that there are. New ones are not concerned.
    pub fn silence(&self) {
        self.silent.send_replace(self.count.load(Ordering::Acquire));
    }

    /// From now on nothing is forwarded at all.
    pub fn silence_all(&self) {
        self.silent.send_replace(u64::MAX);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn forward(number: u64, client: TcpStream, options: PgConnectOptions, mut silence: watch::Receiver<u64>) {
    let silenced = async move {
        let _ = silence.wait_for(|silent| number < *silent).await;
    };
    match options.get_socket() {
        Some(directory) => {
            let file = directory.join(format!(".s.PGSQL.{}", options.get_port()));
            join(client, UnixStream::connect(file).await.expect("the database"), silenced).await;
        }
        None => {
            let address = (options.get_host(), options.get_port());
            join(client, TcpStream::connect(address).await.expect("the database"), silenced).await;
        }
    }
}

async fn join(mut client: TcpStream, mut database: impl AsyncRead + AsyncWrite + Unpin, silenced: impl Future) {
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut database) => {}
        // Both stay open.
        _ = silenced => std::future::pending().await,
    }
}
