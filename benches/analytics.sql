-- What the analytics cost on 100,000 reading sessions, 500,000 participants and 300,000 user sessions
-- of a month, each beside the form that first comes to mind. On an empty, migrated database:
--   psql -X -f benches/analytics.sql "$DATABASE_URL"
-- Everything is rolled back. Times are medians of five runs, in milliseconds.
\set ON_ERROR_STOP on
\pset footer off
begin;

-- In the order in which they come, with ids that sort like it, as the server makes them.
insert into reading_sessions (id, title, created_at, last_seen_at, last_activity_at, is_active, closed_at, close_reason)
select (lpad(to_hex((extract(epoch from opened) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 19))::uuid,
       'session ' || n, opened, opened + length, opened + length, false, opened + length, 'idle'
from generate_series(1, 100000) as n,
  lateral (select now() - interval '30 days' * (1 - n / 100000.0) as opened,
                  interval '1 minute' * (1 + 90 * random()) as length) as made;
insert into session_participants (id, session_id, user_id, name, joined_at, last_seen_at, left_at, leave_reason)
select (lpad(to_hex((extract(epoch from s.created_at) * 1000)::bigint), 12, '0') || '7' || substr(md5(s.id::text || n), 1, 19))::uuid,
       s.id, md5((random() * 20000)::int::text)::uuid, 'somebody', s.created_at, s.last_seen_at, s.last_seen_at, 'left'
from reading_sessions as s, generate_series(1, 5) as n
order by s.created_at
on conflict do nothing;
insert into user_sessions (user_id, session_id, platform, started_at, status, ended_at, end_reason, total_duration_seconds)
select md5((random() * 20000)::int::text)::uuid, 'bench-' || n, 'web', now() - interval '30 days' * (1 - n / 300000.0),
       'ended', now(), 'logout', 60
from generate_series(1, 300000) as n;
analyze reading_sessions, session_participants, user_sessions;

create function pg_temp.median_ms(query text) returns numeric language plpgsql as $$
declare
  started timestamptz;
  times   float8[] := '{}';
begin
  for run in 1..5 loop
    started := clock_timestamp();
    execute query;
    times := times || extract(epoch from clock_timestamp() - started) * 1000;
  end loop;
  return round((select percentile_cont(0.5) within group (order by t) from unnest(times) as t)::numeric, 1);
end
$$;

create temp table asked (what text, ours text, naive text);
insert into asked values
  ('session_analytics(7)', 'select * from session_analytics(7)', $$
    select count(*), avg(length), percentile_cont(0.5) within group (order by length), avg(people)
    from (select s.id, s.created_at, extract(epoch from s.last_seen_at - s.created_at) as length, count(p.id) as people
          from reading_sessions s left join session_participants p on p.session_id = s.id
          group by s.id) as all_sessions
    where created_at::date >= now()::date - 7 $$),
  ('peak_hours(7, …)', $$select * from peak_hours(7, 'Europe/Vienna')$$, $$
    select h, (select count(*) from reading_sessions
               where created_at::date >= now()::date - 7
                 and extract(hour from created_at at time zone 'Europe/Vienna') = h)
    from generate_series(0, 23) as h $$),
  ('returning_users(7, …)', $$select * from returning_users(7, 'Europe/Vienna')$$, $$
    with visits as (
      select user_id, (started_at at time zone 'Europe/Vienna')::date as day from user_sessions
      union
      select user_id, (joined_at at time zone 'Europe/Vienna')::date from session_participants where user_id is not null
    )
    select count(distinct v.user_id),
           count(distinct v.user_id) filter (where n.day = v.day + 1),
           count(distinct v.user_id) filter (where n.day <= v.day + 7)
    from visits as v left join visits as n on n.user_id = v.user_id and n.day > v.day
    where v.day >= now()::date - 7 $$);

select what, pg_temp.median_ms(ours) as ours_ms, pg_temp.median_ms(naive) as naive_ms from asked;

rollback;
