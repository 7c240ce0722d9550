-- Subjects: what the app calls a user whose id was made from it. stored_subject() is beside is_participant().

revoke all on lastseen.subjects from public, anon, authenticated, service_role, lastseen_service, lastseen_monitor;
grant select, insert, delete on lastseen.subjects to lastseen_service, service_role;
grant select on lastseen.subjects to lastseen_monitor;

drop policy if exists service_does_all on lastseen.subjects;
create policy service_does_all on lastseen.subjects
  for all to lastseen_service, service_role using (true) with check (true);
drop policy if exists monitors_see_all on lastseen.subjects;
create policy monitors_see_all on lastseen.subjects
  for select to lastseen_monitor using (true);
-- Users read no row themselves, or one could list all: what ids they see they have from rows that are shown to them.

-- Without `set search_path`, with which it would not be inlined; the body was resolved when it was made. An id that is no
-- UUIDv5 was not made from a subject: nothing is looked up for it.
create or replace function lastseen.subject_of(id uuid) returns text
language sql stable parallel safe
return case when substr(id::text, 15, 1) = '5' then coalesce(lastseen.stored_subject(id), id::text) else id::text end;
comment on function lastseen.subject_of is
  'The user as the app knows it: the subject that the id was made from, else the id.';

create or replace function lastseen.subjects_of(ids uuid[]) returns text[]
language sql stable parallel safe set search_path = ''
return array(select lastseen.subject_of(u.id) from unnest(ids) with ordinality as u (id, nth) order by u.nth);
comment on function lastseen.subjects_of is 'subject_of() each of these users, in the same order.';

-- In the order of the ids, as all who write several: two transactions that note the same ones do not wait for each other
-- in a circle.
create or replace function lastseen.note_subjects(ids uuid[], names text[]) returns void
language sql set search_path = ''
as $$
  insert into lastseen.subjects (user_id, subject)
  select n.id, n.name from unnest(ids, names) as n (id, name) where n.name is not null order by n.id
  on conflict do nothing
$$;
comment on function lastseen.note_subjects is
  'Notes which subjects these ids stand for, before a row names them; a null is that of an id that was not made from one.';

revoke all on function lastseen.subject_of, lastseen.subjects_of, lastseen.note_subjects
from public, anon, authenticated, service_role, lastseen_service, lastseen_monitor;
grant execute on function lastseen.subject_of, lastseen.subjects_of
to authenticated, lastseen_service, service_role, lastseen_monitor;
grant execute on function lastseen.note_subjects to lastseen_service, service_role;
