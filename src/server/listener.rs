//! The accept loop. Our own, since `axum::serve` holds silent and dribbling handshakes open for ever.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::socket::upgrade::Peer;
use crate::socket::watch::Cut;

/// How long the head of a request may take, and a connection may be silent between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// What the kernel holds for one reader at most: without a bound one that is stuck holds megabytes.
const SEND_BUFFER_BYTES: u32 = 64 * 1024;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;

/// Opens the door.
///
/// # Errors
/// Where the address cannot be had.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    // Connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts connections until `stop`.
pub async fn accept(listener: TcpListener, app: Router, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => drop(tokio::spawn(serve(stream, peer, app.clone(), stop.clone()))),
            // Out of file descriptors, most likely: those who wait in the backlog are served when
            // others have gone.
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, app: Router, stop: CancellationToken) {
    // Frames are small and somebody waits for each.
    let _ = stream.set_nodelay(true);
    let cut = Cut::default();
    let by_reader = cut.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(by_reader.clone());
        let app = app.clone();
        async move { Ok::<_, Infallible>(app.oneshot(request).await.unwrap_or_else(|never| match never {})) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    // What fails here is the client's connection: nobody is left to be told.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = cut.0.cancelled() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                _ = connection => {}
                () = cut.0.cancelled() => {}
            }
        }
    }
}
