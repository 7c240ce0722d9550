-- What users write to their own sessions in SQL. (Their calls to the server come as users too.)
--
-- Every trigger before an update of this table has PostgreSQL lock each row before it writes it, also in the flush,
-- whose rows it leaves alone: that costs a beat 56 bytes of WAL (a quarter) and a few per cent of its time.

create or replace function lastseen.keep_objects() returns trigger
language plpgsql set search_path = ''
as $$
begin
  new.device_info := coalesce(new.device_info, '{}');
  new.location_info := coalesce(new.location_info, '{}');
  new.metadata := coalesce(new.metadata, '{}');
  return new;
end
$$;
comment on function lastseen.keep_objects is 'Clients write null where they have nothing to say: that is an empty object.';

create or replace trigger keep_objects
  before insert or update on public.user_sessions
  for each row when (new.device_info is null or new.location_info is null or new.metadata is null)
  execute function lastseen.keep_objects();

create or replace function lastseen.keep_user_session() returns trigger
language plpgsql set search_path = ''
as $$
declare
  latest timestamptz;
begin
  if tg_op = 'INSERT' then
    -- Apps may report a session later that began without a network.
    new.started_at := lastseen.plausible('started_at', new.started_at, now() - interval '1 year', now());
  else
    new.updated_at := now();
  end if;

  -- What was there stays where the clock was set back since.
  latest := greatest(now(), new.started_at);
  if new.last_activity_at is distinct from old.last_activity_at then
    new.last_activity_at := greatest(old.last_activity_at,
      lastseen.plausible('last_activity_at', new.last_activity_at, new.started_at, latest));
  end if;
  if new.last_heartbeat_at is distinct from old.last_heartbeat_at then
    new.last_heartbeat_at := greatest(old.last_heartbeat_at,
      lastseen.plausible('last_heartbeat_at', new.last_heartbeat_at, new.started_at, latest));
    if new.expires_at = old.expires_at then
      -- The timeout is that of the server or app that opened the session.
      new.expires_at := old.expires_at + (new.last_heartbeat_at - old.last_heartbeat_at);
    end if;
  end if;
  if new.expires_at is distinct from old.expires_at then
    new.expires_at := lastseen.plausible('expires_at', new.expires_at, new.started_at, latest + interval '1 year');
  end if;

  if new.ended_at is not null or new.status in ('ended', 'timeout') then
    new.ended_at := lastseen.plausible('ended_at', coalesce(new.ended_at, now()), new.started_at, latest);
    new.status := case new.status when 'timeout' then 'timeout' else 'ended' end;
    new.end_reason := coalesce(new.end_reason, case new.status when 'timeout' then 'timeout' else 'manual' end);
    new.total_duration_seconds := public.calculate_session_duration(new.started_at, new.ended_at);
    new.frontend_connections := 0;
    new.sse_connections := 0;
  end if;
  return new;
end
$$;
comment on function lastseen.keep_user_session is
  'Completes what a user writes to a session of its own, and refuses times that cannot be: the duration of one that ends, updated_at, and with a heartbeat expires_at. What has ended is out of reach by the policy.';

create or replace trigger keep_user_session
  before insert or update on public.user_sessions
  for each row when (pg_has_role('authenticated', 'usage') and not pg_has_role('service_role', 'usage'))
  execute function lastseen.keep_user_session();

revoke all on function lastseen.keep_objects, lastseen.keep_user_session
from public, anon, authenticated, service_role, lastseen_service;
