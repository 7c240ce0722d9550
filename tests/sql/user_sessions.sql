-- User sessions: how they open, end, are timed out and deleted, and who may touch which.
begin;
\ir fixture.sql

-- Of user a (1): 300 fresh · 301 overdue, unswept · 302 ended long ago · 303 on another platform · of user b (2): 310
insert into user_sessions (id, user_id, session_id, platform, started_at, last_heartbeat_at, last_activity_at, expires_at) values
  (fixture.id(300), fixture.id(1), 'a-fresh', 'web', now() - interval '30 minutes', now(), now() - interval '5 minutes', now() + interval '1 hour'),
  (fixture.id(301), fixture.id(1), 'a-overdue', 'web', now() - interval '3 hours', now() - interval '2 hours', now() - interval '2 hours', now() - interval '1 hour'),
  (fixture.id(303), fixture.id(1), 'a-mac', 'macos-internal', now() - interval '90 minutes', now() - interval '50 minutes', now() - interval '50 minutes', now() + interval '10 minutes'),
  (fixture.id(310), fixture.id(2), 'b-fresh', 'web', now() - interval '10 minutes', now(), now(), now() + interval '1 hour');
insert into user_sessions (id, user_id, session_id, platform, status, ended_at, end_reason, total_duration_seconds) values
  (fixture.id(302), fixture.id(1), 'a-old', 'web', 'ended', now() - interval '91 days', 'logout', 60);
update user_sessions set frontend_connections = 2, sse_connections = 1, node = 'here' where id = fixture.id(301);

do $$
begin
  assert calculate_session_duration(now() - interval '90.9 seconds') = 90;
  assert calculate_session_duration(now() - interval '1 day', now()) = 86400;
  assert calculate_session_duration(now() + interval '1 minute', now()) = 0, 'no time before the start';

  assert fixture.fails_with('23514', $q$ update user_sessions set status = 'ended' where id = fixture.id(300) $q$);
  assert fixture.fails_with('23514', $q$ update user_sessions set platform = 'android' where id = fixture.id(300) $q$);
  assert fixture.fails_with('23514', $q$ update user_sessions set connection_quality = 'GOOD' where id = fixture.id(300) $q$);
  assert fixture.fails_with('23514', $q$ update user_sessions set ip_address = '203.0.113.7' where id = fixture.id(300) $q$);
  assert fixture.fails_with('23514', $q$ update user_sessions set ip_address = '203.0.113.7/24' where id = fixture.id(300) $q$);
  assert fixture.fails_with('23514', $q$ update user_sessions set ip_address = '2001:db8::1' where id = fixture.id(300) $q$);
  update user_sessions set ip_address = '203.0.113.0/24' where id = fixture.id(300);
  update user_sessions set ip_address = '2001:db8:1::/48' where id = fixture.id(300);
end
$$;

-- A beat moves no column that an index names, unless the status changes: every other update can be made in place.
do $$
declare
  moved constant text[] := array['last_activity_at', 'last_heartbeat_at', 'expires_at', 'activity_count',
    'frontend_connections', 'sse_connections', 'last_ws_connection', 'connection_quality', 'node', 'updated_at'];
begin
  assert not exists (
    select from pg_index as i
    where i.indrelid = 'user_sessions'::regclass
      and exists (select from unnest(moved) as m (name)
                  where pg_get_indexdef(i.indexrelid) ~ ('\m' || m.name || '\M')));
  assert (select 'fillfactor=50' = any (reloptions) from pg_class where oid = 'user_sessions'::regclass);
  assert (select bool_and(expires_not_before between expires_at - interval '30 minutes' and expires_at) from user_sessions);
end
$$;

set local role lastseen_service;

create function pg_temp.open(caller uuid, session text, platform text, holder text default null, ago interval default '0', data jsonb default null)
returns text language sql as $$
  select verdict from lastseen.open_user_session(gen_random_uuid(), caller, session, platform, null, null, data, 'agent', '203.0.113.0/24', holder, ago, '1 hour')
$$;

do $$
declare
  s user_sessions;
