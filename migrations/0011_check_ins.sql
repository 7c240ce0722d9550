-- Check-ins: somebody is here for the next hour. Whether one runs is a matter of its times alone: no
-- job has to come by for that to be true.

create table public.check_ins (
  id             uuid        not null default gen_random_uuid() primary key,
  user_id        uuid        not null,
  name           text        check (char_length(name) between 1 and 80),
  checked_in_at  timestamptz not null default now(),
  expires_at     timestamptz not null default now() + interval '1 hour',
  checked_out_at timestamptz,
  status         text        not null default 'active' check (status in ('active', 'inactive')),
  created_at     timestamptz not null default now(),
  constraint inactive_when_checked_out check ((status = 'inactive') = (checked_out_at is not null))
);

-- What runs now, among all that ever ran; and what is old enough to be deleted.
create index check_ins_by_expiry on public.check_ins (expires_at);
-- The same in pages: nobody is missed who is extended between two of them, as by expires_at.
create index check_ins_newest on public.check_ins (checked_in_at desc, id desc) where status = 'active';
create index check_ins_of_user on public.check_ins (user_id, checked_in_at desc, id desc);

comment on table public.check_ins is
  'Somebody is here for the next hour. One runs exactly while status = ''active'' and expires_at > now(): see active_check_ins.';
comment on column public.check_ins.name is 'The display name of the JWT that checked in last; null where it had none.';
comment on column public.check_ins.checked_out_at is
  'When the person went; never after expires_at: nobody knows of more than that hour. Null where nobody checked out.';
comment on column public.check_ins.status is 'Active until checked out, also when it has expired long ago.';

create view public.active_check_ins with (security_invoker = true) as
  select c.id, c.user_id, c.name, c.checked_in_at, c.expires_at,
         -- Rounded up, so that no minute is left exactly when it has expired.
         ceil(extract(epoch from c.expires_at - now()) / 60)::int as minutes_remaining
  from public.check_ins as c
  where c.status = 'active' and c.expires_at > now();
comment on view public.active_check_ins is 'The check-ins that run now, with the minutes that they still have.';

create function public.cleanup_old_check_ins(older_than interval default '7 days') returns bigint
language sql set search_path = ''
as $$
  -- SKIP LOCKED: one that is just being extended is not old.
  with old as materialized (
    select c.id from public.check_ins as c
    where c.expires_at < now() - older_than
    for update skip locked
  ), purged as (
    delete from public.check_ins as c using old where c.id = old.id returning c.id
  )
  select count(*) from purged
$$;
comment on function public.cleanup_old_check_ins is
  'Deletes check-ins whose hour was over longer ago than this, and says how many.';

alter table public.check_ins enable row level security;
alter table public.check_ins force row level security;

revoke all on public.check_ins, public.active_check_ins from public, anon, authenticated;
grant select, insert, update, delete on public.check_ins to lastseen_service, service_role;
grant select on public.active_check_ins to lastseen_service, service_role, authenticated;
grant select on public.check_ins to authenticated;
grant insert (id, user_id, name) on public.check_ins to authenticated;
grant update (name, expires_at, checked_out_at, status) on public.check_ins to authenticated;

create policy service_does_all on public.check_ins
  for all to lastseen_service, service_role using (true) with check (true);
create policy people_see_their_own on public.check_ins
  for select to authenticated using (user_id = (select auth.uid()));
create policy people_make_their_own on public.check_ins
  for insert to authenticated with check (user_id = (select auth.uid()));
create policy people_change_their_own on public.check_ins
  for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));

revoke all on function public.cleanup_old_check_ins(interval) from public, anon, authenticated;
grant execute on function public.cleanup_old_check_ins(interval) to lastseen_service, service_role;
