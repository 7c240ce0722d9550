//! The line to a client: a TCP stream that is a WebSocket, written with patience and closed with care.

use std::time::Duration;

use futures_util::SinkExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

use super::end::End;
use super::stream::Counted;
use crate::protocol::{Code, v1};

/// How long a connection that ends may take for its last frames, and its client to hang up.
const FAREWELL: Duration = Duration::from_secs(2);

/// Far above what the server takes, so that a message that is too large is refused by us, with its
/// close code, and not by the library, which would leave the client with 1006.
const LIBRARY_MESSAGE_BYTES: usize = 64 * 1024;

/// The library clears its whole read buffer on each read, and holds it for as long as the connection
/// lives: as small as beats are.
const READ_BUFFER_BYTES: usize = 256;

/// What is gathered before it is written without a flush.
const WRITE_BUFFER_BYTES: usize = 16 * 1024;

/// A WebSocket that knows how much its reader took.
pub type WebSocket = WebSocketStream<Counted>;

/// A TCP stream after the upgrade, before it is a WebSocket.
#[derive(Debug)]
pub struct Line {
    stream: Counted,
    /// What the client sent ahead of our answer.
    early: Vec<u8>,
}

impl Line {
    /// A stream, and what was read of it too early.
    pub fn new(stream: TcpStream, early: Vec<u8>) -> Self {
        Self { stream: Counted::new(stream), early }
    }

    /// Speaks WebSocket from here on.
    pub async fn open(self) -> WebSocket {
        websocket(self.stream, self.early).await
    }

    /// The same, after a first message. That one may be large, so it goes out on a WebSocket of its
    /// own, whose write buffer ends with it; nothing was read by then that could be lost.
    pub async fn open_with(self, first: Message, patience: Duration) -> (WebSocket, Result<(), End>) {
        let mut greeter = websocket(self.stream, Vec::new()).await;
        let sent = write(&mut greeter, patience, [first]).await;
        (websocket(greeter.into_inner(), self.early).await, sent)
    }
}

async fn websocket(stream: Counted, early: Vec<u8>) -> WebSocket {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(Some(LIBRARY_MESSAGE_BYTES))
        .max_frame_size(Some(LIBRARY_MESSAGE_BYTES));
    WebSocketStream::from_partially_read(stream, early, Role::Server, Some(config)).await
}

/// Queues all messages and flushes once. A reader that is slow but takes data is waited for; one that
/// takes none for `patience` is not.
pub async fn write(
    socket: &mut WebSocket,
    patience: Duration,
    messages: impl IntoIterator<Item = Message>,
) -> Result<(), End> {
    let mut messages = messages.into_iter();
    let mut waiting = messages.next();
    loop {
        let before = socket.get_ref().written();
        let attempt = async {
            while let Some(message) = waiting.clone() {
                socket.feed(message).await?;
                waiting = messages.next();
            }
            socket.flush().await
        };
        match timeout(patience, attempt).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => return Err(End::from(&error)),
            Err(_) if socket.get_ref().written() > before => {}
            Err(_) => return Err(Code::SlowConsumer.into()),
        }
    }
}

/// A message that a socket may take.
///
/// # Errors
/// How the connection ends by it: the client closed, or sent what no socket here takes.
pub fn taken(message: Message, max_message_bytes: usize) -> Result<Message, End> {
    match message {
        Message::Text(text) if text.len() > max_message_bytes => Err(End::Broken(CloseCode::Size)),
        Message::Binary(_) => Err(End::Broken(CloseCode::Unsupported)),
        Message::Close(frame) => Err(match frame.map(|frame| frame.code) {
            Some(CloseCode::Normal) => End::ClosedNormally,
            _ => End::Closed,
        }),
        message => Ok(message),
    }
}

/// The last frames of a connection. Then our side of the TCP stream is shut and what still comes is
/// read and thrown away until the client hangs up: closing with unread data would reset the stream,
/// and the client would lose the close frame that it has not read yet.
pub async fn farewell(mut socket: WebSocket, end: &End) {
    let close =
        |code: CloseCode, reason: &'static str| Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    let messages = match end {
        End::Left => vec![close(CloseCode::Normal, "")],
        // A flush sends the answer to the client's close.
        End::ClosedNormally | End::Closed | End::Lost => vec![],
        End::Refused(refusal) => {
            let code = refusal.code.close_code().unwrap_or(1011);
            vec![Message::Text(v1::error(refusal, None)), close(code.into(), refusal.code.as_str())]
        }
        End::Broken(code) => vec![close(*code, "")],
    };
    let _ = write(&mut socket, FAREWELL, messages).await;
    let mut stream = socket.into_inner();
    let _ = timeout(FAREWELL, async {
        stream.shutdown().await?;
        let mut ignored = [0; 1024];
        while stream.read(&mut ignored).await? > 0 {}
        std::io::Result::Ok(())
    })
    .await;
}
