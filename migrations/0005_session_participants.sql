-- Participants of reading sessions.

-- fillfactor: beats update these rows all the time, and a new row version that fits on its page needs
-- no index entry (HOT). For the same reason no index here may use a column that beats update
-- (is_active, state, node, last_seen_at, last_activity_at, left_at, leave_reason).
create table public.session_participants (
  id                uuid        not null default gen_random_uuid() primary key,
  session_id        uuid        not null references public.reading_sessions on delete cascade,
  user_id           uuid,
  name              text        check (char_length(name) between 1 and 80),
  role              text        not null default 'participant' check (role in ('host', 'participant', 'guest')),
  is_active         boolean     not null default false,
  state             jsonb       not null default '{}' check (jsonb_typeof(state) = 'object'),
  node              text,
  resume_generation int         not null default 0,
  joined_at         timestamptz not null default now(),
  last_seen_at      timestamptz not null default now(),
  last_activity_at  timestamptz not null default now(),
  left_at           timestamptz,
  leave_reason      text        check (leave_reason in ('left', 'timeout', 'removed', 'closed')),
  constraint one_participant_a_user unique (session_id, user_id),
  constraint left_for_a_reason check ((left_at is null) = (leave_reason is null)),
  constraint present_or_left check (not (is_active and left_at is not null))
) with (fillfactor = 50);

-- For the list of a user's sessions.
create index session_participants_of_user on public.session_participants (user_id) where user_id is not null;
-- For the analytics.
create index session_participants_by_join on public.session_participants (joined_at);

comment on table public.session_participants is
  'One person in one reading session, however many connections they hold.';
comment on column public.session_participants.user_id is 'Null for guests.';
comment on column public.session_participants.name is 'Null until the host of a new session connects for the first time.';
comment on column public.session_participants.is_active is
  'Present. False without a leave_reason: a host that has not connected yet.';
comment on column public.session_participants.state is 'What the person shows the others; at most 2 KiB, which the server sees to.';
comment on column public.session_participants.node is 'The server that holds the connection, or held the last one.';
comment on column public.session_participants.resume_generation is
  'Signed into resume tokens: to count it up kills the tokens that are out.';
comment on column public.session_participants.joined_at is 'When they last came in; a short loss of the connection does not count.';

alter table public.session_participants enable row level security;
alter table public.session_participants force row level security;
