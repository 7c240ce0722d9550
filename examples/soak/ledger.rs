//! What the server accepted, kept here to be looked for in the database at the end.

use std::sync::Arc;
use std::time::Duration;

use lastseen::domain::ids::UserId;
use lastseen::domain::subject::Subject;
use lastseen::identity::jwt::{self, JwtRole};
use lastseen::load::rest::Rest;
use lastseen::load::target::Target;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::server::SECRET;

/// The pause between things that are made.
const PAUSE: Duration = Duration::from_secs(1);

/// How long an answer may take; one that comes later counts as none.
const PATIENCE: Duration = Duration::from_secs(10);

/// Something that the server accepts.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A session was opened.
    Session,
    /// A person was welcomed.
    Joined,
    /// Its leave was taken.
    Left,
    /// A user checked in.
    CheckIn,
    /// A user began a sit.
    Sit,
    /// A user opened a session of a device.
    UserSession,
}

impl Kind {
    const ALL: [Self; 6] = [Self::Session, Self::Joined, Self::Left, Self::CheckIn, Self::Sit, Self::UserSession];

    fn name(self) -> &'static str {
        match self {
            Self::Session => "sessions",
            Self::Joined => "joins",
            Self::Left => "leaves",
            Self::CheckIn => "check-ins",
            Self::Sit => "sits",
            Self::UserSession => "user sessions",
        }
    }

    /// Which of these the database has.
    fn question(self) -> &'static str {
        match self {
            Self::Session => "select id from reading_sessions where id = any($1)",
            Self::Joined => "select id from session_participants where id = any($1)",
            Self::Left => "select id from session_participants where id = any($1) and not is_active",
            Self::CheckIn => "select id from check_ins where id = any($1)",
            Self::Sit => "select id from sits where id = any($1)",
            Self::UserSession => {
                "select asked.id from unnest($1) as asked (id) join user_sessions as s on s.session_id = asked.id::text"
            }
        }
    }
}

/// What was accepted.
#[derive(Default)]
pub struct Ledger(Mutex<[Vec<Uuid>; Kind::ALL.len()]>);

impl Ledger {
    /// This was accepted.
    pub fn accepted(&self, kind: Kind, id: Uuid) {
        self.0.lock()[kind as usize].push(id);
    }

    /// Opens a session each second until `stop`, lets a user make one of everything, and keeps what was accepted.
    pub fn fill(self: &Arc<Self>, target: Target, rest: Rest, stop: CancellationToken) -> anyhow::Result<()> {
        let (ledger, http) = (Arc::clone(self), target.client()?);
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            loop {
                let (session, ()) = tokio::join!(rest.open("Of the ledger", 2), ledger.use_as_somebody(&http, &target));
                if let Ok(session) = session {
                    ledger.accepted(Kind::Session, session.id.0);
                }
                tokio::time::sleep(PAUSE).await;
            }
        }));
        Ok(())
    }

    /// A user whom nobody has seen yet makes one of everything.
    async fn use_as_somebody(&self, http: &reqwest::Client, target: &Target) {
        let user = Subject::from(UserId(Uuid::now_v7()));
        let token = jwt::issue(SECRET.as_bytes(), Some(&user), None, JwtRole::Authenticated, None, PATIENCE * 6);
        let post = |path: &str| http.post(target.http(path)).bearer_auth(&token).timeout(PATIENCE);
        let device = Uuid::now_v7();
        let (check_in, sit, opened) = tokio::join!(
            make(post("/v1/check-ins").json(&json!({}))),
            make(post("/v1/sits").json(&json!({"sit_length_seconds": 600}))),
            make(post("/v1/user-sessions").json(&json!({"session_id": device, "platform": "web"}))),
        );
        for (kind, made) in [(Kind::CheckIn, check_in), (Kind::Sit, sit)] {
            if let Some(id) = made.and_then(|made| made["id"].as_str()?.parse().ok()) {
                self.accepted(kind, id);
            }
        }
        if opened.is_some() {
            self.accepted(Kind::UserSession, device);
        }
    }

    /// How much was accepted of what.
    pub fn counts(&self) -> [(&'static str, usize); Kind::ALL.len()] {
        let accepted = self.0.lock();
        Kind::ALL.map(|kind| (kind.name(), accepted[kind as usize].len()))
    }

    /// What of it the database does not have.
    pub async fn lost(&self, database: &PgPool) -> sqlx::Result<Vec<String>> {
        let accepted = std::mem::take(&mut *self.0.lock());
        let mut lost = Vec::new();
        for (kind, accepted) in Kind::ALL.into_iter().zip(&accepted) {
            let found: Vec<Uuid> = sqlx::query_scalar(kind.question()).bind(accepted).fetch_all(database).await?;
            let missing: Vec<_> = accepted.iter().filter(|id| !found.contains(id)).collect();
            if let Some(first) = missing.first() {
                let (missing, all) = (missing.len(), accepted.len());
                lost.push(format!("{missing} of {all} {} are not in the database, as {first}", kind.name()));
            }
        }
        Ok(lost)
    }
}

/// What the server has made, where it says so.
async fn make(request: reqwest::RequestBuilder) -> Option<Value> {
    let answer = request.send().await.ok()?;
    if answer.status() == reqwest::StatusCode::CREATED { answer.json().await.ok() } else { None }
}
