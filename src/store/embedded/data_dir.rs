//! Which data directory is used: the one that is configured, or, where root starts the server in a folder that is
//! closed to PostgreSQL's account (below `/root`), one of its own below `/var/lib/lastseen`.

use std::{
    fs::{self, DirBuilder, Permissions},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{
    account::Account,
    closed::Closed,
    error::{Doing, EmbeddedError},
    home::CLUSTER,
};

/// The data directory of a server that is not given one, in the folder that it is started in. No other one is ever
/// replaced: where the operator names a directory, it is that one or an error.
const DEFAULT: &str = "./.lastseen";
/// Contains a directory for each folder in which the default cannot be used.
const SHARED: &str = "/var/lib/lastseen";
/// The longest part of the folder's name that is used, in bytes: it is in the path of a socket, which is limited.
const NAME_LIMIT: usize = 32;

/// A data directory, and why it is not the configured one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir {
    /// Where the data is.
    pub path: PathBuf,
    /// What is closed to the account that PostgreSQL runs as, where another directory was chosen for that.
    pub instead_of: Option<Closed>,
}

impl DataDir {
    /// Chooses for the configured directory. The answer is the same at each start, also after the permissions of the
    /// folder have changed: a directory with a cluster in it stays the chosen one.
    ///
    /// # Errors
    /// Where there is no account to run PostgreSQL as, or the directory that is common to all folders cannot be made.
    pub fn choose(configured: &Path) -> Result<Self, EmbeddedError> {
        if configured != Path::new(DEFAULT) {
            return Ok(Self { path: configured.to_owned(), instead_of: None });
        }
        let account = Account::choose(&configured.join(CLUSTER))?;
        let chosen = Self::among(configured, Path::new(SHARED), &account)?;
        if chosen.instead_of.is_some() {
            make_passable(Path::new(SHARED))?;
        }
        Ok(chosen)
    }

    fn among(configured: &Path, shared: &Path, account: &Account) -> Result<Self, EmbeddedError> {
        let own = Self { path: configured.to_owned(), instead_of: None };
        if matches!(account, Account::Own) || has_cluster(configured) {
            return Ok(own);
        }
        let folder = folder_of(configured)?;
        let other = shared.join(name_for(&folder));
        match account.closed_way_to(&folder) {
            Some(closed) => Ok(Self { path: other, instead_of: Some(closed) }),
            None if has_cluster(&other) => Ok(Self { path: other, instead_of: None }),
            None => Ok(own),
        }
    }
}

fn has_cluster(data_dir: &Path) -> bool {
    data_dir.join(CLUSTER).exists()
}

/// The folder that the data directory is in or will be in, by its real path.
fn folder_of(data_dir: &Path) -> Result<PathBuf, EmbeddedError> {
    let real = data_dir.canonicalize().ok().and_then(|real| real.parent().map(Path::to_owned));
    match (real, data_dir.parent()) {
        (Some(folder), _) => Ok(folder),
        (None, Some(parent)) => parent.canonicalize().doing("find the folder of", data_dir),
        (None, None) => Ok(data_dir.to_owned()),
    }
}

