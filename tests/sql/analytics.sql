-- What operators ask about the past, against rows whose answers are known.
begin;
\ir fixture.sql

-- Length in minutes and people: 100: 10 and 2 · 101: 20 and 1, at 23:30 UTC, which is 00:30 in Vienna ·
-- 102: 60 and none (its host never came) · 103: longer ago than a week.
create function fixture.day(days int, clock time) returns timestamptz language sql stable
return ((now() at time zone 'UTC')::date - days + clock) at time zone 'UTC';

set local timezone = 'UTC';
insert into reading_sessions (id, created_at, last_seen_at) values
  (fixture.id(100), fixture.day(3, '08:15'), fixture.day(3, '08:25')),
  (fixture.id(101), fixture.day(2, '23:30'), fixture.day(2, '23:50')),
  (fixture.id(102), fixture.day(1, '08:45'), fixture.day(1, '09:45')),
  (fixture.id(103), fixture.day(9, '08:00'), fixture.day(9, '20:00'));
insert into session_participants (session_id, user_id, name, is_active, joined_at, left_at, leave_reason) values
  (fixture.id(100), fixture.id(1), 'Ann', false, fixture.day(3, '08:15'), fixture.day(3, '08:25'), 'left'),
  (fixture.id(100), null, 'Gus', true, fixture.day(3, '08:16'), null, null),
  (fixture.id(101), fixture.id(1), 'Ann', true, fixture.day(2, '23:30'), null, null),
  (fixture.id(102), fixture.id(1), null, false, fixture.day(1, '08:45'), null, null),
  (fixture.id(103), fixture.id(2), 'Bea', true, fixture.day(9, '08:00'), null, null);
-- Bea came four days ago twice, and today; Cid came once; Dan came before these days, and once in them.
insert into user_sessions (user_id, session_id, platform, started_at) values
  (fixture.id(2), 'b1', 'web', fixture.day(4, '10:00')),
  (fixture.id(2), 'b2', 'ios-external', fixture.day(4, '11:00')),
  (fixture.id(2), 'b3', 'web', now()),
  (fixture.id(3), 'c1', 'web', fixture.day(2, '12:00')),
  (fixture.id(4), 'd1', 'web', fixture.day(8, '12:00')),
  (fixture.id(4), 'd2', 'web', fixture.day(6, '12:00'));

set local role lastseen_service;

do $$
declare
  s record;
  u record;
begin
  select * into strict s from session_stats where id = fixture.id(100);
  assert s.length_seconds = 600 and s.participants = 2 and s.is_active, s::text;
  assert (select participants = 0 from session_stats where id = fixture.id(102)), 'a host that never came';

  select * into strict s from session_analytics(7);
  assert s.sessions = 3 and s.average_seconds = 1800 and s.median_seconds = 1200 and s.average_participants = 1, s::text;
  select * into strict s from session_analytics(30);
  assert s.sessions = 4 and s.median_seconds = 2400, s::text;

  assert (select count(*) = 24 and array_agg(hour order by hour) = array(select generate_series(0, 23)) from peak_hours());
  assert (select array_agg(hour || ':' || sessions order by hour) = '{8:2,23:1}' from peak_hours() where sessions > 0);
  -- One hour ahead of UTC or two, by the season.
  assert (select sum(sessions) = 3 and bool_and(hour in (0, 1, 9, 10)) from peak_hours(7, 'Europe/Vienna') where sessions > 0);
  assert fixture.fails_with('22023', $q$ select * from peak_hours(7, 'Middle/Earth') $q$);

  -- Ann came again the next day, Bea after four days, Cid and Dan not in these days.
  select * into strict u from returning_users();
  assert (u.users, u.next_day, u.within_seven_days) = (4, 1, 2), u::text;
  assert (u.next_day_rate, u.within_seven_days_rate) = (0.25, 0.5), u::text;
  -- In a longer window Dan's earlier day counts, and Bea's.
  select * into strict u from returning_users(30);
  assert (u.users, u.next_day, u.within_seven_days) = (4, 1, 3), u::text;
end
$$;

-- What there is now.
insert into check_ins (user_id, checked_in_at, expires_at, status, checked_out_at) values
  (fixture.id(1), now(), now() + interval '1 hour', 'active', null),
  (fixture.id(2), now() - interval '2 hours', now() - interval '1 hour', 'active', null),
  (fixture.id(3), now(), now() + interval '1 hour', 'inactive', now());
insert into sits (user_id, sit_length_seconds) values (fixture.id(1), 60), (fixture.id(2), 60);
update user_sessions set expires_at = now() where session_id = 'd1';
update reading_sessions set is_active = false, closed_at = now(), close_reason = 'idle' where id = fixture.id(103);

do $$
declare
  counts text[];
begin
  select array_agg(concat_ws(' ', system, platform, status, rows) order by 1) into counts
  from (select * from counts_now order by system, platform, status) as c;
  assert counts = array[
    'check_ins active 1', 'check_ins checked_out 1', 'check_ins expired 1', 'participants present 2',
    'reading_sessions idle 1', 'reading_sessions open 3', 'sits open 2', 'user_sessions ios-external active 1',
    'user_sessions web active 4', 'user_sessions web timeout 1'], counts::text;
end
$$;

reset role;
delete from reading_sessions;
do $$
declare
  s record;
begin
  select * into strict s from session_analytics();
  assert (s.sessions, s.average_seconds, s.median_seconds, s.average_participants) = (0, 0, 0, 0), s::text;
end
$$;

rollback;
