-- What an invite is worth.

create or replace function lastseen.invite_fault(
  invite public.session_invites, session public.reading_sessions, idle interval, counts lastseen.idle_counts
) returns text
language plpgsql stable set search_path = ''
as $$
declare
  kept_open_at timestamptz := case counts when 'activity' then session.last_activity_at else session.last_seen_at end;
begin
  -- The session's own stamp may lag: only where it looks stale are the participants read.
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
  'Why the invite no longer opens its session (closed, idle, revoked, expired, used_up), or null where it does.';

create or replace function lastseen.inspect_invite(token_sha256 bytea, idle interval, counts text)
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
  'What an invite would do, without using it: ok, invite_not_found, or invite_expired with the invite_fault().';

revoke all on function
  lastseen.invite_fault,
  lastseen.inspect_invite
from public, anon, authenticated, service_role, lastseen_service;
grant execute on function
  lastseen.invite_fault,
  lastseen.inspect_invite
to lastseen_service, service_role;
