//! The pages are true where a program can check: links lead somewhere, and settings and metrics are all described.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::process::run;
use crate::harness::{Client, Join, TestServer, eventually};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Pages of others, or of no page that is kept.
const SKIPPED: [&str; 4] = ["target", "node_modules", "vendor", ".git"];

fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !SKIPPED.contains(&name) && !name.starts_with(".lastseen") {
            pages(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// What follows each of the marks, up to the end of the address.
fn addresses(text: &str) -> impl Iterator<Item = &str> {
    ["](", "src=\"", "srcset=\""]
        .into_iter()
        .flat_map(move |mark| text.split(mark).skip(1).filter_map(|rest| rest.split([')', '"', ' ', '\n']).next()))
}

/// The anchors of a page, as GitHub makes them of its headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let slug = |heading: &str| {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
    };
    headings.map(slug).collect()
}

#[test]
fn every_relative_link_of_a_page_leads_to_a_file_and_to_a_heading() {
    let mut found = Vec::new();
    pages(Path::new(ROOT), &mut found);
    let mut followed = 0;
    for page in found {
        let text = fs::read_to_string(&page).expect("a page");
        // What stands in a block of code is no link.
        let prose: String = text.split("```").step_by(2).collect();
        for address in addresses(&prose).filter(|address| !address.contains(':')) {
            let (file, anchor) = address.split_once('#').unwrap_or((address, ""));
            let target = if file.is_empty() { page.clone() } else { page.with_file_name("").join(file) };
            assert!(target.exists(), "{}: {address} is not there", page.display());
            if !anchor.is_empty() {
                let there = anchors(&fs::read_to_string(&target).expect("a page"));
                assert!(there.contains(anchor), "{}: {address} has no such heading", page.display());
            }
            followed += 1;
        }
    }
    assert!(followed > 50, "{followed} links were found");
}

/// What stands in backticks in the first column of the tables of a page of the reference.
fn described(page: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(Path::new(ROOT).join("docs/reference").join(page)).expect("the page");
    let columns = text.lines().filter_map(|line| line.strip_prefix('|')?.split('|').next());
    let words = columns.flat_map(|column| column.split('`').skip(1).step_by(2));
    words.map(|word| word.split('{').next().unwrap_or(word).to_owned()).collect()
}

#[tokio::test]
async fn every_setting_of_the_help_is_in_the_reference_and_the_other_way_round() {
    let help = run(&["serve", "--help"]).await;
    let flags = help.stdout.lines().filter_map(|line| line.strip_prefix("      --")).map(|flag| {
        let end = flag.find(|c: char| !c.is_alphanumeric() && c != '-').unwrap_or(flag.len());
        flag[..end].to_owned()
    });
    let flags: BTreeSet<_> = flags.collect();
    assert!(flags.len() > 30, "{flags:?}");

    let described = described("settings.md");
    let missing: Vec<_> = flags.difference(&described).collect();
    assert!(missing.is_empty(), "not in docs/reference/settings.md: {missing:?}");
    // The page has a table of commands as well, and the variables without a prefix.
    let variables = ["DATABASE_URL", "DATABASE_DIRECT_URL"];
    let is_other = |word: &&String| word.starts_with("lastseen ") || variables.contains(&word.as_str());
    let more = described.difference(&flags).filter(|word| !is_other(word));
    assert_eq!(more.collect::<Vec<_>>(), Vec::<&String>::new(), "described, and no setting");
}

/// The metrics that a server has now; a counter with a label is there when it counted something.
async fn metrics(server: &TestServer) -> BTreeSet<String> {
    let text = server.get("/metrics", None).await.expect(200);
    let lines = text.as_str().expect("text").lines();
    let families = lines.filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    families.map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() }).collect()
}

#[tokio::test]
async fn every_metric_is_in_the_reference_and_the_other_way_round() {
    let server = TestServer::start(&[]).await;
    let session = server.open().await;
    Client::join(server.address(), session.id, &Join::invite(&session.invite, "Ada")).await.close().await;
    server.get("/nowhere", None).await.refused(404, "not_found");
    for name in ["lastseen_leaves_total{reason=\"left\"}", "lastseen_connection_ends_total{reason=\"left\"}"] {
        eventually(name, async || (server.metric(name).await > 0.0).then_some(())).await;
    }
    assert_eq!(described("metrics.md"), metrics(&server).await, "docs/reference/metrics.md, and /metrics");
}
