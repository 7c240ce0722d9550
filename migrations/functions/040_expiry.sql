-- When a session expires: the same answer for the server, cron and operators.

create or replace function lastseen.signs_of_life(sessions uuid[], counts lastseen.idle_counts)
returns table (session_id uuid, last_seen_at timestamptz, last_activity_at timestamptz, kept_open_at timestamptz)
language sql stable rows 10 set search_path = ''
as $$
  select life.id, life.seen, life.active, case counts when 'activity' then life.active else life.seen end
  from (
    select s.id,
           greatest(s.last_seen_at, max(p.last_seen_at)) as seen,
           greatest(s.last_activity_at, max(p.last_activity_at)) as active
    from unnest(sessions) as asked (id)
    join public.reading_sessions as s on s.id = asked.id
    left join public.session_participants as p on p.session_id = s.id
    group by s.id
  ) as life
$$;
comment on function lastseen.signs_of_life is
  'When sessions were last kept open: the newest of each session''s own stamp, which may lag, and its participants'', who are the truth.';

create or replace function public.check_session_expiry(session uuid, idle interval default '1 hour', counts text default 'seen')
returns table (expired boolean, last_seen_at timestamptz, expires_at timestamptz, minutes_until_expiry int)
language sql stable rows 1 set search_path = ''
as $$
  select ends.at <= now(),
         life.last_seen_at,
         ends.at,
         -- Rounded up, so that 0 minutes are left exactly when it has expired.
         greatest(0, ceil(extract(epoch from ends.at - now()) / 60))::int
  from lastseen.signs_of_life(array[session], counts) as life
  join public.reading_sessions as s on s.id = life.session_id
  cross join lateral (select least(s.closed_at, life.kept_open_at + idle)) as ends (at)
$$;
comment on function public.check_session_expiry is
  'When the session expires, or did; a closed one at the latest when it was closed. No row for an unknown one.';

revoke all on function
  lastseen.signs_of_life,
  public.check_session_expiry
from public, anon, authenticated, service_role, lastseen_service, lastseen_monitor;
grant execute on function
  lastseen.signs_of_life,
  public.check_session_expiry
to lastseen_service, service_role, lastseen_monitor;
