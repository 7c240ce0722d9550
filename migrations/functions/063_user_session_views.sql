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

revoke all on public.active_sessions_summary from public, anon, authenticated, service_role, lastseen_service;
grant select on public.active_sessions_summary to authenticated, lastseen_service, service_role;
