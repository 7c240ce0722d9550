-- `lastseen migrate --compat session-service`: user sessions and simulators by the names of a session service. To be
-- read: what changes them are the calls of the server.

do $$
declare
  wanted text;
begin
  foreach wanted in array array['session', 'simulator'] loop
    if to_regnamespace(wanted) is null then
      execute format('create schema %I', wanted);
      execute format('revoke all on schema %I from public, anon, authenticated, service_role, lastseen_service', wanted);
      execute format('comment on schema %I is %L', wanted, 'Made by lastseen migrate --compat session-service; dropped with its views.');
    end if;
    execute format('grant usage on schema %I to authenticated, lastseen_service, service_role, lastseen_monitor', wanted);
  end loop;
end
$$;

-- Such a service keeps ids as text.
drop index if exists public.user_sessions_of_user_as_text;
create index user_sessions_of_user_as_text on public.user_sessions ((user_id::text));

-- A session stays listed as long as it would have run, and one that has expired until the sweep ends it: as long as a
-- session service keeps its rows. One that is over has no expires_at to come, since apps ask for that alone.
create or replace view session.active_sessions with (security_invoker = true) as
  select s.session_id,
         s.user_id::text as user_id,
         case
           when s.status = 'timeout' or s.ended_at is null and s.expires_at <= now() then 'EXPIRED'
           when s.ended_at is not null then 'INACTIVE'
           when s.status = 'reconnecting' then 'RECONNECTING'
           else 'ACTIVE'
         end as status,
         s.started_at as created_at,
         greatest(s.last_heartbeat_at, s.last_activity_at) as last_active,
         case when s.ended_at is null then s.expires_at else least(s.expires_at, s.ended_at, now()) end as expires_at,
         null::text as token
  from public.user_sessions as s
  where s.ended_at is null or s.expires_at > now();
comment on view session.active_sessions is
  'The user sessions in the words of a session service. ACTIVE is also one whose user is idle; INACTIVE has ended; EXPIRED had no heartbeat in time.';
comment on column session.active_sessions.session_id is 'user_sessions.session_id.';
comment on column session.active_sessions.token is 'Always null: tokens are not stored.';

create or replace view session.session_metadata with (security_invoker = true) as
  select s.session_id,
         s.metadata || jsonb_build_object(
           'pod_name', s.node,
           'ip_address', s.ip_address::text,
           'frontend_connections', s.frontend_connections,
           'sse_connections', s.sse_connections,
           'last_ws_connection', extract(epoch from s.last_ws_connection),
           'connection_quality', upper(s.connection_quality),
           'simulator_id', case when newest.is_live then newest.id end,
           'simulator_endpoint', case when newest.is_live then newest.endpoint end,
           'simulator_status', coalesce(newest.status, 'NONE')
         ) as metadata
  from public.user_sessions as s
  left join lateral (
    select i.id, i.endpoint, i.status, i.status not in ('STOPPED', 'ERROR') as is_live
    from public.simulators as i
    where i.user_session_id = s.id
    order by i.created_at desc
    limit 1
  ) as newest on true
  where s.ended_at is null or s.expires_at > now();
comment on view session.session_metadata is
  'Of each of active_sessions what the app put into user_sessions.metadata, and over it what the server knows. last_ws_connection is in seconds since 1970.';

create or replace view simulator.instances with (security_invoker = true) as
  select s.id::text as simulator_id,
         u.session_id,
         s.user_id::text as user_id,
         s.status,
         s.endpoint,
         s.created_at,
         greatest(s.last_active, u.last_activity_at) as last_active,
         s.initial_symbols,
         s.initial_cash
  from public.simulators as s
  join public.user_sessions as u on u.id = s.user_session_id;
comment on view simulator.instances is
  'The simulators by the names of a session service, those that have stopped included. last_active counts the activity of the session too.';

revoke all on session.active_sessions, session.session_metadata, simulator.instances
  from public, anon, authenticated, service_role, lastseen_service, lastseen_monitor;
grant select on session.active_sessions, session.session_metadata, simulator.instances
  to authenticated, lastseen_service, service_role, lastseen_monitor;

create or replace function session.cleanup_expired_sessions() returns int
language sql set search_path = ''
as $$
  select public.expire_user_sessions()::int
$$;
comment on function session.cleanup_expired_sessions is
  'expire_user_sessions() by the name that a session service gives it: ends the sessions past their expires_at, and returns how many. They are not listed any more; their rows stay until cleanup_old_sessions().';

revoke all on function session.cleanup_expired_sessions from public, anon, authenticated, service_role, lastseen_service;
grant execute on function session.cleanup_expired_sessions to lastseen_service, service_role;
