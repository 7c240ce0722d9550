//! The server's own secret, used where none is configured: made once and stored in the data directory.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rand::TryRng;
use rand::rngs::SysRng;

/// The name of the file in the data directory.
const FILE_NAME: &str = "secret";

/// The random bytes of a new secret. As text they are 43 characters.
const RANDOM_BYTES: usize = 32;

/// The minimum length of a secret, in bytes: RFC 7518 requires 256 bits for HS256.
const MIN_BYTES: usize = 32;

/// The secret that this server signs with. It has no `Display`, and its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The secret's bytes. They are the text of the file itself, so that other programs can be given the same
    /// text to sign with.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Reads the secret of a data directory, or makes both where they are missing. If several servers start at once
/// on one directory, the first to finish makes the secret, and all of them return that one.
///
/// # Errors
///
/// Where the directory or the file cannot be read or created, or where the file has less than 32 bytes; the
/// message names the file.
pub fn load_or_create(data_dir: &Path) -> io::Result<Secret> {
    let path = data_dir.join(FILE_NAME);
    read_or_create(data_dir, &path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn read_or_create(data_dir: &Path, path: &Path) -> io::Result<Secret> {
    match read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(data_dir)?;
            create(data_dir, path)?;
            // The secret read back may be the one of another server, which was faster.
            read(path)
        }
        read => read,
    }
}

fn read(path: &Path) -> io::Result<Secret> {
    let text = fs::read(path)?;
    warn_if_open_to_others(path)?;
    let secret = text.trim_ascii();
    if secret.len() < MIN_BYTES {
        let message = format!(
            "a secret has at least {MIN_BYTES} bytes; remove the file to have a new one made, which \
             ends the tokens signed so far"
        );
        return Err(io::Error::new(ErrorKind::InvalidData, message));
    }
    Ok(Secret(secret.to_vec()))
}

/// Writes a new secret to a draft and links it to its name. A link, unlike a rename, fails where another server
/// was faster; and a file that is half written is never read.
fn create(data_dir: &Path, path: &Path) -> io::Result<()> {
    let draft = data_dir.join(format!("{FILE_NAME}.{}", random_text::<8>()?));
    let outcome = write_private(&draft, &random_text::<RANDOM_BYTES>()?).and_then(|()| fs::hard_link(&draft, path));
    // The draft may not exist after a failure, which is what has to be returned then.
    let _ = fs::remove_file(&draft);
    match outcome {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        outcome => outcome,
    }
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = private_file(path)?;
    writeln!(file, "{text}")?;
    file.sync_all()
}

fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn random_text<const BYTES: usize>() -> io::Result<String> {
    let mut bytes = [0; BYTES];
    SysRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// The mode may be intended, for a group that makes backups: this only warns.
#[cfg(unix)]
fn warn_if_open_to_others(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        tracing::warn!(
            path = %path.display(),
            mode = format_args!("{mode:03o}"),
            "the secret is open to other users of this machine; its mode should be 600"
        );
    }
    Ok(())
}

#[cfg(not(unix))]
fn warn_if_open_to_others(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_read_from_then_on() {
        let parent = tempfile::tempdir().unwrap();
        let data_dir = parent.path().join("not/there/yet");
        let made = load_or_create(&data_dir).unwrap();
        assert!(made.as_bytes().len() >= MIN_BYTES);
        assert_eq!(load_or_create(&data_dir).unwrap(), made);
        let names: Vec<_> = fs::read_dir(&data_dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, [FILE_NAME], "no draft is left");
    }

    #[test]
    fn two_directories_have_two_secrets() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_ne!(load_or_create(one.path()).unwrap(), load_or_create(other.path()).unwrap());
    }

    #[test]
    fn servers_that_race_share_one_secret() {
        const SERVERS: usize = 8;
        let data_dir = tempfile::tempdir().unwrap();
        let start = Barrier::new(SERVERS);
        let secrets: Vec<_> = thread::scope(|scope| {
            let server = || {
                start.wait();
                load_or_create(data_dir.path()).unwrap()
            };
            let servers: Vec<_> = (0..SERVERS).map(|_| scope.spawn(server)).collect();
            servers.into_iter().map(|server| server.join().unwrap()).collect()
        });
        assert!(secrets.iter().all(|secret| *secret == secrets[0]));
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_the_file() {
        use std::os::unix::fs::PermissionsExt;
        let data_dir = tempfile::tempdir().unwrap();
        load_or_create(data_dir.path()).unwrap();
        let mode = fs::metadata(data_dir.path().join(FILE_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_secret_put_there_by_hand_is_taken_without_its_line_end() {
        let data_dir = tempfile::tempdir().unwrap();
        let text = "0123456789abcdef0123456789abcdef";
        fs::write(data_dir.path().join(FILE_NAME), format!("{text}\r\n")).unwrap();
        assert_eq!(load_or_create(data_dir.path()).unwrap().as_bytes(), text.as_bytes());
    }

    #[test]
    fn a_short_secret_is_refused_by_the_name_of_its_file_alone() {
        let data_dir = tempfile::tempdir().unwrap();
        fs::write(data_dir.path().join(FILE_NAME), "hunter2").unwrap();
        let error = load_or_create(data_dir.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(error.to_string().contains(FILE_NAME));
        assert!(!error.to_string().contains("hunter2"));
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret(b"hunter2".to_vec())), "Secret(..)");
    }
}
