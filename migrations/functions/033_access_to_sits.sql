-- Users see their own sits and those of their partnerships, and the sits of the rooms that they take part in.

revoke all on public.partnerships, public.partnership_members, public.room_sits, public.sits
  from public, anon, authenticated, service_role, lastseen_service, lastseen_monitor;
grant select, insert, update, delete
  on public.partnerships, public.partnership_members, public.room_sits, public.sits
  to lastseen_service, service_role;
grant select on public.partnerships, public.partnership_members, public.room_sits, public.sits
  to authenticated, lastseen_monitor;
-- Without room_sit_id: only the server records what was sat in a room.
grant insert (id, user_id, partnership_id, sit_length_seconds) on public.sits to authenticated;
grant update (completed_at, is_completed, status) on public.sits to authenticated;

drop policy if exists service_does_all on public.partnerships;
create policy service_does_all on public.partnerships
  for all to lastseen_service, service_role using (true) with check (true);
drop policy if exists service_does_all on public.partnership_members;
create policy service_does_all on public.partnership_members
  for all to lastseen_service, service_role using (true) with check (true);
drop policy if exists service_does_all on public.room_sits;
create policy service_does_all on public.room_sits
  for all to lastseen_service, service_role using (true) with check (true);
drop policy if exists service_does_all on public.sits;
create policy service_does_all on public.sits
  for all to lastseen_service, service_role using (true) with check (true);

drop policy if exists monitors_see_all on public.partnerships;
create policy monitors_see_all on public.partnerships
  for select to lastseen_monitor using (true);
drop policy if exists monitors_see_all on public.partnership_members;
create policy monitors_see_all on public.partnership_members
  for select to lastseen_monitor using (true);
drop policy if exists monitors_see_all on public.room_sits;
create policy monitors_see_all on public.room_sits
  for select to lastseen_monitor using (true);
drop policy if exists monitors_see_all on public.sits;
create policy monitors_see_all on public.sits
  for select to lastseen_monitor using (true);

drop policy if exists members_see_their_partnerships on public.partnerships;
create policy members_see_their_partnerships on public.partnerships
  for select to authenticated using (user_ids @> array[(select auth.uid())]);
drop policy if exists members_see_each_other on public.partnership_members;
create policy members_see_each_other on public.partnership_members
  for select to authenticated using (partnership_id in (select p.id from public.partnerships as p));

drop policy if exists people_see_the_sits_of_the_room on public.room_sits;
create policy people_see_the_sits_of_the_room on public.room_sits
  for select to authenticated
  using (
    session_id in (select s.id from public.reading_sessions as s where s.host_user_id = (select auth.uid()))
    or public.is_participant(session_id)
  );

drop policy if exists people_see_their_own_and_their_partners on public.sits;
create policy people_see_their_own_and_their_partners on public.sits
  for select to authenticated
  using (
    user_id = (select auth.uid())
    or partnership_id in (select p.id from public.partnerships as p where p.user_ids @> array[(select auth.uid())])
  );
drop policy if exists people_make_their_own on public.sits;
create policy people_make_their_own on public.sits
  for insert to authenticated
  with check (
    user_id = (select auth.uid())
    and (partnership_id is null
         or partnership_id in (select p.id from public.partnerships as p where p.user_ids @> array[(select auth.uid())]))
  );
drop policy if exists people_change_their_own on public.sits;
-- A sit that is over is not changed any more, not even by its user; but one that was sat to its end while nobody
-- was told can be completed: 083_sits_of_users.sql.
create policy people_change_their_own on public.sits
  for update to authenticated
  using (user_id = (select auth.uid())
         and (status = 'open'
              or status = 'abandoned' and started_at + make_interval(secs => sit_length_seconds) <= now()))
  with check (user_id = (select auth.uid()));
