-- What was sat, and sits that were never completed.

create or replace view public.sit_weeks with (security_invoker = true) as
  select s.partnership_id,
         s.user_id,
         to_char(week.starts_on, 'IYYY-"W"IW') as iso_week,
         week.starts_on as week_starts_on,
         count(*) as sits_completed,
         sum(s.duration_seconds)::bigint as seconds
  from public.sits as s
  cross join lateral (select date_trunc('week', s.completed_at at time zone 'UTC')::date) as week (starts_on)
  where s.status = 'completed'
  group by s.partnership_id, s.user_id, week.starts_on;
comment on view public.sit_weeks is
  'Per partnership (null: alone, or in a room), person and ISO week (UTC, by when the sit was completed): how many sits were completed, and the seconds that were really sat.';

revoke all on public.sit_weeks
  from public, anon, authenticated, service_role, lastseen_service, lastseen_monitor;
grant select on public.sit_weeks to authenticated, lastseen_service, service_role, lastseen_monitor;

create or replace function public.sit_weeks_of(partnership uuid, time_zone text default 'UTC')
returns table (user_id uuid, iso_week text, week_starts_on date, sits_completed bigint, seconds bigint)
language sql stable rows 100 set search_path = ''
as $$
  select s.user_id, to_char(week.starts_on, 'IYYY-"W"IW'), week.starts_on, count(*), sum(s.duration_seconds)::bigint
  from public.sits as s
  cross join lateral (select date_trunc('week', s.completed_at at time zone time_zone)::date) as week (starts_on)
  where s.partnership_id = partnership and s.status = 'completed'
  group by s.user_id, week.starts_on
$$;
comment on function public.sit_weeks_of is
  'The rows of sit_weeks for one partnership, with weeks as the calendar of the time zone has them.';

create or replace function public.abandon_overdue_sits(grace interval default '5 minutes', at_most int default null)
returns bigint
language sql set search_path = '' set lock_timeout = '1s'
as $$
  -- SKIP LOCKED: a sit that is being completed is not abandoned.
  with overdue as materialized (
    select s.id from public.sits as s
    where s.status = 'open' and s.started_at < now() - grace
      and s.started_at + make_interval(secs => s.sit_length_seconds) < now() - grace
    order by s.id
    limit at_most
    for no key update skip locked
  ), abandoned as (
    update public.sits as s set status = 'abandoned' from overdue where s.id = overdue.id returning s.id
  ), overdue_rooms as materialized (
    select r.id from public.room_sits as r
    where r.status = 'open' and r.ends_at < now() - grace
    order by r.id
    limit at_most
    for no key update skip locked
  ), abandoned_rooms as (
    update public.room_sits as r set status = 'abandoned', ended_at = now()
    from overdue_rooms where r.id = overdue_rooms.id returning r.id
  )
  select (select count(*) from abandoned) + (select count(*) from abandoned_rooms)
$$;
comment on function public.abandon_overdue_sits is
  'Marks the sits as abandoned that were not completed within their length and this grace, and returns how many; also sits of rooms whose server is gone. With `at_most` no more than so many of each kind.';

create or replace function public.purge_sits(older_than interval default '365 days', at_most int default null) returns bigint
language sql set search_path = '' set lock_timeout = '1s'
as $$
  -- Partnerships without members whose last sit was deleted by a purge before. Not young ones: their members may be
  -- about to be added.
  delete from public.partnerships as p
  where p.user_ids = '{}' and p.created_at < now() - older_than
    and not exists (select from public.sits as s where s.partnership_id = p.id);

  -- No sit is over before it started, so that the index by start finds those that may be old enough.
  with old as materialized (
    select s.id from public.sits as s
    where s.status <> 'open' and s.started_at < now() - older_than
      and coalesce(s.completed_at, s.started_at + make_interval(secs => s.sit_length_seconds)) < now() - older_than
    order by s.started_at
    limit at_most
    for update skip locked
  ), purged as (
    delete from public.sits as s using old where s.id = old.id returning s.id
  )
  select count(*) from purged
$$;
comment on function public.purge_sits is
  'Deletes the sits that were over longer ago than this, and returns how many; with `at_most` no more than so many, the oldest first. Sits of rooms go with their session. Also deletes partnerships as old that have neither members nor sits.';

revoke all on function
  public.sit_weeks_of,
  public.abandon_overdue_sits,
  public.purge_sits
from public, anon, authenticated, service_role, lastseen_service, lastseen_monitor;
grant execute on function
  public.abandon_overdue_sits,
  public.purge_sits
to lastseen_service, service_role;
grant execute on function public.sit_weeks_of to authenticated, lastseen_service, service_role, lastseen_monitor;
