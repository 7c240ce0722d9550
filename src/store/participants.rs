//! Participants: the people who are present in a session by the database, and removals.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::value::{RawValue, to_raw_value};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row as _};
use uuid::Uuid;

use super::{BATCH_ROWS, Store, StoreError, Viewer};
use crate::domain::document::Document;
use crate::domain::ids::{ParticipantId, SessionId, UserId};
use crate::domain::participant::{Membership, Standing, StoredParticipant};
use crate::domain::reading_session::CloseReason;
use crate::domain::reading_session::ReadingSession;
use crate::domain::subject::Subject;
use crate::protocol::v1::MAX_STATE_BYTES;
use crate::room::{Entrant, State};

from_row! { StoredParticipant { id, user_id, name, role, state by read_state, joined_at, last_seen_at } }
from_row! { Membership { role, removed, resume_generation, close_reason } }

fn read_state(row: &PgRow) -> Result<State, sqlx::Error> {
    row.try_get("state").map(shown_state)
}

/// A state as it is shown, of one that is stored. PostgreSQL adds spaces and writes numbers out, `1e300` with all its
/// zeros: the text may be many times as long as that of the client. One that is too large for the server can only have
/// been written in SQL; it stays as it is, and nothing is shown of it, since no frame could hold it.
pub(super) fn shown_state(stored: Document) -> State {
    let bytes = stored.get().len();
    if bytes <= MAX_STATE_BYTES {
        return stored;
    }
    let value = serde_json::from_str::<serde_json::Value>(stored.get());
    let shorter = value.and_then(|value| to_raw_value(&value)).ok();
    shorter.filter(|state| state.get().len() <= MAX_STATE_BYTES).map_or_else(
        || {
            tracing::warn!(bytes, "a state in the database is larger than the server takes, and shown as empty");
            State::from(RawValue::from_string("{}".to_owned()).expect("an object"))
        },
        State::from,
    )
}

