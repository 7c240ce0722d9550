//! The public keys that JWTs are checked with: a JSON Web Key Set out of a file or from a URL, read
//! at start, every ten minutes, and when a token names a key that is not in it.

mod key_set;
#[cfg(test)]
pub(super) mod signers;
mod source;

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use parking_lot::RwLock;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use key_set::KeySet;
pub use key_set::KeySetError;
pub(super) use key_set::{NoKey, PublicKey, algorithm};
pub use source::{JwksError, JwksSource, LoadFault};

/// The algorithms of public keys that are used.
pub(super) const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// When keys are read. Tests use shorter times.
#[derive(Debug, Clone, Copy)]
struct Timing {
    /// From one reading to the next.
    refresh: Duration,
    /// The shortest time between two readings because of an unknown key: anyone can send such tokens. A token
    /// that comes in between is refused for now, never for good: its key may be new.
    unknown_key: Duration,
    /// The timeout of one reading.
    limit: Duration,
}

const TIMING: Timing =
    Timing { refresh: Duration::from_mins(10), unknown_key: Duration::from_secs(30), limit: Duration::from_secs(5) };

/// How many of the unknown keys that were asked for between two readings are kept. The tokens of others are refused
/// for now once more.
const MOST_ASKED: usize = 1000;

/// A key set that is kept up to date until it is dropped.
pub(super) struct Jwks {
    shared: Arc<Shared>,
    _refresher: AbortOnDropHandle<()>,
}

struct Shared {
    source: JwksSource,
    timing: Timing,
    keys: RwLock<Arc<KeySet>>,
    /// Held while keys are read: a request that needs newer keys waits for that reading.
    refresh: Mutex<Refresh>,
}

/// What was asked for and read. Unknown keys are kept as hashes, since anyone can name any.
#[derive(Default)]
struct Refresh {
    hasher: RandomState,
    /// When an unknown key last caused a reading.
    for_unknown_key: Option<Instant>,
    /// The unknown keys that were asked for since the last reading began.
    asked: HashSet<u64>,
    /// Those that the last reading was to find. What it has not brought is known to be no key of the issuer's.
    looked_for: HashSet<u64>,
}

impl Jwks {
    /// Reads the keys for the first time.
    ///
    /// # Errors
    ///
    /// [`JwksError::Load`] where there are none.
    pub(super) async fn load(source: JwksSource) -> Result<Self, JwksError> {
        Self::load_timed(source, TIMING).await
    }

    async fn load_timed(source: JwksSource, timing: Timing) -> Result<Self, JwksError> {
        let keys = source.load(timing.limit).await.map_err(|fault| source.error(fault))?;
        let shared = Arc::new(Shared { source, timing, keys: RwLock::new(Arc::new(keys)), refresh: Mutex::default() });
        let refresher = tokio::spawn(Arc::clone(&shared).refresh_for_ever());
        Ok(Self { shared, _refresher: AbortOnDropHandle::new(refresher) })
    }

    /// The key for a token that names this id and algorithm. An unknown id causes the set to be read
    /// again, at most once in thirty seconds.
    pub(super) async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Arc<PublicKey>, NoKey> {
        match self.shared.keys().find(id, algorithm) {
            Err(NoKey::UnknownId) => {
                self.look_for(id).await?;
                self.shared.keys().find(id, algorithm)
            }
            found => found,
        }
    }

    /// Sees to it that the set was read after this was first asked for: an id, or a token that names none.
    ///
    /// # Errors
    ///
    /// [`NoKey::Unavailable`] where the reading failed, or is held back because of an earlier one.
    pub(super) async fn look_for(&self, key: impl Hash) -> Result<(), NoKey> {
        self.shared.look_for(key).await
    }
}

