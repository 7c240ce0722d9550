//! Admission as the database decides it: one call, one round trip, one verdict.

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::FromRow;
use sqlx::types::Json;

use super::{Store, StoreError};
use crate::ids::{InviteId, ParticipantId, SessionId, UserId};
use crate::room::{self, Entrant, Role};

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
    /// What to give back where the upgrade fails.
    pub made: Option<Made>,
    /// An invite without a limit of uses by which the person came: its use is counted with the flush.
    pub uncounted_invite: Option<InviteId>,
}

/// What an admission made.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// A new participant.
    pub participant: ParticipantId,
    /// The invite of which a use was counted.
    pub counted_invite: Option<InviteId>,
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
    fn admitted(self) -> Option<Admitted> {
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
            made: self.newly_made?.then_some(Made { participant: id, counted_invite }),
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
        let row: Row = self
            .ask(
                sqlx::query_as("SELECT * FROM lastseen.admit($1, $2, $3, $4, $5, $6, make_interval(secs => $7), $8, $9, $10)")
                    .bind(knock.session)
                    .bind(knock.resume.map(|(participant, _)| participant))
                    .bind(knock.resume.map(|(_, generation)| generation))
                    .bind(knock.user)
                    .bind(knock.invite_sha256.as_ref().map(<[u8; 32]>::as_slice))
                    .bind(knock.name)
                    .bind(self.idle.timeout.as_secs_f64())
                    .bind(self.idle.counts.as_str())
                    .bind(&self.node)
                    .bind(ParticipantId::new())
                    .fetch_one(&self.requests),
            )
            .await?;
        if row.verdict != "admitted" {
            return Ok(Verdict::Refused(row.verdict, row.detail));
        }
        match row.granted.admitted() {
            Some(admitted) => Ok(Verdict::Admitted(Box::new(admitted))),
            None => Err(StoreError::Refused(sqlx::Error::Protocol("lastseen.admit() admits nobody".into()))),
        }
    }

    /// Undoes an admission whose connection failed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn give_back(&self, made: Made) -> Result<(), StoreError> {
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
}
