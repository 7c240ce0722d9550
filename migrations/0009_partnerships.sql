-- Partnerships: people who sit together.

create table public.partnerships (
  id         uuid        not null default gen_random_uuid() primary key,
  user_ids   uuid[]      not null default '{}',
  created_at timestamptz not null default now()
);
create index partnerships_of_user on public.partnerships using gin (user_ids);
create index partnerships_newest on public.partnerships (created_at desc, id desc);

comment on table public.partnerships is 'People who sit together, and read each other''s sits.';
comment on column public.partnerships.user_ids is
  'The members once more, kept by a trigger: a policy on partnership_members that reads partnership_members would recurse.';

create table public.partnership_members (
  partnership_id uuid not null references public.partnerships on delete cascade,
  user_id        uuid not null,
  primary key (partnership_id, user_id)
);
comment on table public.partnership_members is 'Who belongs to a partnership.';

alter table public.partnerships enable row level security;
alter table public.partnerships force row level security;

alter table public.partnership_members enable row level security;
alter table public.partnership_members force row level security;
