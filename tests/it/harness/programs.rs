//! PostgreSQL's own programs, where there are any.

use std::path::PathBuf;

/// `psql`, `pg_dump` and the like, in the places where they are.
pub fn program(name: &str) -> Option<PathBuf> {
    let mut places: Vec<PathBuf> = std::env::var_os("LASTSEEN_POSTGRES_BIN").map(PathBuf::from).into_iter().collect();
    places.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    for versions in ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"] {
        let found = std::fs::read_dir(versions).into_iter().flatten().flatten();
        places.extend(found.map(|entry| entry.path().join("bin")));
    }
    places.into_iter().map(|place| place.join(name)).find(|program| program.is_file())
}
