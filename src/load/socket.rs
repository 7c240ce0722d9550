//! One client's WebSocket, with small buffers: tens of thousands of them share a machine with the server.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Response, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::room::Invited;
use super::target::Target;
use crate::protocol::code::reconnects;
use crate::protocol::v1::SUBPROTOCOL;

/// The library clears its read buffer at each read, and keeps it for the life of the connection.
const READ_BUFFER_BYTES: usize = 512;

/// A turn of the reactor, which may not know yet what the system has received.
const TURN: Duration = Duration::from_millis(1);

/// The largest message, which is the welcome of a large room.
const LARGEST_MESSAGE: usize = 64 * 1024 * 1024;

/// A connection to the server.
pub type Socket = WebSocketStream<TcpStream>;

/// A request to join.
#[derive(Debug)]
pub struct JoinRequest<'a> {
    /// The session.
    pub way: &'a Invited,
    /// Uses the host's invite, where there is one.
    pub as_host: bool,
    /// The display name.
    pub name: &'a str,
    /// The resume token of an earlier welcome.
    pub resume: Option<&'a str>,
    /// The source address.
    pub source: Option<IpAddr>,
}

/// Why a connection ended, or could not be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct End {
    /// One word: the server's code where it sent one.
    pub why: String,
    /// Whether a client reconnects after it.
    pub comes_back: bool,
    /// How long the server asks to wait.
    pub not_before: Duration,
    /// Whether the server said so, by a Close frame.
    pub is_closed: bool,
}

impl End {
    /// The connection broke.
    pub fn lost(why: impl Into<String>) -> Self {
        Self { why: why.into(), comes_back: true, not_before: Duration::ZERO, is_closed: false }
    }
}

/// Connects and upgrades.
///
/// # Errors
/// Why there is no connection.
pub async fn connect(target: &Target, number: usize, join: &JoinRequest<'_>) -> Result<Socket, End> {
    let stream = dial(target.address(number), join.source).await.map_err(|error| End::lost(io_word(&error)))?;
    let mut request = address(target, join)
        .into_client_request()
        .map_err(|error| End { comes_back: false, ..End::lost(format!("request: {error}")) })?;
    let mut protocols = SUBPROTOCOL.to_owned();
    if let Some(resume) = join.resume {
        protocols.push_str(", lastseen.resume.");
        protocols.push_str(resume);
    }
    if let Ok(protocols) = HeaderValue::from_str(&protocols) {
        request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocols);
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(LARGEST_MESSAGE))
        .max_frame_size(Some(LARGEST_MESSAGE));
    match tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await {
        Ok((socket, _)) => Ok(socket),
        Err(error) => Err(not_upgraded(error)),
    }
}

async fn dial(to: SocketAddr, from: Option<IpAddr>) -> std::io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(from) = from {
        socket.bind((from, 0).into())?;
    }
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn address(target: &Target, join: &JoinRequest<'_>) -> String {
    let mut query = reqwest::Url::parse(&target.websocket(&format!("/v1/reading-sessions/{}/ws", join.way.id)))
        .expect("put together from an address and an id");
    query.query_pairs_mut().append_pair("name", join.name);
    if join.resume.is_none() {
        let invite = join.way.host_invite.as_ref().filter(|_| join.as_host).unwrap_or(&join.way.invite);
        query.query_pairs_mut().append_pair("invite", invite);
    }
    query.into()
}

/// A browser cannot read the answer to a failed handshake and reconnects; the report has the answer.
fn not_upgraded(error: Error) -> End {
    match error {
        Error::Http(response) => {
            let retry_after = response.headers().get(header::RETRY_AFTER);
            let seconds = retry_after.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
            End { not_before: Duration::from_secs(seconds), ..End::lost(http_word(&response)) }
        }
        Error::Io(error) => End::lost(io_word(&error)),
        _ => End::lost("handshake_broken"),
    }
}

fn http_word(response: &Response<Option<Vec<u8>>>) -> String {
    #[derive(Deserialize)]
    struct Problem {
        code: String,
    }
    let body = response.body().as_deref().unwrap_or_default();
    match (serde_json::from_slice::<Problem>(body), response.status()) {
        (Ok(problem), _) => problem.code,
        // The body may be incomplete; the code in it is enough.
        (Err(_), StatusCode::TOO_MANY_REQUESTS) => "rate_limited".to_owned(),
        (Err(_), status) => format!("http_{}", status.as_u16()),
    }
}

