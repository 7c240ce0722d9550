-- What users write to their own sits in SQL. (Their calls to the server come as users too.)

create or replace function lastseen.keep_new_sit() returns trigger
language plpgsql set search_path = ''
as $$
begin
  if new.sit_length_seconds > 86400 then
    raise check_violation using message = 'sit_length_seconds must be from 1 to 86400';
  end if;
  return new;
end
$$;
comment on function lastseen.keep_new_sit is 'Refuses a sit by a user that is longer than a day, as the server does.';

create or replace function lastseen.keep_sit() returns trigger
language plpgsql set search_path = ''
as $$
declare
  ends_at constant timestamptz := old.started_at + make_interval(secs => old.sit_length_seconds);
begin
  if new.status = 'completed' or new.is_completed or new.completed_at is not null then
    if old.status = 'abandoned' and new.completed_at < ends_at then
      raise check_violation using
        message = 'this sit was abandoned: it is completed as of its end, or not at all',
        hint = format('Its end was at %s.', ends_at);
    end if;
    new.completed_at := lastseen.plausible('completed_at', coalesce(new.completed_at, now()),
      old.started_at, greatest(now(), old.started_at));
    -- Reported late: the phone was locked, or nobody swept.
    if old.status = 'abandoned' or new.completed_at > ends_at + interval '1 hour' then
      new.completed_at := ends_at;
    end if;
    new.status := 'completed';
    new.is_completed := true;
  elsif old.status = 'abandoned' and new.status <> 'abandoned' then
    raise check_violation using
      message = 'this sit was abandoned: it is completed as of its end, or not at all',
      hint = 'Start a new one.';
  end if;
  return new;
end
$$;
comment on function lastseen.keep_sit is
  'Completes what a user writes to a sit of its own, and refuses times that cannot be. One that was abandoned can be completed once, as of its end; what was completed is out of reach by the policy.';

create or replace trigger keep_new_sit
  before insert on public.sits
  for each row when (pg_has_role('authenticated', 'usage') and not pg_has_role('service_role', 'usage'))
  execute function lastseen.keep_new_sit();
create or replace trigger keep_sit
  before update on public.sits
  for each row when (pg_has_role('authenticated', 'usage') and not pg_has_role('service_role', 'usage'))
  execute function lastseen.keep_sit();

revoke all on function lastseen.keep_new_sit, lastseen.keep_sit
from public, anon, authenticated, service_role, lastseen_service;
