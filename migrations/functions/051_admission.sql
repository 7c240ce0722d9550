-- Admission: one call, one round trip, one verdict.

create or replace function lastseen.refusal(verdict text, detail text default null) returns lastseen.admission
language plpgsql immutable set search_path = ''
as $$
declare
  refused lastseen.admission;
begin
  refused.verdict := verdict;
  refused.detail := detail;
  return refused;
end
$$;
comment on function lastseen.refusal is 'The admission of a person who is not let in.';

create or replace function lastseen.admit(
  session            uuid,
  resume_participant uuid,
  resume_generation  int,
  caller             uuid,
  invite_sha256      bytea,
  display_name       text,
  idle               interval,
  counts             text,
  node               text,
  new_id             uuid
) returns lastseen.admission
language plpgsql set search_path = ''
as $$
declare
  s         public.reading_sessions;
  p         public.session_participants;
  invite    public.session_invites;
  fault     text;
  -- Not now(): the call may have waited for a lock, and give_back() compares this time with later joins.
  arrived   timestamptz;
  came_new  boolean := false;
  invited   boolean;
begin
  -- FOR SHARE lets joins run beside each other and blocks a close. After a wait this is the row as the
  -- other transaction left it. The row itself is not updated.
  select * into s from public.reading_sessions as rs where rs.id = session for share;
  if not found then
    return lastseen.refusal('session_not_found');
  end if;

  -- A second round only after a lost race of two tabs: it finds the winner's row.
  loop
    invited := false;

    if resume_participant is not null then
      select * into p from public.session_participants as sp
      where sp.id = resume_participant and sp.session_id = session
      for no key update;
    -- Not for a guest: with a null user this statement would be planned anew each time, since a plan for
    -- null is so much cheaper than one for all.
    elsif caller is not null then
      select * into p from public.session_participants as sp
      where sp.session_id = session and sp.user_id = caller
      for no key update;
    end if;

    if p.leave_reason = 'removed' then
      return lastseen.refusal('removed');
    elsif resume_participant is not null
      and (p.id is null or p.resume_generation is distinct from admit.resume_generation) then
      -- A refused token stays refused, whatever else comes with it.
      return lastseen.refusal('unauthenticated');
    elsif p.id is not null or caller = s.host_user_id then
      if not s.is_active then
        return lastseen.refusal('session_closed', s.close_reason);
      end if;
    elsif invite_sha256 is not null then
      select * into invite from public.session_invites as i where i.token_sha256 = invite_sha256;
      if not found then
        return lastseen.refusal('invite_not_found');
      elsif invite.session_id <> session then
        return lastseen.refusal('forbidden');
      end if;
      fault := lastseen.invite_fault(invite, s, idle, counts);
      if fault is not null then
        return lastseen.refusal('invite_expired', fault);
      end if;
      invited := true;
    elsif caller is not null then
      return lastseen.refusal('forbidden');
    else
      return lastseen.refusal('unauthenticated');
    end if;

    if coalesce(display_name, p.name) is null then
      return lastseen.refusal('name_needed');
    end if;

    arrived := clock_timestamp();
    exit when p.id is not null;

    insert into public.session_participants as sp
      (id, session_id, user_id, name, role, is_active, node, joined_at, last_seen_at, last_activity_at, invite_id)
    values
      (new_id, session, caller, display_name,
       -- A guest is a person without an account: a user who comes by a guest's invite is a participant.
       case when not invited then 'host'
            when invite.role = 'guest' and caller is not null then 'participant'
            else invite.role end,
       true, admit.node, arrived, arrived, arrived, case when invited then invite.id end)
    on conflict (session_id, user_id) do nothing
    returning * into p;
    came_new := found;
    exit when came_new;
  end loop;

  if not came_new then
    update public.session_participants as sp
    set is_active = true,
        node = admit.node,
        name = coalesce(display_name, sp.name),
        joined_at = case when sp.is_active then sp.joined_at else arrived end,
        last_seen_at = arrived,
        last_activity_at = arrived,
        left_at = null,
        leave_reason = null
    where sp.id = p.id
    returning * into p;
  elsif invited and invite.max_uses is not null then
    -- After the participant's row, so that a use is counted for the winner of a race only, and locks
    -- are taken in the common order.
    update public.session_invites as i set uses = i.uses + 1
    where i.id = invite.id and i.uses < i.max_uses;
    if not found then
      delete from public.session_participants as sp where sp.id = p.id;
      return lastseen.refusal('invite_expired', 'used_up');
    end if;
  end if;

  invited := invited and came_new;
  return (
    'admitted', null,
    p.id, p.user_id, p.name, p.role, p.state, p.joined_at, p.resume_generation, came_new,
    case when invited then invite.id end,
    invited and invite.max_uses is not null,
    invited and invite.max_uses is null,
    s.id, s.title, s.host_user_id, s.max_participants, s.created_at, s.last_seen_at, s.last_activity_at
  )::lastseen.admission;
end
$$;
comment on function lastseen.admit is
  'Lets a person into a reading session, or says why not; first match wins: resume, member or host, invite. The signature of a resume token and the room in the session are for the server to check.';

revoke all on function
  lastseen.refusal,
  lastseen.admit
from public, anon, authenticated, service_role, lastseen_service;
grant execute on function
  lastseen.refusal,
  lastseen.admit
to lastseen_service, service_role;
