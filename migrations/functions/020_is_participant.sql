-- The two reads that the caller's policies do not bind: policies on participants that read participants would recurse, and
-- no policy could say whose subjects a user may look up without asking all other tables.

-- The functions belong to lastseen_definer, which policies show all of what they read. To hand them over, the migrating
-- role has to be a member of lastseen_definer, which needs the right to create in the schemas. Both last for this file
-- only. The migrating role makes them all the same: what a body names is looked up with the rights of its maker, and the schema
-- `auth` may be closed to lastseen_definer, as on Supabase.
do $$
declare
  -- From 16 on each membership has options, and whoever makes a role is a member with none of them.
  has_options constant boolean := current_setting('server_version_num')::int >= 160000;
  before      text;
begin
  perform set_config('lastseen.migrator', current_user, true);
  perform set_config('lastseen.membership_before', '', true);
  if not (pg_has_role('lastseen_definer', 'usage')
          and pg_has_role('lastseen_definer', case when has_options then 'set' else 'member' end)) then
    if has_options then
      select format('with inherit %s, set %s', m.inherit_option::text, m.set_option::text) into before
      from pg_catalog.pg_auth_members as m
      where (m.roleid, m.member, m.grantor) = ('lastseen_definer'::regrole, current_user::regrole, current_user::regrole);
      execute format('grant lastseen_definer to %I with inherit true, set true', current_user);
      perform set_config('lastseen.membership_before', coalesce(before, 'none'), true);
    elsif not pg_has_role('lastseen_definer', 'member') then
      execute format('grant lastseen_definer to %I', current_user);
      perform set_config('lastseen.membership_before', 'none', true);
    end if;
  end if;
exception when insufficient_privilege then
  raise insufficient_privilege using
    message = format('%I may not make is_participant() for lastseen_definer', current_user),
    hint = format('Have a role that may grant it run: GRANT lastseen_definer TO %I WITH ADMIN OPTION; and migrate again.', current_user);
end
$$;

grant create on schema public, lastseen to lastseen_definer;

do $$
begin
  -- A GRANT without the right to give only warns.
  if not has_schema_privilege('lastseen_definer', 'public', 'create') then
    raise insufficient_privilege using
      message = format('%I may not make is_participant() for lastseen_definer in the schema public', current_user),
      hint = 'Give lastseen a schema of its own with --schema NAME; or have the owner of this one run: GRANT CREATE ON SCHEMA public TO lastseen_definer; and migrate again.';
  end if;
  if not pg_has_role('lastseen_definer', 'usage') then
    -- On 15 a role that does not inherit can only act as lastseen_definer.
    if not has_schema_privilege('lastseen_definer', 'auth', 'usage') then
      raise insufficient_privilege using
        message = format('%I does not inherit, and may not make is_participant() for lastseen_definer', current_user),
        hint = format('Run: ALTER ROLE %I INHERIT; and migrate again.', current_user);
    end if;
    perform set_config('role', 'lastseen_definer', true);
  end if;
end
$$;

create or replace function public.is_participant(session uuid) returns boolean
language sql stable security definer set search_path = ''
return exists (
  select from public.session_participants as p
  where p.session_id = session
    and p.user_id = (select auth.uid())
    and p.leave_reason is distinct from 'removed'
);
comment on function public.is_participant is
  'Whether the calling user takes, or took, part in the session and was not removed. SECURITY DEFINER, since a policy on participants that reads participants would recurse.';

revoke all on function public.is_participant from public, anon, authenticated, service_role, lastseen_service;
grant execute on function public.is_participant to authenticated, service_role, lastseen_service;
alter function public.is_participant owner to lastseen_definer;

create or replace function lastseen.stored_subject(id uuid) returns text
language sql stable parallel safe security definer set search_path = ''
as $$ select s.subject from lastseen.subjects as s where s.user_id = id $$;
comment on function lastseen.stored_subject is
  'The subject that the id of a user was made from; null where there is none. SECURITY DEFINER: whoever has an id may know whose it is, and nobody may list all.';

revoke all on function lastseen.stored_subject
from public, anon, authenticated, service_role, lastseen_service, lastseen_monitor;
grant execute on function lastseen.stored_subject
to authenticated, service_role, lastseen_service, lastseen_monitor;
alter function lastseen.stored_subject owner to lastseen_definer;

do $$
declare
  before constant text := current_setting('lastseen.membership_before');
begin
  perform set_config('role', current_setting('lastseen.migrator'), true);
  case before
    when '' then null;
    when 'none' then execute format('revoke lastseen_definer from %I', current_user);
    else execute format('grant lastseen_definer to %I %s', current_user, before);
  end case;
end
$$;
revoke create on schema public, lastseen from lastseen_definer;

-- What they read. Without the policies it would take BYPASSRLS, which only a superuser could give.
grant select (session_id, user_id, leave_reason) on public.session_participants to lastseen_definer;
drop policy if exists definer_sees_all on public.session_participants;
create policy definer_sees_all on public.session_participants
  for select to lastseen_definer using (true);
grant select (user_id, subject) on lastseen.subjects to lastseen_definer;
drop policy if exists definer_finds_subjects on lastseen.subjects;
create policy definer_finds_subjects on lastseen.subjects
  for select to lastseen_definer using (true);
