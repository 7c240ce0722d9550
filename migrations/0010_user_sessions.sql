-- User sessions: one device of one user, on the web and in apps.

-- fillfactor: beats rewrite these rows all the time, and a row whose new version fits on its page
-- needs no index entry (HOT). For the same reason no index may name, not even in its predicate, a
-- column that beats move (status, expires_at, node, the stamps and the counts).

create table public.user_sessions (
  id                     uuid        not null default gen_random_uuid() primary key,
  user_id                uuid        not null,
  session_id             text        not null unique check (char_length(session_id) between 1 and 128),
  platform               text        not null
    check (platform in ('web', 'ios-external', 'ios-internal', 'ios-widget', 'macos-internal')),
  status                 text        not null default 'active'
    check (status in ('active', 'idle', 'reconnecting', 'ended', 'timeout')),
  started_at             timestamptz not null default now(),
  last_activity_at       timestamptz not null default now(),
  last_heartbeat_at      timestamptz not null default now(),
  expires_at             timestamptz not null default now() + interval '1 hour',
  ended_at               timestamptz,
  end_reason             text        check (end_reason in ('logout', 'timeout', 'manual', 'app_close', 'crash')),
  total_duration_seconds bigint      check (total_duration_seconds >= 0),
  activity_count         bigint      not null default 0 check (activity_count >= 0),
  frontend_connections   int         not null default 0 check (frontend_connections >= 0),
  sse_connections        int         not null default 0 check (sse_connections >= 0),
  last_ws_connection     timestamptz,
  connection_quality     text        check (connection_quality in ('GOOD', 'DEGRADED', 'POOR')),
  node                   text,
  device_info            jsonb       not null default '{}' check (jsonb_typeof(device_info) = 'object'),
  location_info          jsonb       not null default '{}' check (jsonb_typeof(location_info) = 'object'),
  metadata               jsonb       not null default '{}' check (jsonb_typeof(metadata) = 'object'),
  user_agent             text        check (char_length(user_agent) <= 512),
  ip_address             inet,
  created_at             timestamptz not null default now(),
  updated_at             timestamptz not null default now(),
  constraint over_when_ended check ((status in ('ended', 'timeout')) = (ended_at is not null)),
  constraint ended_for_a_reason check ((ended_at is null) = (end_reason is null)),
  constraint ended_with_a_duration check ((ended_at is null) = (total_duration_seconds is null)),
  constraint address_is_masked check (
    ip_address = network(ip_address)::inet and masklen(ip_address) <= case family(ip_address) when 4 then 24 else 48 end
  )
) with (fillfactor = 50);

-- What the sweep asks. Not by expires_at, which every beat moves: it reads those that have not ended,
-- which are few beside those that are kept, and looks at their rows.
create index user_sessions_open on public.user_sessions (started_at, id) where ended_at is null;
create index user_sessions_ended on public.user_sessions (ended_at) where ended_at is not null;
create index user_sessions_newest on public.user_sessions (started_at desc, id desc);
create index user_sessions_of_user on public.user_sessions (user_id, started_at desc, id desc);

comment on table public.user_sessions is
  'One device of one user. A heartbeat is whatever is heard of it: a call, or anything that comes over one of its connections. Ended ones are kept until cleanup_old_sessions().';
comment on column public.user_sessions.user_id is 'No foreign key: a plain PostgreSQL has no table of users.';
comment on column public.user_sessions.session_id is 'Made by the client, which knows the session by it.';
comment on column public.user_sessions.status is
  'As of the last heartbeat. `reconnecting`: the last connection was lost, and not closed. Past expires_at it is over whatever this says.';
