//! Imports point down only, as `src/lib.rs` and ARCHITECTURE.md say.

use std::fs;
use std::path::{Path, PathBuf};

/// The layers from the top. What stands in one line belongs to one layer and may use each other.
const LAYERS: &[&[&str]] = &[
    &["main", "command"],
    &["server"],
    &["api"],
    &["socket"],
    &["task"],
    &["simulator"],
    &["auth"],
    &["store"],
    // A client: of the server it may know the protocol alone.
    &["load"],
    &["protocol"],
    &["room", "user_session"],
    &["config", "clock", "metrics"],
    &["domain", "ids", "words"],
];

#[test]
fn imports_point_down_only() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut arrows = 0;
    let mut wrong = Vec::new();
    for path in rust_files(&source) {
        let file = path.strip_prefix(&source).expect("a file in src");
        let module =
            file.iter().next().expect("a name").to_str().expect("a plain name").trim_end_matches(".rs").to_owned();
        if module == "lib" {
            continue;
        }
        let own = layer(&module).unwrap_or_else(|| panic!("{} is in no layer: add it to LAYERS", file.display()));
        for used in imports(&fs::read_to_string(&path).expect("a source file")) {
            let below = layer(&used).unwrap_or_else(|| panic!("{} uses {used}, which is in no layer", file.display()));
            arrows += 1;
            // The root file sees the crate by its name and is on top; the rest of a layer may use itself.
            if below < own {
                wrong.push(format!("{} uses {used}", file.display()));
            }
        }
    }
    assert!(arrows > 50, "the test reads imports: it found {arrows}");
    assert!(wrong.is_empty(), "arrows that point up: {wrong:#?}");
}

/// What is below the wire and the database names neither.
const BARE: &[&str] = &["domain", "room", "user_session"];
const FOREIGN: &[&str] =
    &["sqlx", "serde", "serde_json", "utoipa", "clap", "axum", "hyper", "tungstenite", "prometheus_client"];

/// JSON that is carried, and never looked into.
const CARRIED: (&str, &str) = ("domain/document.rs", "serde_json");

#[test]
fn the_floor_names_neither_the_wire_nor_the_database() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut read = 0;
    let mut wrong = Vec::new();
    for module in BARE {
        for path in rust_files(&source.join(module)) {
            let file = path.strip_prefix(&source).expect("a file in src").to_str().expect("a plain name");
            if file.ends_with("tests.rs") {
                continue;
            }
            read += 1;
            let named = foreign_names(&fs::read_to_string(&path).expect("a source file"));
            wrong.extend(
                named.into_iter().filter(|name| (file, *name) != CARRIED).map(|name| format!("{file}: {name}")),
            );
        }
    }
    assert!(read > 20, "the test reads files: it found {read}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_foreign_name_is_found_however_it_is_written() {
    assert_eq!(foreign_names("use sqlx::Type;"), ["sqlx"]);
    assert_eq!(foreign_names("#[derive(Clone, serde::Serialize)]\nstruct S(axum::Json<u8>);"), ["serde", "axum"]);
    assert_eq!(foreign_names("#[serde(transparent)]\npub struct Id(u64);"), ["serde"]);
    assert_eq!(foreign_names("use {\n    clap,\n    utoipa::ToSchema,\n};"), ["utoipa", "clap"]);
    assert!(foreign_names("/// As sqlx does it.\nfn f(serde_like: u8) {} // axum\n").is_empty());
    assert!(foreign_names("fn f() {}\n#[cfg(test)]\nmod tests {\n    use serde_json::json;\n}\n").is_empty());
}

/// The libraries of [`FOREIGN`] that a source file names outside of its tests.
fn foreign_names(source: &str) -> Vec<&'static str> {
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let words: Vec<&str> = code
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'))
        .collect();
    FOREIGN.iter().copied().filter(|name| words.contains(name)).collect()
}

#[test]
fn an_arrow_is_found_however_it_is_written() {
    let found = |text: &str| imports(text).collect::<Vec<_>>();
    assert_eq!(found("use crate::room::Room;"), ["room"]);
    assert_eq!(found("    pub(super) use crate::room::{self, Room};"), ["room"]);
    assert_eq!(found("use crate::{room::Room, store::{Store, admission}, api};"), ["room", "store", "api"]);
    assert_eq!(found("use crate::{\n    room::Room,\n    api,\n};"), ["room", "api"]);
    assert_eq!(found("let room: crate::room::Room = crate::server::room();"), ["room", "server"]);
    assert_eq!(
        found("/// See [`crate::server`].\n//! crate::api\nuse std::fs; // like crate::task"),
        Vec::<String>::new()
    );
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The modules of this crate that a source file names, in `use` lines and elsewhere.
fn imports(source: &str) -> impl Iterator<Item = String> {
    let code: Vec<&str> = source.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let code = code.join("\n");
    let found: Vec<String> = code.split("crate::").skip(1).flat_map(first_names).collect();
    found.into_iter()
}

/// `room` of `room::{self, Room}; …`, `room` and `store` of `{room::Room, store}; …`.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let (mut depth, mut names, mut item) = (0_usize, Vec::new(), String::new());
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => names.push(std::mem::take(&mut item)),
            '{' => depth += 1,
            '}' => depth -= 1,
            c if depth == 0 => item.push(c),
            _ => {}
        }
    }
    names.push(item);
    names.iter().map(|item| name(item.trim())).filter(|name| !name.is_empty()).collect()
}
