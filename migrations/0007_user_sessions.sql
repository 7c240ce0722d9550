-- User sessions: one device of one user, on the web and in apps.

-- fillfactor: beats update these rows all the time, and a new row version that fits on its page needs
-- no index entry (HOT). For the same reason no index may use, not even in its predicate, a column that
-- beats update (status, expires_at, node, the stamps and the counts).

create table public.user_sessions (
  id                     uuid        not null default gen_random_uuid() primary key,
  user_id                uuid        not null,
  session_id             text        not null unique check (char_length(session_id) between 1 and 128),
  platform               text        not null
    check (platform in ('web', 'ios-external', 'ios-internal', 'ios-widget', 'macos-internal')),
  status                 text        not null default 'active'
    check (status in ('active', 'idle', 'reconnecting', 'ended', 'timeout')),
  started_at             timestamptz not null default now(),
  last_activity_at       timestamptz not null default now(),
  last_heartbeat_at      timestamptz not null default now(),
  expires_at             timestamptz not null default now() + interval '1 hour',
  ended_at               timestamptz,
  end_reason             text        check (end_reason in ('logout', 'timeout', 'manual', 'app_close', 'crash')),
  total_duration_seconds bigint      check (total_duration_seconds >= 0),
  activity_count         bigint      not null default 0 check (activity_count >= 0),
  frontend_connections   int         not null default 0 check (frontend_connections >= 0),
  sse_connections        int         not null default 0 check (sse_connections >= 0),
  last_ws_connection     timestamptz,
  connection_quality     text        check (connection_quality in ('GOOD', 'DEGRADED', 'POOR')),
  node                   text,
  device_info            jsonb       not null default '{}' check (jsonb_typeof(device_info) = 'object'),
  location_info          jsonb       not null default '{}' check (jsonb_typeof(location_info) = 'object'),
  metadata               jsonb       not null default '{}' check (jsonb_typeof(metadata) = 'object'),
  user_agent             text        check (char_length(user_agent) <= 512),
  ip_address             inet,
  created_at             timestamptz not null default now(),
  updated_at             timestamptz not null default now(),
  constraint over_when_ended check ((status in ('ended', 'timeout')) = (ended_at is not null)),
  constraint ended_for_a_reason check ((ended_at is null) = (end_reason is null)),
  constraint ended_with_a_duration check ((ended_at is null) = (total_duration_seconds is null)),
  constraint address_is_masked check (
    ip_address = network(ip_address)::inet and masklen(ip_address) <= case family(ip_address) when 4 then 24 else 48 end
  )
) with (fillfactor = 50);

-- For the sweep. Not by expires_at, which every beat updates: the sweep reads the rows that have not
-- ended, which are few beside those that are kept.
create index user_sessions_open on public.user_sessions (started_at, id) where ended_at is null;
create index user_sessions_ended on public.user_sessions (ended_at) where ended_at is not null;
create index user_sessions_newest on public.user_sessions (started_at desc, id desc);
create index user_sessions_of_user on public.user_sessions (user_id, started_at desc, id desc);

comment on table public.user_sessions is
  'One device of one user. A heartbeat is a call for it, or anything received on one of its connections. Ended ones are kept until cleanup_old_sessions().';
comment on column public.user_sessions.user_id is 'No foreign key: a plain PostgreSQL has no table of users.';
comment on column public.user_sessions.session_id is 'Made by the client, which knows the session by it.';
comment on column public.user_sessions.status is
  'As of the last heartbeat. `reconnecting`: the last connection was lost, and not closed. Past expires_at it is over whatever this says.';
comment on column public.user_sessions.expires_at is 'The last heartbeat plus the timeout of the server that received it.';
comment on column public.user_sessions.ended_at is 'With the status `timeout`, the last heartbeat.';
comment on column public.user_sessions.frontend_connections is 'WebSockets that `node` holds.';
comment on column public.user_sessions.sse_connections is 'Event streams that `node` holds.';
comment on column public.user_sessions.last_ws_connection is 'When the last WebSocket was opened.';
comment on column public.user_sessions.connection_quality is 'By the round trip of the last Ping.';
comment on column public.user_sessions.node is 'The server that holds the connections, or held the last one.';
comment on column public.user_sessions.device_info is 'At most 8 KiB, like location_info and metadata, which the server sees to.';
comment on column public.user_sessions.ip_address is 'The client''s network, not its address: /24 of IPv4, /48 of IPv6.';
comment on column public.user_sessions.updated_at is 'Set by the statements, not by a trigger: beats touch this table.';

alter table public.user_sessions enable row level security;
alter table public.user_sessions force row level security;