impl Store {
    /// Whether a participant (`None`: the service) still belongs to a session. One without a row was erased.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn standing(
        &self,
        session: SessionId,
        participant: Option<ParticipantId>,
    ) -> Result<Standing, StoreError> {
        let found: Option<(Option<CloseReason>, bool)> = self
            .ask(
                sqlx::query_as(
                    "SELECT s.close_reason, $2 IS NOT NULL AND NOT EXISTS (
                        SELECT FROM session_participants p
                        WHERE p.id = $2 AND p.session_id = s.id AND p.leave_reason IS DISTINCT FROM 'removed')
                     FROM reading_sessions s WHERE s.id = $1",
                )
                .bind(session)
                .bind(participant)
                .fetch_optional(&self.requests),
            )
            .await?;
        Ok(match found {
            None => Standing::Gone,
            Some((_, true)) => Standing::Removed,
            Some((Some(reason), _)) => Standing::Closed(reason),
            Some((None, false)) => Standing::Good,
        })
    }

    /// Which participant of a session a user is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn participant_of(&self, session: SessionId, user: UserId) -> Result<Option<ParticipantId>, StoreError> {
        self.ask(async {
            let mut transaction = self.begin_as(Viewer::User(user)).await?;
            let id = sqlx::query_scalar("SELECT id FROM session_participants WHERE session_id = $1 AND user_id = $2")
                .bind(session)
                .bind(user)
                .fetch_optional(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(id)
        })
        .await
    }

    /// The people who are present in a session, where `viewer` may see them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn present(&self, viewer: Viewer, session: SessionId) -> Result<Vec<StoredParticipant>, StoreError> {
        self.ask(async {
            let mut transaction = self.begin_as(viewer).await?;
            let people = sqlx::query_as(
                "SELECT id, lastseen.subject_of(user_id) AS user_id, name, role, state, joined_at, last_seen_at
                 FROM session_participants WHERE session_id = $1 AND is_active ORDER BY joined_at, id",
            )
            .bind(session)
            .fetch_all(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok(people)
        })
        .await
    }

    /// How many people are present in each of these sessions, as far as `viewer` may see them. A session without any
    /// is left out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn occupancies(
        &self,
        viewer: Viewer,
        sessions: &[SessionId],
    ) -> Result<HashMap<SessionId, i64>, StoreError> {
        self.ask(async {
            let mut transaction = self.begin_as(viewer).await?;
            let counts: Vec<(SessionId, i64)> = sqlx::query_as(
                "SELECT session_id, count(*) FROM session_participants
                 WHERE session_id = ANY ($1) AND is_active GROUP BY session_id",
            )
            .bind(sessions)
            .fetch_all(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok(counts.into_iter().collect())
        })
        .await
    }

    /// The participant of a resume token whose signature was checked.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn membership(
        &self,
        session: SessionId,
        participant: ParticipantId,
    ) -> Result<Option<Membership>, StoreError> {
        self.ask(
            sqlx::query_as(
                "SELECT p.role, p.leave_reason IS NOT DISTINCT FROM 'removed' AS removed, p.resume_generation, s.close_reason
                 FROM session_participants p JOIN reading_sessions s ON s.id = p.session_id
                 WHERE p.id = $1 AND p.session_id = $2",
            )
            .bind(participant)
            .bind(session)
            .fetch_optional(&self.requests),
        )
        .await
    }

    /// Revokes the invite by which a participant came in, where there is one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn revoke_invite_of(&self, session: SessionId, participant: ParticipantId) -> Result<(), StoreError> {
        self.ask(async {
            sqlx::query("SELECT lastseen.revoke_invite_of($1, $2)")
                .bind(session)
                .bind(participant)
                .execute(&self.requests)
                .await
                .map(drop)
        })
        .await
    }

    /// Takes the removal of a participant back; false where it was not removed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn readmit_participant(
        &self,
        session: SessionId,
        participant: ParticipantId,
    ) -> Result<bool, StoreError> {
        self.ask(
            sqlx::query_scalar("SELECT lastseen.readmit_participant($1, $2)")
                .bind(session)
                .bind(participant)
                .fetch_one(&self.requests),
        )
        .await
    }

    /// Removes a participant from a session for good; false where there was none to remove.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn remove_participant(&self, session: SessionId, participant: ParticipantId) -> Result<bool, StoreError> {
        self.ask(
            sqlx::query_scalar("SELECT lastseen.remove_participant($1, $2)")
                .bind(session)
                .bind(participant)
                .fetch_one(&self.requests),
        )
        .await
    }

    /// The people whom the server of this name left present when it ended, with their sessions and
    /// when they were last seen. Of a page of open sessions at a time.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn left_present(&self) -> Result<Vec<(ReadingSession, Entrant, DateTime<Utc>)>, StoreError> {
        let (mut people, mut after) = (Vec::new(), SessionId(Uuid::nil()));
        while let Some(last) = self.page_of_open_sessions(after).await? {
            people.extend(self.left_present_between(after, last).await?);
            after = last;
        }
        Ok(people)
    }

    /// The last one of a page of the open sessions, by id and behind this one.
    async fn page_of_open_sessions(&self, after: SessionId) -> Result<Option<SessionId>, StoreError> {
        self.batch(
            sqlx::query_scalar(
                "SELECT page.id FROM (
                    SELECT id FROM reading_sessions WHERE is_active AND id > $1 ORDER BY id LIMIT $2) AS page
                 ORDER BY page.id DESC LIMIT 1",
            )
            .bind(after)
            .bind(BATCH_ROWS)
            .fetch_optional(&self.batches),
        )
        .await
    }

    async fn left_present_between(
        &self,
        after: SessionId,
        last: SessionId,
    ) -> Result<Vec<(ReadingSession, Entrant, DateTime<Utc>)>, StoreError> {
        #[derive(FromRow)]
        struct Row {
            #[sqlx(flatten)]
            person: StoredParticipant,
            resume_generation: i32,
            session_id: SessionId,
            title: Option<String>,
            host_user_id: Option<Subject>,
            max_participants: i32,
            created_at: DateTime<Utc>,
            session_last_seen_at: DateTime<Utc>,
            session_last_activity_at: DateTime<Utc>,
        }
        let rows: Vec<Row> = self
            .batch(
                sqlx::query_as(
                    "SELECT p.id, lastseen.subject_of(p.user_id) AS user_id, p.name, p.role, p.state, p.joined_at,
                            p.last_seen_at, p.resume_generation, s.id AS session_id, s.title,
                            lastseen.subject_of(s.host_user_id) AS host_user_id, s.max_participants, s.created_at,
                            s.last_seen_at AS session_last_seen_at, s.last_activity_at AS session_last_activity_at
                     FROM session_participants p JOIN reading_sessions s ON s.id = p.session_id
                     WHERE p.is_active AND s.is_active AND p.node = $1 AND s.id > $2 AND s.id <= $3",
                )
                .bind(&self.node)
                .bind(after)
                .bind(last)
                .fetch_all(&self.batches),
            )
            .await?;
        let restored = rows.into_iter().filter_map(|row| {
            let session = ReadingSession {
                id: row.session_id,
                title: row.title,
                host_user_id: row.host_user_id,
                max_participants: usize::try_from(row.max_participants).ok()?,
                created_at: row.created_at,
                last_seen_at: row.session_last_seen_at,
                last_activity_at: row.session_last_activity_at,
                closed: None,
            };
            let person = row.person;
            let entrant = Entrant {
                id: person.id,
                user_id: person.user_id,
                name: person.name?.into(),
                role: person.role,
                state: person.state,
                joined_at: person.joined_at,
                generation: row.resume_generation,
            };
            Some((session, entrant, person.last_seen_at))
        });
        Ok(restored.collect())
    }

    /// The participants of this server who are present by the database and were not seen for `unseen_for`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn unseen_here(&self, unseen_for: Duration) -> Result<Vec<(SessionId, ParticipantId)>, StoreError> {
        self.batch(
            sqlx::query_as(
                "SELECT p.session_id, p.id FROM session_participants p JOIN reading_sessions s ON s.id = p.session_id
                 WHERE s.is_active AND p.is_active AND p.node = $1 AND p.last_seen_at < now() - make_interval(secs => $2)",
            )
            .bind(&self.node)
            .bind(unseen_for.as_secs_f64())
            .fetch_all(&self.batches),
        )
        .await
    }

    /// Ends the presence of these participants of this server, where they are still unseen for `unseen_for`. Returns
    /// how many that were.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn settle_unseen(&self, people: &[ParticipantId], unseen_for: Duration) -> Result<u64, StoreError> {
        self.batch(async {
            sqlx::query(
                "WITH unseen AS MATERIALIZED (
                    SELECT p.id FROM session_participants p
                    WHERE p.id = ANY ($1) AND p.is_active AND p.node = $2
                      AND p.last_seen_at < now() - make_interval(secs => $3)
                    ORDER BY p.id FOR NO KEY UPDATE SKIP LOCKED)
                 UPDATE session_participants p SET is_active = false, left_at = p.last_seen_at, leave_reason = 'timeout'
                 FROM unseen WHERE p.id = unseen.id",
            )
            .bind(people)
            .bind(&self.node)
            .bind(unseen_for.as_secs_f64())
            .execute(&self.batches)
            .await
            .map(|done| done.rows_affected())
        })
        .await
    }

    /// Ends the presence of at most so many participants of other servers who were not seen for `stale`, and marks the
    /// connections of at most so many user sessions as lost: their server is gone. Returns of how many of both.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn settle_strangers(&self, stale: Duration, at_most: i32) -> Result<i64, StoreError> {
        self.batch(
            sqlx::query_scalar(
                "SELECT lastseen.settle_strangers($1, make_interval(secs => $2), $3)
                      + lastseen.settle_silent_user_sessions($1, make_interval(secs => $2), $3)",
            )
            .bind(&self.node)
            .bind(stale.as_secs_f64())
            .bind(at_most)
            .fetch_one(&self.batches),
        )
        .await
    }
}
