-- User sessions: one device of one user, on the web and in apps.

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
  constraint ended_with_a_duration check ((ended_at is null) = (total_duration_seconds is null))
) with (fillfactor = 50);
