//! The accept loop. It is our own because `axum::serve` gives every connection a place, and all the time of the world.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::overflow::Overflow;
use super::places::{Place, Places};
use super::tls::Tls;
use crate::identity::client_address::{Network, is_trusted};
use crate::socket::http_stream::{Doing, HttpStream};
use crate::socket::sse::Cut;
use crate::socket::stream::Stream;
use crate::socket::upgrade::{Peer, Permitted};

/// The kernel's send buffer of one connection: without a bound a stuck reader holds megabytes.
const SEND_BUFFER_BYTES: u32 = 64 * 1024;

/// The queue of connections that wait to be accepted.
const BACKLOG: u32 = 4096;

/// The time for the head of a request: from its first byte, or from the beginning of the connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// The time between two requests. Longer than proxies keep connections (60 s): one that is closed at this end while a
/// request is on its way is an error for the proxy's client.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// The pause after a connection could not be accepted, and between two lines about that.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

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

/// A listening socket, and what its connections are served with.
#[derive(Debug)]
pub(super) struct Listener {
    pub tcp: TcpListener,
    pub front: Arc<Front>,
}

/// What all connections share.
#[derive(Debug)]
pub(super) struct Front {
    pub app: Router,
    pub tls: Option<Arc<Tls>>,
    pub places: Arc<Places>,
    pub overflow: Overflow,
    pub trusted_proxies: Vec<IpNet>,
    pub write_timeout: Duration,
    /// Connections finish the request that they serve, and end.
    pub stop: CancellationToken,
}

/// Accepts connections for ever.
pub(super) async fn accept(listener: Arc<Listener>) {
    let mut complained: Option<Instant> = None;
    loop {
        match listener.tcp.accept().await {
            Ok((stream, peer)) => welcome(&listener.front, stream, peer),
            // The system is out of descriptors or memory: those in the backlog are accepted when others have closed.
            Err(error) => {
                if complained.is_none_or(|at| at.elapsed() >= COMPLAINT_INTERVAL) {
                    complained = Some(Instant::now());
                    tracing::warn!(%error, "accepting a connection failed");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Gives a connection its place, or a short answer.
fn welcome(front: &Arc<Front>, stream: TcpStream, peer: SocketAddr) {
    // Frames are small, and each is waited for.
    let _ = stream.set_nodelay(true);
    let (cut, address) = (CancellationToken::new(), peer.ip().to_canonical());
    let network = (!is_trusted(address, &front.trusted_proxies)).then(|| Network::of(address));
    match front.places.take(network, &cut) {
        Ok(place) => drop(tokio::spawn(serve(Arc::clone(front), stream, peer, place, cut))),
        Err(code) => front.overflow.answer(stream, code),
    }
}

async fn serve(front: Arc<Front>, stream: TcpStream, peer: SocketAddr, place: Place, cut: CancellationToken) {
    let Some(stream) = begin(&front, stream, &cut).await else { return };
    let stream = HttpStream::new(stream, Arc::clone(place.turn()), front.write_timeout);
    let (place, stop) = (Arc::new(place), front.stop.clone());
    let mut patience = Patience::new(Arc::clone(&place));
    let by_reader = Cut(cut.clone());
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(by_reader.clone());
        let (app, place) = (front.app.clone(), Arc::clone(&place));
        async move {
            if !place.serve() {
                // The connection is being cut for a newer one: this request is as good as not sent.
                std::future::pending::<()>().await;
            }
            let response = app.oneshot(request).await.unwrap_or_else(|never| match never {});
            match response.extensions().get() {
                Some(Permitted::Socket) => place.leave(),
                Some(Permitted::Stream) => {
                    place.leave();
                    place.turn().stream();
                }
                None => {}
            }
            Ok::<_, Infallible>(response.map(|body| Answer { body, place }))
        }
    });
    let connection = http1::Builder::new()
        // It runs from one answer to the next head, and is not always started where an answer is slow to send.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let mut is_stopping = false;
    loop {
        // The patience comes after the connection, whose turn it follows.
        tokio::select! {
            biased;
            // An error here concerns the client's connection alone, which is closed.
            _ = connection.as_mut() => return,
            () = cut.cancelled() => return,
            () = &mut patience => return,
            () = stop.cancelled(), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// The stream of a connection, after its handshake where the server has a certificate. `None` where the client did not
/// come so far in time. Until then it waits, and gives way like others that do.
async fn begin(front: &Front, stream: TcpStream, cut: &CancellationToken) -> Option<Stream> {
    let Some(tls) = &front.tls else { return Some(Stream::Plain(stream)) };
    tokio::select! {
        // Boxed: it is larger than all that comes after it.
        stream = Box::pin(tls.accept(stream)) => stream,
        () = cut.cancelled() => None,
        () = front.stop.cancelled() => None,
    }
}

/// Resolves once a client has taken too long for its next request. To be polled in the task of the connection, after
/// it.
struct Patience {
    place: Arc<Place>,
    /// What `timer` was set for.
    doing: Doing,
    timer: Pin<Box<Sleep>>,
}

impl Patience {
    /// With a connection that was just accepted.
    fn new(place: Arc<Place>) -> Self {
        Self { doing: place.turn().doing(), place, timer: Box::pin(sleep(HEAD_TIMEOUT)) }
    }
}

impl Future for Patience {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.place.turn().doing() == Doing::Sent {
            this.place.rest();
        }
        let doing = this.place.turn().doing();
        let Doing::Waiting { has_begun, .. } = doing else { return Poll::Pending };
        if this.doing != doing {
            this.doing = doing;
            let timeout = if has_begun { HEAD_TIMEOUT } else { IDLE_TIMEOUT };
            this.timer.as_mut().reset(Instant::now() + timeout);
        }
        this.timer.as_mut().poll(cx)
    }
}

/// The body of an answer, which is complete when the connection drops it.
struct Answer {
    body: Body,
    place: Arc<Place>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.place.turn().answer();
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