comment on column public.user_sessions.expires_at is 'The last heartbeat and the timeout of the server that heard it.';
comment on column public.user_sessions.ended_at is 'With the status `timeout`, when it was last heard of.';
comment on column public.user_sessions.frontend_connections is 'WebSockets that `node` holds.';
comment on column public.user_sessions.sse_connections is 'Event streams that `node` holds.';
comment on column public.user_sessions.last_ws_connection is 'When the last WebSocket was opened.';
comment on column public.user_sessions.connection_quality is 'By the round trip of the last Ping.';
comment on column public.user_sessions.node is 'The server that holds the connections, or held the last one.';
comment on column public.user_sessions.device_info is 'At most 8 KiB, like location_info and metadata, which the server sees to.';
comment on column public.user_sessions.ip_address is 'The network it came from, and no closer: /24 of IPv4, /48 of IPv6.';
comment on column public.user_sessions.updated_at is 'Set by the statements, not by a trigger: beats touch this table.';

alter table public.user_sessions enable row level security;
alter table public.user_sessions force row level security;
revoke all on public.user_sessions from public, anon, authenticated;
grant select, insert, update, delete on public.user_sessions to lastseen_service, service_role;
grant select, insert on public.user_sessions to authenticated;
-- By column: whose session it is, which one, and since when stays.
grant update (status, last_activity_at, last_heartbeat_at, expires_at, ended_at, end_reason, total_duration_seconds,
              activity_count, frontend_connections, sse_connections, device_info, location_info, metadata,
              user_agent, ip_address, node, updated_at)
  on public.user_sessions to authenticated;

create policy service_does_all on public.user_sessions
  for all to lastseen_service, service_role using (true) with check (true);
create policy users_see_their_sessions on public.user_sessions
  for select to authenticated using (user_id = (select auth.uid()));
create policy users_start_their_sessions on public.user_sessions
  for insert to authenticated with check (user_id = (select auth.uid()));
-- What is over stays as it ended, also for its user.
create policy users_change_their_sessions on public.user_sessions
  for update to authenticated
  using (user_id = (select auth.uid()) and ended_at is null and expires_at > now())
  with check (user_id = (select auth.uid()));

create function public.calculate_session_duration(session_start timestamptz, session_end timestamptz default now())
returns bigint
language sql immutable set search_path = ''
return greatest(0, floor(extract(epoch from session_end - session_start)))::bigint;
comment on function public.calculate_session_duration is
  'Whole seconds from start to end; none where the end comes first.';

