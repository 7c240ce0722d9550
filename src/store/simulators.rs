//! Simulators: companion instances of user sessions. Each move from state to state is one conditional
//! UPDATE that names the state it comes from; its result is whether it took place.

use std::time::Duration;

use sqlx::types::Json;

use super::{Cursor, Store, StoreError, Viewer};
use crate::domain::ids::{SimulatorId, UserSessionId};
use crate::domain::simulator::{Held, Made, MakeVerdict, Move, NewSimulator, Simulator, SimulatorFilter};

/// The unique index that keeps a user session from having two.
const ONE_LIVE: &str = "one_live_simulator_a_user_session";

/// Marks a simulator for its server to stop.
const MARK: &str = "UPDATE simulators SET status = 'STOPPING', moved_at = now()
    WHERE id = $1 AND status IN ('CREATING', 'STARTING', 'RUNNING')";

/// The columns of [`Simulator`].
macro_rules! columns {
    () => {
        "s.id, u.session_id, lastseen.subject_of(s.user_id) AS user_id, s.status, s.endpoint, s.initial_symbols,
         s.initial_cash, s.created_at, s.last_active, s.stopped_at, s.error"
    };
}

from_row! {
    Simulator {
        id, session_id, user_id, status, endpoint, initial_symbols as Json, initial_cash, created_at,
        last_active, stopped_at, error,
    }
}
from_row! {
    Held {
        id, user_session_id, user_id, status, initial_symbols as Json, initial_cash, launcher, handle,
    }
}

