//! The flush of user sessions: what their connections received since the last flush is written, one statement for
//! up to 10,000 sessions.

use std::time::Duration;

use sqlx::FromRow;

use super::{Store, StoreError};
use crate::clock::Moment;
use crate::domain::ids::{UserId, UserSessionId};
use crate::domain::user_session::Rules;
use crate::user_session::Row;

/// A user session that is over, or is not there, or is another user's: it has to leave memory.
#[derive(Clone, Debug, FromRow)]
pub struct Over {
    /// Its id.
    pub session_id: String,
    /// The user that it was taken for.
    pub user_id: UserId,
}

/// Opens the sessions that have no row yet. What became of them shows in what [`WRITE`] returns afterwards.
const OPEN: &str = "
select count(*)
from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::bigint[])
  as b (id, session_id, user_id, platform, user_agent, network, age)
cross join lateral lastseen.open_user_session(
  b.id, b.user_id, b.session_id, b.platform, null, null, null, b.user_agent, b.network::inet,
  $8, b.age * interval '1 millisecond', make_interval(secs => $9)) as opened";

/// As in the flush of participants: ages instead of times, sorted ids, and parameters in sub-selects,
/// so that each session is looked up by its id, in the order of the ids.
///
/// The connections, and what follows from them, are `mine` where this server holds connections of the session, or no
/// server does. A late flush of a server whose connections are gone does not touch them.
const WRITE: &str = "
with beats as materialized (
  select b.session_id, b.user_id, b.activity, b.sockets, b.streams, b.quality,
         now() - b.heard_age * interval '1 millisecond' as heard_at,
         now() - b.active_age * interval '1 millisecond' as active_at,
         now() - b.socket_age * interval '1 millisecond' as socket_at,
         b.lost
  from unnest((select $1::text[]), (select $2::uuid[]), (select $3::bigint[]), (select $4::bigint[]),
              (select $5::bigint[]), (select $6::boolean[]), (select $7::bigint[]), (select $8::int[]),
              (select $9::int[]), (select $10::text[]))
    as b (session_id, user_id, heard_age, active_age, socket_age, lost, activity, sockets, streams, quality)
), written as (
  update user_sessions as s
  set last_heartbeat_at = greatest(s.last_heartbeat_at, b.heard_at),
      last_activity_at = greatest(s.last_activity_at, b.active_at),
      last_ws_connection = greatest(s.last_ws_connection, b.socket_at),
      activity_count = s.activity_count + b.activity,
      connection_quality = coalesce(b.quality, s.connection_quality),
      expires_at = greatest(s.last_heartbeat_at, b.heard_at) + make_interval(secs => $12),
      (node, frontend_connections, sse_connections, status) = (
        select case when mine then $11 else s.node end,
               case when mine then b.sockets else s.frontend_connections end,
               case when mine then b.streams else s.sse_connections end,
               case when not mine then s.status
                    when b.lost then 'reconnecting'
                    when greatest(s.last_activity_at, b.active_at) <= now() - make_interval(secs => $13) then 'idle'
                    else 'active' end
        from (select coalesce(s.node, $11) = $11
                or b.sockets + b.streams > 0 and s.frontend_connections + s.sse_connections = 0) as whose (mine)
      ),
      updated_at = now()
  from beats as b
  where s.session_id = b.session_id and s.user_id = b.user_id and s.ended_at is null
  returning s.session_id, s.user_id
)
select b.session_id, b.user_id
from beats as b
left join user_sessions as s on s.session_id = b.session_id and s.user_id = b.user_id
where (b.session_id, b.user_id) not in (select w.session_id, w.user_id from written as w)
  and (s.id is null or s.ended_at is not null)";

impl Store {
    /// Writes heartbeats and activity of user sessions, and opens those first that have no row yet. Time never runs
    /// backwards. Returns the sessions that are not to be written any more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn write_heartbeats(&self, rows: &[Row], rules: Rules, now: Moment) -> Result<Vec<Over>, StoreError> {
        self.open_unopened(rows, rules, now).await?;
        let age = |moment: Moment| millis(now.since(moment));
        let ages = |of: fn(&Row) -> Option<Moment>| rows.iter().map(|row| of(row).map(age)).collect::<Vec<_>>();
        self.batch(
            sqlx::query_as(WRITE)
                .bind(rows.iter().map(|row| row.session().as_str()).collect::<Vec<_>>())
                .bind(rows.iter().map(Row::user).collect::<Vec<_>>())
                .bind(ages(|row| row.seen))
                .bind(ages(|row| row.active))
                .bind(ages(|row| row.socket_opened))
                .bind(rows.iter().map(|row| row.lost).collect::<Vec<_>>())
                .bind(rows.iter().map(|row| i64::from(row.activity)).collect::<Vec<_>>())
                .bind(rows.iter().map(|row| row.sockets.cast_signed()).collect::<Vec<_>>())
                .bind(rows.iter().map(|row| row.streams.cast_signed()).collect::<Vec<_>>())
                .bind(rows.iter().map(|row| row.quality.map(|class| class.as_str().to_uppercase())).collect::<Vec<_>>())
                .bind(&self.node)
                .bind(rules.timeout.as_secs_f64())
                .bind(rules.idle_after.as_secs_f64())
                .fetch_all(&self.batches),
        )
        .await
    }

    async fn open_unopened(&self, rows: &[Row], rules: Rules, now: Moment) -> Result<(), StoreError> {
        let unopened: Vec<_> = rows.iter().filter_map(|row| Some((row.user(), row.unopened()?))).collect();
        if unopened.is_empty() {
            return Ok(());
        }
        let devices = || unopened.iter().map(|(_, (device, _))| device);
        self.batch(
            sqlx::query(OPEN)
                .bind(unopened.iter().map(|_| UserSessionId::new()).collect::<Vec<_>>())
                .bind(devices().map(|device| device.session.as_str()).collect::<Vec<_>>())
                .bind(unopened.iter().map(|(user, _)| *user).collect::<Vec<_>>())
                .bind(devices().map(|device| device.platform.as_str()).collect::<Vec<_>>())
                .bind(devices().map(|device| device.user_agent.as_deref()).collect::<Vec<_>>())
                .bind(devices().map(|device| device.network.to_string()).collect::<Vec<_>>())
                .bind(unopened.iter().map(|(_, (_, began))| millis(now.since(*began))).collect::<Vec<_>>())
                .bind(&self.node)
                .bind(rules.timeout.as_secs_f64())
                .fetch_one(&self.batches),
        )
        .await
        .map(drop)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
