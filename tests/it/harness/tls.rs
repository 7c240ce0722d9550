//! Certificates, and TLS by hand.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A certificate for `localhost`, signed by itself, with its key.
pub struct Issued {
    pub cert: String,
    pub key: String,
    der: CertificateDer<'static>,
}

/// One that expires at the end of this year.
pub fn issue(until: i32) -> Issued {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    params.not_after = rcgen::date_time_ymd(until, 12, 31);
    let cert = params.self_signed(&key).expect("a certificate");
    Issued { cert: cert.pem(), key: key.serialize_pem(), der: cert.der().clone() }
}

/// The files of a certificate and a key.
pub struct Files {
    _folder: TempDir,
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Files {
    pub fn of(issued: &Issued) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
        let files = Self { _folder: folder, cert, key };
        files.write(&issued.cert, &issued.key);
        files
    }

    pub fn write(&self, cert: &str, key: &str) {
        fs::write(&self.cert, cert).expect("written");
        fs::write(&self.key, key).expect("written");
    }

    /// The flags of a server with them.
    pub fn flags(&self) -> [&str; 4] {
        let [cert, key] = [&self.cert, &self.key].map(|path| path.to_str().expect("UTF-8"));
        ["--tls-cert", cert, "--tls-key", key]
    }
}

/// Shakes hands over this stream, and trusts this certificate alone.
pub async fn shake(tcp: TcpStream, trusted: &Issued, alpn: &[&str]) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der.clone()).expect("a certificate");
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

/// A connection to this server, whose certificate must be this one.
pub async fn connect(address: SocketAddr, trusted: &Issued) -> io::Result<TlsStream<TcpStream>> {
    shake(TcpStream::connect(address).await?, trusted, &[]).await
}