impl Store {
    /// The user session that a client calls by this name, where `viewer` may see it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn session_of_simulator(
        &self,
        viewer: Viewer,
        session_id: &str,
    ) -> Result<Option<UserSessionId>, StoreError> {
        self.ask(async {
            let mut transaction = self.begin_as(viewer).await?;
            let session = sqlx::query_scalar("SELECT id FROM user_sessions WHERE session_id = $1")
                .bind(session_id)
                .fetch_optional(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(session)
        })
        .await
    }

    /// Makes a simulator for this server to launch.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn make_simulator(&self, new: &NewSimulator) -> Result<Made, StoreError> {
        self.ask(async {
            let verdict: Result<MakeVerdict, sqlx::Error> =
                sqlx::query_scalar("SELECT lastseen.make_simulator($1, $2, $3, $4, $5, $6, $7)")
                    .bind(new.id)
                    .bind(new.user_session)
                    .bind(Json(&new.symbols))
                    .bind(new.cash)
                    .bind(&self.node)
                    .bind(new.launcher)
                    .bind(new.capacity)
                    .fetch_one(&self.requests)
                    .await;
            match verdict {
                Ok(MakeVerdict::Made) => Ok(Made::Made),
                Ok(MakeVerdict::SessionEnded) => Ok(Made::SessionEnded),
                Ok(MakeVerdict::AtCapacity) => Ok(Made::AtCapacity),
                Err(sqlx::Error::Database(refusal)) if refusal.constraint() == Some(ONE_LIVE) => Ok(Made::Exists),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// One simulator, where `viewer` may see it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn simulator(&self, viewer: Viewer, id: SimulatorId) -> Result<Option<Simulator>, StoreError> {
        self.ask(async {
            let mut transaction = self.begin_as(viewer).await?;
            let simulator = sqlx::query_as(concat!(
                "SELECT ",
                columns!(),
                " FROM simulators s JOIN user_sessions u ON u.id = s.user_session_id WHERE s.id = $1"
            ))
            .bind(id)
            .fetch_optional(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok(simulator)
        })
        .await
    }

    /// A page of the simulators that `viewer` may see, the newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn simulators(
        &self,
        viewer: Viewer,
        filter: SimulatorFilter,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<Simulator>, StoreError> {
        let after = after.unwrap_or(Cursor::START);
        self.ask(async {
            let mut transaction = self.begin_as(viewer).await?;
            let page = sqlx::query_as(concat!(
                "SELECT ",
                columns!(),
                " FROM simulators s JOIN user_sessions u ON u.id = s.user_session_id
                 WHERE (s.created_at, s.id) < ($1, $2)
                   AND ($4::uuid IS NULL OR s.user_id = $4)
                   AND ($5::text IS NULL OR s.status = $5)
                 ORDER BY s.created_at DESC, s.id DESC LIMIT $3"
            ))
            .bind(after.at)
            .bind(after.id)
            .bind(limit)
            .bind(filter.user_id.or(viewer.user()))
            .bind(filter.status)
            .fetch_all(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok(page)
        })
        .await
    }

    /// The newest simulator of a user session, which is the live one where there is one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn newest_simulator(&self, viewer: Viewer, session_id: &str) -> Result<Option<Simulator>, StoreError> {
        self.ask(async {
            let mut transaction = self.begin_as(viewer).await?;
            let simulator = sqlx::query_as(concat!(
                "SELECT ",
                columns!(),
                " FROM simulators s JOIN user_sessions u ON u.id = s.user_session_id
                 WHERE u.session_id = $1 ORDER BY s.created_at DESC, s.id DESC LIMIT 1"
            ))
            .bind(session_id)
            .fetch_optional(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok(simulator)
        })
        .await
    }

    /// Notes that a simulator was used; false where it is over or unknown.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn use_simulator(&self, id: SimulatorId) -> Result<bool, StoreError> {
        self.ask(async {
            let used = sqlx::query(
                "UPDATE simulators SET last_active = now()
                 WHERE id = $1 AND status IN ('CREATING', 'STARTING', 'RUNNING')",
            )
            .bind(id)
            .execute(&self.requests)
            .await?;
            Ok(used.rows_affected() > 0)
        })
        .await
    }

    /// Marks a simulator for its server to stop; whether it was not marked before, nor over.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn stop_simulator(&self, id: SimulatorId) -> Result<bool, StoreError> {
        self.ask(async {
            let marked = sqlx::query(MARK).bind(id).execute(&self.requests).await?;
            Ok(marked.rows_affected() > 0)
        })
        .await
    }

    /// The simulators of this server that are not over.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn held_simulators(&self) -> Result<Vec<Held>, StoreError> {
        self.batch(
            sqlx::query_as(
                "SELECT id, user_session_id, lastseen.subject_of(user_id) AS user_id, status, initial_symbols, initial_cash,
                        launcher, handle FROM simulators WHERE node = $1 AND status NOT IN ('STOPPED', 'ERROR') ORDER BY created_at",
            )
            .bind(&self.node)
            .fetch_all(&self.batches),
        )
        .await
    }

    /// Brings a simulator from one state to the next; whether it was in the state that the move begins in.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn move_simulator(&self, id: SimulatorId, to: &Move) -> Result<bool, StoreError> {
        let statement = match to {
            Move::Launched { handle } => sqlx::query(
                "UPDATE simulators SET status = 'STARTING', handle = $2, moved_at = now()
                 WHERE id = $1 AND status = 'CREATING'",
            )
            .bind(id)
            .bind(handle),
            Move::Ready { endpoint } => sqlx::query(
                "UPDATE simulators SET status = 'RUNNING', endpoint = $2, moved_at = now()
                 WHERE id = $1 AND status = 'STARTING'",
            )
            .bind(id)
            .bind(endpoint),
            Move::Failed { from, error } => sqlx::query(
                "UPDATE simulators SET status = 'ERROR', error = $3, stopped_at = now(), moved_at = now()
                 WHERE id = $1 AND status = $2",
            )
            .bind(id)
            .bind(*from)
            .bind(error),
            Move::Marked => sqlx::query(MARK).bind(id),
            Move::Stopped => sqlx::query(
                "UPDATE simulators SET status = 'STOPPED', stopped_at = now(), moved_at = now()
                 WHERE id = $1 AND status = 'STOPPING'",
            )
            .bind(id),
        };
        self.batch(async { Ok(statement.execute(&self.batches).await?.rows_affected() > 0) }).await
    }

    /// Marks all simulators of this server to be stopped, and returns how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn stop_own_simulators(&self) -> Result<i64, StoreError> {
        self.by_chunks("SELECT lastseen.stop_simulators_of_node($1, $2)").await
    }

    /// Marks the simulators to be stopped whose user sessions are over, and returns how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn stop_simulators_of_ended_sessions(&self) -> Result<i64, StoreError> {
        self.batch(
            sqlx::query_scalar("SELECT count(*) FROM stop_simulators_of_ended_sessions()").fetch_one(&self.batches),
        )
        .await
    }

    /// Marks the simulators to be stopped that were not used for this long, and returns how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn stop_inactive_simulators(&self, idle: Duration) -> Result<i64, StoreError> {
        self.batch(
            sqlx::query_scalar("SELECT count(*) FROM stop_inactive_simulators(make_interval(secs => $1))")
                .bind(idle.as_secs_f64())
                .fetch_one(&self.batches),
        )
        .await
    }
}
