-- Every verdict of admit() with its detail, and that a refusal writes nothing.
begin;
\ir fixture.sql

insert into reading_sessions (id, host_user_id, title) values
  (fixture.id(100), fixture.id(1), 'open'), (fixture.id(101), fixture.id(1), 'another');
insert into reading_sessions (id, host_user_id, is_active, closed_at, close_reason) values
  (fixture.id(102), fixture.id(1), false, now(), 'host');
insert into reading_sessions (id, host_user_id, last_seen_at, last_activity_at) values
  (fixture.id(103), fixture.id(1), now() - interval '2 hours', now() - interval '2 hours'),
  (fixture.id(104), fixture.id(1), now() - interval '2 hours', now() - interval '2 hours');
insert into session_participants (id, session_id, user_id, name, last_seen_at, last_activity_at, left_at, leave_reason) values
  (fixture.id(210), fixture.id(100), fixture.id(2), 'Bea', now(), now(), null, null),
  (fixture.id(211), fixture.id(100), fixture.id(3), 'Cid', now(), now(), now(), 'removed'),
  (fixture.id(212), fixture.id(102), fixture.id(2), 'Bea', now(), now(), now(), 'closed'),
  (fixture.id(213), fixture.id(103), fixture.id(2), 'Bea', now() - interval '2 hours', now() - interval '2 hours', now(), 'left'),
  -- Seen just now, while the session's own stamp lags; did nothing for long.
  (fixture.id(214), fixture.id(104), fixture.id(2), 'Bea', now(), now() - interval '2 hours', null, null),
  (fixture.id(215), fixture.id(102), fixture.id(3), 'Cid', now(), now(), now(), 'removed');
insert into session_invites (id, session_id, token_sha256, role, max_uses, uses, expires_at, revoked_at) values
  (fixture.id(300), fixture.id(100), fixture.token('any'), 'guest', null, 0, now() + interval '1 hour', null),
  (fixture.id(301), fixture.id(100), fixture.token('two'), 'participant', 2, 0, null, null),
  (fixture.id(302), fixture.id(100), fixture.token('expired'), 'guest', null, 0, now() - interval '1 second', null),
  (fixture.id(303), fixture.id(100), fixture.token('revoked'), 'guest', null, 0, null, now()),
  (fixture.id(304), fixture.id(102), fixture.token('closed'), 'guest', null, 0, null, now()),
  (fixture.id(305), fixture.id(103), fixture.token('stale'), 'guest', null, 0, null, null),
  (fixture.id(306), fixture.id(104), fixture.token('lagging'), 'guest', null, 0, null, null);

create function fixture.ask(
  session int, resume int default null, generation int default null, caller int default null, invite text default null,
  name text default null, counts text default 'seen', new_id int default null
) returns lastseen.admission language sql
as $$
  select lastseen.admit(fixture.id(session), fixture.id(resume), generation, fixture.id(caller), fixture.token(invite),
                        name, interval '1 hour', counts, 'here', coalesce(fixture.id(new_id), gen_random_uuid()))
$$;

set local role lastseen_service;

do $$
declare
  before bigint := (select count(*) from session_participants);
  asked record;
  got lastseen.admission;
begin
  for asked in
    select * from (values
      ('session_not_found', null,      fixture.ask(999, resume => 210, generation => 0, caller => 1, invite => 'any', name => 'X')),
      ('removed',           null,      fixture.ask(100, resume => 211, generation => 0)),
      ('removed',           null,      fixture.ask(102, resume => 215, generation => 0)),
      ('unauthenticated',   null,      fixture.ask(100, resume => 210, generation => 1)),
      ('unauthenticated',   null,      fixture.ask(100, resume => 210)),
      ('unauthenticated',   null,      fixture.ask(100, resume => 999)),
      -- A refused resume does not fall through to what else is good, nor to another session's row.
      ('unauthenticated',   null,      fixture.ask(100, resume => 999, generation => 0, caller => 1, invite => 'any', name => 'X')),
      ('unauthenticated',   null,      fixture.ask(100, resume => 999, caller => 1, name => 'X')),
      ('unauthenticated',   null,      fixture.ask(101, resume => 210, generation => 0)),
      ('session_closed',    'host',    fixture.ask(102, resume => 212, generation => 0)),
      ('removed',           null,      fixture.ask(100, caller => 3, invite => 'any', name => 'Cid')),
      ('removed',           null,      fixture.ask(102, caller => 3)),
      ('session_closed',    'host',    fixture.ask(102, caller => 2)),
      ('session_closed',    'host',    fixture.ask(102, caller => 1, name => 'Ann')),
      ('invite_not_found',  null,      fixture.ask(100, invite => 'no such', name => 'X')),
      ('forbidden',         null,      fixture.ask(101, invite => 'any', name => 'X')),
      ('invite_expired',    'closed',  fixture.ask(102, invite => 'closed', name => 'X')),
      ('invite_expired',    'idle',    fixture.ask(103, invite => 'stale', name => 'X')),
      ('invite_expired',    'idle',    fixture.ask(104, invite => 'lagging', name => 'X', counts => 'activity')),
      ('invite_expired',    'revoked', fixture.ask(100, invite => 'revoked', name => 'X')),
      ('invite_expired',    'expired', fixture.ask(100, invite => 'expired', name => 'X')),
      ('forbidden',         null,      fixture.ask(100, caller => 9, name => 'X')),
      ('unauthenticated',   null,      fixture.ask(100, name => 'X')),
      ('name_needed',       null,      fixture.ask(100, invite => 'two')),
      ('name_needed',       null,      fixture.ask(100, caller => 1))
    ) as cases (verdict, detail, got)
  loop
    got := asked.got;
    assert got.verdict = asked.verdict and got.detail is not distinct from asked.detail,
      format('%s/%s instead of %s/%s', got.verdict, got.detail, asked.verdict, asked.detail);
    assert got.participant_id is null and got.session_id is null, 'a refusal tells nothing';
  end loop;
  assert (select count(*) from session_participants) = before, 'a refusal makes no participant';
  assert (select sum(uses) from session_invites) = 0, 'a refusal counts no use';
