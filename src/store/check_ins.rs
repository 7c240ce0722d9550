//! Check-ins: a user is here for the next hour.

use std::time::Duration;

use super::{Cursor, Store, StoreError, Viewer};
use crate::domain::check_in::{ActiveCheckIn, CheckIn, CheckInFilter, CheckInStats, CheckOut};
use crate::domain::ids::CheckInId;
use crate::domain::subject::Subject;

/// Those that run now, the newest first: a page behind `$1`, `$2`, and only those of `$4` where that is
/// a user. Without a cursor it begins behind what no row reaches, so that the index is good for both.
pub const ACTIVE: &str = "
    SELECT id, lastseen.subject_of(user_id) AS user_id, name, checked_in_at, expires_at, minutes_remaining, extended_at,
           extension_count
    FROM active_check_ins
    WHERE (checked_in_at, id) < (coalesce($1::timestamptz, 'infinity'), coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
      AND ($4::uuid IS NULL OR user_id = $4)
    ORDER BY checked_in_at DESC, id DESC LIMIT $3";

/// The columns of [`CheckIn`].
macro_rules! columns {
    () => {
        "id, lastseen.subject_of(user_id) AS user_id, name, checked_in_at, expires_at, checked_out_at, status, extended_at,
         extension_count"
    };
}

/// Running or over, the newest first: a page behind `$1`, `$2`, from `$4` until before `$5`.
macro_rules! history {
    ($of:literal) => {
        concat!(
            "
    SELECT ",
            columns!(),
            " FROM check_ins
    WHERE (checked_in_at, id) < (coalesce($1::timestamptz, 'infinity'), coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
      AND checked_in_at >= coalesce($4::timestamptz, '-infinity') AND checked_in_at < coalesce($5::timestamptz, 'infinity')
      AND ",
            $of,
            "
    ORDER BY checked_in_at DESC, id DESC LIMIT $3"
        )
    };
}

/// Those of the user `$6`. A statement of its own: one with `$6 IS NULL OR …` has no use for the index by user.
pub const HISTORY_OF_USER: &str = history!("user_id = $6");

/// Those of all users; `$6` is null.
pub const HISTORY_OF_ALL: &str = history!("$6::uuid IS NULL");

from_row! {
    CheckIn {
        id, user_id, name, checked_in_at, expires_at, checked_out_at, status, extended_at, extension_count,
    }
}
from_row! {
    ActiveCheckIn {
        id, user_id, name, checked_in_at, expires_at, minutes_remaining, extended_at, extension_count,
    }
}
from_row! { CheckInStats { active, expired_but_marked_active, checked_out, total, avg_duration_minutes } }

impl Store {
    /// Checks a user in for the next hour, and returns whether that made a new check-in: one that runs is extended
    /// to an hour from now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn check_in(&self, user: &Subject, name: Option<&str>) -> Result<(CheckIn, bool), StoreError> {
        self.ask(async {
            let mut transaction = self.begin_writing(user).await?;
            let user = user.id();
            // A statement of its own: the next one sees what was done while this one waited.
            sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('check-in ' || $1::uuid, 0))")
                .bind(user)
                .execute(&mut *transaction)
                .await?;
            // `greatest`, for a clock that was set back. Not as of now(): the transaction that had the lock before
            // may have begun after this one, and each check-in is an extension, which a trigger notes.
            let extended = sqlx::query_as(concat!(
                "UPDATE check_ins
                 SET expires_at = greatest(expires_at, clock_timestamp() + interval '1 hour'), name = coalesce($2, name)
                 WHERE id = (SELECT id FROM active_check_ins WHERE user_id = $1 ORDER BY checked_in_at DESC, id DESC LIMIT 1)
                   AND status = 'active'
                 RETURNING ",
                columns!()
            ))
            .bind(user)
            .bind(name)
            .fetch_optional(&mut *transaction)
            .await?;
            let checked_in = match extended {
                Some(running) => (running, false),
                None => {
                    let made = sqlx::query_as(concat!(
                        "INSERT INTO check_ins (id, user_id, name) VALUES ($1, $2, $3) RETURNING ",
                        columns!()
                    ))
                    .bind(CheckInId::new())
                    .bind(user)
                    .bind(name)
                    .fetch_one(&mut *transaction)
                    .await?;
                    (made, true)
                }
            };
            transaction.commit().await?;
            Ok(checked_in)
        })
        .await
    }

    /// Checks out. A late check-out counts as one at the end of the hour.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn check_out(&self, viewer: Viewer, id: CheckInId) -> Result<CheckOut, StoreError> {
        self.ask(async {
            let mut transaction = self.begin_as(viewer).await?;
            let done = sqlx::query_as(concat!(
                "UPDATE check_ins
                 SET status = 'inactive', checked_out_at = greatest(checked_in_at, least(expires_at, now()))
                 WHERE id = $1 AND status = 'active'
                 RETURNING ",
                columns!()
            ))
            .bind(id)
            .fetch_optional(&mut *transaction)
            .await?;
            let outcome = match done {
                Some(check_in) => CheckOut::Done(check_in),
                None => {
                    let known = sqlx::query("SELECT FROM check_ins WHERE id = $1")
                        .bind(id)
                        .fetch_optional(&mut *transaction)
                        .await?;
                    if known.is_some() { CheckOut::Already } else { CheckOut::Unknown }
                }
            };
            transaction.commit().await?;
            Ok(outcome)
        })
        .await
    }

    /// A page of the check-ins that run now and that `viewer` may see, the newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn active_check_ins(
        &self,
        viewer: Viewer,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<ActiveCheckIn>, StoreError> {
        self.ask(async {
            let mut transaction = self.begin_as(viewer).await?;
            let page = sqlx::query_as(ACTIVE)
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

    /// A page of the check-ins that are kept and that `viewer` may see, running or over, the newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn check_ins(
        &self,
        viewer: Viewer,
        filter: CheckInFilter,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<CheckIn>, StoreError> {
        // Of another user the policies show a user nothing.
        let user = filter.user.or(viewer.user());
        self.ask(async {
            let mut transaction = self.begin_as(viewer).await?;
            let page = sqlx::query_as(if user.is_some() { HISTORY_OF_USER } else { HISTORY_OF_ALL })
                .bind(after.map(|cursor| cursor.at))
                .bind(after.map(|cursor| cursor.id))
                .bind(limit)
                .bind(filter.from)
                .bind(filter.to)
                .bind(user)
                .fetch_all(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(page)
        })
        .await
    }

    /// Counts all check-ins that are kept. Only those that were checked out have a duration.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn check_in_stats(&self) -> Result<CheckInStats, StoreError> {
        self.ask(
            sqlx::query_as(
                "SELECT count(*) FILTER (WHERE status = 'active' AND expires_at > now()) AS active,
                        count(*) FILTER (WHERE status = 'active' AND expires_at <= now()) AS expired_but_marked_active,
                        count(*) FILTER (WHERE status = 'inactive') AS checked_out,
                        count(*) AS total,
                        (avg(extract(epoch from checked_out_at - checked_in_at)) / 60)::float8 AS avg_duration_minutes
                 FROM check_ins",
            )
            .fetch_one(&self.requests),
        )
        .await
    }

    /// Deletes at most so many of the check-ins that were over longer ago than this, and returns how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn purge_check_ins(&self, older_than: Duration, at_most: i32) -> Result<i64, StoreError> {
        self.batch(
            sqlx::query_scalar("SELECT cleanup_old_check_ins(make_interval(secs => $1), $2)")
                .bind(older_than.as_secs_f64())
                .bind(at_most)
                .fetch_one(&self.batches),
        )
        .await
    }
}
