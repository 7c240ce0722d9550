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

create or replace function lastseen.withdraw_admission(
  session uuid, new_id uuid, resume_participant uuid, caller uuid, invite_sha256 bytea, node text
) returns void
language plpgsql set search_path = ''
as $$
begin
  perform lastseen.give_back(new_id, (
    select i.id from public.session_invites as i
    where i.token_sha256 = withdraw_admission.invite_sha256 and i.max_uses is not null
  ));
  update public.session_participants as p
  set is_active = false, left_at = p.last_seen_at, leave_reason = 'timeout'
  where p.session_id = session and p.is_active and p.node = withdraw_admission.node
    and (p.id = resume_participant or p.user_id = caller);
end
$$;
comment on function lastseen.withdraw_admission is
  'Undoes what admit() may have done where its answer was lost.';

revoke all on function
  lastseen.give_back,
  lastseen.withdraw_admission
from public, anon, authenticated, service_role, lastseen_service;
grant execute on function
  lastseen.give_back,
  lastseen.withdraw_admission
to lastseen_service, service_role;
