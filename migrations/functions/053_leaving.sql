-- Participants who go without saying so.

create or replace function lastseen.remove_participant(session uuid, participant uuid) returns boolean
language sql set search_path = ''
as $$
  with removed as (
    update public.session_participants as p
    set is_active = false, left_at = now(), leave_reason = 'removed', resume_generation = p.resume_generation + 1
    where p.id = participant and p.session_id = session and p.leave_reason is distinct from 'removed'
    returning p.id
  )
  select exists (select from removed)
$$;
comment on function lastseen.remove_participant is
  'Removes a person for good: the row stays, and keeps them out. False where there is no such participant.';

create or replace function lastseen.revoke_invite_of(session uuid, participant uuid) returns boolean
language sql set search_path = ''
as $$
  with revoked as (
    update public.session_invites as i
    set revoked_at = now()
    from public.session_participants as p
    where p.id = participant and p.session_id = session and i.id = p.invite_id and i.session_id = session
      and i.revoked_at is null
    returning i.id
  )
  select exists (select from revoked)
$$;
comment on function lastseen.revoke_invite_of is
  'Revokes the invite by which a participant came in. False where there is none that is not revoked.';

create or replace function lastseen.readmit_participant(session uuid, participant uuid) returns boolean
language sql set search_path = ''
as $$
  with readmitted as (
    update public.session_participants as p
    set leave_reason = 'left'
    where p.id = participant and p.session_id = session and p.leave_reason = 'removed'
    returning p.id
  )
  select exists (select from readmitted)
$$;
comment on function lastseen.readmit_participant is
  'Takes a removal back: a user may come in again. Resume tokens of before stay dead. False where nobody of this id was removed.';

create or replace function lastseen.settle_strangers(node text, stale interval, at_most int default null) returns bigint
language sql set search_path = ''
as $$
  -- SKIP LOCKED: a row that is being written is not stale. It never waits, so these locks need no order.
  with strangers as materialized (
    select p.id from public.session_participants as p
    join public.reading_sessions as s on s.id = p.session_id
    where s.is_active and p.is_active and p.node is distinct from settle_strangers.node and p.last_seen_at < now() - stale
    limit at_most
    for no key update of p skip locked
  ), settled as (
    update public.session_participants as p
    set is_active = false, left_at = p.last_seen_at, leave_reason = 'timeout'
    from strangers
    where p.id = strangers.id
    returning p.id
  )
  select count(*) from settled
$$;
comment on function lastseen.settle_strangers is
  'Ends the presence of participants that another server left active and no server has seen since, and returns how many; with `at_most` no more than so many. A server settles its own participants itself.';

revoke all on function
  lastseen.remove_participant,
  lastseen.revoke_invite_of,
  lastseen.readmit_participant,
  lastseen.settle_strangers
from public, anon, authenticated, service_role, lastseen_service;
grant execute on function
  lastseen.remove_participant,
  lastseen.revoke_invite_of,
  lastseen.readmit_participant,
  lastseen.settle_strangers
to lastseen_service, service_role;
