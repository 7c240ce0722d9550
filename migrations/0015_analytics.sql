-- What operators ask about the past. Each looks at the days it is asked about and not at all that is
-- kept: benches/analytics.sql shows what that is worth.

-- By when people came, which no beat moves.
create index session_participants_by_join on public.session_participants (joined_at);

create view public.session_stats with (security_invoker = true) as
select s.id,
       s.is_active,
       s.close_reason,
       s.created_at,
       s.last_seen_at,
       extract(epoch from s.last_seen_at - s.created_at)::bigint as length_seconds,
       -- Asked for each session by its index, so that whoever wants a few days pays for those only.
       people.participants
from public.reading_sessions as s
cross join lateral (
  select count(*) filter (where p.is_active or p.left_at is not null) as participants
  from public.session_participants as p
  where p.session_id = s.id
) as people;
comment on view public.session_stats is
  'Each reading session with its length, from its opening to when somebody was last seen in it (to the minute, or the second once it was swept), and how many people came.';

create function public.session_analytics(days int default 7)
returns table (sessions bigint, average_seconds double precision, median_seconds double precision, average_participants double precision)
language sql stable rows 1 set search_path = ''
as $$
  with opened as materialized (
    select s.id, extract(epoch from s.last_seen_at - s.created_at)::double precision as seconds
    from public.reading_sessions as s
    where s.created_at > now() - make_interval(days => days)
  )
  select count(*),
         coalesce(avg(opened.seconds), 0),
         coalesce(percentile_cont(0.5) within group (order by opened.seconds), 0),
         -- Nobody comes before the session is there, so that only these days' people are looked at.
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

create function public.peak_hours(days int default 7, time_zone text default 'UTC')
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

create function public.returning_users(days int default 7, time_zone text default 'UTC')
returns table (users bigint, next_day bigint, within_seven_days bigint)
-- Days of many people are sorted, which the default of 4 MB would take to the disk.
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
  )
  select count(*),
         count(*) filter (where people.days = 1),
         count(*) filter (where people.days <= 7)
  from people
$$;
comment on function public.returning_users is
  'Of the users who came in these days (by a user session, or into a reading session): how many, how many came again the next day, and within seven days. Days as the calendar of the time zone has them.';

create view public.counts_now with (security_invoker = true) as
select 'reading_sessions' as system, null as platform, coalesce(s.close_reason, 'open') as status, count(*) as rows
from public.reading_sessions as s group by 3
union all
select 'participants', null, 'present', count(*)
from public.reading_sessions as s join public.session_participants as p on p.session_id = s.id and p.is_active
where s.is_active
union all
-- Past its end it is over, whether a sweep has come by or not.
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

revoke all on public.session_stats, public.counts_now from public, anon, authenticated;
grant select on public.session_stats, public.counts_now to lastseen_service, service_role;
revoke all on function
  public.session_analytics(int),
  public.peak_hours(int, text),
  public.returning_users(int, text)
from public, anon, authenticated;
grant execute on function
  public.session_analytics(int),
  public.peak_hours(int, text),
  public.returning_users(int, text)
to lastseen_service, service_role;