begin
  assert pg_temp.open(fixture.id(1), 'a-new', 'web', data => '{"a":1}') = 'opened';
  select * into strict s from user_sessions where session_id = 'a-new';
  assert s.user_id = fixture.id(1) and s.status = 'active' and s.started_at = now() and s.expires_at = now() + interval '1 hour'
    and s.metadata = '{"a":1}' and s.device_info = '{}' and s.user_agent = 'agent' and s.node is null and s.activity_count = 0;
  assert pg_temp.open(fixture.id(1), 'a-new', 'web') = 'continued';
  assert (select metadata = '{"a":1}' from user_sessions where session_id = 'a-new'), 'what is not said stays';
  assert pg_temp.open(fixture.id(2), 'a-new', 'web') = 'session_id_taken', 'another user';
  assert pg_temp.open(fixture.id(1), 'a-new', 'ios-widget') = 'session_id_taken', 'another platform';
  assert pg_temp.open(fixture.id(1), 'a-old', 'web') = 'session_ended';
  assert pg_temp.open(fixture.id(1), 'a-overdue', 'web') = 'session_ended', 'before the sweep has come by';
  assert (select last_heartbeat_at < now() and ended_at is null from user_sessions where id = fixture.id(301)), 'it was not touched';
  assert pg_temp.open(fixture.id(1), 'a-overdue', 'web', 'there', '90 minutes') = 'continued', 'news of when it was alive';
  select * into strict s from user_sessions where id = fixture.id(301);
  assert s.last_heartbeat_at = now() - interval '90 minutes' and s.expires_at = now() - interval '30 minutes', 'and no resurrection';
  assert s.node = 'there' and s.frontend_connections + s.sse_connections = 0, 'what another server held is gone';
  assert pg_temp.open(fixture.id(1), 'a-fresh', 'web', 'there', '90 minutes') = 'continued';
  assert (select last_heartbeat_at = now() and expires_at = now() + interval '1 hour' from user_sessions where id = fixture.id(300)), 'time does not run backwards';
  delete from user_sessions where session_id = 'a-new';
end
$$;

do $$
declare
  s user_sessions;
  v active_sessions_summary;
begin
  select * into strict v from active_sessions_summary where platform = 'web';
  assert v.active_count = 2 and v.avg_session_minutes = 20.0, v::text;
  assert v.oldest_session = now() - interval '30 minutes' and v.latest_activity = now(), v::text;
  assert (select array_agg(platform order by platform) from active_sessions_summary) = array['macos-internal', 'web'];

  update user_sessions set frontend_connections = 1, node = 'here' where id = fixture.id(300);
  update user_sessions set connection_quality = 'poor', last_ws_connection = now() - interval '1 minute' where id = fixture.id(310);
  update user_sessions set frontend_connections = 1, node = 'there' where id = fixture.id(310);
  assert (select array_agg(concat_ws(' ', session_id, node, frontend_connections, sse_connections, connection_quality,
                                     now() - last_ws_connection) order by session_id)
          from connection_statistics)
    = array['a-fresh here 1 0', 'a-mac 0 0', 'b-fresh there 1 0 poor 00:01:00'], 'those that are alive';
  assert lastseen.settle_user_sessions('here', 0) = 0 and lastseen.settle_user_sessions('here', 2) = 1;
  assert lastseen.settle_user_sessions('here') = 0;
  assert (select frontend_connections = 0 and status = 'reconnecting' from user_sessions where id = fixture.id(300));
  assert (select frontend_connections = 1 and status = 'active' from user_sessions where id = fixture.id(310)), 'another server''s';

  assert expire_user_sessions() = 1 and expire_user_sessions() = 0;
  select * into strict s from user_sessions where id = fixture.id(301);
  assert s.status = 'timeout' and s.end_reason = 'timeout' and s.ended_at = now() - interval '90 minutes'
    and s.total_duration_seconds = 5400 and s.frontend_connections = 0, s::text;
  assert pg_temp.open(fixture.id(1), 'a-overdue', 'web', 'there', '91 minutes') = 'session_ended', 'what has ended has ended';

  assert end_inactive_sessions() = 0 and end_inactive_sessions(51) = 0;
  assert end_inactive_sessions(50) = 1 and end_inactive_sessions(50) = 0;
  select * into strict s from user_sessions where id = fixture.id(303);
  assert s.status = 'timeout' and s.ended_at = now() - interval '50 minutes' and s.total_duration_seconds = 2400, s::text;

  assert cleanup_old_sessions(92) = 0 and cleanup_old_sessions() = 1 and cleanup_old_sessions() = 0;
  assert not exists (select from user_sessions where id = fixture.id(302));
  assert cleanup_old_sessions(0) = 2, 'those that timed out, and none that is alive';
  assert (select count(*) = 2 from user_sessions);
