//! The accept loop. It is our own because `axum::serve` sets no timeout on the head of a request.

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

use crate::socket::sse::Cut;
use crate::socket::upgrade::Peer;

/// The timeout of a request's head, and of silence between two requests of a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// The kernel's send buffer of one connection: without a bound a stuck reader holds megabytes.
const SEND_BUFFER_BYTES: u32 = 64 * 1024;

/// The queue of connections that wait to be accepted.
const BACKLOG: u32 = 4096;

/// Binds the listening socket.
///
/// # Errors
/// Where the address is in use or not allowed.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit it.
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
            // Most likely out of file descriptors: the connections in the backlog are accepted when others have
            // closed.
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, app: Router, stop: CancellationToken) {
    // Frames are small, and each is waited for.
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
    // An error here concerns the client's connection alone, which is closed.
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
