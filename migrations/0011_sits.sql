-- Sits of one person: alone, in a partnership, or in a room's sit.

create table public.sits (
  id                 uuid        not null default gen_random_uuid() primary key,
  user_id            uuid        not null,
  partnership_id     uuid        references public.partnerships on delete set null,
  room_sit_id        uuid        references public.room_sits on delete set null,
  sit_length_seconds int         not null check (sit_length_seconds > 0),
  started_at         timestamptz not null default now(),
  completed_at       timestamptz,
  is_completed       boolean     not null default false,
  status             text        not null default 'open' check (status in ('open', 'completed', 'abandoned')),
  constraint completed_is_a_status check (is_completed = (status = 'completed')),
  constraint completed_at_a_time check (is_completed = (completed_at is not null))
);
create index sits_of_user on public.sits (user_id, started_at desc, id desc);
create index sits_of_partnership on public.sits (partnership_id, started_at desc, id desc) where partnership_id is not null;
create index sits_newest on public.sits (started_at desc, id desc);
create index sits_open on public.sits (started_at) where status = 'open';
create unique index one_sit_a_user_and_room_sit on public.sits (room_sit_id, user_id) where room_sit_id is not null;

comment on table public.sits is
  'A timed sitting of one person. What was really sat is completed_at - started_at: less than the length where it was completed early.';
comment on column public.sits.room_sit_id is
  'The room''s sit that this one was part of; started_at is then when the person came, if the room had begun before.';

alter table public.sits enable row level security;
alter table public.sits force row level security;