/// One word for a network error, the same on all systems.
fn io_word(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => "tcp_refused".to_owned(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => "tcp_reset".to_owned(),
        ErrorKind::TimedOut => "tcp_timeout".to_owned(),
        ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse => "no_free_port".to_owned(),
        _ => format!("tcp: {error}"),
    }
}

/// The next text, or how the connection ended. Pings are answered here.
///
/// # Errors
/// How it ended; 1000 answers our own Close frame.
pub async fn next(socket: &mut Socket) -> Result<Utf8Bytes, End> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return Ok(text),
            // The library queues the Pong until the next write, which may never come.
            Some(Ok(Message::Ping(_))) => socket.flush().await.map_err(|error| broken(&error))?,
            Some(Ok(Message::Close(frame))) => return Err(closed(frame)),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(broken(&error)),
            None => return Err(End::lost("1006")),
        }
    }
}

fn closed(frame: Option<CloseFrame>) -> End {
    let code = frame.map_or(1005, |frame| u16::from(frame.code));
    End { comes_back: reconnects(code), is_closed: true, ..End::lost(code.to_string()) }
}

fn broken(error: &Error) -> End {
    match error {
        Error::Io(error) => End::lost(io_word(error)),
        _ => End::lost("1006"),
    }
}

/// Sends a frame.
///
/// # Errors
/// Where the connection is broken.
pub async fn send(socket: &mut Socket, text: String) -> Result<(), End> {
    socket.send(Message::text(text)).await.map_err(|error| broken(&error))
}

/// The next text, or the end, where it has arrived by now.
pub async fn arrived(socket: &mut Socket) -> Option<Result<Utf8Bytes, End>> {
    tokio::time::timeout(TURN, next(socket)).await.ok()
}

/// How a client leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Goodbye {
    /// By the frame `leave`.
    Frame,
    /// By a Close with 1000.
    Close,
}

/// Leaves, and waits briefly for the answer. Whether the server took it: it says so by a Close with 1000, and by none
/// with any other code.
pub async fn leave(mut socket: Socket, goodbye: Goodbye) -> bool {
    let message = match goodbye {
        Goodbye::Frame => Message::text(r#"{"type":"leave"}"#),
        Goodbye::Close => Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() })),
    };
    let parting = async {
        socket.send(message).await.ok()?;
        loop {
            if let Message::Close(answer) = socket.next().await?.ok()? {
                return answer.map(|answer| answer.code);
            }
        }
    };
    matches!(tokio::time::timeout(Duration::from_secs(5), parting).await, Ok(Some(CloseCode::Normal)))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio_tungstenite::accept_async;

    use super::*;

    /// A client and its server.
    async fn pair() -> (Socket, Socket) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let accept = async {
            let (stream, _) = listener.accept().await.expect("a connection");
            accept_async(stream).await.expect("a handshake")
        };
        let connect = async {
            let stream = TcpStream::connect(address).await.expect("a connection");
            tokio_tungstenite::client_async(format!("ws://{address}"), stream).await.expect("a handshake").0
        };
        tokio::join!(connect, accept)
    }

    async fn close(server: &mut Socket, code: u16) {
        let frame = CloseFrame { code: code.into(), reason: "".into() };
        server.send(Message::Close(Some(frame))).await.expect("sent");
    }

    #[tokio::test]
    async fn a_leave_is_taken_where_the_answer_says_so() {
        for (code, taken) in [(1000, true), (1012, false), (4008, false)] {
            let (client, mut server) = pair().await;
            let answers = async {
                assert!(matches!(server.next().await, Some(Ok(Message::Text(text))) if text.contains("leave")));
                server.send(Message::text("{}")).await.expect("sent");
                close(&mut server, code).await;
            };
            assert_eq!(tokio::join!(leave(client, Goodbye::Frame), answers).0, taken, "{code}");
        }
        let (client, server) = pair().await;
        drop(server);
        assert!(!leave(client, Goodbye::Close).await);
        let (client, mut server) = pair().await;
        let answers = async { while let Some(Ok(_)) = server.next().await {} };
        assert!(tokio::join!(leave(client, Goodbye::Close), answers).0);
    }

    #[tokio::test]
    async fn what_has_arrived_is_read_to_the_end() {
        let (mut client, mut server) = pair().await;
        assert_eq!(arrived(&mut client).await, None);
        server.send(Message::text("one")).await.expect("sent");
        close(&mut server, 4008).await;
        // By now it is in the socket.
        client.get_ref().readable().await.expect("readable");
        assert_eq!(arrived(&mut client).await, Some(Ok("one".into())));
        let end = End { is_closed: true, ..End::lost("4008") };
        assert_eq!(arrived(&mut client).await, Some(Err(end)));
    }
}
