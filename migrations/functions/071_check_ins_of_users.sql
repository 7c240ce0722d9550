-- What users write to their own check-ins in SQL. (Their calls to the server come as users too.)

create or replace function lastseen.keep_check_in() returns trigger
language plpgsql set search_path = ''
as $$
declare
  -- Not that of the transaction: of check-ins that wait for each other each is an extension.
  present constant timestamptz := clock_timestamp();
  -- Where the clock was set back, what was there stays.
  latest  constant timestamptz := greatest(present, old.checked_in_at);
begin
  if new.expires_at is distinct from old.expires_at then
    if old.expires_at <= now() then
      raise check_violation using
        message = 'this check-in is over: its hour is not changed any more',
        hint = 'Make a new one.';
    end if;
    new.expires_at := lastseen.plausible('expires_at', new.expires_at, old.checked_in_at,
      greatest(old.expires_at, present + interval '1 hour'));
  end if;
  if new.name is distinct from old.name then
    if new.expires_at <= now() then
      raise check_violation using message = 'this check-in is over: its name is not changed any more';
    end if;
    new.name := lastseen.display_name(new.name);
  end if;
  if new.checked_out_at is not null or new.status = 'inactive' then
    new.status := 'inactive';
    new.checked_out_at := greatest(old.checked_in_at, least(new.expires_at,
      lastseen.plausible('checked_out_at', coalesce(new.checked_out_at, present), old.checked_in_at, latest)));
  end if;
  return new;
end
$$;
comment on function lastseen.keep_check_in is
  'Completes what a user writes to a check-in of its own, and refuses more than an hour from now. One whose hour is over can only be checked out, as of that hour; what was checked out is out of reach by the policy.';

create or replace function lastseen.keep_new_check_in() returns trigger
language plpgsql set search_path = ''
as $$
declare
  present constant timestamptz := clock_timestamp();
begin
  new.name := lastseen.display_name(new.name);
  new.checked_in_at := lastseen.plausible('checked_in_at', new.checked_in_at, present - interval '1 hour', present);
  new.expires_at := lastseen.plausible('expires_at', new.expires_at, new.checked_in_at, present + interval '1 hour');
  return new;
end
$$;
comment on function lastseen.keep_new_check_in is 'Refuses a check-in by a user that is not of now, and for an hour at most, or whose name cannot be shown.';

create or replace trigger keep_new_check_in
  before insert on public.check_ins
  for each row when (pg_has_role('authenticated', 'usage') and not pg_has_role('service_role', 'usage'))
  execute function lastseen.keep_new_check_in();
create or replace trigger keep_check_in
  before update on public.check_ins
  for each row when (pg_has_role('authenticated', 'usage') and not pg_has_role('service_role', 'usage'))
  execute function lastseen.keep_check_in();

revoke all on function lastseen.keep_check_in, lastseen.keep_new_check_in
from public, anon, authenticated, service_role, lastseen_service;
