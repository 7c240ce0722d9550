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
  assert fixture.fails_with('42501', $q$ insert into check_ins (user_id, extension_count) values (fixture.id(1), 7) $q$);
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

-- What users write beside the server: a check-in is of now, runs an hour from now at most, and is what it was once it
-- is over.
delete from check_ins;
do $$
declare
  touched int;
  c check_ins;
  time text;
begin
  perform fixture.become('authenticated', fixture.id(1));
  insert into check_ins (id, user_id, name, checked_in_at, expires_at, status)
  values (fixture.id(110), fixture.id(1), 'Ann', now(), now() + interval '1 hour', 'active'),
         -- By a clock that is fast, and by one that is slow.
         (fixture.id(111), fixture.id(1), 'Ann', now() + interval '4 minutes', now() + interval '64 minutes', 'active'),
         (fixture.id(112), fixture.id(1), 'Ann', now() - interval '20 minutes', now() + interval '40 minutes', 'active');
  assert (select bool_and(checked_in_at <= clock_timestamp() and expires_at <= clock_timestamp() + interval '1 hour'
                          and extended_at is null and extension_count = 0) from check_ins);
  assert (select minutes_remaining = 40 from active_check_ins where id = fixture.id(112));
  foreach time in array array['infinity', '-infinity', '9999-12-31', '10000-01-01', '0001-01-01', 'now() + 10 years',
                              'now() + 70 minutes', 'now() - 70 minutes'] loop
    time := case when time like 'now%' then now() + replace(substr(time, 6), ' ', '')::interval else time::timestamptz end;
    assert fixture.fails_with('23514', format($q$ insert into check_ins (user_id, expires_at) values (fixture.id(1), %L) $q$, time)), time;
    assert fixture.fails_with('23514', format($q$ update check_ins set expires_at = %L $q$, time)), time;
    assert fixture.fails_with('23514', format($q$ update check_ins set status = 'inactive', checked_out_at = %L $q$, time)), time;
    assert fixture.fails_with('23514', format($q$ insert into check_ins (user_id, checked_in_at) values (fixture.id(1), %L) $q$, time)), time;
  end loop;

  -- An extension leaves a trace, however it is written.
  update check_ins set expires_at = clock_timestamp() + interval '1 hour' where id = fixture.id(112);
  update check_ins set expires_at = clock_timestamp() + interval '2 minutes' where id = fixture.id(112);
  update check_ins set expires_at = clock_timestamp() + interval '62 minutes' where id = fixture.id(112);
  select * into c from check_ins where id = fixture.id(112);
  assert c.extension_count = 2 and c.extended_at between now() and clock_timestamp()
    and c.expires_at <= clock_timestamp() + interval '1 hour', c::text;
  assert (select extension_count = 2 and extended_at = c.extended_at from active_check_ins where id = c.id);
  assert fixture.fails_with('42501', $q$ update check_ins set extension_count = 0, extended_at = null $q$);

  -- Checked out, in as many words as a client likes, and for good.
  update check_ins set status = 'inactive' where id = fixture.id(110);
  update check_ins set checked_out_at = now() + interval '1 minute' where id = fixture.id(111);
  update check_ins set status = 'inactive', checked_out_at = now() - interval '10 minutes' where id = fixture.id(112);
  assert (select array_agg((status, checked_out_at between now() and clock_timestamp())::text order by id) from check_ins)
    = array['(inactive,t)', '(inactive,t)', '(inactive,f)'];
  update check_ins set status = 'active', checked_out_at = null, expires_at = now() + interval '1 hour', name = 'Ann again';
  get diagnostics touched = row_count;
  assert touched = 0, 'what was checked out is over';

  -- One whose hour is over: checked out as of then, and nothing else.
  perform fixture.become('lastseen_service');
  insert into check_ins (id, user_id, checked_in_at, expires_at) values
    (fixture.id(113), fixture.id(1), now() - interval '3 hours', now() - interval '2 hours');
  perform fixture.become('authenticated', fixture.id(1));
  assert fixture.fails_with('23514', $q$ update check_ins set expires_at = now() + interval '1 hour' where id = fixture.id(113) $q$);
  assert fixture.fails_with('23514', $q$ update check_ins set expires_at = checked_in_at where id = fixture.id(113) $q$);
  assert fixture.fails_with('23514', $q$ update check_ins set name = 'Ann' where id = fixture.id(113) $q$);
  update check_ins set status = 'inactive', checked_out_at = now() where id = fixture.id(113);
  assert (select checked_out_at = expires_at from check_ins where id = fixture.id(113));

  -- The service writes what it knows to be true, an extension with its trace.
  perform fixture.become('lastseen_service');
  insert into check_ins (id, user_id, checked_in_at, expires_at)
  values (fixture.id(114), fixture.id(1), '2020-01-01', now() + interval '1 day');
  update check_ins set expires_at = expires_at + interval '10 years' where id = fixture.id(114);
  assert (select extension_count = 1 from check_ins where id = fixture.id(114));
  assert fixture.fails_with('23514', $q$ update check_ins set extended_at = null where id = fixture.id(114) $q$);
end
$$;

-- A role that inherits from users is a user.
reset role;
create role fixture_member nologin in role authenticated;
grant usage on schema fixture to fixture_member;
do $$
begin
  perform fixture.become('fixture_member', fixture.id(1));
  insert into check_ins (user_id) values (fixture.id(1));
  assert fixture.fails_with('23514', $q$ insert into check_ins (user_id, expires_at) values (fixture.id(1), now() + interval '10 years') $q$);
end
$$;

rollback;
