-- The members of a partnership once more, in its own row.

create or replace function lastseen.note_partnership_members() returns trigger
language plpgsql set search_path = ''
as $$
begin
  update public.partnerships as p
  set user_ids = array(
    select m.user_id from public.partnership_members as m where m.partnership_id = p.id order by m.user_id)
  where p.id in (old.partnership_id, new.partnership_id);
  return null;
end
$$;
comment on function lastseen.note_partnership_members is 'Keeps partnerships.user_ids.';

create or replace trigger note_partnership_members
  after insert or update or delete on public.partnership_members
  for each row execute function lastseen.note_partnership_members();

revoke all on function lastseen.note_partnership_members from public, anon, authenticated, service_role, lastseen_service;
