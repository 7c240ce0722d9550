-- Two more rules by which sessions end, off by default. They lock and decide as cleanup_inactive_sessions()
-- does: SKIP LOCKED passes over a session that is being joined, and what may have changed before the lock is
-- decided by a later statement.

create or replace function public.close_aged_sessions(older_than interval default '24 hours', at_most int default null)
returns setof public.reading_sessions
language plpgsql rows 100 set search_path = '' set lock_timeout = '1s'
as $$
declare
  held uuid[];
begin
  -- created_at never changes: the one thing to check again is whether the session is still open, which
  -- close_sessions() does.
  select array_agg(aged.id) into held
  from (
    select s.id from public.reading_sessions as s
    where s.is_active and s.created_at <= now() - older_than
    order by s.created_at
    limit at_most
    for update skip locked
  ) as aged;

  held := lastseen.undisturbed_sessions(coalesce(held, '{}'), true);
  return query select * from lastseen.close_sessions(held, 'expired');
end
$$;
comment on function public.close_aged_sessions is
  'Closes the sessions that were opened longer ago than this, whether people are in them or not, and returns them; with `at_most` no more than so many, the oldest first. May run at once on several servers: each session is closed and returned once.';

create or replace function lastseen.alone_since(sessions uuid[])
returns table (session_id uuid, since timestamptz)
language sql stable rows 10 set search_path = ''
as $$
  -- There is at most one person since the second-last one was there. A present participant counts as
  -- there for ever; a host who never connected was never there.
  select s.id, coalesce(second_last.there_until, s.created_at)
  from unnest(sessions) as asked (id)
  join public.reading_sessions as s on s.id = asked.id
  left join lateral (
    select case when p.is_active then 'infinity' else p.left_at end as there_until
    from public.session_participants as p
    where p.session_id = s.id and (p.is_active or p.left_at is not null)
    order by there_until desc
    offset 1 limit 1
  ) as second_last on true
$$;
comment on function lastseen.alone_since is
  'Since when there was at most one person in each of the sessions: since the second-last one left, else since it was opened; infinity where two are there. People who take turns count as company.';

create or replace function public.close_lonely_sessions(alone_for interval, at_most int default null)
returns setof public.reading_sessions
language plpgsql rows 100 set search_path = '' set lock_timeout = '1s'
as $$
declare
  candidates uuid[];
  held       uuid[];
  lonely     uuid[];
begin
  -- Without locks, or each sweep would lock every session that is open.
  select array_agg(s.id) into candidates
  from public.reading_sessions as s
  where s.is_active and s.created_at <= now() - alone_for;

  select array_agg(alone.session_id) into candidates
  from (
    select alone.session_id from lastseen.alone_since(candidates) as alone
    where alone.since <= now() - alone_for
    limit at_most
  ) as alone;

  select array_agg(locked.id) into held
  from (
    select s.id from public.reading_sessions as s
    where s.id = any (candidates) and s.is_active
    for update skip locked
  ) as locked;

  -- A second statement: it sees the joins that committed before the lock.
  select array_agg(alone.session_id) into lonely
  from lastseen.alone_since(held) as alone
  where alone.since <= now() - alone_for;

  lonely := lastseen.undisturbed_sessions(coalesce(lonely, '{}'), true);
  return query select * from lastseen.close_sessions(lonely, 'idle');
end
$$;
comment on function public.close_lonely_sessions is
  'Closes the sessions in which there was at most one person for this long, and returns them; with `at_most` no more than so many. May run at once on several servers: each session is closed and returned once.';

revoke all on function
  public.close_aged_sessions,
  lastseen.alone_since,
  public.close_lonely_sessions
from public, anon, authenticated, service_role, lastseen_service;
grant execute on function
  public.close_aged_sessions,
  lastseen.alone_since,
  public.close_lonely_sessions
to lastseen_service, service_role;
