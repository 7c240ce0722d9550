-- Who sees which reading sessions, participants and invites. Users read the sessions that they host or take
-- part in, and write nothing: changes go through the server, as lastseen_service. A guest has no identity in
-- the database, so anon sees nothing.

-- Default privileges (Supabase has some) grant new tables to everybody.
revoke all on public.reading_sessions, public.session_participants, public.session_invites
  from public, anon, authenticated, service_role, lastseen_service, lastseen_monitor;

grant select, insert, update, delete
  on public.reading_sessions, public.session_participants, public.session_invites
  to lastseen_service, service_role;

grant select on public.reading_sessions to authenticated, lastseen_monitor;
grant select on public.session_participants to lastseen_monitor;
-- By column: without resume_generation, which signs tokens, and without the hashes of tokens.
grant select (id, session_id, user_id, name, role, is_active, state, node, joined_at, last_seen_at,
              last_activity_at, left_at, leave_reason)
  on public.session_participants to authenticated;
grant select (id, session_id, role, max_uses, uses, expires_at, created_by, created_at, revoked_at)
  on public.session_invites to authenticated, lastseen_monitor;

drop policy if exists service_does_all on public.reading_sessions;
create policy service_does_all on public.reading_sessions
  for all to lastseen_service, service_role using (true) with check (true);
drop policy if exists service_does_all on public.session_participants;
create policy service_does_all on public.session_participants
  for all to lastseen_service, service_role using (true) with check (true);
drop policy if exists service_does_all on public.session_invites;
create policy service_does_all on public.session_invites
  for all to lastseen_service, service_role using (true) with check (true);

drop policy if exists monitors_see_all on public.reading_sessions;
create policy monitors_see_all on public.reading_sessions
  for select to lastseen_monitor using (true);
drop policy if exists monitors_see_all on public.session_participants;
create policy monitors_see_all on public.session_participants
  for select to lastseen_monitor using (true);
drop policy if exists monitors_see_all on public.session_invites;
create policy monitors_see_all on public.session_invites
  for select to lastseen_monitor using (true);

drop policy if exists people_see_their_sessions on public.reading_sessions;
create policy people_see_their_sessions on public.reading_sessions
  for select to authenticated
  using (host_user_id = (select auth.uid()) or public.is_participant(id));

drop policy if exists people_see_each_other on public.session_participants;
create policy people_see_each_other on public.session_participants
  for select to authenticated
  using (
    session_id in (select s.id from public.reading_sessions as s where s.host_user_id = (select auth.uid()))
    or public.is_participant(session_id)
  );

drop policy if exists people_see_the_invites on public.session_invites;
create policy people_see_the_invites on public.session_invites
  for select to authenticated
  using (
    session_id in (select s.id from public.reading_sessions as s where s.host_user_id = (select auth.uid()))
    or public.is_participant(session_id)
  );
