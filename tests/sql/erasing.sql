-- What is kept of one person: exported, and deleted, with nothing of others.
begin;
\ir fixture.sql

-- 100 hosted by a · 101 by b · both take part in both; c is a guest's place without a user
insert into reading_sessions (id, title, host_user_id) values
  (fixture.id(100), 'Emma', fixture.id(1)), (fixture.id(101), 'Ulysses', fixture.id(2));
insert into session_participants (id, session_id, user_id, name, role, state) values
  (fixture.id(110), fixture.id(100), fixture.id(1), 'Ada', 'host', '{"page": 7}'),
  (fixture.id(111), fixture.id(100), fixture.id(2), 'Bob', 'participant', '{}'),
  (fixture.id(112), fixture.id(101), fixture.id(1), 'Ada', 'participant', '{}'),
  (fixture.id(113), fixture.id(101), null, 'Guest', 'guest', '{}');
insert into session_invites (id, session_id, token_sha256, created_by) values
  (fixture.id(120), fixture.id(100), fixture.token('a'), fixture.id(1)),
  (fixture.id(121), fixture.id(100), fixture.token('b'), fixture.id(2));
insert into room_sits (id, session_id, started_by, node, sit_length_seconds, ends_at) values
  (fixture.id(130), fixture.id(100), fixture.id(110), 'one', 600, now() + interval '10 minutes');
-- 140 of a and b · 141 of a alone · 142 of a alone, with a sit of b, who went
insert into partnerships (id) values (fixture.id(140)), (fixture.id(141)), (fixture.id(142));
insert into partnership_members values
  (fixture.id(140), fixture.id(1)), (fixture.id(140), fixture.id(2)), (fixture.id(141), fixture.id(1)),
  (fixture.id(142), fixture.id(1));
insert into sits (id, user_id, partnership_id, sit_length_seconds) values
  (fixture.id(150), fixture.id(1), fixture.id(140), 600), (fixture.id(151), fixture.id(1), null, 600),
  (fixture.id(152), fixture.id(2), fixture.id(142), 600), (fixture.id(153), fixture.id(1), fixture.id(141), 600);
insert into check_ins (id, user_id, name) values (fixture.id(160), fixture.id(1), 'Ada'), (fixture.id(161), fixture.id(2), 'Bob');
-- 170 plain · 171 with a simulator that is over · 172 with one that runs · 173 with one that is being stopped · 174 of b
insert into user_sessions (id, user_id, session_id, platform, user_agent, ip_address, metadata, node) values
  (fixture.id(170), fixture.id(1), 's170', 'web', 'Firefox', '203.0.113.0/24', '{"a": 1}', 'one'),
  (fixture.id(171), fixture.id(1), 's171', 'web', null, null, '{}', null),
  (fixture.id(172), fixture.id(1), 's172', 'web', 'Firefox', '203.0.113.0/24', '{"a": 1}', 'one'),
  (fixture.id(173), fixture.id(1), 's173', 'web', null, null, '{}', null),
  (fixture.id(174), fixture.id(2), 's174', 'web', 'Firefox', null, '{}', null);
insert into simulators (id, user_session_id, user_id, status, endpoint, node, launcher, handle, stopped_at) values
  (fixture.id(180), fixture.id(171), fixture.id(1), 'STOPPED', null, 'one', 'process', null, now()),
  (fixture.id(181), fixture.id(172), fixture.id(1), 'STOPPED', null, 'one', 'process', null, now()),
  (fixture.id(182), fixture.id(172), fixture.id(1), 'RUNNING', 'http://127.0.0.1:1', 'one', 'process', '{"pid": 1}', null),
  (fixture.id(183), fixture.id(173), fixture.id(1), 'STOPPING', null, 'one', 'process', null, null),
  (fixture.id(184), fixture.id(174), fixture.id(2), 'RUNNING', 'http://127.0.0.1:2', 'one', 'process', null, null);

create function fixture.of(document jsonb, system text) returns text language sql as $$
  select coalesce(string_agg(right(item ->> 'id', 3), ',' order by item ->> 'id'), '-')
  from jsonb_array_elements(document -> system) as item
$$;

-- Users are not asked, not even for their own.
select fixture.become('authenticated', fixture.id(1));
do $$
begin
  assert fixture.fails_with('42501', format('select erase_user(%L)', fixture.id(1)));
  assert fixture.fails_with('42501', format('select export_user(%L)', fixture.id(1)));
end
$$;
select fixture.become('anon');
do $$
begin
  assert fixture.fails_with('42501', format('select erase_user(%L)', fixture.id(1)));
  assert fixture.fails_with('42501', format('select export_user(%L)', fixture.id(1)));
end
$$;

select fixture.become('service_role');

do $$
declare
  it jsonb := export_user(fixture.id(1));
