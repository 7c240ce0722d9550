-- Whether the database has all that lastseen needs, and whether it works:
--   psql -X -f tests/sql/quick_check.sql "$DATABASE_URL"
-- To be run by the role that migrates, also while servers work: it takes seconds, waits for nobody,
-- touches rows of its own and is rolled back. Ends with one line, or with what is wrong and exit code 3.
\set ON_ERROR_STOP on
\set QUIET on
\pset tuples_only on

begin;
set local lock_timeout = '2s';
set local statement_timeout = '30s';
set local client_min_messages = warning;
set local plpgsql.check_asserts = on;
-- The schema that lastseen's tables are in.
do $$
begin
  perform set_config('search_path', coalesce(quote_ident(max(n.nspname)), 'public'), true)
  from pg_proc as p join pg_type as t on t.oid = p.prorettype join pg_namespace as n on n.oid = t.typnamespace
  join pg_namespace as own on own.oid = p.pronamespace
  where own.nspname = 'lastseen' and p.proname = 'close_session';
end
$$;

-- 1. Everything is there.

do $$
declare
  missing text;
begin
  select string_agg(format('%s.%s', wanted.name, c.name), ', ') into missing
  from (values
    ('reading_sessions',
     'id title host_user_id is_active max_participants last_seen_at last_activity_at created_at updated_at '
     || 'closed_at close_reason'),
    ('session_participants',
     'id session_id user_id name role is_active state node resume_generation joined_at last_seen_at '
     || 'last_activity_at left_at leave_reason invite_id'),
    ('session_invites',
     'id session_id token_sha256 role max_uses uses expires_at created_by created_at revoked_at'),
    ('user_sessions',
     'id user_id session_id platform status started_at last_activity_at last_heartbeat_at expires_at ended_at '
     || 'end_reason total_duration_seconds activity_count frontend_connections sse_connections last_ws_connection '
     || 'connection_quality node device_info location_info metadata user_agent ip_address created_at updated_at '
     || 'expires_not_before'),
    ('check_ins',
     'id user_id name checked_in_at expires_at checked_out_at status created_at extended_at extension_count'),
    ('partnerships',
     'id user_ids created_at'),
    ('partnership_members',
     'partnership_id user_id'),
    ('room_sits',
     'id session_id started_by node sit_length_seconds started_at ends_at ended_at status'),
    ('sits',
     'id user_id partnership_id room_sit_id sit_length_seconds started_at completed_at is_completed status created_at '
     || 'duration_seconds'),
    ('simulators',
     'id user_session_id user_id status endpoint initial_symbols initial_cash created_at last_active moved_at '
     || 'stopped_at error node launcher handle'),
    ('active_sessions_summary',
     'platform active_count avg_session_minutes oldest_session latest_activity'),
    ('active_check_ins',
     'id user_id name checked_in_at expires_at minutes_remaining extended_at extension_count'),
    ('sit_weeks',
     'partnership_id user_id iso_week week_starts_on sits_completed seconds'),
    ('session_stats',
     'id is_active close_reason created_at last_seen_at length_seconds participants'),
    ('counts_now',
     'system platform status rows')
  ) as wanted (name, columns),
  lateral unnest(string_to_array(wanted.columns, ' ')) as c (name)
  where not exists (
    select from pg_attribute as a
    where a.attrelid = to_regclass(format('%I.%I', current_schema(), wanted.name)) and a.attname = c.name and not a.attisdropped);
  assert missing is null, 'missing columns: ' || missing;

  -- Before the functions, whose names they are in.
  select string_agg(wanted.name, ', ') into missing
  from unnest(array[
    'lastseen.idle_counts', 'lastseen.admission'
  ]) as wanted (name)
  where to_regtype(wanted.name) is null;
  assert missing is null, 'missing types: ' || missing;

  select string_agg(wanted.name, ', ') into missing
  from unnest(array[
    'is_participant(uuid)', 'lastseen.signs_of_life(uuid[],lastseen.idle_counts)',
    'check_session_expiry(uuid,interval,text)', 'lastseen.close_sessions(uuid[],text)',
    'lastseen.close_session(uuid,text)', 'cleanup_inactive_sessions(interval,text,integer)',
    'purge_closed_sessions(interval,integer)', 'lastseen.undisturbed_sessions(uuid[],boolean)',
    'lastseen.invite_fault(session_invites,reading_sessions,interval,lastseen.idle_counts)',
    'lastseen.refusal(text,text)', 'lastseen.admit(uuid,uuid,integer,uuid,bytea,text,interval,text,text,uuid)',
    'lastseen.give_back(uuid,uuid)', 'lastseen.withdraw_admissions(uuid[],uuid[],uuid[],uuid[],bytea[],text)',
    'lastseen.inspect_invite(bytea,interval,text)', 'lastseen.remove_participant(uuid,uuid)',
    'lastseen.revoke_invite_of(uuid,uuid)', 'lastseen.readmit_participant(uuid,uuid)',
    'lastseen.settle_strangers(text,interval)',
    'calculate_session_duration(timestamp with time zone,timestamp with time zone)',
    'lastseen.open_user_session(uuid,uuid,text,text,jsonb,jsonb,jsonb,text,inet,text,interval,interval)',
    'lastseen.time_out_user_sessions(interval,integer)', 'expire_user_sessions(integer)', 'end_inactive_sessions(integer)',
    'lastseen.purge_user_sessions(interval,integer)', 'cleanup_old_sessions(integer)', 'lastseen.settle_user_sessions(text)',
    'lastseen.settle_silent_user_sessions(text,interval)',
    'cleanup_old_check_ins(interval,integer)', 'lastseen.note_partnership_members()', 'abandon_overdue_sits(interval,integer)',
    'purge_sits(interval,integer)', 'sit_weeks_of(uuid,text)',
    'lastseen.abandon_sit_of_closed_session()', 'lastseen.start_room_sit(uuid,uuid,uuid,integer,text)',
    'lastseen.record_room_sit(room_sits,uuid[],uuid[],timestamp with time zone[])',
    'lastseen.finish_room_sit(uuid,uuid[],uuid[],timestamp with time zone[])',
    'lastseen.make_simulator(uuid,uuid,jsonb,double precision,text,text,integer)',
    'stop_inactive_simulators(interval)', 'stop_simulators_of_ended_sessions()',
    'lastseen.stop_simulators_of_node(text)', 'close_aged_sessions(interval,integer)', 'lastseen.alone_since(uuid[])',
    'close_lonely_sessions(interval,integer)', 'session_analytics(integer)', 'peak_hours(integer,text)',
    'returning_users(integer,text)', 'lastseen.reference_auth_users()',
    'lastseen.plausible(text,timestamp with time zone,timestamp with time zone,timestamp with time zone)',
    'lastseen.keep_objects()', 'lastseen.keep_user_session()', 'lastseen.keep_new_check_in()', 'lastseen.keep_check_in()',
    'lastseen.note_extension()', 'lastseen.keep_new_sit()', 'lastseen.keep_sit()'
  ]) as wanted (name)
  where to_regprocedure(wanted.name) is null;
  assert missing is null, 'missing functions: ' || missing;

  select string_agg(wanted.name, ', ') into missing
  from unnest(array[
    'reading_sessions_pkey', 'reading_sessions_open_by_last_seen', 'reading_sessions_open_by_last_activity',
    'reading_sessions_closed', 'reading_sessions_newest', 'reading_sessions_of_host', 'session_participants_pkey',
    'one_participant_a_user', 'session_participants_of_user', 'session_invites_pkey',
    'session_invites_token_sha256_key', 'session_invites_of_session', 'user_sessions_pkey',
    'user_sessions_session_id_key', 'user_sessions_open', 'user_sessions_ended', 'user_sessions_newest',
    'user_sessions_of_user', 'user_sessions_by_platform_and_status', 'check_ins_pkey', 'check_ins_by_expiry', 'check_ins_newest', 'check_ins_of_user',
    'partnerships_pkey', 'partnerships_of_user', 'partnerships_newest', 'partnerships_without_members', 'partnership_members_pkey', 'room_sits_pkey',
    'one_open_sit_a_room', 'room_sits_of_session', 'room_sits_started_by', 'sits_pkey', 'sits_of_user',
    'sits_of_partnership', 'sits_newest', 'sits_by_status', 'one_sit_a_user_and_room_sit', 'simulators_pkey',
    'one_live_simulator_a_user_session', 'simulators_live_by_node', 'simulators_of_user_session',
    'simulators_of_user', 'simulators_by_status', 'simulators_newest',
    'session_participants_by_join'
  ]) as wanted (name)
  where not exists (select from pg_index as i where i.indexrelid = to_regclass(format('%I.%I', current_schema(), wanted.name)) and i.indisvalid);
  assert missing is null, 'missing or invalid indexes: ' || missing;

  select string_agg(wanted.name, ', ') into missing
  from unnest(array[
    'reading_sessions service_does_all', 'reading_sessions people_see_their_sessions',
    'session_participants service_does_all', 'session_participants people_see_each_other',
    'session_invites service_does_all', 'session_invites people_see_the_invites', 'user_sessions service_does_all',
    'user_sessions users_see_their_sessions', 'user_sessions users_start_their_sessions',
    'user_sessions users_change_their_sessions', 'check_ins service_does_all', 'check_ins people_see_their_own',
    'check_ins people_make_their_own', 'check_ins people_change_their_own', 'partnerships service_does_all',
    'partnerships members_see_their_partnerships', 'partnership_members service_does_all',
    'partnership_members members_see_each_other', 'room_sits service_does_all',
    'room_sits people_see_the_sits_of_the_room', 'sits service_does_all',
    'sits people_see_their_own_and_their_partners', 'sits people_make_their_own', 'sits people_change_their_own',
    'simulators service_does_all', 'simulators users_see_their_simulators'
  ]) as wanted (name)
  where not exists (
    select from pg_policy as p
    where p.polrelid = to_regclass(format('%I.%I', current_schema(), split_part(wanted.name, ' ', 1))) and p.polname = split_part(wanted.name, ' ', 2));
  assert missing is null, 'missing policies: ' || missing;

  select string_agg(wanted.name, ', ') into missing
  from unnest(array[
    'partnership_members note_partnership_members', 'reading_sessions abandon_sit_of_closed_session',
    'user_sessions keep_objects', 'user_sessions keep_user_session', 'check_ins keep_new_check_in', 'check_ins keep_check_in',
    'check_ins note_extension', 'sits keep_new_sit', 'sits keep_sit'
  ]) as wanted (name)
  where not exists (
    select from pg_trigger as t
    where t.tgrelid = to_regclass(format('%I.%I', current_schema(), split_part(wanted.name, ' ', 1))) and t.tgname = split_part(wanted.name, ' ', 2)
      and t.tgenabled <> 'D');
  assert missing is null, 'missing or disabled triggers: ' || missing;

  select string_agg(c.relname, ', ') into missing
  from pg_class as c
  where c.relkind = 'r' and not (c.relrowsecurity and c.relforcerowsecurity)
    and exists (select from pg_policy as p where p.polrelid = c.oid and p.polname = 'service_does_all');
  assert missing is null, 'without row security: ' || missing;

  -- What was applied: read by the service, written by the owner alone.
  assert to_regclass('lastseen.migrations') is not null, 'missing: lastseen.migrations';
  assert exists (select from lastseen.migrations), 'lastseen.migrations is empty';
  assert has_table_privilege('lastseen_service', 'lastseen.migrations', 'select'), 'the server may not read lastseen.migrations';
  select string_agg(role, ', ') into missing
  from unnest(array['anon', 'authenticated', 'service_role', 'lastseen_service']) as role
  where has_table_privilege(role, 'lastseen.migrations', 'insert, update, delete, truncate');
  assert missing is null, 'lastseen.migrations is written by: ' || missing;

  select string_agg(p.oid::regprocedure::text, ', ') into missing
  from pg_proc as p
  where p.pronamespace = 'lastseen'::regnamespace
    and not exists (select from unnest(p.proconfig) as c where c like 'search\_path=%');
  assert missing is null, 'functions that do not pin their search_path: ' || missing;

  select string_agg(p.oid::regprocedure::text, ', ') into missing
  from pg_proc as p
  where p.pronamespace = 'lastseen'::regnamespace and p.prorettype <> 'trigger'::regtype
    and p.proname <> 'reference_auth_users' and not has_function_privilege('lastseen_service', p.oid, 'execute');
  assert missing is null, 'functions that the server may not call: ' || missing;
