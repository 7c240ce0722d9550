-- Check-ins: what runs, what is deleted, and who sees and changes what.
begin;
\ir fixture.sql

-- 100 fresh · 101 a minute and a bit left · 102 expired, nobody checked out · 103 checked out · 104 old
insert into check_ins (id, user_id, name, checked_in_at, expires_at, checked_out_at, status) values
  (fixture.id(100), fixture.id(1), 'Ann', now(), now() + interval '1 hour', null, 'active'),
  (fixture.id(101), fixture.id(2), 'Bea', now() - interval '58 minutes', now() + interval '61 seconds', null, 'active'),
  (fixture.id(102), fixture.id(3), 'Cid', now() - interval '1 hour', now(), null, 'active'),
  (fixture.id(103), fixture.id(1), 'Ann', now() - interval '50 minutes', now() + interval '10 minutes', now() - interval '20 minutes', 'inactive'),
  (fixture.id(104), fixture.id(2), null, now() - interval '8 days', now() - interval '8 days' + interval '1 hour', null, 'active');

do $$
begin
  assert (select array_agg((right(c.id::text, 3), c.name, c.minutes_remaining)::text order by c.id) from active_check_ins as c)
    = array['(100,Ann,60)', '(101,Bea,2)'], 'the last seconds are a minute, and the very end is over';
  assert fixture.fails_with('23514', $q$ insert into check_ins (user_id, status) values (fixture.id(1), 'gone') $q$);
  assert fixture.fails_with('23514', $q$ insert into check_ins (user_id, status) values (fixture.id(1), 'inactive') $q$);
  assert fixture.fails_with('23514', $q$ update check_ins set checked_out_at = now() where id = fixture.id(100) $q$);
end
$$;

create function fixture.sees() returns text language sql as $$
  select (select coalesce(string_agg(right(id::text, 3), ',' order by id), '-') from check_ins)
    || ' ' || (select coalesce(string_agg(right(id::text, 3), ',' order by id), '-') from active_check_ins)
$$;

do $$
declare
  touched int;
begin
  perform fixture.become('authenticated', fixture.id(1));
  assert fixture.sees() = '100,103 100', 'a: ' || fixture.sees();
  update check_ins set expires_at = now() where user_id <> fixture.id(1);
  get diagnostics touched = row_count;
  assert touched = 0, 'another''s is not there to be changed';
  update check_ins set expires_at = now() + interval '2 minutes' where id = fixture.id(100);
  insert into check_ins (id, user_id, name) values (fixture.id(105), fixture.id(1), 'Ann');
  assert fixture.fails_with('42501', $q$ insert into check_ins (user_id) values (fixture.id(2)) $q$);
  assert fixture.fails_with('42501', $q$ update check_ins set user_id = fixture.id(2) $q$);
  assert fixture.fails_with('42501', $q$ insert into check_ins (user_id, checked_in_at) values (fixture.id(1), '2020-01-01') $q$);
  assert fixture.fails_with('42501', $q$ delete from check_ins $q$);
  assert fixture.fails_with('42501', $q$ select cleanup_old_check_ins() $q$);
  perform fixture.become('authenticated');
  assert fixture.sees() = '- -', 'without claims: ' || fixture.sees();
  perform fixture.become('anon');
  assert fixture.fails_with('42501', $q$ select id from check_ins $q$);
  assert fixture.fails_with('42501', $q$ select id from active_check_ins $q$);

  perform fixture.become('lastseen_service');
  assert fixture.sees() = '100,101,102,103,104,105 100,101,105', 'the service: ' || fixture.sees();
  assert cleanup_old_check_ins('9 days') = 0;
  assert cleanup_old_check_ins() = 1 and cleanup_old_check_ins() = 0;
  assert not exists (select from check_ins where id = fixture.id(104));
  assert cleanup_old_check_ins('-1 second') = 1, 'the one whose hour is over';
end
$$;

rollback;
