//! What is kept of one user, as a whole.

use sqlx::FromRow;

use super::{Store, StoreError};
use crate::domain::ids::{ParticipantId, SessionId, UserId};

/// How many rows of a user were deleted, by system.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromRow)]
#[expect(missing_docs, reason = "the fields are those of erase_user()")]
pub struct ErasedCounts {
    pub participants: i64,
    pub user_sessions: i64,
    pub check_ins: i64,
    pub sits: i64,
    pub partnership_memberships: i64,
    pub partnerships: i64,
    pub simulators: i64,
    pub simulators_stopping: i64,
    pub sessions_hosted: i64,
    pub invites_created: i64,
}

/// A user of whom nothing is stored any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Erased {
    /// What was deleted.
    pub counts: ErasedCounts,
    /// The participants that the user was.
    pub participants: Vec<(SessionId, ParticipantId)>,
    /// The sessions that have no host any more.
    pub hosted: Vec<SessionId>,
}

impl Store {
    /// Deletes what is stored of a user.
    ///
    /// # Errors
    /// [`StoreError`], and then nothing was deleted.
    pub async fn erase_user(&self, user: UserId) -> Result<Erased, StoreError> {
        self.report(async {
            let mut transaction = self.reports.begin().await?;
            let participants = sqlx::query_as("SELECT session_id, id FROM session_participants WHERE user_id = $1")
                .bind(user)
                .fetch_all(&mut *transaction)
                .await?;
            let hosted = sqlx::query_scalar("SELECT id FROM reading_sessions WHERE host_user_id = $1")
                .bind(user)
                .fetch_all(&mut *transaction)
                .await?;
            let counts = sqlx::query_as("SELECT * FROM erase_user($1)").bind(user).fetch_one(&mut *transaction).await?;
            transaction.commit().await?;
            Ok(Erased { counts, participants, hosted })
        })
        .await
    }

    /// What is stored of a user, as the text of a JSON object; `None` where that is longer than so many bytes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn export_user(&self, user: UserId, most_bytes: i32) -> Result<Option<String>, StoreError> {
        self.report(
            sqlx::query_scalar(
                "WITH export AS MATERIALIZED (SELECT export_user($1)::text AS document)
                 SELECT CASE WHEN octet_length(document) <= $2 THEN document END FROM export",
            )
            .bind(user)
            .bind(most_bytes)
            .fetch_one(&self.reports),
        )
        .await
    }
}
