-- Sits: the weekly view, what is overdue, sits of rooms, and who sees and changes what.
begin;
\ir fixture.sql

-- 100 of a and b · 101 of b and c
insert into partnerships (id) values (fixture.id(100)), (fixture.id(101));
insert into partnership_members values
  (fixture.id(100), fixture.id(2)), (fixture.id(100), fixture.id(1)),
  (fixture.id(101), fixture.id(2)), (fixture.id(101), fixture.id(3)), (fixture.id(101), fixture.id(4));
delete from partnership_members where user_id = fixture.id(4);

-- 2026-01-05 is the Monday of 2026-W02; 2027-01-03, a Sunday, belongs to 2026-W53.
insert into sits (id, user_id, partnership_id, sit_length_seconds, started_at, completed_at, is_completed, status) values
  (fixture.id(200), fixture.id(1), fixture.id(100), 600, '2026-01-04 23:55Z', '2026-01-05 00:05Z', true, 'completed'),
  (fixture.id(201), fixture.id(1), fixture.id(100), 600, '2026-01-11 23:40Z', '2026-01-11 23:42:30Z', true, 'completed'),
  (fixture.id(202), fixture.id(2), fixture.id(100), 60, '2027-01-03 23:58Z', '2027-01-03 23:59Z', true, 'completed'),
  (fixture.id(203), fixture.id(3), fixture.id(101), 60, '2026-01-05 10:00Z', '2026-01-05 10:01Z', true, 'completed'),
  (fixture.id(204), fixture.id(1), null, 60, '2026-01-05 10:00Z', '2026-01-05 10:01Z', true, 'completed'),
  (fixture.id(205), fixture.id(1), fixture.id(100), 60, now() - interval '61 seconds' - interval '5 minutes', null, false, 'open'),
  (fixture.id(206), fixture.id(2), null, 120, now() - interval '61 seconds' - interval '5 minutes', null, false, 'open');

do $$
begin
  assert (select user_ids from partnerships where id = fixture.id(100)) = array[fixture.id(1), fixture.id(2)];
  assert (select user_ids from partnerships where id = fixture.id(101)) = array[fixture.id(2), fixture.id(3)], 'who went';
  assert (select array_agg((right(w.partnership_id::text, 3), right(w.user_id::text, 1), w.iso_week, w.week_starts_on,
                            w.sits_completed, w.seconds)::text
                           order by w.partnership_id nulls last, w.user_id, w.iso_week) from sit_weeks as w)
    = array['(100,1,2026-W02,2026-01-05,2,750)', '(100,2,2026-W53,2026-12-28,1,60)',
            '(101,3,2026-W02,2026-01-05,1,60)', '(,1,2026-W02,2026-01-05,1,60)'],
    (select string_agg(w::text, ' ') from sit_weeks as w);

  -- 00:05 of a Monday in Greenwich is Sunday still in New York, and 23:42 of a Sunday is Monday already in Vienna.
  assert (select array_agg((right(w.user_id::text, 1), w.iso_week, w.week_starts_on, w.sits_completed, w.seconds)::text
                           order by w.user_id, w.iso_week) from sit_weeks_of(fixture.id(100), 'America/New_York') as w)
    = array['(1,2026-W01,2025-12-29,1,600)', '(1,2026-W02,2026-01-05,1,150)', '(2,2026-W53,2026-12-28,1,60)'];
  assert (select array_agg((right(w.user_id::text, 1), w.iso_week, w.week_starts_on, w.sits_completed, w.seconds)::text
                           order by w.user_id, w.iso_week) from sit_weeks_of(fixture.id(100), 'Europe/Vienna') as w)
    = array['(1,2026-W02,2026-01-05,1,600)', '(1,2026-W03,2026-01-12,1,150)', '(2,2027-W01,2027-01-04,1,60)'];
  assert (select array_agg(w::text order by w::text) from sit_weeks_of(fixture.id(100)) as w)
    = (select array_agg((w.user_id, w.iso_week, w.week_starts_on, w.sits_completed, w.seconds)::text
                        order by (w.user_id, w.iso_week, w.week_starts_on, w.sits_completed, w.seconds)::text)
       from sit_weeks as w where w.partnership_id = fixture.id(100)), 'in UTC as the view';

  assert fixture.fails_with('23514', $q$ insert into sits (user_id, sit_length_seconds) values (fixture.id(1), 0) $q$);
  assert fixture.fails_with('23514', $q$ update sits set is_completed = true where id = fixture.id(205) $q$);
  assert fixture.fails_with('23514', $q$ update sits set status = 'completed', is_completed = true where id = fixture.id(205) $q$);
  assert fixture.fails_with('23514', $q$ update sits set status = 'stopped' where id = fixture.id(205) $q$);
