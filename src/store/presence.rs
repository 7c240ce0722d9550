//! The flush: presence is written, one statement for up to 10,000 participants.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use sqlx::FromRow;

use super::{Store, StoreError};
use crate::clock::Moment;
use crate::domain::ids::{InviteId, ParticipantId, SessionId};
use crate::domain::participant::StaleCause;
use crate::domain::reading_session::CloseReason;
use crate::room::write_behind::Row;

/// Rows of one statement.
pub const CHUNK_ROWS: usize = 10_000;

/// How a statement of the flush treats rows that another transaction has locked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Locks {
    /// Waits for a moment, and fails with [`StoreError::Locked`]: nearly always there are none.
    Wait,
    /// Leaves them out and says which. Locks the others before it writes them, which costs as much again.
    Skip,
}

/// What came of a statement.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// Participants that are not to be present.
    pub stale: Vec<Stale>,
    /// Participants that were left out, to be written later.
    pub locked: HashSet<ParticipantId>,
}

/// A participant that the database refuses to hold as present: it has to leave memory.
#[derive(Clone, Debug)]
pub struct Stale {
    /// The participant.
    pub id: ParticipantId,
    /// Where.
    pub session_id: SessionId,
    /// Why.
    pub why: StaleCause,
    /// Why the session is closed, where it is.
    pub close_reason: Option<CloseReason>,
}

/// A participant that was not written.
#[derive(Debug, FromRow)]
struct Unwritten {
    id: ParticipantId,
    session_id: SessionId,
    /// `None` where it is locked.
    why: Option<StaleCause>,
    close_reason: Option<CloseReason>,
}

/// Ages instead of times: the database owns the clock, and a server whose clock is wrong cannot write
/// the future. Sessions come before participants, the order in which everything takes its locks;
/// `moved` is counted so that it is complete before the first participant is touched. A session that is
/// locked is left to the next flush: its own stamp may lag. The parameters
/// stand in sub-selects so that the planner has no estimate of their number: it then looks each
/// participant up by its id, in the order of the (sorted) ids, instead of reading the whole table.
/// Which participants are refused, and why, is only looked up where not all were written.
macro_rules! write {
    (beats: $beats:literal, set: $set:literal, where: $where:literal, free: $free:literal, among: $among:literal,
     locked: $locked:literal) => {
        concat!(
            "
with rooms as materialized (
  select b.id, s.last_seen_at, s.last_activity_at, s.is_active is true as is_open,
         now() - b.seen_age * interval '1 millisecond' as seen_at,
         now() - b.active_age * interval '1 millisecond' as active_at
  from unnest((select $5::uuid[]), (select $6::int[]), (select $7::int[])) as b (id, seen_age, active_age)
  left join reading_sessions as s on s.id = b.id
), due as materialized (
  select s.id, r.seen_at, r.active_at
  from rooms as r
  join reading_sessions as s on s.id = r.id
  where r.is_open and s.is_active
    and (r.last_seen_at < r.seen_at - make_interval(secs => $8) or r.last_activity_at < r.active_at - make_interval(secs => $8))
  order by s.id
  for no key update of s skip locked
), moved as (
  update reading_sessions as s
  set last_seen_at = greatest(s.last_seen_at, due.seen_at),
      last_activity_at = greatest(s.last_activity_at, due.active_at)
  from due
  where s.id = due.id and s.is_active
  returning s.id
)", $free, ", written as (
  update session_participants as p
  set last_seen_at = greatest(p.last_seen_at, b.seen_at),
      last_activity_at = greatest(p.last_activity_at, b.active_at),
      ", $set, "
  from (
    select b.*,
           now() - b.seen_age * interval '1 millisecond' as seen_at,
           now() - b.active_age * interval '1 millisecond' as active_at
    from ", $beats, "
    offset 0
  ) as b
  where (select count(*) from moved) >= 0
    and p.id = b.id", $among, "
    and p.session_id not in (select r.id from rooms as r where not r.is_open)
    and (p.leave_reason is null or p.leave_reason in ('left', 'timeout'))
    and (p.last_seen_at < b.seen_at or p.last_activity_at < b.active_at or ", $where, ")
  returning p.id
)
select unwritten.id, unwritten.session_id, unwritten.why, unwritten.close_reason
from (
  select b.id, b.session_id, s.close_reason,
         case when p.id is null then 'gone'
              when p.leave_reason = 'removed' then 'removed'
              when p.leave_reason = 'closed' or s.is_active is not true then 'closed'
         end as why,
         ", $locked, " as is_locked
  from unnest((select $1::uuid[]), (select $2::uuid[])) as b (id, session_id)
  left join session_participants as p on p.id = b.id and p.session_id = b.session_id
  left join reading_sessions as s on s.id = b.session_id
  where (select count(*) from written) < (select cardinality($1))
    and b.id not in (select w.id from written as w)
) as unwritten
where unwritten.why is not null or unwritten.is_locked"
        )
    };
    (skip, beats: $beats:literal, set: $set:literal, where: $where:literal) => {
        write!(
            beats: $beats, set: $set, where: $where,
            free: ", free as materialized (
  select p.id
  from unnest((select $1::uuid[])) as b (id)
  join session_participants as p on p.id = b.id
  where (select count(*) from moved) >= 0
  order by p.id
  for no key update of p skip locked
)",
            among: " and p.id in (select f.id from free as f)",
            locked: "p.id not in (select f.id from free as f)"
        )
    };
    (wait, beats: $beats:literal, set: $set:literal, where: $where:literal) => {
        write!(beats: $beats, set: $set, where: $where, free: "", among: "", locked: "false")
    };
}

