//! Where a run keeps its files: a directory of its own, on a small tmpfs where mounting is allowed.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Enough for a cluster with little WAL.
const MIB: usize = 512;

/// A directory that is deleted, and unmounted, at the end.
pub struct Place {
    directory: tempfile::TempDir,
    mounted: bool,
}

impl Place {
    /// Makes one.
    pub fn new() -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("lastseen-soak-").tempdir()?;
        // PostgreSQL runs as another user where we are root.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
        let size = format!("size={MIB}m,mode=755");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "lastseen-soak"])
            .arg(directory.path())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        Ok(Self { directory, mounted })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Whether its disk may be filled.
    pub fn is_small(&self) -> bool {
        self.mounted
    }

    /// Fills the disk until the guard is dropped.
    pub fn fill(&self) -> anyhow::Result<Filled> {
        anyhow::ensure!(self.mounted, "only a tmpfs of our own is filled");
        let filled = Filled(self.path().join("filler"));
        let mut file = File::create(&filled.0)?;
        for bytes in [1 << 20, 4096] {
            // Until there is no room for another one.
            while file.write_all(&vec![0; bytes]).is_ok() {}
        }
        Ok(filled)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.mounted {
            // Lazily: PostgreSQL may need a moment more to let go of it.
            let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
        }
    }
}

/// A disk that is full.
pub struct Filled(PathBuf);

impl Drop for Filled {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
