//! Imports point down only and form no circle, as `src/lib.rs` and ARCHITECTURE.md say.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use source::{ModulePath, Source};

/// The layers from the top. What stands in one line belongs to one layer.
const LAYERS: &[&[&str]] = &[
    &["command"],
    &["server"],
    &["api"],
    &["socket"],
    &["app"],
    &["simulator"],
    &["sit"],
    &["task"],
    &["admission"],
    &["store"],
    &["identity"],
    // A client: of the server it may use the protocol alone.
    &["load"],
    &["protocol"],
    &["metrics"],
    &["log", "room", "user_session"],
    &["config", "clock", "open_files"],
    &["domain", "ids", "words"],
];

#[test]
fn imports_point_down_only() {
    let source = Source::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(source.arrows().len() > 200, "the test reads imports: it found {}", source.arrows().len());
    let wrong = upward_arrows(&source, LAYERS);
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
    let files = source::files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let bare = |file: &str| BARE.iter().any(|module| file.starts_with(&format!("{module}/")));
    let (mut read, mut wrong) = (0, Vec::new());
    for (file, text) in files.iter().filter(|(file, _)| bare(file) && !source::is_test(file)) {
        read += 1;
        let named = foreign_names(text).into_iter().filter(|name| (file.as_str(), *name) != CARRIED);
        wrong.extend(named.map(|name| format!("{file}: {name}")));
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
fn imports_form_no_circle() {
    let source = Source::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let found = circles(&source);
    assert!(found.is_empty(), "circles: {found:#?}");
}

#[test]
fn an_arrow_that_points_up_is_found() {
    let layers: &[&[&str]] = &[&["api"], &["room", "user_session"], &["ids"]];
    let room = |text| {
        Source::of([("api.rs", "use crate::room;"), ("room/seat.rs", text), ("user_session.rs", ""), ("ids.rs", "")])
    };
    assert_eq!(upward_arrows(&room("use crate::{ids, user_session};"), layers), Vec::<String>::new());
    assert_eq!(upward_arrows(&room("fn f() { crate::api::serve(); }"), layers), ["room::seat uses api"]);
    let in_tests = "#[cfg(test)]\nmod tests {\n    use crate::api;\n}";
    assert_eq!(upward_arrows(&room(in_tests), layers), ["room::seat::tests uses api"], "tests too");
    assert_eq!(upward_arrows(&room("use super::super::api;"), layers), ["room::seat uses api"]);
}

#[test]
fn a_circle_is_found() {
    let parent = ("room/mod.rs", "pub use room::Room;\npub use seat::Seat;\npub struct Rules;");
    let found = |room: &str, seat: &str| circles(&Source::of([parent, ("room/room.rs", room), ("room/seat.rs", seat)]));
    assert_eq!(found("use super::Rules;", "use super::Room;"), Vec::<String>::new(), "a tree");
    assert_eq!(found("use super::Seat;", "use super::Room;"), ["room: room, seat"], "by re-exports");
    assert_eq!(found("fn f(seat: crate::room::seat::Seat) {}", "use super::room::Room;"), ["room: room, seat"]);
    let in_tests = "#[cfg(test)]\nmod tests {\n    use crate::room::Seat;\n}";
    assert_eq!(found(in_tests, "use super::Room;"), Vec::<String>::new(), "tests look from outside");
}

#[test]
fn a_circle_of_three_and_one_between_folders_are_found() {
    let three = Source::of([
        ("a.rs", "use crate::b;"),
        ("b.rs", "use crate::c;"),
        ("c.rs", "use crate::a;"),
        ("d.rs", "use crate::a;"),
    ]);
    assert_eq!(circles(&three), ["crate: a, b, c"]);
    // No file is in a circle, and yet neither folder can be understood or moved without the other.
    let folders = Source::of([
        ("a/mod.rs", ""),
        ("a/x.rs", "use crate::b::y;"),
        ("a/z.rs", ""),
        ("b/mod.rs", ""),
        ("b/y.rs", "use crate::a::z;"),
    ]);
    assert_eq!(circles(&folders), ["crate: a, b"]);
}

/// The uses of a module in a higher layer.
fn upward_arrows(source: &Source, layers: &[&[&str]]) -> Vec<String> {
    let layer = |path: &ModulePath| -> Option<usize> {
        let module = path.first()?;
        let position = layers.iter().position(|layer| layer.contains(&module.as_str()));
        Some(position.unwrap_or_else(|| panic!("{module} is in no layer: add it to LAYERS")))
    };
    let up =
        |from: &ModulePath, to: &ModulePath| matches!((layer(from), layer(to)), (Some(from), Some(to)) if to < from);
    let placed = source.modules().filter_map(layer).count();
    assert!(placed > 0, "no module is in a layer");
    let arrows = source.arrows().into_iter().filter(|arrow| up(&arrow.from, &arrow.to));
    arrows.map(|arrow| format!("{} uses {}", arrow.from.join("::"), arrow.to.join("::"))).collect()
}

/// Modules of one parent that use each other in a circle, each with all that is inside of it. A module
/// and what is inside of it may use each other: they are one thing.
fn circles(source: &Source) -> Vec<String> {
    let mut families: BTreeMap<ModulePath, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for arrow in source.arrows().into_iter().filter(|arrow| !arrow.test) {
        let shared = arrow.from.iter().zip(&arrow.to).take_while(|(from, to)| from == to).count();
        if let (Some(from), Some(to)) = (arrow.from.get(shared), arrow.to.get(shared)) {
            let family = families.entry(arrow.from[..shared].to_vec()).or_default();
            family.entry(from.clone()).or_default().insert(to.clone());
        }
    }
    families
        .iter()
        .flat_map(|(parent, uses)| {
            let reach: BTreeMap<&String, BTreeSet<String>> =
                uses.keys().map(|module| (module, reachable(uses, module))).collect();
            let circle = |module: &String| -> Vec<String> {
                let back = |other: &&String| reach.get(other).is_some_and(|reached| reached.contains(module));
                reach[module].iter().filter(back).cloned().collect()
            };
            let circles: BTreeSet<Vec<String>> = uses.keys().map(circle).filter(|circle| !circle.is_empty()).collect();
            let parent = if parent.is_empty() { "crate".to_owned() } else { parent.join("::") };
            circles.into_iter().map(move |circle| format!("{parent}: {}", circle.join(", ")))
        })
        .collect()
}

/// All that a module uses, also by way of others; itself only where it is in a circle.
fn reachable(uses: &BTreeMap<String, BTreeSet<String>>, module: &String) -> BTreeSet<String> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![module]);
    while let Some(module) = next.pop() {
        for module in uses.get(module).into_iter().flatten() {
            if reached.insert(module.clone()) {
                next.push(module);
            }
        }
    }
    reached
}
