//! A person whom no fault concerns: connected all the time, beating each second.

use std::sync::Arc;
use std::time::Duration;

use lastseen::load::room::Invited;
use lastseen::load::socket::{self, JoinRequest, Socket};
use lastseen::load::target::Target;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// The pause between beats.
const PAUSE: Duration = Duration::from_secs(1);

/// What it saw since the last look.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The longest wait for the answer to a beat.
    pub longest: Duration,
    /// How its connections ended.
    pub ends: Vec<String>,
}

impl Seen {
    fn waited(&mut self, time: Duration) {
        self.longest = self.longest.max(time);
    }
}

/// A person who is there.
#[derive(Clone)]
pub struct Bystander {
    seen: Arc<Mutex<Seen>>,
    /// Since when it waits for an answer.
    waiting: Arc<Mutex<Option<Instant>>>,
}

impl Bystander {
    /// Joins, and stays until `stop`.
    pub fn join(target: Target, way: Invited, stop: CancellationToken) -> Self {
        let bystander = Self { seen: Arc::default(), waiting: Arc::default() };
        let task = bystander.clone();
        tokio::spawn(async move { stop.run_until_cancelled(task.live(&target, &way)).await });
        bystander
    }

    /// What it saw since the last look. A wait that goes on counts as long as it is by now.
    pub fn look(&self) -> Seen {
        let mut seen = std::mem::take(&mut *self.seen.lock());
        if let Some(since) = *self.waiting.lock() {
            seen.waited(since.elapsed());
        }
        seen
    }

    async fn live(&self, target: &Target, way: &Invited) {
        let mut resume = None;
        loop {
            let request =
                JoinRequest { way, as_host: false, name: "Bystander", resume: resume.as_deref(), source: None };
            let joined = async {
                let mut socket = socket::connect(target, 0, &request).await?;
                let welcome: Value = serde_json::from_str(&socket::next(&mut socket).await?).unwrap_or_default();
                Ok::<_, socket::End>((socket, welcome["resume"].as_str().map(str::to_owned)))
            };
            if let Ok(Ok((mut socket, Some(token)))) = timeout(Duration::from_secs(15), joined).await {
                resume = Some(token);
                let end = self.beat(&mut socket).await;
                self.seen.lock().ends.push(end.why);
            }
            *self.waiting.lock() = None;
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn beat(&self, socket: &mut Socket) -> socket::End {
        loop {
            let sent = Instant::now();
            *self.waiting.lock() = Some(sent);
            let answered = async {
                socket::send(socket, r#"{"type":"beat","ref":1}"#.to_owned()).await?;
                while !socket::next(socket).await?.contains(r#""type":"beat""#) {}
                Ok::<_, socket::End>(())
            };
            if let Err(end) = answered.await {
                return end;
            }
            *self.waiting.lock() = None;
            let took = sent.elapsed();
            self.seen.lock().waited(took);
            // Pings are answered while it waits.
            if let Ok(end) = timeout(PAUSE, ended(socket)).await {
                return end;
            }
        }
    }
}

async fn ended(socket: &mut Socket) -> socket::End {
    loop {
        if let Err(end) = socket::next(socket).await {
            return end;
        }
    }
}
