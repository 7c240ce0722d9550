-- How long a user session lasted. Also run by a user's own call.

create or replace function public.calculate_session_duration(session_start timestamptz, session_end timestamptz default now())
returns bigint
language sql immutable set search_path = ''
return greatest(0, floor(extract(epoch from session_end - session_start)))::bigint;
comment on function public.calculate_session_duration is
  'Whole seconds from start to end; none where the end comes first.';

revoke all on function public.calculate_session_duration
  from public, anon, authenticated, service_role, lastseen_service, lastseen_monitor;
grant execute on function public.calculate_session_duration
  to authenticated, lastseen_service, service_role, lastseen_monitor;
