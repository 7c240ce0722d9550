//! One client's WebSocket, small: tens of thousands of them stand beside the server on one machine.

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

/// The library clears its read buffer on each read, and holds it as long as the connection lives.
const READ_BUFFER_BYTES: usize = 512;

/// A welcome of a large room.
const LARGEST_MESSAGE: usize = 64 * 1024 * 1024;

/// A connection to the server.
pub type Socket = WebSocketStream<TcpStream>;

/// How somebody asks to be let in.
#[derive(Debug)]
pub struct Knock<'a> {
    /// The session.
    pub way: &'a Invited,
    /// Its host's invite is shown, where there is one.
    pub as_host: bool,
    /// How it is called.
    pub name: &'a str,
    /// From an earlier welcome.
    pub resume: Option<&'a str>,
    /// Which address it comes from.
    pub source: Option<IpAddr>,
}

/// Why a connection ended, or never came to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct End {
    /// In one word: the server's code where it gave one.
    pub why: String,
    /// Whether a client comes back after it.
    pub comes_back: bool,
    /// The server asks to wait for so long.
    pub not_before: Duration,
}

impl End {
    /// The line is gone.
    pub fn lost(why: impl Into<String>) -> Self {
        Self { why: why.into(), comes_back: true, not_before: Duration::ZERO }
    }
}

/// Connects and upgrades.
///
/// # Errors
/// Why there is no connection.
pub async fn connect(target: &Target, number: usize, knock: &Knock<'_>) -> Result<Socket, End> {
    let stream = dial(target.address(number), knock.source).await.map_err(|error| End::lost(io_word(&error)))?;
    let mut request = address(target, knock)
        .into_client_request()
        .map_err(|error| End { comes_back: false, ..End::lost(format!("request: {error}")) })?;
    let mut protocols = SUBPROTOCOL.to_owned();
    if let Some(resume) = knock.resume {
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

fn address(target: &Target, knock: &Knock<'_>) -> String {
    let mut query = reqwest::Url::parse(&target.websocket(&format!("/v1/reading-sessions/{}/ws", knock.way.id)))
        .expect("put together from an address and an id");
    query.query_pairs_mut().append_pair("name", knock.name);
    if knock.resume.is_none() {
        let invite = knock.way.host_invite.as_ref().filter(|_| knock.as_host).unwrap_or(&knock.way.invite);
        query.query_pairs_mut().append_pair("invite", invite);
    }
    query.into()
}

/// A client cannot read the answer to a failed handshake, and comes back; we say what it was.
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
        // The body may not have come whole; this one is worth its word.
        (Err(_), StatusCode::TOO_MANY_REQUESTS) => "rate_limited".to_owned(),
        (Err(_), status) => format!("http_{}", status.as_u16()),
    }
}

/// One word for what the network said, the same on all systems.
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

/// The next text, or how the connection ended. What keeps the connection alive is answered here.
///
/// # Errors
/// How it ended; 1000 is the answer to our own goodbye.
pub async fn next(socket: &mut Socket) -> Result<Utf8Bytes, End> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return Ok(text),
            // The library queues the Pong, and writes it with what comes next: there may be nothing.
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
    End { comes_back: reconnects(code), ..End::lost(code.to_string()) }
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
/// Where the line is gone.
pub async fn send(socket: &mut Socket, text: String) -> Result<(), End> {
    socket.send(Message::text(text)).await.map_err(|error| broken(&error))
}

/// Says goodbye with 1000, and waits a little for the answer; whether it came.
pub async fn leave(mut socket: Socket) -> bool {
    let goodbye = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    let parting = async {
        socket.send(Message::Close(Some(goodbye))).await.ok()?;
        loop {
            if let Message::Close(_) = socket.next().await?.ok()? {
                return Some(());
            }
        }
    };
    matches!(tokio::time::timeout(Duration::from_secs(5), parting).await, Ok(Some(())))
}