end
$$;

create function fixture.sees() returns text language sql as $$
  select (select coalesce(string_agg(right(id::text, 3), ',' order by id), '-') from partnerships)
    || ' ' || (select coalesce(string_agg(right(user_id::text, 1), ',' order by partnership_id, user_id), '-') from partnership_members)
    || ' ' || (select coalesce(string_agg(right(id::text, 3), ',' order by id), '-') from sits)
    || ' ' || (select count(*) from sit_weeks)
$$;

do $$
declare
  touched int;
begin
  perform fixture.become('authenticated', fixture.id(1));
  assert fixture.sees() = '100 1,2 200,201,202,204,205 3', 'a: ' || fixture.sees();
  update sits set status = 'abandoned' where user_id <> fixture.id(1);
  get diagnostics touched = row_count;
  assert touched = 0, 'a partner''s is there to be read';
  insert into sits (id, user_id, partnership_id, sit_length_seconds) values (fixture.id(207), fixture.id(1), fixture.id(100), 60);
  update sits set status = 'completed', is_completed = true, completed_at = now() where id = fixture.id(207);
  assert fixture.fails_with('42501', $q$ insert into sits (user_id, sit_length_seconds) values (fixture.id(2), 60) $q$);
  assert fixture.fails_with('42501',
    $q$ insert into sits (user_id, partnership_id, sit_length_seconds) values (fixture.id(1), fixture.id(101), 60) $q$),
    'a partnership of others';
  assert fixture.fails_with('42501', $q$ update sits set user_id = fixture.id(2) $q$);
  assert fixture.fails_with('42501', $q$ update sits set partnership_id = fixture.id(101) $q$);
  assert fixture.fails_with('42501', $q$ delete from sits $q$);
  assert fixture.fails_with('42501', $q$ insert into partnerships default values $q$);
  assert fixture.fails_with('42501', $q$ insert into partnership_members values (fixture.id(101), fixture.id(1)) $q$);
  assert fixture.fails_with('42501', $q$ update partnerships set user_ids = array[fixture.id(1)] $q$);
  assert fixture.fails_with('42501', $q$ select abandon_overdue_sits() $q$);
  assert fixture.fails_with('42501', $q$ select purge_sits() $q$);
  assert fixture.fails_with('42501', $q$ select lastseen.finish_room_sit(fixture.id(1), '{}', '{}', '{}') $q$);

  perform fixture.become('authenticated', fixture.id(3));
  assert fixture.sees() = '101 2,3 203 1', 'c: ' || fixture.sees();
  perform fixture.become('authenticated', fixture.id(4));
  assert fixture.sees() = '- - - 0', 'a stranger: ' || fixture.sees();
  perform fixture.become('authenticated');
  assert fixture.sees() = '- - - 0', 'without claims: ' || fixture.sees();
  perform fixture.become('anon');
  assert fixture.fails_with('42501', $q$ select id from sits $q$);
  assert fixture.fails_with('42501', $q$ select id from partnerships $q$);
  assert fixture.fails_with('42501', $q$ select user_id from partnership_members $q$);
  assert fixture.fails_with('42501', $q$ select user_id from sit_weeks $q$);
  assert fixture.fails_with('42501', $q$ select id from room_sits $q$);

  perform fixture.become('lastseen_service');
  assert abandon_overdue_sits('7 minutes') = 0;
  assert abandon_overdue_sits() = 1 and abandon_overdue_sits() = 0;
  assert (select array_agg(status order by id) from sits where id in (fixture.id(205), fixture.id(206)))
    = array['abandoned', 'open'];
