//! Partnerships: people who sit together.

use std::collections::BTreeSet;

use super::{Cursor, Store, StoreError, Viewer};
use crate::domain::ids::{PartnershipId, UserId};
use crate::domain::partnership::Partnership;

from_row! { Partnership { id, user_ids, created_at } }

impl Store {
    /// Makes a partnership of these users.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn make_partnership(&self, users: &BTreeSet<UserId>) -> Result<Partnership, StoreError> {
        let (id, users) = (PartnershipId::new(), users.iter().copied().collect::<Vec<_>>());
        self.ask(async {
            let mut transaction = self.begin_as(Viewer::Service).await?;
            sqlx::query("INSERT INTO partnerships (id) VALUES ($1)").bind(id).execute(&mut *transaction).await?;
            sqlx::query("INSERT INTO partnership_members (partnership_id, user_id) SELECT $1, unnest($2::uuid[])")
                .bind(id)
                .bind(users)
                .execute(&mut *transaction)
                .await?;
            // Read and not returned above: a trigger notes the members.
            let made = sqlx::query_as("SELECT id, user_ids, created_at FROM partnerships WHERE id = $1")
                .bind(id)
                .fetch_one(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(made)
        })
        .await
    }

    /// A page of the partnerships that `viewer` belongs to, the newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn partnerships(
        &self,
        viewer: Viewer,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<Partnership>, StoreError> {
        self.ask(async {
            let mut transaction = self.begin_as(viewer).await?;
            let page = sqlx::query_as(
                "SELECT id, user_ids, created_at FROM partnerships
                 WHERE $1::timestamptz IS NULL OR (created_at, id) < ($1, $2)
                 ORDER BY created_at DESC, id DESC LIMIT $3",
            )
            .bind(after.map(|cursor| cursor.at))
            .bind(after.map(|cursor| cursor.id))
            .bind(limit)
            .fetch_all(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok(page)
        })
        .await
    }
}
