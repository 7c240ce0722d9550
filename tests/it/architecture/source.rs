//! Which module of a crate uses which, read from the text of its files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A module's path from the root of the crate, or that of an item in it.
pub type ModulePath = Vec<String>;

/// Marks the beginning of an inline test module. Clippy sees to it that only test modules follow.
const TEST_MODULE: &str = "#[cfg(test)]\n";

/// How many re-exports lead from a name to its module at most.
const MAX_REEXPORTS: usize = 8;

/// The modules of a crate.
pub struct Source(BTreeMap<ModulePath, Module>);

#[derive(Default)]
struct Module {
    test: bool,
    named: Vec<Named>,
}

/// A path as a file has it: `crate::room::{self, Room as R}` is two of them.
#[derive(Clone, Debug, PartialEq)]
struct Named {
    segments: Vec<String>,
    /// The name that a `use` gives to it in its module.
    alias: Option<String>,
}

/// One module uses another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrow {
    pub from: ModulePath,
    pub to: ModulePath,
    /// Only tests use it.
    pub test: bool,
}

/// Whether a file holds tests alone: `tests.rs`, or a file below a folder `tests`.
pub fn is_test(file: &str) -> bool {
    file.trim_end_matches(".rs").split('/').any(|part| part == "tests")
}

impl Source {
    /// Reads all Rust files of a directory. The binary's `main.rs` is another crate and is left out.
    pub fn read(directory: &Path) -> Self {
        let mut files = files(directory);
        files.retain(|(name, _)| name != "main.rs");
        Self::of(files.iter().map(|(name, text)| (name.as_str(), text.as_str())))
    }

    /// Takes files by their names below `src`.
    pub fn of<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut modules = BTreeMap::new();
        for (name, text) in files {
            let mut path: ModulePath = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
            path.pop_if(|last| last == "mod" || last == "lib");
            let test = is_test(name);
            for (inner, code) in sections(text) {
                let (mut path, test) = (path.clone(), test || inner.is_some());
                path.extend(inner);
                modules.insert(path, Module { test, named: paths(code) });
            }
        }
        Self(modules)
    }

    /// The paths of all modules.
    pub fn modules(&self) -> impl Iterator<Item = &ModulePath> {
        self.0.keys()
    }

    /// Which module uses which. A re-export counts as a use of the module where the item is.
    pub fn arrows(&self) -> BTreeSet<Arrow> {
        let uses = |(from, module): (&ModulePath, &Module)| -> Vec<Arrow> {
            let paths = module.named.iter().filter_map(|named| self.absolute(from, named));
            let targets = paths.map(|path| self.module_of(path, MAX_REEXPORTS));
            targets.map(|to| Arrow { from: from.clone(), to, test: module.test }).collect()
        };
        self.0.iter().flat_map(uses).filter(|arrow| arrow.from != arrow.to).collect()
    }

    /// The path from the root of the crate; `None` where it leads into another crate.
    fn absolute(&self, module: &ModulePath, named: &Named) -> Option<ModulePath> {
        let (first, rest) = named.segments.split_first()?;
        let mut base = module.clone();
        match first.as_str() {
            "crate" => base.clear(),
            "self" => {}
            "super" => drop(base.pop()),
            child => {
                base.push(child.to_owned());
                self.0.contains_key(&base).then_some(())?;
            }
        }
        for segment in rest {
            match segment.as_str() {
                "self" => {}
                "super" => drop(base.pop()),
                name => base.push(name.to_owned()),
            }
        }
        Some(base)
    }

    /// The module in which the item of this path is defined.
    fn module_of(&self, mut path: ModulePath, reexports: usize) -> ModulePath {
        let mut rest = Vec::new();
        while !path.is_empty() && !self.0.contains_key(&path) {
            rest.extend(path.pop());
        }
        let (Some(name), Some(module)) = (rest.pop(), self.0.get(&path)) else { return path };
        let import = module.named.iter().find(|named| named.alias.as_deref() == Some(&name));
        match import.and_then(|import| self.absolute(&path, import)) {
            Some(mut target) if reexports > 0 => {
                target.extend(rest.into_iter().rev());
                self.module_of(target, reexports - 1)
            }
            _ => path,
        }
    }
}

/// All Rust files of a directory by their names in it, with their texts.
pub fn files(directory: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    collect(directory, directory, &mut files);
    files
}

fn collect(root: &Path, directory: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).expect("a file in the directory").to_str().expect("a plain name");
            files.push((name.to_owned(), fs::read_to_string(&path).expect("a source file")));
        }
    }
}

/// A file's code, and behind it each of its inline test modules by name.
fn sections(text: &str) -> Vec<(Option<String>, &str)> {
    let mut sections = vec![(None, text)];
    for (at, _) in text.match_indices(TEST_MODULE) {
        let line = text[at + TEST_MODULE.len()..].lines().next().unwrap_or_default();
        let name = line.strip_suffix(" {").and_then(|line| line.rsplit_once("mod ")).map(|(_, name)| name.to_owned());
        if name.is_some() {
            let (_, last) = sections.last_mut().expect("the file's own");
            let length = at - (text.len() - last.len());
            let rest = &text[at..];
            *last = &last[..length];
            sections.push((name, rest));
        }
    }
    sections
}

