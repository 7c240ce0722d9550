//! The data directory: what is where in it, its permissions, and the lock that keeps a second server out.

use std::{
    env,
    fs::{self, File, TryLockError},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::unistd::geteuid;
use sha2::{Digest, Sha256};

use super::{
    PORT,
    account::Account,
    error::{Doing, EmbeddedError},
};

/// The cluster's directory in the data directory.
pub(super) const CLUSTER: &str = "postgres";
/// The address of a unix socket holds about 100 bytes on every system, for the whole path.
const SOCKET_PATH_LIMIT: usize = 100;
/// A server that was killed holds its lock until the kernel has removed its process.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

/// The data directory of one server, held for as long as this or its lock lives.
#[derive(Debug)]
pub(super) struct Home {
    directory: PathBuf,
    lock: File,
}

impl Home {
    /// Makes the directory where it is missing, and takes its lock.
    ///
    /// The lock is one of the operating system's and goes with the process, so unlike `postmaster.pid` it is never
    /// stale.
    pub(super) async fn open(directory: &Path) -> Result<Self, EmbeddedError> {
        if !directory.exists() {
            fs::create_dir_all(directory).doing("create the data directory", directory)?;
            set_mode(directory, 0o700)?;
        }
        let directory = directory.canonicalize().doing("find the data directory", directory)?;
        let path = directory.join("lock");
        let lock = File::options().create(true).append(true).open(&path).doing("open", &path)?;
        let began = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Self { directory, lock }),
                Err(TryLockError::WouldBlock) if began.elapsed() < LOCK_PATIENCE => {}
                Err(TryLockError::WouldBlock) => return Err(EmbeddedError::InUse(directory)),
                Err(TryLockError::Error(error)) => return Err(error).doing("lock", path),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The lock alone, for the guard, which holds the directory from here on.
    pub(super) fn into_lock(self) -> File {
        self.lock
    }

    /// The cluster.
    pub(super) fn cluster(&self) -> PathBuf {
        self.directory.join(CLUSTER)
    }

    /// What PostgreSQL writes to its standard error.
    pub(super) fn log(&self) -> PathBuf {
        self.directory.join("postgres.log")
    }

    /// Programs that were downloaded.
    pub(super) fn programs(&self) -> PathBuf {
        self.directory.join("programs")
    }

    /// Gives the account access, and makes the private directory for the socket.
    pub(super) fn prepare_for(&self, account: &Account) -> Result<PathBuf, EmbeddedError> {
        if let Account::Lent { .. } = account {
            self.let_others_through()?;
        }
        account.check_way_to(&self.directory)?;
        let socket_dir = socket_dir_of(&self.directory);
        make_private(&socket_dir, account)?;
        if let Some(parent) = socket_dir.parent() {
            account.check_way_to(parent)?;
        }
        Ok(socket_dir)
    }

    /// Adds the right to pass through the data directory, not to list it. Root's own directories only: what belongs to
    /// another user keeps its permissions.
    fn let_others_through(&self) -> Result<(), EmbeddedError> {
        let owned = fs::metadata(&self.directory).doing("examine", &self.directory)?;
        if owned.uid() == geteuid().as_raw() {
            set_mode(&self.directory, owned.mode() & 0o7777 | 0o001)?;
        }
        Ok(())
    }
}

/// The directory of the socket for this data directory, whichever server has it.
pub(super) fn socket_dir(directory: &Path) -> Result<PathBuf, EmbeddedError> {
    Ok(socket_dir_of(&directory.canonicalize().doing("find the data directory", directory)?))
}

/// `run` in the data directory, or where that path is too long for a socket, a directory of its own among the temporary
/// ones. Its name is always the same for one data directory, so a crash leaves at most this one.
fn socket_dir_of(directory: &Path) -> PathBuf {
    let digest = Sha256::digest(directory.as_os_str().as_bytes());
    let name = format!("lastseen-{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3]);
    [directory.join("run"), env::temp_dir().join(&name)]
        .into_iter()
        .find(|directory| fits_a_socket(directory))
        .unwrap_or_else(|| Path::new("/tmp").join(name))
}

/// Whether a socket can be here: the path is short enough, and has nothing in it that would have to be
/// quoted in PostgreSQL's list of socket directories.
fn fits_a_socket(directory: &Path) -> bool {
    let socket = directory.join(format!(".s.PGSQL.{PORT}"));
    socket.to_str().is_some_and(|path| path.len() <= SOCKET_PATH_LIMIT && !path.contains([',', '"', ' ']))
}

/// Makes a directory that only the account and root can enter. Others may write to the temporary directory, so what is
/// there already must be ours.
fn make_private(directory: &Path, account: &Account) -> Result<(), EmbeddedError> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.doing("create", directory)?,
    }
    // Not following links, here and in `own`: the server makes none, so a link is another user's.
    let found = fs::symlink_metadata(directory).doing("examine", directory)?;
    if !found.is_dir() || !account.is_ours(&found) {
        return Err(EmbeddedError::NotOurs(directory.to_owned()));
    }
    account.own(directory).doing("close to others", directory)
}

fn set_mode(directory: &Path, mode: u32) -> Result<(), EmbeddedError> {
    fs::set_permissions(directory, fs::Permissions::from_mode(mode)).doing("set the permissions of", directory)
}
