-- How people come in: one call, one round trip, one verdict.

create function lastseen.invite_fault(
  invite public.session_invites, session public.reading_sessions, idle interval, counts lastseen.idle_counts
) returns text
language plpgsql stable set search_path = ''
as $$
declare
  kept_open_at timestamptz := case counts when 'activity' then session.last_activity_at else session.last_seen_at end;
begin
  -- The session's own stamp may lag, so only where it looks stale are its people asked.
  if session.is_active and kept_open_at <= now() - idle then
    select life.kept_open_at into kept_open_at from lastseen.signs_of_life(array[session.id], counts) as life;
  end if;

  return case
    when not session.is_active then 'closed'
    when kept_open_at <= now() - idle then 'idle'
    when invite.revoked_at is not null then 'revoked'
    when invite.expires_at <= now() then 'expired'
    when invite.uses >= invite.max_uses then 'used_up'
  end;
end
$$;
comment on function lastseen.invite_fault is
  'Why the invite opens its session no more (closed, idle, revoked, expired, used_up), or null where it does.';

create type lastseen.admission as (
  verdict                  text,
  detail                   text,
  participant_id           uuid,
  user_id                  uuid,
  name                     text,
  role                     text,
  state                    jsonb,
  joined_at                timestamptz,
  resume_generation        int,
  newly_made               boolean,
  invite_id                uuid,
  invite_counted           boolean,
  invite_uncounted         boolean,
  session_id               uuid,
  title                    text,
  host_user_id             uuid,
  max_participants         int,
  session_created_at       timestamptz,
  session_last_seen_at     timestamptz,
  session_last_activity_at timestamptz
);
comment on type lastseen.admission is
  'What admit() found. A verdict other than `admitted` is the code of a refusal, or `name_needed`, and all but its detail is null.';
comment on column lastseen.admission.detail is
  'With session_closed the close_reason, with invite_expired the invite_fault().';
comment on column lastseen.admission.newly_made is 'This call made the row; give_back() takes it back.';
comment on column lastseen.admission.invite_id is 'The invite that made the row; null for whoever was in the session before.';
comment on column lastseen.admission.invite_counted is 'A use was counted here.';
comment on column lastseen.admission.invite_uncounted is 'The invite has no max_uses: the server counts the use with its flush.';

create function lastseen.refusal(verdict text, detail text default null) returns lastseen.admission
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
comment on function lastseen.refusal is 'The admission() of somebody who is not let in.';

create function lastseen.admit(
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
  -- Not now(): this may have waited for a lock, and give_back() tells by it who came in later.
  arrived   timestamptz;
  came_new  boolean := false;
  invited   boolean;
begin
  -- FOR SHARE lets joins pass each other and keeps out whoever would close the session. After a
  -- wait it is the row as the other left it. The row itself is not touched.
  select * into s from public.reading_sessions as rs where rs.id = session for share;
  if not found then
    return lastseen.refusal('session_not_found');
  end if;

  -- Again only for whoever lost the race of two tabs: the next round finds the winner's row.
  loop
    invited := false;

    if resume_participant is not null then
      select * into p from public.session_participants as sp
      where sp.id = resume_participant and sp.session_id = session
      for no key update;
    else
      select * into p from public.session_participants as sp
      where sp.session_id = session and sp.user_id = caller
      for no key update;
    end if;

    if p.leave_reason = 'removed' then
      return lastseen.refusal('removed');
    elsif resume_participant is not null
      and (p.id is null or p.resume_generation is distinct from admit.resume_generation) then
      -- A token that is refused stays refused, whatever else was shown with it.
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
      (id, session_id, user_id, name, role, is_active, node, joined_at, last_seen_at, last_activity_at)
    values
      (new_id, session, caller, display_name,
       -- A guest is somebody without an account: a user who comes by a guest's invite is a participant.
       case when not invited then 'host'
            when invite.role = 'guest' and caller is not null then 'participant'
            else invite.role end,
       true, admit.node, arrived, arrived, arrived)
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
    -- After the row and not before, so that it is counted for the winner of a race only, and
    -- locked in the same order as everywhere.
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

create function lastseen.give_back(participant uuid, invite uuid) returns boolean
language plpgsql set search_path = ''
as $$
begin
  -- Another tab of the same user may have come in by the same row since: then it is theirs.
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
  'Undoes an admission that made the row and whose connection then failed; the invite only where a use was counted. False where somebody came in by that row since: it and its use stay.';

create function lastseen.withdraw_admission(
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
  'Takes back what admit() may have done for somebody who never heard of it, since the answer was lost.';

create function lastseen.inspect_invite(token_sha256 bytea, idle interval, counts text)
returns table (verdict text, detail text, session_id uuid, title text, invite_expires_at timestamptz,
               role text, session_expires_at timestamptz)
language sql stable rows 1 set search_path = ''
as $$
  select case when i.id is null then 'invite_not_found' when fault.why is null then 'ok' else 'invite_expired' end,
         fault.why,
         s.id,
         s.title,
         i.expires_at,
         i.role,
         (select e.expires_at from public.check_session_expiry(s.id, idle, counts) as e)
  from (values (inspect_invite.token_sha256)) as shown (token_sha256)
  left join public.session_invites as i on i.token_sha256 = shown.token_sha256
  left join public.reading_sessions as s on s.id = i.session_id
  left join lateral (
    select lastseen.invite_fault(i, s, idle, counts) where i.id is not null
  ) as fault (why) on true
$$;
comment on function lastseen.inspect_invite is
  'What a link is good for, before anybody uses it: ok, invite_not_found, or invite_expired with the invite_fault().';

revoke all on function
  lastseen.invite_fault(public.session_invites, public.reading_sessions, interval, lastseen.idle_counts),
  lastseen.refusal(text, text),
  lastseen.admit(uuid, uuid, int, uuid, bytea, text, interval, text, text, uuid),
  lastseen.give_back(uuid, uuid),
  lastseen.withdraw_admission(uuid, uuid, uuid, uuid, bytea, text),
  lastseen.inspect_invite(bytea, interval, text)
from public, anon, authenticated;
grant execute on function
  lastseen.invite_fault(public.session_invites, public.reading_sessions, interval, lastseen.idle_counts),
  lastseen.refusal(text, text),
  lastseen.admit(uuid, uuid, int, uuid, bytea, text, interval, text, text, uuid),
  lastseen.give_back(uuid, uuid),
  lastseen.withdraw_admission(uuid, uuid, uuid, uuid, bytea, text),
  lastseen.inspect_invite(bytea, interval, text)
to lastseen_service, service_role;
