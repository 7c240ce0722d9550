//! Reading sessions: open, read, change, close, sweep.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};

use super::{Cursor, Store, StoreError, Viewer, invites, subjects};
use crate::domain::ids::{ParticipantId, SessionId};
use crate::domain::invite::Invite;
use crate::domain::reading_session::{CloseReason, Closed, Expiry, NewSession, ReadingSession, SessionChange};
use crate::domain::role::Role;

/// The columns of [`ReadingSession`]; the row's stamps may lag behind its participants, who are the truth.
macro_rules! columns {
    () => {
        "s.id, s.title, lastseen.subject_of(s.host_user_id) AS host_user_id, s.max_participants, s.created_at, s.closed_at,
         s.close_reason,
         greatest(s.last_seen_at, (SELECT max(p.last_seen_at) FROM session_participants p WHERE p.session_id = s.id)) AS last_seen_at,
         greatest(s.last_activity_at, (SELECT max(p.last_activity_at) FROM session_participants p WHERE p.session_id = s.id)) AS last_activity_at"
    };
}

impl FromRow<'_, PgRow> for ReadingSession {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let closed_at: Option<DateTime<Utc>> = row.try_get("closed_at")?;
        let close_reason: Option<CloseReason> = row.try_get("close_reason")?;
        let max_participants: i32 = row.try_get("max_participants")?;
        Ok(Self {
            id: row.try_get("id")?,
            title: row.try_get("title")?,
            host_user_id: row.try_get("host_user_id")?,
            max_participants: usize::try_from(max_participants).unwrap_or_default(),
            created_at: row.try_get("created_at")?,
            last_seen_at: row.try_get("last_seen_at")?,
            last_activity_at: row.try_get("last_activity_at")?,
            closed: closed_at.zip(close_reason).map(|(at, reason)| Closed { at, reason }),
        })
    }
}

from_row! { Expiry { expired, last_seen_at, expires_at, minutes_until_expiry } }