/// The folder's own name, for people, and a digest of its path, since two folders may have one name.
fn name_for(folder: &Path) -> String {
    let digest = Sha256::digest(folder.as_os_str().as_bytes());
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    let name: String = folder.file_name().unwrap_or_default().to_string_lossy().chars().map(plain).collect();
    let name = &name[..name.len().min(NAME_LIMIT)];
    format!("{name}-{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3])
}

/// Makes a directory that all users may pass through, whatever the umask is.
fn make_passable(directory: &Path) -> Result<(), EmbeddedError> {
    if !directory.exists() {
        DirBuilder::new().recursive(true).mode(0o755).create(directory).doing("create", directory)?;
        fs::set_permissions(directory, Permissions::from_mode(0o755)).doing("set the permissions of", directory)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use nix::unistd::{Gid, Uid};

    use super::*;

    /// Neither the user of the tests nor one of their groups.
    fn lent() -> Account {
        Account::Lent { name: "postgres".to_owned(), uid: Uid::from_raw(54_321), gid: Gid::from_raw(54_321) }
    }

    /// A folder with this mode, and the directory that is common to all folders, which all users can enter.
    struct Machine {
        root: tempfile::TempDir,
        folder: PathBuf,
    }

    impl Machine {
        fn with_folder(mode: u32) -> Self {
            // Not among the user's own temporary files, which may be closed to others.
            let open = Permissions::from_mode(0o755);
            let root = tempfile::Builder::new().permissions(open).tempdir_in("/tmp").unwrap();
            let machine = Self { folder: root.path().join("closed/my project"), root };
            fs::create_dir_all(&machine.folder).unwrap();
            machine.set_mode(mode);
            machine
        }

        fn set_mode(&self, mode: u32) {
            fs::set_permissions(self.folder.parent().unwrap(), Permissions::from_mode(mode)).unwrap();
        }

        fn configured(&self) -> PathBuf {
            self.folder.join(".lastseen")
        }

        fn choose(&self, account: &Account) -> DataDir {
            DataDir::among(&self.configured(), &self.root.path().join("shared"), account).unwrap()
        }
    }

    #[test]
    fn an_open_folder_has_its_own() {
        let machine = Machine::with_folder(0o755);
        assert_eq!(machine.choose(&lent()), DataDir { path: machine.configured(), instead_of: None });
    }

    #[test]
    fn whoever_runs_postgres_as_themselves_needs_no_other() {
        let machine = Machine::with_folder(0o700);
        assert_eq!(machine.choose(&Account::Own), DataDir { path: machine.configured(), instead_of: None });
    }

    #[test]
    fn a_closed_folder_gets_one_elsewhere_and_the_same_at_the_next_start() {
        let machine = Machine::with_folder(0o700);
        let chosen = machine.choose(&lent());
        let closed = chosen.instead_of.clone().unwrap();
        let outermost = machine.root.path().join("closed").canonicalize().unwrap();
        assert_eq!((closed.directory, closed.user.as_str()), (outermost, "postgres"));
        assert_eq!(chosen.path.parent(), Some(&*machine.root.path().join("shared")));
        let name = chosen.path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("my_project-"), "{name}");
        // Also once it and the folder's own one are there, as after a start that failed.
        fs::create_dir_all(chosen.path.join(CLUSTER)).unwrap();
        fs::create_dir(machine.configured()).unwrap();
        assert_eq!(machine.choose(&lent()), chosen);
    }

    #[test]
    fn two_folders_of_one_name_do_not_share() {
        let [one, two] = ["/root/a/app", "/root/b/app"].map(|folder| name_for(Path::new(folder)));
        assert_ne!(one, two);
        assert!(one.starts_with("app-") && two.starts_with("app-"));
    }

    #[test]
    fn a_cluster_stays_where_it_is() {
        // Made while the folder was open: no second database is made beside it when the folder is closed.
        let machine = Machine::with_folder(0o700);
        fs::create_dir_all(machine.configured().join(CLUSTER)).unwrap();
        assert_eq!(machine.choose(&lent()).path, machine.configured());
        // Made while it was closed.
        let machine = Machine::with_folder(0o700);
        let chosen = machine.choose(&lent());
        fs::create_dir_all(chosen.path.join(CLUSTER)).unwrap();
        machine.set_mode(0o755);
        assert_eq!(machine.choose(&lent()), DataDir { instead_of: None, ..chosen });
    }

    #[test]
    fn a_directory_that_is_named_is_not_replaced() {
        let named = Path::new("/somewhere/else");
        assert_eq!(DataDir::choose(named).unwrap(), DataDir { path: named.to_owned(), instead_of: None });
    }
}
