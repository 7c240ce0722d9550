-- User sessions as operators look at them.

create or replace view public.active_sessions_summary with (security_invoker = true) as
select s.platform,
       count(*) as active_count,
       round(avg(greatest(extract(epoch from now() - s.started_at), 0)) / 60, 1) as avg_session_minutes,
       min(s.started_at) as oldest_session,
       max(s.last_activity_at) as latest_activity
from public.user_sessions as s
where s.ended_at is null and s.expires_at > now()
group by s.platform;
comment on view public.active_sessions_summary is 'The user sessions that are alive now, by platform: a user''s own, for the service all.';

create or replace view public.connection_statistics with (security_invoker = true) as
select s.id,
       s.session_id,
       s.user_id,
       s.platform,
       s.status,
       s.node,
       s.frontend_connections,
       s.sse_connections,
       s.connection_quality,
       s.last_ws_connection,
       s.last_heartbeat_at
from public.user_sessions as s
where s.ended_at is null and s.expires_at > now();
comment on view public.connection_statistics is
  'Of each user session that is alive now: how many WebSockets (frontend_connections) and event streams (sse_connections) its server holds, the quality of the connection, and when the last WebSocket was opened. As of the last flush of that server.';

revoke all on public.active_sessions_summary, public.connection_statistics
from public, anon, authenticated, service_role, lastseen_service, lastseen_monitor;
grant select on public.active_sessions_summary to authenticated, lastseen_service, service_role, lastseen_monitor;
grant select on public.connection_statistics to lastseen_service, service_role, lastseen_monitor;
