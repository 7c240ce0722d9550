-- Users see and change their own check-ins.

revoke all on public.check_ins from public, anon, authenticated, service_role, lastseen_service, lastseen_monitor;
grant select, insert, update, delete on public.check_ins to lastseen_service, service_role;
grant select on public.check_ins to authenticated, lastseen_monitor;
-- What they may write there: 071_check_ins_of_users.sql.
grant insert (id, user_id, name, checked_in_at, expires_at, status) on public.check_ins to authenticated;
grant update (name, expires_at, checked_out_at, status) on public.check_ins to authenticated;

drop policy if exists service_does_all on public.check_ins;
create policy service_does_all on public.check_ins
  for all to lastseen_service, service_role using (true) with check (true);
drop policy if exists monitors_see_all on public.check_ins;
create policy monitors_see_all on public.check_ins
  for select to lastseen_monitor using (true);
drop policy if exists people_see_their_own on public.check_ins;
create policy people_see_their_own on public.check_ins
  for select to authenticated using (user_id = (select auth.uid()));
drop policy if exists people_make_their_own on public.check_ins;
create policy people_make_their_own on public.check_ins
  for insert to authenticated with check (user_id = (select auth.uid()));
drop policy if exists people_change_their_own on public.check_ins;
-- One that was checked out is not changed any more, not even by its user.
create policy people_change_their_own on public.check_ins
  for update to authenticated
  using (user_id = (select auth.uid()) and status = 'active')
  with check (user_id = (select auth.uid()));
