//! What changes user sessions, one at a time: start, heartbeat, metadata, end.

use serde_json::Value;

use crate::domain::ids::{UserId, UserSessionId};
use crate::domain::subject::Subject;
use crate::domain::user_session::{Device, EndReason, Heartbeat, Kept, OpenVerdict, Rules, Started, UserSession};
use crate::store::transaction::Transaction;
use crate::store::{Store, StoreError, Viewer};

/// The most other sessions of the user that a start returns.
const OTHERS: i64 = 50;

/// Why a user session was not opened or changed.
#[derive(Debug, thiserror::Error)]
pub enum UserSessionError {
    /// The database gave no answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such session that the viewer may see.
    #[error("there is no such user session")]
    NotFound,
    /// It has ended, or had no heartbeat for too long.
    #[error("the user session has ended")]
    Ended,
    /// It is another user's, or on another platform.
    #[error("the id is that of another user session")]
    Taken,
}

impl Store {
    /// Starts a session for its user, or continues it.
    ///
    /// # Errors
    /// `Taken`, `Ended`, or `Store`.
    pub async fn start_user_session(
        &self,
        user: &Subject,
        device: &Device,
        kept: &Kept,
        rules: Rules,
    ) -> Result<Started, UserSessionError> {
        let answer = self.ask(async {
            let mut transaction = self.begin_writing(user).await?;
            let user = user.id();
            let (verdict, id) = open(&mut transaction, user, device, kept, None, rules).await?;
            if let Err(refused) = accepted(verdict) {
                return Ok(Err(refused));
            }
            let session = sqlx::query_as(concat!(sessions!("user_sessions AS s"), "WHERE s.id = $1"))
                .bind(id)
                .fetch_one(&mut *transaction)
                .await?;
            let others = sqlx::query_as(concat!(
                "SELECT session_id, platform, status, started_at, last_activity_at, last_heartbeat_at
                 FROM user_sessions s WHERE s.user_id = $1 AND s.id <> $2 AND ",
                alive!(),
                " ORDER BY s.started_at DESC, s.id DESC LIMIT $3"
            ))
            .bind(user)
            .bind(id)
            .bind(OTHERS)
            .fetch_all(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok(Ok(Started { session, newly_made: verdict == OpenVerdict::Opened, others }))
        });
        answer.await?
    }

    /// Opens or continues the session that a connection to this server belongs to.
    ///
    /// # Errors
    /// `Taken`, `Ended`, or `Store`.
    pub async fn open_user_session(&self, user: UserId, device: &Device, rules: Rules) -> Result<(), UserSessionError> {
        let verdict = self.ask(async {
            let mut transaction = self.begin_as(Viewer::Service).await?;
            let (verdict, _) = open(&mut transaction, user, device, &Kept::default(), Some(&self.node), rules).await?;
            transaction.commit().await?;
            Ok(verdict)
        });
        accepted(verdict.await?)
    }

    /// Writes a heartbeat that was sent over HTTP.
    ///
    /// # Errors
    /// `NotFound`, `Ended`, or `Store`.
    pub async fn beat_user_session(
        &self,
        viewer: Viewer,
        session: &str,
        heartbeat: Heartbeat,
        rules: Rules,
    ) -> Result<UserSession, UserSessionError> {
        let answer = self.ask(async {
            let mut transaction = self.begin_as(viewer).await?;
            let beaten = sqlx::query_as(concat!(
                "WITH s AS (UPDATE user_sessions s SET
                    last_heartbeat_at = greatest(s.last_heartbeat_at, now()),
                    last_activity_at = CASE WHEN $2 THEN greatest(s.last_activity_at, now()) ELSE s.last_activity_at END,
                    activity_count = least(s.activity_count + $3, 1000000000000000),
                    expires_at = greatest(s.last_heartbeat_at, now()) + make_interval(secs => $4),
                    status = CASE WHEN $2 OR s.last_activity_at > now() - make_interval(secs => $5)
                                  THEN 'active' ELSE 'idle' END,
                    updated_at = now()
                 WHERE s.session_id = $1 AND ", alive!(), " RETURNING *) ",
                sessions!("s")
            ))
            .bind(session)
            .bind(heartbeat.active)
            .bind(heartbeat.activity)
            .bind(rules.timeout.as_secs_f64())
            .bind(rules.idle_after.as_secs_f64())
            .fetch_optional(&mut *transaction)
            .await?;
            changed(transaction, session, beaten).await
        });
        answer.await?
    }

