-- Expiry, cleanup, close, purge; and how people are put out.
begin;
\ir fixture.sql

-- 100 fresh · 101 stale · 102 its stamp lags, somebody is there · 103 seen, but inactive · 104 nobody came, and it is old
insert into reading_sessions (id, created_at, last_seen_at, last_activity_at) values
  (fixture.id(100), now(), now() - interval '15 minutes', now() - interval '15 minutes'),
  (fixture.id(101), now(), now() - interval '2 hours', now() - interval '3 hours'),
  (fixture.id(102), now(), now() - interval '2 hours', now() - interval '2 hours'),
  (fixture.id(103), now(), now(), now() - interval '2 hours'),
  (fixture.id(104), now(), now() - interval '1 hour', now() - interval '1 hour');
insert into session_participants (id, session_id, name, is_active, last_seen_at, last_activity_at, left_at, leave_reason) values
  (fixture.id(210), fixture.id(101), 'Ann', true, now() - interval '90 minutes', now() - interval '2 hours', null, null),
  (fixture.id(211), fixture.id(101), 'Bea', false, now() - interval '3 hours', now() - interval '3 hours', now() - interval '3 hours', 'left'),
  (fixture.id(212), fixture.id(101), 'Cid', false, now() - interval '3 hours', now() - interval '3 hours', now() - interval '3 hours', 'removed'),
  (fixture.id(213), fixture.id(102), 'Dan', true, now() - interval '10 minutes', now() - interval '20 minutes', null, null),
  (fixture.id(214), fixture.id(103), 'Eve', true, now(), now() - interval '2 hours', null, null);
insert into session_invites (session_id, token_sha256) values (fixture.id(101), fixture.token('101')), (fixture.id(102), fixture.token('102'));

set local role lastseen_service;

do $$
declare
  e record;
  closed uuid[];
begin
  select * into strict e from check_session_expiry(fixture.id(100));
  assert not e.expired and e.minutes_until_expiry = 45 and e.expires_at = now() + interval '45 minutes';
  select * into strict e from check_session_expiry(fixture.id(102));
  assert not e.expired and e.minutes_until_expiry = 50 and e.last_seen_at = now() - interval '10 minutes';
  select * into strict e from check_session_expiry(fixture.id(102), counts => 'activity');
  assert e.minutes_until_expiry = 40 and e.last_seen_at = now() - interval '10 minutes';
  select * into strict e from check_session_expiry(fixture.id(102), '10 minutes');
  assert e.expired and e.minutes_until_expiry = 0, 'at the very moment';
  select * into strict e from check_session_expiry(fixture.id(102), '10 minutes 1 second');
  assert not e.expired and e.minutes_until_expiry = 1, 'the last second is a minute, not none';
  assert not exists (select from check_session_expiry(fixture.id(999))), 'unknown';
  assert fixture.fails_with('23514', $q$ select * from check_session_expiry(fixture.id(100), counts => 'both') $q$);
  assert fixture.fails_with('23514', $q$ select * from cleanup_inactive_sessions(counts => 'both') $q$);

  select array_agg(c.id order by c.id) into closed from cleanup_inactive_sessions() as c;
  assert closed = array[fixture.id(101), fixture.id(104)], closed::text;
  assert (select bool_and(not is_active and closed_at = now() and close_reason = 'idle') from reading_sessions where id = any (closed));
  assert (select not is_active and leave_reason = 'closed' and left_at = last_seen_at from session_participants where id = fixture.id(210));
  assert (select array_agg(leave_reason order by id) from session_participants where id in (fixture.id(211), fixture.id(212)))
    = array['left', 'removed'], 'who was gone before keeps the reason';
  assert (select array_agg(revoked_at is not null order by session_id) from session_invites) = array[true, false];
  assert (select last_seen_at = now() - interval '10 minutes' and last_activity_at = now() - interval '20 minutes'
          from reading_sessions where id = fixture.id(102)), 'a lagging stamp is set right';
  assert not exists (select from cleanup_inactive_sessions()), 'each is closed once';

  select array_agg(c.id order by c.id) into closed from cleanup_inactive_sessions('1 hour', 'activity') as c;
  assert closed = array[fixture.id(103)], closed::text;
  select * into strict e from check_session_expiry(fixture.id(103));
  assert e.expired and e.expires_at = now(), 'closed is expired';
end
$$;

do $$
declare
  s reading_sessions;
begin
  select * into strict s from lastseen.close_session(fixture.id(102), 'host');
  assert s.id = fixture.id(102) and not s.is_active and s.close_reason = 'host' and s.updated_at = now();
  assert (select leave_reason from session_participants where id = fixture.id(213)) = 'closed';
  assert not exists (select from lastseen.close_session(fixture.id(102), 'admin')), 'closed before';
  assert not exists (select from lastseen.close_session(fixture.id(999), 'admin')), 'unknown';
  assert fixture.fails_with('23514', $q$ select lastseen.close_session(fixture.id(100), 'boredom') $q$);

  update reading_sessions set closed_at = now() - interval '31 days' where id = fixture.id(101);
  assert purge_closed_sessions() = 1 and purge_closed_sessions() = 0;
  assert not exists (select from session_participants where session_id = fixture.id(101));
  assert not exists (select from session_invites where session_id = fixture.id(101));
end
$$;

do $$
begin
  insert into session_participants (id, session_id, name, is_active, node, last_seen_at) values
    (fixture.id(220), fixture.id(100), 'Fay', true, 'here', now() - interval '1 day'),
    (fixture.id(221), fixture.id(100), 'Gus', true, 'there', now() - interval '1 day'),
    (fixture.id(222), fixture.id(100), 'Hal', true, 'there', now()),
    (fixture.id(223), fixture.id(100), 'Ida', true, null, now() - interval '1 day');
  assert lastseen.settle_strangers('here', '2 minutes', 1) = 1 and lastseen.settle_strangers('here', '2 minutes') = 1;
  assert (select array_agg(id order by id) from session_participants where session_id = fixture.id(100) and is_active)
    = array[fixture.id(220), fixture.id(222)];
  assert (select leave_reason = 'timeout' and left_at = last_seen_at from session_participants where id = fixture.id(221));

  assert lastseen.remove_participant(fixture.id(100), fixture.id(222));
  assert not lastseen.remove_participant(fixture.id(100), fixture.id(222)), 'removed before';
  assert not lastseen.remove_participant(fixture.id(103), fixture.id(220)), 'of another session';
  assert (select not is_active and leave_reason = 'removed' and left_at = now() and resume_generation = 1
          from session_participants where id = fixture.id(222));
end
$$;

rollback;
