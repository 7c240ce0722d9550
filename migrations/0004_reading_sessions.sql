-- Reading sessions. Column defaults are for rows made by hand; the server makes v7 ids.

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

-- For the sweep. They cost few writes: a session's row is updated only when its stamp lags by more
-- than min(60 s, idle timeout / 10). The id is there for paging by key.
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

alter table public.reading_sessions enable row level security;
alter table public.reading_sessions force row level security;
