-- Users see, start and change their own user sessions.

revoke all on public.user_sessions from public, anon, authenticated, service_role, lastseen_service, lastseen_monitor;
grant select, insert, update, delete on public.user_sessions to lastseen_service, service_role;
grant select on public.user_sessions to authenticated, lastseen_monitor;
-- By column: a session begins alive, without connections, and with nothing counted; user, session id and start
-- never change.
grant insert (id, user_id, session_id, platform, status, started_at, last_activity_at, last_heartbeat_at,
              expires_at, device_info, location_info, metadata, user_agent, ip_address, node)
  on public.user_sessions to authenticated;
grant update (status, last_activity_at, last_heartbeat_at, expires_at, ended_at, end_reason, total_duration_seconds,
              activity_count, frontend_connections, sse_connections, device_info, location_info, metadata,
              user_agent, ip_address, node, updated_at)
  on public.user_sessions to authenticated;

drop policy if exists service_does_all on public.user_sessions;
create policy service_does_all on public.user_sessions
  for all to lastseen_service, service_role using (true) with check (true);
drop policy if exists monitors_see_all on public.user_sessions;
create policy monitors_see_all on public.user_sessions
  for select to lastseen_monitor using (true);
drop policy if exists users_see_their_sessions on public.user_sessions;
create policy users_see_their_sessions on public.user_sessions
  for select to authenticated using (user_id = (select auth.uid()));
drop policy if exists users_start_their_sessions on public.user_sessions;
create policy users_start_their_sessions on public.user_sessions
  for insert to authenticated with check (user_id = (select auth.uid()));
-- An ended session is not changed any more, not even by its user.
drop policy if exists users_change_their_sessions on public.user_sessions;
create policy users_change_their_sessions on public.user_sessions
  for update to authenticated
  using (user_id = (select auth.uid()) and ended_at is null and expires_at > now())
  with check (user_id = (select auth.uid()));
