-- Ending user sessions, and deleting those that ended long ago.

create or replace function lastseen.time_out_user_sessions(silent_for interval default null, at_most int default null)
returns bigint
language sql set search_path = '' set lock_timeout = '1s'
as $$
  -- SKIP LOCKED: a session that is being written is not overdue. It never waits, so these locks need no
  -- order. A row that changed before it was locked is checked again; all that decides is in the row.
  with overdue as materialized (
    select s.id from public.user_sessions as s
    where s.ended_at is null
      and case when silent_for is null then s.expires_at <= now() else s.last_heartbeat_at <= now() - silent_for end
      -- For the index, which finds what may be overdue.
      and s.expires_not_before <= case when silent_for is null then now() else 'infinity' end
    limit at_most
    for no key update skip locked
  ), timed_out as (
    update public.user_sessions as s
    set status = 'timeout',
        ended_at = s.last_heartbeat_at,
        end_reason = 'timeout',
        total_duration_seconds = public.calculate_session_duration(s.started_at, s.last_heartbeat_at),
        frontend_connections = 0,
        sse_connections = 0,
        updated_at = now()
    from overdue
    where s.id = overdue.id
    returning s.id
  )
  select count(*) from timed_out
$$;
comment on function lastseen.time_out_user_sessions is
  'Ends the sessions without a heartbeat for so long, or, with null, those past their expires_at, and returns how many; with `at_most` no more than so many.';

create or replace function public.expire_user_sessions(at_most int default null) returns bigint
language sql set search_path = ''
as $$
  select lastseen.time_out_user_sessions(null, at_most)
$$;
comment on function public.expire_user_sessions is
  'Ends the user sessions whose expires_at has passed, as of their last heartbeat, and returns how many; with `at_most` no more than so many. May run at once on several servers.';

create or replace function public.end_inactive_sessions(timeout_minutes int default 60) returns bigint
language sql set search_path = ''
as $$
  select lastseen.time_out_user_sessions(make_interval(mins => coalesce(timeout_minutes, 60)))
$$;
comment on function public.end_inactive_sessions is
  'Ends the user sessions without a heartbeat for this many minutes, whatever their expires_at, and returns how many.';

create or replace function lastseen.purge_user_sessions(older_than interval, at_most int default null) returns bigint
language sql set search_path = '' set lock_timeout = '1s'
as $$
  with old as materialized (
    select s.id from public.user_sessions as s
    where s.ended_at is not null and s.ended_at < now() - older_than
    order by s.ended_at
    limit at_most
    for update skip locked
  ), purged as (
    delete from public.user_sessions as s using old where s.id = old.id returning s.id
  )
  select count(*) from purged
$$;
comment on function lastseen.purge_user_sessions is 'Deletes sessions that ended longer ago than this, and returns how many; with `at_most` no more than so many, the oldest first.';

create or replace function public.cleanup_old_sessions(days_old int default 90) returns bigint
language sql set search_path = ''
as $$
  select lastseen.purge_user_sessions(make_interval(days => coalesce(days_old, 90)))
$$;
comment on function public.cleanup_old_sessions is
  'Deletes user sessions that ended longer ago than this many days, and returns how many.';

create or replace function lastseen.settle_user_sessions(node text, at_most int default null) returns bigint
language sql set search_path = ''
as $$
  -- SKIP LOCKED: a server must start whatever somebody has locked. Such a session ends at its expires_at at the latest.
  with left_over as materialized (
    select s.id from public.user_sessions as s
    where s.ended_at is null and s.node = settle_user_sessions.node
      and s.frontend_connections + s.sse_connections > 0
    limit at_most
    for no key update skip locked
  ), settled as (
    update public.user_sessions as s
    set frontend_connections = 0, sse_connections = 0, status = 'reconnecting', updated_at = now()
    from left_over
    where s.id = left_over.id
    returning s.id
  )
  select count(*) from settled
$$;
comment on function lastseen.settle_user_sessions is
  'Marks the connections as lost that a server held when it crashed, and returns of how many sessions; with `at_most` of no more than so many.';

create or replace function lastseen.settle_silent_user_sessions(node text, silent_for interval, at_most int default null)
returns bigint
language sql set search_path = ''
as $$
  -- SKIP LOCKED: a session that is being written is not silent.
  with left_over as materialized (
    select s.id from public.user_sessions as s
    where s.ended_at is null and s.node is distinct from settle_silent_user_sessions.node
      and s.frontend_connections + s.sse_connections > 0 and s.last_heartbeat_at < now() - silent_for
    limit at_most
    for no key update skip locked
  ), settled as (
    update public.user_sessions as s
    set frontend_connections = 0, sse_connections = 0, status = 'reconnecting', updated_at = now()
    from left_over
    where s.id = left_over.id
    returning s.id
  )
  select count(*) from settled
$$;
comment on function lastseen.settle_silent_user_sessions is
  'Marks the connections as lost that another server held, where it has not seen the session for so long, and returns of how many sessions; with `at_most` of no more than so many.';

revoke all on function
  lastseen.time_out_user_sessions,
  public.expire_user_sessions,
  public.end_inactive_sessions,
  lastseen.purge_user_sessions,
  public.cleanup_old_sessions,
  lastseen.settle_user_sessions,
  lastseen.settle_silent_user_sessions
from public, anon, authenticated, service_role, lastseen_service;
grant execute on function
  lastseen.time_out_user_sessions,
  public.expire_user_sessions,
  public.end_inactive_sessions,
  lastseen.purge_user_sessions,
  public.cleanup_old_sessions,
  lastseen.settle_user_sessions,
  lastseen.settle_silent_user_sessions
to lastseen_service, service_role;
