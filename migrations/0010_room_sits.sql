-- Sits of a whole room.

create table public.room_sits (
  id                 uuid        not null default gen_random_uuid() primary key,
  session_id         uuid        not null references public.reading_sessions on delete cascade,
  started_by         uuid        references public.session_participants on delete set null,
  node               text,
  sit_length_seconds int         not null check (sit_length_seconds between 1 and 86400),
  started_at         timestamptz not null default now(),
  ends_at            timestamptz not null,
  ended_at           timestamptz,
  status             text        not null default 'open' check (status in ('open', 'completed', 'abandoned')),
  constraint open_until_ended check ((status = 'open') = (ended_at is null))
);
create unique index one_open_sit_a_room on public.room_sits (session_id) where status = 'open';
create index room_sits_of_session on public.room_sits (session_id);
create index room_sits_started_by on public.room_sits (started_by);

comment on table public.room_sits is
  'A sit of everybody in a reading session, started by its host. What each user sat is in sits.';
comment on column public.room_sits.node is 'The server that holds the room, and ends the sit on time.';
comment on column public.room_sits.ended_at is
  'When it was over. Before ends_at only where its session was closed meanwhile, which abandons it.';

alter table public.room_sits enable row level security;
alter table public.room_sits force row level security;