end
$$;

-- A user reads its own, starts its own, changes its own while they are alive, and nothing else.
insert into user_sessions (id, user_id, session_id, platform, expires_at) values (fixture.id(304), fixture.id(1), 'a-late', 'web', now());
select fixture.become('authenticated', fixture.id(1));
do $$
declare
  n int;
begin
  assert (select array_agg(id order by id) from user_sessions) = array[fixture.id(300), fixture.id(304)];
  insert into user_sessions (user_id, session_id, platform) values (fixture.id(1), 'a-made', 'web');
  assert fixture.fails_with('42501', $q$ insert into user_sessions (user_id, session_id, platform) values (fixture.id(2), 'b-made', 'web') $q$);
  update user_sessions set metadata = '{"mine":true}';
  get diagnostics n = row_count;
  assert n = 2, 'what is over stays, and another user''s too';
  assert fixture.fails_with('42501', $q$ update user_sessions set user_id = fixture.id(2) $q$);
  assert fixture.fails_with('42501', $q$ update user_sessions set session_id = 'b-fresh' $q$);
  assert fixture.fails_with('42501', $q$ delete from user_sessions $q$);
  assert fixture.fails_with('42501', $q$ truncate user_sessions cascade $q$);
  update user_sessions set status = 'ended', ended_at = now(), end_reason = 'logout', total_duration_seconds = 0 where session_id = 'a-made';
  update user_sessions set status = 'active', ended_at = null, end_reason = null, total_duration_seconds = null where session_id = 'a-made';
  get diagnostics n = row_count;
  assert n = 0, 'no resurrection';
  assert pg_temp.open(fixture.id(1), 'a-third', 'web') = 'opened';
  assert pg_temp.open(fixture.id(1), 'a-made', 'web') = 'session_ended';
  assert pg_temp.open(fixture.id(1), 'b-fresh', 'web') = 'session_id_taken';
  assert fixture.fails_with('42501', $q$ select pg_temp.open(fixture.id(2), 'b-other', 'web') $q$);
  assert calculate_session_duration(now()) = 0;
  assert fixture.fails_with('42501', $q$ select expire_user_sessions() $q$);
  assert fixture.fails_with('42501', $q$ select end_inactive_sessions() $q$);
  assert fixture.fails_with('42501', $q$ select cleanup_old_sessions() $q$);
  assert fixture.fails_with('42501', $q$ select lastseen.purge_user_sessions('1 second') $q$);
  assert fixture.fails_with('42501', $q$ select lastseen.time_out_user_sessions() $q$);
  assert fixture.fails_with('42501', $q$ select lastseen.settle_user_sessions('here') $q$);
  assert fixture.fails_with('42501', $q$ select from connection_statistics $q$);
  assert (select array_agg(platform || active_count) from active_sessions_summary) = array['web2'], 'its own';
end
$$;

-- What clients write beside the server.
do $$
declare
  n int;
  s user_sessions;
  time text;
  moved text;