/// Participants who are present and unchanged: nearly all of them, in a statement that computes two columns.
macro_rules! write_beats {
    ($locks:ident) => {
        write!(
            $locks,
            beats: "unnest((select $1::uuid[]), (select $3::int[]), (select $4::int[])) as b (id, seen_age, active_age)",
            set: "is_active = true, left_at = null, leave_reason = null,
      node = case when p.is_active and p.last_seen_at > b.seen_at then p.node else $9 end",
            where: "not p.is_active"
        )
    };
}

/// Participants who are gone or have a new state. A leave ends the presence only where this server saw the participant
/// last (`node`): another one has a connection of the same participant otherwise. Of the states that two servers know,
/// the one that was shown last stays.
macro_rules! write_changes {
    ($locks:ident) => {
        write!(
            $locks,
            beats: "(
      select a.id, a.seen_age, a.active_age, a.left_as, a.state::jsonb as state,
             now() - a.state_age * interval '1 millisecond' as state_at
      from unnest((select $1::uuid[]), (select $3::int[]), (select $4::int[]), (select $9::text[]), (select $10::text[]),
                  (select $12::int[]))
        as a (id, seen_age, active_age, left_as, state, state_age)
    ) as b",
            set: "state = case when b.state_at >= p.state_at or p.state_node = $11 or p.state_at is null
                   then coalesce(b.state, p.state) else p.state end,
      state_node = case when b.state_at >= p.state_at or b.state_at is not null and (p.state_node = $11 or p.state_at is null)
                        then $11 else p.state_node end,
      state_at = greatest(p.state_at, b.state_at),
      is_active = b.left_as is null or (p.is_active and p.node is distinct from $11),
      left_at = case when b.left_as is null then null
                     when p.is_active and p.node = $11 then b.seen_at
                     else p.left_at end,
      leave_reason = case when b.left_as is null then null
                          when p.is_active and p.node = $11 then b.left_as
                          else p.leave_reason end,
      node = case when b.left_as is not null or (p.is_active and p.last_seen_at > b.seen_at) then p.node else $11 end",
            where: "b.state_at >= p.state_at
         or b.state_at is not null and (p.state_node = $11 or p.state_at is null)
         or case when b.left_as is null then not p.is_active else p.is_active and p.node = $11 end"
        )
    };
}

/// The sessions of some rows, in the order of their ids, each with the youngest of its people's ages.
#[derive(Default)]
struct Rooms {
    ids: Vec<SessionId>,
    seen_ages: Vec<i32>,
    active_ages: Vec<i32>,
}