impl Shared {
    fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.keys.read())
    }

    async fn refresh_for_ever(self: Arc<Self>) {
        loop {
            sleep(self.timing.refresh).await;
            self.refresh(&mut *self.refresh.lock().await).await;
        }
    }

    async fn look_for(&self, key: impl Hash) -> Result<(), NoKey> {
        let mut refresh = self.refresh.lock().await;
        let key = refresh.hasher.hash_one(key);
        let held_back = |refresh: &Refresh| {
            let since = refresh.for_unknown_key.map(|at| at.elapsed());
            since.map_or(Duration::ZERO, |since| self.timing.unknown_key.saturating_sub(since))
        };
        if refresh.asked.len() < MOST_ASKED || held_back(&refresh).is_zero() {
            refresh.asked.insert(key);
        }
        if held_back(&refresh).is_zero() {
            refresh.for_unknown_key = Some(Instant::now());
            self.refresh(&mut refresh).await;
        }
        match refresh.looked_for.contains(&key) {
            true => Ok(()),
            false => Err(NoKey::Unavailable(held_back(&refresh))),
        }
    }

    /// Replaces the keys. Where the reading fails the old ones stay: while an issuer is down, its tokens
    /// must still be accepted.
    async fn refresh(&self, refresh: &mut Refresh) {
        match self.source.load(self.timing.limit).await {
            Ok(keys) => {
                // Nothing was asked for meanwhile: a request that asks waits for this reading.
                refresh.looked_for = std::mem::take(&mut refresh.asked);
                *self.keys.write() = Arc::new(keys);
            }
            Err(fault) => {
                let error = self.source.error(fault);
                tracing::warn!(%error, "the JWKS could not be read again; the keys in memory stay in use");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use reqwest::StatusCode;
    use serde_json::Value;
    use tempfile::TempDir;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::signers::{Signer, key_set};
    use super::source::MAX_BYTES;
    use super::*;

    const SLOW: Timing = Timing {
        refresh: Duration::from_hours(1),
        unknown_key: Duration::from_hours(1),
        limit: Duration::from_secs(5),
    };

    /// A file with a key set in it.
    struct KeyFile(TempDir);

    impl KeyFile {
        fn new(keys: &[Value]) -> Self {
            let file = Self(tempfile::tempdir().unwrap());
            file.write(&key_set(keys));
            file
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("jwks.json")
        }

        /// Replaces the file in one step, as a refresh may read it at any time.
        fn write(&self, text: &str) {
            let draft = self.0.path().join("draft");
            fs::write(&draft, text).unwrap();
            fs::rename(draft, self.path()).unwrap();
        }

        fn source(&self) -> JwksSource {
            JwksSource::parse(self.path().to_str().unwrap(), false).unwrap()
        }
    }

    /// Answers every request with `response`, and counts them.
    async fn server(response: impl Into<Vec<u8>>) -> (JwksSource, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys?apikey=hunter2", listener.local_addr().unwrap());
        let (response, requests) = (response.into(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let _request = socket.read(&mut [0; 4096]).await;
                // The client hangs up on an answer that is too large.
                let _ = socket.write_all(&response).await;
            }
        });
        (JwksSource::parse(&url, false).unwrap(), requests)
    }

    fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    async fn load_fault(source: JwksSource, timing: Timing) -> (LoadFault, String) {
        let Err(error) = Jwks::load_timed(source, timing).await else { panic!("it was loaded") };
        let text = error.to_string();
        assert!(!text.contains('\n') && !text.contains("hunter2"), "{text}");
        let JwksError::Load { fault, .. } = error else { panic!("{error}") };
        (fault, text)
    }

    async fn until(condition: impl Fn() -> bool) {
        let wait = async {
            while !condition() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(30), wait).await.expect("it comes about");
    }

    #[tokio::test]
    async fn no_keys_at_the_start_is_an_error_of_one_line() {
        let missing = JwksSource::parse("/nowhere/jwks.json", false).unwrap();
        let (fault, text) = load_fault(missing, SLOW).await;
        assert!(matches!(fault, LoadFault::File(_)), "{text}");
        assert!(text.contains("/nowhere/jwks.json"), "{text}");

        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let nowhere = JwksSource::parse(&format!("http://{closed}/?apikey=hunter2"), false).unwrap();
        let (fault, text) = load_fault(nowhere, SLOW).await;
        assert!(matches!(fault, LoadFault::Request(_)), "{text}");

        let (source, _) = server("HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n").await;
        let (fault, _) = load_fault(source, SLOW).await;
        assert!(matches!(fault, LoadFault::Status(StatusCode::FOUND)));

        let (source, _) = server(ok("<html>")).await;
        assert!(matches!(load_fault(source, SLOW).await.0, LoadFault::Keys(KeySetError::Malformed(_))));

        let (source, _) = server(ok(r#"{"keys":[]}"#)).await;
        assert!(matches!(load_fault(source, SLOW).await.0, LoadFault::Keys(KeySetError::Empty)));
    }

    #[tokio::test]
    async fn size_and_time_are_limited() {
        let (source, _) = server(ok(&" ".repeat(MAX_BYTES + 1))).await;
        assert!(matches!(load_fault(source, SLOW).await.0, LoadFault::TooLarge));

        let file = KeyFile::new(&[]);
        file.write(&" ".repeat(MAX_BYTES + 1));
        assert!(matches!(load_fault(file.source(), SLOW).await.0, LoadFault::TooLarge));

        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let hasty = Timing { limit: Duration::from_millis(50), ..SLOW };
        let (fault, _) = load_fault(JwksSource::parse(&url, false).unwrap(), hasty).await;
        assert!(matches!(fault, LoadFault::TimedOut));
    }

    #[tokio::test]
    async fn keys_are_read_again_without_being_asked_for() {
        let file = KeyFile::new(&[Signer::es256("old").jwk()]);
        let often = Timing { refresh: Duration::from_millis(5), ..SLOW };
        let jwks = Jwks::load_timed(file.source(), often).await.unwrap();
        file.write("broken");
        file.write(&key_set(&[Signer::es256("new").jwk()]));
        until(|| jwks.shared.keys().find(Some("new"), Algorithm::ES256).is_ok()).await;
        let shared = Arc::downgrade(&jwks.shared);
        drop(jwks);
        until(|| shared.strong_count() == 0).await;
    }

    #[tokio::test]
    async fn an_unknown_id_has_the_keys_read_once() {
        let set = key_set(&[Signer::es256("known").jwk()]);
        let (source, requests) = server(ok(&set)).await;
        let jwks = Jwks::load_timed(source, SLOW).await.unwrap();
        assert!(jwks.find(Some("known"), Algorithm::ES256).await.is_ok());
        assert_eq!(requests.load(Ordering::Relaxed), 1);
        for _ in 0..3 {
            let unknown = jwks.find(Some("unknown"), Algorithm::ES256).await;
            assert_eq!(unknown.unwrap_err(), NoKey::UnknownId);
        }
        assert_eq!(requests.load(Ordering::Relaxed), 2);
        // Another one may be newer than that reading.
        for _ in 0..3 {
            let new = jwks.find(Some("new"), Algorithm::ES256).await;
            let Err(NoKey::Unavailable(wait)) = new else { panic!("{new:?}") };
            assert!(wait > Duration::from_mins(59) && wait <= SLOW.unknown_key, "{wait:?}");
        }
        assert_eq!(requests.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_key_that_was_refused_while_a_reading_was_held_back_is_found_by_the_next_one() {
        let file = KeyFile::new(&[Signer::es256("old").jwk()]);
        let timing = Timing { refresh: Duration::from_hours(1), unknown_key: Duration::from_millis(50), ..SLOW };
        let jwks = Jwks::load_timed(file.source(), timing).await.unwrap();
        assert_eq!(jwks.find(Some("forged"), Algorithm::ES256).await.unwrap_err(), NoKey::UnknownId);
        file.write(&key_set(&[Signer::es256("new").jwk()]));
        // However slow this machine is, the key is never unknown for good.
        let found = async {
            loop {
                match jwks.find(Some("new"), Algorithm::ES256).await {
                    Err(NoKey::Unavailable(wait)) => sleep(wait).await,
                    found => break found,
                }
            }
        };
        assert!(timeout(Duration::from_secs(30), found).await.expect("an answer").is_ok());
    }

    #[tokio::test]
    async fn as_many_unknown_keys_as_anyone_names_take_bounded_memory() {
        let file = KeyFile::new(&[Signer::es256("known").jwk()]);
        let jwks = Jwks::load_timed(file.source(), SLOW).await.unwrap();
        for id in 0..2 * MOST_ASKED {
            let _ = jwks.find(Some(&id.to_string()), Algorithm::ES256).await;
        }
        assert_eq!(jwks.shared.refresh.lock().await.asked.len(), MOST_ASKED);
    }

    #[tokio::test]
    async fn a_refresh_that_fails_keeps_the_old_keys() {
        let file = KeyFile::new(&[Signer::es256("old").jwk()]);
        let timing = Timing { unknown_key: Duration::ZERO, ..SLOW };
        let jwks = Jwks::load_timed(file.source(), timing).await.unwrap();
        for broken in ["", "{}", r#"{"keys":[]}"#] {
            file.write(broken);
            let unknown = jwks.find(Some("new"), Algorithm::ES256).await;
            assert_eq!(unknown.unwrap_err(), NoKey::Unavailable(Duration::ZERO));
            assert!(jwks.find(Some("old"), Algorithm::ES256).await.is_ok());
        }
        file.write(&key_set(&[Signer::es256("new").jwk()]));
        assert!(jwks.find(Some("new"), Algorithm::ES256).await.is_ok());
        assert_eq!(jwks.find(Some("old"), Algorithm::ES256).await.unwrap_err(), NoKey::UnknownId);
    }
}
