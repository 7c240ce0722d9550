//! TLS for a server without a proxy in front: its certificate, which is read again when its files change, and handshakes.

use std::convert::Infallible;
use std::fmt::{self, Debug, Formatter};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use anyhow::Context;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::{Mutex, RwLock};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, InconsistentKeys, ServerConfig};
use x509_parser::parse_x509_certificate;

use crate::config::NetworkSettings;
use crate::metrics::Metrics;
use crate::protocol::{Code, Refusal};
use crate::socket::stream::Stream;

/// The time for a handshake, or for a client that speaks no TLS to take the answer.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the files are looked at. A change is taken once it was the same at two looks: whoever writes the two files
/// may not be done at the first.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// How long before its end a certificate is warned of, and how often.
const WARN_BEFORE: Duration = Duration::from_hours(14 * 24);
const WARN_INTERVAL: Duration = Duration::from_hours(24);

/// The first byte of a handshake: the type of its record.
const HANDSHAKE: u8 = 0x16;

/// The server's side of TLS.
#[derive(Debug)]
pub(super) struct Tls {
    config: Arc<ServerConfig>,
    current: Arc<Current>,
    cert: PathBuf,
    key: PathBuf,
    seen: Mutex<Seen>,
    metrics: Arc<Metrics>,
}

/// The certificate of handshakes from now on, and when it expires.
#[derive(Debug)]
struct Current(RwLock<(Arc<CertifiedKey>, DateTime<Utc>)>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().0))
    }
}

/// What is in the files, as text, or why they cannot be read. It holds the key, so nothing of it is shown.
#[derive(Clone, PartialEq, Eq)]
struct Pem {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// What the files held.
struct Seen {
    /// When what is in use was read.
    used: Pem,
    /// At the last look, where it is something new.
    next: Option<Result<Pem, String>>,
    /// What was something new and cannot be used.
    refused: Option<Result<Pem, String>>,
}

impl Debug for Seen {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen").finish_non_exhaustive()
    }
}

impl Tls {
    /// That of the settings, where they have a certificate.
    ///
    /// # Errors
    /// Why it cannot be used, as one line.
    pub(super) fn of(settings: &NetworkSettings, metrics: &Arc<Metrics>) -> anyhow::Result<Option<Arc<Self>>> {
        let Some((cert, key)) = settings.tls_cert.clone().zip(settings.tls_key.clone()) else { return Ok(None) };
        let used = read(&cert, &key).map_err(anyhow::Error::msg)?;
        let (certified, expires_at) = certificate(&used).map_err(|fault| anyhow::anyhow!(fault.of(&cert, &key)))?;
        let current = Arc::new(Current(RwLock::new((certified, expires_at))));
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .context("TLS cannot be set up")?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        metrics.tls_certificate_expires.set(expires_at.timestamp());
        let seen = Mutex::new(Seen { used, next: None, refused: None });
        Ok(Some(Arc::new(Self { config: Arc::new(config), current, cert, key, seen, metrics: Arc::clone(metrics) })))
    }

    /// Shakes hands. `None` where the client did not come so far; one that speaks HTTP without TLS is told so.
    pub(super) async fn accept(&self, tcp: TcpStream) -> Option<Stream> {
        match timeout(HANDSHAKE_TIMEOUT, self.shake(tcp)).await {
            Ok(Ok(stream)) => Some(stream),
            // An error here concerns the client's connection alone, which is closed.
            failed => {
                self.metrics.tls_handshake_failures.inc();
                let error =
                    failed.ok().and_then(Result::err).map_or("no time left".to_owned(), |error| error.to_string());
                tracing::debug!(error, "a TLS handshake failed");
                None
            }
        }
    }

    async fn shake(&self, tcp: TcpStream) -> io::Result<Stream> {
        let mut first = [0; 1];
        if tcp.peek(&mut first).await? == 1 && first[0] != HANDSHAKE {
            say_tls(tcp).await;
            return Err(io::ErrorKind::InvalidData.into());
        }
        let tls = TlsAcceptor::from(Arc::clone(&self.config)).accept(tcp).await?;
        Ok(Stream::Tls(Box::new(tls)))
    }

    /// Looks at the files, and takes what is new.
    async fn look(&self) {
        let (cert, key) = (self.cert.clone(), self.key.clone());
        let Ok(now) = tokio::task::spawn_blocking(move || read(&cert, &key)).await else { return };
        let mut seen = self.seen.lock();
        if now.as_ref() == Ok(&seen.used) {
            (seen.next, seen.refused) = (None, None);
            return;
        }
        if seen.refused.as_ref() == Some(&now) {
            return;
        }
        if seen.next.as_ref() != Some(&now) {
            seen.next = Some(now);
            return;
        }
        seen.next = None;
        let taken = now.clone().and_then(|pem| {
            let (certified, expires_at) = certificate(&pem).map_err(|fault| fault.of(&self.cert, &self.key))?;
            Ok((pem, certified, expires_at))
        });
        match taken {
            Ok((pem, certified, expires_at)) => {
                (seen.used, seen.refused) = (pem, None);
                *self.current.0.write() = (certified, expires_at);
                self.metrics.tls_certificate_expires.set(expires_at.timestamp());
                tracing::info!(%expires_at, "new certificate");
            }
            Err(fault) => {
                seen.refused = Some(now);
                self.metrics.tls_reload_failures.inc();
                tracing::warn!("the certificate that was read before stays in use: {fault}");
            }
        }
    }

