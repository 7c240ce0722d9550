//! The user that PostgreSQL runs as. It refuses to run as root, so a server started by root runs it as another user.

use std::{
    ffi::OsStr,
    fs::{self, Metadata},
    io,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, lchown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::unistd::{Gid, Uid, User, geteuid};

use super::{closed::Closed, error::EmbeddedError};

/// The part of our environment that PostgreSQL's programs get. The rest holds our secrets, and `PG…` variables that
/// would change what they do.
const ENVIRONMENT: [&str; 4] = ["PATH", "LD_LIBRARY_PATH", "TMPDIR", "TZ"];

/// The user that PostgreSQL's programs run as.
#[derive(Clone, Debug)]
pub(super) enum Account {
    /// The user that the server runs as.
    Own,
    /// Another one, since the server runs as root.
    Lent { name: String, uid: Uid, gid: Gid },
}

impl Account {
    /// Chooses for this cluster: its owner, since no other user can run it, else `postgres`, else `nobody`.
    pub(super) fn choose(cluster: &Path) -> Result<Self, EmbeddedError> {
        if !geteuid().is_root() {
            return Ok(Self::Own);
        }
        let owner = fs::metadata(cluster).ok().filter(|owned| owned.uid() != 0).map(|owned| {
            let uid = Uid::from_raw(owned.uid());
            let name = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
            Self::Lent { name, uid, gid: Gid::from_raw(owned.gid()) }
        });
        owner.or_else(|| ["postgres", "nobody"].into_iter().find_map(Self::named)).ok_or(EmbeddedError::NoAccount)
    }

    fn named(name: &str) -> Option<Self> {
        let user = User::from_name(name).ok().flatten()?;
        Some(Self::Lent { name: user.name, uid: user.uid, gid: user.gid })
    }

    /// A command that runs as this account: away from our directory, which it may not be able to enter, and without our
    /// environment. Its messages are in English, and macOS needs some locale to be set.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir("/")
            .stdin(Stdio::null())
            .env_clear()
            .envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .env("LC_ALL", "C");
        if let Self::Lent { uid, gid, .. } = self {
            // This also takes away our supplementary groups.
            command.uid(uid.as_raw()).gid(gid.as_raw());
        }
        command
    }

    /// Makes this directory the account's own, closed to all other users but root.
    pub(super) fn own(&self, directory: &Path) -> io::Result<()> {
        if let Self::Lent { uid, gid, .. } = self {
            lchown(directory, Some(uid.as_raw()), Some(gid.as_raw()))?;
        }
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
    }

    /// Whether something with this owner is the account's or the server's.
    pub(super) fn is_ours(&self, owned: &Metadata) -> bool {
        owned.uid() == geteuid().as_raw() || matches!(self, Self::Lent { uid, .. } if owned.uid() == uid.as_raw())
    }

    /// Fails where a lent account cannot enter this directory, and names the outermost one that is closed to it.
    pub(super) fn check_way_to(&self, directory: &Path) -> Result<(), EmbeddedError> {
        self.closed_way_to(directory).map_or(Ok(()), |closed| Err(EmbeddedError::Closed(closed)))
    }

    /// The outermost directory on the way to this one that is closed to a lent account.
    pub(super) fn closed_way_to(&self, directory: &Path) -> Option<Closed> {
        let Self::Lent { name, uid, gid } = self else {
            return None;
        };
        let directory = outermost_closed(directory, *uid, *gid)?;
        Some(Closed { directory, user: name.clone() })
    }
}

fn outermost_closed(directory: &Path, uid: Uid, gid: Gid) -> Option<PathBuf> {
    let closed = |directory: &&Path| fs::metadata(directory).is_ok_and(|owned| !may_search(&owned, uid, gid));
    // From the inside out, so the last one is the outermost.
    directory.ancestors().filter(closed).last().map(Path::to_owned)
}

fn may_search(owned: &Metadata, uid: Uid, gid: Gid) -> bool {
    let search = if owned.uid() == uid.as_raw() {
        0o100
    } else if owned.gid() == gid.as_raw() {
        0o010
    } else {
        0o001
    };
    owned.mode() & search != 0
}
