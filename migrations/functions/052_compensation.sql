-- Undoing an admission that is not used.

create or replace function lastseen.give_back(participant uuid, invite uuid) returns boolean
language plpgsql set search_path = ''
as $$
begin
  -- Another tab of the same user may have joined by the same row since: then the row stays.
  delete from public.session_participants as p
  where p.id = participant and p.last_seen_at = p.joined_at;
  if not found then
    return false;
  end if;

  update public.session_invites as i set uses = greatest(i.uses - 1, 0) where i.id = invite;
  return true;
end
$$;
comment on function lastseen.give_back is
  'Undoes an admission that made the row and whose connection then failed; the invite only where a use was counted. False where a later join used that row: row and use stay.';

create or replace function lastseen.withdraw_admissions(
  sessions uuid[], new_ids uuid[], resume_participants uuid[], callers uuid[], invite_hashes bytea[], node text
) returns setof uuid
language plpgsql rows 100 set search_path = ''
as $$
declare
  lost   record;
  counts uuid;
begin
  for lost in
    select * from unnest(sessions, new_ids, resume_participants, callers, invite_hashes)
      as l (session, new_id, resumed, caller, invite_sha256)
  loop
    -- SKIP LOCKED: the next time is soon enough, and one row that is locked must not hold up the others. It never
    -- waits, so these locks need no order.
    continue when (
      select count(*) from public.session_participants as p
      where p.id in (lost.new_id, lost.resumed) or (p.session_id = lost.session and p.user_id = lost.caller)
    ) > (
      select count(*) from (
        select from public.session_participants as p
        where p.id in (lost.new_id, lost.resumed) or (p.session_id = lost.session and p.user_id = lost.caller)
        for update skip locked
      ) as free
    );

    counts := null;
    if exists (select from public.session_participants as p where p.id = lost.new_id) then
      select i.id into counts from public.session_invites as i
      where i.token_sha256 = lost.invite_sha256 and i.max_uses is not null;
      if found then
        perform from public.session_invites as i where i.id = counts for no key update skip locked;
        continue when not found;
      end if;
      perform lastseen.give_back(lost.new_id, counts);
    end if;

    update public.session_participants as p
    set is_active = false, left_at = p.last_seen_at, leave_reason = 'timeout'
    where (p.id = lost.resumed or (p.session_id = lost.session and p.user_id = lost.caller))
      and p.session_id = lost.session and p.is_active and p.node = withdraw_admissions.node;
    return next lost.new_id;
  end loop;
end
$$;
comment on function lastseen.withdraw_admissions is
  'Undoes what admit() may have done where its answer was lost, and returns the new ids of those requests; without those that need a row which another transaction has locked.';

revoke all on function
  lastseen.give_back,
  lastseen.withdraw_admissions
from public, anon, authenticated, service_role, lastseen_service;
grant execute on function
  lastseen.give_back,
  lastseen.withdraw_admissions
to lastseen_service, service_role;
