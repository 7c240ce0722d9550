-- Check-ins: a person is here for the next hour. Whether one runs depends on its times alone; no job has to
-- update it.

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

-- For the check-ins that run now, and for those that are old enough to be deleted.
create index check_ins_by_expiry on public.check_ins (expires_at);
-- For pages: by expires_at a check-in that is extended between two pages would be missed.
create index check_ins_newest on public.check_ins (checked_in_at desc, id desc) where status = 'active';
create index check_ins_of_user on public.check_ins (user_id, checked_in_at desc, id desc);

comment on table public.check_ins is
  'Somebody is here for the next hour. One runs exactly while status = ''active'' and expires_at > now(): see active_check_ins.';
comment on column public.check_ins.name is 'The display name of the JWT that checked in last; null where it had none.';
comment on column public.check_ins.checked_out_at is
  'When the person went; never after expires_at: nobody knows of more than that hour. Null where nobody checked out.';
comment on column public.check_ins.status is 'Active until checked out, also when it has expired long ago.';

alter table public.check_ins enable row level security;
alter table public.check_ins force row level security;
