-- Closing the sessions that are idle, and deleting those that were closed long ago.
--
-- With `at_most` a function does so much and no more: a server calls it again, in a transaction of its own, until it
-- does less. What another transaction has locked is left to the next sweep. The little that is waited for all the same
-- (a sit of the room that ends just now) has a second: whoever joins meanwhile waits as long.

create or replace function lastseen.undisturbed_sessions(sessions uuid[], only_present boolean)
returns uuid[]
language sql volatile set search_path = ''
as $$
  with people as materialized (
    select p.id, p.session_id
    from unnest((select sessions)) as asked (id)
    join public.session_participants as p on p.session_id = asked.id
    where p.is_active or not only_present
    order by p.id
    for no key update of p skip locked
  ), invites as materialized (
    select i.id, i.session_id
    from unnest((select sessions)) as asked (id)
    join public.session_invites as i on i.session_id = asked.id
    where (select count(*) from people) >= 0 and (i.revoked_at is null or not only_present)
    order by i.id
    for no key update of i skip locked
  )
  select coalesce(array_agg(asked.id), '{}')
  from unnest((select sessions)) as asked (id)
  left join (select p.session_id, count(*) as locked from people as p group by 1) as p on p.session_id = asked.id
  left join (select i.session_id, count(*) as locked from invites as i group by 1) as i on i.session_id = asked.id
  where coalesce(p.locked, 0) = (
      select count(*) from public.session_participants as every
      where every.session_id = asked.id and (every.is_active or not only_present))
    and coalesce(i.locked, 0) = (
      select count(*) from public.session_invites as every
      where every.session_id = asked.id and (every.revoked_at is null or not only_present))
$$;
comment on function lastseen.undisturbed_sessions is
  'Those of the sessions of which no other transaction holds a participant or an invite, with these rows locked; with `only_present` only people who are present and invites that are valid count. The sessions themselves must be locked before.';

create or replace function public.cleanup_inactive_sessions(
  idle interval default '1 hour', counts text default 'seen', at_most int default null
)
returns setof public.reading_sessions
language plpgsql rows 100 set search_path = '' set lock_timeout = '1s'
as $$
declare
  chunk constant int := least(5000, at_most);
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
      set last_seen_at = life.last_seen_at, last_activity_at = life.last_activity_at
      from life
      where s.id = life.session_id and life.kept_open_at > now() - idle
    )
    select idle_ones || array_agg(life.session_id) into idle_ones
    from life
    where life.kept_open_at <= now() - idle;

    exit when cardinality(held) < chunk or cardinality(idle_ones) >= at_most;
  end loop;

  -- All pages at once, so that participants are locked in the order of their ids.
  idle_ones := lastseen.undisturbed_sessions(idle_ones, true);
  return query select * from lastseen.close_sessions(idle_ones, 'idle');
end
$$;
comment on function public.cleanup_inactive_sessions is
  'Closes the sessions in which no participant was seen (or, with `activity`, did anything) for `idle`, and returns them. With `at_most` about so many, the longest idle first. May run at once on several servers: each session is closed and returned once.';

create or replace function public.purge_closed_sessions(older_than interval default '30 days', at_most int default null)
returns bigint
language sql set search_path = '' set lock_timeout = '1s'
as $$
  with old as materialized (
    select s.id from public.reading_sessions as s
    where not s.is_active and s.closed_at < now() - older_than
    order by s.closed_at
    limit at_most
    for update skip locked
  ), free as materialized (
    select lastseen.undisturbed_sessions(array_agg(old.id), false) as ids from old
  ), purged as (
    delete from public.reading_sessions as s using free where s.id = any (free.ids) returning s.id
  )
  select count(*) from purged
$$;
comment on function public.purge_closed_sessions is
  'Deletes sessions that were closed longer ago than this, with their participants and invites, and returns how many; with `at_most` no more than so many, the oldest first.';

revoke all on function
  lastseen.undisturbed_sessions,
  public.cleanup_inactive_sessions,
  public.purge_closed_sessions
from public, anon, authenticated, service_role, lastseen_service;
grant execute on function
  lastseen.undisturbed_sessions,
  public.cleanup_inactive_sessions,
  public.purge_closed_sessions
to lastseen_service, service_role;
