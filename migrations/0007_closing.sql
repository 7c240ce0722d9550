-- How sessions end. The lock order of everything that writes: session rows, then participants by
-- id, then invites by id. A join holds the session row FOR SHARE, so once a session is held FOR
-- UPDATE nobody comes in; what is decided about it must be decided by a later statement, which
-- sees those who came in before.

create function lastseen.close_sessions(sessions uuid[], reason text)
returns setof public.reading_sessions
language plpgsql rows 100 set search_path = ''
as $$
begin
  -- Each time the locks in order, then the change: an UPDATE alone locks in whatever order its plan has.
  perform from public.reading_sessions as s
  where s.id = any (sessions) and s.is_active
  order by s.id
  for update;

  perform from public.session_participants as p
  where p.session_id = any (sessions) and p.is_active
  order by p.id
  for no key update;

  update public.session_participants as p
  set is_active = false, left_at = p.last_seen_at, leave_reason = 'closed'
  where p.session_id = any (sessions) and p.is_active;

  perform from public.session_invites as i
  where i.session_id = any (sessions) and i.revoked_at is null
  order by i.id
  for no key update;

  update public.session_invites as i
  set revoked_at = now()
  where i.session_id = any (sessions) and i.revoked_at is null;

  return query
    update public.reading_sessions as s
    set is_active = false, closed_at = now(), close_reason = reason, updated_at = now()
    where s.id = any (sessions) and s.is_active
    returning s.*;
end
$$;
comment on function lastseen.close_sessions is 'Closes those of the sessions that are open, and returns them.';

create function lastseen.close_session(session uuid, reason text)
returns setof public.reading_sessions
language sql rows 1 set search_path = ''
as $$
  select * from lastseen.close_sessions(array[session], reason)
$$;
comment on function lastseen.close_session is 'Closes the session and returns it; no row where it was not open.';

create function public.cleanup_inactive_sessions(idle interval default '1 hour', counts text default 'seen')
returns setof public.reading_sessions
language plpgsql rows 100 set search_path = ''
as $$
declare
  chunk constant int := 5000;
  stamp constant text := case counts::lastseen.idle_counts when 'activity' then 'last_activity_at' else 'last_seen_at' end;
  -- The page behind this key is next: a candidate that turns out to be alive is not met again.
  after_stamp timestamptz := '-infinity';
  after_id uuid := '00000000-0000-0000-0000-000000000000';
  held uuid[];
  idle_ones uuid[] := '{}';
begin
  loop
    -- SKIP LOCKED: a session in which somebody is just arriving is not idle, and one that another
    -- server is closing is its to announce. It never waits, so the order of these locks is free.
    execute format(
      $query$
        select array_agg(id), max(stamp), (array_agg(id order by stamp desc, id desc))[1]
        from (
          select id, %1$I as stamp from public.reading_sessions
          where is_active and %1$I <= now() - $1 and (%1$I, id) > ($2, $3)
          order by %1$I, id
          limit $4
          for update skip locked
        ) as candidates
      $query$, stamp)
    into held, after_stamp, after_id
    using idle, after_stamp, after_id, chunk;
    exit when held is null;

    -- The second statement: it sees who came in before the lock was ours. Sessions that only
    -- lagged behind their people are set right, or each sweep would ask about them again.
    with life as materialized (
      select * from lastseen.signs_of_life(held, counts)
    ), set_right as (
      update public.reading_sessions as s
      set last_seen_at = life.last_seen_at, last_activity_at = life.last_activity_at, updated_at = now()
      from life
      where s.id = life.session_id and life.kept_open_at > now() - idle
    )
    select idle_ones || array_agg(life.session_id) into idle_ones
    from life
    where life.kept_open_at <= now() - idle;

    exit when cardinality(held) < chunk;
  end loop;

  -- All at once, and not chunk by chunk, so that participants are locked in the order of their ids.
  return query select * from lastseen.close_sessions(idle_ones, 'idle');
end
$$;
comment on function public.cleanup_inactive_sessions is
  'Closes the sessions in which nobody was seen (or, with `activity`, did anything) for `idle`, and returns them. May run at once on several servers: each session is closed and returned once.';

create function public.purge_closed_sessions(older_than interval default '30 days')
returns bigint
language sql set search_path = ''
as $$
  with old as materialized (
    select s.id from public.reading_sessions as s
    where not s.is_active and s.closed_at < now() - older_than
    for update skip locked
  ), purged as (
    delete from public.reading_sessions as s using old where s.id = old.id returning s.id
  )
  select count(*) from purged
$$;
comment on function public.purge_closed_sessions is
  'Deletes sessions that were closed longer ago than this, with their participants and invites, and says how many.';

revoke all on function
  lastseen.close_sessions(uuid[], text),
  lastseen.close_session(uuid, text),
  public.cleanup_inactive_sessions(interval, text),
  public.purge_closed_sessions(interval)
from public, anon, authenticated;
grant execute on function
  lastseen.close_sessions(uuid[], text),
  lastseen.close_session(uuid, text),
  public.cleanup_inactive_sessions(interval, text),
  public.purge_closed_sessions(interval)
to lastseen_service, service_role;
