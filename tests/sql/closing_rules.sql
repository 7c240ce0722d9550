-- The closing rules that are off unless somebody asks: a greatest age, and company.
begin;
\ir fixture.sql

-- 100 fresh, two there · 101 old, two there · 102 old, one there, the other left long ago · 103 old, one
-- there, the other left just now · 104 old, nobody ever came · 105 old, two left long ago · 106 old and closed
insert into reading_sessions (id, created_at) values
  (fixture.id(100), now() - interval '1 minute'),
  (fixture.id(101), now() - interval '25 hours'),
  (fixture.id(102), now() - interval '2 hours'),
  (fixture.id(103), now() - interval '2 hours'),
  (fixture.id(104), now() - interval '2 hours'),
  (fixture.id(105), now() - interval '2 hours');
insert into reading_sessions (id, created_at, is_active, closed_at, close_reason) values
  (fixture.id(106), now() - interval '2 days', false, now(), 'host');
insert into session_participants (session_id, name, is_active, left_at, leave_reason) values
  (fixture.id(100), 'Ann', true, null, null),
  (fixture.id(100), 'Bea', true, null, null),
  (fixture.id(101), 'Ann', true, null, null),
  (fixture.id(101), 'Bea', true, null, null),
  (fixture.id(102), 'Ann', true, null, null),
  (fixture.id(102), 'Bea', false, now() - interval '1 hour', 'left'),
  (fixture.id(102), 'Cid', false, now() - interval '90 minutes', 'timeout'),
  (fixture.id(103), 'Ann', true, null, null),
  (fixture.id(103), 'Bea', false, now() - interval '5 minutes', 'left'),
  (fixture.id(105), 'Ann', false, now() - interval '10 minutes', 'left'),
  (fixture.id(105), 'Bea', false, now() - interval '80 minutes', 'left');
-- A host that has not connected yet is nobody's company.
insert into session_participants (session_id, user_id, role) values (fixture.id(102), fixture.id(1), 'host');

set local role lastseen_service;

do $$
declare
  since  timestamptz[];
  closed uuid[];
begin
  select array_agg(a.since order by a.session_id) into since
  from lastseen.alone_since(array(select fixture.id(n) from generate_series(100, 105) as n) || fixture.id(999)) as a;
  assert since = array['infinity', 'infinity', now() - interval '1 hour', now() - interval '5 minutes',
                       now() - interval '2 hours', now() - interval '80 minutes']::timestamptz[], since::text;

  select array_agg(c.id order by c.id) into closed from close_lonely_sessions('1 hour') as c;
  assert closed = array[fixture.id(102), fixture.id(104), fixture.id(105)], closed::text;
  assert (select bool_and(not is_active and closed_at = now() and close_reason = 'idle') from reading_sessions where id = any (closed));
  assert not exists (select from session_participants where session_id = any (closed) and is_active);
  assert not exists (select from close_lonely_sessions('1 hour')), 'each is closed once';
  select array_agg(c.id) into closed from close_lonely_sessions('5 minutes') as c;
  assert closed = array[fixture.id(103)], closed::text;

  select array_agg(c.id) into closed from close_aged_sessions() as c;
  assert closed = array[fixture.id(101)], closed::text;
  assert (select close_reason = 'expired' from reading_sessions where id = fixture.id(101));
  assert not exists (select from close_aged_sessions()), 'each is closed once';
  assert (select close_reason = 'host' from reading_sessions where id = fixture.id(106)), 'what was closed stays as it was';
  assert (select is_active from reading_sessions where id = fixture.id(100));
end
$$;

rollback;
