-- Who sees what. Users read the sessions that they host or take part in, and write nothing: what
-- changes goes through the server, which works as lastseen_service. Guests have no row of their
-- own to be known by, so anon sees nothing.

create function public.is_participant(session uuid) returns boolean
language sql stable security definer set search_path = ''
return exists (
  select from public.session_participants as p
  where p.session_id = session
    and p.user_id = (select auth.uid())
    and p.leave_reason is distinct from 'removed'
);

comment on function public.is_participant(uuid) is
  'Whether the asking user takes, or took, part in the session and was not removed. SECURITY DEFINER, since a policy on participants that reads participants would ask itself.';

revoke all on function public.is_participant(uuid) from public, anon;
grant execute on function public.is_participant(uuid) to authenticated, service_role, lastseen_service;
grant select (session_id, user_id, leave_reason) on public.session_participants to lastseen_definer;

-- Who is no superuser must, to give the function away, be a member of the new owner, and the new
-- owner must be able to create in the schema. Neither is to last.
do $$
declare
  as_member constant boolean := not pg_has_role(
    current_user, 'lastseen_definer',
    case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end);
begin
  if as_member then
    begin
      execute format('grant lastseen_definer to %I', current_user);
    exception when insufficient_privilege then
      raise insufficient_privilege using
        message = format('%I may not hand is_participant() to lastseen_definer', current_user),
        hint = format('Have a superuser run: GRANT lastseen_definer TO %I WITH ADMIN OPTION; and migrate again.', current_user);
    end;
  end if;
  grant create on schema public to lastseen_definer;
  alter function public.is_participant(uuid) owner to lastseen_definer;
  revoke create on schema public from lastseen_definer;
  if as_member then
    execute format('revoke lastseen_definer from %I', current_user);
  end if;
end
$$;

alter table public.reading_sessions enable row level security;
alter table public.reading_sessions force row level security;
alter table public.session_participants enable row level security;
alter table public.session_participants force row level security;
alter table public.session_invites enable row level security;
alter table public.session_invites force row level security;

-- Where default privileges give new tables away (Supabase does), they are taken back first.
revoke all on public.reading_sessions, public.session_participants, public.session_invites
  from public, anon, authenticated;

grant select, insert, update, delete
  on public.reading_sessions, public.session_participants, public.session_invites
  to lastseen_service, service_role;

grant select on public.reading_sessions to authenticated;
-- By column: not resume_generation, of which tokens are made, and no token hashes.
grant select (id, session_id, user_id, name, role, is_active, state, node, joined_at, last_seen_at,
              last_activity_at, left_at, leave_reason)
  on public.session_participants to authenticated;
grant select (id, session_id, role, max_uses, uses, expires_at, created_by, created_at, revoked_at)
  on public.session_invites to authenticated;

create policy service_does_all on public.reading_sessions
  for all to lastseen_service, service_role using (true) with check (true);
create policy service_does_all on public.session_participants
  for all to lastseen_service, service_role using (true) with check (true);
create policy service_does_all on public.session_invites
  for all to lastseen_service, service_role using (true) with check (true);

create policy people_see_their_sessions on public.reading_sessions
  for select to authenticated
  using (host_user_id = (select auth.uid()) or public.is_participant(id));

create policy people_see_each_other on public.session_participants
  for select to authenticated
  using (
    session_id in (select s.id from public.reading_sessions as s where s.host_user_id = (select auth.uid()))
    or public.is_participant(session_id)
  );

create policy people_see_the_invites on public.session_invites
  for select to authenticated
  using (
    session_id in (select s.id from public.reading_sessions as s where s.host_user_id = (select auth.uid()))
    or public.is_participant(session_id)
  );
