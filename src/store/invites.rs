//! Invites: the ways into a session.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::transaction::Statements;
use super::{Cursor, Store, StoreError, Viewer};
use crate::domain::ids::{InviteId, SessionId};
use crate::domain::invite::{Inspection, InspectionVerdict, Invite, InviteFault, NewInvite};

pub(super) async fn insert(
    connection: &mut Statements,
    session: SessionId,
    new: &NewInvite,
) -> Result<Invite, sqlx::Error> {
    sqlx::query_as(
        "INSERT INTO session_invites (id, session_id, token_sha256, role, max_uses, expires_at, created_by)
         VALUES ($1, $2, $3, $4, $5, now() + make_interval(secs => $6), $7)
         RETURNING id, role, max_uses, uses, expires_at, created_at, revoked_at",
    )
    .bind(InviteId::new())
    .bind(session)
    .bind(new.token_sha256.as_slice())
    .bind(new.role)
    .bind(new.max_uses)
    .bind(new.expires_in.map(|time| time.as_secs_f64()))
    .bind(new.created_by)
    .fetch_one(connection)
    .await
}

from_row! { Invite { id, role, max_uses, uses, expires_at, created_at, revoked_at } }

impl Store {
    /// Makes an invite to an open session; `None` where it is not open.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn invite(&self, session: SessionId, new: &NewInvite) -> Result<Option<Invite>, StoreError> {
        self.ask(async {
            let mut transaction = self.begin_as(Viewer::Service).await?;
            // Held against a close, which kills the invites that it finds.
            let open = sqlx::query("SELECT FROM reading_sessions WHERE id = $1 AND is_active FOR SHARE")
                .bind(session)
                .fetch_optional(&mut *transaction)
                .await?;
            let invite = match open {
                Some(_) => Some(insert(&mut transaction, session, new).await?),
                None => None,
            };
            transaction.commit().await?;
            Ok(invite)
        })
        .await
    }

    /// A page of the invites to a session, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn invites(
        &self,
        viewer: Viewer,
        session: SessionId,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<Invite>, StoreError> {
        self.ask(async {
            let mut transaction = self.begin_as(viewer).await?;
            let invites = sqlx::query_as(
                "SELECT id, role, max_uses, uses, expires_at, created_at, revoked_at FROM session_invites
                 WHERE session_id = $1 AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3))
                 ORDER BY created_at DESC, id DESC LIMIT $4",
            )
            .bind(session)
            .bind(after.map(|cursor| cursor.at))
            .bind(after.map(|cursor| cursor.id))
            .bind(limit)
            .fetch_all(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok(invites)
        })
        .await
    }

    /// Revokes an invite; whether there was one to revoke.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn revoke_invite(&self, session: SessionId, invite: InviteId) -> Result<bool, StoreError> {
        self.ask(async {
            let revoked = sqlx::query(
                "UPDATE session_invites SET revoked_at = now()
                 WHERE id = $1 AND session_id = $2 AND revoked_at IS NULL",
            )
            .bind(invite)
            .bind(session)
            .execute(&self.requests)
            .await?;
            Ok(revoked.rows_affected() > 0)
        })
        .await
    }

    /// What a link is good for. Anyone may ask, so only a few ask at a time: joins have the other connections.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn inspect_invite(&self, token_sha256: &[u8; 32]) -> Result<Inspection, StoreError> {
        #[derive(FromRow)]
        struct Row {
            verdict: InspectionVerdict,
            detail: Option<InviteFault>,
            session_id: Option<SessionId>,
            title: Option<String>,
            invite_expires_at: Option<DateTime<Utc>>,
            session_expires_at: Option<DateTime<Utc>>,
        }
        let row: Row = self
            .ask(async {
                let _turn = self.inspections.acquire().await;
                sqlx::query_as("SELECT * FROM lastseen.inspect_invite($1, make_interval(secs => $2), $3)")
                    .bind(token_sha256.as_slice())
                    .bind(self.idle.timeout.as_secs_f64())
                    .bind(self.idle.counts.as_str())
                    .fetch_one(&self.requests)
                    .await
            })
            .await?;
        match (row.verdict, row.detail, row.session_id, row.session_expires_at) {
            (InspectionVerdict::Ok, _, Some(session), Some(session_expires_at)) => {
                let expires_at = row.invite_expires_at.map_or(session_expires_at, |end| end.min(session_expires_at));
                Ok(Inspection::Open { session, title: row.title, expires_at })
            }
            (InspectionVerdict::Expired, Some(fault), ..) => Ok(Inspection::Dead(fault)),
            (InspectionVerdict::NotFound, ..) => Ok(Inspection::Unknown),
            _ => Err(StoreError::Incomplete("lastseen.inspect_invite()")),
        }
    }
}
