-- Making simulators and having them stopped.

create or replace function lastseen.make_simulator(
  new_id       uuid,
  user_session uuid,
  symbols      jsonb,
  cash         double precision,
  node         text,
  launcher     text,
  capacity     int
) returns text
language plpgsql set search_path = ''
as $$
declare
  owner uuid;
begin
  -- One at a time for each server, or two calls would both find the last place free.
  perform pg_advisory_xact_lock(hashtextextended('lastseen.make_simulator ' || node, 0));

  -- The session is not locked: a simulator that is made while it ends is found by
  -- stop_simulators_of_ended_sessions().
  select u.user_id into owner from public.user_sessions as u
  where u.id = user_session and u.ended_at is null and u.expires_at > now();
  if not found then
    return 'session_ended';
  end if;

  insert into public.simulators (id, user_session_id, user_id, initial_symbols, initial_cash, node, launcher)
  values (new_id, user_session, owner, symbols, cash, node, launcher);

  -- After the insert, so that a session that has one already gets that answer, also from a full server.
  if (
    select count(*) from public.simulators as s
    where s.node = make_simulator.node and s.status not in ('STOPPED', 'ERROR')
  ) > capacity then
    delete from public.simulators as s where s.id = new_id;
    return 'at_capacity';
  end if;
  return 'made';
end
$$;
comment on function lastseen.make_simulator is
  'Makes a simulator for the server `node` to launch, and returns made, session_ended or at_capacity. A second live one of a session fails with the unique index.';

create or replace function public.stop_inactive_simulators(idle interval default '1 hour')
returns setof public.simulators
language sql rows 10 set search_path = ''
as $$
  -- SKIP LOCKED: a simulator that is being used is not inactive.
  with inactive as materialized (
    select s.id from public.simulators as s
    join public.user_sessions as u on u.id = s.user_session_id
    where s.status in ('CREATING', 'STARTING', 'RUNNING')
      and greatest(s.last_active, u.last_activity_at) <= now() - idle
    order by s.id
    for no key update of s skip locked
  )
  update public.simulators as s
  set status = 'STOPPING', moved_at = now()
  from inactive
  where s.id = inactive.id and s.status in ('CREATING', 'STARTING', 'RUNNING')
  returning s.*
$$;
comment on function public.stop_inactive_simulators is
  'Marks the simulators STOPPING that were not used, and whose user session had no activity, for `idle`, and returns them. The servers that launched them see it within seconds.';

create or replace view public.inactive_simulators with (security_invoker = true) as
select s.id,
       s.user_session_id,
       u.session_id,
       s.user_id,
       s.status,
       s.node,
       s.endpoint,
       used.last_active,
       floor(extract(epoch from now() - used.last_active) / 60)::bigint as inactive_minutes
from public.simulators as s
join public.user_sessions as u on u.id = s.user_session_id
cross join lateral (select greatest(s.last_active, u.last_activity_at)) as used (last_active)
where s.status in ('CREATING', 'STARTING', 'RUNNING') and used.last_active <= now() - interval '1 hour';
comment on view public.inactive_simulators is
  'The simulators that run and were not used, and whose user session had no activity, for an hour: those that stop_inactive_simulators() would mark.';

revoke all on public.inactive_simulators
from public, anon, authenticated, service_role, lastseen_service, lastseen_monitor;
grant select on public.inactive_simulators to lastseen_service, service_role, lastseen_monitor;

create or replace function public.stop_simulators_of_ended_sessions()
returns setof public.simulators
language sql rows 10 set search_path = ''
as $$
  with ended as materialized (
    select s.id from public.simulators as s
    join public.user_sessions as u on u.id = s.user_session_id
    where s.status in ('CREATING', 'STARTING', 'RUNNING')
      and (u.ended_at is not null or u.expires_at <= now())
    order by s.id
    for no key update of s skip locked
  )
  update public.simulators as s
  set status = 'STOPPING', moved_at = now()
  from ended
  where s.id = ended.id and s.status in ('CREATING', 'STARTING', 'RUNNING')
  returning s.*
$$;
comment on function public.stop_simulators_of_ended_sessions is
  'Marks the simulators STOPPING whose user session has ended or expired, and returns them. Servers with a launcher call it every few seconds.';

create or replace function lastseen.stop_simulators_of_node(node text, at_most int default null)
returns bigint
language sql set search_path = ''
as $$
  with held as materialized (
    select s.id from public.simulators as s
    where s.node = stop_simulators_of_node.node and s.status in ('CREATING', 'STARTING', 'RUNNING')
    order by s.id
    limit at_most
    for no key update
  ), marked as (
    update public.simulators as s
    set status = 'STOPPING', moved_at = now()
    from held
    where s.id = held.id and s.status in ('CREATING', 'STARTING', 'RUNNING')
    returning s.id
  )
  select count(*) from marked
$$;
comment on function lastseen.stop_simulators_of_node is
  'Marks all of a server''s simulators STOPPING and returns how many, with `at_most` no more than so many: they end with it, and what a crash left behind is stopped at the next start.';

revoke all on function
  lastseen.make_simulator,
  public.stop_inactive_simulators,
  public.stop_simulators_of_ended_sessions,
  lastseen.stop_simulators_of_node
from public, anon, authenticated, service_role, lastseen_service;
grant execute on function
  lastseen.make_simulator,
  public.stop_inactive_simulators,
  public.stop_simulators_of_ended_sessions,
  lastseen.stop_simulators_of_node
to lastseen_service, service_role;
