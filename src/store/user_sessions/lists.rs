//! Lists of user sessions in pages, newest first. Each statement reads about as many rows as the page shows, however
//! many there are and whatever it filters by.

use crate::domain::user_session::{Platform, UserSession, UserSessionStatus, Wanted};
use crate::store::{Cursor, Store, StoreError, Viewer};

/// Those of one user, who has few.
const OF_USER: &str = concat!(
    sessions!("user_sessions AS s"),
    "WHERE s.user_id = $1 AND (s.started_at, s.id) < ($2, $3)
       AND ($5::text IS NULL OR s.platform = $5)
       AND ($6::text IS NULL OR ",
    status!(),
    " = $6)
     ORDER BY s.started_at DESC, s.id DESC LIMIT $4"
);

/// Those of everybody.
const ALL: &str = concat!(
    sessions!("user_sessions AS s"),
    "WHERE (s.started_at, s.id) < ($1, $2) ORDER BY s.started_at DESC, s.id DESC LIMIT $3"
);

/// Those of everybody, on these platforms and with these statuses: the newest of each pair of them, which the index
/// holds in order, and the newest of these. What is overdue and has not been swept is timed out; there is little of it,
/// and an index of its own finds it.
const FILTERED: &str = concat!(
    sessions!(
        "(
    SELECT page.* FROM (
        SELECT one.* FROM unnest($4::text[]) AS p (platform)
        CROSS JOIN unnest($5::text[]) AS t (status)
        CROSS JOIN LATERAL (
            SELECT * FROM user_sessions AS s
            WHERE s.platform = p.platform AND s.status = t.status AND (s.started_at, s.id) < ($1, $2)
              AND ($6 OR NOT ",
        overdue!(),
        ")
            ORDER BY s.started_at DESC, s.id DESC LIMIT $3
        ) AS one
        UNION ALL
        SELECT * FROM user_sessions AS s
        WHERE $7 AND s.expires_not_before <= now() AND ",
        overdue!(),
        " AND s.platform = ANY ($4) AND (s.started_at, s.id) < ($1, $2)
    ) AS page
    ORDER BY page.started_at DESC, page.id DESC LIMIT $3
) AS s"
    ),
    "ORDER BY s.started_at DESC, s.id DESC"
);

impl Store {
    /// A page of the sessions that `viewer` may see, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn user_sessions(
        &self,
        viewer: Viewer,
        wanted: Wanted,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<UserSession>, StoreError> {
        let after = after.unwrap_or(Cursor::START);
        self.ask(async {
            let mut transaction = self.begin_as(viewer).await?;
            let query = match (wanted.user_id.or(viewer.user()), wanted.platform, wanted.status) {
                (Some(user), platform, status) => sqlx::query_as(OF_USER)
                    .bind(user)
                    .bind(after.at)
                    .bind(after.id)
                    .bind(limit)
                    .bind(platform)
                    .bind(status),
                (None, None, None) => sqlx::query_as(ALL).bind(after.at).bind(after.id).bind(limit),
                (None, platform, status) => sqlx::query_as(FILTERED)
                    .bind(after.at)
                    .bind(after.id)
                    .bind(limit)
                    .bind(platform.map_or(Platform::ALL.to_vec(), |platform| vec![platform]))
                    .bind(status.map_or(UserSessionStatus::ALL.to_vec(), |status| vec![status]))
                    .bind(status.is_none())
                    .bind(status == Some(UserSessionStatus::Timeout)),
            };
            let page = query.fetch_all(&mut *transaction).await?;
            transaction.commit().await?;
            Ok(page)
        })
        .await
    }
}
