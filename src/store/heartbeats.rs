//! The flush of user sessions: what their connections received since the last flush is written, one statement for
//! up to 10,000 sessions.

use std::collections::HashSet;
use std::time::Duration;

use super::presence::Locks;
use super::{Store, StoreError};
use crate::clock::Moment;
use crate::domain::ids::{UserId, UserSessionId};
use crate::domain::user_session::{ClientSession, Rules};
use crate::user_session::Row;

/// What came of a statement.
#[derive(Clone, Debug, Default)]
pub struct WrittenSessions {
    /// The sessions that are over, or not there, or another user's: they have to leave memory.
    pub over: Vec<(ClientSession, UserId)>,
    /// The sessions that another transaction has locked, to be written later.
    pub locked: HashSet<(ClientSession, UserId)>,
}

/// Opens the sessions that have no row yet. What became of them shows in what `write` returns afterwards.
macro_rules! open {
    (free: $free:literal, where: $where:literal) => {
        concat!(
            "
with beats as materialized (
  select b.*
  from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::bigint[])
    as b (id, session_id, user_id, platform, user_agent, network, age)
)", $free, ", free_beats as materialized (
  select b.* from beats as b", $where, "
)
select count(*)
from free_beats as b
cross join lateral lastseen.open_user_session(
  b.id, b.user_id, b.session_id, b.platform, null, null, null, b.user_agent, b.network::inet,
  $8, b.age * interval '1 millisecond', make_interval(secs => $9)) as opened"
        )
    };
    (wait) => {
        open!(free: "", where: "")
    };
    (skip) => {
        open!(
            free: ", there as materialized (
  select s.id, s.session_id from user_sessions as s where s.session_id = any($2)
), free as materialized (
  select s.id from user_sessions as s where s.session_id = any($2) for no key update skip locked
)",
            where: "
  where b.session_id not in (select t.session_id from there as t where t.id not in (select f.id from free as f))"
        )
    };
}

/// As in the flush of participants: ages instead of times, sorted ids, and parameters in sub-selects,
/// so that each session is looked up by its id, in the order of the ids.
///
/// The connections, and what follows from them, are `mine` where this server holds connections of the session, or no
/// server does. A late flush of a server whose connections are gone does not touch them.
macro_rules! write {
    (free: $free:literal, among: $among:literal, locked: $locked:literal) => {
        concat!(
            "
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
)", $free, ", written as (
  update user_sessions as s
  set last_heartbeat_at = greatest(s.last_heartbeat_at, b.heard_at),
      last_activity_at = greatest(s.last_activity_at, b.active_at),
      last_ws_connection = greatest(s.last_ws_connection, b.socket_at),
      activity_count = least(s.activity_count + b.activity, 1000000000000000),
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
      )
  from beats as b
  where s.session_id = b.session_id and s.user_id = b.user_id and s.ended_at is null", $among, "
  returning s.session_id, s.user_id
)
select b.session_id, b.user_id, s.id is not null and s.ended_at is null as is_locked
from beats as b
left join user_sessions as s on s.session_id = b.session_id and s.user_id = b.user_id
where (b.session_id, b.user_id) not in (select w.session_id, w.user_id from written as w)
  and (s.id is null or s.ended_at is not null or ", $locked, ")"
        )
    };
    (wait) => {
        write!(free: "", among: "", locked: "false")
    };
    (skip) => {
        write!(
            free: ", free as materialized (
  select s.id
  from beats as b
  join user_sessions as s on s.session_id = b.session_id and s.user_id = b.user_id
  for no key update of s skip locked
)",
            among: " and s.id in (select f.id from free as f)",
            locked: "s.id not in (select f.id from free as f)"
        )
    };
}

impl Store {
    /// Writes heartbeats and activity of user sessions, and opens those first that have no row yet. Time never runs
    /// backwards.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn write_heartbeats(
        &self,
        rows: &[Row],
        rules: Rules,
        now: Moment,
        locks: Locks,
    ) -> Result<WrittenSessions, StoreError> {
        self.open_unopened(rows, rules, now, locks).await?;
        let age = |moment: Moment| millis(now.since(moment));
        let ages = |of: fn(&Row) -> Option<Moment>| rows.iter().map(|row| of(row).map(age)).collect::<Vec<_>>();
        let statement = match locks {
            Locks::Wait => write!(wait),
            Locks::Skip => write!(skip),
        };
        let unwritten: Vec<(String, UserId, bool)> = self
            .flush(
                sqlx::query_as(statement)
                    .bind(rows.iter().map(|row| row.session().as_str()).collect::<Vec<_>>())
                    .bind(rows.iter().map(Row::user).collect::<Vec<_>>())
                    .bind(ages(|row| row.seen))
                    .bind(ages(|row| row.active))
                    .bind(ages(|row| row.socket_opened))
                    .bind(rows.iter().map(|row| row.lost).collect::<Vec<_>>())
                    .bind(rows.iter().map(|row| i64::from(row.activity)).collect::<Vec<_>>())
                    .bind(rows.iter().map(|row| row.sockets.cast_signed()).collect::<Vec<_>>())
                    .bind(rows.iter().map(|row| row.streams.cast_signed()).collect::<Vec<_>>())
                    .bind(rows.iter().map(|row| row.quality).collect::<Vec<_>>())
                    .bind(&self.node)
                    .bind(rules.timeout.as_secs_f64())
                    .bind(rules.idle_after.as_secs_f64())
                    .fetch_all(&self.flushes),
            )
            .await?;
        let mut written = WrittenSessions::default();
        for (session, user, is_locked) in unwritten {
            let Ok(session) = ClientSession::new(&session) else { continue };
            match is_locked {
                true => drop(written.locked.insert((session, user))),
                false => written.over.push((session, user)),
            }
        }
        Ok(written)
    }

    async fn open_unopened(&self, rows: &[Row], rules: Rules, now: Moment, locks: Locks) -> Result<(), StoreError> {
        let unopened: Vec<_> = rows.iter().filter_map(|row| Some((row.user(), row.unopened()?))).collect();
        if unopened.is_empty() {
            return Ok(());
        }
        let devices = || unopened.iter().map(|(_, (device, _))| device);
        let statement = match locks {
            Locks::Wait => open!(wait),
            Locks::Skip => open!(skip),
        };
        self.flush(
            sqlx::query(statement)
                .bind(unopened.iter().map(|_| UserSessionId::new()).collect::<Vec<_>>())
                .bind(devices().map(|device| device.session.as_str()).collect::<Vec<_>>())
                .bind(unopened.iter().map(|(user, _)| *user).collect::<Vec<_>>())
                .bind(devices().map(|device| device.platform.as_str()).collect::<Vec<_>>())
                .bind(devices().map(|device| device.user_agent.as_deref()).collect::<Vec<_>>())
                .bind(devices().map(|device| device.network.to_string()).collect::<Vec<_>>())
                .bind(unopened.iter().map(|(_, (_, began))| millis(now.since(*began))).collect::<Vec<_>>())
                .bind(&self.node)
                .bind(rules.timeout.as_secs_f64())
                .fetch_one(&self.flushes),
        )
        .await
        .map(drop)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
