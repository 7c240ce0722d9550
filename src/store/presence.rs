//! The flush: what was seen goes to the database, one statement for up to 10,000 participants.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::FromRow;

use super::{Store, StoreError};
use crate::clock::Moment;
use crate::ids::{InviteId, ParticipantId, SessionId};
use crate::room::CloseReason;
use crate::room::ledger::Row;

/// Rows of one statement.
pub const CHUNK_ROWS: usize = 10_000;

/// A participant that the database does not take as present: it has to leave memory.
#[derive(Clone, Debug, FromRow)]
pub struct Stale {
    /// Who.
    pub id: ParticipantId,
    /// Where.
    pub session_id: SessionId,
    /// `removed`, `closed`, or `gone` where the row is not there any more.
    pub why: String,
    /// Why the session is closed, where it is.
    pub close_reason: Option<CloseReason>,
}

/// Ages instead of times: the database owns the clock, and a server whose clock is wrong cannot write
/// the future. Sessions come before participants, the order in which everything takes its locks;
/// `moved` is counted so that it is complete before the first participant is touched. The parameters
/// stand in sub-selects so that the planner does not know how many there are: it then looks each
/// participant up by its id, in the order of the (sorted) ids, instead of reading the whole table.
const WRITE: &str = "
with beats as materialized (
  select b.id, b.session_id, b.left_as, b.state::jsonb as state,
         now() - b.seen_age * interval '1 millisecond' as seen_at,
         now() - b.active_age * interval '1 millisecond' as active_at
  from unnest((select $1::uuid[]), (select $2::uuid[]), (select $3::int[]), (select $4::int[]),
              (select $5::text[]), (select $6::text[]))
    as b (id, session_id, seen_age, active_age, left_as, state)
), rooms as materialized (
  select b.session_id, b.seen_at, b.active_at, s.last_seen_at, s.last_activity_at, s.is_active is true as is_open
  from (select session_id, max(seen_at) as seen_at, max(active_at) as active_at from beats group by session_id) as b
  left join reading_sessions as s on s.id = b.session_id
), due as materialized (
  select s.id, r.seen_at, r.active_at
  from rooms as r
  join reading_sessions as s on s.id = r.session_id
  where r.is_open and s.is_active
    and (r.last_seen_at < r.seen_at - make_interval(secs => $8) or r.last_activity_at < r.active_at - make_interval(secs => $8))
  order by s.id
  for no key update of s
), moved as (
  update reading_sessions as s
  set last_seen_at = greatest(s.last_seen_at, due.seen_at),
      last_activity_at = greatest(s.last_activity_at, due.active_at),
      updated_at = now()
  from due
  where s.id = due.id and s.is_active
  returning s.id
), written as (
  update session_participants as p
  set last_seen_at = greatest(p.last_seen_at, b.seen_at),
      last_activity_at = greatest(p.last_activity_at, b.active_at),
      state = coalesce(b.state, p.state),
      is_active = b.left_as is null or (p.is_active and p.node is distinct from $7),
      left_at = case when b.left_as is null then null
                     when p.is_active and p.node = $7 then b.seen_at
                     else p.left_at end,
      leave_reason = case when b.left_as is null then null
                          when p.is_active and p.node = $7 then b.left_as
                          else p.leave_reason end
  from beats as b
  where (select count(*) from moved) >= 0
    and p.id = b.id and p.session_id = b.session_id
    and b.session_id not in (select r.session_id from rooms as r where not r.is_open)
    and (p.leave_reason is null or p.leave_reason in ('left', 'timeout'))
    and (p.last_seen_at < b.seen_at or p.last_activity_at < b.active_at or p.state <> b.state
         or case when b.left_as is null then not p.is_active else p.is_active and p.node = $7 end)
  returning p.id
)
select refused.id, refused.session_id, refused.why, refused.close_reason
from (
  select b.id, b.session_id, s.close_reason,
         case when p.id is null then 'gone'
              when p.leave_reason = 'removed' then 'removed'
              when p.leave_reason = 'closed' or s.is_active is not true then 'closed'
         end as why
  from beats as b
  left join session_participants as p on p.id = b.id and p.session_id = b.session_id
  left join reading_sessions as s on s.id = b.session_id
  where b.id not in (select w.id from written as w)
) as refused
where refused.why is not null";

impl Store {
    /// Writes when participants were seen, that some are gone, and new states. Time never runs
    /// backwards, and what did not change is not written. Returns those who are not to be present.
    ///
    /// # Errors
    /// [`StoreError`], and then nothing of it was written.
    pub async fn write_presence(&self, rows: &[Row], now: Moment) -> Result<Vec<Stale>, StoreError> {
        let age = |moment: Moment| i32::try_from(now.since(moment).as_millis()).unwrap_or(i32::MAX);
        let ids: Vec<_> = rows.iter().map(Row::participant).collect();
        let sessions: Vec<_> = rows.iter().map(Row::session).collect();
        let seen_ages: Vec<_> = rows.iter().map(|row| age(row.seen)).collect();
        let active_ages: Vec<_> = rows.iter().map(|row| age(row.active)).collect();
        let left: Vec<_> = rows.iter().map(|row| row.left.map(|reason| reason.as_str())).collect();
        let states: Vec<_> = rows.iter().map(|row| row.state.as_ref().map(|state| state.get())).collect();
        self.batch(
            sqlx::query_as(WRITE)
                .bind(ids)
                .bind(sessions)
                .bind(seen_ages)
                .bind(active_ages)
                .bind(left)
                .bind(states)
                .bind(&self.node)
                .bind(self.session_step().as_secs_f64())
                .fetch_all(&self.batches),
        )
        .await
    }

    /// How far a session's own stamps may lag behind its participants before they are moved.
    fn session_step(&self) -> Duration {
        (self.idle.timeout / 10).min(Duration::from_mins(1))
    }

    /// Adds uses of invites.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn add_invite_uses(&self, uses: &HashMap<InviteId, i32>) -> Result<(), StoreError> {
        let (ids, counts): (Vec<_>, Vec<_>) = uses.iter().map(|(id, count)| (*id, *count)).unzip();
        self.batch(async {
            sqlx::query(
                "WITH used AS MATERIALIZED (
                    SELECT i.id, u.uses FROM unnest($1::uuid[], $2::int[]) AS u (id, uses)
                    JOIN session_invites i ON i.id = u.id ORDER BY i.id FOR NO KEY UPDATE OF i)
                 UPDATE session_invites i SET uses = i.uses + used.uses FROM used WHERE i.id = used.id",
            )
            .bind(ids)
            .bind(counts)
            .execute(&self.batches)
            .await
            .map(drop)
        })
        .await
    }
}
