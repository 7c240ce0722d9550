//! `docs/reference/benchmarks.md`, from the figures of all benches.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::bare;
use crate::report::Figure;
use crate::rows;
use crate::targets::{Bound, TARGETS, Target};

/// Peers, as rows call them and as the page does.
const PEERS: [(&str, &str); 2] = [("ws", "ws 8"), ("socket.io", "Socket.IO 4")];

/// The notes on targets that are not met, with what was tried; part of the page.
const LIMITS: &str = "benches/limits.md";

const LASTSEEN: &str = "lastseen";

fn is_peer(subject: &str) -> bool {
    PEERS.iter().any(|(peer, _)| *peer == subject)
}

/// The page of the figures in a file, one of JSON a line.
pub fn write(file: &Path) -> anyhow::Result<String> {
    let lines = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let figures = lines.lines().filter(|line| line.starts_with('{')).map(serde_json::from_str);
    let figures = figures.collect::<Result<Vec<Figure>, _>>()?;
    let mut page = String::from("# Benchmarks\n\n");
    writeln!(
        page,
        "What lastseen costs, beside the same presence server written with other libraries, beside bare sockets, and beside what is asked of it. Written by `script/bench`; the only figures put in by hand are those of `benches/limits.md`, in the section on what limits the rows."
    )?;
    peers(&mut page, &figures)?;
    machine(&mut page)?;
    beside_bare(&mut page, &figures)?;
    targets(&mut page, &figures)?;
    if let Ok(limits) = std::fs::read_to_string(LIMITS) {
        writeln!(page, "\n{}", limits.trim_end())?;
    }
    all(&mut page, &figures)?;
    page.push_str(HOW);
    Ok(page)
}

const HOW: &str = "
## How it is measured

Server, database and clients share the machine. CPU is user and system time of the server's process from `/proc`, without its database; memory is its `VmRSS`. The clients are raw frames on one thread of another process. Each run has a server and a database of its own, and peers run in turn with lastseen.

- **memory**: what the server holds 8 s after the last join, less what it held after a first 100 came and went.
- **beats**: 20 rounds; 100 sockets beat, then their answers are awaited. Every other beat says that somebody is active.
- **fanout**: everybody in turn sends a new public state, and the next leaves when the oldest in flight has reached all 1,000. A delivery is one such state that reached one seat; with 16 in flight lastseen sends what came within a millisecond in one frame, and the detail says in how many frames all that was.
- **mass-join**, **leave-return**: frames are all that the clients were sent, welcomes included, and one that comes in several (`more`) is one; beside admission means less what the same joins cost in rooms of one.
- **connects**: 32 on their way at once, rooms open already, from the handshake to the welcome.
- **storm**: the clients come back as the browser client does, first after a random 0 to 5 s. One more person in each room stays and watches; a bystander asks for rows of the database all the time; 35 s later REST is asked who is in each room.
- **idle**: two beats of everybody, spread evenly.
- **bare** is one thread on one epoll that speaks WebSocket and knows rooms, and nothing else: a beat goes back as it came, all else goes to everybody in the room as it came, and what it reads in one wake-up it writes together. Its memory is what the process holds of sockets; that of the kernel is in nobody's figure.
- **peers** are the servers of `benches/peers`, which do what users of these libraries do, with their defaults. sockudo is not measured by this script.
";

/// Figures of one row and subject.
fn of<'a>(figures: &'a [Figure], row: &'a str, subject: &'a str) -> impl Iterator<Item = &'a Figure> {
    figures.iter().filter(move |figure| figure.row == row && figure.subject == subject)
}

