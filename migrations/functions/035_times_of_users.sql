-- Times that users write in SQL.
--
-- The triggers that ask (064, 071, 083) are for users: a role that has the rights of `authenticated`, and not those of
-- the service as well, as superusers have them and `postgres` on Supabase.

create or replace function lastseen.plausible(what text, said timestamptz, earliest timestamptz, latest timestamptz)
returns timestamptz
language plpgsql stable set search_path = ''
as $$
declare
  -- How wrong the clock of a device may be.
  tolerance constant interval := '5 minutes';
begin
  if said < earliest - tolerance or said > latest + tolerance then
    raise check_violation using
      message = format('%s must be from %s to %s', what, earliest, latest),
      detail = format('It is %s.', said),
      hint = 'Leave it out where it is the present: the database knows the time.';
  end if;
  return case when said is not null then greatest(earliest, least(said, latest)) end;
end
$$;
comment on function lastseen.plausible is
  'A time that a user wrote, by the clock of a device: within these bounds, to which it is brought where it misses them by at most five minutes; else an error. Null stays null.';

revoke all on function lastseen.plausible from public, anon, authenticated, service_role, lastseen_service;
grant execute on function lastseen.plausible to authenticated, lastseen_service, service_role;
