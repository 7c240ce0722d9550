//! Admission as the database decides it: one call, one round trip, one verdict.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::FromRow;
use sqlx::types::Json;
use tokio::time::Instant;

use super::{PATIENCE, Store, StoreError};
use crate::ids::{InviteId, ParticipantId, SessionId, UserId};
use crate::room::{self, Entrant, Role, Who};

/// How long after a question it is certain that none of it is still under way: it leaves within
/// [`PATIENCE`], the database gives up after as long again, and word of it takes a moment.
const DOUBTS_SETTLE_AFTER: Duration = PATIENCE.saturating_mul(3);

/// What somebody shows at the door.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the fields are the arguments of lastseen.admit()")]
pub struct Knock<'a> {
    pub session: SessionId,
    /// From a resume token whose signature was checked.
    pub resume: Option<(ParticipantId, i32)>,
    pub user: Option<UserId>,
    pub invite_sha256: Option<[u8; 32]>,
    pub name: Option<&'a str>,
}

/// What the database says to it.
#[derive(Debug)]
pub enum Verdict {
    /// Come in.
    Admitted(Box<Admitted>),
    /// Not: the code of a refusal or `name_needed`, and its detail.
    Refused(String, Option<String>),
}

/// Somebody who is let in.
#[derive(Debug)]
pub struct Admitted {
    /// The session.
    pub session: room::Session,
    /// The person.
    pub entrant: Entrant,
    /// What to take back where the connection fails.
    pub granted: Doubtful,
    /// An invite without a limit of uses by which the person came: its use is counted with the flush.
    pub uncounted_invite: Option<InviteId>,
}

/// An admission that may have to be taken back: its answer was lost, or its connection failed, so that
/// the database has let somebody in who is not here.
#[derive(Clone, Debug)]
pub struct Doubtful {
    session: SessionId,
    new_id: ParticipantId,
    resumed: Option<ParticipantId>,
    user: Option<UserId>,
    invite_sha256: Option<[u8; 32]>,
    /// What it made, where the answer said so.
    made: Option<Made>,
    since: Instant,
}

impl Doubtful {
    /// The session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Whom the admission was for, as far as it was somebody known.
    pub fn who(&self) -> Who {
        match (self.resumed, self.user) {
            (Some(participant), _) => Who::Participant(participant),
            (None, Some(user)) => Who::User(user),
            (None, None) => Who::Stranger,
        }
    }
}

/// Notes an admission as doubtful unless its answer arrives, however the wait for it ends.
struct Doubt<'a> {
    store: &'a Store,
    doubtful: Option<Doubtful>,
}

impl<'a> Doubt<'a> {
    fn new(store: &'a Store, knock: &Knock<'_>, new_id: ParticipantId) -> Self {
        let doubtful = Doubtful {
            session: knock.session,
            new_id,
            resumed: knock.resume.map(|(participant, _)| participant),
            user: knock.user,
            invite_sha256: knock.invite_sha256,
            made: None,
            since: Instant::now(),
        };
        Self { store, doubtful: Some(doubtful) }
    }

    fn resolve(mut self) -> Option<Doubtful> {
        self.doubtful.take()
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if let Some(doubtful) = self.doubtful.take() {
            self.store.doubts.push(doubtful);
        }
    }
}

/// What an admission made: a new participant, and the invite of which a use was counted.
#[derive(Clone, Copy, Debug)]
struct Made {
    participant: ParticipantId,
    counted_invite: Option<InviteId>,
}

#[derive(FromRow)]
struct Row {
    verdict: String,
    detail: Option<String>,
    #[sqlx(flatten)]
    granted: Granted,
}

/// All null where the verdict is a refusal.
#[derive(FromRow)]
struct Granted {
    participant_id: Option<ParticipantId>,
    user_id: Option<UserId>,
    name: Option<String>,
    role: Option<Role>,
    state: Option<Json<Box<RawValue>>>,
    joined_at: Option<DateTime<Utc>>,
    resume_generation: Option<i32>,
    newly_made: Option<bool>,
    invite_id: Option<InviteId>,
    invite_counted: Option<bool>,
    invite_uncounted: Option<bool>,
    session_id: Option<SessionId>,
    title: Option<String>,
    host_user_id: Option<UserId>,
    max_participants: Option<i32>,
    session_created_at: Option<DateTime<Utc>>,
    session_last_seen_at: Option<DateTime<Utc>>,
    session_last_activity_at: Option<DateTime<Utc>>,
}

