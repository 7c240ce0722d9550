-- What operators ask about the past. Each reads the days that it is asked about and no more:
-- benches/analytics.sql shows what that saves.

create or replace view public.session_stats with (security_invoker = true) as
select s.id,
       s.is_active,
       s.close_reason,
       s.created_at,
       s.last_seen_at,
       greatest(extract(epoch from s.last_seen_at - s.created_at), 0)::bigint as length_seconds,
       -- Looked up for each session by an index, so that a query for a few days costs no more.
       people.participants
from public.reading_sessions as s
cross join lateral (
  select count(*) filter (where p.is_active or p.left_at is not null) as participants
  from public.session_participants as p
  where p.session_id = s.id
) as people;
comment on view public.session_stats is
  'Each reading session with its length, from its opening to when a participant was last seen in it (to the minute, or the second once it was swept), and how many people came.';

create or replace view public.counts_now with (security_invoker = true) as
select 'reading_sessions' as system, null as platform, coalesce(s.close_reason, 'open') as status, count(*) as rows
from public.reading_sessions as s group by 3
union all
select 'participants', null, 'present', count(*)
from public.reading_sessions as s join public.session_participants as p on p.session_id = s.id and p.is_active
where s.is_active
union all
-- Past expires_at it is over, even before the sweep has ended it.
select 'user_sessions', u.platform, case when u.ended_at is null and u.expires_at <= now() then 'timeout' else u.status end, count(*)
from public.user_sessions as u group by 2, 3
union all
select 'check_ins', null,
       case when c.status = 'inactive' then 'checked_out' when c.expires_at > now() then 'active' else 'expired' end, count(*)
from public.check_ins as c group by 3
union all
select 'sits', null, t.status, count(*) from public.sits as t group by 3
union all
select 'simulators', null, m.status, count(*) from public.simulators as m group by 3;
comment on view public.counts_now is
  'How many rows there are now, by system and status, and of user sessions by platform. What there is none of has no row.';

revoke all on public.session_stats, public.counts_now
from public, anon, authenticated, service_role, lastseen_service, lastseen_monitor;
grant select on public.session_stats, public.counts_now to lastseen_service, service_role, lastseen_monitor;

create or replace function public.session_analytics(days int default 7)
returns table (sessions bigint, average_seconds double precision, median_seconds double precision, average_participants double precision)
language sql stable rows 1 set search_path = ''
as $$
  with opened as materialized (
    select s.id, greatest(extract(epoch from s.last_seen_at - s.created_at), 0)::double precision as seconds
    from public.reading_sessions as s
    where s.created_at > now() - make_interval(days => days)
  )
  select count(*),
         coalesce(avg(opened.seconds), 0),
         coalesce(percentile_cont(0.5) within group (order by opened.seconds), 0),
         -- No participant is older than the session, so only those of these days are read.
         coalesce((
           select count(*)
           from public.session_participants as p
           join opened on opened.id = p.session_id
           where p.joined_at > now() - make_interval(days => days) and (p.is_active or p.left_at is not null)
         )::double precision / nullif(count(*), 0), 0)
  from opened
$$;
comment on function public.session_analytics is
  'Of the reading sessions that were opened in these days: how many, how long on average and in the median, and how many people came to one.';

create or replace function public.peak_hours(days int default 7, time_zone text default 'UTC')
returns table (hour int, sessions bigint)
language sql stable rows 24 set search_path = ''
as $$
  with opened as (
    select extract(hour from s.created_at at time zone time_zone)::int as hour, count(*) as sessions
    from public.reading_sessions as s
    where s.created_at > now() - make_interval(days => days)
    group by 1
  )
  select hours.hour, coalesce(opened.sessions, 0)
  from generate_series(0, 23) as hours (hour)
  left join opened using (hour)
  order by hours.hour
$$;
comment on function public.peak_hours is
  'How many reading sessions were opened in each hour of the day, as the clocks of the time zone show it; 24 rows.';

create or replace function public.returning_users(days int default 7, time_zone text default 'UTC')
returns table (users bigint, next_day bigint, within_seven_days bigint,
               next_day_rate double precision, within_seven_days_rate double precision)
-- The sort is large: with the default of 4 MB it would go to disk.
language sql stable rows 1 set search_path = '' set work_mem = '32MB'
as $$
  with visits as (
    select v.user_id, (v.at at time zone time_zone)::date as day
    from (
      select us.user_id, us.started_at as at
      from public.user_sessions as us
      where us.started_at > now() - make_interval(days => days)
      union all
      select p.user_id, p.joined_at
      from public.session_participants as p
      where p.user_id is not null and p.joined_at > now() - make_interval(days => days)
        and (p.is_active or p.left_at is not null)
    ) as v
    group by 1, 2
  ), gaps as (
    select user_id, lead(day) over (partition by user_id order by day) - day as days from visits
  ), people as (
    select user_id, min(gaps.days) as days from gaps group by user_id
  ), counts as (
    select count(*) as users,
           count(*) filter (where people.days = 1) as next_day,
           count(*) filter (where people.days <= 7) as within_seven_days
    from people
  )
  select counts.users, counts.next_day, counts.within_seven_days,
         round(counts.next_day::numeric / nullif(counts.users, 0), 4)::double precision,
         round(counts.within_seven_days::numeric / nullif(counts.users, 0), 4)::double precision
  from counts
$$;
comment on function public.returning_users is
  'Of the users who came in these days (by a user session, or into a reading session): how many, how many came again the next day, and within seven days; and these as a part of all, from 0 to 1, which is null where nobody came. Days as the calendar of the time zone has them.';

revoke all on function
  public.session_analytics,
  public.peak_hours,
  public.returning_users
from public, anon, authenticated, service_role, lastseen_service, lastseen_monitor;
grant execute on function
  public.session_analytics,
  public.peak_hours,
  public.returning_users
to lastseen_service, service_role, lastseen_monitor;
