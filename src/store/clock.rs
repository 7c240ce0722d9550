//! The clocks of this server and of the database.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Store, StoreError};

impl Store {
    /// How far the clock of this server is ahead of the database's; negative where it is behind. Known to half the time
    /// that the answer took.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn clock_lead(&self) -> Result<TimeDelta, StoreError> {
        self.batch(async {
            // Not the wait for a connection.
            let mut transaction = self.batches.single().await?;
            let before = Utc::now();
            let theirs: DateTime<Utc> =
                sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&mut *transaction).await?;
            let ours = before + (Utc::now() - before) / 2;
            transaction.commit().await?;
            Ok(ours - theirs)
        })
        .await
    }
}
