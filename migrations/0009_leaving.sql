-- How people go without having said so.

create function lastseen.remove_participant(session uuid, participant uuid) returns boolean
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
  'Puts somebody out for good: the row stays, and keeps them out. False where there is nobody to remove.';

create function lastseen.settle_strangers(node text, stale interval) returns bigint
language sql set search_path = ''
as $$
  -- SKIP LOCKED: whoever is being written about just now is not stale.
  with strangers as materialized (
    select p.id from public.session_participants as p
    where p.is_active and p.node is distinct from settle_strangers.node and p.last_seen_at < now() - stale
    order by p.id
    for no key update skip locked
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
  'Ends the presence of people whom another server left behind and no server has seen since, and says how many. A server''s own people are for it to settle.';

revoke all on function
  lastseen.remove_participant(uuid, uuid),
  lastseen.settle_strangers(text, interval)
from public, anon, authenticated;
grant execute on function
  lastseen.remove_participant(uuid, uuid),
  lastseen.settle_strangers(text, interval)
to lastseen_service, service_role;
