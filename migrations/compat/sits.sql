-- `lastseen migrate --compat sits`: the sits as `sessions`, for apps that ask for them by that name.
-- The name of the schema is quoted: the view is in public, also where the tables are in another schema.

create or replace view "public".sessions with (security_invoker = true) as
  select s.id, s.user_id as userid, s.partnership_id as partnershipid, s.sit_length_seconds as sitlength,
         s.is_completed as iscompleted, s.started_at as createdat, s.started_at as startedat,
         s.completed_at as completedat
  from public.sits as s;
comment on view "public".sessions is
  'The sits, for apps that know them by this name: one row for each start, completed or not. sitlength is in seconds.';

revoke all on "public".sessions
  from public, anon, authenticated, service_role, lastseen_service, lastseen_monitor;
grant select, insert, update on "public".sessions to authenticated, lastseen_service, service_role;
grant select on "public".sessions to lastseen_monitor;

-- The functions run as the caller, whose privileges and policies on sits decide.

create or replace function lastseen.insert_sit_as_session() returns trigger
language plpgsql set search_path = ''
as $$
declare
  length constant interval := make_interval(secs => new.sitlength);
begin
  new.id := coalesce(new.id, gen_random_uuid());
  if has_column_privilege('public.sits', 'started_at', 'insert') then
    new.iscompleted := coalesce(new.iscompleted, false);
    new.startedat := coalesce(new.startedat, new.createdat, new.completedat - length, now());
    insert into public.sits
      (id, user_id, partnership_id, sit_length_seconds, started_at, completed_at, is_completed, status)
    values
      (new.id, new.userid, new.partnershipid, new.sitlength, new.startedat,
       case when new.iscompleted then coalesce(new.completedat, new.startedat + length) end,
       new.iscompleted, case when new.iscompleted then 'completed' else 'open' end);
  elsif new.iscompleted then
    raise insufficient_privilege using
      message = 'a sit is inserted when it begins, and completed by an update of iscompleted';
  else
    -- It begins now, whatever the clock of the device says.
    insert into public.sits (id, user_id, partnership_id, sit_length_seconds)
    values (new.id, new.userid, new.partnershipid, new.sitlength);
  end if;
  select s.* into new from "public".sessions as s where s.id = new.id;
  return new;
end
$$;
comment on function lastseen.insert_sit_as_session is
  'Starts a sit by an insert into the view sessions. Only the service may say when it began, or insert one that is completed.';

create or replace function lastseen.update_sit_as_session() returns trigger
language plpgsql set search_path = ''
as $$
begin
  if (new.id, new.userid, new.partnershipid, new.sitlength, new.createdat, new.startedat)
     is distinct from (old.id, old.userid, old.partnershipid, old.sitlength, old.createdat, old.startedat) then
    raise feature_not_supported using message = 'of a sit only iscompleted and completedat can be changed';
  end if;
  if new is not distinct from old then
    return new;
  end if;
  -- Apps complete whatever is not completed yet: what they started and left before stays abandoned, and is passed over.
  -- What is reported late was sat to its end, and no longer.
  update public.sits as s
  set status = 'completed',
      is_completed = true,
      completed_at = case
        when s.status = 'abandoned' then s.started_at + make_interval(secs => s.sit_length_seconds)
        else greatest(
          s.started_at,
          least(coalesce(new.completedat, now()), now(), s.started_at + make_interval(secs => s.sit_length_seconds)))
      end
  where s.id = old.id and new.iscompleted
    and (s.status = 'open' or s.status = 'abandoned' and not exists (
      select from public.sits as later where later.user_id = s.user_id and later.started_at > s.started_at));
  if not found then
    return null;
  end if;
  select s.* into new from "public".sessions as s where s.id = old.id;
  return new;
end
$$;
comment on function lastseen.update_sit_as_session is
  'Completes a sit by an update of the view sessions. Of those that were abandoned the newest of a user can be completed, as of its end.';

create or replace trigger insert_sit
  instead of insert on "public".sessions
  for each row execute function lastseen.insert_sit_as_session();
create or replace trigger update_sit
  instead of update on "public".sessions
  for each row execute function lastseen.update_sit_as_session();

revoke all on function
  lastseen.insert_sit_as_session,
  lastseen.update_sit_as_session
from public, anon, authenticated, service_role, lastseen_service;
