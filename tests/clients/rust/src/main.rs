//! tungstenite. What the program is given and what it prints: ../../README.md.

use std::env;
use std::io::{self, BufRead, ErrorKind};
use std::net::TcpStream;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::error::{Error, Result};
use tungstenite::http::{HeaderName, HeaderValue, Request};
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket, connect};

/// How long a read waits before lines of the input are looked at.
const TURN: Duration = Duration::from_millis(50);

fn main() {
    match connect(request()) {
        Ok((socket, answer)) => {
            let protocol = answer.headers().get("Sec-WebSocket-Protocol").map(|value| value.to_str().expect("ASCII"));
            print(json!({ "open": protocol.unwrap_or_default() }));
            print(match talk(socket, &lines()) {
                Ok((code, reason)) => json!({ "closed": code, "reason": reason }),
                Err(error) => json!({ "failed": error.to_string() }),
            });
        }
        Err(Error::Http(answer)) => {
            let body = answer.body().as_ref().map(|body| String::from_utf8_lossy(body).into_owned());
            print(json!({ "refused": answer.status().as_u16(), "body": body }));
        }
        Err(error) => print(json!({ "failed": error.to_string() })),
    }
}

fn request() -> Request<()> {
    let mut arguments = env::args().skip(1);
    let mut next = || arguments.next().expect("URL PROTOCOLS [HEADER…]");
    let mut request = next().into_client_request().expect("a URL");
    let protocols = next().replace(',', ", ");
    let headers = request.headers_mut();
    let value = |text: &str| HeaderValue::from_str(text).expect("the value of a header");
    if !protocols.is_empty() {
        headers.insert("Sec-WebSocket-Protocol", value(&protocols));
    }
    for header in arguments {
        let (name, text) = header.split_once(": ").expect("Name: value");
        headers.insert(name.parse::<HeaderName>().expect("the name of a header"), value(text));
    }
    request
}

/// The lines of the standard input; disconnected at its end.
fn lines() -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || io::stdin().lock().lines().map_while(io::Result::ok).try_for_each(|line| sender.send(line)));
    lines
}

/// Prints what comes until the end; gives the code and the reason of the Close.
fn talk(mut socket: WebSocket<MaybeTlsStream<TcpStream>>, lines: &Receiver<String>) -> Result<(Option<u16>, String)> {
    if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
        stream.set_read_timeout(Some(TURN))?;
    }
    let mut end = (None, String::new());
    let mut leaving = false;
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => print(json!({ "text": text.as_str() })),
            Ok(Message::Close(Some(close))) => end = (Some(close.code.into()), close.reason.to_string()),
            Ok(_) => {}
            Err(Error::ConnectionClosed) => return Ok(end),
            Err(Error::Io(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                match lines.try_recv() {
                    Ok(line) => socket.send(Message::text(line))?,
                    Err(TryRecvError::Disconnected) if !leaving => {
                        leaving = true;
                        socket.close(None)?;
                    }
                    Err(_) => {}
                }
            }
            Err(error) => return Err(error),
        }
    }
}

fn print(fact: Value) {
    println!("{fact}");
}
