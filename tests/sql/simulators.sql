-- Simulators: one live one a user session, so many a server, how they are marked to stop, and who sees them.
begin;
\ir fixture.sql

-- 100 active · 101 inactive · 102 ended · 103 expired · 104 of b, active
insert into user_sessions (id, user_id, session_id, platform, last_activity_at, expires_at) values
  (fixture.id(100), fixture.id(1), 's100', 'web', now(), now() + interval '1 hour'),
  (fixture.id(101), fixture.id(1), 's101', 'web', now() - interval '2 hours', now() + interval '1 hour'),
  (fixture.id(102), fixture.id(1), 's102', 'web', now(), now() + interval '1 hour'),
  (fixture.id(103), fixture.id(1), 's103', 'web', now(), now()),
  (fixture.id(104), fixture.id(2), 's104', 'web', now(), now() + interval '1 hour');
update user_sessions set status = 'ended', ended_at = now(), end_reason = 'manual', total_duration_seconds = 0
where id = fixture.id(102);

create function fixture.make(n int, session int, node text default 'one', capacity int default 10)
returns text language sql as $$
  select lastseen.make_simulator(fixture.id(n), fixture.id(session), '["AAPL"]', 5, node, 'process', capacity)
$$;

create function fixture.in_status(wanted text) returns text language sql as $$
  select coalesce(string_agg(right(id::text, 3), ',' order by id), '-') from simulators where status = wanted
$$;

set local role lastseen_service;

do $$
declare
  s simulators;
begin
  assert fixture.make(200, 100) = 'made';
  select * into strict s from simulators where id = fixture.id(200);
  assert s.status = 'CREATING' and s.user_id = fixture.id(1) and s.node = 'one' and s.launcher = 'process';
  assert s.initial_symbols = '["AAPL"]' and s.initial_cash = 5 and s.endpoint is null and s.handle is null;
  assert s.created_at = now() and s.last_active = now() and s.stopped_at is null and s.error is null;

  assert fixture.fails_with('23505', 'select fixture.make(201, 100)'), 'one is live';
  assert fixture.fails_with('23505', 'select fixture.make(201, 100, ''two'')'), 'also elsewhere';
  assert fixture.fails_with('23505', 'select fixture.make(201, 100, capacity => 1)'), 'and a full server says that first';
  assert fixture.make(202, 102) = 'session_ended' and fixture.make(202, 103) = 'session_ended';
  assert fixture.make(202, 999) = 'session_ended', 'gone';
  assert fixture.make(201, 101, capacity => 1) = 'at_capacity';
  assert not exists (select from simulators where id = fixture.id(201)), 'and nothing is left of it';
  assert fixture.make(201, 101, capacity => 2) = 'made';
  assert fixture.make(204, 104, capacity => 2) = 'at_capacity';
  assert fixture.make(204, 104, 'two', 1) = 'made', 'each server counts its own';

  update simulators set status = 'STOPPED', stopped_at = now() where id = fixture.id(200);
  assert fixture.make(205, 100, capacity => 2) = 'made', 'one that is over stands in nobody''s way';
end
$$;

do $$
declare
  broken text;
begin
  foreach broken in array array[
    'status = ''running''', 'status = ''STOPPED''', 'status = ''ERROR'', stopped_at = now()', 'status = ''RUNNING''',
    'stopped_at = now()', 'error = ''x''', 'launcher = ''docker''', 'handle = ''[]''', 'initial_symbols = ''{}''',
    'initial_symbols = (select jsonb_agg(n) from generate_series(1, 51) as n)',
    'initial_cash = -1', 'initial_cash = ''infinity''', 'initial_cash = ''nan'''
  ] loop
    assert fixture.fails_with('23514', 'update simulators set ' || broken || ' where id = fixture.id(205)'), broken;
  end loop;
end
$$;

do $$
declare
  marked uuid[];
begin
  -- 205 used long ago in an active session · 201 used lately in an inactive one
  update simulators set last_active = now() - interval '2 hours' where id = fixture.id(205);
  assert not exists (select from inactive_simulators), 'either keeps it';
  assert not exists (select from stop_inactive_simulators('1 hour'));
  update simulators set last_active = now() - interval '2 hours', status = 'RUNNING', endpoint = 'x' where id = fixture.id(201);
  assert not exists (select from stop_inactive_simulators('2 hours 1 second'));
  assert (select (id, session_id, status, node, inactive_minutes) = (fixture.id(201), 's101', 'RUNNING', 'one', 120)
          from inactive_simulators), 'those that are stopped next';
  assert (select last_active = now() - interval '2 hours' from inactive_simulators);
  select array_agg(id order by id) into marked from stop_inactive_simulators();
  assert marked = array[fixture.id(201)], marked::text;
  assert fixture.in_status('STOPPING') = '201' and (select moved_at = now() from simulators where id = fixture.id(201));
  assert not exists (select from stop_inactive_simulators()) and not exists (select from inactive_simulators), 'once';

  assert not exists (select from stop_simulators_of_ended_sessions());
  update user_sessions set status = 'ended', ended_at = now(), end_reason = 'manual', total_duration_seconds = 0
  where id = fixture.id(100);
  update user_sessions set expires_at = now() where id = fixture.id(104);
  select array_agg(id order by id) into marked from stop_simulators_of_ended_sessions();
  assert marked = array[fixture.id(204), fixture.id(205)], marked::text;
  assert not exists (select from stop_simulators_of_ended_sessions()), 'once';

  update simulators set status = 'STARTING' where id in (fixture.id(204), fixture.id(205));
  assert lastseen.stop_simulators_of_node('one', 0) = 0 and lastseen.stop_simulators_of_node('one', 2) = 1;
  assert lastseen.stop_simulators_of_node('one') = 0;
  assert fixture.in_status('STOPPING') = '201,205' and fixture.in_status('STARTING') = '204';
  assert fixture.in_status('STOPPED') = '200', 'what is over stays as it is';
end
$$;

do $$
declare
  attempt text;
begin
  perform fixture.become('authenticated', fixture.id(1));
  assert (select array_agg(id order by id) from simulators) = array[fixture.id(200), fixture.id(201), fixture.id(205)];
  foreach attempt in array array[
    'select handle from simulators', 'select node from simulators', 'update simulators set status = ''STOPPING''',
    'delete from simulators', 'insert into simulators default values', 'select stop_inactive_simulators()',
    'select from inactive_simulators', 'select stop_simulators_of_ended_sessions()', 'select lastseen.stop_simulators_of_node(''one'')',
    'select fixture.make(210, 100)'
  ] loop
    assert fixture.fails_with('42501', attempt), attempt;
  end loop;
  perform fixture.become('authenticated', fixture.id(2));
  assert (select array_agg(id) from simulators) = array[fixture.id(204)];
  perform fixture.become('authenticated');
  assert not exists (select id from simulators), 'without claims';
  perform fixture.become('anon');
  assert fixture.fails_with('42501', 'select id from simulators');
  perform fixture.become('service_role');
  assert (select count(*) from simulators) = 4;
  perform fixture.become('lastseen_service');

  delete from user_sessions where id = fixture.id(101);
  assert not exists (select from simulators where id = fixture.id(201)), 'with its session';
end
$$;

reset role;
do $$
begin
  assert not exists (
    select from pg_proc
    where proname in ('stop_inactive_simulators', 'stop_simulators_of_ended_sessions')
      and (proconfig is null or not exists (select from unnest(proconfig) as c where c like 'search\_path=%'))),
    'every function pins its search_path';
end
$$;

rollback;