end
$$;

-- What is over for long is deleted, what is open stays, however old it is; a clock that was set back gives no negative sum.
insert into sits (id, user_id, sit_length_seconds, started_at, completed_at, is_completed, status) values
  (fixture.id(220), fixture.id(4), 600, now() - interval '40 years 1 day', now() - interval '40 years 1 second', true, 'completed'),
  (fixture.id(221), fixture.id(4), 600, now() - interval '40 years 1 day', now() - interval '39 years', true, 'completed'),
  (fixture.id(222), fixture.id(4), 600, now() - interval '40 years 601 seconds', null, false, 'abandoned'),
  (fixture.id(223), fixture.id(4), 600, now() - interval '40 years 599 seconds', null, false, 'abandoned'),
  (fixture.id(224), fixture.id(4), 600, now() - interval '41 years', null, false, 'open'),
  (fixture.id(225), fixture.id(4), 600, '2027-06-01 10:00Z', '2027-06-01 09:00Z', true, 'completed');

do $$
begin
  perform fixture.become('lastseen_service');
  assert (select seconds = 0 from sit_weeks where user_id = fixture.id(4) and iso_week = '2027-W22');
  assert purge_sits('100 years') = 0;
  assert purge_sits('40 years') = 2 and purge_sits('40 years') = 0;
  assert (select array_agg(right(id::text, 3) order by id) from sits where user_id = fixture.id(4))
    = array['221', '223', '224', '225'];
  delete from sits where user_id = fixture.id(4);
end
$$;

-- What users write beside the server: a sit is completed once, when it was, and what is over stays as it was.
-- 230 open · 231 sat to its end, abandoned · 232 given up before its end · 233 completed · 234 open for three days
insert into sits (id, user_id, partnership_id, sit_length_seconds, started_at, completed_at, is_completed, status) values
  (fixture.id(230), fixture.id(4), null, 600, now() - interval '10 minutes', null, false, 'open'),
  (fixture.id(231), fixture.id(4), null, 600, now() - interval '1 day', null, false, 'abandoned'),
  (fixture.id(232), fixture.id(4), null, 86400, now() - interval '1 minute', null, false, 'abandoned'),
  (fixture.id(233), fixture.id(4), null, 600, now() - interval '1 day', now() - interval '23 hours', true, 'completed'),
  (fixture.id(234), fixture.id(4), null, 600, now() - interval '3 days', null, false, 'open');
do $$
declare
  touched int;
  time text;
  before text[];
