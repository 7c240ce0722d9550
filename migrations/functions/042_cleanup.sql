-- Closing the sessions that are idle, and deleting those that were closed long ago.

create or replace function public.cleanup_inactive_sessions(idle interval default '1 hour', counts text default 'seen')
returns setof public.reading_sessions
language plpgsql rows 100 set search_path = ''
as $$
declare
  chunk constant int := 5000;
  stamp constant text := case counts::lastseen.idle_counts when 'activity' then 'last_activity_at' else 'last_seen_at' end;
  -- The next page starts after this key, so that a candidate that is alive is not read again.
  after_stamp timestamptz := '-infinity';
  after_id uuid := '00000000-0000-0000-0000-000000000000';
  held uuid[];
  idle_ones uuid[] := '{}';
begin
  loop
    -- SKIP LOCKED: a session that is being joined is not idle, and one that another server is closing
    -- is announced by that server. It never waits, so these locks need no order.
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

    -- A second statement: it sees the joins that committed before the lock. A session whose own stamp
    -- lags behind its participants is corrected, or each sweep would read it again.
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

  -- All chunks at once, so that participants are locked in the order of their ids.
  return query select * from lastseen.close_sessions(idle_ones, 'idle');
end
$$;
comment on function public.cleanup_inactive_sessions is
  'Closes the sessions in which no participant was seen (or, with `activity`, did anything) for `idle`, and returns them. May run at once on several servers: each session is closed and returned once.';

create or replace function public.purge_closed_sessions(older_than interval default '30 days')
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
  'Deletes sessions that were closed longer ago than this, with their participants and invites, and returns how many.';

revoke all on function
  public.cleanup_inactive_sessions,
  public.purge_closed_sessions
from public, anon, authenticated, service_role, lastseen_service;
grant execute on function
  public.cleanup_inactive_sessions,
  public.purge_closed_sessions
to lastseen_service, service_role;