impl Store {
    /// Those of these sessions that are closed, or deleted (without a reason).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn closed_among(
        &self,
        sessions: &[SessionId],
    ) -> Result<Vec<(SessionId, Option<CloseReason>)>, StoreError> {
        self.batch(
            sqlx::query_as(
                "SELECT asked.id, s.close_reason FROM unnest($1::uuid[]) AS asked (id)
                 LEFT JOIN reading_sessions s ON s.id = asked.id WHERE s.is_active IS NOT TRUE",
            )
            .bind(sessions)
            .fetch_all(&self.batches),
        )
        .await
    }

    /// Opens a session with its first invites. A user who opens one is its first participant.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_session(&self, new: &NewSession) -> Result<(ReadingSession, Vec<Invite>), StoreError> {
        self.ask(async {
            let mut transaction = self.begin_as(Viewer::Service).await?;
            subjects::note(&mut transaction, new.host.iter().map(|(user, _)| user)).await?;
            sqlx::query("INSERT INTO reading_sessions (id, title, host_user_id, max_participants) VALUES ($1, $2, $3, $4)")
                .bind(new.id)
                .bind(&new.title)
                .bind(new.host.as_ref().map(|(user, _)| user.id()))
                .bind(new.max_participants)
                .execute(&mut *transaction)
                .await?;
            if let Some((user, name)) = &new.host {
                sqlx::query(
                    "INSERT INTO session_participants (id, session_id, user_id, name, role) VALUES ($1, $2, $3, $4, 'host')",
                )
                .bind(ParticipantId::new())
                .bind(new.id)
                .bind(user.id())
                .bind(name)
                .execute(&mut *transaction)
                .await?;
            }
            let mut made = Vec::with_capacity(new.invites.len());
            for invite in &new.invites {
                made.push(invites::insert(&mut transaction, new.id, invite).await?);
            }
            let session =
                sqlx::query_as(concat!("SELECT ", columns!(), " FROM reading_sessions s WHERE s.id = $1"))
                    .bind(new.id)
                    .fetch_one(&mut *transaction)
                    .await?;
            transaction.commit().await?;
            Ok((session, made))
        })
        .await
    }

    /// One session, where `viewer` may see it, with the role that a user has in it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn session(
        &self,
        viewer: Viewer,
        id: SessionId,
    ) -> Result<Option<(ReadingSession, Option<Role>)>, StoreError> {
        #[derive(FromRow)]
        struct Seen {
            #[sqlx(flatten)]
            session: ReadingSession,
            own_role: Option<Role>,
        }
        let seen: Option<Seen> = self
            .ask(async {
                let mut transaction = self.begin_as(viewer).await?;
                let seen = sqlx::query_as(concat!(
                    "SELECT ", columns!(), ",
                        CASE WHEN s.host_user_id = $2 THEN 'host'
                             ELSE (SELECT p.role FROM session_participants p WHERE p.session_id = s.id AND p.user_id = $2)
                        END AS own_role
                     FROM reading_sessions s WHERE s.id = $1"
                ))
                .bind(id)
                .bind(viewer.user())
                .fetch_optional(&mut *transaction)
                .await?;
                transaction.commit().await?;
                Ok(seen)
            })
            .await?;
        Ok(seen.map(|seen| (seen.session, seen.own_role)))
    }

    /// A page of the sessions that `viewer` may see, newest first. The policies alone would do, by
    /// looking at every session; naming the viewer's own lets the indexes find them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sessions(
        &self,
        viewer: Viewer,
        active: Option<bool>,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<ReadingSession>, StoreError> {
        self.ask(async {
            let mut transaction = self.begin_as(viewer).await?;
            let page = sqlx::query_as(concat!(
                "SELECT ",
                columns!(),
                " FROM reading_sessions s
                 WHERE ($5::uuid IS NULL OR s.id IN (
                        SELECT id FROM reading_sessions WHERE host_user_id = $5
                        UNION SELECT session_id FROM session_participants WHERE user_id = $5))
                   AND ($1::boolean IS NULL OR s.is_active = $1)
                   AND ($2::timestamptz IS NULL OR (s.created_at, s.id) < ($2, $3))
                 ORDER BY s.created_at DESC, s.id DESC LIMIT $4"
            ))
            .bind(active)
            .bind(after.map(|cursor| cursor.at))
            .bind(after.map(|cursor| cursor.id))
            .bind(limit)
            .bind(viewer.user())
            .fetch_all(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok(page)
        })
        .await
    }

    /// Changes an open session; `None` where it is not open.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn change_session(
        &self,
        id: SessionId,
        change: &SessionChange,
    ) -> Result<Option<ReadingSession>, StoreError> {
        self.ask(
            sqlx::query_as(concat!(
                "WITH s AS (UPDATE reading_sessions SET
                    title = CASE WHEN $2 THEN $3 ELSE title END,
                    max_participants = coalesce($4, max_participants),
                    updated_at = now()
                 WHERE id = $1 AND is_active RETURNING *)
                 SELECT ",
                columns!(),
                " FROM s"
            ))
            .bind(id)
            .bind(change.title.is_some())
            .bind(change.title.clone().flatten())
            .bind(change.max_participants)
            .fetch_optional(&self.requests),
        )
        .await
    }

    /// Closes a session; `None` where it is not open.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn close_session(
        &self,
        id: SessionId,
        reason: CloseReason,
    ) -> Result<Option<ReadingSession>, StoreError> {
        self.ask(
            sqlx::query_as(concat!("SELECT ", columns!(), " FROM lastseen.close_session($1, $2) AS s"))
                .bind(id)
                .bind(reason)
                .fetch_optional(&self.requests),
        )
        .await
    }

    /// When a session expires, by the database's clock; `None` for one that is not there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn expiry(&self, id: SessionId) -> Result<Option<Expiry>, StoreError> {
        self.ask(
            sqlx::query_as("SELECT * FROM check_session_expiry($1, make_interval(secs => $2), $3)")
                .bind(id)
                .bind(self.idle.timeout.as_secs_f64())
                .bind(self.idle.counts.as_str())
                .fetch_optional(&self.requests),
        )
        .await
    }

    /// Closes sessions that are idle, about `at_most`, and returns them; each is returned by one sweep only.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn close_idle_sessions(&self, at_most: i32) -> Result<Vec<SessionId>, StoreError> {
        self.batch(
            sqlx::query_scalar("SELECT id FROM cleanup_inactive_sessions(make_interval(secs => $1), $2, $3)")
                .bind(self.idle.timeout.as_secs_f64())
                .bind(self.idle.counts.as_str())
                .bind(at_most)
                .fetch_all(&self.batches),
        )
        .await
    }

    /// Closes at most so many of the sessions that were opened longer ago than this, and returns them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn close_aged_sessions(&self, older_than: Duration, at_most: i32) -> Result<Vec<SessionId>, StoreError> {
        self.batch(
            sqlx::query_scalar("SELECT id FROM close_aged_sessions(make_interval(secs => $1), $2)")
                .bind(older_than.as_secs_f64())
                .bind(at_most)
                .fetch_all(&self.batches),
        )
        .await
    }

    /// Closes at most so many of the sessions in which there was at most one person for this long, and returns them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn close_lonely_sessions(&self, alone_for: Duration, at_most: i32) -> Result<Vec<SessionId>, StoreError> {
        self.batch(
            sqlx::query_scalar("SELECT id FROM close_lonely_sessions(make_interval(secs => $1), $2)")
                .bind(alone_for.as_secs_f64())
                .bind(at_most)
                .fetch_all(&self.batches),
        )
        .await
    }

    /// Deletes at most so many of the sessions that were closed longer ago than this, and returns how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn purge_closed_sessions(&self, older_than: Duration, at_most: i32) -> Result<i64, StoreError> {
        self.batch(
            sqlx::query_scalar("SELECT purge_closed_sessions(make_interval(secs => $1), $2)")
                .bind(older_than.as_secs_f64())
                .bind(at_most)
                .fetch_one(&self.batches),
        )
        .await
    }
}
