//! lastseen itself: the release server on an embedded database.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::future::try_join_all;
use lastseen::identity::jwt::{self, JwtRole};
use serde_json::{Value, json};

use crate::process::Process;
use crate::subject::{Kind, Subject, quoted};

const SECRET: &str = "a secret of the benchmarks, long enough";

/// Calls that are made at once while rooms are opened.
const CALLS: usize = 16;

/// The server, and a client of its HTTP interface.
pub struct Lastseen {
    process: Process,
    address: SocketAddr,
    service: String,
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    /// Ends after the process.
    _data: tempfile::TempDir,
}

/// A client that closes idle connections well before the server does.
fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().no_proxy().pool_idle_timeout(Duration::from_secs(1)).build()
}

/// The HTTP calls that were made while sockets reconnected.
#[derive(Default)]
pub struct Bystander {
    pub calls: usize,
    pub failures: usize,
    pub longest: Duration,
}

impl Lastseen {
    /// Starts it with these settings, beside those that clients of one machine need.
    pub fn start(program: &Path, settings: &[&str]) -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LASTSEEN_")) {
            command.env_remove(name);
        }
        command
            .env_remove("DATABASE_URL")
            .args(["serve", "--listen", "127.0.0.1:0", "--jwt-secret", SECRET, "--log", "warn"])
            .args(["--max-connections-per-ip", "100000"])
            .args(settings)
            .arg("--data-dir")
            .arg(data.path().join("data"));
        let (process, line) = Process::start(&mut command)?;
        let address = line.strip_prefix("listening on http://").context("the server did not start")?.parse()?;
        Ok(Self {
            process,
            address,
            service: jwt::issue(SECRET.as_bytes(), None, None, JwtRole::Service, None, Duration::from_secs(3600)),
            http: client()?,
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
            _data: data,
        })
    }

    /// A GET as the service.
    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let request = self.http.get(format!("http://{}{path}", self.address)).bearer_auth(&self.service);
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    /// How many of these rooms do not hold exactly so many people, all of them active.
    pub fn rooms_without(&self, rooms: &[String], people: usize) -> anyhow::Result<usize> {
        self.runtime.block_on(async {
            let mut wrong = 0;
            for room in rooms {
                let session = room.split_once("/ws?").context("the address of a room")?.0;
                let answer = self.get(&format!("{session}/participants")).await?;
                let items = answer["items"].as_array().context("items")?;
                let active = items.iter().filter(|person| person["status"] == "active").count();
                wrong += usize::from(items.len() != people || active != people);
            }
            Ok(wrong)
        })
    }

    /// Calls a route that reads the database, again and again until `over`.
    pub fn bystander(&self, pause: Duration, over: &AtomicBool) -> anyhow::Result<Bystander> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let http = client()?;
        let url = format!("http://{}/v1/reading-sessions?limit=1", self.address);
        let mut seen = Bystander::default();
        while !over.load(Ordering::Relaxed) {
            let started = Instant::now();
            let answer = runtime.block_on(http.get(&url).bearer_auth(&self.service).send());
            seen.calls += 1;
            seen.failures += usize::from(!answer.is_ok_and(|answer| answer.status().is_success()));
            seen.longest = seen.longest.max(started.elapsed());
            std::thread::sleep(pause);
        }
        Ok(seen)
    }

    async fn open_room(&self, people: usize) -> anyhow::Result<String> {
        let url = format!("http://{}/v1/reading-sessions", self.address);
        let request = self.http.post(url).bearer_auth(&self.service).json(&json!({"max_participants": people}));
        let session: Value = request.send().await?.error_for_status()?.json().await?;
        let id = session["id"].as_str().context("an id")?;
        let invite = session["invite"]["token"].as_str().context("a token")?;
        Ok(format!("/v1/reading-sessions/{id}/ws?invite={invite}"))
    }
}

impl Subject for Lastseen {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn process(&self) -> &Process {
        &self.process
    }

    fn rooms(&self, count: usize, people: usize) -> anyhow::Result<Vec<String>> {
        self.runtime.block_on(async {
            let mut rooms = Vec::with_capacity(count);
            while rooms.len() < count {
                let some = CALLS.min(count - rooms.len());
                rooms.extend(try_join_all((0..some).map(|_| self.open_room(people))).await?);
            }
            Ok(rooms)
        })
    }

    fn path(&self, room: &str, person: usize) -> String {
        format!("{room}&name=Reader%20{person}")
    }

    fn read(&self, text: &[u8], _: &str, _: usize) -> (Kind, Option<String>) {
        let kind = match quoted(text, "{\"type\":\"").next() {
            Some(b"welcome") => Kind::Welcome,
            Some(b"beat") => Kind::Answer,
            Some(b"diff" | b"state" | b"occupancy") => Kind::Change,
            Some(b"more") => Kind::More,
            _ => Kind::Other,
        };
        (kind, None)
    }

    fn leave(&self) -> Option<String> {
        Some(r#"{"type":"leave"}"#.to_owned())
    }

    fn resume_path(&self, room: &str, _: usize, welcome: &[u8]) -> String {
        let path = room.split_once('?').expect("a query").0;
        let resume = quoted(welcome, "\"resume\":\"").next().expect("a resume token");
        format!("{path}?resume={}", String::from_utf8_lossy(resume))
    }

    fn people<'a>(&self, text: &'a [u8], each: &mut dyn FnMut(&'a [u8], bool)) {
        let find = |mark| memchr::memmem::find(text, mark);
        let gone = find(b"\"leaves\":[").unwrap_or(text.len());
        let here = [b"\"participants\":[".as_slice(), b"\"joins\":["].into_iter().find_map(find).unwrap_or(gone);
        quoted(&text[here..gone], "{\"id\":\"").for_each(|id| each(id, true));
        quoted(&text[gone..], "{\"id\":\"").for_each(|id| each(id, false));
    }
}