begin
  assert it ->> 'user_id' = fixture.id(1)::text and it ? 'exported_at';
  assert fixture.of(it, 'reading_sessions') = '100' and fixture.of(it, 'participants') = '110,112';
  assert fixture.of(it, 'invites') = '120' and fixture.of(it, 'room_sits') = '130';
  assert fixture.of(it, 'user_sessions') = '170,171,172,173' and fixture.of(it, 'check_ins') = '160';
  assert fixture.of(it, 'sits') = '150,151,153' and fixture.of(it, 'partnerships') = '140,141,142';
  assert fixture.of(it, 'simulators') = '180,181,182,183';
  assert it #>> '{participants,0,name}' = 'Ada' and it #> '{user_sessions,0,metadata}' = '{"a": 1}';
  assert it #>> '{user_sessions,0,ip_address}' = '203.0.113.0/24';
  -- Neither hashes and what signs tokens, nor what belongs to servers, nor another person.
  assert it::text !~ 'token_sha256|resume_generation|"node"|"handle"|"launcher"', it::text;
  assert it::text !~ right(fixture.token('a')::text, 20) and it::text !~ fixture.id(2)::text, it::text;
  assert export_user(fixture.id(9)) - 'exported_at' = jsonb_build_object('user_id', fixture.id(9),
    'reading_sessions', '[]'::jsonb, 'participants', '[]'::jsonb, 'invites', '[]'::jsonb, 'room_sits', '[]'::jsonb,
    'user_sessions', '[]'::jsonb, 'check_ins', '[]'::jsonb, 'sits', '[]'::jsonb, 'partnerships', '[]'::jsonb,
    'simulators', '[]'::jsonb);
end
$$;

create temporary table others as select export_user(fixture.id(2)) as document;

do $$
declare
  done record;
  it   jsonb;
begin
  select * into strict done from erase_user(fixture.id(1));
  assert (done.participants, done.user_sessions, done.check_ins, done.sits, done.partnership_memberships)
       = (2, 4, 1, 3, 3), done::text;
  assert (done.partnerships, done.simulators, done.simulators_stopping, done.sessions_hosted, done.invites_created)
       = (1, 2, 2, 1, 1), done::text;

  -- What is left is marked to be stopped, and says nothing.
  it := export_user(fixture.id(1));
  assert fixture.of(it, 'simulators') = '182,183' and fixture.of(it, 'user_sessions') = '172,173';
  assert it::text !~ 's172|s173|Firefox|203\.0|"a"', it::text;
  assert (select bool_and(status = 'STOPPING' and erase_when_stopped) from simulators where user_id = fixture.id(1));
  assert (select handle from simulators where id = fixture.id(182)) = '{"pid": 1}', 'its server finds it by that';
  assert (select bool_and(ended_at is not null) from user_sessions where user_id = fixture.id(1));
  assert fixture.of(it, 'participants') = '-' and fixture.of(it, 'sits') = '-' and fixture.of(it, 'check_ins') = '-';
  assert fixture.of(it, 'reading_sessions') = '-' and fixture.of(it, 'invites') = '-' and fixture.of(it, 'partnerships') = '-';

  -- Others have all that is theirs.
  assert (select document - 'exported_at' from others) = export_user(fixture.id(2)) - 'exported_at';
  assert (select host_user_id is null and is_active from reading_sessions where id = fixture.id(100));
  assert (select created_by is null and revoked_at is null from session_invites where id = fixture.id(120));
  assert (select started_by is null from room_sits where id = fixture.id(130));
  assert exists (select from session_participants where id = fixture.id(113));
  assert (select user_ids = array[fixture.id(2)] from partnerships where id = fixture.id(140)), 'one is left';
  assert not exists (select from partnerships where id = fixture.id(141)), 'nobody, and nothing was sat';
  assert (select user_ids = '{}' from partnerships where id = fixture.id(142)), 'of a sit of another';

  -- The servers have stopped them.
  update simulators set status = 'STOPPED', stopped_at = now() where id = fixture.id(182);
  assert fixture.of(export_user(fixture.id(1)), 'user_sessions') = '173';
  update simulators set status = 'ERROR', stopped_at = now(), error = 'x' where id = fixture.id(183);
  assert export_user(fixture.id(1)) - 'exported_at' = 
      export_user(fixture.id(9)) - 'exported_at' || jsonb_build_object('user_id', fixture.id(1));
  update simulators set status = 'STOPPED', stopped_at = now() where id = fixture.id(184);
  assert exists (select from user_sessions where id = fixture.id(174)), 'nothing of others goes like that';

  -- Again: there is nothing.
  select * into strict done from erase_user(fixture.id(1));
  assert done::text = '(0,0,0,0,0,0,0,0,0,0)', done::text;
end
$$;

rollback;
