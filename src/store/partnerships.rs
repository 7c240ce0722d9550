//! Partnerships: people who sit together.

use std::collections::BTreeSet;

use super::{Cursor, Store, StoreError, Viewer, subjects};
use crate::domain::ids::PartnershipId;
use crate::domain::partnership::Partnership;
use crate::domain::subject::Subject;

/// Selects [`Partnership`] from the partnerships for which this holds.
macro_rules! partnerships {
    ($which:literal) => {
        concat!("SELECT id, lastseen.subjects_of(user_ids) AS user_ids, created_at FROM partnerships ", $which)
    };
}

const READ: &str = partnerships!("WHERE id = $1 AND user_ids <> '{}'");

from_row! { Partnership { id, user_ids, created_at } }

impl Store {
    /// Makes a partnership of these users.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn make_partnership(&self, users: &BTreeSet<Subject>) -> Result<Partnership, StoreError> {
        let (id, ids) = (PartnershipId::new(), users.iter().map(Subject::id).collect::<Vec<_>>());
        self.ask(async {
            let mut transaction = self.begin_as(Viewer::Service).await?;
            subjects::note(&mut transaction, users).await?;
            sqlx::query("INSERT INTO partnerships (id) VALUES ($1)").bind(id).execute(&mut *transaction).await?;
            sqlx::query("INSERT INTO partnership_members (partnership_id, user_id) SELECT $1, unnest($2::uuid[])")
                .bind(id)
                .bind(ids)
                .execute(&mut *transaction)
                .await?;
            // Read and not returned above: a trigger notes the members.
            let made = sqlx::query_as(partnerships!("WHERE id = $1")).bind(id).fetch_one(&mut *transaction).await?;
            transaction.commit().await?;
            Ok(made)
        })
        .await
    }

    /// A partnership that `viewer` belongs to, for the service any; one without members is over.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn partnership(&self, viewer: Viewer, id: PartnershipId) -> Result<Option<Partnership>, StoreError> {
        self.ask(async {
            let mut transaction = self.begin_as(viewer).await?;
            let partnership = sqlx::query_as(READ).bind(id).fetch_optional(&mut *transaction).await?;
            transaction.commit().await?;
            Ok(partnership)
        })
        .await
    }

    /// Gives a partnership these members and no others; with nobody it is over. Sits stay as they are: whoever comes
    /// reads those of before, whoever goes reads its own. `None` where there is no such partnership.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn change_members(
        &self,
        id: PartnershipId,
        users: &BTreeSet<Subject>,
    ) -> Result<Option<Partnership>, StoreError> {
        let ids = users.iter().map(Subject::id).collect::<Vec<_>>();
        self.ask(async {
            let mut transaction = self.begin_as(Viewer::Service).await?;
            subjects::note(&mut transaction, users).await?;
            // One change after the other, each from the members that the one before has left.
            let found = sqlx::query("SELECT FROM partnerships WHERE id = $1 AND user_ids <> '{}' FOR NO KEY UPDATE")
                .bind(id)
                .fetch_optional(&mut *transaction)
                .await?;
            if found.is_none() {
                return Ok(None);
            }
            for change in [
                "DELETE FROM partnership_members WHERE partnership_id = $1 AND user_id <> ALL ($2)",
                "INSERT INTO partnership_members (partnership_id, user_id) SELECT $1, unnest($2::uuid[])
                 ON CONFLICT DO NOTHING",
            ] {
                sqlx::query(change).bind(id).bind(&ids).execute(&mut *transaction).await?;
            }
            let changed = sqlx::query_as(partnerships!("WHERE id = $1")).bind(id).fetch_one(&mut *transaction).await?;
            transaction.commit().await?;
            Ok(Some(changed))
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
            let page = sqlx::query_as(partnerships!(
                "WHERE ($1::timestamptz IS NULL OR (created_at, id) < ($1, $2)) AND user_ids <> '{}'
                 ORDER BY created_at DESC, id DESC LIMIT $3"
            ))
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
