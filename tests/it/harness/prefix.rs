//! A proxy in front of a server that is below a path, which takes that path out of requests.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

pub struct StrippingProxy {
    pub address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl StrippingProxy {
    /// Of each connection the first request is changed, so a client sends one alone.
    pub async fn before(server: SocketAddr, path: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(forward(client, server, path));
            }
        });
        Self { address, accepting }
    }
}

impl Drop for StrippingProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn forward(mut client: TcpStream, server: SocketAddr, path: &str) {
    let mut request = Vec::new();
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        if client.read_buf(&mut request).await.is_ok_and(|bytes| bytes > 0) {
            continue;
        }
        return;
    }
    let text = String::from_utf8(request).expect("a request of a test");
    let (method, rest) = text.split_once(' ').expect("a request line");
    let stripped = rest.strip_prefix(path).unwrap_or_else(|| panic!("not below {path}: {rest}"));
    let mut upstream = TcpStream::connect(server).await.expect("the server");
    upstream.write_all(format!("{method} {stripped}").as_bytes()).await.expect("sent");
    // Either end may hang up.
    let _ = copy_bidirectional(&mut client, &mut upstream).await;
}
