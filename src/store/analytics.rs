//! What operators ask: what there is now, and what there was.

use sqlx::FromRow;

use super::{Store, StoreError};

/// Of the reading sessions that were opened in some days.
#[derive(Clone, Copy, PartialEq, Debug, FromRow)]
#[expect(missing_docs, reason = "the fields are those of session_analytics()")]
pub struct Lengths {
    pub sessions: i64,
    pub average_seconds: f64,
    pub median_seconds: f64,
    pub average_participants: f64,
}

/// Of the users who came in some days.
#[derive(Clone, Copy, PartialEq, Debug, FromRow)]
#[expect(missing_docs, reason = "the fields are those of returning_users()")]
pub struct Returning {
    pub users: i64,
    pub next_day: i64,
    pub within_seven_days: i64,
    pub next_day_rate: Option<f64>,
    pub within_seven_days_rate: Option<f64>,
}

/// How many rows there are of one kind.
#[derive(Clone, PartialEq, Eq, Debug, FromRow)]
#[expect(missing_docs, reason = "the fields are those of counts_now")]
pub struct Count {
    pub system: String,
    pub platform: Option<String>,
    pub status: String,
    pub rows: i64,
}

impl Store {
    /// What there is now, in the whole database.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn counts_now(&self) -> Result<Vec<Count>, StoreError> {
        self.report(sqlx::query_as("SELECT * FROM counts_now").fetch_all(&self.reports)).await
    }

    /// Whether clocks can be set to a zone of this name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn is_time_zone(&self, name: &str) -> Result<bool, StoreError> {
        let names = self.time_zones.get_or_try_init(async || {
            let names = sqlx::query_scalar::<_, String>("SELECT name FROM pg_timezone_names").fetch_all(&self.requests);
            Ok::<_, StoreError>(self.ask(names).await?.into_iter().collect())
        });
        Ok(names.await?.contains(name))
    }

    /// How many reading sessions there were in the last `days`, how long, and with how many people.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn session_analytics(&self, days: i32) -> Result<Lengths, StoreError> {
        self.report(sqlx::query_as("SELECT * FROM session_analytics($1)").bind(days).fetch_one(&self.reports)).await
    }

    /// How many were opened in each hour of the day.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn peak_hours(&self, days: i32, time_zone: &str) -> Result<Vec<i64>, StoreError> {
        self.report(
            sqlx::query_scalar("SELECT sessions FROM peak_hours($1, $2) ORDER BY hour")
                .bind(days)
                .bind(time_zone)
                .fetch_all(&self.reports),
        )
        .await
    }

    /// How many users joined, and joined again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn returning_users(&self, days: i32, time_zone: &str) -> Result<Returning, StoreError> {
        self.report(
            sqlx::query_as("SELECT * FROM returning_users($1, $2)").bind(days).bind(time_zone).fetch_one(&self.reports),
        )
        .await
    }
}
