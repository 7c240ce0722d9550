-- Simulators: companion instances that live and die with a user session. A server launches them and
-- is alone in bringing its own to their next state; whoever wants one stopped marks it STOPPING.

create table public.simulators (
  id              uuid             not null default gen_random_uuid() primary key,
  user_session_id uuid             not null references public.user_sessions on delete cascade,
  user_id         uuid             not null,
  status          text             not null default 'CREATING'
    check (status in ('CREATING', 'STARTING', 'RUNNING', 'STOPPING', 'STOPPED', 'ERROR')),
  endpoint        text,
  initial_symbols jsonb            not null default '[]'
    check (case when jsonb_typeof(initial_symbols) = 'array' then jsonb_array_length(initial_symbols) <= 50 else false end),
  -- PostgreSQL's NaN is greater than everything, so this keeps it out with the infinite.
  initial_cash    double precision not null default 100000.0 check (initial_cash >= 0 and initial_cash < 'infinity'),
  created_at      timestamptz      not null default now(),
  last_active     timestamptz      not null default now(),
  moved_at        timestamptz      not null default now(),
  stopped_at      timestamptz,
  error           text,
  node            text             not null,
  launcher        text             not null check (launcher in ('process', 'kubernetes')),
  handle          jsonb            check (jsonb_typeof(handle) = 'object'),
  constraint over_when_stopped check ((status in ('STOPPED', 'ERROR')) = (stopped_at is not null)),
  constraint an_error_has_a_message check ((status = 'ERROR') = (error is not null)),
  constraint running_somewhere check (status <> 'RUNNING' or endpoint is not null)
);

create unique index one_live_simulator_a_user_session on public.simulators (user_session_id)
  where status not in ('STOPPED', 'ERROR');
-- For the server that looks after them, and for counting what it holds.
create index simulators_live_by_node on public.simulators (node) where status not in ('STOPPED', 'ERROR');
-- For the newest of a session, and for the cascade.
create index simulators_of_user_session on public.simulators (user_session_id, created_at desc);

comment on table public.simulators is 'A companion instance of a user session. At most one of a session is live: neither STOPPED nor ERROR.';
comment on column public.simulators.user_id is 'The user of the session, for the policy.';
comment on column public.simulators.initial_symbols is 'Each 1 to 16 of A-Z0-9.-, which the server sees to.';
comment on column public.simulators.last_active is 'When somebody last used it. The beats of its session count as well: stop_inactive_simulators().';
comment on column public.simulators.moved_at is 'When it came to its status.';
comment on column public.simulators.node is 'The server that launches and stops it.';
comment on column public.simulators.launcher is 'How that server launches it.';
comment on column public.simulators.handle is
  'By what its launcher finds it again after a crash: process id, start and boot of a process, or name and namespace of a pod. Null until it was launched.';

alter table public.simulators enable row level security;
alter table public.simulators force row level security;
revoke all on public.simulators from public, anon, authenticated;
grant select, insert, update, delete on public.simulators to lastseen_service, service_role;
-- By column: where it runs and as what is not for users to know. They write nothing: a handle of
-- their making would be a process of somebody else's to kill.
grant select (id, user_session_id, user_id, status, endpoint, initial_symbols, initial_cash, created_at,
              last_active, stopped_at, error)
  on public.simulators to authenticated;

create policy service_does_all on public.simulators
  for all to lastseen_service, service_role using (true) with check (true);
create policy users_see_their_simulators on public.simulators
  for select to authenticated
  using (user_id = (select auth.uid()));

create function lastseen.make_simulator(
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
  -- One at a time on each server, or two would both find the last place free.
  perform pg_advisory_xact_lock(hashtextextended('lastseen.make_simulator ' || node, 0));

  -- Not locked against its end: a simulator that is made beside it is found by
  -- stop_simulators_of_ended_sessions().
  select u.user_id into owner from public.user_sessions as u
  where u.id = user_session and u.ended_at is null and u.expires_at > now();
  if not found then
    return 'session_ended';
  end if;

  insert into public.simulators (id, user_session_id, user_id, initial_symbols, initial_cash, node, launcher)
  values (new_id, user_session, owner, symbols, cash, node, launcher);

  -- Afterwards: who has one already is told so, also by a server that is full.
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
  'Makes a simulator for the server `node` to launch, and says made, session_ended or at_capacity. A second live one of a session fails with the unique index.';

create function public.stop_inactive_simulators(idle interval default '1 hour')
returns setof public.simulators
language sql rows 10 set search_path = ''
as $$
  -- SKIP LOCKED: one that is being used just now is not inactive.
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
  'Marks the simulators STOPPING that nobody used, and whose user session had no activity, for `idle`, and returns them. The servers that launched them see it within seconds.';

create function public.stop_simulators_of_ended_sessions()
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

create function lastseen.stop_simulators_of_node(node text)
returns bigint
language sql set search_path = ''
as $$
  with held as materialized (
    select s.id from public.simulators as s
    where s.node = stop_simulators_of_node.node and s.status in ('CREATING', 'STARTING', 'RUNNING')
    order by s.id
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
  'Marks all of a server''s simulators STOPPING and says how many: they end with it, and what a crash left behind is stopped at the next start.';

revoke all on function
  lastseen.make_simulator(uuid, uuid, jsonb, double precision, text, text, int),
  public.stop_inactive_simulators(interval),
  public.stop_simulators_of_ended_sessions(),
  lastseen.stop_simulators_of_node(text)
from public, anon, authenticated;
grant execute on function
  lastseen.make_simulator(uuid, uuid, jsonb, double precision, text, text, int),
  public.stop_inactive_simulators(interval),
  public.stop_simulators_of_ended_sessions(),
  lastseen.stop_simulators_of_node(text)
to lastseen_service, service_role;