end
$$;

do $$
declare
  got lastseen.admission;
  again lastseen.admission;
begin
  got := fixture.ask(100, resume => 210, generation => 0);
  assert got.verdict = 'admitted' and got.participant_id = fixture.id(210) and got.name = 'Bea' and not got.newly_made;
  assert got.session_id = fixture.id(100) and got.title = 'open' and got.max_participants = 100;
  assert (select is_active and node = 'here' and last_seen_at > now() from session_participants where id = fixture.id(210));

  again := fixture.ask(100, caller => 2, name => 'Beatrice');
  assert again.participant_id = fixture.id(210) and again.name = 'Beatrice' and again.joined_at = got.joined_at,
    'somebody who is present keeps joined_at';

  assert (fixture.ask(103, caller => 2)).verdict = 'admitted', 'a member revives a stale session';
  assert (select leave_reason is null and left_at is null and joined_at > now() from session_participants where id = fixture.id(213));
  assert (fixture.ask(104, invite => 'lagging', name => 'Dan')).verdict = 'admitted', 'the people are the truth, not the session''s stamp';

  got := fixture.ask(100, caller => 1, name => 'Ann');
  assert got.verdict = 'admitted' and got.role = 'host' and got.newly_made and got.invite_id is null;

  -- The host has come before the invite, and its use is not counted.
  again := fixture.ask(100, caller => 1, invite => 'two', name => 'Ann');
  assert again.participant_id = got.participant_id and again.role = 'host' and not again.newly_made and not again.invite_counted;
  assert (select uses from session_invites where id = fixture.id(301)) = 0;

  got := fixture.ask(100, invite => 'any', name => 'Guest', new_id => 400);
  assert got.participant_id = fixture.id(400) and got.role = 'guest' and got.user_id is null and got.state = '{}';
  assert got.newly_made and got.invite_id = fixture.id(300) and got.invite_uncounted and not got.invite_counted;
  assert (select uses from session_invites where id = fixture.id(300)) = 0, 'counted with the flush';

  got := fixture.ask(100, caller => 5, invite => 'two', name => 'Eve');
  assert got.role = 'participant' and got.invite_counted and not got.invite_uncounted;
  again := fixture.ask(100, caller => 5, invite => 'two', name => 'Eve');
  assert again.participant_id = got.participant_id and not again.invite_counted and again.invite_id is null;
  assert (select uses from session_invites where id = fixture.id(301)) = 1, 'once per participant';

  -- Somebody came in by that row since: it is not taken back.
  assert not lastseen.give_back(got.participant_id, got.invite_id);
  got := fixture.ask(100, invite => 'two', name => 'Fay');
  again := fixture.ask(100, invite => 'two', name => 'Gus');
  assert again.verdict = 'invite_expired' and again.detail = 'used_up';
  assert lastseen.give_back(got.participant_id, got.invite_id);
  assert not lastseen.give_back(got.participant_id, got.invite_id), 'once';
  assert not exists (select from session_participants where id = got.participant_id);
  assert (select uses from session_invites where id = fixture.id(301)) = 1;

  assert fixture.fails_with('23514', $q$ select fixture.ask(100, invite => 'any', name => 'X', counts => 'both') $q$);
end
$$;

do $$
declare
  got record;
begin
  select * into strict got from lastseen.inspect_invite(fixture.token('any'), '1 hour', 'seen');
  assert got.verdict = 'ok' and got.detail is null and got.session_id = fixture.id(100) and got.title = 'open';
  assert got.role = 'guest' and got.invite_expires_at = now() + interval '1 hour' and got.session_expires_at > now();
  select * into strict got from lastseen.inspect_invite(fixture.token('no such'), '1 hour', 'seen');
  assert got.verdict = 'invite_not_found' and got.session_id is null;
  select * into strict got from lastseen.inspect_invite(fixture.token('closed'), '1 hour', 'seen');
  assert got.verdict = 'invite_expired' and got.detail = 'closed';
  select * into strict got from lastseen.inspect_invite(fixture.token('lagging'), '1 hour', 'activity');
  assert got.verdict = 'ok', 'Dan did something: he came in';
end
$$;

rollback;