begin
  perform fixture.become('authenticated', fixture.id(4));
  foreach time in array array['infinity', '-infinity', '9999-12-31', '10000-01-01', '0001-01-01'] loop
    assert fixture.fails_with('23514', format(
      $q$ update sits set status = 'completed', is_completed = true, completed_at = %L where id = fixture.id(230) $q$, time)), time;
  end loop;
  assert fixture.fails_with('23514', $q$ update sits set completed_at = started_at + interval '100 days' where id = fixture.id(230) $q$);
  assert fixture.fails_with('23514', $q$ update sits set completed_at = started_at - interval '10 minutes' where id = fixture.id(230) $q$);
  assert fixture.fails_with('23514', $q$ insert into sits (user_id, sit_length_seconds) values (fixture.id(4), 86401) $q$);
  assert fixture.fails_with('42501', $q$ insert into sits (user_id, sit_length_seconds, started_at) values (fixture.id(4), 60, '2020-01-01') $q$);
  assert fixture.fails_with('42501', $q$ update sits set sit_length_seconds = 86400 $q$);

  before := array(select s::text from sits as s where id in (fixture.id(232), fixture.id(233)) order by id);
  update sits set status = 'open', is_completed = false, completed_at = null where id in (fixture.id(232), fixture.id(233));
  get diagnostics touched = row_count;
  assert touched = 0, 'what is over is not opened again';
  update sits set status = 'completed', is_completed = true, completed_at = now() where id in (fixture.id(232), fixture.id(233));
  get diagnostics touched = row_count;
  assert touched = 0, 'nor completed: one was not sat to its end, the other was completed before';
  assert before = array(select s::text from sits as s where id in (fixture.id(232), fixture.id(233)) order by id);

  -- Sat to its end, and reported late: as of its end, and once.
  assert fixture.fails_with('23514', $q$ update sits set status = 'open' where id = fixture.id(231) $q$);
  assert fixture.fails_with('23514', $q$ update sits set completed_at = started_at + interval '1 minute' where id = fixture.id(231) $q$);
  update sits set status = 'completed', is_completed = true, completed_at = now() where id in (fixture.id(231), fixture.id(234));
  assert (select count(*) = 2 from sits where id in (fixture.id(231), fixture.id(234)) and completed_at = started_at + interval '10 minutes');
  update sits set completed_at = now() where id = fixture.id(231);
  get diagnostics touched = row_count;
  assert touched = 0;

  -- In fewer words, by a clock that is a little fast.
  update sits set is_completed = true where id = fixture.id(230);
  assert (select status = 'completed' and completed_at = now() from sits where id = fixture.id(230));
  insert into sits (id, user_id, sit_length_seconds) values (fixture.id(235), fixture.id(4), 60);
  update sits set completed_at = now() + interval '1 minute' where id = fixture.id(235);
  assert (select is_completed and status = 'completed' and completed_at = now() from sits where id = fixture.id(235));
  assert (select sum(seconds) = 3 * 600 + 3600 from sit_weeks where user_id = fixture.id(4));

  perform fixture.become('lastseen_service');
  update sits set completed_at = started_at + interval '100 days' where id = fixture.id(233);
  delete from sits where user_id = fixture.id(4);
end
$$;

-- A week's seconds are the sum of its sits' seconds, each rounded.
insert into sits (id, user_id, partnership_id, sit_length_seconds, started_at, completed_at, is_completed, status)
select fixture.id(230 + n), fixture.id(4), fixture.id(101), 60, '2028-01-03 10:00Z', '2028-01-03 10:01:00.4Z', true, 'completed'
from generate_series(1, 3) as n;

do $$
begin
  assert (select array_agg(duration_seconds) from sits where user_id = fixture.id(4)) = array[60, 60, 60]::bigint[];
  assert (select seconds = 180 from sit_weeks where user_id = fixture.id(4));
  assert (select seconds = 180 from sit_weeks_of(fixture.id(101)) where user_id = fixture.id(4));
  delete from sits where user_id = fixture.id(4);
end
$$;

-- A partnership without members is kept as long as a sit names it, or it is young.
do $$
begin
  insert into partnerships (id, created_at) values
    (fixture.id(110), now() - interval '50 years'), (fixture.id(111), now() - interval '50 years'), (fixture.id(112), now());
  insert into sits (id, user_id, partnership_id, sit_length_seconds, started_at, completed_at, is_completed, status)
  values (fixture.id(240), fixture.id(4), fixture.id(110), 60, now() - interval '45 years', now() - interval '45 years', true, 'completed');
  perform fixture.become('lastseen_service');
  assert purge_sits('40 years') = 1;
  assert (select array_agg(id order by id) from partnerships where user_ids = '{}') = array[fixture.id(110), fixture.id(112)], 'named until then';
  assert purge_sits('40 years') = 0;
  assert (select array_agg(id order by id) from partnerships) = array[fixture.id(100), fixture.id(101), fixture.id(112)];
  delete from partnerships where id = fixture.id(112);
  perform set_config('role', 'none', true);
end
$$;

-- Sits of rooms: 300 a hosts, b takes part · 301 another's
insert into reading_sessions (id, host_user_id) values (fixture.id(300), fixture.id(1)), (fixture.id(301), fixture.id(3));
insert into session_participants (id, session_id, user_id, name, is_active) values
  (fixture.id(310), fixture.id(300), fixture.id(1), 'Ann', true),
  (fixture.id(311), fixture.id(300), fixture.id(2), 'Bea', true);

