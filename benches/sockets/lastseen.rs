//! lastseen itself: the release server on an embedded database.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::try_join_all;
use lastseen::auth::jwt::{self, JwtRole};
use serde_json::{Value, json};

use crate::process::Process;
use crate::subject::{Said, Subject, quoted};

const SECRET: &str = "a secret of the benchmarks, long enough";

/// Calls that are made at once while rooms are opened.
const CALLS: usize = 16;

/// The server, and the means to ask it.
pub struct Lastseen {
    process: Process,
    address: SocketAddr,
    service: String,
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    /// Ends after the process.
    _data: tempfile::TempDir,
}

impl Lastseen {
    /// Starts it with more settings than those that the client needs: all sockets come from one machine.
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
            http: reqwest::Client::builder().no_proxy().build()?,
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
            _data: data,
        })
    }

    /// Asks as the service.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let request = self.http.get(format!("http://{}{path}", self.address)).bearer_auth(&self.service);
        Ok(request.send().await?.error_for_status()?.json().await?)
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
    fn name(&self) -> &'static str {
        "lastseen"
    }

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

    fn hear(&self, text: &[u8], _: &str, _: usize) -> (Said, Option<String>) {
        let said = match quoted(text, "{\"type\":\"").next() {
            Some(b"welcome") => Said::Welcome,
            Some(b"beat") => Said::Answer,
            Some(b"diff" | b"state" | b"occupancy") => Said::News,
            _ => Said::Other,
        };
        (said, None)
    }

    fn beat(&self, reference: usize) -> String {
        format!(r#"{{"type":"beat","ref":{reference},"active":{}}}"#, reference % 2 == 0)
    }

    fn update(&self, number: usize) -> String {
        format!(r#"{{"type":"update","state":{{"n":{number}}}}}"#)
    }

    fn leave(&self) -> Option<String> {
        Some(r#"{"type":"leave"}"#.to_owned())
    }

    fn way_back(&self, room: &str, _: usize, welcome: &[u8]) -> String {
        let path = room.split_once('?').expect("a query").0;
        let resume = quoted(welcome, "\"resume\":\"").next().expect("a resume token");
        format!("{path}?resume={}", String::from_utf8_lossy(resume))
    }

    fn people<'a>(&self, text: &'a [u8], tell: &mut dyn FnMut(&'a [u8], bool)) {
        let find = |mark| memchr::memmem::find(text, mark);
        let gone = find(b"\"leaves\":[").unwrap_or(text.len());
        let here = [b"\"participants\":[".as_slice(), b"\"joins\":["].into_iter().find_map(find).unwrap_or(gone);
        quoted(&text[here..gone], "{\"id\":\"").for_each(|id| tell(id, true));
        quoted(&text[gone..], "{\"id\":\"").for_each(|id| tell(id, false));
    }
}
