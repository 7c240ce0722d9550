-- Users see and change their own check-ins.

revoke all on public.check_ins from public, anon, authenticated, service_role, lastseen_service;
grant select, insert, update, delete on public.check_ins to lastseen_service, service_role;
grant select on public.check_ins to authenticated;
grant insert (id, user_id, name) on public.check_ins to authenticated;
grant update (name, expires_at, checked_out_at, status) on public.check_ins to authenticated;

drop policy if exists service_does_all on public.check_ins;
create policy service_does_all on public.check_ins
  for all to lastseen_service, service_role using (true) with check (true);
drop policy if exists people_see_their_own on public.check_ins;
create policy people_see_their_own on public.check_ins
  for select to authenticated using (user_id = (select auth.uid()));
drop policy if exists people_make_their_own on public.check_ins;
create policy people_make_their_own on public.check_ins
  for insert to authenticated with check (user_id = (select auth.uid()));
drop policy if exists people_change_their_own on public.check_ins;
create policy people_change_their_own on public.check_ins
  for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
