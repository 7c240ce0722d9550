-- Reading sessions, the people in them and the ways in. Column defaults are for rows made by hand;
-- the server makes v7 ids.

create table public.reading_sessions (
  id               uuid        not null default gen_random_uuid() primary key,
  title            text        check (char_length(title) between 1 and 200),
  host_user_id     uuid,
  is_active        boolean     not null default true,
  max_participants int         not null default 100 check (max_participants between 1 and 100000),
  last_seen_at     timestamptz not null default now(),
  last_activity_at timestamptz not null default now(),
  created_at       timestamptz not null default now(),
  updated_at       timestamptz not null default now(),
  closed_at        timestamptz,
  close_reason     text        check (close_reason in ('idle', 'host', 'admin', 'expired')),
  constraint open_until_closed check (is_active = (closed_at is null)),
  constraint closed_for_a_reason check ((closed_at is null) = (close_reason is null))
);

-- What the sweep asks. Few rows move in them: a session is moved only when its stamp has fallen
-- behind by min(60 s, idle timeout / 10). The id makes them pages that can be continued.
create index reading_sessions_open_by_last_seen on public.reading_sessions (last_seen_at, id) where is_active;
create index reading_sessions_open_by_last_activity on public.reading_sessions (last_activity_at, id) where is_active;
create index reading_sessions_closed on public.reading_sessions (closed_at) where not is_active;
create index reading_sessions_newest on public.reading_sessions (created_at desc, id desc);
create index reading_sessions_of_host on public.reading_sessions (host_user_id, created_at desc, id desc)
  where host_user_id is not null;

comment on table public.reading_sessions is
  'A collaborative reading session. Closed ones are kept until purge_closed_sessions().';
comment on column public.reading_sessions.host_user_id is
  'No foreign key: a plain PostgreSQL has no table of users. Null where a guest or the service made the session.';
comment on column public.reading_sessions.last_seen_at is
  'When somebody in it was last heard from. May lag behind its participants, who are the truth: check_session_expiry().';
comment on column public.reading_sessions.last_activity_at is
  'When somebody in it last did something. May lag like last_seen_at.';
comment on column public.reading_sessions.updated_at is
  'Set by the statements, not by a trigger: beats touch this table.';

-- fillfactor: beats rewrite these rows all the time, and a row whose new version fits on its page
-- needs no index entry (HOT). For the same reason no index here may name a column that beats move
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

-- For the list of a user's sessions; beats do not move it.
create index session_participants_of_user on public.session_participants (user_id) where user_id is not null;

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

create table public.session_invites (
  id           uuid        not null default gen_random_uuid() primary key,
  session_id   uuid        not null references public.reading_sessions on delete cascade,
  token_sha256 bytea       not null unique check (octet_length(token_sha256) = 32),
  role         text        not null default 'guest' check (role in ('host', 'participant', 'guest')),
  max_uses     int         check (max_uses > 0),
  uses         int         not null default 0 check (uses >= 0),
  expires_at   timestamptz,
  created_by   uuid,
  created_at   timestamptz not null default now(),
  revoked_at   timestamptz
);

create index session_invites_of_session on public.session_invites (session_id);

comment on table public.session_invites is 'A way into a reading session, for whoever holds the token.';
comment on column public.session_invites.token_sha256 is 'The token itself is shown once and kept nowhere.';
comment on column public.session_invites.uses is
  'Participants that came in by it. Counted at once where max_uses is set, else with the flush, so that a popular link is not one hot row.';
