-- Bounds for what users may write in SQL, beside the server: an infinite time or an absurd count in one row would
-- break the sums, sweeps and lists of everybody. Times are finite, and far enough from both ends of what PostgreSQL
-- and clients know that a length can be added.

-- Rows that are out of bounds come to the nearest bound. The owner may change them only while the policies do not
-- bind it.
alter table public.user_sessions no force row level security;
update public.user_sessions as s
set started_at = greatest(least(s.started_at, '9999-12-31 00:00+00'), '0001-01-01 00:00+00'),
    last_activity_at = greatest(least(s.last_activity_at, '9999-12-31 00:00+00'), '0001-01-01 00:00+00'),
    last_heartbeat_at = greatest(least(s.last_heartbeat_at, '9999-12-31 00:00+00'), '0001-01-01 00:00+00'),
    expires_at = greatest(least(s.expires_at, '9999-12-31 00:00+00'), '0001-01-01 00:00+00'),
    ended_at = case when s.ended_at is not null
                    then greatest(least(s.ended_at, '9999-12-31 00:00+00'), '0001-01-01 00:00+00') end,
    last_ws_connection = case when s.last_ws_connection is not null
                    then greatest(least(s.last_ws_connection, '9999-12-31 00:00+00'), '0001-01-01 00:00+00') end,
    created_at = greatest(least(s.created_at, '9999-12-31 00:00+00'), '0001-01-01 00:00+00'),
    updated_at = greatest(least(s.updated_at, '9999-12-31 00:00+00'), '0001-01-01 00:00+00'),
    total_duration_seconds = case when s.total_duration_seconds is not null
                    then least(s.total_duration_seconds, 1000000000000) end,
    activity_count = least(s.activity_count, 1000000000000000),
    frontend_connections = least(s.frontend_connections, 1000000),
    sse_connections = least(s.sse_connections, 1000000)
where not (
    s.started_at between '0001-01-01 00:00+00' and '9999-12-31 00:00+00'
    and s.last_activity_at between '0001-01-01 00:00+00' and '9999-12-31 00:00+00'
    and s.last_heartbeat_at between '0001-01-01 00:00+00' and '9999-12-31 00:00+00'
    and s.expires_at between '0001-01-01 00:00+00' and '9999-12-31 00:00+00'
    and coalesce(s.ended_at, now()) between '0001-01-01 00:00+00' and '9999-12-31 00:00+00'
    and coalesce(s.last_ws_connection, now()) between '0001-01-01 00:00+00' and '9999-12-31 00:00+00'
    and s.created_at between '0001-01-01 00:00+00' and '9999-12-31 00:00+00'
    and s.updated_at between '0001-01-01 00:00+00' and '9999-12-31 00:00+00'
    and coalesce(s.total_duration_seconds, 0) <= 1000000000000 and s.activity_count <= 1000000000000000
    and s.frontend_connections <= 1000000 and s.sse_connections <= 1000000
  );
alter table public.user_sessions force row level security;

alter table public.user_sessions
  add constraint times_are_bounded check (
    started_at between '0001-01-01 00:00+00' and '9999-12-31 00:00+00'
    and last_activity_at between '0001-01-01 00:00+00' and '9999-12-31 00:00+00'
    and last_heartbeat_at between '0001-01-01 00:00+00' and '9999-12-31 00:00+00'
    and expires_at between '0001-01-01 00:00+00' and '9999-12-31 00:00+00'
    and ended_at between '0001-01-01 00:00+00' and '9999-12-31 00:00+00'
    and last_ws_connection between '0001-01-01 00:00+00' and '9999-12-31 00:00+00'
    and created_at between '0001-01-01 00:00+00' and '9999-12-31 00:00+00'
    and updated_at between '0001-01-01 00:00+00' and '9999-12-31 00:00+00'),
  -- Sums of them are far from overflowing.
  add constraint counts_are_bounded check (
    total_duration_seconds <= 1000000000000 and activity_count <= 1000000000000000
    and frontend_connections <= 1000000 and sse_connections <= 1000000),
  -- The server takes 8 KiB of text, which is never as much as this in JSONB. Not valid: what is there stays.
  add constraint objects_are_bounded check (
    pg_column_size(device_info) <= 262144 and pg_column_size(location_info) <= 262144
    and pg_column_size(metadata) <= 262144) not valid;

alter table public.check_ins no force row level security;
update public.check_ins as c
set checked_in_at = greatest(least(c.checked_in_at, '9999-12-31 00:00+00'), '0001-01-01 00:00+00'),
    expires_at = greatest(least(c.expires_at, '9999-12-31 00:00+00'), '0001-01-01 00:00+00'),
    checked_out_at = case when c.checked_out_at is not null
                    then greatest(least(c.checked_out_at, '9999-12-31 00:00+00'), '0001-01-01 00:00+00') end,
    created_at = greatest(least(c.created_at, '9999-12-31 00:00+00'), '0001-01-01 00:00+00')
where not (
    c.checked_in_at between '0001-01-01 00:00+00' and '9999-12-31 00:00+00'
    and c.expires_at between '0001-01-01 00:00+00' and '9999-12-31 00:00+00'
    and coalesce(c.checked_out_at, now()) between '0001-01-01 00:00+00' and '9999-12-31 00:00+00'
    and c.created_at between '0001-01-01 00:00+00' and '9999-12-31 00:00+00'
  );
alter table public.check_ins force row level security;

alter table public.check_ins
  add constraint times_are_bounded check (
    checked_in_at between '0001-01-01 00:00+00' and '9999-12-31 00:00+00'
    and expires_at between '0001-01-01 00:00+00' and '9999-12-31 00:00+00'
    and checked_out_at between '0001-01-01 00:00+00' and '9999-12-31 00:00+00'
    and created_at between '0001-01-01 00:00+00' and '9999-12-31 00:00+00');

alter table public.sits no force row level security;
update public.sits as s
set started_at = greatest(least(s.started_at, '9999-12-31 00:00+00'), '0001-01-01 00:00+00'),
    completed_at = case when s.completed_at is not null
                    then greatest(least(s.completed_at, '9999-12-31 00:00+00'), '0001-01-01 00:00+00') end
where not (
    s.started_at between '0001-01-01 00:00+00' and '9999-12-31 00:00+00'
    and coalesce(s.completed_at, now()) between '0001-01-01 00:00+00' and '9999-12-31 00:00+00'
  );
alter table public.sits force row level security;

alter table public.sits
  add constraint times_are_bounded check (
    started_at between '0001-01-01 00:00+00' and '9999-12-31 00:00+00'
    and completed_at between '0001-01-01 00:00+00' and '9999-12-31 00:00+00');