end
$$;

-- 2. It works: rows that nobody else has, a thousand years old where a function acts on what is old.

create schema quick_check;
grant usage on schema quick_check to lastseen_service, authenticated, anon;

create function quick_check.id(n int) returns uuid language sql immutable
return ('c4ec0000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid;

create function quick_check.long_ago() returns timestamptz language sql stable
return now() - interval '1000 years';

create function quick_check.become(who text, n int default null) returns void language plpgsql as $$
begin
  perform set_config('role', who, true);
  perform set_config('request.jwt.claims',
    case when n is null then '' else json_build_object('sub', quick_check.id(n), 'role', who)::text end, true);
end
$$;

create function quick_check.fails_with(state text, statement text) returns boolean language plpgsql as $$
begin
  execute statement;
  return false;
exception when others then
  return sqlstate = state;
end
$$;

-- Where rows refer to a table of users, these are users.
do $$
begin
  if to_regclass('auth.users') is not null then
    execute 'insert into auth.users (id) select quick_check.id(n) from generate_series(1, 3) as n';
  end if;
end
$$;

-- Reading sessions: who comes in, who is put out, and how sessions end.
do $$
declare
  a      lastseen.admission;
  closed uuid[];
begin
  perform quick_check.become('lastseen_service');
  insert into reading_sessions (id, title, host_user_id) values (quick_check.id(100), 'quick check', quick_check.id(1));
  insert into session_invites (id, session_id, token_sha256, max_uses)
  values (quick_check.id(150), quick_check.id(100), sha256('quick check'), 5);

  a := lastseen.admit(quick_check.id(999), null, null, null, null, null, '1 hour', 'seen', 'quick check', quick_check.id(200));
  assert a.verdict = 'session_not_found', a.verdict;
  a := lastseen.admit(quick_check.id(100), null, null, quick_check.id(1), null, 'Ann', '1 hour', 'seen', 'quick check', quick_check.id(201));
  assert a.verdict = 'admitted' and a.role = 'host', a.verdict;
  a := lastseen.admit(quick_check.id(100), null, null, quick_check.id(2), sha256('quick check'), 'Bea', '1 hour', 'seen', 'quick check', quick_check.id(202));
  assert a.verdict = 'admitted' and a.role = 'participant', a.verdict;
  assert (select uses = 1 from session_invites where id = quick_check.id(150)), 'a use is counted';
  assert (select verdict = 'ok' from lastseen.inspect_invite(sha256('quick check'), '1 hour', 'seen'));
  a := lastseen.admit(quick_check.id(100), null, null, null, sha256('quick check'), 'Gus', '1 hour', 'seen', 'quick check', quick_check.id(203));
  assert lastseen.give_back(quick_check.id(203), quick_check.id(150)), 'an admission is given back';
  a := lastseen.admit(quick_check.id(100), null, null, null, sha256('quick check'), 'Hal', '1 hour', 'seen', 'quick check', quick_check.id(204));
  perform lastseen.withdraw_admissions(
    array[quick_check.id(100)], array[quick_check.id(204)], array[null::uuid], array[null::uuid],
    array[sha256('quick check')], 'quick check');
  assert (select count(*) = 2 from session_participants where session_id = quick_check.id(100)), 'an admission is withdrawn';
  assert (select not expired and minutes_until_expiry in (60, 61) from check_session_expiry(quick_check.id(100)));
  assert (select since = 'infinity' from lastseen.alone_since(array[quick_check.id(100)]));
  assert (select participants = 2 from session_stats where id = quick_check.id(100));

  perform quick_check.become('authenticated', 2);
  assert is_participant(quick_check.id(100)) and (select count(*) = 2 from session_participants where session_id = quick_check.id(100));
  assert quick_check.fails_with('42501', 'select token_sha256 from session_invites'), 'hashes of tokens can be read';
  assert quick_check.fails_with('42501', 'update reading_sessions set title = null'), 'users can write';
  perform quick_check.become('authenticated', 3);
  assert not is_participant(quick_check.id(100)) and not exists (select from reading_sessions where id = quick_check.id(100));

  perform quick_check.become('lastseen_service');
  assert lastseen.remove_participant(quick_check.id(100), quick_check.id(202));
  a := lastseen.admit(quick_check.id(100), null, null, quick_check.id(2), sha256('quick check'), 'Bea', '1 hour', 'seen', 'quick check', quick_check.id(205));
  assert a.verdict = 'removed', a.verdict;
  update session_participants set last_seen_at = quick_check.long_ago() where id = quick_check.id(201);
  assert lastseen.settle_strangers('quick check elsewhere', '900 years') = 1;

  perform lastseen.start_room_sit(quick_check.id(170), quick_check.id(100), quick_check.id(201), 600, 'quick check');
  assert (select close_reason = 'host' from lastseen.close_session(quick_check.id(100), 'host'));
  assert (select status = 'abandoned' from room_sits where id = quick_check.id(170)), 'a closed session takes its sit along';
  assert (select revoked_at is not null from session_invites where id = quick_check.id(150));

  insert into reading_sessions (id, last_seen_at, last_activity_at)
  values (quick_check.id(101), quick_check.long_ago(), quick_check.long_ago());
  select array_agg(id) into closed from cleanup_inactive_sessions('900 years');
  assert closed = array[quick_check.id(101)], 'cleanup_inactive_sessions';
  insert into reading_sessions (id, created_at) values (quick_check.id(102), quick_check.long_ago());
  select array_agg(id) into closed from close_lonely_sessions('900 years');
  assert closed = array[quick_check.id(102)], 'close_lonely_sessions';
  insert into reading_sessions (id, created_at) values (quick_check.id(103), quick_check.long_ago());
  select array_agg(id) into closed from close_aged_sessions('900 years');
  assert closed = array[quick_check.id(103)], 'close_aged_sessions';
  update reading_sessions set closed_at = quick_check.long_ago() where id = quick_check.id(101);
  assert purge_closed_sessions('900 years') = 1, 'purge_closed_sessions';
  assert quick_check.fails_with('23514', 'update reading_sessions set is_active = true where id = quick_check.id(102)');
end
$$;

-- User sessions.
do $$
declare
  opened text[];
  who    int;
begin
  perform quick_check.become('lastseen_service');
  foreach who in array array[1, 1, 2] loop
    opened := opened || (
      select verdict from lastseen.open_user_session(
        quick_check.id(300 + who), quick_check.id(who), 'quick check 1', 'web', null, null, '{}', 'psql', '192.0.2.0/24',
        'quick check', '0', '1 hour'));
  end loop;
  assert opened = array['opened', 'continued', 'session_id_taken'], opened::text;
  assert (select active_count >= 1 from active_sessions_summary where platform = 'web');
  assert calculate_session_duration(now() - interval '90 seconds', now()) = 90;

  perform quick_check.become('authenticated', 1);
  assert (select count(*) = 1 from user_sessions where session_id = 'quick check 1');
  update user_sessions set metadata = '{"checked": true}' where session_id = 'quick check 1';
  assert (select active_count = 1 from active_sessions_summary where platform = 'web'), 'active_sessions_summary';
  assert quick_check.fails_with('42501', $q$
    insert into user_sessions (user_id, session_id, platform) values (quick_check.id(2), 'quick check 2', 'web') $q$);
  perform quick_check.become('authenticated', 2);
  assert not exists (select from user_sessions where session_id = 'quick check 1'), 'user sessions are seen by others';
  insert into user_sessions (user_id, session_id, platform) values (quick_check.id(2), 'quick check 2', 'ios-external');

  perform quick_check.become('lastseen_service');
  assert (select metadata = '{"checked": true}' from user_sessions where session_id = 'quick check 1');
  insert into user_sessions (user_id, session_id, platform) values (quick_check.id(2), 'quick check 4', 'web');
  perform quick_check.become('authenticated', 2);
  update user_sessions set status = 'ended', ended_at = now(), end_reason = 'logout' where session_id = 'quick check 4';
  assert (select total_duration_seconds = 0 from user_sessions where session_id = 'quick check 4'), 'a session has no duration';
  perform quick_check.become('lastseen_service');
  update user_sessions set frontend_connections = 1 where session_id = 'quick check 1';
  assert lastseen.settle_user_sessions('quick check') = 1;
  update user_sessions set expires_at = now() where session_id = 'quick check 1';
  assert expire_user_sessions() >= 1, 'expire_user_sessions';
  update user_sessions set started_at = quick_check.long_ago(), last_heartbeat_at = quick_check.long_ago()
  where session_id = 'quick check 2';
  assert end_inactive_sessions(900 * 366 * 24 * 60) = 1, 'end_inactive_sessions';
  assert cleanup_old_sessions(900 * 366) = 1, 'cleanup_old_sessions';
  assert (select status = 'timeout' and end_reason = 'timeout' from user_sessions where session_id = 'quick check 1');
end
$$;

-- Check-ins.
do $$
begin
  perform quick_check.become('authenticated', 1);
  insert into check_ins (id, user_id, name) values (quick_check.id(400), quick_check.id(1), 'Ann');
  assert (select minutes_remaining = 60 from active_check_ins where id = quick_check.id(400));
  assert quick_check.fails_with('23514', $q$
    update check_ins set expires_at = now() + interval '10 years' where id = quick_check.id(400) $q$), 'a check-in may be long';
  update check_ins set expires_at = clock_timestamp() + interval '1 hour' where id = quick_check.id(400);
  assert (select extension_count = 1 from check_ins where id = quick_check.id(400)), 'an extension leaves no trace';
  update check_ins set status = 'inactive', checked_out_at = now() where id = quick_check.id(400);
  assert not exists (select from active_check_ins where id = quick_check.id(400));
  perform quick_check.become('authenticated', 2);
  assert not exists (select from check_ins where id = quick_check.id(400)), 'check-ins are seen by others';
  assert quick_check.fails_with('42501', 'insert into check_ins (user_id) values (quick_check.id(1))');

  perform quick_check.become('lastseen_service');
  update check_ins set expires_at = quick_check.long_ago() where id = quick_check.id(400);
  assert cleanup_old_check_ins('900 years') = 1, 'cleanup_old_check_ins';
end
$$;

-- Sits.
do $$
begin
  perform quick_check.become('lastseen_service');
  insert into partnerships (id) values (quick_check.id(500));
  insert into partnership_members values (quick_check.id(500), quick_check.id(2)), (quick_check.id(500), quick_check.id(1));
  assert (select user_ids = array[quick_check.id(1), quick_check.id(2)] from partnerships where id = quick_check.id(500));

  perform quick_check.become('authenticated', 1);
  insert into sits (id, user_id, partnership_id, sit_length_seconds)
  values (quick_check.id(510), quick_check.id(1), quick_check.id(500), 600);
  assert quick_check.fails_with('23514', $q$
    update sits set completed_at = started_at + interval '100 days' where id = quick_check.id(510) $q$), 'a sit may be long';
  update sits set status = 'completed', is_completed = true, completed_at = now() where id = quick_check.id(510);
  update sits set completed_at = now() - interval '1 minute' where id = quick_check.id(510);
  perform quick_check.become('lastseen_service');
  update sits set started_at = started_at - interval '10 minutes' where id = quick_check.id(510);
  perform quick_check.become('authenticated', 2);
  assert (select count(*) = 2 from partnership_members where partnership_id = quick_check.id(500));
  assert (select sits_completed = 1 and seconds = 600 from sit_weeks where partnership_id = quick_check.id(500)), 'sit_weeks';
  assert (select sits_completed = 1 and seconds = 600 from sit_weeks_of(quick_check.id(500), 'Europe/Vienna')), 'sit_weeks_of';
  perform quick_check.become('authenticated', 3);
  assert not exists (select from sits where id = quick_check.id(510)), 'sits are seen by others';
  assert not exists (select from partnerships where id = quick_check.id(500)), 'partnerships are seen by others';

  perform quick_check.become('lastseen_service');
  insert into sits (id, user_id, sit_length_seconds, started_at)
  values (quick_check.id(511), quick_check.id(1), 1, quick_check.long_ago());
  assert abandon_overdue_sits('900 years') = 1, 'abandon_overdue_sits';
  insert into reading_sessions (id) values (quick_check.id(110));
  assert (lastseen.start_room_sit(quick_check.id(171), quick_check.id(110), null, 60, 'quick check')).status = 'open';
  assert lastseen.finish_room_sit(quick_check.id(171), array[quick_check.id(512)], array[quick_check.id(1)], array[now()]);
  assert (select status = 'completed' from sits where id = quick_check.id(512)), 'finish_room_sit';
end
$$;

-- Simulators.
do $$
begin
  perform quick_check.become('lastseen_service');
  insert into user_sessions (id, user_id, session_id, platform, last_activity_at)
  values (quick_check.id(310), quick_check.id(1), 'quick check 3', 'web', quick_check.long_ago());
  assert lastseen.make_simulator(quick_check.id(600), quick_check.id(310), '["AAPL"]', 1, 'quick check', 'process', 1) = 'made';
  assert quick_check.fails_with('23505', $q$
    select lastseen.make_simulator(quick_check.id(601), quick_check.id(310), '[]', 1, 'quick check', 'process', 2) $q$),
    'a session has two simulators';
  perform quick_check.become('authenticated', 2);
  assert not exists (select from simulators where id = quick_check.id(600)), 'simulators are seen by others';
  assert quick_check.fails_with('42501', 'select handle from simulators');
  perform quick_check.become('authenticated', 1);
  assert exists (select id from simulators where id = quick_check.id(600));

  perform quick_check.become('lastseen_service');
  update simulators set last_active = quick_check.long_ago() where id = quick_check.id(600);
  assert (select count(*) = 1 from stop_inactive_simulators('900 years')), 'stop_inactive_simulators';
  update simulators set status = 'CREATING' where id = quick_check.id(600);
  assert lastseen.stop_simulators_of_node('quick check') = 1, 'stop_simulators_of_node';
  update simulators set status = 'CREATING' where id = quick_check.id(600);
  update user_sessions set expires_at = now() where id = quick_check.id(310);
  assert (select count(*) >= 1 from stop_simulators_of_ended_sessions()), 'stop_simulators_of_ended_sessions';
end
$$;

-- The past, and what there is now.
do $$
begin
  perform quick_check.become('lastseen_service');
  assert (select sessions >= 1 from session_analytics(1)), 'session_analytics';
  assert (select count(*) = 24 from peak_hours(1, 'Europe/Vienna')), 'peak_hours';
  assert (select users >= 1 from returning_users(1)), 'returning_users';
end
$$;

-- Nobody without claims sees anything.
do $$
declare
  closed record;
begin
  perform quick_check.become('anon');
  for closed in
    select c.oid, c.relname, has_any_column_privilege('anon', c.oid, 'select') as open from pg_class as c
    where c.relkind = 'r' and exists (select from pg_policy as p where p.polrelid = c.oid and p.polname = 'service_does_all')
  loop
    assert not closed.open and quick_check.fails_with('42501', format('select from %s', closed.oid::regclass)),
      closed.relname || ' is open to everybody';
  end loop;
  perform quick_check.become('authenticated');
  assert not exists (select from reading_sessions where id = quick_check.id(110));
  assert not exists (select from user_sessions where session_id = 'quick check 1');
end
$$;

rollback;
\echo All tests completed successfully!
