-- Lists of user sessions and simulators that read no more rows than they show, whatever they are filtered by; and one
-- word for the quality of a connection.

-- User sessions. The owner may change rows only while the policies do not bind it.
alter table public.user_sessions no force row level security;
alter table public.user_sessions drop constraint user_sessions_connection_quality_check;
update public.user_sessions as s set connection_quality = lower(s.connection_quality)
where s.connection_quality is not null;
alter table public.user_sessions
  add constraint user_sessions_connection_quality_check check (connection_quality in ('good', 'degraded', 'poor'));
alter table public.user_sessions force row level security;

comment on column public.user_sessions.connection_quality is
  'By the round trip of the last Ping: `good`, `degraded` or `poor`, the same words as over HTTP and WebSockets.';

-- What expires is searched for by an index on this column, and not on expires_at, which every beat moves: with beats
-- every 30 s, one of 60 moves this one.
alter table public.user_sessions
  add column expires_not_before timestamptz not null
    generated always as (date_bin('30 minutes', expires_at, '2000-01-01 00:00+00')) stored;
comment on column public.user_sessions.expires_not_before is
  'expires_at, rounded down to half an hour: the index by it finds what is overdue, and beats seldom change it.';

drop index public.user_sessions_open;
create index user_sessions_open on public.user_sessions (expires_not_before) where ended_at is null;
-- `status` is the one column in an index that beats may change. Few do: somebody falls idle, or comes back.
create index user_sessions_by_platform_and_status on public.user_sessions (platform, status, started_at desc, id desc);

-- Simulators.
drop index if exists public.simulators_user_id_idx;
create index simulators_of_user on public.simulators (user_id, created_at desc, id desc);
create index simulators_by_status on public.simulators (status, created_at desc, id desc);
create index simulators_newest on public.simulators (created_at desc, id desc);
