//! What the server accepted, kept here to be looked for in the database at the end.

use std::sync::Arc;
use std::time::Duration;

use lastseen::load::rest::Rest;
use parking_lot::Mutex;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The pause between sessions that are opened.
const PAUSE: Duration = Duration::from_secs(1);

/// What was accepted.
#[derive(Default)]
pub struct Ledger(Mutex<Accepted>);

#[derive(Default)]
struct Accepted {
    sessions: Vec<Uuid>,
    joined: Vec<Uuid>,
    left: Vec<Uuid>,
}

impl Ledger {
    /// A person was welcomed.
    pub fn joined(&self, participant: Uuid) {
        self.0.lock().joined.push(participant);
    }

    /// Its leave was taken.
    pub fn left(&self, participant: Uuid) {
        self.0.lock().left.push(participant);
    }

    /// Opens a session each second until `stop`, and keeps those that were.
    pub fn open_sessions(self: &Arc<Self>, rest: Rest, stop: CancellationToken) {
        let ledger = Arc::clone(self);
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            loop {
                if let Ok(session) = rest.open("Of the ledger", 2).await {
                    ledger.0.lock().sessions.push(session.id.0);
                }
                tokio::time::sleep(PAUSE).await;
            }
        }));
    }

    /// How much was accepted: sessions, joins and leaves.
    pub fn counts(&self) -> [usize; 3] {
        let accepted = self.0.lock();
        [accepted.sessions.len(), accepted.joined.len(), accepted.left.len()]
    }

    /// What of it the database does not have.
    pub async fn lost(&self, database: &PgPool) -> sqlx::Result<Vec<String>> {
        let (sessions, joined, left) = {
            let accepted = self.0.lock();
            (accepted.sessions.clone(), accepted.joined.clone(), accepted.left.clone())
        };
        let questions = [
            ("sessions that were opened", "select id from reading_sessions where id = any($1)", sessions),
            ("people who were welcomed", "select id from session_participants where id = any($1)", joined),
            ("leaves", "select id from session_participants where id = any($1) and not is_active", left),
        ];
        let mut lost = Vec::new();
        for (what, question, accepted) in questions {
            let found: Vec<Uuid> = sqlx::query_scalar(question).bind(&accepted).fetch_all(database).await?;
            let missing: Vec<_> = accepted.iter().filter(|id| !found.contains(id)).collect();
            if let Some(first) = missing.first() {
                lost.push(format!(
                    "{} of {} {what} are not in the database, as {first}",
                    missing.len(),
                    accepted.len()
                ));
            }
        }
        Ok(lost)
    }
}
