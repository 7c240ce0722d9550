-- Users see their own simulators.

revoke all on public.simulators from public, anon, authenticated, service_role, lastseen_service, lastseen_monitor;
grant select, insert, update, delete on public.simulators to lastseen_service, service_role;
-- By column: without node, launcher and handle. Users write nothing: a forged handle would have the server
-- kill another process.
grant select (id, user_session_id, user_id, status, endpoint, initial_symbols, initial_cash, created_at,
              last_active, stopped_at, error)
  on public.simulators to authenticated;
grant select on public.simulators to lastseen_monitor;

drop policy if exists service_does_all on public.simulators;
create policy service_does_all on public.simulators
  for all to lastseen_service, service_role using (true) with check (true);
drop policy if exists monitors_see_all on public.simulators;
create policy monitors_see_all on public.simulators
  for select to lastseen_monitor using (true);
drop policy if exists users_see_their_simulators on public.simulators;
create policy users_see_their_simulators on public.simulators
  for select to authenticated
  using (user_id = (select auth.uid()));
