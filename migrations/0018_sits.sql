-- What a sit lasted, as a column: the same number in a list and in the sum of a week. And partnerships whose members
-- have gone.

-- The owner may change rows only while the policies do not bind it.
alter table public.sits no force row level security;
alter table public.sits
  add column created_at timestamptz not null default now(),
  add column duration_seconds bigint
    generated always as (
      -- An infinite time is refused by the bounds, which come after this.
      case when isfinite(completed_at) and isfinite(started_at)
           then round(greatest(extract(epoch from completed_at - started_at), 0))::bigint end
    ) stored;
update public.sits as s set created_at = s.started_at;
alter table public.sits force row level security;

comment on column public.sits.created_at is 'When the row was made: for a sit of a room, when it was recorded.';
comment on column public.sits.duration_seconds is
  'What was really sat, in whole seconds; null until it is completed. The weeks sum these. Never negative, whoever wrote the times.';

-- The index by status also finds the open ones by their start.
drop index public.sits_open;
create index sits_by_status on public.sits (status, started_at desc, id desc);

-- Partnerships that nobody belongs to any more are kept while a sit names them.
create index partnerships_without_members on public.partnerships (created_at) where user_ids = '{}';
comment on table public.partnerships is
  'People who sit together, and read each other''s sits. Without members it is over: its sits still name it.';