/// All paths in `use` lines, and those in other code that begin with `crate`, `self` or `super`.
fn paths(code: &str) -> Vec<Named> {
    let lines: Vec<&str> = code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let code = lines.join("\n");
    let tokens = tokens(&code);
    let (mut found, mut at, mut before) = (Vec::new(), 0, "");
    while let Some(&token) = tokens.get(at) {
        let rooted = matches!(token, "crate" | "self" | "super") && tokens.get(at + 1) == Some(&"::");
        if token == "use" {
            at = tree(&tokens, at + 1, &[], true, &mut found);
        } else if rooted && before != "::" {
            at = tree(&tokens, at, &[], false, &mut found);
        } else {
            at += 1;
        }
        before = token;
    }
    found
}

/// Reads one path, or one of a group with all in it; where it ends.
fn tree(tokens: &[&str], mut at: usize, prefix: &[String], import: bool, found: &mut Vec<Named>) -> usize {
    let mut segments = prefix.to_vec();
    while let Some(&token) = tokens.get(at) {
        match token {
            "{" if import => {
                at += 1;
                while tokens.get(at).is_some_and(|token| *token != "}") {
                    at = tree(tokens, at, &segments, import, found);
                    at += usize::from(tokens.get(at) == Some(&","));
                }
                return at + 1;
            }
            _ if is_name(token) => segments.push(token.to_owned()),
            _ => break,
        }
        at += 1;
        if tokens.get(at) != Some(&"::") {
            break;
        }
        at += 1;
    }
    let mut alias = segments.iter().rev().find(|name| *name != "self").filter(|_| import).cloned();
    if import && tokens.get(at) == Some(&"as") {
        alias = tokens.get(at + 1).map(|name| (*name).to_owned());
        at += 2;
    } else if tokens.get(at) == Some(&"*") {
        (alias, at) = (None, at + 1);
    }
    found.push(Named { segments, alias });
    at.max(1)
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Names and `::` as one token each, everything else by characters.
fn tokens(code: &str) -> Vec<&str> {
    let mut rest = code.trim_start();
    let mut tokens = Vec::new();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            ':' if rest.starts_with("::") => 2,
            c if c.is_alphanumeric() || c == '_' => {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
            }
            c => c.len_utf8(),
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

#[test]
fn paths_are_found_however_they_are_written() {
    let found = |code: &str| paths(code).iter().map(|named| named.segments.join("::")).collect::<Vec<_>>();
    assert_eq!(found("use crate::room::Room;"), ["crate::room::Room"]);
    assert_eq!(found("    pub(super) use super::room::{self, Room};"), ["super::room::self", "super::room::Room"]);
    assert_eq!(
        found("use crate::{\n    room::Room as Live,\n    store::{Store, admission::*},\n    api,\n};"),
        ["crate::room::Room", "crate::store::Store", "crate::store::admission", "crate::api"]
    );
    assert_eq!(
        found("let room: crate::room::Room<'_> = self::room(super::super::b::<u8>()); self.x"),
        ["crate::room::Room", "self::room", "super::super::b"]
    );
    assert_eq!(
        found("/// See [`crate::server`].\n//! crate::api\nstd::fs(); // like crate::task"),
        Vec::<String>::new()
    );
}

#[test]
fn a_use_leads_to_the_module_where_the_item_is() {
    let source = Source::of([
        ("lib.rs", "pub mod room;\npub mod api;"),
        ("room/mod.rs", "mod seat;\nmod room;\npub use room::Room;\npub use seat::{Seat as Chair, Joined};"),
        ("room/room.rs", "pub struct Room;"),
        ("room/seat.rs", "use super::Room;\n#[cfg(test)]\nmod tests {\n    use super::*;\n    use crate::api;\n}"),
        ("room/tests.rs", "mod joins;\nuse super::*;"),
        ("room/tests/joins.rs", "use super::*;\nuse crate::room::Room;"),
        ("api.rs", "fn sit(chair: crate::room::Chair, other: std::fs::File) {}"),
    ]);
    let arrows: Vec<_> = source
        .arrows()
        .into_iter()
        .map(|arrow| {
            format!("{} -> {}{}", arrow.from.join("::"), arrow.to.join("::"), if arrow.test { " in tests" } else { "" })
        })
        .collect();
    assert_eq!(
        arrows,
        [
            "api -> room::seat",
            "room -> room::room",
            "room -> room::seat",
            "room::seat -> room::room",
            "room::seat::tests -> api in tests",
            "room::seat::tests -> room::seat in tests",
            "room::tests -> room in tests",
            "room::tests::joins -> room::room in tests",
            "room::tests::joins -> room::tests in tests",
        ]
    );
}
