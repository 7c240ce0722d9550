//! Sits: timed sittings of one person, alone or in a partnership.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;

use super::{Cursor, Store, StoreError, Viewer};
use crate::domain::ids::{PartnershipId, SitId};
use crate::domain::sit::{Completing, Completion, Sit, SitFilter, SitStatus, SitWeek};
use crate::domain::subject::Subject;

/// The columns of [`Sit`].
const COLUMNS: &str = "id, lastseen.subject_of(user_id) AS user_id, partnership_id, room_sit_id, sit_length_seconds,
    started_at, completed_at, status, created_at, duration_seconds";

/// When the length of a sit is over.
const END: &str = "started_at + make_interval(secs => sit_length_seconds)";

from_row! {
    Sit {
        id, user_id, partnership_id, room_sit_id, sit_length_seconds, started_at, completed_at, status,
        created_at, duration_seconds,
    }
}
from_row! { SitWeek { user_id, iso_week, week_starts_on, sits_completed, seconds } }

impl Store {
    /// Starts a sit of a user; `None` where it is no member of the partnership.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn start_sit(
        &self,
        user: &Subject,
        length_seconds: i32,
        partnership: Option<PartnershipId>,
    ) -> Result<Option<Sit>, StoreError> {
        self.ask(async {
            let mut transaction = self.begin_writing(user).await?;
            let started = sqlx::query_as(AssertSqlSafe(format!(
                "INSERT INTO sits (id, user_id, partnership_id, sit_length_seconds)
                 SELECT $1, $2, $3, $4 WHERE $3::uuid IS NULL OR EXISTS (SELECT FROM partnerships WHERE id = $3)
                 RETURNING {COLUMNS}"
            )))
            .bind(SitId::new())
            .bind(user.id())
            .bind(partnership)
            .bind(length_seconds)
            .fetch_optional(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok(started)
        })
        .await
    }

    /// Completes a sit of the viewer's; before its length is over only where that is meant. Where the clock was set
    /// back behind its start it ends as it began. As of its end it is completed where that time is given, within a
    /// second, and where it was abandoned: its client could not say so in time.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn complete_sit(&self, viewer: Viewer, id: SitId, how: Completing) -> Result<Completion, StoreError> {
        self.ask(async {
            let mut transaction = self.begin_as(viewer).await?;
            let done = sqlx::query_as(AssertSqlSafe(format!(
                "UPDATE sits SET status = 'completed', is_completed = true,
                        completed_at = CASE WHEN status = 'abandoned' OR $4::timestamptz IS NOT NULL THEN {END}
                                            ELSE greatest(now(), started_at) END
                 WHERE id = $1 AND ($2::uuid IS NULL OR user_id = $2)
                   AND CASE status WHEN 'open' THEN {END} <= now() OR $3 AND $4 IS NULL
                                   WHEN 'abandoned' THEN NOT $3
                                   ELSE false END
                   AND ($4 IS NULL OR abs(extract(epoch from $4 - ({END}))) <= 1)
                 RETURNING {COLUMNS}"
            )))
            .bind(id)
            .bind(viewer.user())
            .bind(how.early)
            .bind(how.at)
            .fetch_optional(&mut *transaction)
            .await?;
            let completion = match done {
                Some(sit) => Completion::Done(sit),
                None => {
                    let found: Option<(SitStatus, DateTime<Utc>, bool)> = sqlx::query_as(AssertSqlSafe(format!(
                        "SELECT status, {END}, coalesce(abs(extract(epoch from $3::timestamptz - ({END}))) > 1, false)
                         FROM sits WHERE id = $1 AND ($2::uuid IS NULL OR user_id = $2)"
                    )))
                    .bind(id)
                    .bind(viewer.user())
                    .bind(how.at)
                    .fetch_optional(&mut *transaction)
                    .await?;
                    match found {
                        None => Completion::Unknown,
                        Some((SitStatus::Completed, ..)) => Completion::Over(SitStatus::Completed),
                        Some((_, end, true)) => Completion::NotItsEnd(end),
                        Some((SitStatus::Open, ..)) => Completion::TooEarly,
                        Some((over, ..)) => Completion::Over(over),
                    }
                }
            };
            transaction.commit().await?;
            Ok(completion)
        })
        .await
    }

    /// One sit, where `viewer` may see it: its own, or a partner's.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sit(&self, viewer: Viewer, id: SitId) -> Result<Option<Sit>, StoreError> {
        self.ask(async {
            let mut transaction = self.begin_as(viewer).await?;
            let sit = sqlx::query_as(AssertSqlSafe(format!("SELECT {COLUMNS} FROM sits WHERE id = $1")))
                .bind(id)
                .fetch_optional(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(sit)
        })
        .await
    }

    /// A page of sits, the newest first: of a partnership, where `viewer` may see it, else the viewer's
    /// own; for the service all.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sits(
        &self,
        viewer: Viewer,
        filter: SitFilter,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<Sit>, StoreError> {
        self.ask(async {
            let mut transaction = self.begin_as(viewer).await?;
            let page = sqlx::query_as(AssertSqlSafe(format!(
                "SELECT {COLUMNS} FROM sits
                 WHERE ($1::timestamptz IS NULL OR (started_at, id) < ($1, $2))
                   AND ($4::uuid IS NULL OR partnership_id = $4)
                   AND ($4::uuid IS NOT NULL OR $5::uuid IS NULL OR user_id = $5)
                   AND ($6::boolean IS NULL OR is_completed = $6)
                   AND ($7::text IS NULL OR status = $7)
                 ORDER BY started_at DESC, id DESC LIMIT $3"
            )))
            .bind(after.map(|cursor| cursor.at))
            .bind(after.map(|cursor| cursor.id))
            .bind(limit)
            .bind(filter.partnership)
            .bind(viewer.user())
            .bind(filter.completed)
            .bind(filter.status)
            .fetch_all(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok(page)
        })
        .await
    }

    /// A page of what the members of a partnership sat, the newest week of this time zone first, where `viewer` may
    /// see it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sit_weeks(
        &self,
        viewer: Viewer,
        partnership: PartnershipId,
        time_zone: &str,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<SitWeek>, StoreError> {
        self.ask(async {
            let mut transaction = self.begin_as(viewer).await?;
            let page = sqlx::query_as(
                "SELECT lastseen.subject_of(w.user_id) AS user_id, w.iso_week, w.week_starts_on, w.sits_completed, w.seconds
                 FROM sit_weeks_of($4, $5) AS w
                 WHERE ($1::timestamptz IS NULL OR (w.week_starts_on, w.user_id) < (($1 AT TIME ZONE 'UTC')::date, $2))
                 ORDER BY w.week_starts_on DESC, w.user_id DESC LIMIT $3",
            )
            .bind(after.map(|cursor| cursor.at))
            .bind(after.map(|cursor| cursor.id))
            .bind(limit)
            .bind(partnership)
            .bind(time_zone)
            .fetch_all(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok(page)
        })
        .await
    }

    /// Deletes at most so many of the sits that were over longer ago than this, and returns how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn purge_sits(&self, older_than: Duration, at_most: i32) -> Result<i64, StoreError> {
        self.batch(
            sqlx::query_scalar("SELECT purge_sits(make_interval(secs => $1), $2)")
                .bind(older_than.as_secs_f64())
                .bind(at_most)
                .fetch_one(&self.batches),
        )
        .await
    }

    /// Marks overdue sits as abandoned, at most so many of each kind, and returns how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn abandon_overdue_sits(&self, grace: Duration, at_most: i32) -> Result<i64, StoreError> {
        self.batch(
            sqlx::query_scalar("SELECT abandon_overdue_sits(make_interval(secs => $1), $2)")
                .bind(grace.as_secs_f64())
                .bind(at_most)
                .fetch_one(&self.batches),
        )
        .await
    }
}