do $$
declare
  s room_sits;
begin
  s := lastseen.start_room_sit(fixture.id(400), fixture.id(300), fixture.id(310), 600, 'here');
  assert s.id = fixture.id(400) and s.status = 'open' and s.ends_at = now() + interval '10 minutes' and s.node = 'here';
  assert (lastseen.start_room_sit(fixture.id(401), fixture.id(300), fixture.id(310), 600, 'there')).id is null, 'one at a time';
  assert (lastseen.start_room_sit(fixture.id(402), fixture.id(999), null, 600, 'here')).id is null, 'unknown';
  assert fixture.fails_with('23514', $q$ select lastseen.start_room_sit(fixture.id(403), fixture.id(301), null, 0, 'here') $q$);

  perform fixture.become('authenticated', fixture.id(2));
  assert (select array_agg(id) from room_sits) = array[fixture.id(400)];
  assert fixture.fails_with('42501', $q$ update room_sits set status = 'completed' $q$);
  perform fixture.become('authenticated', fixture.id(3));
  assert not exists (select from room_sits), 'of a session of others';

  perform fixture.become('lastseen_service');
  update room_sits set started_at = now() - interval '10 minutes', ends_at = now() where id = fixture.id(400);
  assert lastseen.finish_room_sit(fixture.id(400), array[fixture.id(410), fixture.id(411)],
    array[fixture.id(1), fixture.id(2)], array[now() - interval '1 day', now() - interval '4 minutes']);
  assert (select status = 'completed' and ended_at = ends_at from room_sits where id = fixture.id(400));
  assert (select array_agg((right(id::text, 3), right(user_id::text, 1), status, completed_at - started_at)::text order by id)
          from sits where room_sit_id = fixture.id(400) and completed_at = now() and sit_length_seconds = 600)
    = array['(410,1,completed,00:10:00)', '(411,2,completed,00:04:00)'], 'who came later sat less';
  assert not lastseen.finish_room_sit(fixture.id(400), array[fixture.id(412)], array[fixture.id(3)], array[now()]), 'done before';
  assert (select count(*) from sits where room_sit_id = fixture.id(400)) = 2;

  -- One whose answer was lost is taken for abandoned by the next start of its server.
  s := lastseen.start_room_sit(fixture.id(404), fixture.id(300), null, 600, 'here');
  s := lastseen.start_room_sit(fixture.id(405), fixture.id(300), null, 600, 'here');
  assert s.id = fixture.id(405) and (select status from room_sits where id = fixture.id(404)) = 'abandoned';

  -- A session that is closed takes it along, and it stays abandoned.
  perform lastseen.close_session(fixture.id(300), 'host');
  assert (select status = 'abandoned' and ended_at = now() from room_sits where id = fixture.id(405));
  assert not lastseen.finish_room_sit(fixture.id(405), '{}', '{}', '{}');
  assert (lastseen.start_room_sit(fixture.id(406), fixture.id(300), null, 600, 'here')).id is null, 'closed';

  -- One whose time has come is for its server to write down, also after a sweep or a close.
  s := lastseen.start_room_sit(fixture.id(407), fixture.id(301), null, 60, 'here');
  update room_sits set started_at = now() - interval '10 minutes', ends_at = now() - interval '9 minutes' where id = fixture.id(407);
  assert abandon_overdue_sits('10 minutes') = 0 and abandon_overdue_sits() = 1;
  perform lastseen.close_session(fixture.id(301), 'host');
  assert lastseen.finish_room_sit(fixture.id(407), array[fixture.id(417)], array[fixture.id(3)], array[now() - interval '1 day']);
  assert (select status = 'completed' and ended_at = ends_at from room_sits where id = fixture.id(407));
  assert (select completed_at - started_at = interval '1 minute' from sits where id = fixture.id(417));
end
$$;

rollback;
