-- Closing sessions. The lock order of every writer: session rows, then participants by id, then invites by id.
-- A join holds the session row FOR SHARE, so none gets in while the session is held FOR UPDATE. What depends
-- on who is in the session must be decided by a statement after the one that locks.

create or replace function lastseen.close_sessions(sessions uuid[], reason text)
returns setof public.reading_sessions
language plpgsql rows 100 set search_path = ''
as $$
declare
  present uuid[];
  valid   uuid[];
begin
  -- While these rows are locked no join gets in. The arrays are in sub-selects so that the planner does
  -- not know their length: it then looks up each row, and an UPDATE locks in the order of the array.
  perform from unnest((select sessions)) as closing (id)
  join public.reading_sessions as s on s.id = closing.id
  where s.is_active
  order by s.id
  for update of s;

  select array_agg(p.id order by p.id) into present
  from unnest((select sessions)) as closing (id)
  join public.session_participants as p on p.session_id = closing.id
  where p.is_active;

  update public.session_participants as p
  set is_active = false, left_at = p.last_seen_at, leave_reason = 'closed'
  from unnest((select present)) as listed (id)
  where p.id = listed.id and p.is_active;

  select array_agg(i.id order by i.id) into valid
  from unnest((select sessions)) as closing (id)
  join public.session_invites as i on i.session_id = closing.id
  where i.revoked_at is null;

  update public.session_invites as i
  set revoked_at = now()
  from unnest((select valid)) as listed (id)
  where i.id = listed.id and i.revoked_at is null;

  return query
    update public.reading_sessions as s
    set is_active = false, closed_at = now(), close_reason = reason, updated_at = now()
    from unnest((select sessions)) as closing (id)
    where s.id = closing.id and s.is_active
    returning s.*;
end
$$;
comment on function lastseen.close_sessions is 'Closes those of the sessions that are open, and returns them.';

create or replace function lastseen.close_session(session uuid, reason text)
returns setof public.reading_sessions
language sql rows 1 set search_path = ''
as $$
  select * from lastseen.close_sessions(array[session], reason)
$$;
comment on function lastseen.close_session is 'Closes the session and returns it; no row where it was not open.';

revoke all on function
  lastseen.close_sessions,
  lastseen.close_session
from public, anon, authenticated, service_role, lastseen_service;
grant execute on function
  lastseen.close_sessions,
  lastseen.close_session
to lastseen_service, service_role;
