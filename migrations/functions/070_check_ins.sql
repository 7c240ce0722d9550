-- The check-ins that run, what is kept of an extension, and the end of those that are kept long enough.

create or replace view public.active_check_ins with (security_invoker = true) as
  select c.id, c.user_id, c.name, c.checked_in_at, c.expires_at,
         -- Rounded up, so that 0 minutes are left exactly when it has expired.
         least(ceil(extract(epoch from c.expires_at - now()) / 60), 2147483647)::int as minutes_remaining,
         c.extended_at, c.extension_count
  from public.check_ins as c
  where c.status = 'active' and c.expires_at > now();
comment on view public.active_check_ins is 'The check-ins that run now, with the minutes that are left.';

revoke all on public.active_check_ins
  from public, anon, authenticated, service_role, lastseen_service, lastseen_monitor;
grant select on public.active_check_ins to authenticated, lastseen_service, service_role, lastseen_monitor;

create or replace function lastseen.note_extension() returns trigger
language plpgsql set search_path = ''
as $$
begin
  new.extended_at := clock_timestamp();
  new.extension_count := old.extension_count + 1;
  return new;
end
$$;
comment on function lastseen.note_extension is 'Keeps when a check-in was extended last, and how often.';

-- By its name after keep_check_in: it sees what that one has made of the times.
create or replace trigger note_extension
  before update on public.check_ins
  for each row when (new.status = 'active' and new.expires_at > old.expires_at)
  execute function lastseen.note_extension();

revoke all on function lastseen.note_extension from public, anon, authenticated, service_role, lastseen_service;

create or replace function public.cleanup_old_check_ins(older_than interval default '7 days', at_most int default null)
returns bigint
language sql set search_path = '' set lock_timeout = '1s'
as $$
  -- SKIP LOCKED: a check-in that is being extended is not old.
  with old as materialized (
    select c.id from public.check_ins as c
    where c.expires_at < now() - older_than
    order by c.expires_at
    limit at_most
    for update skip locked
  ), purged as (
    delete from public.check_ins as c using old where c.id = old.id returning c.id
  )
  select count(*) from purged
$$;
comment on function public.cleanup_old_check_ins is
  'Deletes check-ins whose hour was over longer ago than this, and returns how many; with `at_most` no more than so many, the oldest first.';

revoke all on function public.cleanup_old_check_ins from public, anon, authenticated, service_role, lastseen_service;
grant execute on function public.cleanup_old_check_ins to lastseen_service, service_role;
