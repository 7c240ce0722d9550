-- Users see their own sessions and no others, nobody sees a secret, and the owner is bound too.
begin;
\ir fixture.sql

insert into reading_sessions (id, host_user_id) values (fixture.id(100), fixture.id(1)), (fixture.id(101), fixture.id(2));
insert into session_participants (id, session_id, user_id, name, left_at, leave_reason) values
  (fixture.id(200), fixture.id(100), fixture.id(1), 'Ann', null, null),
  (fixture.id(201), fixture.id(100), fixture.id(3), 'Cid', null, null),
  (fixture.id(202), fixture.id(101), fixture.id(2), 'Bea', null, null),
  (fixture.id(203), fixture.id(101), fixture.id(3), 'Cid', now(), 'removed');
insert into session_invites (session_id, token_sha256) values
  (fixture.id(100), fixture.token('100')), (fixture.id(101), fixture.token('101'));

create function fixture.sees() returns text language sql as $$
  select (select coalesce(string_agg(right(id::text, 3), ',' order by id), '-') from reading_sessions)
    || ' ' || (select coalesce(string_agg(right(id::text, 3), ',' order by id), '-') from session_participants)
    || ' ' || (select count(*) from session_invites where session_id is not null)
$$;

do $$
declare
  -- Not readable as a column: not alone, not with others, not by way of a condition.
  secret text;
  write text;
begin
  perform fixture.become('authenticated', fixture.id(1));
  assert auth.uid() = fixture.id(1) and auth.role() = 'authenticated';
  assert fixture.sees() = '100 200,201 1', 'a: ' || fixture.sees();
  assert is_participant(fixture.id(100)) and not is_participant(fixture.id(101));

  foreach secret in array array[
    'select token_sha256 from session_invites', 'select * from session_invites',
    'select id from session_invites where token_sha256 is not null',
    'select resume_generation from session_participants', 'select * from session_participants'
  ] loop
    assert fixture.fails_with('42501', secret), secret;
  end loop;

  foreach write in array array[
    'update reading_sessions set title = ''mine''', 'delete from reading_sessions',
    'insert into reading_sessions default values', 'update session_participants set role = ''host''',
    'delete from session_participants', 'update session_invites set revoked_at = null',
    'select lastseen.close_session(fixture.id(100), ''host'')', 'select cleanup_inactive_sessions()',
    'select check_session_expiry(fixture.id(100))', 'select purge_closed_sessions()'
  ] loop
    assert fixture.fails_with('42501', write), write;
  end loop;

  perform fixture.become('authenticated', fixture.id(2));
  assert fixture.sees() = '101 202,203 1', 'b: ' || fixture.sees();
  perform fixture.become('authenticated', fixture.id(3));
  assert fixture.sees() = '100 200,201 1', 'c, who was removed from b''s session: ' || fixture.sees();
  assert not is_participant(fixture.id(101));
  perform fixture.become('authenticated', fixture.id(4));
  assert fixture.sees() = '- - 0', 'a stranger: ' || fixture.sees();
  perform fixture.become('authenticated');
  assert auth.uid() is null and fixture.sees() = '- - 0', 'without claims: ' || fixture.sees();

  perform fixture.become('anon');
  foreach secret in array array[
    'select id from reading_sessions', 'select id from session_participants', 'select id from session_invites',
    'select is_participant(fixture.id(100))'
  ] loop
    assert fixture.fails_with('42501', secret), secret;
  end loop;

  perform fixture.become('service_role');
  assert fixture.sees() = '100,101 200,201,202,203 2', 'service_role: ' || fixture.sees();
  perform fixture.become('lastseen_service');
  assert fixture.sees() = '100,101 200,201,202,203 2', 'lastseen_service: ' || fixture.sees();
end
$$;

reset role;
create role fixture_owner nologin;
grant usage on schema fixture to fixture_owner;
grant create on schema public to fixture_owner;
alter table reading_sessions owner to fixture_owner;
alter table session_participants owner to fixture_owner;
alter table session_invites owner to fixture_owner;
set local role fixture_owner;

do $$
begin
  assert fixture.sees() = '- - 0', 'the owner: ' || fixture.sees();
end
$$;

reset role;
do $$
begin
  assert not exists (
    select from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'
      and relname in ('reading_sessions', 'session_participants', 'session_invites')
      and not (relrowsecurity and relforcerowsecurity));
  assert not exists (
    select from pg_proc
    where (pronamespace = 'lastseen'::regnamespace
           or proname in ('is_participant', 'check_session_expiry', 'cleanup_inactive_sessions', 'purge_closed_sessions'))
      -- The names in a parsed body were looked up when it was made.
      and prosqlbody is null
      and (proconfig is null or not exists (select from unnest(proconfig) as c where c like 'search\_path=%'))),
    'every function pins its search_path';
  assert not exists (
    select from pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) as acl
    where (pronamespace = 'lastseen'::regnamespace
           or proname in ('is_participant', 'check_session_expiry', 'cleanup_inactive_sessions', 'purge_closed_sessions'))
      and acl.grantee = 0), 'no function is everybody''s';
  assert (select array_agg(oid::regprocedure::text order by proname) from pg_proc where proowner = 'lastseen_definer'::regrole)
    = array['is_participant(uuid)', 'lastseen.stored_subject(uuid)'];
end
$$;

rollback;
