-- What is kept of one person: all of it, to be handed over, and deleting it.

create or replace function lastseen.erase_stopped_simulator() returns trigger
language plpgsql set search_path = ''
as $$
begin
  -- The simulator goes with its user session, which was kept for it.
  delete from public.user_sessions as u where u.id = new.user_session_id;
  return null;
end
$$;
comment on function lastseen.erase_stopped_simulator is
  'Deletes a simulator that has stopped, with its user session, where its user was erased while it was live.';

create or replace trigger erase_stopped_simulator
  after update of status on public.simulators
  for each row when (new.erase_when_stopped and new.status in ('STOPPED', 'ERROR'))
  execute function lastseen.erase_stopped_simulator();

create or replace function public.erase_user(person uuid)
returns table (
  participants bigint, user_sessions bigint, check_ins bigint, sits bigint, partnership_memberships bigint,
  partnerships bigint, simulators bigint, simulators_stopping bigint, sessions_hosted bigint, invites_created bigint
)
language plpgsql rows 1 set search_path = '' set lock_timeout = '1s'
as $$
declare
  ids  uuid[];
  live uuid[];
begin
  -- Locks in the order that all writers take them in: sessions, participants, invites, each by id.
  perform from public.reading_sessions as s where s.host_user_id = person order by s.id for no key update;
  update public.reading_sessions as s set host_user_id = null, updated_at = now() where s.host_user_id = person;
  get diagnostics sessions_hosted = row_count;

  perform from public.session_participants as p where p.user_id = person order by p.id for update;
  delete from public.session_participants as p where p.user_id = person;
  get diagnostics participants = row_count;

  -- An invite is a way into the session, which stays for the others.
  perform from public.session_invites as i where i.created_by = person order by i.id for no key update;
  update public.session_invites as i set created_by = null where i.created_by = person;
  get diagnostics invites_created = row_count;

  delete from public.sits as t where t.user_id = person;
  get diagnostics sits = row_count;

  ids := array(
    select p.id from public.partnerships as p where p.user_ids @> array[person] order by p.id for no key update);
  delete from public.partnership_members as m where m.partnership_id = any (ids) and m.user_id = person;
  get diagnostics partnership_memberships = row_count;
  -- One without members is over. It stays where the sits of others name it.
  delete from public.partnerships as p
  where p.id = any (ids) and p.user_ids = '{}'
    and not exists (select from public.sits as t where t.partnership_id = p.id);
  get diagnostics partnerships = row_count;

  delete from public.check_ins as c where c.user_id = person;
  get diagnostics check_ins = row_count;

  -- User sessions before their simulators, as where they are deleted with them.
  perform from public.user_sessions as u where u.user_id = person order by u.session_id for update;
  -- A simulator that is live is known to its server by its row, also after a crash: the row goes when it has stopped.
  perform from public.simulators as m where m.user_id = person order by m.id for update;
  live := array(
    select m.user_session_id from public.simulators as m
    where m.user_id = person and m.status not in ('STOPPED', 'ERROR'));
  delete from public.simulators as m where m.user_id = person and m.status in ('STOPPED', 'ERROR');
  get diagnostics simulators = row_count;
  update public.simulators as m
  set erase_when_stopped = true, initial_symbols = '[]', initial_cash = 0,
      moved_at = case when m.status = 'STOPPING' then m.moved_at else now() end, status = 'STOPPING'
  where m.user_id = person;
  get diagnostics simulators_stopping = row_count;

  select count(*) into user_sessions from public.user_sessions as u where u.user_id = person;
  delete from public.user_sessions as u where u.user_id = person and u.id <> all (live);
  -- What is kept for a simulator says nothing of the person.
  update public.user_sessions as u
  set session_id = u.id::text, device_info = '{}', location_info = '{}', metadata = '{}', user_agent = null,
      ip_address = null, status = 'ended', end_reason = coalesce(u.end_reason, 'manual'),
      ended_at = coalesce(u.ended_at, now()),
      total_duration_seconds =
        coalesce(u.total_duration_seconds, public.calculate_session_duration(u.started_at, now())),
      frontend_connections = 0, sse_connections = 0, updated_at = now()
  where u.user_id = person;

  -- What the app calls the person, where the id was made of that.
  delete from lastseen.subjects as n where n.user_id = person;

  return next;
end
$$;
comment on function public.erase_user is
  'Deletes what is kept of one person, in all systems, and returns how many rows of each: `simulators_stopping`, with their user sessions, as soon as their servers have stopped them. `sessions_hosted` stay without a host and `invites_created` without their maker, for the others.';

create or replace function public.export_user(person uuid) returns jsonb
language sql stable set search_path = '' set timezone = 'UTC'
as $$
  select jsonb_build_object(
    'user_id', lastseen.subject_of(person),
    'exported_at', now(),
    'reading_sessions', (
      select coalesce(jsonb_agg(to_jsonb(s) - 'host_user_id' order by s.created_at, s.id), '[]')
      from public.reading_sessions as s where s.host_user_id = person),
    'participants', (
      select coalesce(jsonb_agg(
        to_jsonb(p) - array['user_id', 'node', 'state_node', 'resume_generation'] order by p.joined_at, p.id), '[]')
      from public.session_participants as p where p.user_id = person),
    'invites', (
      select coalesce(jsonb_agg(to_jsonb(i) - array['created_by', 'token_sha256'] order by i.created_at, i.id), '[]')
      from public.session_invites as i where i.created_by = person),
    'room_sits', (
      select coalesce(jsonb_agg(to_jsonb(r) - 'node' order by r.started_at, r.id), '[]')
      from public.session_participants as p
      join public.room_sits as r on r.started_by = p.id
      where p.user_id = person),
    'user_sessions', (
      select coalesce(jsonb_agg(
        to_jsonb(u) - array['user_id', 'node', 'expires_not_before'] order by u.started_at, u.id), '[]')
      from public.user_sessions as u where u.user_id = person),
    'check_ins', (
      select coalesce(jsonb_agg(to_jsonb(c) - 'user_id' order by c.checked_in_at, c.id), '[]')
      from public.check_ins as c where c.user_id = person),
    'sits', (
      select coalesce(jsonb_agg(to_jsonb(t) - 'user_id' order by t.started_at, t.id), '[]')
      from public.sits as t where t.user_id = person),
    -- Without the other members: they are not this person.
    'partnerships', (
      select coalesce(jsonb_agg(to_jsonb(p) - 'user_ids' order by p.created_at, p.id), '[]')
      from public.partnerships as p where p.user_ids @> array[person]),
    'simulators', (
      select coalesce(jsonb_agg(
        to_jsonb(m) - array['user_id', 'node', 'launcher', 'handle', 'erase_when_stopped'] order by m.created_at, m.id), '[]')
      from public.simulators as m where m.user_id = person)
  )
$$;
comment on function public.export_user is
  'What is kept of one person, in all systems: one document, with an array of rows for each. Without hashes of tokens, what servers keep for themselves, and other people.';

revoke all on function
  lastseen.erase_stopped_simulator,
  public.erase_user,
  public.export_user
from public, anon, authenticated, service_role, lastseen_service;
grant execute on function
  public.erase_user,
  public.export_user
to lastseen_service, service_role;
