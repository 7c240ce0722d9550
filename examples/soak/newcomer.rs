//! People who come to a session that no fault concerns, one after the other, each of whom leaves at once.

use std::sync::Arc;
use std::time::Duration;

use lastseen::load::room::Invited;
use lastseen::load::socket::{self, End, JoinRequest};
use lastseen::load::target::Target;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::ledger::{Kind, Ledger};

/// The pause between two of them.
const PAUSE: Duration = Duration::from_millis(500);

/// What they met since the last look.
#[derive(Clone, Debug, Default)]
pub struct Met {
    /// How many were welcomed.
    pub welcomed: usize,
    /// The longest way in of one who was.
    pub longest: Duration,
    /// Why others were not.
    pub refused: Vec<String>,
}

impl Met {
    fn note(&mut self, end: Result<Result<(), End>, Elapsed>, took: Duration) {
        match end {
            Ok(Ok(())) => {
                self.welcomed += 1;
                self.longest = self.longest.max(took);
            }
            Ok(Err(end)) => self.refused.push(end.why),
            Err(_) => self.refused.push("no answer in 20 s".to_owned()),
        }
    }
}

/// The stream of them.
pub struct Newcomers(Arc<Mutex<Met>>);

impl Newcomers {
    /// Lets them come until `stop`.
    pub fn come(target: Target, way: Invited, ledger: Arc<Ledger>, stop: CancellationToken) -> Self {
        let met = Arc::new(Mutex::new(Met::default()));
        let newcomers = Self(Arc::clone(&met));
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            for number in 0.. {
                let began = Instant::now();
                let end = timeout(Duration::from_secs(20), join(&target, &way, number, &ledger)).await;
                met.lock().note(end, began.elapsed());
                sleep(PAUSE).await;
            }
        }));
        newcomers
    }

    /// What they met since the last look.
    pub fn look(&self) -> Met {
        std::mem::take(&mut *self.0.lock())
    }
}

async fn join(target: &Target, way: &Invited, number: usize, ledger: &Ledger) -> Result<(), End> {
    let name = format!("Newcomer {number}");
    let request = JoinRequest { way, as_host: false, name: &name, resume: None, source: None };
    let mut socket = socket::connect(target, number, &request).await?;
    let frame: Value = serde_json::from_str(&socket::next(&mut socket).await?).unwrap_or_default();
    let Some(you) = frame["you"].as_str().and_then(|id| id.parse().ok()) else {
        return Err(End::lost(frame["code"].as_str().unwrap_or("not welcomed")));
    };
    ledger.accepted(Kind::Joined, you);
    socket::send(&mut socket, r#"{"type":"leave"}"#.to_owned()).await?;
    // The server closes with 1000 once it has taken the leave.
    loop {
        match socket::next(&mut socket).await {
            Ok(_) => {}
            Err(end) if end.why == "1000" => {
                ledger.accepted(Kind::Left, you);
                return Ok(());
            }
            Err(end) => return Err(end),
        }
    }
}