impl Granted {
    fn admitted(self, granted: Doubtful) -> Option<Admitted> {
        let id = self.participant_id?;
        let counted_invite = self.invite_id.filter(|_| self.invite_counted == Some(true));
        Some(Admitted {
            session: room::Session {
                id: self.session_id?,
                title: self.title,
                host_user_id: self.host_user_id,
                max_participants: usize::try_from(self.max_participants?).ok()?,
                created_at: self.session_created_at?,
                last_seen_at: self.session_last_seen_at?,
                last_activity_at: self.session_last_activity_at?,
            },
            entrant: Entrant {
                id,
                user_id: self.user_id,
                name: self.name?.into(),
                role: self.role?,
                state: self.state?.0.into(),
                joined_at: self.joined_at?,
                generation: self.resume_generation?,
            },
            granted: Doubtful { made: self.newly_made?.then_some(Made { participant: id, counted_invite }), ..granted },
            uncounted_invite: self.invite_id.filter(|_| self.invite_uncounted == Some(true)),
        })
    }
}

impl Store {
    /// Asks whether somebody may come in, and notes that it does.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn admit(&self, knock: Knock<'_>) -> Result<Verdict, StoreError> {
        let new_id = ParticipantId::new();
        let doubt = Doubt::new(self, &knock, new_id);
        let row: Row = self
            .ask(
                sqlx::query_as(
                    "SELECT * FROM lastseen.admit($1, $2, $3, $4, $5, $6, make_interval(secs => $7), $8, $9, $10)",
                )
                .bind(knock.session)
                .bind(knock.resume.map(|(participant, _)| participant))
                .bind(knock.resume.map(|(_, generation)| generation))
                .bind(knock.user)
                .bind(knock.invite_sha256.as_ref().map(<[u8; 32]>::as_slice))
                .bind(knock.name)
                .bind(self.idle.timeout.as_secs_f64())
                .bind(self.idle.counts.as_str())
                .bind(&self.node)
                .bind(new_id)
                .fetch_one(&self.requests),
            )
            .await?;
        let granted = doubt.resolve();
        if row.verdict != "admitted" {
            return Ok(Verdict::Refused(row.verdict, row.detail));
        }
        match granted.and_then(|granted| row.granted.admitted(granted)) {
            Some(admitted) => Ok(Verdict::Admitted(Box::new(admitted))),
            None => Err(StoreError::Refused(sqlx::Error::Protocol("lastseen.admit() admits nobody".into()))),
        }
    }

    /// Takes back an admission whose connection failed: what it made at once, so that the place and the
    /// use are free for the next attempt; the rest, and what fails, with a flush.
    pub fn take_back(&self, mut granted: Doubtful) {
        granted.since = Instant::now();
        let Some(made) = granted.made else {
            self.doubts.push(granted);
            return;
        };
        let store = self.clone();
        self.errands.spawn(async move {
            if let Err(error) = store.give_back(made).await {
                tracing::warn!(%error, "could not give back the place of a failed connection yet");
                store.doubts.push(granted);
            }
        });
    }

    async fn give_back(&self, made: Made) -> Result<(), StoreError> {
        self.ask(async {
            sqlx::query("SELECT lastseen.give_back($1, $2)")
                .bind(made.participant)
                .bind(made.counted_invite)
                .execute(&self.requests)
                .await
                .map(drop)
        })
        .await
    }

    /// Takes back what admissions have done, or may have done, by which nobody came in. `is_here` says
    /// who has come in since by another attempt.
    ///
    /// # Errors
    /// [`StoreError`]; what could not be taken back is tried again next time.
    pub async fn settle_doubts(&self, is_here: impl Fn(&Doubtful) -> bool) -> Result<(), StoreError> {
        for _ in 0..self.doubts.len() {
            let Some(doubtful) = self.doubts.pop() else { break };
            // A statement that was on its way when the database went away may still be carried out.
            if doubtful.since.elapsed() < DOUBTS_SETTLE_AFTER {
                self.doubts.push(doubtful);
                continue;
            }
            let here = is_here(&doubtful);
            let withdrawn = self
                .batch(async {
                    sqlx::query("SELECT lastseen.withdraw_admission($1, $2, $3, $4, $5, $6)")
                        .bind(doubtful.session)
                        .bind(doubtful.new_id)
                        .bind(doubtful.resumed.filter(|_| !here))
                        .bind(doubtful.user.filter(|_| !here))
                        .bind(doubtful.invite_sha256.as_ref().map(<[u8; 32]>::as_slice))
                        .bind(&self.node)
                        .execute(&self.batches)
                        .await
                        .map(drop)
                })
                .await;
            if let Err(error) = withdrawn {
                self.doubts.push(doubtful);
                return Err(error);
            }
        }
        Ok(())
    }
}
