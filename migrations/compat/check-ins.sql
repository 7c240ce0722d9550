-- `lastseen migrate --compat check-ins`: the check-ins as `sessions`, for apps that ask for them by that name.
-- The name of the schema is quoted: the view is in public, also where the tables are in another schema.

create or replace view "public".sessions with (security_invoker = true) as
  select c.id, c.user_id, c.checked_in_at, c.expires_at, c.status, c.created_at
  from public.check_ins as c;
comment on view "public".sessions is
  'The check-ins, for apps that know them by this name. One runs exactly while status = ''active'' and expires_at > now().';

revoke all on "public".sessions
  from public, anon, authenticated, service_role, lastseen_service, lastseen_monitor;
grant select, insert, update on "public".sessions to authenticated, lastseen_service, service_role;
grant select on "public".sessions to lastseen_monitor;

-- The functions run as the caller, whose privileges and policies on check_ins decide.

create or replace function lastseen.insert_check_in_as_session() returns trigger
language plpgsql set search_path = ''
as $$
declare
  began  constant timestamptz := coalesce(new.checked_in_at, now());
  wanted constant text := coalesce(new.status, 'active');
begin
  insert into public.check_ins as c (id, user_id, checked_in_at, expires_at)
  values (coalesce(new.id, gen_random_uuid()), new.user_id, began, coalesce(new.expires_at, began + interval '1 hour'))
  returning c.id into new.id;
  if wanted <> 'active' then
    update "public".sessions as s set status = wanted where s.id = new.id;
  end if;
  select s.* into new from "public".sessions as s where s.id = new.id;
  return new;
end
$$;
comment on function lastseen.insert_check_in_as_session is
  'Checks in by an insert into the view sessions; created_at is always now.';

create or replace function lastseen.update_check_in_as_session() returns trigger
language plpgsql set search_path = ''
as $$
begin
  if (new.id, new.user_id, new.checked_in_at, new.created_at)
     is distinct from (old.id, old.user_id, old.checked_in_at, old.created_at) then
    raise feature_not_supported using message = 'of a check-in only expires_at and status can be changed';
  end if;
  -- Nobody knows of more than the hour: a late check-out is one at its end.
  update public.check_ins as c
  set expires_at = new.expires_at,
      status = new.status,
      checked_out_at = case when new.status = 'inactive' then
        coalesce(c.checked_out_at, greatest(c.checked_in_at, least(new.expires_at, now())))
      end
  where c.id = old.id;
  if not found then
    return null;
  end if;
  select s.* into new from "public".sessions as s where s.id = old.id;
  return new;
end
$$;
comment on function lastseen.update_check_in_as_session is
  'Extends a check-in, or checks out, by an update of the view sessions.';

create or replace trigger insert_check_in
  instead of insert on "public".sessions
  for each row execute function lastseen.insert_check_in_as_session();
create or replace trigger update_check_in
  instead of update on "public".sessions
  for each row execute function lastseen.update_check_in_as_session();

revoke all on function
  lastseen.insert_check_in_as_session,
  lastseen.update_check_in_as_session
from public, anon, authenticated, service_role, lastseen_service;