    /// Changes the metadata in place; where `change` fails they stay. Concurrent changes are all applied, one after
    /// the other.
    ///
    /// # Errors
    /// Within: the error of `change`. Around it: `NotFound`, `Ended`, or `Store`.
    pub async fn change_user_session_metadata<E>(
        &self,
        viewer: Viewer,
        session: &str,
        change: impl FnOnce(&mut Value) -> Result<(), E>,
    ) -> Result<Result<UserSession, E>, UserSessionError> {
        let answer = self.ask(async {
            let mut transaction = self.begin_as(viewer).await?;
            let metadata: Option<Value> = sqlx::query_scalar(concat!(
                "SELECT s.metadata FROM user_sessions s WHERE s.session_id = $1 AND ",
                alive!(),
                " FOR NO KEY UPDATE"
            ))
            .bind(session)
            .fetch_optional(&mut *transaction)
            .await?;
            let Some(mut metadata) = metadata else {
                return Ok(changed(transaction, session, None).await?.map(Ok));
            };
            if let Err(error) = change(&mut metadata) {
                return Ok(Ok(Err(error)));
            }
            let row = sqlx::query_as(concat!(
                "WITH s AS (UPDATE user_sessions s SET metadata = $2, updated_at = now()
                            WHERE s.session_id = $1 RETURNING *) ",
                sessions!("s")
            ))
            .bind(session)
            .bind(metadata)
            .fetch_optional(&mut *transaction)
            .await?;
            Ok(changed(transaction, session, row).await?.map(Ok))
        });
        answer.await?
    }

    /// Ends a session.
    ///
    /// # Errors
    /// `NotFound`, `Ended`, or `Store`.
    pub async fn end_user_session(
        &self,
        viewer: Viewer,
        session: &str,
        reason: EndReason,
    ) -> Result<UserSession, UserSessionError> {
        let answer = self.ask(async {
            let mut transaction = self.begin_as(viewer).await?;
            let ended = sqlx::query_as(concat!(
                "WITH s AS (UPDATE user_sessions s SET
                    status = 'ended',
                    ended_at = now(),
                    end_reason = $2,
                    total_duration_seconds = calculate_session_duration(s.started_at),
                    frontend_connections = 0,
                    sse_connections = 0,
                    updated_at = now()
                 WHERE s.session_id = $1 AND ",
                alive!(),
                " RETURNING *) ",
                sessions!("s")
            ))
            .bind(session)
            .bind(reason)
            .fetch_optional(&mut *transaction)
            .await?;
            changed(transaction, session, ended).await
        });
        answer.await?
    }
}

fn accepted(verdict: OpenVerdict) -> Result<(), UserSessionError> {
    match verdict {
        OpenVerdict::Opened | OpenVerdict::Continued => Ok(()),
        OpenVerdict::Taken => Err(UserSessionError::Taken),
        OpenVerdict::Ended => Err(UserSessionError::Ended),
    }
}

async fn open(
    transaction: &mut Transaction,
    user: UserId,
    device: &Device,
    kept: &Kept,
    holder: Option<&str>,
    rules: Rules,
) -> Result<(OpenVerdict, Option<UserSessionId>), sqlx::Error> {
    sqlx::query_as(
        "SELECT verdict, found_id FROM lastseen.open_user_session(
            $1, $2, $3, $4, $5, $6, $7, $8, $9::text::inet, $10, interval '0', make_interval(secs => $11))",
    )
    .bind(UserSessionId::new())
    .bind(user)
    .bind(device.session.as_str())
    .bind(device.platform)
    .bind(&kept.device_info)
    .bind(&kept.location_info)
    .bind(&kept.metadata)
    .bind(&device.user_agent)
    .bind(device.network.to_string())
    .bind(holder)
    .bind(rules.timeout.as_secs_f64())
    .fetch_one(&mut **transaction)
    .await
}

/// The end of a change: the row that it touched, or why there was none to be touched.
async fn changed(
    mut transaction: Transaction,
    session: &str,
    touched: Option<UserSession>,
) -> Result<Result<UserSession, UserSessionError>, sqlx::Error> {
    let Some(touched) = touched else {
        let is_there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM user_sessions WHERE session_id = $1)")
            .bind(session)
            .fetch_one(&mut *transaction)
            .await?;
        return Ok(Err(if is_there { UserSessionError::Ended } else { UserSessionError::NotFound }));
    };
    transaction.commit().await?;
    Ok(Ok(touched))
}
