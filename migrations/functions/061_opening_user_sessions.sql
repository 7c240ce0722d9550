-- Opening a user session, or continuing it. Also run by a user's own call, within the policies.

create or replace function lastseen.open_user_session(
  new_id         uuid,
  caller         uuid,
  client_session text,
  on_platform    text,
  device         jsonb,
  location       jsonb,
  data           jsonb,
  agent          text,
  address        inet,
  holder         text,
  ago            interval,
  timeout        interval
) returns table (verdict text, found_id uuid)
language plpgsql rows 1 set search_path = ''
as $$
declare
  began constant timestamptz := now() - ago;
  session public.user_sessions;
begin
  insert into public.user_sessions as s
    (id, user_id, session_id, platform, started_at, last_activity_at, last_heartbeat_at, expires_at,
     device_info, location_info, metadata, user_agent, ip_address, node)
  values
    (new_id, caller, client_session, on_platform, began, began, began, began + timeout,
     coalesce(device, '{}'), coalesce(location, '{}'), coalesce(data, '{}'), agent, address, holder)
  on conflict (session_id) do nothing
  returning s.* into session;
  if session.id is not null then
    return query select 'opened', session.id;
    return;
  end if;

  update public.user_sessions as s
  set status = 'active',
      last_activity_at = greatest(s.last_activity_at, began),
      last_heartbeat_at = greatest(s.last_heartbeat_at, began),
      expires_at = greatest(s.last_heartbeat_at, began) + timeout,
      device_info = coalesce(device, s.device_info),
      location_info = coalesce(location, s.location_info),
      metadata = coalesce(data, s.metadata),
      user_agent = coalesce(agent, s.user_agent),
      ip_address = coalesce(address, s.ip_address),
      node = coalesce(holder, s.node),
      -- The counts are those of another server; the flush of this one writes its own.
      frontend_connections = case when holder <> s.node then 0 else s.frontend_connections end,
      sse_connections = case when holder <> s.node then 0 else s.sse_connections end,
      updated_at = now()
  where s.session_id = client_session and s.user_id = caller and s.platform = on_platform
    and s.ended_at is null and s.expires_at > began
  returning s.* into session;
  if session.id is not null then
    return query select 'continued', session.id;
    return;
  end if;

  -- A read, not an update: the policies let a user see an ended session but not change it.
  select s.* into session from public.user_sessions as s
  where s.session_id = client_session and s.user_id = caller and s.platform = on_platform;
  return query select case when session.id is null then 'session_id_taken' else 'session_ended' end, session.id;
end
$$;
comment on function lastseen.open_user_session is
  'Opens a user session or continues it where it is the caller''s and alive and returns which; else `session_id_taken` (another user''s, or on another platform) or `session_ended`. `holder` is the server that a connection came to, null for a call; `ago` is how long ago.';

revoke all on function lastseen.open_user_session from public, anon, authenticated, service_role, lastseen_service;
grant execute on function lastseen.open_user_session to authenticated, lastseen_service, service_role;