create function lastseen.open_user_session(
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
      -- What another server held is not what this one holds, which its flush will say.
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

  -- Not as a change: to its user what is over is there to be seen and not to be changed.
  select s.* into session from public.user_sessions as s
  where s.session_id = client_session and s.user_id = caller and s.platform = on_platform;
  return query select case when session.id is null then 'session_id_taken' else 'session_ended' end, session.id;
end
$$;
comment on function lastseen.open_user_session is
  'Opens a user session or continues it where it is the caller''s and alive, and says which; else `session_id_taken` (another user''s, or on another platform) or `session_ended`. `holder` is the server that a connection came to, null for a call; `ago` is how long ago.';

create function lastseen.time_out_user_sessions(silent_for interval default null) returns bigint
language sql set search_path = ''
as $$
  -- SKIP LOCKED: a session that is being written about just now is not overdue. It never waits, so
  -- the order of these locks is free. Whatever was written before the lock was had is decided on
  -- again, since all of it stands in the row.
  with overdue as materialized (
    select s.id from public.user_sessions as s
    where s.ended_at is null
      and case when silent_for is null then s.expires_at <= now() else s.last_heartbeat_at <= now() - silent_for end
    for no key update skip locked
  ), timed_out as (
    update public.user_sessions as s
    set status = 'timeout',
        ended_at = s.last_heartbeat_at,
        end_reason = 'timeout',
        total_duration_seconds = public.calculate_session_duration(s.started_at, s.last_heartbeat_at),
        frontend_connections = 0,
        sse_connections = 0,
        updated_at = now()
    from overdue
    where s.id = overdue.id
    returning s.id
  )
  select count(*) from timed_out
$$;
comment on function lastseen.time_out_user_sessions is
  'Ends sessions that nothing was heard of for so long, or, without that, those past their expires_at, and says how many.';

create function public.expire_user_sessions() returns bigint
language sql set search_path = ''
as $$
  select lastseen.time_out_user_sessions()
$$;
comment on function public.expire_user_sessions is
  'Ends the user sessions whose expires_at has passed, as of when they were last heard of, and says how many. May run at once on several servers.';

create function public.end_inactive_sessions(timeout_minutes int default 60) returns bigint
language sql set search_path = ''
as $$
  select lastseen.time_out_user_sessions(make_interval(mins => coalesce(timeout_minutes, 60)))
$$;
comment on function public.end_inactive_sessions is
  'Ends the user sessions without a heartbeat for this many minutes, whatever their expires_at, and says how many.';

create function lastseen.purge_user_sessions(older_than interval) returns bigint
language sql set search_path = ''
as $$
  with old as materialized (
    select s.id from public.user_sessions as s
    where s.ended_at is not null and s.ended_at < now() - older_than
    for update skip locked
  ), purged as (
    delete from public.user_sessions as s using old where s.id = old.id returning s.id
  )
  select count(*) from purged
$$;
comment on function lastseen.purge_user_sessions is 'Deletes sessions that ended longer ago than this, and says how many.';

create function public.cleanup_old_sessions(days_old int default 90) returns bigint
language sql set search_path = ''
as $$
  select lastseen.purge_user_sessions(make_interval(days => coalesce(days_old, 90)))
$$;
comment on function public.cleanup_old_sessions is
  'Deletes user sessions that ended longer ago than this many days, and says how many.';

create function lastseen.settle_user_sessions(node text) returns bigint
language sql set search_path = ''
as $$
  with left_over as materialized (
    select s.id from public.user_sessions as s
    where s.ended_at is null and s.node = settle_user_sessions.node
      and s.frontend_connections + s.sse_connections > 0
    order by s.session_id collate "C"
    for no key update
  ), settled as (
    update public.user_sessions as s
    set frontend_connections = 0, sse_connections = 0, status = 'reconnecting', updated_at = now()
    from left_over
    where s.id = left_over.id
    returning s.id
  )
  select count(*) from settled
$$;
comment on function lastseen.settle_user_sessions is
  'Takes the connections for lost that a server had when it ended without saying so, and says of how many sessions.';

create view public.active_sessions_summary with (security_invoker = true) as
select s.platform,
       count(*) as active_count,
       round(avg(extract(epoch from now() - s.started_at)) / 60, 1) as avg_session_minutes,
       min(s.started_at) as oldest_session,
       max(s.last_activity_at) as latest_activity
from public.user_sessions as s
where s.ended_at is null and s.expires_at > now()
group by s.platform;
comment on view public.active_sessions_summary is 'The user sessions that are alive now, by platform.';

revoke all on public.active_sessions_summary from public, anon, authenticated;
grant select on public.active_sessions_summary to lastseen_service, service_role;

revoke all on function
  public.calculate_session_duration(timestamptz, timestamptz),
  lastseen.open_user_session(uuid, uuid, text, text, jsonb, jsonb, jsonb, text, inet, text, interval, interval),
  lastseen.time_out_user_sessions(interval),
  public.expire_user_sessions(),
  public.end_inactive_sessions(int),
  lastseen.purge_user_sessions(interval),
  public.cleanup_old_sessions(int),
  lastseen.settle_user_sessions(text)
from public, anon, authenticated;
grant execute on function
  lastseen.time_out_user_sessions(interval),
  public.expire_user_sessions(),
  public.end_inactive_sessions(int),
  lastseen.purge_user_sessions(interval),
  public.cleanup_old_sessions(int),
  lastseen.settle_user_sessions(text)
to lastseen_service, service_role;

-- What a user's own call runs, bound by the policies above.
grant usage on schema lastseen to authenticated;
grant execute on function
  public.calculate_session_duration(timestamptz, timestamptz),
  lastseen.open_user_session(uuid, uuid, text, text, jsonb, jsonb, jsonb, text, inet, text, interval, interval)
to authenticated, lastseen_service, service_role;