impl Rooms {
    fn of(sessions: &[SessionId], seen_ages: &[i32], active_ages: &[i32]) -> Self {
        let mut youngest = BTreeMap::new();
        for ((session, seen), active) in sessions.iter().zip(seen_ages).zip(active_ages) {
            let ages = youngest.entry(*session).or_insert((*seen, *active));
            *ages = (ages.0.min(*seen), ages.1.min(*active));
        }
        let mut rooms = Self::default();
        for (id, (seen, active)) in youngest {
            rooms.ids.push(id);
            rooms.seen_ages.push(seen);
            rooms.active_ages.push(active);
        }
        rooms
    }
}

impl Store {
    /// Writes when participants were seen, which of them are gone, and new states. Time never runs backwards, and
    /// what did not change is not written.
    ///
    /// # Errors
    /// [`StoreError`], and then nothing of it was written.
    pub async fn write_presence(&self, rows: &[Row], now: Moment, locks: Locks) -> Result<Written, StoreError> {
        let age = |moment: Moment| i32::try_from(now.since(moment).as_millis()).unwrap_or(i32::MAX);
        let ids: Vec<_> = rows.iter().map(Row::participant).collect();
        let sessions: Vec<_> = rows.iter().map(Row::session).collect();
        let seen_ages: Vec<_> = rows.iter().map(|row| age(row.seen)).collect();
        let active_ages: Vec<_> = rows.iter().map(|row| age(row.active)).collect();
        let rooms = Rooms::of(&sessions, &seen_ages, &active_ages);
        let changes = rows.iter().any(Row::is_change);
        let statement = match (changes, locks) {
            (false, Locks::Wait) => write_beats!(wait),
            (false, Locks::Skip) => write_beats!(skip),
            (true, Locks::Wait) => write_changes!(wait),
            (true, Locks::Skip) => write_changes!(skip),
        };
        let statement = sqlx::query_as(statement)
            .bind(ids)
            .bind(sessions)
            .bind(seen_ages)
            .bind(active_ages)
            .bind(rooms.ids)
            .bind(rooms.seen_ages)
            .bind(rooms.active_ages)
            .bind(self.session_step().as_secs_f64());
        let statement = if changes {
            let left: Vec<_> = rows.iter().map(|row| row.left.map(|reason| reason.as_str())).collect();
            let states: Vec<_> = rows.iter().map(|row| row.state.as_ref().map(|(state, _)| state.get())).collect();
            let state_ages: Vec<_> = rows.iter().map(|row| row.state.as_ref().map(|(_, shown)| age(*shown))).collect();
            statement.bind(left).bind(states).bind(&self.node).bind(state_ages)
        } else {
            statement.bind(&self.node)
        };
        let unwritten: Vec<Unwritten> = self.flush(statement.fetch_all(&self.flushes)).await?;
        let mut written = Written::default();
        for Unwritten { id, session_id, why, close_reason } in unwritten {
            match why {
                Some(why) => written.stale.push(Stale { id, session_id, why, close_reason }),
                None => drop(written.locked.insert(id)),
            }
        }
        Ok(written)
    }

    /// How far a session's own stamps may lag behind its participants before they are moved.
    fn session_step(&self) -> Duration {
        (self.idle.timeout / 10).min(Duration::from_mins(1))
    }

    /// Adds uses of invites. Returns the invites that another transaction has locked and whose uses are to be added
    /// later.
    ///
    /// # Errors
    /// [`StoreError`], and then nothing of it was written.
    pub async fn add_invite_uses(&self, uses: &HashMap<InviteId, i32>) -> Result<Vec<InviteId>, StoreError> {
        let (ids, counts): (Vec<_>, Vec<_>) = uses.iter().map(|(id, count)| (*id, *count)).unzip();
        self.flush(
            sqlx::query_scalar(
                "WITH used AS MATERIALIZED (
                    SELECT i.id, u.uses FROM unnest($1::uuid[], $2::int[]) AS u (id, uses)
                    JOIN session_invites i ON i.id = u.id ORDER BY i.id FOR NO KEY UPDATE OF i SKIP LOCKED
                 ), counted AS (
                    UPDATE session_invites i SET uses = least(i.uses::bigint + used.uses, 2147483647)::int
                    FROM used WHERE i.id = used.id
                 )
                 SELECT i.id FROM session_invites i
                 WHERE i.id = ANY ($1) AND i.id NOT IN (SELECT used.id FROM used)",
            )
            .bind(ids)
            .bind(counts)
            .fetch_all(&self.flushes),
        )
        .await
    }
}