    /// Warns of a certificate that is about to expire; gives whether it did.
    fn warn_of_end(&self) -> bool {
        let expires_at = self.current.0.read().1;
        let left = expires_at - Utc::now();
        if left.to_std().is_ok_and(|left| left > WARN_BEFORE) {
            return false;
        }
        match left.num_seconds() {
            ..=0 => tracing::warn!(%expires_at, "the certificate of tls-cert has expired: browsers refuse it"),
            seconds => tracing::warn!(%expires_at, "the certificate of tls-cert expires in {} days", seconds / 86_400),
        }
        true
    }
}

/// Follows the files for ever.
pub(super) async fn watch(tls: Arc<Tls>) {
    let mut warned: Option<Instant> = None;
    loop {
        if warned.is_none_or(|at| at.elapsed() >= WARN_INTERVAL) && tls.warn_of_end() {
            warned = Some(Instant::now());
        }
        sleep(LOOK_INTERVAL).await;
        tls.look().await;
    }
}

/// Answers a client that sent its request without TLS.
async fn say_tls(tcp: TcpStream) {
    let service = service_fn(async |_: hyper::Request<Incoming>| {
        let message = "This port speaks TLS: use https:// or wss://.";
        Ok::<_, Infallible>(Refusal::new(Code::BadRequest, message).into_response())
    });
    let connection =
        http1::Builder::new().keep_alive(false).header_read_timeout(None).serve_connection(TokioIo::new(tcp), service);
    let _ = connection.await;
}

fn read(cert: &Path, key: &Path) -> Result<Pem, String> {
    let read = |setting, file: &Path| {
        fs::read(file).map_err(|error| format!("{setting} {} cannot be read: {error}", file.display()))
    };
    Ok(Pem { cert: read("tls-cert", cert)?, key: read("tls-key", key)? })
}

/// Why a certificate and a key cannot be used.
#[derive(PartialEq, Eq, Debug)]
enum Fault {
    Cert(String),
    Key(String),
    Pair,
}

impl Fault {
    /// As one line that names the files.
    fn of(&self, cert: &Path, key: &Path) -> String {
        let (cert, key) = (cert.display(), key.display());
        match self {
            Self::Cert(what) => format!("tls-cert {cert} {what}"),
            Self::Key(what) => format!("tls-key {key} {what}"),
            Self::Pair => format!("tls-key {key} is not the key of the certificate in tls-cert {cert}"),
        }
    }
}

/// The certificate, and when it expires.
fn certificate(pem: &Pem) -> Result<(Arc<CertifiedKey>, DateTime<Utc>), Fault> {
    let chain = CertificateDer::pem_slice_iter(&pem.cert)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Fault::Cert(format!("cannot be read as PEM: {error}")))?;
    let Some(own) = chain.first() else {
        return Err(Fault::Cert("holds no certificate: one begins with -----BEGIN CERTIFICATE-----".to_owned()));
    };
    let (_, parsed) = parse_x509_certificate(own)
        .map_err(|error| Fault::Cert(format!("holds something else than a certificate: {error}")))?;
    let expires_at =
        DateTime::from_timestamp(parsed.validity().not_after.timestamp(), 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
    let key = PrivateKeyDer::from_pem_slice(&pem.key)
        .map_err(|_| Fault::Key("holds no private key as PEM; one with a passphrase cannot be used".to_owned()))?;
    let certified =
        CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => Fault::Pair,
            error => Fault::Key(format!("cannot be used: {error}")),
        })?;
    Ok((Arc::new(certified), expires_at))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn made() -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["presence.example".to_owned()]).expect("a name");
        params.not_after = date_time_ymd(2031, 2, 3);
        (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
    }

    fn used(cert: &str, key: &str) -> Result<DateTime<Utc>, String> {
        let pem = Pem { cert: cert.into(), key: key.into() };
        let of = |fault: Fault| fault.of("/c.pem".as_ref(), "/k.pem".as_ref());
        certificate(&pem).map(|(_, expires_at)| expires_at).map_err(of)
    }

    #[test]
    fn a_certificate_is_used_with_its_own_key_alone() {
        let ((cert, key), (other, other_key)) = (made(), made());
        let expires_at = used(&cert, &key).expect("a certificate");
        assert_eq!(expires_at.to_rfc3339(), "2031-02-03T00:00:00+00:00");
        assert!(used(&format!("{cert}{other}"), &key).is_ok(), "the first one is the server's");
        assert_eq!(
            used(&cert, &other_key),
            Err("tls-key /k.pem is not the key of the certificate in tls-cert /c.pem".to_owned())
        );
        for (cert, key, wrong) in [
            ("", key.as_str(), "tls-cert /c.pem holds no certificate"),
            (key.as_str(), key.as_str(), "tls-cert /c.pem holds no certificate"),
            (&cert[..cert.len() - 30], key.as_str(), "tls-cert /c.pem "),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                key.as_str(),
                "tls-cert /c.pem holds something else",
            ),
            (cert.as_str(), "", "tls-key /k.pem holds no private key"),
            (cert.as_str(), cert.as_str(), "tls-key /k.pem holds no private key"),
        ] {
            let fault = used(cert, key).expect_err(wrong);
            assert!(fault.starts_with(wrong) && !fault.contains('\n'), "{fault}");
        }
    }
}
