-- What a page of the list of user sessions costs among 300,000 of 90 days, 60,000 of which are alive, beside the form
-- that first comes to mind. On an empty, migrated database:
--   psql -X -f benches/lists.sql "$DATABASE_URL"
-- Everything is rolled back. Times are medians of nine runs, in milliseconds; a page has 50 sessions. The statement is
-- that of src/store/user_sessions/lists.rs.
\set ON_ERROR_STOP on
\pset footer off
begin;

-- In the order in which they come, with ids that sort like it, as the server makes them. On `ios-widget` there is
-- nothing, and nobody is reconnecting.
insert into user_sessions (id, user_id, session_id, platform, started_at, last_heartbeat_at, expires_at, status, ended_at,
                           end_reason, total_duration_seconds, device_info, user_agent)
select (lpad(to_hex((extract(epoch from began) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 19))::uuid,
       md5((random() * 20000)::int::text)::uuid, 'bench-' || n,
       (array['web', 'web', 'web', 'ios-external', 'ios-internal', 'macos-internal'])[1 + n % 6],
       began, now() - interval '30 seconds' * random(), now() + interval '1 hour' - interval '30 seconds' * random(),
       case when n > 240000 then case when n % 3 = 0 then 'idle' else 'active' end
            when n % 5 = 0 then 'timeout' else 'ended' end,
       case when n <= 240000 then began + interval '30 minutes' end,
       case when n <= 240000 then case when n % 5 = 0 then 'timeout' else 'logout' end end,
       case when n <= 240000 then 1800 end, '{"os": "Linux", "browser": "Firefox"}', 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0)'
from generate_series(1, 300000) as n, lateral (select now() - interval '90 days' * (1 - n / 300000.0) as began) as made;
analyze user_sessions;

create function pg_temp.median_ms(query text) returns numeric language plpgsql as $$
declare
  started timestamptz;
  times   float8[] := '{}';
begin
  for run in 1..9 loop
    started := clock_timestamp();
    execute query;
    times := times || extract(epoch from clock_timestamp() - started) * 1000;
  end loop;
  return round((select percentile_cont(0.5) within group (order by t) from unnest(times) as t)::numeric, 1);
end
$$;

-- A page behind this time; null is the first.
create function pg_temp.ours(platform text, status text, before timestamptz) returns text language sql as $$
  select format($q$
    select * from (
      select one.* from unnest(%L::text[]) as p (platform) cross join unnest(%L::text[]) as t (status)
      cross join lateral (
        select * from user_sessions as s
        where s.platform = p.platform and s.status = t.status and (s.started_at, s.id) < (%L, %L)
          and (%L or not (s.ended_at is null and s.expires_at <= now()))
        order by s.started_at desc, s.id desc limit 51) as one
      union all
      select * from user_sessions as s
      where %L and s.expires_not_before <= now() and s.ended_at is null and s.expires_at <= now()
        and s.platform = any (%1$L) and (s.started_at, s.id) < (%3$L, %4$L)
    ) as page order by page.started_at desc, page.id desc limit 51 $q$,
    case when platform is null then '{web,ios-external,ios-internal,ios-widget,macos-internal}' else array[platform] end,
    case when status is null then '{active,idle,reconnecting,ended,timeout}' else array[status] end,
    coalesce(before, '9999-12-31'), 'ffffffff-ffff-ffff-ffff-ffffffffffff', status is null, status = 'timeout')
$$;
create function pg_temp.naive(platform text, status text, before timestamptz) returns text language sql as $$
  select format($q$
    select * from user_sessions as s
    where (%1$L::text is null or case when s.ended_at is null and s.expires_at <= now() then 'timeout' else s.status end = %1$L)
      and (%2$L::text is null or s.platform = %2$L) and s.started_at < %3$L
    order by s.started_at desc, s.id desc limit 51 $q$, status, platform, coalesce(before, '9999-12-31'))
$$;

create temp table asked (place int generated always as identity, platform text, status text, before timestamptz);
insert into asked (platform, status, before)
select platform, status, before
from (values (null, 'active'), (null, 'idle'), (null, 'reconnecting'), (null, 'ended'), (null, 'timeout'), ('web', null),
             ('ios-widget', null), ('web', 'idle'), ('macos-internal', 'reconnecting')) as filter (platform, status),
     (values (null), (now() - interval '60 days')) as page (before);

select concat_ws('&', 'platform=' || platform, 'status=' || status) as filter,
       case when before is null then 'first' else 'behind 60 days' end as page,
       pg_temp.median_ms(pg_temp.ours(platform, status, before)) as ours_ms,
       pg_temp.median_ms(pg_temp.naive(platform, status, before)) as naive_ms
from asked order by place;

rollback;