/// The middle of all runs, of the value or of a key of the detail.
fn median(figures: &[Figure], row: &str, key: Option<&str>, subject: &str) -> Option<f64> {
    let mut values: Vec<_> = of(figures, row, subject)
        .filter_map(|figure| match key {
            Some(key) => figure.detail[key].as_f64(),
            None => Some(figure.value),
        })
        .collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn targets(page: &mut String, figures: &[Figure]) -> anyhow::Result<()> {
    writeln!(page, "\n## Targets\n\n| what | measured | target | |\n| --- | ---: | ---: | --- |")?;
    for target in &TARGETS {
        let (measured, goal, met) = judged(figures, target);
        writeln!(page, "| {} | {measured} | {goal} | {met} |", target.what)?;
    }
    Ok(())
}

fn judged(figures: &[Figure], target: &Target) -> (String, String, &'static str) {
    let own = median(figures, target.row, target.key, LASTSEEN);
    let (measured, goal, met) = match target.bound {
        Bound::AtMost(most) if most.is_infinite() => (own, String::new(), None),
        Bound::AtLeast(0.0) => (own, String::new(), None),
        Bound::AtMost(most) => (own, format!("≤ {}", number(most)), own.map(|own| own <= most)),
        Bound::AtLeast(least) => (own, format!("≥ {}", number(least)), own.map(|own| own >= least)),
        Bound::OfWs(share) => {
            let ratio = own.zip(median(figures, target.row, target.key, "ws")).map(|(own, ws)| own / ws);
            (ratio, format!("≤ {share}"), ratio.map(|ratio| ratio <= share))
        }
    };
    let shown = measured.map_or("not measured".to_owned(), |value| format!("{} {}", number(value), target.unit));
    let met = met.map_or("", |met| if met { "met" } else { "**not met**" });
    (shown, goal, met)
}

const BESIDE_BARE: &str = "
## Beside bare sockets, in the same run

How slow the machine is shows in what `bare` needs, a server that speaks WebSocket and does nothing else. The seconds of the targets are those of another machine; *asked* is each of them over what bare sockets needed there: raw epoll, and uWebSockets for 16 in flight. Those were other programs than `bare`, so it is a guide; what is met is in the table of targets.

| what | lastseen | bare | lastseen / bare | asked |
| --- | ---: | ---: | ---: | ---: |";

fn beside_bare(page: &mut String, figures: &[Figure]) -> anyhow::Result<()> {
    if figures.iter().all(|figure| figure.subject != bare::NAME) {
        return Ok(());
    }
    writeln!(page, "{BESIDE_BARE}")?;
    for target in TARGETS.iter().filter(|target| !matches!(target.bound, Bound::OfWs(_))) {
        let [own, bare] = [LASTSEEN, bare::NAME].map(|subject| median(figures, target.row, target.key, subject));
        let Some((own, bare)) = own.zip(bare) else { continue };
        let asked = target.of_bare().map_or(String::new(), |asked| format!("≤ {}", number(asked)));
        let Target { what, unit, .. } = target;
        writeln!(
            page,
            "| {what} | {} {unit} | {} {unit} | {} | {asked} |",
            number(own),
            number(bare),
            number(own / bare)
        )?;
    }
    Ok(())
}

const BESIDE_OTHERS: &str = "
## Beside others, in the same run

The medians of all runs, less is better but for joins a second. lastseen asks its database about each join, the others have none. What each row does is under *How it is measured*.
";

fn peers(page: &mut String, figures: &[Figure]) -> anyhow::Result<()> {
    if !figures.iter().any(|figure| is_peer(&figure.subject)) {
        return Ok(());
    }
    writeln!(page, "{BESIDE_OTHERS}\n| row | lastseen | ws 8 | Socket.IO 4 | |")?;
    writeln!(page, "| --- | ---: | ---: | ---: | --- |")?;
    for row in rows::NAMES {
        for key in [None, Some("frames"), Some("converged_seconds")] {
            // Frames of a fan-out are its deliveries, but where they were gathered.
            let theirs = PEERS.map(|(peer, _)| median(figures, row, key, peer));
            let Some(own) = median(figures, row, key, LASTSEEN).filter(|_| theirs.iter().any(Option::is_some)) else {
                continue;
            };
            let unit = of(figures, row, LASTSEEN).next().map_or("", |figure| &figure.unit);
            let [ws, socket_io] = theirs.map(|value| value.map_or("–".to_owned(), number));
            writeln!(page, "| {row} | {} | {ws} | {socket_io} | {} |", number(own), key.unwrap_or(unit))?;
        }
    }
    Ok(())
}

fn all(page: &mut String, figures: &[Figure]) -> anyhow::Result<()> {
    writeln!(page, "\n## Every run\n\n| row | server | value of each run | median of the details | command |")?;
    writeln!(page, "| --- | --- | --- | --- | --- |")?;
    let mut listed = Vec::new();
    for Figure { row, subject, unit, detail, .. } in figures {
        if listed.contains(&(row, subject)) {
            continue;
        }
        listed.push((row, subject));
        let runs: Vec<_> = of(figures, row, subject).map(|figure| number(figure.value)).collect();
        let details = detail.as_object().into_iter().flatten();
        let details: Vec<_> = details
            .filter_map(|(key, _)| Some(format!("{key} {}", number(median(figures, row, Some(key), subject)?))))
            .collect();
        let command = command(row, subject);
        writeln!(page, "| {row} | {subject} | {} {unit} | {} | {command} |", runs.join(", "), details.join(", "))?;
    }
    Ok(())
}

fn command(row: &str, subject: &str) -> String {
    if !rows::NAMES.contains(&row) {
        return "`cargo bench --bench million`".to_owned();
    }
    let settings = if subject == LASTSEEN { rows::settings(row) } else { &[] };
    let settings = if settings.is_empty() { String::new() } else { format!(" (server: `{}`)", settings.join(" ")) };
    let peers = if is_peer(subject) { "--peers " } else { "" };
    format!("`script/bench {peers}{row}`{settings}")
}

/// A number with its significant digits.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        _ if value.fract() == 0.0 => 0,
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 => 2,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    let whole = text.split('.').next().map_or(0, str::len);
    // Thousands are separated by commas.
    let mut grouped = String::new();
    for (place, digit) in text.chars().enumerate() {
        if place > 0 && place < whole && (whole - place).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn machine(page: &mut String) -> anyhow::Result<()> {
    let processors = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let commit = output_of("git", &["rev-parse", "--short=12", "HEAD"]);
    let changed = if output_of("git", &["status", "--porcelain"]).is_empty() { "" } else { ", with changes on top" };
    writeln!(page, "\n## The machine\n\n| | |\n| --- | --- |")?;
    writeln!(page, "| date | {} UTC |", chrono::Utc::now().format("%Y-%m-%d %H:%M"))?;
    writeln!(page, "| commit | {commit}{changed} |")?;
    writeln!(page, "| processor | {} |", model.map_or("unknown", |(_, model)| model))?;
    writeln!(page, "| cores | {} |", std::thread::available_parallelism()?)?;
    writeln!(page, "| kernel | {} |", output_of("uname", &["-sr"]))?;
    writeln!(page, "| compiler | {} |", output_of("rustc", &["--version"]))?;
    writeln!(page, "| database | {} |", output_of("postgres", &["--version"]))?;
    writeln!(page, "| Node.js, for peers | {} |", output_of("node", &["--version"]))?;
    Ok(())
}

/// What a program prints, or that it is not there.
fn output_of(program: &str, arguments: &[&str]) -> String {
    match Command::new(program).args(arguments).output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Err(_) => "not in the path".to_owned(),
    }
}
