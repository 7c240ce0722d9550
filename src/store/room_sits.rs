//! Sits of rooms: started, found again after a restart, and recorded for each user who took part.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::{Store, StoreError};
use crate::domain::ids::{ParticipantId, RoomSitId, SessionId, SitId, UserId};
use crate::domain::sit::EndedRoomSit;

/// A stored sit of a room that is not over yet.
#[derive(Clone, Debug, FromRow)]
#[expect(missing_docs, reason = "the fields are the table's, see migrations")]
pub struct OpenRoomSit {
    pub id: RoomSitId,
    pub session_id: SessionId,
    pub started_at: DateTime<Utc>,
    pub ends_at: DateTime<Utc>,
    /// How long it still runs, by the database's clock; negative where it is overdue.
    pub seconds_left: f64,
}

impl Store {
    /// Starts a sit of a room; `None` where the session is not open, or another server has one there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn start_room_sit(
        &self,
        session: SessionId,
        starter: ParticipantId,
        length_seconds: i32,
    ) -> Result<Option<OpenRoomSit>, StoreError> {
        self.ask(
            sqlx::query_as(
                "SELECT id, session_id, started_at, ends_at, extract(epoch from ends_at - now())::float8 AS seconds_left
                 FROM lastseen.start_room_sit($1, $2, $3, $4, $5) WHERE id IS NOT NULL",
            )
            .bind(RoomSitId::new())
            .bind(session)
            .bind(starter)
            .bind(length_seconds)
            .bind(&self.node)
            .fetch_optional(&self.requests),
        )
        .await
    }

    /// The sits of rooms that the server of this name left running when it ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_room_sits(&self) -> Result<Vec<OpenRoomSit>, StoreError> {
        self.batch(
            sqlx::query_as(
                "SELECT id, session_id, started_at, ends_at, extract(epoch from ends_at - now())::float8 AS seconds_left
                 FROM room_sits WHERE status = 'open' AND (node = $1 OR node IS NULL)",
            )
            .bind(&self.node)
            .fetch_all(&self.batches),
        )
        .await
    }

    /// Records a sit that is over for each user who took part. Doing it twice changes nothing.
    ///
    /// # Errors
    /// [`StoreError`], and then nothing of it was written.
    pub async fn finish_room_sit(&self, ended: &EndedRoomSit) -> Result<(), StoreError> {
        let ids: Vec<_> = ended.present.iter().map(|_| SitId::new()).collect();
        let (users, came_at): (Vec<UserId>, Vec<_>) = ended.present.iter().copied().unzip();
        self.batch(async {
            sqlx::query("SELECT lastseen.finish_room_sit($1, $2, $3, $4)")
                .bind(ended.id)
                .bind(ids)
                .bind(users)
                .bind(came_at)
                .execute(&self.batches)
                .await
                .map(drop)
        })
        .await
    }
}