begin
  insert into user_sessions (id, user_id, session_id, platform, status, started_at, last_activity_at, last_heartbeat_at,
                             expires_at, device_info, location_info, metadata)
  values (fixture.id(320), fixture.id(1), 'a-app', 'ios-external', 'active', now() - interval '90.5 seconds', now(), now(),
          now() + interval '1 hour', '{"os":"iOS"}', null, null);
  select * into s from user_sessions where id = fixture.id(320);
  assert s.location_info = '{}' and s.metadata = '{}' and s.device_info = '{"os":"iOS"}' and s.status = 'active', s::text;
  update user_sessions set location_info = null, device_info = null where id = s.id;
  assert (select location_info = '{}' and device_info = '{}' from user_sessions where id = s.id);

  foreach time in array array['infinity', '-infinity', '9999-12-31', '10000-01-01', '0001-01-01', '2000-01-01'] loop
    foreach moved in array array['last_activity_at', 'last_heartbeat_at', 'expires_at', 'ended_at'] loop
      assert fixture.fails_with('23514', format('update user_sessions set %I = %L where id = fixture.id(320)', moved, time)), moved || ' ' || time;
    end loop;
    assert fixture.fails_with('23514',
      format($q$ insert into user_sessions (user_id, session_id, platform, started_at) values (fixture.id(1), 'a-odd', 'web', %L) $q$, time)), time;
  end loop;

  -- A heartbeat in SQL is one: it keeps the session alive, and time does not run backwards.
  update user_sessions set last_heartbeat_at = now() - interval '1 minute', last_activity_at = now() - interval '1 minute' where id = s.id;
  assert (select last_heartbeat_at = now() and last_activity_at = now() and expires_at = s.expires_at from user_sessions where id = s.id);
  update user_sessions set last_heartbeat_at = now() - interval '10 minutes' where id = fixture.id(300);
  update user_sessions set last_heartbeat_at = now() where id = fixture.id(300);
  assert (select last_heartbeat_at = now() from user_sessions where id = fixture.id(300));

  assert fixture.fails_with('23514', $q$ update user_sessions set total_duration_seconds = 7 where id = fixture.id(320) $q$);
  update user_sessions set status = 'ended', ended_at = now(), end_reason = 'logout' where id = s.id;
  select * into s from user_sessions where id = s.id;
  assert s.status = 'ended' and s.ended_at = now() and s.end_reason = 'logout' and s.total_duration_seconds = 90, s::text;
  update user_sessions set status = 'active', metadata = '{}' where id = s.id;
  get diagnostics n = row_count;
  assert n = 0, 'what has ended stays as it was';

  -- In fewer words, or with a duration that the client made up.
  foreach time in array array[$q$ status = 'ended' $q$, $q$ ended_at = now() + interval '1 minute' $q$,
      $q$ status = 'ended', ended_at = now(), end_reason = 'manual', total_duration_seconds = 1000000 $q$] loop
    insert into user_sessions (id, user_id, session_id, platform, started_at)
    values (fixture.id(321), fixture.id(1), 'a-' || time, 'web', now() - interval '5 seconds');
    execute format('update user_sessions set %s where id = fixture.id(321)', time);
    select * into s from user_sessions where id = fixture.id(321);
    assert s.status = 'ended' and s.ended_at = now() and s.end_reason = 'manual' and s.total_duration_seconds = 5, time || s::text;
    reset role;
    delete from user_sessions where id = fixture.id(321);
    perform fixture.become('authenticated', fixture.id(1));
  end loop;
end
$$;

-- updated_at moves with what a user changes.
reset role;
update user_sessions set updated_at = now() - interval '1 day', last_heartbeat_at = now() - interval '10 minutes',
  expires_at = now() + interval '50 minutes' where id = fixture.id(300);
do $$
begin
  assert (select updated_at < now() from user_sessions where id = fixture.id(300)), 'nobody else''s hand is moved';
  perform fixture.become('authenticated', fixture.id(1));
  update user_sessions set last_heartbeat_at = now() where id = fixture.id(300);
  assert (select updated_at = now() and expires_at = now() + interval '1 hour' from user_sessions where id = fixture.id(300));
  update user_sessions set updated_at = 'infinity' where id = fixture.id(300);
  assert (select updated_at = now() from user_sessions where id = fixture.id(300)), 'the database knows the time';
end
$$;

reset role;
select fixture.become('anon');
do $$
begin
  assert fixture.fails_with('42501', $q$ select id from user_sessions $q$);
  assert fixture.fails_with('42501', $q$ insert into user_sessions (user_id, session_id, platform) values (fixture.id(1), 'x', 'web') $q$);
end
$$;

rollback;
