-- The one read that bypasses the policies: the policies on participants would recurse if they read participants.

-- The function belongs to lastseen_definer and is made as that role, which needs the right to create in the
-- schema, and a migrating role that may become it. Both rights last for this file only.
do $$
begin
  if not pg_has_role(current_user, 'lastseen_definer',
                     case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end) then
    execute format('grant lastseen_definer to %I', current_user);
    perform set_config('lastseen.definer_granted', 'true', true);
  end if;
exception when insufficient_privilege then
  raise insufficient_privilege using
    message = format('%I may not make is_participant() as lastseen_definer', current_user),
    hint = format('Have a superuser run: GRANT lastseen_definer TO %I WITH ADMIN OPTION; and migrate again.', current_user);
end
$$;
grant create on schema public to lastseen_definer;
grant select (session_id, user_id, leave_reason) on public.session_participants to lastseen_definer;
set local role lastseen_definer;

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

reset role;
revoke create on schema public from lastseen_definer;
do $$
begin
  if current_setting('lastseen.definer_granted', true) = 'true' then
    execute format('revoke lastseen_definer from %I', current_user);
    perform set_config('lastseen.definer_granted', '', true);
  end if;
end
$$;
