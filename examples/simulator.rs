//! A toy exchange, to try simulators with: `lastseen serve --simulator-command target/debug/examples/simulator
//! --simulator-ready-path /healthz`. It answers `GET /healthz`, and streams random prices of
//! `SIMULATOR_SYMBOLS` to every WebSocket that connects to `PORT`, until SIGTERM.

use std::env;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::SinkExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{interval, sleep};
use tokio_tungstenite::tungstenite::{self, Message};

/// How often there are new prices.
const TICK: Duration = Duration::from_millis(250);

/// How the requests begin that ask whether it is well.
const HEALTH: &[u8] = b"GET /healthz ";

/// What it is told by its environment.
struct Exchange {
    id: String,
    symbols: Vec<String>,
    cash: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let symbols = variable("SIMULATOR_SYMBOLS");
    let exchange = Arc::new(Exchange {
        id: variable("SIMULATOR_ID"),
        symbols: symbols.split(',').filter(|symbol| !symbol.is_empty()).map(str::to_owned).collect(),
        cash: variable("SIMULATOR_CASH").parse().unwrap_or(100_000.0),
    });
    let port = variable("PORT").parse().map_err(|_| io::Error::other("PORT must be a port to listen on"))?;
    // A container's health is asked from outside of it.
    let host =
        if env::var_os("KUBERNETES_SERVICE_HOST").is_some() { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
    let listener = TcpListener::bind((host, port)).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                let exchange = Arc::clone(&exchange);
                // Whoever goes is gone: nobody is left to be told of an error.
                tokio::spawn(async move { exchange.serve(stream).await.ok() });
            }
        }
    }
}

impl Exchange {
    async fn serve(&self, mut stream: TcpStream) -> Result<(), tungstenite::Error> {
        if asks_for_health(&stream).await? {
            let _ = stream.read(&mut [0; 4096]).await?;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await?;
            return Ok(());
        }
        let mut socket = tokio_tungstenite::accept_async(stream).await?;
        let hello = json!({"type": "account", "id": self.id, "symbols": self.symbols, "cash": self.cash});
        socket.send(Message::text(hello.to_string())).await?;
        let mut prices: Vec<f64> = self.symbols.iter().map(|_| 20.0 + 480.0 * rand::random::<f64>()).collect();
        let mut tick = interval(TICK);
        loop {
            tick.tick().await;
            for (symbol, price) in self.symbols.iter().zip(&mut prices) {
                // Up or down by at most one in a hundred.
                *price *= 0.99 + 0.02 * rand::random::<f64>();
                let quote = json!({"type": "price", "symbol": symbol, "price": (*price * 100.0).round() / 100.0});
                socket.send(Message::text(quote.to_string())).await?;
            }
        }
    }
}

/// Looks at how the request begins and leaves it to be read.
async fn asks_for_health(stream: &TcpStream) -> io::Result<bool> {
    let mut begin = [0; HEALTH.len()];
    loop {
        let seen = stream.peek(&mut begin).await?;
        if seen == 0 || begin[..seen] != HEALTH[..seen] {
            return Ok(false);
        }
        if seen == HEALTH.len() {
            return Ok(true);
        }
        sleep(Duration::from_millis(5)).await;
    }
}
